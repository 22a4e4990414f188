"""Reading a hub from Azure into a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import ABSENT, JsonObject, get_at
from hubwarden.domain.rule import Mode
from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from hubwarden.service.errors import ConflictError, DeniedError, PermanentError, TransientError
from hubwarden.service.ports import HubPort, HubRecord, Ports


_OVER: Final = ("Succeeded", "Failed")
_POLICIES_KEEP: Final = timedelta(days=1)


async def observe(
    ports: Ports, hub: HubId, record: HubRecord | None, facets: Iterable[Facet] | None = None
) -> Snapshot:
    """Read the hub now. What may not be read is an Unread facet with the reason.

    One ARM read for the body and one for each further facet, but for the shared access policies: these are read
    again only when the hub's etag is not the one that ``record`` knows them at, or after a day.

    Args:
        ports: the world.
        hub: which.
        record: what is remembered of it.
        facets: what to read; by default all that the rules want which are not off.

    Raises:
        HubGoneError: there is no such hub.
        TransientError: come back later; only where the hub's body could not be read.
    """
    taken_at = ports.clock.now()
    body = await _body(ports, hub)
    return await _with_the_rest(ports, Snapshot(hub, taken_at, {Facet.HUB: body}), record, facets)


async def observe_listed(
    ports: Ports, hub: HubId, body: JsonObject, taken_at: datetime, record: HubRecord | None
) -> Snapshot:
    """A snapshot of a body that a list has brought already, with the other facets read now."""
    return await _with_the_rest(ports, Snapshot(hub, taken_at, {Facet.HUB: body}), record, None)


def busy(snapshot: Snapshot) -> bool:
    """Whether an operation is running on the hub: what is read meanwhile may be neither before nor after it."""
    state = get_at(snapshot.read(Facet.HUB), ("properties", "provisioningState"))
    return not (state is ABSENT or state in _OVER or snapshot.dead)


def wanted(ports: Ports) -> frozenset[Facet]:
    """What the rules want to see that are not off."""
    active = (rule for rule in ports.rules if ports.policy.mode_of(rule.id) is not Mode.OFF)
    return frozenset(facet for rule in active for facet in rule.reads)


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
    ports: Ports, snapshot: Snapshot, record: HubRecord | None, facets: Iterable[Facet] | None
) -> Snapshot:
    read: dict[Facet, Any] = dict(snapshot.facets)
    body = snapshot.read(Facet.HUB)
    for facet in sorted(set(wanted(ports) if facets is None else facets) - {Facet.HUB}):
        if isinstance(body, Unread):
            read[facet] = body
        elif snapshot.dead:
            read[facet] = Unread(f"the hub is {snapshot.dead}: it serves nobody and cannot be changed")
        elif facet is Facet.POLICIES and policies_known(record, snapshot.etag, snapshot.taken_at):
            assert record is not None
            read[facet] = record.policies
        else:
            read[facet] = await _facet(ports.hubs, snapshot.hub, facet)
    return Snapshot(snapshot.hub, snapshot.taken_at, read, record.last_good if record else {})


_READERS: Final[Mapping[Facet, Callable[[HubPort, HubId], Coroutine[Any, Any, JsonObject]]]] = {
    Facet.POLICIES: lambda hubs, hub: hubs.sas_policies(hub),
    Facet.DIAGNOSTICS: lambda hubs, hub: hubs.diagnostics(hub),
}


async def _facet(hubs: HubPort, hub: HubId, facet: Facet) -> JsonObject | Unread:
    """One facet; trouble with it hides no other. That the hub is gone meanwhile shows at the next look."""
    try:
        return await _READERS[facet](hubs, hub)
    except DeniedError as error:
        return Unread(str(error), error.missing_action)
    except PermanentError as error:
        return Unread(str(error))
    except (TransientError, ConflictError) as error:
        return Unread(str(error), passing=True)
