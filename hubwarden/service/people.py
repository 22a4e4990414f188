"""What is for people now: it becomes an obstacle and a ticket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from hubwarden.domain.finding import Event, Finding, Obstacle, State
from hubwarden.service.gate import note_outcome
from hubwarden.service.ledger import enter, move
from hubwarden.service.ports import Ports, Stored


_FAILURES: Final = frozenset({Event.REFUSED, Event.NO_EFFECT})
"""What counts as an error of the fix; a missing right, a lock, a conflict and throttling do not."""


async def give_to_people(
    ports: Ports,
    stored: Stored[Finding],
    event: Event,
    reason: str,
    *,
    retry_in: timedelta | None = None,
    since: datetime | None = None,
) -> None:
    """End the machine's part: an obstacle and a ticket.

    It is tried again once somebody has changed the hub after ``since`` (by default: now), or after ``retry_in``;
    but what Azure said is wrong is not tried on this drift again.
    """
    if event in _FAILURES and stored.value.attempt is not None and stored.value.rollback is None:
        stops = await note_outcome(ports, stored.value.attempt.digest, f"{stored.value.hub.name}: {reason}")
        reason = f"{reason}; {stops}" if stops else reason
    now = ports.clock.now()
    retry_at = None if retry_in is None else now + retry_in
    obstacle = Obstacle(reason, since or now, retry_at, final=event is Event.REFUSED)
    moved = replace(stored.value.after(event, at=now, reason=reason), obstacle=obstacle, attempts=0)
    entered = await enter(ports, stored, moved, reason)
    if entered.value.state is State.FAILED:
        await move(ports, entered, Event.TICKET, reason)


async def tell_people(ports: Ports, approved: Sequence[Stored[Finding]], why: str) -> None:
    """The fix cannot even begin: a ticket, and another try after a change or a day."""
    for stored in approved:
        reason = f"nothing was changed: {why}"
        await give_to_people(ports, stored, Event.TICKET, reason, retry_in=ports.timings.retry_denied)
