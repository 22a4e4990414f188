"""Whether a value of one type may stand where another type is asked for, and if not, why."""

import re

from collections.abc import Iterator

from tests.infra import bicep_types as types
from tests.infra.bicep_symbols import like
from tests.infra.bicep_types import NULL, Type


def unfit(source: Type, target: Type, *, partly: bool = False) -> Iterator[str]:
    """Why a value of one type does not fit into a place of another; nothing where it does or may."""
    if isinstance(source, types.Reference) and not any(isinstance(o, types.Reference) for o in options_of(target)):
        source = source.body
    if isinstance(source, types.AnyType) or isinstance(target, types.AnyType):
        return
    if isinstance(source, types.Union):
        for each in source.members:
            yield from unfit(each, target, partly=partly)
        return
    options = options_of(target)
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


def options_of(target: Type) -> tuple[Type, ...]:
    """The types that a place takes."""
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
