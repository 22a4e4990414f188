"""remediate: put right what is approved on one hub, in one write.

The order is what makes it safe to stop at any point: fresh read → plan → a verify message for the case that this
worker dies → claim (the row's etag lets one worker through) → what the write changes is kept → audit line → PUT
with If-Match → verify. Before the rollback of a fix, what that was for is put on hold.
"""

from __future__ import annotations

import logging

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, cast

from hubwarden.domain.finding import IN_FLIGHT, Attempt, Event, Finding, Obstacle, State
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.limits import Kill, Slot
from hubwarden.domain.plan import Plan, PlanError, Target
from hubwarden.domain.receipt import Receipt
from hubwarden.domain.remediation import Outcome, remediation_id
from hubwarden.domain.rollback import facets_of, unread
from hubwarden.domain.snapshot import Facet, Snapshot
from hubwarden.service.errors import (
    AzureError,
    ConflictError,
    DeniedError,
    HubGoneError,
    StaleWriteError,
    StorageUnavailableError,
    TransientError,
)
from hubwarden.service.evaluate import not_found, remember
from hubwarden.service.fingerprint import fingerprint
from hubwarden.service.gate import kill_switch, note_outcome
from hubwarden.service.invocation import RULES, told_rules
from hubwarden.service.ledger import enter, move
from hubwarden.service.locks import locked
from hubwarden.service.messages import RemediateMessage, VerifyMessage
from hubwarden.service.observe import busy, observe
from hubwarden.service.planning import Drifting, Prepared, policy_edits, prepared, solution_edit
from hubwarden.service.ports import Ports, Stored
from hubwarden.service.put_off import TRIES, put_off
from hubwarden.service.reconcile import Cause, Look, reconcile
from hubwarden.service.rollback import changes_of, hold_all, prepared_rollback
from hubwarden.service.snapshots import keep, note_unproven
from hubwarden.service.turns import give_back, hold_back, take


log = logging.getLogger(__name__)

_TRIES: Final = 8
_FIRST: Final = (Target.DIAGNOSTICS, Target.DEFENDER, Target.HUB)
_FIRST_VERIFY: Final = timedelta(seconds=2)
_KILLED: Final = timedelta(minutes=5)
_FAILURES: Final = frozenset({Event.REFUSED, Event.NO_EFFECT})
"""What counts as an error of the fix; a missing right, a lock, a conflict and throttling do not."""


@dataclass(frozen=True, slots=True)
class _Fix:
    made: Prepared
    snapshot: Snapshot
    claims: tuple[Stored[Finding], ...]
    verify: VerifyMessage
    slots: tuple[Slot, ...]

    @property
    def plan(self) -> Plan:
        return self.made.plan

    @property
    def claimed_until(self) -> datetime:
        """When another worker may conclude that this one is gone."""
        return min(claim.value.attempt.deadline for claim in self.claims if claim.value.attempt)


async def remediate(ports: Ports, message: RemediateMessage) -> None:
    """Fix the hub's approved findings. Repeating it is harmless: what is claimed or fixed is left alone."""
    hub = message.hub_id
    if not ports.policy.watches(hub):
        log.warning("%s is in no subscription that the policy file names: not touched", hub)
        await _end_every_yes(ports, hub, "it is in no subscription that the policy file names")
        return
    if ports.policy.observes:
        log.warning(
            "%s: nothing is fixed, for policy enforcement is observe; the next look says what would be", hub
        )
        await _end_every_yes(ports, hub, "policy enforcement is observe, so nothing is written")
        return
    findings = [stored.value for stored in await ports.findings.of_hub(hub)]
    approved = [finding for finding in findings if finding.state is State.APPROVED]
    if not approved:
        log.info("nothing on %s is approved for fixing", hub)
        return
    killed = await kill_switch(ports)
    if killed is not None:
        await _wait_for_resume(ports, message, killed)
        return
    if any(finding.state in IN_FLIGHT for finding in findings):
        await _come_back(ports, message, ConflictError(f"another fix of {hub} is under way"))
        return
    try:
        record = await ports.records.get(hub)
        snapshot = await observe(ports, hub, record.value if record else None, _facets(ports, approved))
    except TransientError as error:
        await _come_back(ports, message, error, error.retry_after)
    except HubGoneError as error:
        if not await not_found(ports, hub, sure=False):
            await _come_back(ports, message, error)
    else:
        await _fix(ports, message, snapshot)


