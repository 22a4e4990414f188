"""What type an expression has, as far as it can be told; and where an expression reads what is not there.

`Typing(file)` knows one file. `of(expression, local)` gives its type, `any` where nothing is known, and puts what
it stumbles over (a property that the type has not) into `problems`.
"""

import json

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tests.infra import bicep_syntax as bicep
from tests.infra import bicep_types as types
from tests.infra.bicep_fit import unfit
from tests.infra.bicep_functions import LAMBDAS, TAKES, builtin, called
from tests.infra.bicep_symbols import like
from tests.infra.bicep_syntax import BicepFile, Part, Problem
from tests.infra.bicep_types import ANY, Type
from tests.infra.bicep_values import content_path


type Local = Mapping[str, Type]

_PRIMITIVES = {
    "any": ANY,
    "array": types.any_array(),
    "bool": types.BOOL,
    "int": types.INT,
    "object": types.any_object(),
    "string": types.STRING,
}

_EVERY_RESOURCE = {
    "name": types.Member(lambda: types.STRING, types.REQUIRED),
    **dict.fromkeys(("id", "type", "apiVersion"), types.Member(lambda: types.STRING, types.READ_ONLY)),
}
"""What is known of a resource of which the type data knows nothing."""

_ORDERED = types.union([types.INT, types.STRING])

_OPERATORS = {
    **dict.fromkeys(("&&", "||"), (types.BOOL, types.BOOL)),
    **dict.fromkeys(("==", "!="), (ANY, types.BOOL)),
    **dict.fromkeys(("=~", "!~"), (types.STRING, types.BOOL)),
    **dict.fromkeys(("<", "<=", ">", ">="), (_ORDERED, types.BOOL)),
    **dict.fromkeys(("+", "-", "*", "/", "%"), (types.INT, types.INT)),
    "??": (ANY, ANY),
}
"""What an operator's two sides are, and what comes out."""


