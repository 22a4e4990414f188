"""Reading a hub from Azure into a snapshot."""

from __future__ import annotations

import asyncio

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import ABSENT, JsonObject, get_at
from hubwarden.domain.rule import Mode, Rule
from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from hubwarden.domain.where import Tags
from hubwarden.service.census import census_settings, devices_facet
from hubwarden.service.errors import ConflictError, DeniedError, HubGoneError, PermanentError, TransientError
from hubwarden.service.ports import HubPort, HubRecord, Ports


_OVER: Final = ("Succeeded", "Failed")
_POLICIES_KEEP: Final = timedelta(days=1)
_KEPT: Final = frozenset({Facet.POLICIES})
"""Facets that are kept, and read again only where the hub has changed."""


async def observe(
    ports: Ports,
    hub: HubId,
    record: HubRecord | None,
    facets: Iterable[Facet] | None = None,
    *,
    also: Iterable[Facet] = (),
) -> Snapshot:
    """Read the hub now. What may not be read is an Unread facet with the reason.

    One ARM read for the body and one for each further facet. The shared access policies are read again only when
    the hub's etag is not the one that ``record`` knows them at, or after a day; the devices are counted by census,
    and what it came to is in the record.

    Args:
        ports: the world.
        hub: which.
        record: what is remembered of it.
        facets: what to read; by default all that the rules want which are not off.
        also: what to read besides.

    Raises:
        HubGoneError: there is no such hub.
        TransientError: come back later; only where the hub's body could not be read.
    """
    taken_at = ports.clock.now()
    body = await _body(ports, hub)
    snapshot = Snapshot(hub, taken_at, {Facet.HUB: body})
    asked = wanted(ports, snapshot) if facets is None else facets
    return await _with_the_rest(ports, snapshot, record, {*asked, *also})


async def observe_listed(
    ports: Ports, hub: HubId, body: JsonObject, taken_at: datetime, record: HubRecord | None
) -> Snapshot:
    """A snapshot of a body that a list has brought already, with the other facets read now."""
    snapshot = Snapshot(hub, taken_at, {Facet.HUB: body})
    return await _with_the_rest(ports, snapshot, record, wanted(ports, snapshot))


def busy(snapshot: Snapshot) -> bool:
    """Whether an operation is running on the hub: what is read meanwhile may be neither before nor after it."""
    state = get_at(snapshot.read(Facet.HUB), ("properties", "provisioningState"))
    return not (state is ABSENT or state in _OVER or snapshot.dead)


def wanted(ports: Ports, snapshot: Snapshot) -> frozenset[Facet]:
    """What the rules want to see that are not off for this hub, as far as its snapshot tells."""
    return frozenset(facet for rule in active_rules(ports, snapshot.hub, snapshot.tags) for facet in rule.reads)


def active_rules(ports: Ports, hub: HubId, tags: Tags | None) -> Iterator[Rule]:
    """The rules that are not off for this hub."""
    return (rule for rule in ports.rules if ports.policy.mode_of(rule.id, hub, tags) is not Mode.OFF)


def policies_known(record: HubRecord | None, etag: str | None, now: datetime) -> bool:
    """Whether the remembered shared access policies still stand for the hub's."""
    if record is None or record.policies is None or record.policies_at is None or etag is None:
        return False
    return record.policies_etag == etag and now - record.policies_at < _POLICIES_KEEP


async def _body(ports: Ports, hub: HubId) -> JsonObject | Unread:
    try:
        return await ports.hubs.get_hub(hub)
    except DeniedError as error:
        return Unread(str(error), error.missing_action)
    except PermanentError as error:
        return Unread(str(error))
    except ConflictError as error:
        raise TransientError(str(error)) from error


async def _with_the_rest(
    ports: Ports, snapshot: Snapshot, record: HubRecord | None, facets: Iterable[Facet]
) -> Snapshot:
    asked = sorted(set(facets) - {Facet.HUB})
    read: dict[Facet, Any] = {facet: _known(ports, snapshot, record, facet) for facet in asked}
    unknown = [facet for facet in asked if read[facet] is None]
    remembered = frozenset(facet for facet in asked if facet in _KEPT and isinstance(read[facet], Mapping))
    answers = await asyncio.gather(*(_facet(ports.hubs, snapshot, facet) for facet in unknown))
    return Snapshot(
        snapshot.hub,
        snapshot.taken_at,
        {**snapshot.facets, **read, **dict(zip(unknown, answers, strict=True))},
        record.last_good if record else {},
        remembered,
        record.last_seen if record else {},
    )


def _known(ports: Ports, snapshot: Snapshot, record: HubRecord | None, facet: Facet) -> JsonObject | Unread | None:
    """What can be said of a facet without a call, or None."""
    body = snapshot.read(Facet.HUB)
    if isinstance(body, Unread):
        return body
    if snapshot.dead:
        return Unread(f"the hub is {snapshot.dead}: it serves nobody and cannot be changed")
    if facet is Facet.POLICIES and policies_known(record, snapshot.etag, snapshot.taken_at):
        assert record is not None
        return record.policies
    if facet is Facet.DEVICES:
        return devices_facet(record, body, census_settings(ports, snapshot.hub, snapshot.tags), snapshot.taken_at)
    return None


_READERS: Final[Mapping[Facet, Callable[[HubPort, Snapshot], Coroutine[Any, Any, JsonObject]]]] = {
    Facet.POLICIES: lambda hubs, seen: hubs.sas_policies(seen.hub),
    Facet.DIAGNOSTICS: lambda hubs, seen: hubs.diagnostics(seen.hub),
    Facet.DEFENDER: lambda hubs, seen: hubs.security_solutions(seen.hub.subscription, since=seen.taken_at),
}


async def _facet(hubs: HubPort, seen: Snapshot, facet: Facet) -> JsonObject | Unread:
    """One facet; trouble with it hides no other. That the hub is gone meanwhile shows at the next look."""
    try:
        return await _READERS[facet](hubs, seen)
    except DeniedError as error:
        return Unread(str(error), error.missing_action)
    except PermanentError as error:
        return Unread(str(error))
    except (TransientError, ConflictError, HubGoneError) as error:
        return Unread(str(error), passing=True)
