"""What a hub looked like, as digests per property: enough to name what somebody else changed, nothing to leak."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from hubwarden.domain.jsons import Json, JsonObject, digest, dotted


# Azure itself changes these with every write, whoever makes it (RECORDINGS §2, §3).
_AZURES_OWN: Final = frozenset({
    "etag",
    "systemData",
    "properties.provisioningState",
    "properties.state",
    "properties.hostName",
    "properties.locations",
    "properties.privateEndpointConnections",
})  # fmt: skip


def fingerprint(body: JsonObject) -> dict[str, str]:
    """Digest per top-level member and per member of ``properties``."""
    return {path: digest(value)[:23] for path, value in _members(body) if path not in _AZURES_OWN}


def changed_since(before: Mapping[str, str], body: JsonObject) -> list[str]:
    """The members that are not as the fingerprint says, sorted."""
    now = fingerprint(body)
    return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))


def member_of(path: Sequence[str]) -> str:
    """The member that a change at this path shows in."""
    return dotted(tuple(path[: 2 if path[0] == "properties" else 1]))


def _members(body: JsonObject) -> Iterator[tuple[str, Json]]:
    for name, value in body.items():
        if name == "properties" and isinstance(value, dict):
            yield from ((dotted((name, inner)), content) for inner, content in value.items())
        else:
            yield name, value