async def _end_every_yes(ports: Ports, hub: HubId, why: str) -> None:
    """What people approved does not run once policy allows it again, though no look came between."""
    for stored in await ports.findings.of_hub(hub):
        finding = stored.value
        if finding.state is State.APPROVED and finding.approval is not None:
            event = Event.OUTDATED if finding.rollback is None else Event.CLEARED
            await move(ports, stored, event, f"what was approved does not take place: {why}")


def _facets(ports: Ports, approved: Sequence[Finding]) -> set[Facet]:
    """What must be read to make these plans."""
    rules = {finding.rule_id for finding in approved}
    facets = {facet for rule in ports.rules if rule.id in rules for facet in rule.reads}
    return facets.union(*(facets_of(changes_of(finding.rollback)) for finding in approved if finding.rollback))


async def _fix(ports: Ports, message: RemediateMessage, snapshot: Snapshot) -> None:
    hub = snapshot.hub
    look = await reconcile(ports, snapshot, Cause("read before a fix"))
    await remember(ports, look)
    if snapshot.etag is None:
        await _tell_people(ports, look.approved(), f"the hub cannot be read: {'; '.join(look.unknown.values())}")
        return
    if busy(snapshot):
        await _come_back(ports, message, ConflictError(f"an operation is running on {hub}"))
        return
    if not snapshot.at_rest:
        state = snapshot.read(Facet.HUB).get("properties", {}).get("provisioningState")
        await _tell_people(ports, look.approved(), f"the hub's provisioningState is {state!r}, not 'Succeeded'")
        return
    fix = await _prepare(ports, look)
    if fix is None:
        if snapshot.passing:
            await _come_back(ports, message, TransientError(snapshot.passing))
        return
    if await _alone(ports, fix):
        await _write(ports, message, fix)
    else:
        await _again(ports, message, fix, ConflictError(f"another fix of {hub} is under way"), None)


async def _wait_for_resume(ports: Ports, message: RemediateMessage, killed: Kill) -> None:
    """Keep the work on its queue, as often as it takes: what is approved stays approved, and no try is used up."""
    log.warning("%s is not touched: the kill switch is on since %s", message.hub, killed.at)
    await ports.work.send(message, delay=_KILLED)


async def _come_back(
    ports: Ports, message: RemediateMessage, error: AzureError, retry_after: timedelta | None = None
) -> None:
    """Try later; what has been put off too often is for people."""
    if message.attempt < TRIES:
        await put_off(ports, message, error, retry_after=retry_after)
        return
    findings = await ports.findings.of_hub(message.hub_id)
    approved = [stored for stored in findings if stored.value.state is State.APPROVED]
    await _tell_people(ports, approved, f"{TRIES} tries did not come to the fix; the last one: {error}")


async def _tell_people(ports: Ports, approved: Sequence[Stored[Finding]], why: str) -> None:
    """The fix cannot even begin: a ticket, and another try after a change or a day."""
    for stored in approved:
        reason = f"nothing was changed: {why}"
        await give_to_people(ports, stored, Event.TICKET, reason, retry_in=ports.timings.retry_denied)


async def _prepare(ports: Ports, look: Look) -> _Fix | None:
    rollback = next((stored for stored in look.approved() if stored.value.rollback is not None), None)
    if rollback is not None:  # it goes first and alone: somebody waits for it
        return await _prepare_rollback(ports, look, rollback)
    plans = await _unlocked(ports, [(stored, await _plan_alone(ports, look, stored)) for stored in _shown(look)])
    # What stands beside the hub goes first: a write of the hub gives it a new etag, and voids other approvals.
    target = min((plan.target for _, plan in plans), key=_FIRST.index, default=None)
    wanted = [(stored, plan) for stored, plan in plans if plan.target is target]
    alone = {stored.value.id for stored, plan in wanted if not _approved_by_people(stored.value, plan)}
    slots, fixable = await _within_limits(ports, [stored for stored, _ in wanted], alone)
    if not fixable:
        return None
    try:
        made = prepared(ports, look.snapshot, [_drifting(look, stored) for stored in fixable])
    except PlanError as error:
        await give_back(ports, slots)
        for stored in fixable:
            await _no_plan(ports, stored, str(error))
        return None
    return await _claimed(ports, look, made, fixable, slots=slots, alone=alone)


async def _claimed(
    ports: Ports,
    look: Look,
    made: Prepared,
    approved: Sequence[Stored[Finding]],
    *,
    slots: tuple[Slot, ...] = (),
    alone: Collection[str] = (),
) -> _Fix | None:
    """Claim what is to be fixed; ``alone`` are the ids of what no person approved, ``slots`` what that took."""
    verify = await _guard(ports, made.plan)
    claims = await _claim(ports, made, approved, look.snapshot.taken_at, alone)
    if claims is None:
        await give_back(ports, slots)
        return None
    return _Fix(made, look.snapshot, claims, verify, slots)


