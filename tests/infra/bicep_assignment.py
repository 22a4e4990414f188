"""Whether a value may stand where it stands: parameters, outputs, properties of resources, parameters of modules.

`Assigning(typing).give(expression, type)` goes through what is written down and says where it does not fit. Where
an expression only has a type (a parameter, a function's answer), the types are compared. What is not known fits.
"""

from collections.abc import Iterable

from tests.infra import bicep_syntax as bicep
from tests.infra import bicep_types as types
from tests.infra.bicep_fit import options_of, unfit
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
                self.typing.expect(condition, local, types.BOOL)
                self.several([yes, no], target, local, partly=partly)
            case bicep.Binary(left=left, operator="??", right=right):
                self.give_type(left, types.without_null(self.typing.of(left, local)), target)
                self.give(right, target, local, partly=partly)
            case bicep.For(body=body):
                self.give_items(part, [body], target, self.typing.inside(part, local))
            case bicep.If(condition=condition, body=body):
                self.typing.expect(condition, local, types.BOOL)
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
        found = [each for each in options_of(target) if isinstance(each, types.Array | types.AnyType)]
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
        options = [each.body if isinstance(each, types.Reference) else each for each in options_of(target)]
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
