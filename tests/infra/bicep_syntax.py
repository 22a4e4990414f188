"""Bicep text → declarations and expressions, each with its place in the text.

tree-sitter-bicep gives the tokens and the statements. Its expressions bind wrongly: `a == b.c` comes out as
`(a == b).c`, and the body of a lambda ends before the first dot. The leaves are in order all the same, so each
expression is flattened to its tokens and put together again with the precedence of Bicep's own documentation
(https://learn.microsoft.com/azure/azure-resource-manager/bicep/operators#operator-precedence-and-associativity).

`parse(path)` and `parse_text(text)` never raise on bad Bicep: what is wrong is in `BicepFile.errors`, and the
declarations of a file with errors are not to be relied on.
"""

import functools
import itertools
import re

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import tree_sitter_bicep

from tree_sitter import Language, Node, Parser


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the file: byte offsets `[start, end)` and the line (from 1) that it begins on."""

    start: int
    end: int
    line: int

    def to(self, other: "Span") -> "Span":
        """From the beginning of this to the end of `other`."""
        return Span(self.start, other.end, self.line)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where."""

    file: str
    line: int
    message: str

    def __str__(self):
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Part:
    """Anything that stands at a place."""

    span: Span


# --- expressions -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Literal(Part):
    """A number, a boolean or null."""

    value: int | bool | None


@dataclass(frozen=True)
class Text(Part):
    """A string: literal pieces and interpolated expressions, in order."""

    pieces: tuple[str | Part, ...]

    @property
    def literal(self) -> str | None:
        """The whole string where nothing is interpolated."""
        return "".join(self.pieces) if all(isinstance(p, str) for p in self.pieces) else None


@dataclass(frozen=True)
class Name(Part):
    name: str


@dataclass(frozen=True)
class Member(Part):
    """`base.name`, or `base.?name` (safe)."""

    base: Part
    name: Name
    safe: bool


@dataclass(frozen=True)
class Nested(Part):
    """`base::name`: a resource inside a resource."""

    base: Part
    name: Name


@dataclass(frozen=True)
class Index(Part):
    """`base[index]`, or `base[?index]` (safe)."""

    base: Part
    index: Part
    safe: bool


@dataclass(frozen=True)
class NotNull(Part):
    base: Part


@dataclass(frozen=True)
class Call(Part):
    """`function(arguments)`; the function is a name, or a member of a namespace or a resource."""

    function: Name | Member | Part
    arguments: tuple[Part, ...]


@dataclass(frozen=True)
class Unary(Part):
    operator: str
    operand: Part


@dataclass(frozen=True)
class Binary(Part):
    left: Part
    operator: str
    right: Part


@dataclass(frozen=True)
class Ternary(Part):
    condition: Part
    yes: Part
    no: Part


@dataclass(frozen=True)
class Lambda(Part):
    parameters: tuple[Name, ...]
    body: Part


@dataclass(frozen=True)
class Array(Part):
    items: tuple[Part, ...]


@dataclass(frozen=True)
class Property(Part):
    """`key: value` of an object. The key is a name or a string."""

    key: Name | Text
    value: Part

    @property
    def name(self) -> str | None:
        """The key where it is known without evaluating anything."""
        return self.key.name if isinstance(self.key, Name) else self.key.literal


@dataclass(frozen=True)
class Object(Part):
    properties: tuple[Property, ...]
    resources: tuple["Resource", ...] = ()

    def get(self, name: str) -> Property | None:
        return next((p for p in self.properties if p.name == name), None)


@dataclass(frozen=True)
class For(Part):
    """`[for item in over: body]`, `[for (item, index) in over: body]`."""

    item: Name
    index: Name | None
    over: Part
    body: Part


@dataclass(frozen=True)
class If(Part):
    condition: Part
    body: Part


# --- types -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TypeName(Part):
    """`string`, `object` … or a type that the file declares or imports; a dotted name is not resolved."""

    name: str


@dataclass(frozen=True)
class TypeLiteral(Part):
    value: str | int | bool | None


@dataclass(frozen=True)
class TypeArray(Part):
    item: Part