async def _unlocked(
    ports: Ports, plans: Sequence[tuple[Stored[Finding], Plan | None]]
) -> list[tuple[Stored[Finding], Plan]]:
    """The plans that no lock forbids; the others are for people, and hold up no other."""
    made = [(stored, plan) for stored, plan in plans if plan is not None]
    locks = await locked(ports, [plan for _, plan in made]) if made else {}
    for stored, plan in made:
        if plan.digest in locks:
            await _tell_people(
                ports, [stored], f"a ReadOnly lock on {locks[plan.digest]} forbids it; remove the lock"
            )
    return [(stored, plan) for stored, plan in made if plan.digest not in locks]


def _approved_by_people(finding: Finding, plan: Plan) -> bool:
    return finding.approval is not None and finding.approval.digest == plan.digest


async def _within_limits(
    ports: Ports, approved: Sequence[Stored[Finding]], alone: Collection[str]
) -> tuple[tuple[Slot, ...], list[Stored[Finding]]]:
    """Take slots for what no person approved (``alone``); what gets none is held until its turn."""
    slots, refused = await take(ports, [stored.value for stored in approved if stored.value.id in alone])
    fixable: list[Stored[Finding]] = []
    for stored in approved:
        reason = refused.get((stored.value.hub, stored.value.rule_id))
        if reason is None or stored.value.id not in alone:
            fixable.append(stored)
        else:
            await hold_back(ports, stored, reason)
    return slots, fixable


async def _prepare_rollback(ports: Ports, look: Look, stored: Stored[Finding]) -> _Fix | None:
    finding, snapshot = stored.value, look.snapshot
    assert finding.rollback is not None
    hidden = unread(snapshot, changes_of(finding.rollback))
    if finding.judged_at > snapshot.taken_at or (hidden and snapshot.passing):
        return None
    if await _tried_enough(ports, stored):
        return None
    try:
        made = prepared_rollback(ports, snapshot, finding.rollback)
        if not await _unlocked(ports, [(stored, made.plan)]):
            return None
        why = await hold_all(ports, finding, look.findings)
    except PlanError as error:
        why = str(error)
    if why is not None:
        await _no_plan(ports, stored, why)
        return None
    return await _claimed(ports, look, made, [stored])


def _drifting(look: Look, stored: Stored[Finding]) -> Drifting:
    drift = look.drift_of(stored.value)
    assert drift is not None, "only what the snapshot shows is fixed"
    return stored.value, drift


async def _guard(ports: Ports, plan: Plan) -> VerifyMessage:
    """Before the claim: from then on somebody comes to look, whatever becomes of this worker."""
    give_up_at = ports.clock.now() + ports.timings.verify
    message = VerifyMessage(hub=plan.hub.path, digest=plan.digest, give_up_at=give_up_at)
    await ports.work.send(message, delay=ports.timings.claim)
    return message


def _shown(look: Look) -> list[Stored[Finding]]:
    """What is approved and shown by this snapshot, unless a newer one spoke; whoever took that sends a message."""
    taken_at = look.snapshot.taken_at
    return [
        stored
        for stored in look.approved()
        if stored.value.judged_at <= taken_at and look.drift_of(stored.value) is not None
    ]


async def _plan_alone(ports: Ports, look: Look, stored: Stored[Finding]) -> Plan | None:
    """The plan for this finding alone, if one can be made; one that cannot be fixed holds up no other."""
    if await _tried_enough(ports, stored):
        return None
    try:
        return prepared(ports, look.snapshot, [_drifting(look, stored)]).plan
    except PlanError as error:
        await _no_plan(ports, stored, str(error))
        return None


async def _tried_enough(ports: Ports, stored: Stored[Finding]) -> bool:
    """Whether it is for people now."""
    if stored.value.attempts < _TRIES:
        return False
    reason = f"{_TRIES} tries did not come to an end; the last that is known: {stored.value.history[-1].reason}"
    await give_to_people(ports, stored, Event.TICKET, reason, retry_in=ports.timings.retry_denied)
    return True


async def _no_plan(ports: Ports, stored: Stored[Finding], why: str) -> None:
    """Planning again writes nothing, so it may be tried once the hub has changed, or a day later."""
    log.error("no plan for %s on %s: %s", stored.value.rule_id, stored.value.hub, why)
    reason = f"no plan could be made: {why}"
    await give_to_people(ports, stored, Event.TICKET, reason, retry_in=ports.timings.retry_denied)


