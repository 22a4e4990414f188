"""Entering a finding's new state: audit line, row, ticket, in this order; a crash repeats and never skips."""

from __future__ import annotations

import logging

from typing import Any

from hubwarden.domain.finding import Event, Finding, State
from hubwarden.service.desk import settle_ticket
from hubwarden.service.notify import announce
from hubwarden.service.ports import Ports, Stored


log = logging.getLogger(__name__)


async def enter(ports: Ports, before: Stored[Finding] | None, after: Finding, reason: str) -> Stored[Finding]:
    """Store the finding where it changed; where something happened to it, audit trail and ticket say so.

    Raises:
        StaleWriteError: somebody else wrote the finding first; nothing but an audit line was left behind.
        StorageUnavailableError: the audit trail or the table did not take it.
    """
    news = before is None or before.value.history != after.history
    told_otherwise = before is not None and _text_of(before.value) != _text_of(after)
    if news:
        await _tell(ports, before.value.state if before else None, after, reason)
        await announce(ports, before.value if before else None, after)
    if before is None or before.value != after:
        before = Stored(after, await ports.findings.save(after, before.etag if before else None))
    return await settle_ticket(ports, before, news=news or told_otherwise)


def _text_of(finding: Finding) -> tuple[str, bool]:
    """What a ticket says besides the finding's history."""
    return finding.summary, finding.observed


async def move(ports: Ports, stored: Stored[Finding], event: Event, reason: str) -> Stored[Finding]:
    """Let the event happen now and enter the result."""
    return await enter(ports, stored, stored.value.after(event, at=ports.clock.now(), reason=reason), reason)


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
    log.info("%s %s: %s → %s: %s (%s)", finding.hub, finding.rule_id, before or "new", finding.state,
             finding.summary, reason)  # fmt: skip
