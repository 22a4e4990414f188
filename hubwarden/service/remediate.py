"""remediate: put right what is approved on one hub, in one write.

The order is what makes it safe to stop at any point: fresh read → plan → claim (the row's etag lets one worker
through) → a verify message for the case that this worker dies → audit line → PUT with If-Match → verify.
"""

from __future__ import annotations

import logging

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from hubwarden.domain.finding import Attempt, Event, Finding, Obstacle, State
from hubwarden.domain.jsons import JsonObject, differences, dotted
from hubwarden.domain.plan import Change, Plan, PlanError
from hubwarden.domain.snapshot import Facet, Snapshot
from hubwarden.service.errors import (
    AzureError,
    ConflictError,
    DeniedError,
    HubGoneError,
    StaleWriteError,
    TransientError,
)
from hubwarden.service.evaluate import bury_hub, remember
from hubwarden.service.fingerprint import fingerprint
from hubwarden.service.ledger import enter, move
from hubwarden.service.messages import RemediateMessage, VerifyMessage
from hubwarden.service.observe import observe
from hubwarden.service.ports import Ports, Stored
from hubwarden.service.put_off import put_off
from hubwarden.service.reconcile import Cause, Look, reconcile


log = logging.getLogger(__name__)

_TRIES: Final = 8
_FIRST_VERIFY: Final = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class _Fix:
    plan: Plan
    body: JsonObject
    claims: tuple[Stored[Finding], ...]


async def remediate(ports: Ports, message: RemediateMessage) -> None:
    """Fix the hub's approved findings. Repeating it is harmless: what is claimed or fixed is left alone."""
    hub = message.hub_id
    if not ports.policy.watches(hub):
        log.warning("%s is in no subscription that the policy file names: not touched", hub)
        return
    if not any(stored.value.state is State.APPROVED for stored in await ports.findings.of_hub(hub)):
        log.info("nothing on %s is approved for fixing", hub)
        return
    try:
        snapshot = await observe(ports, hub)
    except TransientError as error:
        await put_off(ports, message, error, retry_after=error.retry_after)
        return
    except HubGoneError:
        await bury_hub(ports, hub, "the hub is gone")
        return
    look = await reconcile(ports, snapshot, Cause("read before a fix"))
    await remember(ports, look)
    if snapshot.etag is None:
        log.warning("%s is not touched, it could not be read: %s", hub, "; ".join(look.unknown.values()))
        return
    if not snapshot.at_rest:
        await put_off(ports, message, ConflictError(f"an operation is running on {hub}"))
        return
    fix = await _prepare(ports, look)
    if fix is not None:
        await _write(ports, message, fix)


async def _prepare(ports: Ports, look: Look) -> _Fix | None:
    approved = look.approved()
    if not approved:
        return None
    try:
        plan = make_plan(ports, look, [stored.value for stored in approved])
        body = checked_body(plan, look.snapshot)
    except PlanError as error:
        log.error("no plan for %s: %s", look.snapshot.hub, error)  # noqa: TRY400
        for stored in approved:
            await give_to_people(ports, stored, Event.TICKET, f"no plan could be made: {error}")
        return None
    claims = await _claim(ports, plan, body, approved)
    return None if claims is None else _Fix(plan, body, claims)


def make_plan(ports: Ports, look: Look, findings: Sequence[Finding]) -> Plan:
    """One plan for several findings of one hub.

    Raises:
        PlanError: a finding's drift is not in the snapshot, a remediator touches what it did not declare, or
            two of them touch the same.
    """
    snapshot = look.snapshot
    if snapshot.etag is None:
        raise PlanError(f"{snapshot.hub} was read without an etag")
    changes = tuple(change for finding in findings for change in _changes(ports, look, finding))
    return Plan(snapshot.hub, snapshot.etag, changes)


def _changes(ports: Ports, look: Look, finding: Finding) -> Iterator[Change]:
    remediator = ports.remediators[finding.rule_id]
    drift = look.drift_of(finding)
    if drift is None:
        raise PlanError(f"{finding.rule_id}: the drift is not in the snapshot any more")
    rule = next(rule for rule in ports.rules if rule.id == finding.rule_id)
    for change in remediator.plan(drift, look.snapshot, ports.policy.settings_of(rule)):
        if change.path not in remediator.paths:
            raise PlanError(f"{finding.rule_id} wants to change {dotted(change.path)}, which it does not declare")
        yield change


def checked_body(plan: Plan, snapshot: Snapshot) -> JsonObject:
    """The body to send, compared once more with what was read: it differs in the plan's paths and nowhere else.

    Raises:
        PlanError: it does not.
    """
    before = snapshot.read(Facet.HUB)
    body = plan.apply(before)
    differing = set(differences(before, body))
    if differing != {change.path for change in plan.changes}:
        raise PlanError(f"the body for {plan.hub} differs in {sorted(map(dotted, differing))}, not as planned")
    return body