class Typing:
    """The types of one file's expressions."""

    def __init__(self, file: BicepFile):
        self.file = file
        self.problems: dict[Problem, None] = {}
        self.known: dict[str, Type] = {}

    def say(self, at: Part, message: str) -> None:
        """One problem once, however many ways lead to it."""
        self.problems.setdefault(self.file.problem(at, message))

    # declarations

    def declared(self, name: str) -> Type:
        """What a symbol of the file is."""
        if name not in self.known:
            self.known[name] = ANY
            self.known[name] = self.of_declaration(self.file.declared(name))
        return self.known[name]

    def of_declaration(self, declaration: bicep.Declaration | None) -> Type:
        match declaration:
            case bicep.Parameter():
                return self.of_parameter(declaration)
            case bicep.Variable(value=value):
                return self.of(value, {})
            case bicep.Resource():
                return _looped(declaration.value, self.of_resource(declaration))
            case bicep.Module():
                return _looped(declaration.value, self.of_module(declaration))
            case _:
                return ANY

    def of_parameter(self, parameter: bicep.Parameter) -> Type:
        """The declared type, narrowed by `@allowed`, `@secure` and the limits that its decorators set."""
        declared = self.written(parameter.type)
        allowed = parameter.decorated("allowed")
        if allowed and declared in (types.STRING, types.INT):
            values = [self.of(item, {}) for item in getattr(allowed.call.arguments[0], "items", ())]
            return types.union(values) if values else declared
        if declared == types.INT:
            return types.Int(_limit(parameter, "minValue"), _limit(parameter, "maxValue"))
        if declared == types.STRING:
            limits = _limit(parameter, "minLength"), _limit(parameter, "maxLength")
            return types.String(None, *limits, secret=parameter.decorated("secure") is not None)
        return declared

    def of_resource(self, resource: bicep.Resource, parent: str = "") -> types.Reference:
        name, version = type_and_version(resource, parent)
        found = types.resource_type(name, version) if types.available() else None
        body = found.body if found else types.Object(name, _EVERY_RESOURCE, lambda: ANY)
        return types.Reference(f"{name}@{version}", body)

    def of_module(self, module: bicep.Module) -> Type:
        other = module_file(self.file, module)
        if other is None:
            return ANY
        typing = Typing(other)
        outputs = {o.name.name: typing.written(o.type) for o in other.of(bicep.Output)}
        members = {"name": types.STRING, "outputs": types.object_of(outputs, f"outputs of {module.path.literal}")}
        return types.Reference(f"module {module.path.literal}", types.object_of(members))

    # types that are written down

    def written(self, part: Part) -> Type:
        """One kind of type, one method; what has none is `any`."""
        find = getattr(self, f"written_{type(part).__name__.lower()}", None)
        return find(part) if find else ANY

    def written_typename(self, part: bicep.TypeName) -> Type:
        declared = self.file.declared(part.name)
        if isinstance(declared, bicep.TypeDeclaration):
            return self.written(declared.type)
        return _PRIMITIVES.get(part.name, ANY)

    def written_typeliteral(self, part: bicep.TypeLiteral) -> Type:
        return types.of_value(part.value)

    def written_typearray(self, part: bicep.TypeArray) -> Type:
        return types.Array(lambda: self.written(part.item))

    def written_typenullable(self, part: bicep.TypeNullable) -> Type:
        return types.union([self.written(part.base), types.NULL])

    def written_typeunion(self, part: bicep.TypeUnion) -> Type:
        return types.union(map(self.written, part.members))

    def written_typeobject(self, part: bicep.TypeObject) -> Type:
        def later(inner: Part) -> Callable[[], Type]:
            return lambda: self.written(inner)

        members = {
            p.name: types.Member(later(p.type), 0 if isinstance(p.type, bicep.TypeNullable) else types.REQUIRED)
            for p in part.properties
        }
        return types.Object("object", members, later(part.additional) if part.additional else None)

    # expressions

    def of(self, part: Part, local: Local) -> Type:
        """One kind of expression, one method; what has none is `any`."""
        find = getattr(self, f"of_{type(part).__name__.lower()}", None)
        return find(part, local) if find else ANY

    def of_literal(self, part: bicep.Literal, local: Local) -> Type:
        return types.of_value(part.value)

    def of_text(self, part: bicep.Text, local: Local) -> Type:
        self.all_of([p for p in part.pieces if isinstance(p, Part)], local)
        return types.STRING if part.literal is None else types.String(frozenset([part.literal]))

    def of_name(self, part: bicep.Name, local: Local) -> Type:
        return local[part.name] if part.name in local else self.declared(part.name)

    def of_array(self, part: bicep.Array, local: Local) -> Type:
        return types.array_of(types.union(self.all_of(part.items, local)) if part.items else ANY)

    def of_object(self, part: bicep.Object, local: Local) -> Type:
        members = {p.name: self.of(p.value, local) for p in part.properties if p.name is not None}
        dynamic = [self.of(p.value, local) for p in part.properties if p.name is None]
        return types.object_of(members, other=types.union(dynamic) if dynamic else None)

    def of_notnull(self, part: bicep.NotNull, local: Local) -> Type:
        return types.without_null(self.of(part.base, local))

    def of_unary(self, part: bicep.Unary, local: Local) -> Type:
        result = types.BOOL if part.operator == "!" else types.INT
        self.expect(part.operand, local, result)
        return result

    def of_binary(self, part: bicep.Binary, local: Local) -> Type:
        expected, result = _OPERATORS[part.operator]
        left, right = (self.expect(each, local, expected) for each in (part.left, part.right))
        return types.union([types.without_null(left), right]) if part.operator == "??" else result

    def of_ternary(self, part: bicep.Ternary, local: Local) -> Type:
        self.expect(part.condition, local, types.BOOL)
        return types.union(self.all_of([part.yes, part.no], local))

    def of_for(self, part: bicep.For, local: Local) -> Type:
        return types.array_of(self.of(part.body, self.inside(part, local)))

    def of_if(self, part: bicep.If, local: Local) -> Type:
        self.expect(part.condition, local, types.BOOL)
        return self.of(part.body, local)

    def of_lambda(self, part: bicep.Lambda, local: Local) -> Type:
        """Only a function's argument may be one, and those are looked at with the function."""
        self.say(part, "a lambda can only be an argument of map, filter and their like")
        return ANY

    def expect(self, part: Part, local: Local, target: Type) -> Type:
        """The type of an operand or argument, which must fit."""
        found = self.of(part, local)
        for why in unfit(types.without_null(found), target):
            self.say(part, why)
        return found

    def of_nested(self, part: bicep.Nested, local: Local) -> Type:
        parent = self.file.declared(part.base.name) if isinstance(part.base, bicep.Name) else None
        body = bicep.body_of(parent.value) if isinstance(parent, bicep.Resource) else None
        found = next((r for r in body.resources if r.name.name == part.name.name), None) if body else None
        return self.of_resource(found, parent.type.literal or "") if found and parent else ANY

    def inside(self, part: bicep.For, local: Local) -> dict[str, Type]:
        """The locals of a loop's body."""
        item = _item(self.expect(part.over, local, types.any_array()))
        names = {part.item.name: item} | ({part.index.name: types.INT} if part.index else {})
        return {**local, **names}

    def all_of(self, parts: Iterable[Part], local: Local) -> list[Type]:
        return [self.of(each, local) for each in parts]

    # reading

    def of_member(self, part: bicep.Member, local: Local) -> Type:
        return self.read(part, self.of(part.base, local), part.name.name, safe=part.safe)

    def of_index(self, part: bicep.Index, local: Local) -> Type:
        self.of(part.index, local)
        base = types.without_null(self.of(part.base, local))
        if isinstance(base, types.Array):
            self.expect(part.index, local, types.INT)
            return base.item()
        if isinstance(part.index, bicep.Text) and part.index.literal is not None:
            return self.read(part, base, part.index.literal, safe=part.safe)
        return ANY

    def read(self, part: bicep.Member | bicep.Index, base: Type, name: str, *, safe: bool) -> Type:
        """A property's type; what no reading of the base has is a problem."""
        base = types.without_null(base)
        options = base.members if isinstance(base, types.Union) else (base,)
        found = [each for option in options for each in [_property(option, name)] if each]
        if found:
            return types.union([each() for each in found] + ([types.NULL] if safe else []))
        at = part.name if isinstance(part, bicep.Member) else part
        names = sorted({each for option in options for each in _names(option)})
        self.say(at, f"{base} has no property {name!r}{like(name, names)}")
        return ANY

    # calls

    def of_call(self, part: bicep.Call, local: Local) -> Type:
        namespace, name = called(part)
        given = getattr(self, f"call_{name.lower()}", None) if counted(part) else None
        if namespace != "?":
            self.arguments(part, name, local)
        if given:
            return given(part, local)
        if namespace == "?":
            self.all_of(part.arguments, local)
            self.of(part.function.base if isinstance(part.function, bicep.Member) else part.function, local)
            return ANY
        own = self.file.declared(name)
        if isinstance(own, bicep.Function):
            return self.written(own.returns)
        found = builtin(name)
        return found.gives if found else ANY

    def arguments(self, part: bicep.Call, name: str, local: Local) -> None:
        """Each argument is what its function takes."""
        takes, lambdas = TAKES.get(name, (ANY,)), LAMBDAS.get(name, {})
        for index, argument in enumerate(part.arguments):
            if index in lambdas:
                self.argument_lambda(part, argument, *lambdas[index], local)
            else:
                self.expect(argument, local, takes[min(index, len(takes) - 1)])

    def argument_lambda(
        self, part: bicep.Call, given: Part, least: int, most: int, gives: Type, local: Local
    ) -> None:
        name = called(part)[1]
        if not isinstance(given, bicep.Lambda):
            self.say(given, f"{name}() takes a lambda here")
        elif not least <= len(given.parameters) <= most:
            self.say(given, f"{name}() takes a lambda of {least} to {most} parameters")
        elif counted(part):
            for why in unfit(types.without_null(self.applied(part, local, given)), gives):
                self.say(given.body, why)

    def call_any(self, part: bicep.Call, local: Local) -> Type:
        return ANY

    def call_union(self, part: bicep.Call, local: Local) -> Type:
        """Objects are put together where each is known; a part under a choice may be missing."""
        given = self.all_of(part.arguments, local)
        if any(isinstance(each, types.Array) for each in given):
            return types.array_of(types.union(_item(each) for each in given))
        objects = [each for each in given if isinstance(each, types.Object)]
        if len(objects) < len(given):
            return types.any_object() if objects else ANY
        members = {key: member for each in objects for key, member in each.members.items()}
        loose = any(each.other for each in objects)
        return types.Object("object", members, (lambda: ANY) if loose else None)

    def call_concat(self, part: bicep.Call, local: Local) -> Type:
        given = self.all_of(part.arguments, local)
        if all(isinstance(each, types.String) for each in given):
            return types.STRING
        return types.array_of(types.union(_item(each) for each in given))

    def call_map(self, part: bicep.Call, local: Local) -> Type:
        return types.array_of(self.applied(part, local))

    def call_filter(self, part: bicep.Call, local: Local) -> Type:
        self.applied(part, local)
        over = self.of(part.arguments[0], local)
        return over if isinstance(over, types.Array) else types.any_array()

    call_sort = call_filter

    def call_toobject(self, part: bicep.Call, local: Local) -> Type:
        values = [self.applied(part, local, each) for each in part.arguments[1:]]
        other = values[1] if len(values) > 1 else _item(self.of(part.arguments[0], local))
        return types.object_of({}, other=other)

    def call_items(self, part: bicep.Call, local: Local) -> Type:
        over = self.of(part.arguments[0], local)
        values = [m.type() for m in over.members.values()] if isinstance(over, types.Object) else [ANY]
        values += [over.other()] if isinstance(over, types.Object) and over.other else []
        return types.array_of(types.object_of({"key": types.STRING, "value": types.union(values)}, "item"))

    def call_flatten(self, part: bicep.Call, local: Local) -> Type:
        return types.array_of(_item(_item(self.of(part.arguments[0], local))))

    def call_first(self, part: bicep.Call, local: Local) -> Type:
        return _item(self.of(part.arguments[0], local))

    call_last = call_first

    def call_coalesce(self, part: bicep.Call, local: Local) -> Type:
        return types.union(map(types.without_null, self.all_of(part.arguments, local)))

    def call_loadjsoncontent(self, part: bicep.Call, local: Local) -> Type:
        """The compiler knows what the file says, so a name that is not in it is wrong."""
        path = literal_path(self.file, part)
        if path is None or path.suffix != ".json" or not path.is_file() or len(part.arguments) > 1:
            return ANY
        try:
            return types.of_value(json.loads(path.read_text(encoding="utf-8")))
        except ValueError:
            return ANY

    def applied(self, part: bicep.Call, local: Local, function: Part | None = None) -> Type:
        """What a lambda gives for the items of the call's first argument."""
        item = _item(self.of(part.arguments[0], local))
        function = function or part.arguments[1]
        if not isinstance(function, bicep.Lambda):
            return ANY
        given = {"sort": (item, item), "reduce": (ANY, item, types.INT)}.get(called(part)[1], (item, types.INT))
        names = [p.name for p in function.parameters]
        return self.of(function.body, {**local, **dict(zip(names, given, strict=False))})


