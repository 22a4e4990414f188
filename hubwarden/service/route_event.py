"""route_event: an event only says *look at this hub*, or *look at those that may depend on this*."""

from __future__ import annotations

import asyncio
import logging

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from hubwarden.domain.finding import Actor
from hubwarden.service.correlation import about
from hubwarden.service.errors import StorageRefusedError
from hubwarden.service.events import Ignored, Nearby, Sighting, name_of, read_event
from hubwarden.service.invocation import HUB
from hubwarden.service.messages import EvaluateMessage
from hubwarden.service.ports import Clock, HubStore, WorkQueue
from hubwarden.service.telemetry import EVENTS, SILENT, Telemetry


log = logging.getLogger(__name__)

_NEWS: Final = timedelta(hours=1)
"""An older word that a hub was deleted proves nothing: one of its name may have been made since."""
_SETTLES: Final = timedelta(seconds=10)
"""What hubs depend on is often written several times in a row: one look at each hub sees all of it."""
_A_SECOND: Final = 10
"""So many hubs are looked at in a second, that one change in Azure does not spend a subscription's reads."""
_SENT_AT_ONCE: Final = 16


async def route_event(
    event: Mapping[str, Any],
    *,
    own: Actor,
    work: WorkQueue,
    records: HubStore,
    clock: Clock,
    emails: bool = False,
    telemetry: Telemetry = SILENT,
) -> Sighting | Nearby | Ignored:
    """Send oneself a message to look at the event's hub, or at each known hub that may depend on what changed.

    Events of our own writes are dropped: verify covers them. Nothing here needs the policy file, so no event is
    lost while that is broken. However late an event comes, it does no harm: the hub is read as it is by then.

    Args:
        event: as Event Grid sent it, in either schema.
        own: our own identity, as far as it is known.
        work: where the messages go.
        records: which hubs are known.
        clock: the time.
        emails: whether the e-mail address of who did it may be kept.
        telemetry: who is told what became of it.
    """
    read = read_event(event, emails=emails)
    outcome = "ignored" if isinstance(read, Ignored) else "routed"
    if not isinstance(read, Ignored) and _same(read.actor, own):
        read = Ignored(f"our own change of {read.hub if isinstance(read, Sighting) else read.operation}")
        outcome = "own"
    name = name_of(event)
    match read:
        case Ignored():
            log.info("event %s ignored: %s", name, read.reason)
        case Sighting():
            await work.send(_look(read, clock.now()))
            telemetry.mark(HUB, read.hub.path)
            with about(hub=read.hub, actor=read.actor):
                log.info("event %s: %s by %s, will look at %s", name, read.operation, _who(read.actor), read.hub)
        case Nearby():
            number = await _look_around(read, work, records, clock.now())
            with about(actor=read.actor):
                log.info("event %s: %s by %s, will look at %d known hub(s)", name, read.operation,
                         _who(read.actor), number)  # fmt: skip
    telemetry.count(EVENTS, outcome=outcome)
    return read


def _who(actor: Actor) -> str:
    """For the log, which holds nobody's name."""
    return actor.object_id or actor.app_id or "somebody unknown"


def _look(read: Sighting, now: datetime) -> EvaluateMessage:
    return EvaluateMessage(
        hub=read.hub.path,
        asked_at=now,
        cause=f"event {read.operation}",
        actor=read.actor,
        changed_at=_past(read.changed_at, now),
        deleted=read.deleted and (read.changed_at is None or now - read.changed_at < _NEWS),
    )


async def _look_around(read: Nearby, work: WorkQueue, records: HubStore, now: datetime) -> int:
    """Ask for a look at each hub that it concerns; how many. One that nobody knows yet is the sweep's to find."""
    at_once = asyncio.Semaphore(_SENT_AT_ONCE)

    async def ask(path: str, number: int) -> None:
        message = EvaluateMessage(
            hub=path, asked_at=now, cause=f"event {read.operation}", changed_at=_past(read.changed_at, now)
        )
        async with at_once:
            await work.send(message, delay=_SETTLES + timedelta(seconds=number // _A_SECOND))

    concerned: list[str] = []
    try:
        async for record in records.of_subscription(read.subscription):
            if read.concerns(record.hub):
                concerned.append(record.hub.path)  # noqa: PERF401 - those before a failure count
    except StorageRefusedError as error:  # it will be no better when the event comes again
        log.error("some hubs are left to the sweep: %s", error)  # noqa: TRY400 - the message says it all
    await asyncio.gather(*(ask(path, number) for number, path in enumerate(concerned)))
    return len(concerned)


def _past(moment: datetime | None, now: datetime) -> datetime | None:
    """A change in the future happened now."""
    return min(now, moment) if moment else None


def _same(actor: Actor, own: Actor) -> bool:
    if own.object_id and actor.object_id:
        return _bare(actor.object_id) == _bare(own.object_id)
    return bool(own.app_id and actor.app_id and _bare(actor.app_id) == _bare(own.app_id))


def _bare(guid: str) -> str:
    """A GUID without case and dashes: ``authorization.evidence`` leaves the dashes out."""
    return guid.replace("-", "").lower()
