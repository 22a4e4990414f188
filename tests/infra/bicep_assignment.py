"""Whether a value may stand where it stands: parameters, outputs, properties of resources, parameters of modules.

`Assigning(typing).give(expression, type)` goes through what is written down and says where it does not fit. Where
an expression only has a type (a parameter, a function's answer), the types are compared. What is not known fits.
"""

import re

from collections.abc import Iterable, Iterator

from tests.infra import bicep_syntax as bicep
from tests.infra import bicep_types as types
from tests.infra.bicep_functions import called
from tests.infra.bicep_inference import Local, Typing
from tests.infra.bicep_symbols import like
from tests.infra.bicep_syntax import Part
from tests.infra.bicep_types import ANY, NULL, Type


class Assigning:
    """Gives values to places and notes in `typing.problems` what does not fit."""

    def __init__(self, typing: Typing):
        self.typing = typing
        self.say = typing.say

    def give(self, part: Part, target: Type, local: Local, *, partly: bool = False) -> None:
        """Put an expression at a place. `partly`: another object brings the rest, so nothing is missing yet."""
        match part:
            case bicep.Ternary(condition=condition, yes=yes, no=no):
                self.typing.of(condition, local)
                self.several([yes, no], target, local, partly=partly)
            case bicep.Binary(left=left, operator="??", right=right):
                self.give_type(left, types.without_null(self.typing.of(left, local)), target)
                self.give(right, target, local, partly=partly)
            case bicep.For(body=body):
                self.give_items(part, [body], target, self.typing.inside(part, local))
            case bicep.If(condition=condition, body=body):
                self.typing.of(condition, local)
                self.give(body, target, local, partly=partly)
            case bicep.Array(items=items):
                self.give_items(part, items, target, local)
            case bicep.Object():
                self.give_object(part, target, local, partly=partly)
            case bicep.Name(name=name) if name not in local and self.variable(name):
                self.give(self.variable(name), target, {}, partly=partly)
            case bicep.Call() if called(part) == (None, "union"):
                self.typing.of(part, local)
                self.give_union(part, target, local)
            case bicep.Call(arguments=(_, bicep.Lambda())) if called(part) == (None, "map"):
                self.typing.of(part, local)
                self.give_map(part, target, local)
            case _:
                self.give_type(part, self.typing.of(part, local), target, partly=partly)

    def variable(self, name: str) -> Part | None:
        """A variable's own expression, so that a problem is shown where it is made."""
        declared = self.typing.file.declared(name)
        return declared.value if isinstance(declared, bicep.Variable) else None

    def several(self, parts: Iterable[Part], target: Type, local: Local, *, partly: bool = False) -> None:
        for each in parts:
            self.give(each, target, local, partly=partly)

    def give_items(self, part: Part, items: Iterable[Part], target: Type, local: Local) -> None:
        found = [each for each in _options(target) if isinstance(each, types.Array | types.AnyType)]
        if not found:
            self.say(part, f"an array stands where {target} belongs")
        item = found[0].item() if found and isinstance(found[0], types.Array) else ANY
        self.several(items, item, local)

    def give_union(self, part: bicep.Call, target: Type, local: Local) -> None:
        """`union(…)`: each part may bring some of the properties; together they must bring what is required."""
        self.several(part.arguments, target, local, partly=True)
        whole = self.typing.of(part, local)
        if isinstance(whole, types.Object) and whole.other is None:
            self.give_type(part, whole, target)

    def give_map(self, part: bicep.Call, target: Type, local: Local) -> None:
        over, function = part.arguments
        items = self.typing.of(over, local)
        item = items.item() if isinstance(items, types.Array) else ANY
        names = [p.name for p in function.parameters]
        inner = {**local, **dict(zip(names, (item, types.INT), strict=False))}
        self.give_items(part, [function.body], target, inner)

    # objects

    def give_object(self, part: bicep.Object, target: Type, local: Local, *, partly: bool) -> None:
        shape = self.shape(part, target, local)
        if shape is None:
            self.say(part, f"an object stands where {target} belongs")
            shape = types.any_object()
        given = {p.name: p for p in part.properties if p.name is not None}
        for each in part.properties:
            self.give_property(each, shape, local)
        if not partly and len(given) == len(part.properties):
            for name, member in shape.members.items():
                if member.required and not member.read_only and name not in given:
                    self.say(part, f"{shape} needs {name!r}, which is not given{like(name, given)}")

    def shape(self, part: bicep.Object, target: Type, local: Local) -> types.Object | None:
        """The object type that is meant; of several that could be, one that takes everything."""
        options = [each.body if isinstance(each, types.Reference) else each for each in _options(target)]
        if any(isinstance(each, types.AnyType) for each in options):
            return types.any_object()
        found = [each for each in options if isinstance(each, types.Object | types.OneOf)]
        if len(found) != 1:
            return types.any_object() if found else None
        return self.chosen(part, found[0], local) if isinstance(found[0], types.OneOf) else found[0]

    def chosen(self, part: bicep.Object, target: types.OneOf, local: Local) -> types.Object:
        """The type that a discriminating property picks."""
        told = part.get(target.key)
        if told is None:
            self.say(part, f"{target} needs {target.key!r}, which is not given")
            return types.any_object()
        value = self.typing.of(told.value, local)
        self.give_type(told.value, value, types.STRING)
        literals = value.literals if isinstance(value, types.String) else None
        if literals is None:
            return types.any_object()
        for literal in literals - target.choices.keys():
            self.say(told.value, f"{literal!r} is no {target.key} of {target}{like(literal, target.choices)}")
        found = target.chosen(next(iter(literals))) if len(literals) == 1 else None
        return found or types.any_object()

    def give_property(self, part: bicep.Property, shape: types.Object, local: Local) -> None:
        name = part.name
        member = shape.members.get(name) if name is not None else None
        if isinstance(part.key, bicep.Text):
            self.typing.of(part.key, local)
        if member is None:
            if shape.other is None and name is not None:
                self.say(part, f"{shape} has no property {name!r}{like(name, shape.members)}")
            self.give(part.value, shape.other() if shape.other else ANY, local)
            return
        if member.read_only and not member.required:
            self.say(part, f"{name!r} of {shape} is read-only")
        target = member.type()
        if not member.required:
            target = types.union([target, NULL])
        self.give(part.value, target, local)

    # types against types

    def give_type(self, part: Part, source: Type, target: Type, *, partly: bool = False) -> None:
        for why in unfit(source, target, partly=partly):
            self.say(part, why)


