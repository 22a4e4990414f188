"""What of a hub is fixed now, in one write: planned, let through by locks and limits, and claimed.

Nothing is written here. The verify message for the case that this worker dies goes out before the claim.
"""

from __future__ import annotations

import logging

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, cast

from hubwarden.domain.finding import IN_FLIGHT, Attempt, Event, Finding, State
from hubwarden.domain.limits import Slot
from hubwarden.domain.plan import Plan, PlanError, Target
from hubwarden.domain.remediation import remediation_id
from hubwarden.domain.rollback import unread
from hubwarden.domain.snapshot import Snapshot
from hubwarden.service.errors import StaleWriteError
from hubwarden.service.fingerprint import fingerprint
from hubwarden.service.ledger import enter, move
from hubwarden.service.locks import locked
from hubwarden.service.messages import VerifyMessage
from hubwarden.service.people import give_to_people, tell_people
from hubwarden.service.planning import Drifting, Prepared, prepared
from hubwarden.service.ports import Ports, Stored
from hubwarden.service.reconcile import Look
from hubwarden.service.rollback import changes_of, hold_all, prepared_rollback
from hubwarden.service.turns import give_back, hold_back, take


log = logging.getLogger(__name__)

ATTEMPTS: Final = 8
"""So many claims of a finding that come to no end are enough: then it is for people."""
_FIRST: Final = (Target.DIAGNOSTICS, Target.DEFENDER, Target.HUB)


@dataclass(frozen=True, slots=True)
class Fix:
    """What is claimed to be written; ``slots`` are what the limits gave for it, ``verify`` looks afterwards."""

    made: Prepared
    snapshot: Snapshot
    claims: tuple[Stored[Finding], ...]
    verify: VerifyMessage
    slots: tuple[Slot, ...]

    @property
    def plan(self) -> Plan:
        """The exact changes."""
        return self.made.plan

    @property
    def claimed_until(self) -> datetime:
        """When another worker may conclude that this one is gone."""
        return min(claim.value.attempt.deadline for claim in self.claims if claim.value.attempt)


async def prepare(ports: Ports, look: Look) -> Fix | None:
    """Plan and claim what of the hub is fixed next; None where nothing is, for now or for the machine."""
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


async def _unlocked(
    ports: Ports, plans: Sequence[tuple[Stored[Finding], Plan | None]]
) -> list[tuple[Stored[Finding], Plan]]:
    """The plans that no lock forbids; the others are for people, and hold up no other."""
    made = [(stored, plan) for stored, plan in plans if plan is not None]
    locks = await locked(ports, [plan for _, plan in made]) if made else {}
    for stored, plan in made:
        if plan.digest in locks:
            await tell_people(
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


def _drifting(look: Look, stored: Stored[Finding]) -> Drifting:
    drift = look.drift_of(stored.value)
    assert drift is not None, "only what the snapshot shows is fixed"
    return stored.value, drift


async def _prepare_rollback(ports: Ports, look: Look, stored: Stored[Finding]) -> Fix | None:
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


async def _tried_enough(ports: Ports, stored: Stored[Finding]) -> bool:
    """Whether it is for people now."""
    if stored.value.attempts < ATTEMPTS:
        return False
    reason = f"{ATTEMPTS} tries did not come to an end; the last that is known: {stored.value.history[-1].reason}"
    await give_to_people(ports, stored, Event.TICKET, reason, retry_in=ports.timings.retry_denied)
    return True


async def _no_plan(ports: Ports, stored: Stored[Finding], why: str) -> None:
    """Planning again writes nothing, so it may be tried once the hub has changed, or a day later."""
    log.error("no plan for %s on %s: %s", stored.value.rule_id, stored.value.hub, why)
    reason = f"no plan could be made: {why}"
    await give_to_people(ports, stored, Event.TICKET, reason, retry_in=ports.timings.retry_denied)


async def _claimed(
    ports: Ports,
    look: Look,
    made: Prepared,
    approved: Sequence[Stored[Finding]],
    *,
    slots: tuple[Slot, ...] = (),
    alone: Collection[str] = (),
) -> Fix | None:
    """Claim what is to be fixed; ``alone`` are the ids of what no person approved, ``slots`` what that took."""
    verify = await _guard(ports, made.plan)
    claims = await _claim(ports, made, approved, look.snapshot.taken_at, alone)
    if claims is None:
        await give_back(ports, slots)
        return None
    return Fix(made, look.snapshot, claims, verify, slots)


async def _guard(ports: Ports, plan: Plan) -> VerifyMessage:
    """Before the claim: from then on somebody comes to look, whatever becomes of this worker."""
    give_up_at = ports.clock.now() + ports.timings.verify
    message = VerifyMessage(hub=plan.hub.path, digest=plan.digest, give_up_at=give_up_at)
    await ports.work.send(message, delay=ports.timings.claim)
    return message


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


async def alone_on_hub(ports: Ports, fix: Fix) -> bool:
    """Whether no other fix of the hub is in flight. Asked after the claim, so that of two at most one goes on."""
    ours = {claim.value.id for claim in fix.claims}
    found = await ports.findings.of_hub(fix.plan.hub)
    if any(other.value.state in IN_FLIGHT and other.value.id not in ours for other in found):
        return False
    return fix.plan.target is not Target.DEFENDER or await _alone_on_solution(ports, fix)


async def _alone_on_solution(ports: Ports, fix: Fix) -> bool:
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