async def _alone(ports: Ports, fix: _Fix) -> bool:
    """Whether no other fix of the hub is in flight. Asked after the claim, so that of two at most one goes on."""
    ours = {claim.value.id for claim in fix.claims}
    found = await ports.findings.of_hub(fix.plan.hub)
    if any(other.value.state in IN_FLIGHT and other.value.id not in ours for other in found):
        return False
    return fix.plan.target is not Target.DEFENDER or await _alone_on_solution(ports, fix)


async def _alone_on_solution(ports: Ports, fix: _Fix) -> bool:
    """Whether no other hub's fix is just writing the same solution: there is no etag to hold the two apart."""
    ours = {claim.value.id for claim in fix.claims}
    solution = fix.plan.changes[0].path[0]
    async for other in ports.findings.everything():
        if other.state is State.EXECUTING and other.id not in ours and _writes(other, solution):
            return False
    return True


def _writes(finding: Finding, solution: str) -> bool:
    changes = finding.attempt.changes if finding.attempt else ()
    return any(cast("Sequence[str]", change["path"])[0] == solution for change in changes)


async def _claim(
    ports: Ports,
    made: Prepared,
    approved: Sequence[Stored[Finding]],
    read_at: datetime,
    alone: Collection[str],
) -> tuple[Stored[Finding], ...] | None:
    now, plan = ports.clock.now(), made.plan
    attempt = Attempt(
        digest=plan.digest,
        etag=plan.etag if plan.target is Target.HUB else "",
        changes=tuple(change.as_json() for change in plan.changes),
        read_at=read_at,
        started_at=now,
        deadline=now + ports.timings.claim,
        fingerprint=fingerprint(made.body) if plan.target is Target.HUB else {},
        warnings=made.warnings,
        remediation=remediation_id(plan.digest, now),
    )
    claimed: list[Stored[Finding]] = []
    for stored in approved:
        reason = f"carrying out plan {plan.digest}: " + "; ".join(map(str, plan.changes))
        finding = stored.value.after(Event.CLAIM, at=now, reason=reason)
        automatic = replace(attempt, automatic=finding.id in alone)
        finding = replace(finding, attempt=automatic, attempts=finding.attempts + 1)
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
    ports.telemetry.mark(RULES, told_rules(claim.value for claim in fix.claims))
    try:
        await keep(ports, plan, fix.claims)
    except StorageUnavailableError as error:
        lost = TransientError(f"what the write would change could not be kept: {error}")
        await _again(ports, message, fix, lost, None)
        return
    await ports.audit.append("write", _told(plan, fix.claims, outcome="about to be sent"))
    if ports.clock.now() + ports.timings.write > fix.claimed_until:
        late = ConflictError("getting ready took too long: the claim is about to end")
        await ports.audit.append("write", _told(plan, fix.claims, outcome=f"not sent: {late}"))
        await _again(ports, message, fix, late, None)
        return
    log.info("plan %s for %s is sent: %d changes, for %s", plan.digest, plan.hub, len(plan.changes),
             ", ".join(claim.value.id for claim in fix.claims))  # fmt: skip
    killed = await kill_switch(ports)
    if killed is not None:
        await ports.audit.append("write", _told(plan, fix.claims, outcome=f"not sent: {killed}"))
        await _stopped(ports, message, fix, killed)
        return
    try:
        receipt = await _send(ports, fix)
    except AzureError as error:
        outcome = f"{type(error).__name__}: {error}"
        await ports.audit.append("write", _told(plan, fix.claims, outcome=outcome, receipt=error.receipt))
        await _not_written(ports, message, fix, error)
        sent = isinstance(error, TransientError) and error.sent
        await note_unproven(ports, fix.claims[0].value, Outcome.UNCERTAIN if sent else Outcome.NOT_WRITTEN)
        return
    await ports.audit.append("write", _told(plan, fix.claims, outcome="accepted", receipt=receipt))
    for claim in fix.claims:
        await _written(ports, claim)
    await ports.work.send(fix.verify, delay=_FIRST_VERIFY)


async def _stopped(ports: Ports, message: RemediateMessage, fix: _Fix, killed: Kill) -> None:
    """The switch was thrown after the claim: as if this fix had not begun."""
    await give_back(ports, fix.slots)
    await note_unproven(ports, fix.claims[0].value, Outcome.NOT_WRITTEN)
    for claim in fix.claims:
        reason = f"not written: {killed}"
        released = claim.value.after(Event.RELEASE, at=ports.clock.now(), reason=reason)
        await enter(ports, claim, replace(released, attempts=released.attempts - 1), reason)
    await _wait_for_resume(ports, message, killed)


