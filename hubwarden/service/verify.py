"""verify: see whether a fix has taken. Only what is proven on the hub ends a finding."""

from __future__ import annotations

import logging

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, cast

from hubwarden.domain.finding import IN_FLIGHT, Event, Finding, State
from hubwarden.domain.remediation import Outcome
from hubwarden.domain.rollback import facets_of, not_back, unread
from hubwarden.domain.snapshot import Facet, Snapshot
from hubwarden.service.errors import HubGoneError, TransientError
from hubwarden.service.evaluate import bury_hub, follow_up, remember, stays_away
from hubwarden.service.fingerprint import changed_since, member_of
from hubwarden.service.gate import note_outcome
from hubwarden.service.invocation import RULES, told_rules
from hubwarden.service.ledger import enter, move
from hubwarden.service.messages import VerifyMessage
from hubwarden.service.observe import busy, observe
from hubwarden.service.people import give_to_people
from hubwarden.service.ports import Ports, Stored
from hubwarden.service.reconcile import Cause, Look, judge, reconcile
from hubwarden.service.rollback import changes_of
from hubwarden.service.snapshots import note_proven, note_unproven
from hubwarden.service.write import doubt


log = logging.getLogger(__name__)

_UNCERTAIN_TRIES: Final = 3
_LONGEST: Final = timedelta(seconds=30)


async def verify(ports: Ports, message: VerifyMessage) -> None:
    """Look after the fix with this digest until the hub is at rest, then evaluate all rules of the hub again."""
    hub = message.hub_id
    fixes = [stored for stored in await ports.findings.of_hub(hub) if _is_of(stored.value, message.digest)]
    if not fixes:
        log.info("the fix %s of %s is over already", message.digest, hub)
        return
    wait = _worker_may_live(ports, fixes)
    if wait is not None:
        await ports.work.send(message, delay=wait)
        return
    ports.telemetry.mark(RULES, told_rules(fix.value for fix in fixes))
    fixes = [await _doubt(ports, fix) if fix.value.state is State.EXECUTING else fix for fix in fixes]
    try:
        record = await ports.records.get(hub)
        snapshot = await observe(ports, hub, record.value if record else None, also=_facets(fixes))
    except TransientError as error:
        await _wait(ports, message, fixes, str(error), retry_after=error.retry_after)
    except HubGoneError as error:
        if await stays_away(ports, hub):
            await bury_hub(ports, hub, "the hub is gone")
        else:
            await _wait(ports, message, fixes, str(error))
    else:
        await _conclude(ports, message, fixes, snapshot)


async def _conclude(
    ports: Ports, message: VerifyMessage, fixes: Sequence[Stored[Finding]], snapshot: Snapshot
) -> None:
    pending = _unsettled(ports, snapshot, fixes)
    if pending is not None:
        await _wait(ports, message, fixes, pending)
        return
    seen = Look(snapshot, judge(ports, snapshot), ())
    unjudged = [why for fix in fixes if (why := _unjudged(seen, fix.value)) is not None]
    if unjudged:
        await _wait(ports, message, fixes, "; ".join(unjudged))
        return
    still_there = [fix for fix in fixes if _remains(seen, fix.value) is not None]
    await _tell(ports, fixes, snapshot, still_there)
    why = await _verified(ports, fixes, snapshot, expected=not still_there)
    if still_there:
        doubtful = fixes[0].value.state is State.AMBIGUOUS
        await note_unproven(ports, fixes[0].value, Outcome.NOT_WRITTEN if doubtful else Outcome.NOT_PROVEN)
    else:
        await note_proven(ports, fixes[0].value, snapshot)
        if fixes[0].value.rollback is None:
            await note_outcome(ports, message.digest)
    for fix in still_there:
        await _still_there(ports, fix, _remains(seen, fix.value) or "")
    for fix in fixes:
        if fix.value.rollback is not None and fix not in still_there:
            await move(ports, fix, Event.CLEARED, f"{why}: {fix.value.rollback.remediation} is rolled back")
    look = await reconcile(ports, snapshot, Cause(why, verifies=message.digest))
    await follow_up(ports, look)
    await remember(ports, look)


def _facets(fixes: Sequence[Stored[Finding]]) -> frozenset[Facet]:
    """What shows whether a rollback has taken, also where its rule is off by now."""
    back = (facets_of(changes_of(fix.value.rollback)) for fix in fixes if fix.value.rollback is not None)
    return frozenset[Facet]().union(*back)


def _unjudged(seen: Look, finding: Finding) -> str | None:
    """Why the snapshot does not say whether the write has taken, or None."""
    if finding.rollback is not None:
        return unread(seen.snapshot, changes_of(finding.rollback))
    if seen.judged(finding.rule_id, finding.subject):
        return None
    return f"{finding.rule_id} cannot be judged: {seen.unknown.get(finding.rule_id, 'it is off')}"


def _remains(seen: Look, finding: Finding) -> str | None:
    """What the write should have ended and has not, or None."""
    if finding.rollback is not None:
        places = "; ".join(not_back(changes_of(finding.rollback), seen.snapshot))
        return f"the hub is not as it was before the fix: {places}" if places else None
    return None if seen.drift_of(finding) is None else "the drift is still there"


def _is_of(finding: Finding, digest: str) -> bool:
    return finding.state in IN_FLIGHT and finding.attempt is not None and finding.attempt.digest == digest