@dataclass(frozen=True)
class TypeNullable(Part):
    base: Part


@dataclass(frozen=True)
class TypeUnion(Part):
    members: tuple[Part, ...]


@dataclass(frozen=True)
class TypeProperty(Part):
    name: str
    type: Part


@dataclass(frozen=True)
class TypeObject(Part):
    properties: tuple[TypeProperty, ...]
    additional: Part | None


@dataclass(frozen=True)
class TypeOther(Part):
    """A type that these checks do not look into."""


# --- declarations ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decorator(Part):
    call: Call

    @property
    def name(self) -> str:
        """Without its namespace: `secure` of `@sys.secure()`."""
        function = self.call.function
        return function.name.name if isinstance(function, Member) else function.name


@dataclass(frozen=True)
class Declaration(Part):
    """What a file declares under a name. `span` has no decorators in it; `decorators` has theirs."""

    name: Name
    decorators: tuple[Decorator, ...]

    def decorated(self, name: str) -> Decorator | None:
        return next((d for d in self.decorators if d.name == name), None)


@dataclass(frozen=True)
class Parameter(Declaration):
    type: Part
    default: Part | None


@dataclass(frozen=True)
class Variable(Declaration):
    value: Part


@dataclass(frozen=True)
class Resource(Declaration):
    type: Text
    existing: bool
    value: Part


@dataclass(frozen=True)
class Module(Declaration):
    path: Text
    value: Part


@dataclass(frozen=True)
class Output(Declaration):
    type: Part
    value: Part


@dataclass(frozen=True)
class Function(Declaration):
    parameters: tuple[Parameter, ...]
    returns: Part
    body: Part


@dataclass(frozen=True)
class TypeDeclaration(Declaration):
    type: Part


@dataclass(frozen=True)
class Imported(Declaration):
    """A name that comes from another file; what it stands for is not looked up."""


@dataclass(frozen=True)
class BicepFile:
    """One file, read."""

    path: Path
    source: bytes
    target_scope: str = "resourceGroup"
    declarations: tuple[Declaration, ...] = ()
    metadata: tuple[Part, ...] = ()
    errors: tuple[Problem, ...] = field(default=())

    def of[D: Declaration](self, kind: type[D]) -> list[D]:
        """The declarations of one kind, in the file's order."""
        return [d for d in self.declarations if isinstance(d, kind)]

    def every[P: Part](self, kind: type[P]) -> list[P]:
        """All parts of one kind, at any depth, in the file's order; decorators are not gone into."""
        return [part for part in self._parts if isinstance(part, kind)]

    @functools.cached_property
    def _parts(self) -> list[Part]:
        return [part for declaration in self.declarations for part in walk(declaration)]

    @functools.cached_property
    def _symbols(self) -> dict[str, Declaration]:
        return {d.name.name: d for d in reversed(self.declarations) if not isinstance(d, Output)}

    def declared(self, name: str) -> Declaration | None:
        """What a symbol stands for: an output is no symbol."""
        return self._symbols.get(name)

    def problem(self, at: Part | Span, message: str) -> Problem:
        span = at if isinstance(at, Span) else at.span
        return Problem(str(self.path), span.line, message)

    def text(self, at: Part) -> str:
        return self.source[at.span.start : at.span.end].decode()


def parse(path: Path) -> BicepFile:
    """Read a file. It must exist and be UTF-8."""
    return parse_text(path.read_text(encoding="utf-8"), path)


@functools.lru_cache(maxsize=512)
def parse_text(text: str, path: Path = Path("text.bicep")) -> BicepFile:
    """Read Bicep. `path` is what problems name and what relative paths start from."""
    source = text.encode()
    root = Parser(_language()).parse(source).root_node
    bare = BicepFile(path, source)
    errors = [bare.problem(span, message) for span, message in _faults(root, source)]
    if errors:
        return BicepFile(path, source, errors=tuple(errors))
    try:
        return _Reader(path, source).file(root)
    except _NotUnderstoodError as error:
        return BicepFile(path, source, errors=(bare.problem(error.span, str(error)),))


