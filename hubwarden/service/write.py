"""One write to Azure for findings that are claimed, and what becomes of them."""

from __future__ import annotations

import logging

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, cast

from hubwarden.domain.finding import Attempt, Event, Finding
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.limits import Kill
from hubwarden.domain.plan import Plan, Target
from hubwarden.domain.receipt import Receipt
from hubwarden.domain.remediation import Outcome
from hubwarden.service.claim import ATTEMPTS, Fix
from hubwarden.service.errors import (
    AzureError,
    ConflictError,
    DeniedError,
    HubGoneError,
    StorageUnavailableError,
    TransientError,
)
from hubwarden.service.gate import kill_switch
from hubwarden.service.invocation import RULES, told_rules
from hubwarden.service.ledger import enter, move
from hubwarden.service.messages import RemediateMessage
from hubwarden.service.people import give_to_people
from hubwarden.service.planning import policy_edits, solution_edit
from hubwarden.service.ports import Ports, Stored
from hubwarden.service.put_off import put_off, wait_for_resume
from hubwarden.service.snapshots import keep, note_unproven
from hubwarden.service.turns import give_back


log = logging.getLogger(__name__)

_FIRST_VERIFY: Final = timedelta(seconds=2)


async def write(ports: Ports, message: RemediateMessage, fix: Fix) -> None:
    """Send what is claimed, and note what came of it; unless it is too late or the kill switch is on."""
    plan = fix.plan
    ports.telemetry.mark(RULES, told_rules(claim.value for claim in fix.claims))
    try:
        await keep(ports, plan, fix.claims)
    except StorageUnavailableError as error:
        lost = TransientError(f"what the write would change could not be kept: {error}")
        await let_go(ports, message, fix, lost, None)
        return
    await ports.audit.append("write", _told(plan, fix.claims, outcome="about to be sent"))
    if ports.clock.now() + ports.timings.write > fix.claimed_until:
        late = ConflictError("getting ready took too long: the claim is about to end")
        await ports.audit.append("write", _told(plan, fix.claims, outcome=f"not sent: {late}"))
        await let_go(ports, message, fix, late, None)
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


async def _send(ports: Ports, fix: Fix) -> Receipt:
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


async def _not_written(ports: Ports, message: RemediateMessage, fix: Fix, error: AzureError) -> None:
    match error:
        case TransientError(sent=True):
            for claim in fix.claims:
                await doubt(ports, claim, f"whether the write arrived is not known: {error}")
            await ports.work.send(fix.verify, delay=error.retry_after or _FIRST_VERIFY)
        case TransientError():
            await let_go(ports, message, fix, error, error.retry_after)
        case ConflictError() | HubGoneError():
            await let_go(ports, message, fix, error, None)  # whether the hub is gone, the next read tells
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


async def let_go(
    ports: Ports, message: RemediateMessage, fix: Fix, error: AzureError, retry_after: timedelta | None
) -> None:
    """Certainly nothing was written: release the claims and come back, but not for ever."""
    await give_back(ports, fix.slots)
    if max(claim.value.attempts for claim in fix.claims) >= ATTEMPTS:
        reason = f"{ATTEMPTS} tries did not get through; the last one: {error}"
        for claim in fix.claims:
            await give_to_people(ports, claim, Event.DENIED, reason, retry_in=ports.timings.retry_denied)
        return
    for claim in fix.claims:
        await move(ports, claim, Event.RELEASE, f"not written: {error}")
    await put_off(ports, message, error, retry_after=retry_after)


async def _stopped(ports: Ports, message: RemediateMessage, fix: Fix, killed: Kill) -> None:
    """The switch was thrown after the claim: as if this fix had not begun."""
    await give_back(ports, fix.slots)
    await note_unproven(ports, fix.claims[0].value, Outcome.NOT_WRITTEN)
    for claim in fix.claims:
        reason = f"not written: {killed}"
        released = claim.value.after(Event.RELEASE, at=ports.clock.now(), reason=reason)
        await enter(ports, claim, replace(released, attempts=released.attempts - 1), reason)
    await wait_for_resume(ports, message, killed)


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
