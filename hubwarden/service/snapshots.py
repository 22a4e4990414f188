"""Keeping what a write changes, before it is sent; and what became of it."""

from __future__ import annotations

import logging

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from hubwarden.domain.finding import Attempt, Event, Finding
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.plan import Change, Plan
from hubwarden.domain.remediation import KEPT, Outcome, Remediation
from hubwarden.domain.rollback import undoing, unread
from hubwarden.domain.snapshot import Snapshot
from hubwarden.service.errors import StorageUnavailableError
from hubwarden.service.ports import Ports, Stored


log = logging.getLogger(__name__)

_ALLOWS = frozenset({Event.FIX, Event.APPROVE})


async def keep(ports: Ports, plan: Plan, claims: Sequence[Stored[Finding]]) -> None:
    """Keep the state of the declared paths before the write; where that cannot be, there must be no write.

    Raises:
        StorageUnavailableError: it is not kept.
    """
    findings = [claim.value for claim in claims]
    attempt, rollback = findings[0].attempt, findings[0].rollback
    assert attempt is not None, "only a claim writes"
    await ports.remediations.keep(
        Remediation(
            id=attempt.remediation,
            hub=plan.hub,
            rules=tuple(sorted({change.rule_id for change in plan.changes})),
            findings=tuple(finding.id for finding in findings) if rollback is None else rollback.findings,
            target=plan.target,
            plan=plan.digest,
            etag=plan.etag,
            changes=tuple(change.as_json() for change in plan.changes),
            decided=tuple(_allowed_by(finding) for finding in findings),
            at=attempt.started_at,
            rolls_back=None if rollback is None else rollback.remediation,
        )
    )


def _allowed_by(finding: Finding) -> str:
    """What let the machine write, in the words of the finding's history."""
    return next((step.reason for step in reversed(finding.history) if step.event in _ALLOWS), "")


async def note_unproven(ports: Ports, finding: Finding, outcome: Outcome) -> None:
    """Note what became of the write, as far as storage lets us: nothing hangs on it."""
    with suppress(StorageUnavailableError):
        await _note(ports, finding, outcome, ())


async def note_proven(ports: Ports, finding: Finding, snapshot: Snapshot) -> None:
    """Note that the write is proven, and what leads back from what it left; of a rollback, what it undid too.

    Raises:
        StorageUnavailableError: it is not noted.
    """
    attempt = finding.attempt
    assert attempt is not None, "only a write is proven"
    changes = [Change.of(change) for change in attempt.changes]
    undo: Sequence[Change] = () if unread(snapshot, changes) else undoing(changes, snapshot)
    await _note(ports, finding, Outcome.PROVEN, tuple(change.as_json() for change in undo))
    if finding.rollback is not None:
        undone = await ports.remediations.find(finding.hub, finding.rollback.remediation)
        if undone is not None:
            await ports.remediations.keep(replace(undone, outcome=Outcome.ROLLED_BACK))


async def _note(ports: Ports, finding: Finding, outcome: Outcome, undo: tuple[JsonObject, ...]) -> None:
    kept = await _kept(ports, finding, finding.attempt)
    if kept is not None:
        await ports.remediations.keep(replace(kept, outcome=outcome, undo=undo))


async def _kept(ports: Ports, finding: Finding, attempt: Attempt | None) -> Remediation | None:
    if attempt is None or not attempt.remediation:
        return None
    return await ports.remediations.find(finding.hub, attempt.remediation)


async def forget_old(ports: Ports, *, kept: timedelta = KEPT) -> None:
    """Drop what is too old to be rolled back."""
    await ports.remediations.forget(ports.clock.now() - kept)
