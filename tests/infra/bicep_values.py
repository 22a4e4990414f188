"""What an expression of a Bicep file comes to, without Azure.

    evaluate(path, "tableNames")                                 a variable
    evaluate(path, "prefix", {"environmentName": "prod"})        with parameters given; others have their defaults
    evaluate(path, "roleDefinition")                             a resource or module: its body as a dict
    evaluate(path, "rules", files={"policy.yaml": {...}})        what a file says, in the place of the file
    value_at(path, "site", "properties", "siteConfig", "appSettings")    one step a key or an index
    keys_of(path, "appSettings")      every key that the object may have, whatever the parameters

What only Azure knows (`uniqueString`, `resourceId`, `subscription()`, a property of a resource, a module's output,
a parameter that is neither given nor has a default) is an `Unknown`: a string `<the expression>` that goes through
interpolation and access unharmed, so `'st${uniqueString(x)}'` is `st<uniqueString(x)>`. A condition that is
Unknown makes the whole choice Unknown. `files` goes by a file's last name; a `policy.yaml` that is not there is
read from `policy.sample.yaml`, as the hook that makes it does.

`NoValueError` says, with file and line, what could not be worked out: an absent property without `?`, a name that
nobody declared. Objects keep the order of their keys; `items` and `objectKeys` sort, as Azure does. Names of
properties are compared with their case, which Azure does not.
"""

import functools
import json

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.infra import bicep_syntax as bicep


class Unknown(str):
    """A value that only Azure knows; its text is the expression between angle brackets."""

    __slots__ = ()


class NoValueError(LookupError):
    """An expression has no value; the text says which, where and why."""


def evaluate(
    path: Path | str,
    name: str,
    params: Mapping[str, Any] | None = None,
    *,
    files: Mapping[str, Any] | None = None,
) -> Any:
    """The value of a parameter, variable, output, resource or module; of a loop, a list.

    A resource under a condition that does not hold is None; in a loop it is left out.
    """
    file = bicep.parse(Path(path))
    if file.errors:
        raise NoValueError(f"{file.errors[0]}")
    return _Evaluation(file, params or {}, files or {}).named(name)


def value_at(
    path: Path | str,
    name: str,
    *steps: str | int,
    params: Mapping[str, Any] | None = None,
    files: Mapping[str, Any] | None = None,
) -> Any:
    """What stands at `steps` in the value of `name`. LookupError where there is nothing."""
    value = evaluate(path, name, params, files=files)
    for step in steps:
        value = value[step]
    return value


