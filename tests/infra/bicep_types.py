"""What a value may be: the types of Bicep's own language and those of Azure's resources, in one vocabulary.

`resource_type("Microsoft.Web/sites", "2025-03-01")` reads the type data of Azure's Bicep compiler (a folder
`<provider>/<version>/types*.json`, as https://github.com/Azure/bicep-types-az publishes them). `available()` says
whether the data is there; nothing else in this module needs it.

Flags of a property, as the compiler reads them: 1 required, 2 read-only, 4 write-only, 8 known when the deployment
starts. The compiler lets a union of literals that also has `string` in it take any text. Here a literal that is
not among its literals counts as wrong all the same: it is a misspelling far more often than a value that the data
does not know yet.
"""

import functools
import json

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "bicep-types"

REQUIRED, READ_ONLY, AT_START = 1, 2, 8

TENANT, MANAGEMENT_GROUP, SUBSCRIPTION, RESOURCE_GROUP, EXTENSION = 1, 2, 4, 8, 16


@dataclass(frozen=True)
class Type:
    """A type; `str()` is how a message names it."""


@dataclass(frozen=True)
class AnyType(Type):
    def __str__(self):
        return "any"


@dataclass(frozen=True)
class Null(Type):
    def __str__(self):
        return "null"


@dataclass(frozen=True)
class Bool(Type):
    def __str__(self):
        return "bool"


@dataclass(frozen=True)
class Int(Type):
    """A whole number from `least` to `most`; a number that is written down is from itself to itself."""

    least: int | None = None
    most: int | None = None

    @property
    def value(self) -> int | None:
        return self.least if self.least == self.most else None

    def __str__(self):
        return "int" if self.value is None else str(self.value)


@dataclass(frozen=True)
class String(Type):
    """Any text; `literals`: the values it may have, where they are known. `secret`: not to be seen by anybody."""

    literals: frozenset[str] | None = None
    shortest: int | None = None
    longest: int | None = None
    pattern: str | None = None
    secret: bool = False

    def __str__(self):
        return "string" if self.literals is None else " | ".join(f"'{each}'" for each in sorted(self.literals))


@dataclass(frozen=True, eq=False)
class Array(Type):
    """`item` is called when it is needed: types may contain themselves."""

    item: Callable[[], Type]
    shortest: int | None = None
    longest: int | None = None

    def __str__(self):
        return "array"


@dataclass(frozen=True, eq=False)
class Member:
    """A property of an object type."""

    type: Callable[[], Type]
    flags: int = 0

    @property
    def required(self) -> bool:
        return bool(self.flags & REQUIRED)

    @property
    def read_only(self) -> bool:
        return bool(self.flags & READ_ONLY)

    @property
    def at_start(self) -> bool:
        return bool(self.flags & AT_START)


@dataclass(frozen=True, eq=False)
class Object(Type):
    """`other` is the type of the properties that have no name here; None: there are none."""

    name: str
    members: Mapping[str, Member] = field(default_factory=dict)
    other: Callable[[], Type] | None = None

    def __str__(self):
        return self.name


@dataclass(frozen=True, eq=False)
class OneOf(Type):
    """Objects that one property (`key`) tells apart."""

    name: str
    key: str
    base: Mapping[str, Member]
    choices: Mapping[str, Callable[[], Type]]

    def __str__(self):
        return self.name

    def chosen(self, value: str) -> Object | None:
        """The whole type of the objects whose `key` has this value."""
        choice = self.choices.get(value)
        found = choice() if choice else None
        return (
            Object(found.name, {**self.base, **found.members}, found.other) if isinstance(found, Object) else None
        )


@dataclass(frozen=True, eq=False)
class Union(Type):
    members: tuple[Type, ...]

    def __str__(self):
        return " | ".join(dict.fromkeys(map(str, self.members)))


@dataclass(frozen=True, eq=False)
class Reference(Type):
    """A resource or module of the file, as expressions see it. `scopes`: where it may be deployed, by bits."""

    name: str
    body: Type
    scopes: int = 0

    def __str__(self):
        return self.name


ANY, NULL, BOOL, INT, STRING = AnyType(), Null(), Bool(), Int(), String()


def any_object(name: str = "object") -> Object:
    return Object(name, other=lambda: ANY)


def any_array() -> Array:
    return Array(lambda: ANY)


def array_of(item: Type) -> Array:
    return Array(lambda: item)


def object_of(members: Mapping[str, Type], name: str = "object", other: Type | None = None) -> Object:
    """An object of which every property is there."""
    named = {key: Member(functools.partial(_same, each), REQUIRED) for key, each in members.items()}
    return Object(name, named, functools.partial(_same, other) if other else None)