def counted(call: bicep.Call) -> bool:
    """Whether it is one of Bicep's functions with as many arguments as it needs."""
    namespace, name = called(call)
    found = builtin(name) if namespace != "?" else None
    return found is not None and len(call.arguments) >= found.least


def type_and_version(resource: bicep.Resource, parent: str = "") -> tuple[str, str]:
    """`Microsoft.X/ys` and `2024-01-01`; of a nested resource with those of its parent."""
    name, _, version = (resource.type.literal or "").partition("@")
    if not parent:
        return name, version
    above, _, inherited = parent.partition("@")
    return f"{above}/{name}", version or inherited


def resources(file: BicepFile) -> Iterator[tuple[bicep.Resource, str]]:
    """Every resource, nested ones too, each with its parent's type at its version ("" at the top)."""

    def below(resource: bicep.Resource, parent: str) -> Iterator[tuple[bicep.Resource, str]]:
        yield resource, parent
        body = bicep.body_of(resource.value)
        for inner in body.resources if body else ():
            yield from below(inner, "@".join(type_and_version(resource, parent)))

    for each in file.of(bicep.Resource):
        yield from below(each, "")


def module_file(file: BicepFile, module: bicep.Module) -> BicepFile | None:
    """The file that a module is made of, where it is a file here and can be read."""
    path = file.path.parent / (module.path.literal or "")
    if not path.is_file():
        return None
    other = bicep.parse(path.resolve())
    return None if other.errors else other


