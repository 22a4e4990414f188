"""verify: see whether a fix has taken. Only what is proven on the hub ends a finding."""

from __future__ import annotations

import logging

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, cast

from hubwarden.domain.finding import IN_FLIGHT, Event, Finding, State
from hubwarden.domain.snapshot import Facet, Snapshot
from hubwarden.service.errors import HubGoneError, TransientError
from hubwarden.service.evaluate import bury_hub, follow_up, remember, stays_away
from hubwarden.service.fingerprint import changed_since, member_of
from hubwarden.service.gate import note_outcome
from hubwarden.service.ledger import enter, move
from hubwarden.service.messages import VerifyMessage
from hubwarden.service.observe import busy, observe
from hubwarden.service.ports import Ports, Stored
from hubwarden.service.reconcile import Cause, Look, judge, reconcile
from hubwarden.service.remediate import doubt, give_to_people


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
    fixes = [await _doubt(ports, fix) if fix.value.state is State.EXECUTING else fix for fix in fixes]
    try:
        record = await ports.records.get(hub)
        snapshot = await observe(ports, hub, record.value if record else None)
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
    unjudged = [fix.value.rule_id for fix in fixes if not seen.judged(fix.value.rule_id, fix.value.subject)]
    if unjudged:
        why = "; ".join(f"{rule} cannot be judged: {seen.unknown.get(rule, 'it is off')}" for rule in unjudged)
        await _wait(ports, message, fixes, why)
        return
    still_there = [fix for fix in fixes if seen.drift_of(fix.value) is not None]
    why = await _verified(ports, fixes, snapshot, expected=not still_there)
    if not still_there:
        await note_outcome(ports, message.digest)
    for fix in still_there:
        await _still_there(ports, fix)
    look = await reconcile(ports, snapshot, Cause(why, verifies=message.digest))
    await follow_up(ports, look)
    await remember(ports, look)


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


async def _still_there(ports: Ports, fix: Stored[Finding]) -> None:
    finding, attempt = fix.value, fix.value.attempt
    assert attempt is not None
    if finding.state is State.AMBIGUOUS:
        doubts = _doubts(finding)
        if doubts < _UNCERTAIN_TRIES:
            await move(ports, fix, Event.NOT_ARRIVED, "the drift is still there: the write did not arrive")
            return
        reason = f"after {doubts} writes of which it was never known whether they arrived, the drift is there"
        await give_to_people(ports, fix, Event.NO_EFFECT, reason)
        return
    record = await ports.records.get(finding.hub)
    last = record.value if record else None
    if last and last.written_at and attempt.written_at and last.written_at > attempt.written_at:
        reason = f"{last.written_by or 'somebody'} wrote the hub after our fix, and the drift is back"
        again = finding.after(Event.OVERTAKEN, at=ports.clock.now(), reason=reason)
        again = replace(again, actor=last.written_by or finding.actor)
        if last.written_by is not None:
            again = again.blaming(last.written_by, last.written_at)
        await enter(ports, fix, again, reason)
        return
    reason = (
        "Azure accepted the fix and completed it, and the drift is still there: "
        "either it had no effect, or somebody undid it at once"
    )
    await give_to_people(ports, fix, Event.NO_EFFECT, reason, since=attempt.written_at)


def _doubts(finding: Finding) -> int:
    """How many writes of this drift, since it last came, went out without an answer."""
    events = [step.event for step in finding.history]
    since = max((i for i, event in enumerate(events) if event in {Event.SEEN, Event.CLEARED}), default=0)
    return events[since:].count(Event.UNCERTAIN)


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