def keys_of(path: Path | str, name: str, params: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """The keys that a variable's object may have: of each branch of its choices, of each part of its unions.

    Parts that name no keys (a loop, `toObject`) are evaluated with `params`; a part that stays Unknown has none.
    """
    file = bicep.parse(Path(path))
    evaluation = _Evaluation(file, params or {}, {})
    declared = file.declared(name)
    if not isinstance(declared, bicep.Variable | bicep.Parameter):
        raise NoValueError(f"{path}: no variable or parameter {name}")
    expression = declared.value if isinstance(declared, bicep.Variable) else declared.default
    return tuple(dict.fromkeys(evaluation.keys(expression))) if expression else ()


def content_path(file: Path, relative: str) -> Path:
    """The file that a load function means; the policy's sample stands for a policy that nobody wrote yet."""
    found = (file.parent / relative).resolve()
    sample = found.with_name("policy.sample.yaml")
    missing = found.name == "policy.yaml" and not found.exists()
    return sample if missing and sample.exists() else found


type _Locals = Mapping[str, Any]


class _Evaluation:
    def __init__(self, file: bicep.BicepFile, params: Mapping[str, Any], files: Mapping[str, Any]):
        self.file = file
        self.params = params
        self.files = files
        self.known: dict[str, Any] = {}
        self.busy: set[str] = set()

    # names

    def named(self, name: str) -> Any:
        """A declaration's value, whole: a resource is its body."""
        found = self.file.declared(name) or next(
            (o for o in self.file.of(bicep.Output) if o.name.name == name), None
        )
        if isinstance(found, bicep.Resource | bicep.Module | bicep.Output):
            return self.value(found.value, {})
        if found is None:
            raise NoValueError(f"{self.file.path}: nothing is called {name}")
        return self.symbol(found.name, {})

    def symbol(self, part: bicep.Name, local: _Locals) -> Any:
        """What a name in an expression stands for; a resource is not known from here."""
        name = part.name
        if name in local:
            return local[name]
        if name not in self.known:
            if name in self.busy:
                raise self.none(part, "refers to itself")
            self.busy.add(name)
            self.known[name] = self.declared(part)
            self.busy.discard(name)
        return self.known[name]

    def declared(self, part: bicep.Name) -> Any:
        match self.file.declared(part.name):
            case None:
                raise self.none(part, "is not declared")
            case bicep.Variable(value=value):
                return self.value(value, {})
            case bicep.Parameter(default=default):
                if part.name in self.params:
                    return self.params[part.name]
                return self.unknown(part) if default is None else self.value(default, {})
            case _:
                return self.unknown(part)

    # expressions

    def value(self, part: bicep.Part, local: _Locals) -> Any:
        """One kind of expression, one method."""
        return getattr(self, f"of_{type(part).__name__.lower()}")(part, local)

    def of_literal(self, part: bicep.Literal, local: _Locals) -> Any:
        return part.value

    def of_text(self, part: bicep.Text, local: _Locals) -> Any:
        values = [p if isinstance(p, str) else self.value(p, local) for p in part.pieces]
        if len(values) == 1 and isinstance(values[0], Unknown):
            return values[0]
        return "".join(_as_text(v) for v in values)

    def of_name(self, part: bicep.Name, local: _Locals) -> Any:
        return self.symbol(part, local)

    def of_array(self, part: bicep.Array, local: _Locals) -> list:
        return [self.value(item, local) for item in part.items]

    def of_object(self, part: bicep.Object, local: _Locals) -> dict:
        return {self.key(p, local): self.value(p.value, local) for p in part.properties}

    def key(self, part: bicep.Property, local: _Locals) -> str:
        return part.key.name if isinstance(part.key, bicep.Name) else self.of_text(part.key, local)

    def of_member(self, part: bicep.Member, local: _Locals) -> Any:
        return self.access(part, local)[0]

    of_index = of_notnull = of_member

    def of_nested(self, part: bicep.Nested, local: _Locals) -> Unknown:
        return self.unknown(part)

    def access(self, part: bicep.Part, local: _Locals) -> tuple[Any, bool]:
        """A value, and whether a `?` before it found nothing: then the rest of the chain is nothing too."""
        match part:
            case bicep.NotNull(base=base):
                return self.access(base, local)
            case bicep.Member(base=base, name=name, safe=safe):
                key: Any = name.name
            case bicep.Index(base=base, index=index, safe=safe):
                key = self.value(index, local)
            case _:
                return self.value(part, local), False
        value, ended = self.access(base, local)
        if ended or (safe and value is None):
            return None, True
        if isinstance(value, Unknown) or isinstance(key, Unknown):
            return self.unknown(part), False
        if _has(value, key):
            return value[key], False
        if safe:
            return None, True
        raise self.none(part, f"there is no {key!r} in {_short(value)}")

    def of_ternary(self, part: bicep.Ternary, local: _Locals) -> Any:
        condition = self.value(part.condition, local)
        if isinstance(condition, Unknown):
            return self.unknown(part)
        return self.value(part.yes if condition else part.no, local)

    def of_unary(self, part: bicep.Unary, local: _Locals) -> Any:
        value = self.value(part.operand, local)
        if isinstance(value, Unknown):
            return self.unknown(part)
        return not value if part.operator == "!" else -value

    def of_binary(self, part: bicep.Binary, local: _Locals) -> Any:
        left = self.value(part.left, local)
        settled = {"&&": left is False, "||": left is True, "??": left is not None}
        if settled.get(part.operator):
            return left
        right = self.value(part.right, local)
        if part.operator in ("??", "&&", "||") and not isinstance(left, Unknown):
            return right
        if isinstance(left, Unknown) or isinstance(right, Unknown):
            return self.unknown(part)
        return _OPERATORS[part.operator](left, right)

    def of_lambda(self, part: bicep.Lambda, local: _Locals) -> Callable[..., Any]:
        """What is given beyond its parameters (the index, mostly) is dropped."""
        names = [p.name for p in part.parameters]

        def call(*given: Any) -> Any:
            return self.value(part.body, {**local, **dict(zip(names, given, strict=False))})

        return call

    def of_for(self, part: bicep.For, local: _Locals) -> Any:
        over = self.value(part.over, local)
        if isinstance(over, Unknown):
            return self.unknown(part)
        return list(self.rounds(part, over, local))

    def rounds(self, part: bicep.For, over: list, local: _Locals) -> Iterator[Any]:
        for index, item in enumerate(over):
            inner = {**local, part.item.name: item} | ({part.index.name: index} if part.index else {})
            value = self.value(part.body, inner)
            if value is not None or not isinstance(part.body, bicep.If):
                yield value

    def of_if(self, part: bicep.If, local: _Locals) -> Any:
        condition = self.value(part.condition, local)
        return None if condition is False else self.value(part.body, local)

    def of_call(self, part: bicep.Call, local: _Locals) -> Any:
        name = _called(part.function)
        declared = self.file.declared(name) if name else None
        if isinstance(declared, bicep.Function):
            given = [self.value(a, local) for a in part.arguments]
            return self.value(
                declared.body, dict(zip([p.name.name for p in declared.parameters], given, strict=True))
            )
        if name in _LOADERS:
            return self.loaded(part, name, local)
        if name not in _FUNCTIONS:
            return self.unknown(part)
        given = [self.value(a, local) for a in part.arguments]
        if name not in _TAKES_UNKNOWN and any(isinstance(g, Unknown) for g in given):
            return self.unknown(part)
        try:
            return _FUNCTIONS[name](*given)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise self.none(part, str(error)) from error

    def loaded(self, part: bicep.Call, name: str, local: _Locals) -> Any:
        relative = self.value(part.arguments[0], local)
        given = self.files.get(Path(relative).name)
        if given is not None:
            return given
        path = content_path(self.file.path, relative)
        if not path.is_file():
            raise self.none(part, f"{path} does not exist")
        return _LOADERS[name](path.read_text(encoding="utf-8"))

    # keys, without choosing

    def keys(self, part: bicep.Part) -> Iterator[str]:
        match part:
            case bicep.Object(properties=properties):
                yield from (self.key(p, {}) for p in properties)
            case bicep.Ternary(yes=one, no=two) | bicep.Binary(left=one, operator="??", right=two):
                yield from self.keys(one)
                yield from self.keys(two)
            case bicep.Call(function=bicep.Name(name="union" | "shallowMerge"), arguments=arguments):
                for argument in arguments:
                    yield from self.keys(argument)
            case bicep.Array(items=items):
                for item in items:
                    yield from self.keys(item)
            case bicep.Name(name=name) if isinstance(declared := self.file.declared(name), bicep.Variable):
                yield from self.keys(declared.value)
            case _:
                value = self.value(part, {})
                yield from value if isinstance(value, Mapping) else ()

    # words

    def unknown(self, part: bicep.Part) -> Unknown:
        return Unknown(f"<{self.file.text(part)}>")

    def none(self, part: bicep.Part, why: str) -> NoValueError:
        return NoValueError(f"{self.file.path}:{part.span.line}: {self.file.text(part)}: {why}")


def _called(function: bicep.Part) -> str | None:
    """The function's name, where it is one of Bicep's or the file's own and no resource's."""
    match function:
        case bicep.Name(name=name):
            return name
        case bicep.Member(base=bicep.Name(name="sys" | "az"), name=name):
            return name.name
        case _:
            return None


def _has(value: Any, key: Any) -> bool:
    if isinstance(value, Mapping):
        return key in value
    return isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value)