def literal_path(file: BicepFile, call: bicep.Call) -> Path | None:
    """The file that a load function reads."""
    argument = call.arguments[0] if call.arguments else None
    relative = argument.literal if isinstance(argument, bicep.Text) else None
    return content_path(file.path, relative) if relative else None


def _limit(parameter: bicep.Parameter, name: str) -> int | None:
    """The number that a decorator such as `@minValue(1)` sets."""
    decorator = parameter.decorated(name)
    argument = decorator.call.arguments[0] if decorator and decorator.call.arguments else None
    return argument.value if isinstance(argument, bicep.Literal) else None


def _looped(value: Part, each: Type) -> Type:
    return types.array_of(each) if isinstance(value, bicep.For) else each


def _item(type_: Type) -> Type:
    return type_.item() if isinstance(type_, types.Array) else ANY


def _property(base: Type, name: str) -> Callable[[], Type] | None:
    """How to find a property's type; None: there is no such property."""
    match base:
        case types.Reference(body=body):
            return _property(body, name)
        case types.Object(members=members, other=other):
            return members[name].type if name in members else other
        case types.OneOf(key=key, base=members, choices=choices):
            if name == key:
                return lambda: types.STRING
            options = [members] + [c.members for choice in choices.values() for c in [choice()]]
            found = [each[name].type for each in options if name in each]
            return (lambda: types.union(each() for each in found)) if found else None
        case types.AnyType():
            return lambda: ANY
        case _:
            return None


def _names(base: Type) -> Iterable[str]:
    match base:
        case types.Reference(body=body):
            return _names(body)
        case types.Object(members=members):
            return members
        case _:
            return ()