def unfit(source: Type, target: Type, *, partly: bool = False) -> Iterator[str]:
    """Why a value of one type does not fit into a place of another; nothing where it does or may."""
    source = (
        source.body if isinstance(source, types.Reference) and not isinstance(target, types.Reference) else source
    )
    if isinstance(source, types.AnyType) or isinstance(target, types.AnyType):
        return
    if isinstance(source, types.Union):
        for each in source.members:
            yield from unfit(each, target, partly=partly)
        return
    options = list(_options(target))
    reasons = [list(_unfit_one(source, option, partly=partly)) for option in options]
    if all(reasons):
        same = [why for option, why in zip(options, reasons, strict=True) if type(option) is type(source)]
        yield from same[0] if same else [f"{_kind(source)} stands where {target} belongs"]


def _unfit_one(source: Type, target: Type, *, partly: bool) -> Iterator[str]:
    match source, target:
        case (_, types.AnyType()):
            return
        case (types.String(), types.String()):
            yield from _unfit_text(source, target)
        case (types.Int(), types.Int()):
            yield from _unfit_number(source, target)
        case (types.Array(), types.Array()):
            yield from unfit(source.item(), target.item())
        case (types.Object(), types.Object()):
            yield from _unfit_members(source, target, partly=partly)
        case (types.Object(), types.OneOf()) | (types.OneOf(), types.Object() | types.OneOf()):
            return
        case (types.Reference(), types.Reference()):
            return
        case _ if type(source) is not type(target):
            yield f"{_kind(source)} stands where {target} belongs"


def _unfit_text(source: types.String, target: types.String) -> Iterator[str]:
    for text in sorted(source.literals or ()):
        if target.literals is not None and text not in target.literals:
            yield f"{text!r} is not among {target}{like(text, target.literals)}"
        elif target.shortest is not None and len(text) < target.shortest:
            yield f"{text!r} is shorter than {target.shortest} characters"
        elif target.longest is not None and len(text) > target.longest:
            yield f"{text!r} is longer than {target.longest} characters"
        elif target.pattern is not None and not re.search(target.pattern, text):
            yield f"{text!r} does not match {target.pattern}"


def _unfit_number(source: types.Int, target: types.Int) -> Iterator[str]:
    if source.value is not None and target.least is not None and source.value < target.least:
        yield f"{source} is less than {target.least}"
    elif source.value is not None and target.most is not None and source.value > target.most:
        yield f"{source} is more than {target.most}"


def _unfit_members(source: types.Object, target: types.Object, *, partly: bool) -> Iterator[str]:
    """Only what the file itself wrote is looked into: an Azure type may be given to an equal one."""
    if source.other is not None or source.name not in ("object", "object of the file"):
        return
    for name, member in source.members.items():
        if name in target.members:
            yield from (f"{name}: {why}" for why in unfit(member.type(), _loose(target.members[name])))
        elif target.other is None:
            yield f"{target} has no property {name!r}{like(name, target.members)}"
        else:
            yield from (f"{name}: {why}" for why in unfit(member.type(), target.other()))
    for name, member in target.members.items():
        if member.required and not member.read_only and name not in source.members and not partly:
            yield f"{target} needs {name!r}, which is not given{like(name, source.members)}"


def _loose(member: types.Member) -> Type:
    return member.type() if member.required else types.union([member.type(), NULL])


def _options(target: Type) -> tuple[Type, ...]:
    return target.members if isinstance(target, types.Union) else (target,)


def _kind(source: Type) -> str:
    match source:
        case types.String(literals=literals):
            return f"{min(literals)!r}" if literals else "a string"
        case types.Null():
            return "null"
        case types.Array():
            return "an array"
        case types.Int(value=value):
            return "an int" if value is None else str(value)
        case types.Object() | types.OneOf():
            return "an object"
        case _:
            return f"a {source}"