def _worker_may_live(ports: Ports, fixes: Sequence[Stored[Finding]]) -> timedelta | None:
    """How long the worker that claimed the fix may still be at it, or None where it is done or gone."""
    deadlines = [fix.value.attempt.deadline for fix in fixes
                 if fix.value.state is State.EXECUTING and fix.value.attempt]  # fmt: skip
    left = max(deadlines, default=ports.clock.now()) - ports.clock.now()
    return left + timedelta(seconds=1) if left > timedelta(0) else None


async def _doubt(ports: Ports, fix: Stored[Finding]) -> Stored[Finding]:
    reason = "the worker that carried out the fix was not heard of again; whether it wrote is not known"
    return await doubt(ports, fix, reason)


def _unsettled(ports: Ports, snapshot: Snapshot, fixes: Sequence[Stored[Finding]]) -> str | None:
    """Why it is too early to judge, or None. Every completed write gives the hub a new etag (RECORDINGS §2.4)."""
    body = snapshot.read(Facet.HUB)
    if snapshot.etag is None:
        return f"the hub cannot be read: {getattr(body, 'reason', 'it came without an etag')}"
    if busy(snapshot):
        return "the operation on the hub is not over"
    for fix in fixes:
        attempt = fix.value.attempt
        if attempt is None or attempt.etag != snapshot.etag:
            continue
        if fix.value.state is State.VERIFYING:
            return "the hub still has the etag from before the write"
        if snapshot.taken_at < attempt.started_at + ports.timings.claim:
            return "the hub still has the etag from before the write, which may be on its way"
    return None


async def _wait(
    ports: Ports,
    message: VerifyMessage,
    fixes: Sequence[Stored[Finding]],
    why: str,
    *,
    retry_after: timedelta | None = None,
) -> None:
    """Come back later until the time is up; then people take over, for what is unknown is never compliant."""
    if ports.clock.now() < message.give_up_at:
        growing = timedelta(seconds=2) * 1.5 ** min(message.attempt, 20)
        delay = max(min(_LONGEST, growing), retry_after or timedelta(0))
        await ports.work.send(message.model_copy(update={"attempt": message.attempt + 1}), delay=delay)
        return
    for fix in fixes:
        await give_to_people(ports, fix, Event.NO_EFFECT, f"the fix could not be verified in time: {why}")


async def _still_there(ports: Ports, fix: Stored[Finding], what: str) -> None:
    finding, attempt = fix.value, fix.value.attempt
    assert attempt is not None
    if finding.state is State.AMBIGUOUS:
        doubts = _doubts(finding)
        if doubts < _UNCERTAIN_TRIES:
            await move(ports, fix, Event.NOT_ARRIVED, f"{what}: the write did not arrive")
            return
        reason = f"after {doubts} writes of which it was never known whether they arrived: {what}"
        await give_to_people(ports, fix, Event.NO_EFFECT, reason)
        return
    record = await ports.records.get(finding.hub)
    last = record.value if record else None
    if last and last.written_at and attempt.written_at and last.written_at > attempt.written_at:
        back = "the drift is back" if finding.rollback is None else what
        reason = f"{last.written_by or 'somebody'} wrote the hub after our fix, and {back}"
        again = finding.after(Event.OVERTAKEN, at=ports.clock.now(), reason=reason)
        again = replace(again, actor=last.written_by or finding.actor)
        if last.written_by is not None:
            again = again.blaming(last.written_by, last.written_at)
        await enter(ports, fix, again, reason)
        return
    reason = (
        f"Azure accepted the fix and completed it, and {what}: "
        "either it had no effect, or somebody undid it at once"
    )
    await give_to_people(ports, fix, Event.NO_EFFECT, reason, since=attempt.written_at)


def _doubts(finding: Finding) -> int:
    """How many writes of this drift, since it last came, went out without an answer."""
    events = [step.event for step in finding.history]
    since = max((i for i, event in enumerate(events) if event in {Event.SEEN, Event.CLEARED}), default=0)
    return events[since:].count(Event.UNCERTAIN)


async def _tell(
    ports: Ports, fixes: Sequence[Stored[Finding]], snapshot: Snapshot, still_there: Sequence[Stored[Finding]]
) -> None:
    """What the hub looks like after the write, for the audit trail; the etag is the hub's by now."""
    attempt = fixes[0].value.attempt
    await ports.audit.append("verified", {
        "hub": snapshot.hub.path,
        "plan": attempt.digest if attempt else None,
        "etag": snapshot.etag,
        "findings": [fix.value.id for fix in fixes],
        "still_there": [fix.value.id for fix in still_there],
    })  # fmt: skip


async def _verified(ports: Ports, fixes: Sequence[Stored[Finding]], snapshot: Snapshot, *, expected: bool) -> str:
    """What to write into the history, and a warning where something else changed during the fix.

    Where the drift is still there, that the hub is not as planned in the plan's own places is no news.
    """
    attempt = fixes[0].value.attempt
    others = (
        changed_since(attempt.fingerprint, snapshot.read(Facet.HUB)) if attempt and attempt.fingerprint else []
    )
    if attempt and not expected:
        own = {member_of(cast("list[str]", change["path"])) for change in attempt.changes}
        others = [path for path in others if path not in own]
    if not others:
        return "verified"
    await ports.audit.append("slipped", {"hub": snapshot.hub.path, "changed": list(others),
                                         "plan": attempt.digest if attempt else None})  # fmt: skip
    log.warning("%s: somebody else changed %s while it was being fixed", snapshot.hub, ", ".join(others))
    return f"verified; meanwhile somebody else changed {', '.join(others)}"
