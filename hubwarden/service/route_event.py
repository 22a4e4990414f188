"""route_event: an event only says *look at this hub*."""

from __future__ import annotations

import logging

from collections.abc import Mapping
from typing import Any

from hubwarden.domain.finding import Actor
from hubwarden.service.correlation import about
from hubwarden.service.events import Ignored, Sighting, read_event
from hubwarden.service.invocation import HUB
from hubwarden.service.messages import EvaluateMessage
from hubwarden.service.ports import Clock, WorkQueue
from hubwarden.service.telemetry import EVENTS, SILENT, Telemetry


log = logging.getLogger(__name__)


async def route_event(
    event: Mapping[str, Any],
    *,
    own: Actor,
    work: WorkQueue,
    clock: Clock,
    emails: bool = False,
    telemetry: Telemetry = SILENT,
) -> Sighting | Ignored:
    """Send oneself a message to look at the event's hub.

    Events of our own writes are dropped: verify covers them. Nothing here needs the policy file, so no event is
    lost while that is broken.

    Args:
        event: as Event Grid sent it, in either schema.
        own: our own identity, as far as it is known.
        work: where the message goes.
        clock: the time.
        emails: whether the e-mail address of who did it may be kept.
        telemetry: who is told what became of it.
    """
    read = read_event(event, emails=emails)
    outcome = "ignored" if isinstance(read, Ignored) else "routed"
    if isinstance(read, Sighting) and _same(read.actor, own):
        read, outcome = Ignored(f"our own change of {read.hub}"), "own"
    if isinstance(read, Ignored):
        log.info("event %s ignored: %s", str(event.get("id"))[:100], read.reason)
        telemetry.count(EVENTS, outcome=outcome)
        return read
    now = clock.now()
    message = EvaluateMessage(
        hub=read.hub.path,
        asked_at=now,
        cause=f"event {read.operation}",
        actor=read.actor,
        changed_at=min(now, read.changed_at) if read.changed_at else None,
        deleted=read.deleted,
    )
    await work.send(message)
    telemetry.count(EVENTS, outcome=outcome)
    telemetry.mark(HUB, read.hub.path)
    with about(hub=read.hub, actor=read.actor):
        log.info("event %s: %s by %s, will look at %s", str(event.get("id"))[:100], read.operation,
                 read.actor.object_id or read.actor.app_id or "somebody unknown", read.hub)  # fmt: skip
    return read


def _same(actor: Actor, own: Actor) -> bool:
    if own.object_id and actor.object_id:
        return _bare(actor.object_id) == _bare(own.object_id)
    return bool(own.app_id and actor.app_id and _bare(actor.app_id) == _bare(own.app_id))


def _bare(guid: str) -> str:
    """A GUID without case and dashes: ``authorization.evidence`` leaves the dashes out."""
    return guid.replace("-", "").lower()