async def _claim(
    ports: Ports, plan: Plan, body: JsonObject, approved: Sequence[Stored[Finding]]
) -> tuple[Stored[Finding], ...] | None:
    now = ports.clock.now()
    attempt = Attempt(
        digest=plan.digest,
        etag=plan.etag,
        changes=tuple(change.as_json() for change in plan.changes),
        started_at=now,
        deadline=now + ports.timings.claim,
        fingerprint=fingerprint(body),
    )
    claimed: list[Stored[Finding]] = []
    for stored in approved:
        reason = f"carrying out plan {plan.digest}: " + "; ".join(map(str, plan.changes))
        finding = stored.value.after(Event.CLAIM, at=now, reason=reason)
        finding = replace(finding, attempt=attempt, attempts=finding.attempts + 1)
        try:
            claimed.append(await enter(ports, stored, finding, reason))
        except StaleWriteError:
            log.info("%s is being fixed by somebody else", plan.hub)
            for claim in claimed:
                await move(ports, claim, Event.RELEASE, "another part of the plan was taken by somebody else")
            return None
    return tuple(claimed)


async def _write(ports: Ports, message: RemediateMessage, fix: _Fix) -> None:
    plan = fix.plan
    now = ports.clock.now()
    verify = VerifyMessage(hub=plan.hub.path, digest=plan.digest, give_up_at=now + ports.timings.verify)
    await ports.work.send(verify, delay=ports.timings.claim)
    await ports.audit.append("write", _told(plan, fix.claims, outcome="about to be sent"))
    for change in plan.changes:
        log.info("plan for %s: %s (digest %s)", plan.hub, change, plan.digest)
    try:
        await ports.hubs.put_hub(plan.hub, fix.body, etag=plan.etag)
    except AzureError as error:
        await ports.audit.append("write", _told(plan, fix.claims, outcome=f"{type(error).__name__}: {error}"))
        await _not_written(ports, message, fix, verify, error)
        return
    await ports.audit.append("write", _told(plan, fix.claims, outcome="accepted"))
    for claim in fix.claims:
        await _written(ports, claim)
    await ports.work.send(verify, delay=_FIRST_VERIFY)


async def _written(ports: Ports, claim: Stored[Finding]) -> None:
    now = ports.clock.now()
    assert claim.value.attempt is not None
    attempt = replace(claim.value.attempt, written_at=now, deadline=now + ports.timings.verify)
    reason = f"Azure accepted plan {attempt.digest}"
    written = replace(claim.value.after(Event.WRITTEN, at=now, reason=reason), attempt=attempt)
    await enter(ports, claim, written, reason)


async def _not_written(
    ports: Ports, message: RemediateMessage, fix: _Fix, verify: VerifyMessage, error: AzureError
) -> None:
    match error:
        case HubGoneError():
            await bury_hub(ports, fix.plan.hub, "the hub is gone")
        case TransientError(sent=True):
            for claim in fix.claims:
                await move(ports, claim, Event.UNCERTAIN, f"whether the write arrived is not known: {error}")
            await ports.work.send(verify, delay=error.retry_after or _FIRST_VERIFY)
        case TransientError():
            await _again(ports, message, fix, error, error.retry_after)
        case ConflictError():
            await _again(ports, message, fix, error, None)
        case DeniedError():
            for claim in fix.claims:
                reason = f"Azure refused and nothing was changed: {error}"
                await give_to_people(ports, claim, Event.DENIED, reason, retry_in=ports.timings.retry_denied)
        case _:
            for claim in fix.claims:
                reason = f"Azure did not accept the change and nothing was changed: {error}"
                await give_to_people(ports, claim, Event.REFUSED, reason)


async def _again(
    ports: Ports, message: RemediateMessage, fix: _Fix, error: AzureError, retry_after: timedelta | None
) -> None:
    """Certainly nothing was written: release the claims and come back, but not for ever."""
    if max(claim.value.attempts for claim in fix.claims) >= _TRIES:
        reason = f"{_TRIES} tries did not get through; the last one: {error}"
        for claim in fix.claims:
            await give_to_people(ports, claim, Event.DENIED, reason, retry_in=ports.timings.retry_denied)
        return
    for claim in fix.claims:
        await move(ports, claim, Event.RELEASE, f"not written: {error}")
    await put_off(ports, message, error, retry_after=retry_after)


async def give_to_people(
    ports: Ports, stored: Stored[Finding], event: Event, reason: str, *, retry_in: timedelta | None = None
) -> None:
    """End the machine's part: an obstacle and a ticket. Without ``retry_in`` this drift is not tried again."""
    now = ports.clock.now()
    obstacle = Obstacle(reason, now, None if retry_in is None else now + retry_in)
    moved = replace(stored.value.after(event, at=now, reason=reason), obstacle=obstacle)
    entered = await enter(ports, stored, moved, reason)
    if entered.value.state is State.FAILED:
        await move(ports, entered, Event.TICKET, reason)


def _told(plan: Plan, claims: Sequence[Stored[Finding]], *, outcome: str) -> JsonObject:
    return {
        "hub": plan.hub.path,
        "plan": plan.digest,
        "etag": plan.etag,
        "changes": [change.as_json() for change in plan.changes],
        "findings": [claim.value.id for claim in claims],
        "outcome": outcome,
    }