def union(types: Iterable[Type]) -> Type:
    """One type for several: literals of text are put together, doubles dropped, `any` swallows all."""
    flat = [each for one in types for each in (one.members if isinstance(one, Union) else (one,))]
    if not flat or ANY in flat:
        return ANY
    plain = [each for each in flat if not (isinstance(each, String) and each.literals is not None)]
    literals = frozenset(text for each in flat if each not in plain for text in each.literals)
    if literals and STRING not in plain:
        plain.append(String(literals))
    kept = tuple(dict.fromkeys(plain))
    return kept[0] if len(kept) == 1 else Union(kept)


def without_null(type_: Type) -> Type:
    members = type_.members if isinstance(type_, Union) else (type_,)
    return union(each for each in members if each != NULL)


def of_value(value: Any) -> Type:
    """The type of what a JSON or YAML file says."""
    if isinstance(value, str):
        return String(frozenset([value]))
    if isinstance(value, list):
        return array_of(union(map(of_value, value)))
    if isinstance(value, Mapping):
        return object_of({str(key): of_value(each) for key, each in value.items()}, "object of the file")
    if isinstance(value, int) and not isinstance(value, bool):
        return Int(value, value)
    return {bool: BOOL, type(None): NULL}.get(type(value), ANY)


def _same(value: Type) -> Type:
    return value


# --- Azure's resources -------------------------------------------------------------------------------------


def available() -> bool:
    """Whether the type data lies where it is looked for."""
    return DATA.is_dir()


def resource_type(name: str, version: str) -> Reference | None:
    """A resource's type, upper and lower case alike; None where the data has no such type at that version."""
    provider, _, _ = name.partition("/")
    return _provider(provider.lower(), version.lower()).get(name.lower())


def versions(name: str) -> list[str]:
    """The versions at which the data has a type, newest last."""
    folder = DATA / name.partition("/")[0].lower()
    return sorted(v.name for v in folder.iterdir() if resource_type(name, v.name)) if folder.is_dir() else []


def all_of(provider: str, version: str) -> Iterable[Reference]:
    """Every type of a provider at a version."""
    return _provider(provider.lower(), version.lower()).values()


@functools.cache
def _provider(provider: str, version: str) -> Mapping[str, Reference]:
    folder = DATA / provider / version
    return {
        key: value for path in sorted(folder.glob("types*.json")) for key, value in _TypeFile(path).resources()
    }


class _TypeFile:
    """One file of type data: a list of types that name each other by their place in it."""

    def __init__(self, path: Path):
        self.types = json.loads(path.read_text(encoding="utf-8"))
        self.made: dict[int, Type] = {}

    def resources(self) -> Iterator[tuple[str, Reference]]:
        for each in self.types:
            if each["$type"] == "ResourceType":
                name = each["name"].partition("@")[0]
                yield name.lower(), Reference(name, self.at(each["body"]), each.get("writableScopes", 0))

    def later(self, reference: Mapping[str, str]) -> Callable[[], Type]:
        return functools.partial(self.at, reference)

    def at(self, reference: Mapping[str, str]) -> Type:
        index = int(reference["$ref"].removeprefix("#/"))
        if index not in self.made:
            self.made[index] = self.make(self.types[index])
        return self.made[index]

    def make(self, raw: Mapping[str, Any]) -> Type:
        make = getattr(self, f"make_{raw['$type'].lower()}", None)
        return make(raw) if make else ANY

    def make_booleantype(self, raw: Mapping[str, Any]) -> Type:
        return BOOL

    def make_integertype(self, raw: Mapping[str, Any]) -> Type:
        return Int(raw.get("minValue"), raw.get("maxValue"))

    def make_stringtype(self, raw: Mapping[str, Any]) -> Type:
        sizes = raw.get("minLength"), raw.get("maxLength")
        return String(None, *sizes, raw.get("pattern"), raw.get("sensitive", False))

    def make_stringliteraltype(self, raw: Mapping[str, Any]) -> Type:
        return String(frozenset([raw["value"]]))

    def make_arraytype(self, raw: Mapping[str, Any]) -> Type:
        return Array(self.later(raw["itemType"]), raw.get("minLength"), raw.get("maxLength"))

    def make_uniontype(self, raw: Mapping[str, Any]) -> Type:
        """An open union of literals keeps its literals and drops its `string`."""
        members = [self.at(each) for each in raw["elements"]]
        literals = [each for each in members if isinstance(each, String) and each.literals is not None]
        return union(
            [each for each in members if not literals or each in literals or not isinstance(each, String)]
        )

    def make_objecttype(self, raw: Mapping[str, Any]) -> Type:
        other = raw.get("additionalProperties")
        return Object(raw["name"], self.members(raw["properties"]), self.later(other) if other else None)

    def make_discriminatedobjecttype(self, raw: Mapping[str, Any]) -> Type:
        choices = {value: self.later(each) for value, each in raw["elements"].items()}
        return OneOf(raw["name"], raw["discriminator"], self.members(raw["baseProperties"]), choices)

    def members(self, raw: Mapping[str, Any]) -> dict[str, Member]:
        return {name: Member(self.later(each["type"]), each["flags"]) for name, each in raw.items()}