def walk(part: Part) -> Iterator[Part]:
    """The part and everything in it, in the order of the text; decorators have their own arguments to walk."""
    yield part
    for each in children(part):
        yield from walk(each)


def children(part: Part) -> Iterator[Part]:
    """The parts right inside, without decorators."""
    for name in _fields(type(part)):
        value = getattr(part, name)
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, Part):
                yield inner


@functools.cache
def _fields(kind: type[Part]) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind) if each.name not in ("span", "decorators"))


def body_of(value: Part) -> Object | None:
    """The object of a resource or module, whatever loops and conditions stand around it."""
    while isinstance(value, For | If):
        value = value.body
    return value if isinstance(value, Object) else None


# --- what the grammar says, and what it lets pass -----------------------------------------------------------


class _NotUnderstoodError(Exception):
    def __init__(self, span: Span, message: str):
        super().__init__(message)
        self.span = span


@functools.cache
def _language() -> Language:
    return Language(tree_sitter_bicep.language())


def _span(node: Node) -> Span:
    return Span(node.start_byte, node.end_byte, node.start_point.row + 1)


def _faults(root: Node, source: bytes) -> Iterator[tuple[Span, str]]:
    """Errors of the parser, and separators that its grammar does not ask for."""
    if root.has_error:
        yield from _errors(root)
        return
    yield from _crowded(root, source)


def _errors(node: Node) -> Iterator[tuple[Span, str]]:
    if node.is_missing:
        yield _span(node), f"syntax: {node.type!r} is missing"
    elif node.is_error:
        near = node.text.decode(errors="replace").strip().split("\n")[0][:60]
        yield _span(node), f"syntax: not understood: {near}"
    else:
        for child in node.children:
            if child.has_error or child.is_missing:
                yield from _errors(child)


_LISTS = ("array", "object", "arguments", "infrastructure")
_COMMENTS = ("comment", "diagnostic_comment")


def _crowded(node: Node, source: bytes) -> Iterator[tuple[Span, str]]:
    """Neighbours with neither a comma nor a new line between them, or with both; an argument needs its comma."""
    inner = [child for child in node.children if child.type not in _COMMENTS]
    if node.type in _LISTS:
        for one, two in itertools.pairwise(inner):
            lines = b"\n" in source[one.end_byte : two.start_byte]
            apart = lines if node.type != "arguments" else False
            if one.is_named and two.is_named and not apart and one.end_byte != two.start_byte:
                yield _span(two), "syntax: a comma is missing before this, or a new line"
            if one.type == "," and (two.type == ")" or (lines and node.type != "arguments")):
                yield _span(one), "syntax: nothing follows this comma on its line"
    for child in inner:
        yield from _crowded(child, source)


# --- the reader --------------------------------------------------------------------------------------------

_BINARY = {
    "??": 1,
    "||": 2,
    "&&": 3,
    "==": 4, "!=": 4, "=~": 4, "!~": 4,
    "<": 5, "<=": 5, ">": 5, ">=": 5,
    "+": 6, "-": 6,
    "*": 7, "/": 7, "%": 7,
}  # fmt: skip