def _short(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, Mapping) else repr(value)[:60]


def _as_text(value: Any) -> str:
    """As `string()` and interpolation write it."""
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return str(value)


# --- operators and functions -------------------------------------------------------------------------------


def _quotient(left: int, right: int) -> int:
    """Towards zero, as .NET divides."""
    whole = abs(left) // abs(right)
    return whole if (left < 0) == (right < 0) else -whole


def _same(left: Any, right: Any) -> bool:
    """`true == 1` is false in Bicep."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": _same,
    "!=": lambda a, b: not _same(a, b),
    "=~": lambda a, b: a.lower() == b.lower(),
    "!~": lambda a, b: a.lower() != b.lower(),
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _quotient,
    "%": lambda a, b: a - _quotient(a, b) * b,
}


def _merged(one: Any, two: Any) -> Any:
    """`union`: objects deeply, arrays without doubles; of two plain values the second."""
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        both = {k: _merged(one[k], v) if isinstance(one.get(k), Mapping) else v for k, v in two.items()}
        return {**one, **both}
    if isinstance(one, list) and isinstance(two, list):
        return _distinct([*one, *two])
    return two


def _distinct(items: list) -> list:
    return [item for i, item in enumerate(items) if item not in items[:i]]


def _common(*given: Any) -> Any:
    def both(one: Any, two: Any) -> Any:
        if isinstance(one, Mapping):
            return {k: v for k, v in one.items() if k in two and two[k] == v}
        return [item for item in one if item in two]

    return functools.reduce(both, given)


def _contains(container: Any, item: Any) -> bool:
    return str(item) in container if isinstance(container, str | Mapping) else item in container


def _to_object(items: list, key: Callable[..., str], value: Callable[..., Any] = lambda item: item) -> dict:
    return {key(item): value(item) for item in items}


def _group(items: list, key: Callable[..., str]) -> dict:
    groups: dict[str, list] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _reduce(items: list, initial: Any, function: Callable[..., Any]) -> Any:
    for index, item in enumerate(items):
        initial = function(initial, item, index)
    return initial


def _sorted(items: list, before: Callable[[Any, Any], bool]) -> list:
    return sorted(items, key=functools.cmp_to_key(lambda a, b: -1 if before(a, b) else int(before(b, a))))


def _split(text: str, by: str | list) -> list:
    first, *others = [by] if isinstance(by, str) else by
    for other in others:
        text = text.replace(other, first)
    return text.split(first)


def _try_get(value: Any, *keys: Any) -> Any:
    for key in keys:
        if not _has(value, key):
            return None
        value = value[key]
    return value


def _joined(*given: Any) -> Any:
    return [item for one in given for item in one] if isinstance(given[0], list) else "".join(map(_as_text, given))


def _format(template: str, *given: Any) -> str:
    return template.format(*map(_as_text, given))


def _index(value: str | list, item: Any) -> int:
    if isinstance(value, str):
        return value.lower().find(item.lower())
    return value.index(item) if item in value else -1


def _edge(value: Any, index: int) -> Any:
    return value[index] if value else ("" if isinstance(value, str) else None)


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "any": lambda value: value,
    "array": lambda value: value if isinstance(value, list) else [value],
    "bool": lambda value: value if isinstance(value, bool) else str(value).lower() in ("true", "1"),
    "coalesce": lambda *given: next((g for g in given if g is not None), None),
    "concat": _joined,
    "contains": _contains,
    "empty": lambda value: not value,
    "endsWith": lambda text, end: text.lower().endswith(end.lower()),
    "filter": lambda items, keep: [item for i, item in enumerate(items) if keep(item, i)],
    "first": lambda value: _edge(value, 0),
    "flatten": lambda lists: [item for one in lists for item in one],
    "format": _format,
    "groupBy": _group,
    "indexOf": _index,
    "int": int,
    "intersection": _common,
    "items": lambda value: [{"key": key, "value": value[key]} for key in sorted(value, key=str.lower)],
    "join": lambda items, by: by.join(map(_as_text, items)),
    "json": json.loads,
    "last": lambda value: _edge(value, -1),
    "lastIndexOf": lambda text, item: text.lower().rfind(item.lower()),
    "length": len,
    "map": lambda items, function: [function(item, i) for i, item in enumerate(items)],
    "mapValues": lambda value, function: {key: function(each) for key, each in value.items()},
    "max": lambda *given: max(given[0] if isinstance(given[0], list) else given),
    "min": lambda *given: min(given[0] if isinstance(given[0], list) else given),
    "objectKeys": lambda value: sorted(value, key=str.lower),
    "padLeft": lambda value, width, by=" ": _as_text(value).rjust(width, by),
    "range": lambda start, count: list(range(start, start + count)),
    "reduce": _reduce,
    "replace": lambda text, old, new: text.replace(old, new),
    "shallowMerge": lambda objects: functools.reduce(lambda one, two: {**one, **two}, objects, {}),
    "skip": lambda value, count: value[max(count, 0) :],
    "sort": _sorted,
    "split": _split,
    "startsWith": lambda text, start: text.lower().startswith(start.lower()),
    "string": _as_text,
    "substring": lambda text, start, count=None: text[start : None if count is None else start + count],
    "take": lambda value, count: value[: max(count, 0)],
    "toLower": str.lower,
    "toObject": _to_object,
    "toUpper": str.upper,
    "trim": str.strip,
    "tryGet": _try_get,
    "union": lambda *given: functools.reduce(_merged, given),
}  # fmt: skip

_TAKES_UNKNOWN = ("any", "array", "coalesce")

_LOADERS: Mapping[str, Callable[[str], Any]] = {
    "loadJsonContent": json.loads,
    "loadTextContent": str,
    "loadYamlContent": yaml.safe_load,
}