async def _send(ports: Ports, fix: _Fix) -> Receipt:
    """Carry out the plan, in one request.

    Raises:
        AzureError: see HubPort.
    """
    plan = fix.plan
    if plan.target is Target.DIAGNOSTICS:
        [change] = plan.changes
        return await ports.hubs.put_diagnostic_setting(plan.hub, change.path[0], cast("JsonObject", change.after))
    if plan.target is Target.DEFENDER:
        return await ports.hubs.put_security_solution(*solution_edit(plan, fix.snapshot))
    edits = policy_edits(plan, restores=fix.claims[0].value.rollback is not None)
    return await ports.hubs.put_hub(plan.hub, fix.made.body, etag=plan.etag, policies=edits)


async def _written(ports: Ports, claim: Stored[Finding]) -> None:
    now = ports.clock.now()
    assert claim.value.attempt is not None
    attempt = replace(claim.value.attempt, written_at=now, deadline=now + ports.timings.verify)
    reason = f"Azure accepted plan {attempt.digest}"
    written = replace(claim.value.after(Event.WRITTEN, at=now, reason=reason), attempt=attempt)
    written = _counted(written, attempt)
    await enter(ports, claim, written, reason)


async def doubt(ports: Ports, claim: Stored[Finding], reason: str) -> Stored[Finding]:
    """Whether the hub was written is not known; verify finds out."""
    now = ports.clock.now()
    assert claim.value.attempt is not None
    attempt = replace(claim.value.attempt, deadline=now + ports.timings.verify)
    doubtful = replace(claim.value.after(Event.UNCERTAIN, at=now, reason=reason), attempt=attempt)
    return await enter(ports, claim, _counted(doubtful, attempt), reason)


def _counted(finding: Finding, attempt: Attempt) -> Finding:
    """All findings of one write name the same moment, so that it counts as one."""
    return finding.fixed_at(attempt.started_at) if attempt.automatic else finding


async def _not_written(ports: Ports, message: RemediateMessage, fix: _Fix, error: AzureError) -> None:
    match error:
        case TransientError(sent=True):
            for claim in fix.claims:
                await doubt(ports, claim, f"whether the write arrived is not known: {error}")
            await ports.work.send(fix.verify, delay=error.retry_after or _FIRST_VERIFY)
        case TransientError():
            await _again(ports, message, fix, error, error.retry_after)
        case ConflictError() | HubGoneError():
            await _again(ports, message, fix, error, None)  # whether the hub is gone, the next read tells
        case DeniedError():
            await give_back(ports, fix.slots)
            for claim in fix.claims:
                reason = f"Azure refused and nothing was changed: {error}"
                await give_to_people(ports, claim, Event.DENIED, reason, retry_in=ports.timings.retry_denied)
            await ports.work.send(message)  # what else is approved on the hub has had no turn yet
        case _:
            await give_back(ports, fix.slots)
            for claim in fix.claims:
                reason = f"nothing was changed, and trying again would not help: {error}"
                await give_to_people(ports, claim, Event.REFUSED, reason)
            await ports.work.send(message)


async def _again(
    ports: Ports, message: RemediateMessage, fix: _Fix, error: AzureError, retry_after: timedelta | None
) -> None:
    """Certainly nothing was written: release the claims and come back, but not for ever."""
    await give_back(ports, fix.slots)
    if max(claim.value.attempts for claim in fix.claims) >= _TRIES:
        reason = f"{_TRIES} tries did not get through; the last one: {error}"
        for claim in fix.claims:
            await give_to_people(ports, claim, Event.DENIED, reason, retry_in=ports.timings.retry_denied)
        return
    for claim in fix.claims:
        await move(ports, claim, Event.RELEASE, f"not written: {error}")
    await put_off(ports, message, error, retry_after=retry_after)


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


def _told(
    plan: Plan, claims: Sequence[Stored[Finding]], *, outcome: str, receipt: Receipt | None = None
) -> JsonObject:
    return {
        "hub": plan.hub.path,
        "plan": plan.digest,
        "etag": plan.etag,
        "changes": [change.as_json() for change in plan.changes],
        "findings": [claim.value.id for claim in claims],
        "remediation": claims[0].value.attempt.remediation if claims[0].value.attempt else None,
        "outcome": outcome,
        **(receipt.as_json() if receipt else {}),
    }