_CHAINS = (
    "assignment_expression",
    "binary_expression",
    "call_expression",
    "lambda_expression",
    "member_expression",
    "resource_expression",
    "subscript_expression",
    "ternary_expression",
    "unary_expression",
)

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'", "$": "$"}
_BAD_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\(?!u\{[0-9A-Fa-f]+\}|[nrt\\'$])")
_ESCAPE = re.compile(r"\\(?:u\{([0-9A-Fa-f]+)\}|(.))")

_DECLARED = {
    "parameter_declaration": "parameter",
    "variable_declaration": "variable",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
    "user_defined_function": "function",
    "type_declaration": "type_declared",
    "assert_statement": "asserted",
}

_TYPES = {
    "type": "type_inside",
    "parenthesized_type": "type_inside",
    "primitive_type": "type_name",
    "identifier": "type_name",
    "array_type": "type_array",
    "nullable_type": "type_nullable",
    "union_type": "type_union",
    "object": "type_object",
    "string": "type_literal",
    "number": "type_literal",
    "boolean": "type_literal",
    "null": "type_literal",
}

_ATOMS = {
    "identifier": "name",
    "compatible_identifier": "name",
    "property_identifier": "name",
    "string": "text",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
    "parenthesized_expression": "parenthesized",
    "array": "array",
    "object": "object",
    "for_statement": "loop",
    "if_statement": "condition",
}


class _Reader:
    """Turns tree-sitter's nodes into parts."""

    def __init__(self, path: Path, source: bytes):
        self.path = path
        self.source = source

    def file(self, root: Node) -> BicepFile:
        scope, declarations, metadata = "resourceGroup", [], []
        decorators: tuple[Decorator, ...] = ()
        for node in _inner(root):
            if node.type == "decorators":
                decorators = self.decorators(node)
                continue
            if node.type == "target_scope_assignment":
                scope = self.text(node.named_children[-1]).literal or scope
            elif node.type == "metadata_declaration":
                metadata.append(self.expression(_after(node, "=")))
            elif node.type in ("import_functionality", "import_statement"):
                declarations += self.imported(node)
            elif node.type in _DECLARED:
                declarations.append(getattr(self, _DECLARED[node.type])(node, decorators))
            else:
                raise self.not_understood(node)
            decorators = ()
        return BicepFile(self.path, self.source, scope, tuple(declarations), tuple(metadata))

    def not_understood(self, node: Node) -> _NotUnderstoodError:
        near = node.text.decode().split("\n")[0][:60]
        return _NotUnderstoodError(_span(node), f"syntax: not understood: {near}")

    # declarations

    def decorators(self, node: Node) -> tuple[Decorator, ...]:
        return tuple(self.decorator(inner) for inner in _inner(node) if inner.type == "decorator")

    def decorator(self, node: Node) -> Decorator:
        call = self.expression(_inner(node)[1:])
        if not isinstance(call, Call) or not isinstance(call.function, Name | Member):
            raise self.not_understood(node)
        return Decorator(_span(node), call)

    def imported(self, node: Node) -> list[Imported]:
        inner = _inner(node)
        found = []
        for index, child in enumerate(inner):
            renamed = index + 1 < len(inner) and inner[index + 1].type == "as"
            if child.type == "identifier" and not renamed:
                found.append(Imported(_span(node), self.name(child), ()))
        return found

    def parameter(self, node: Node, decorators: tuple[Decorator, ...]) -> Parameter:
        default = _after(node, "=")
        return Parameter(
            _span(node),
            self.name(_first(node, "identifier")),
            decorators,
            type=self.type(_first(node, "type")),
            default=self.expression(default) if default else None,
        )

    def variable(self, node: Node, decorators: tuple[Decorator, ...]) -> Variable:
        name = self.name(_first(node, "identifier"))
        return Variable(_span(node), name, decorators, self.expression(_after(node, "=")))

    def resource(self, node: Node, decorators: tuple[Decorator, ...]) -> Resource:
        return Resource(
            _span(node),
            self.name(_first(node, "identifier")),
            decorators,
            type=self.text(_first(node, "string")),
            existing=any(child.type == "existing" for child in node.children),
            value=self.expression(_after(node, "=")),
        )

    def module(self, node: Node, decorators: tuple[Decorator, ...]) -> Module:
        name, path = self.name(_first(node, "identifier")), self.text(_first(node, "string"))
        return Module(_span(node), name, decorators, path, self.expression(_after(node, "=")))

    def output(self, node: Node, decorators: tuple[Decorator, ...]) -> Output:
        name, declared = self.name(_first(node, "identifier")), self.type(_first(node, "type"))
        return Output(_span(node), name, decorators, declared, self.expression(_after(node, "=")))

    def function(self, node: Node, decorators: tuple[Decorator, ...]) -> Function:
        inside = [child for child in _inner(_first(node, "parameters")) if child.type == "parameter"]
        return Function(
            _span(node),
            self.name(_first(node, "identifier")),
            decorators,
            parameters=tuple(self.parameter(each, ()) for each in inside),
            returns=self.type(node.child_by_field_name("returns")),
            body=self.expression(_after(node, "=>")),
        )

    def type_declared(self, node: Node, decorators: tuple[Decorator, ...]) -> TypeDeclaration:
        name = self.name(_first(node, "identifier"))
        return TypeDeclaration(_span(node), name, decorators, self.type(_after(node, "=")[0]))

    def asserted(self, node: Node, decorators: tuple[Decorator, ...]) -> Variable:
        return self.variable(node, decorators)

    # types

    def type(self, node: Node) -> Part:
        read = _TYPES.get(node.type)
        return getattr(self, read)(node) if read else TypeOther(_span(node))

    def type_inside(self, node: Node) -> Part:
        return self.type(next(child for child in _inner(node) if child.is_named))

    def type_name(self, node: Node) -> TypeName:
        return TypeName(_span(node), node.text.decode())

    def type_array(self, node: Node) -> TypeArray:
        return TypeArray(_span(node), self.type_inside(node))

    def type_nullable(self, node: Node) -> TypeNullable:
        return TypeNullable(_span(node), self.type_inside(node))

    def type_union(self, node: Node) -> TypeUnion:
        return TypeUnion(_span(node), tuple(self.type(child) for child in _inner(node) if child.is_named))

    def type_literal(self, node: Node) -> TypeLiteral:
        return TypeLiteral(_span(node), self.literal(node))

    def literal(self, node: Node) -> str | int | bool | None:
        value = self.expression([node])
        return value.literal if isinstance(value, Text) else value.value

    def type_object(self, node: Node) -> TypeObject:
        properties, additional = [], None
        for each in (child for child in _inner(node) if child.type == "object_property"):
            key, *_, value = _inner(each)
            if key.type == "*":
                additional = self.type(value)
                continue
            name = self.text(key).literal or "" if key.type == "string" else key.text.decode()
            properties.append(TypeProperty(_span(each), name, self.type(value)))
        return TypeObject(_span(node), tuple(properties), additional)

    # expressions

    def expression(self, nodes: Sequence[Node]) -> Part:
        return _Chain(self, list(_flat(nodes))).whole()

    def name(self, node: Node) -> Name:
        return Name(_span(node), node.text.decode())

    def text(self, node: Node) -> Text:
        """The grammar drops some characters of a string, so its pieces are cut from the source."""
        quote = 3 if self.source[node.start_byte : node.start_byte + 3] == b"'''" else 1
        self.refuse(node, quote)
        pieces: list[str | Part] = []
        at = node.start_byte + quote
        for hole in (child for child in node.children if child.type == "interpolation"):
            pieces.append(_unescaped(self.source[at : hole.start_byte].decode()))
            pieces.append(self.expression(_inner(hole)[1:-1]))
            at = hole.end_byte
        rest = self.source[at : node.end_byte - quote].decode()
        pieces.append(rest.removeprefix("\r").removeprefix("\n") if quote == 3 else _unescaped(rest))
        return Text(_span(node), tuple(piece for piece in pieces if piece != ""))

    def refuse(self, node: Node, quote: int) -> None:
        """What the grammar takes and Bicep does not: several lines, unknown escapes, objects in a hole."""
        if quote == 1 and node.start_point.row != node.end_point.row:
            raise _NotUnderstoodError(_span(node), "syntax: a string between single quotes ends on its line")
        holes = [child for child in node.children if child.type == "interpolation"]
        if any(_literal_within(hole) for hole in holes):
            raise _NotUnderstoodError(_span(node), "syntax: no array and no object inside ${}")
        if quote == 1 and _BAD_ESCAPE.search(_without(node, holes)):
            raise _NotUnderstoodError(_span(node), "syntax: an escape that Bicep does not know")

    def atom(self, node: Node) -> Part:
        read = _ATOMS.get(node.type)
        if read is None:
            raise self.not_understood(node)
        return getattr(self, read)(node)

    def number(self, node: Node) -> Literal:
        return Literal(_span(node), int(node.text))

    def boolean(self, node: Node) -> Literal:
        return Literal(_span(node), node.text == b"true")

    def null(self, node: Node) -> Literal:
        return Literal(_span(node), None)

    def parenthesized(self, node: Node) -> Part:
        return replace(self.expression(_inner(node)[1:-1]), span=_span(node))

    def array(self, node: Node) -> Array:
        """The grammar tears the first item of an array apart before its brackets: they are joined again."""
        return Array(_span(node), tuple(self.expression(group) for group in _items(_inner(node)[1:-1])))

    def condition(self, node: Node) -> If:
        _, condition, body = _inner(node)
        return If(_span(node), self.expression(_inner(condition)[1:-1]), self.atom(body))

    def several(self, node: Node) -> tuple[Part, ...]:
        return tuple(self.expression([child]) for child in _inner(node) if child.is_named)

    def object(self, node: Node) -> Object:
        properties, resources = [], []
        decorators: tuple[Decorator, ...] = ()
        for each in (child for child in _inner(node) if child.is_named):
            if each.type == "decorators":
                decorators = self.decorators(each)
                continue
            inner = _inner(each)
            if inner[0].type == "resource_declaration":
                resources.append(self.resource(inner[0], decorators))
            else:
                key = self.text(inner[0]) if inner[0].type == "string" else self.name(inner[0])
                properties.append(Property(_span(each), key, self.expression(inner[2:])))
            decorators = ()
        return Object(_span(node), tuple(properties), tuple(resources))

    def loop(self, node: Node) -> For:
        inner = _inner(node)
        names = inner[2] if inner[2].type == "for_loop_parameters" else None
        item, *index = [child for child in _inner(names) if child.is_named] if names else [inner[2]]
        middle = next(i for i, child in enumerate(inner) if child.type == ":")
        return For(
            _span(node),
            item=self.name(item),
            index=self.name(index[0]) if index else None,
            over=self.expression(inner[4:middle]),
            body=self.expression(inner[middle + 1 : -1]),
        )


class _Chain:
    """Precedence climbing over the tokens of one expression."""

    def __init__(self, reader: _Reader, items: list[Node]):
        self.reader = reader
        self.items = items
        self.at = 0

    def whole(self) -> Part:
        result = self.ternary()
        if self.at < len(self.items):
            raise self.reader.not_understood(self.items[self.at])
        return result

    def peek(self, ahead: int = 0) -> str:
        return self.items[self.at + ahead].type if self.at + ahead < len(self.items) else ""

    def take(self) -> Node:
        self.at += 1
        return self.items[self.at - 1]

    def operator(self, *, after: bool = True, before: bool = True) -> Node:
        """The next token; an operator stands on one line with what is before and after it."""
        row = self.items[self.at].start_point.row
        broken = before and self.at > 0 and self.items[self.at - 1].end_point.row != row
        if after and self.at + 1 < len(self.items):
            broken = broken or self.items[self.at + 1].start_point.row != row
        if broken:
            near = self.items[self.at]
            raise _NotUnderstoodError(_span(near), f"syntax: a new line beside {near.type!r}")
        return self.take()

    def ternary(self) -> Part:
        condition = self.binary(0)
        if self.peek() != "?":
            return condition
        self.operator(before=False)
        yes = self.ternary()
        if self.peek() != ":":
            raise self.reader.not_understood(self.items[-1])
        self.operator(before=False)
        no = self.ternary()
        return Ternary(condition.span.to(no.span), condition, yes, no)

    def binary(self, above: int) -> Part:
        left = self.unary()
        while _BINARY.get(self.peek(), 0) > above:
            operator = self.operator().type
            right = self.binary(_BINARY[operator])
            left = Binary(left.span.to(right.span), left, operator, right)
        return left

    def unary(self) -> Part:
        if self.peek() not in ("!", "-"):
            return self.postfix()
        operator = self.operator(before=False)
        operand = self.unary()
        return Unary(_span(operator).to(operand.span), operator.type, operand)

    def postfix(self) -> Part:
        if self.peek(1) == "=>":
            return self.lambda_()
        if not self.items:
            raise _NotUnderstoodError(Span(0, 0, 1), "syntax: an expression is missing")
        base = self.reader.atom(self.take())
        while suffix := self.suffix(base):
            base = suffix
        return base

    def lambda_(self) -> Lambda:
        head = self.take()
        names = [head] if head.type == "identifier" else [n for n in _inner(head) if n.is_named]
        self.operator(after=False)
        body = self.ternary()
        return Lambda(_span(head).to(body.span), tuple(self.reader.name(n) for n in names), body)

    def suffix(self, base: Part) -> Part | None:
        match self.joined():
            case "." | ".?":
                safe = self.operator().type == ".?"
                node = self.take()
                return Member(base.span.to(_span(node)), base, self.reader.name(node), safe)
            case "::":
                self.operator()
                node = self.take()
                return Nested(base.span.to(_span(node)), base, self.reader.name(node))
            case "arguments" | "parenthesized_expression":
                node = self.operator(after=False)
                return Call(base.span.to(_span(node)), base, self.reader.several(node))
            case "subscript_expression" | "array":
                return self.index(base, self.take())
            case "!":
                return NotNull(base.span.to(_span(self.take())), base)
            case _:
                return None

    def joined(self) -> str:
        """What comes next, if it may belong to what is before it: brackets do where they touch it."""
        kind = self.peek()
        loose = kind in ("parenthesized_expression", "array")
        touches = loose and self.items[self.at].start_byte == self.items[self.at - 1].end_byte
        return kind if touches or not loose else ""

    def index(self, base: Part, node: Node) -> Index:
        inner = _inner(node)
        opened = max(i for i, child in enumerate(inner) if child.type == "[")
        if opened and inner[opened - 1].end_point.row != inner[opened].start_point.row:
            raise _NotUnderstoodError(_span(inner[opened]), "syntax: a new line beside '['")
        safe = inner[opened + 1].type == "?"
        index = self.reader.expression(inner[opened + 1 + safe : -1])
        return Index(base.span.to(_span(node)), base, index, safe)


def _flat(nodes: Sequence[Node]) -> Iterator[Node]:
    """The tokens of an expression, in order. A subscript stands for itself, after what it is a subscript of."""
    for node in nodes:
        if node.type == "subscript_expression":
            inner = _inner(node)
            opened = max(i for i, child in enumerate(inner) if child.type == "[")
            yield from _flat(inner[:opened])
            yield node
        elif node.type in _CHAINS:
            yield from _flat(_inner(node))
        else:
            yield node


def _items(nodes: Sequence[Node]) -> Iterator[list[Node]]:
    """An array's tokens, item by item: a comma or a new line ends one."""
    group: list[Node] = []
    for token in _flat(nodes):
        row = token.start_point.row
        goes_on = group and (token.type in ("?", ":", ".", ".?") or group[-1].type == "=>")
        if group and (token.type == "," or (group[-1].end_point.row != row and not goes_on)):
            yield group
            group = []
        if token.type != ",":
            group.append(token)
    if group:
        yield group


def _literal_within(node: Node) -> bool:
    """An array or object, other than in the body of a lambda."""
    inner = [child for child in node.children if child.type != "lambda_expression"]
    return any(child.type in ("array", "object", "for_statement") or _literal_within(child) for child in inner)


def _without(node: Node, holes: Sequence[Node]) -> str:
    text, start = node.text, node.start_byte
    for hole in reversed(holes):
        text = text[: hole.start_byte - start] + text[hole.end_byte - start :]
    return text.decode()


def _inner(node: Node) -> list[Node]:
    return [child for child in node.children if child.type not in _COMMENTS]


def _first(node: Node, kind: str) -> Node:
    return next(child for child in node.children if child.type == kind)


def _after(node: Node, token: str) -> list[Node]:
    """What follows a token; nothing where it is not there."""
    inner = _inner(node)
    found = next((i for i, child in enumerate(inner) if child.type == token), len(inner))
    return inner[found + 1 :]


def _unescaped(raw: str) -> str:
    def put(found: re.Match) -> str:
        code, character = found.groups()
        return chr(int(code, 16)) if code else _ESCAPES.get(character, found.group())

    return _ESCAPE.sub(put, raw)
