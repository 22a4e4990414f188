"""Entering a finding's new state: audit line, row, ticket, in this order; a crash repeats and never skips.

What it means for the metrics is told once the row is stored: so each end of a fix is counted once.
"""

from __future__ import annotations

import logging

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from hubwarden.domain.finding import IN_FLIGHT, Event, Finding, State
from hubwarden.domain.message import visible
from hubwarden.service.correlation import about
from hubwarden.service.desk import settle_ticket
from hubwarden.service.notify import announce
from hubwarden.service.ports import Ports, Stored
from hubwarden.service.telemetry import FIXES, TIME_TO_DETECT, TIME_TO_FIX


log = logging.getLogger(__name__)

_ENDS: Final[Mapping[Event, str]] = MappingProxyType({
    Event.CLEARED: "proven",
    Event.NO_EFFECT: "no_effect",
    Event.NOT_ARRIVED: "not_arrived",
    Event.OVERTAKEN: "overtaken",
    Event.DENIED: "denied",
    Event.REFUSED: "refused",
})  # fmt: skip
"""What ends a fix that is under way, and how that is counted. One that is released comes again."""


async def enter(
    ports: Ports, before: Stored[Finding] | None, after: Finding, reason: str, *, gone: bool = False
) -> Stored[Finding]:
    """Store the finding where it changed; where something happened to it, audit trail and ticket say so.

    Args:
        ports: the world.
        before: the finding as it is stored; None where it is new.
        after: the finding as it is to be.
        reason: why, for people.
        gone: the hub is gone, and with it the drift: no fix is proven by that.

    Raises:
        StaleWriteError: somebody else wrote the finding first; nothing but an audit line was left behind.
        StorageUnavailableError: the audit trail or the table did not take it.
    """
    with about(finding=after):
        return await _entered(ports, before, after, reason, gone=gone)


async def _entered(
    ports: Ports, before: Stored[Finding] | None, after: Finding, reason: str, *, gone: bool
) -> Stored[Finding]:
    news = before is None or before.value.history != after.history
    told_otherwise = before is not None and _text_of(before.value) != _text_of(after)
    if news:
        await _tell(ports, before.value.state if before else None, after, reason)
        await announce(ports, before.value if before else None, after)
    if before is None or before.value != after:
        stored = Stored(after, await ports.findings.save(after, before.etag if before else None))
        _measure(ports, before.value if before else None, after, gone=gone)
        before = stored
    return await settle_ticket(ports, before, news=news or told_otherwise)


def _text_of(finding: Finding) -> tuple[str, bool, str]:
    """What a ticket says besides the finding's history."""
    return finding.summary, finding.observed, str(finding.actor)


async def move(
    ports: Ports, stored: Stored[Finding], event: Event, reason: str, *, gone: bool = False
) -> Stored[Finding]:
    """Let the event happen now and enter the result; see enter."""
    after = stored.value.after(event, at=ports.clock.now(), reason=reason)
    return await enter(ports, stored, after, reason, gone=gone)


def _measure(ports: Ports, before: Finding | None, after: Finding, *, gone: bool) -> None:
    if after.rollback is not None:
        return
    was_told = before is not None and before.state is not State.RESOLVED and before.changed_at is not None
    if after.changed_at is not None and after.state is not State.RESOLVED and not was_told:
        detected(ports, after, after.changed_at)
    if before is None or before.state not in IN_FLIGHT or after.state in IN_FLIGHT:
        return
    ends = [step.event for step in after.history if step not in before.history and step.event in _ENDS]
    if not ends:
        return
    outcome = "gone" if gone else _ENDS[ends[0]]
    ports.telemetry.count(FIXES, rule=after.rule_id, outcome=outcome)
    if outcome == "proven":
        took = ports.clock.now() - before.seen_at
        ports.telemetry.measure(TIME_TO_FIX, max(0.0, took.total_seconds()), rule=after.rule_id)


def detected(ports: Ports, finding: Finding, changed_at: datetime) -> None:
    """Tell how long it took to see the drift that a change of that moment made."""
    took = finding.seen_at - changed_at
    ports.telemetry.measure(TIME_TO_DETECT, max(0.0, took.total_seconds()), rule=finding.rule_id)


async def _tell(ports: Ports, before: State | None, finding: Finding, reason: str) -> None:
    details: dict[str, Any] = {
        "finding": finding.id,
        "hub": finding.hub.path,
        "rule": finding.rule_id,
        "subject": finding.subject,
        "from": before,
        "to": finding.state,
        "summary": finding.summary,
        "reason": reason,
        "actor": str(finding.actor) if finding.actor else None,
        "actor_id": (finding.actor.object_id or finding.actor.app_id) if finding.actor else None,
    }
    await ports.audit.append("finding", details)
    # The reason may name somebody: it is in the audit trail and in the finding's history, and not here.
    log.info("%s %s: %s → %s by %s: %s", finding.hub, finding.rule_id, before or "new", finding.state,
             finding.history[-1].event, visible(finding.summary))  # fmt: skip
