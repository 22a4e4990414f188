"""JSON as values: types, canonical bytes, paths into a document and what differs between two documents."""

from __future__ import annotations

import copy
import hashlib
import json

from collections.abc import Iterator, Mapping
from typing import Any, Final


type Json = bool | int | float | str | list[Json] | dict[str, Json] | None
type JsonObject = dict[str, Json]
type Path = tuple[str, ...]


class NotAnObjectError(ValueError):
    """A path leads through something that is no JSON object."""


class _Absent:
    """Stands for a property that is not there; JSON null is a value, absence is not."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __reduce__(self) -> str:
        return "ABSENT"  # a copy is the same object, so that ``is ABSENT`` holds


ABSENT: Final = _Absent()
type MaybeJson = Json | _Absent


def digest(value: Json) -> str:
    """SHA-256 over a canonical form: equal documents have equal digests, whatever their key order.

    The form is JSON with sorted keys, no white space and ASCII only. RFC 8785 is not it: that cannot write every
    integer that a hub may hold, and writes 1 and 1.0 alike.
    """
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def get_at(document: Mapping[str, Any], path: Path) -> MaybeJson:
    """The value at a path of object keys, or ABSENT."""
    here: Any = document
    for key in path:
        if not isinstance(here, Mapping) or key not in here:
            return ABSENT
        here = here[key]
    return here  # type: ignore[no-any-return]


def with_value(document: JsonObject, path: Path, value: MaybeJson) -> JsonObject:
    """A deep copy of the document in which only this path differs; objects on the way are made as needed.

    Raises:
        NotAnObjectError: the path leads through null, a list, a text or a number; what is there is not replaced.
    """
    result = copy.deepcopy(document)
    if isinstance(value, _Absent) and get_at(document, path) is ABSENT:
        return result
    here: Any = result
    for depth, key in enumerate(path[:-1], start=1):
        here = here.setdefault(key, {})
        if not isinstance(here, dict):
            raise NotAnObjectError(f"{dotted(path[:depth])} is no object, so there can be no {dotted(path)}")
    if isinstance(value, _Absent):
        del here[path[-1]]
    else:
        here[path[-1]] = copy.deepcopy(value)
    return result


def same(one: MaybeJson, other: MaybeJson) -> bool:
    """Whether two values are the same JSON at every depth; 1, 1.0 and true differ, unlike in Python."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def differences(before: MaybeJson, after: MaybeJson, at: Path = ()) -> Iterator[Path]:
    """The paths at which two documents differ, as deep as both are objects; lists are compared whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from differences(before.get(key, ABSENT), after.get(key, ABSENT), (*at, key))
    elif not same(before, after):
        yield at


def dotted(path: Path) -> str:
    """A path as people read it: ``properties.minTlsVersion``."""
    return ".".join(path)
