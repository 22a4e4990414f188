"""What the work at hand is about, for every log record that is written meanwhile (docs/telemetry.md).

Each asyncio task has its own. Nobody's name belongs here: ``actor`` is an object id or an application id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

from hubwarden.domain.finding import Actor, Finding
from hubwarden.domain.hub_id import HubId


FIELDS: Final = ("invocation_id", "trace_id", "finding_id", "rule_id", "resource_id", "attempt", "actor")
"""The fields that a record can have; ``trace_id`` is added where the record is made."""

_fields: ContextVar[Mapping[str, str]] = ContextVar("hubwarden_fields", default=MappingProxyType({}))


def fields() -> Mapping[str, str]:
    """What is known now."""
    return _fields.get()


@contextmanager
def about(
    *,
    invocation: str | None = None,
    hub: HubId | None = None,
    finding: Finding | None = None,
    attempt: int | None = None,
    actor: Actor | None = None,
) -> Iterator[None]:
    """Whatever is logged inside is about this, and about what was known before.

    Args:
        invocation: the id of the function's invocation.
        hub: the hub.
        finding: the finding, and with it its hub and rule.
        attempt: how often the work has been put off already.
        actor: who changed the hub or decided; only ids are kept.
    """
    hub = finding.hub if finding else hub
    named = {
        "invocation_id": invocation,
        "resource_id": hub.path if hub else None,
        "finding_id": finding.id if finding else None,
        "rule_id": finding.rule_id if finding else None,
        "attempt": None if attempt is None else str(attempt),
        "actor": (actor.object_id or actor.app_id) if actor else None,
    }
    token = _fields.set({**_fields.get(), **{name: value for name, value in named.items() if value}})
    try:
        yield
    finally:
        _fields.reset(token)
