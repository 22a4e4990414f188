"""rollback: put back what a fix of ours changed, once people have agreed, and keep the next sweep from undoing it.

A rollback is no drift, but it lives as a finding does, in a row of its own: asked about, approved, claimed,
written and proven on the same way. Right before its write every finding that the fix was for is held, so
whatever dies when, there is no moment in which the hub is rolled back and a sweep would fix it again.
"""

from __future__ import annotations

import logging

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from hubwarden.domain.approval import Approver
from hubwarden.domain.finding import (
    Actor,
    Event,
    Finding,
    Hold,
    Proposal,
    Rollback,
    State,
    Step,
    rollback_finding_id,
)
from hubwarden.domain.plan import Change, Plan, PlanError
from hubwarden.domain.remediation import Remediation
from hubwarden.domain.rollback import facets_of, moved, obstacle, shared, shortfalls, undo_text, unread
from hubwarden.domain.severity import Severity
from hubwarden.domain.snapshot import Snapshot
from hubwarden.service.errors import AzureError
from hubwarden.service.ledger import enter
from hubwarden.service.observe import busy, observe
from hubwarden.service.planning import Prepared, checked_body
from hubwarden.service.ports import Ports, Stored


log = logging.getLogger(__name__)

_NOTHING: Final = "nothing was asked and nothing was changed"
_OVER: Final = frozenset({State.RESOLVED, State.REJECTED, State.TICKETED})
"""Where a rollback that was asked for before stands in the way of no other one."""


class NoSuchRemediationError(Exception):
    """Nothing is kept of a remediation of this id."""


class NotRolledBackError(Exception):
    """No rollback can be asked for; the message says why, and what a person can do."""


async def ask_for_rollback(ports: Ports, remediation_id: str, *, by: Approver, reason: str) -> Finding:
    """Plan the rollback against the hub as it is now, and put it to people as any other plan.

    Returns:
        What waits for their approval.

    Raises:
        NoSuchRemediationError, NotRolledBackError: as they say; nothing was asked.
        StaleWriteError: somebody else asks for the same right now.
        StorageUnavailableError: the app's storage did not answer.
    """
    remediation = await _found(ports, remediation_id)
    _check(ports, remediation)
    known = {stored.value.id: stored for stored in await ports.findings.of_hub(remediation.hub)}
    asked = known.get(rollback_finding_id(remediation.id))
    if asked is not None and asked.value.state not in _OVER:
        raise NotRolledBackError(
            f"the rollback of {remediation.id} is asked for already: see finding {asked.value.id}, "
            f"which is {asked.value.state}; {_NOTHING}"
        )
    if asked is not None and asked.value.hold is not None:
        raise NotRolledBackError(
            f"the rollback of {remediation.id} is held by {asked.value.hold.by}: {asked.value.hold.reason}; "
            f"`release {asked.value.id}` first; {_NOTHING}"
        )
    snapshot = await _read(ports, remediation)
    rollback = _rollback(ports, remediation, by, reason)
    try:
        made = prepared_rollback(ports, snapshot, rollback)
    except PlanError as error:
        raise NotRolledBackError(f"{remediation.id} cannot be rolled back: {error}; {_NOTHING}") from None
    finding = _as_finding(ports, remediation, rollback, by, asked.value if asked else None)
    told = f"{by} asks to roll {remediation.id} back: {reason}"
    waiting = finding.after(Event.ASK, at=ports.clock.now(), reason=told)
    waiting = replace(waiting, proposal=_proposal(ports, made))
    return (await enter(ports, asked, waiting, told)).value


async def _found(ports: Ports, remediation_id: str) -> Remediation:
    async for remediation in ports.remediations.everything():
        if remediation.id == remediation_id:
            return remediation
    raise NoSuchRemediationError(f"nothing is kept of a remediation {remediation_id}; {_NOTHING}")


def _check(ports: Ports, remediation: Remediation) -> None:
    if not ports.policy.watches(remediation.hub):
        raise NotRolledBackError(f"{remediation.hub} is in no subscription that the policy file names: {_NOTHING}")
    if ports.policy.observes:
        raise NotRolledBackError(f"policy enforcement is observe, so nothing would be written: {_NOTHING}")
    why = obstacle(remediation)
    if why is not None:
        raise NotRolledBackError(f"{remediation.id} cannot be rolled back by a machine: {why}\n{_NOTHING}")


async def _read(ports: Ports, remediation: Remediation) -> Snapshot:
    """The hub as it is now, at rest and readable where the rollback is to change it."""
    hub, changes = remediation.hub, [Change.of(change) for change in remediation.undo]
    record = await ports.records.get(hub)
    try:
        snapshot = await observe(ports, hub, record.value if record else None, facets_of(changes))
    except AzureError as error:
        raise NotRolledBackError(f"{hub} cannot be read: {error}; {_NOTHING}") from None
    if snapshot.etag is not None and busy(snapshot):
        raise NotRolledBackError(f"an operation is running on {hub}: ask again when it is over; {_NOTHING}")
    return snapshot


def _rollback(ports: Ports, remediation: Remediation, by: Approver, reason: str) -> Rollback:
    return Rollback(
        remediation=remediation.id,
        findings=remediation.findings,
        changes=remediation.undo,
        warnings=tuple(_warnings(ports, remediation)),
        by=str(by),
        at=ports.clock.now(),
        reason=reason,
    )


def _warnings(ports: Ports, remediation: Remediation) -> list[str]:
    """What whoever approves it must know: first that this is no fix."""
    fix = [Change.of(change) for change in remediation.changes]
    undo = [Change.of(change) for change in remediation.undo]
    rules = [rule for rule in ports.rules if rule.id in remediation.rules]
    held = ", ".join(remediation.findings)
    told = [
        f"This is a rollback, not a fix: it undoes {remediation.id} of {remediation.at:%Y-%m-%d %H:%M:%S} UTC.",
        *(f"It brings back what {rule.id} calls a drift. {rule.risk}" for rule in rules),
        *shortfalls(fix, undo),
        f"From then on no machine fixes that drift, until somebody releases it: {held}.",
    ]
    return list(dict.fromkeys(told))


def _as_finding(
    ports: Ports, remediation: Remediation, rollback: Rollback, by: Approver, earlier: Finding | None
) -> Finding:
    """A row of its own, under the strictest of the fix's rules; a new wish begins a new life."""
    rule_id = max(sorted(remediation.rules), key=lambda rule: _strictness(ports, rule))
    severities = [rule.severity for rule in ports.rules if rule.id in remediation.rules]
    asked = f"{by} asks to undo it: {rollback.reason}"
    return Finding(
        hub=remediation.hub,
        rule_id=rule_id,
        subject=f"rollback of {remediation.id}",
        severity=min(severities, key=list(Severity).index, default=Severity.MEDIUM),
        summary=f"Rollback of {remediation.id} ({undo_text(remediation.undo)}), asked for by {by}",
        evidence={"undoes": remediation.id, "holds": [*remediation.findings], "reason": rollback.reason},
        first_seen=rollback.at,
        last_seen=rollback.at,
        actor=Actor(object_id=by.object_id, name=by.name),
        rollback=rollback,
        ticket_open=earlier is not None and earlier.ticket_open,
        ticket_trouble=None if earlier is None else earlier.ticket_trouble,
        history=(Step(rollback.at, Event.SEEN, State.OPEN, asked),),
    )


def _strictness(ports: Ports, rule_id: str) -> tuple[int, bool]:
    approvals = ports.policy.approvals
    return approvals.needed_for(rule_id), rule_id in approvals.four_eyes


def prepared_rollback(ports: Ports, snapshot: Snapshot, rollback: Rollback) -> Prepared:
    """The plan of the rollback on the hub as this snapshot shows it.

    Raises:
        PlanError: a place is not read, or no longer holds what the fix left in it: somebody has changed it since,
            and that is not undone; or it concerns other hubs too; or the rule's fix does not declare it.
    """
    changes = changes_of(rollback)
    why = unread(snapshot, changes)
    if why is not None:
        raise PlanError(f"{snapshot.hub} could not be read: {why}")
    if snapshot.etag is None:
        raise PlanError(f"{snapshot.hub} was read without an etag")
    elsewhere = "; ".join(moved(changes, snapshot))
    if elsewhere:
        raise PlanError(f"somebody has changed it since, and that is not undone: {elsewhere}")
    concerned = shared(changes, snapshot)
    if concerned is not None:
        raise PlanError(concerned)
    for change in changes:
        remediator = ports.remediators.get(change.rule_id)
        if remediator is None or not remediator.declares(change):
            raise PlanError(f"{change.rule_id} does not declare {change.where}, so it is not touched")
    plan = Plan(snapshot.hub, snapshot.etag, changes)
    return Prepared(plan, checked_body(plan, snapshot), _with_notes(ports, snapshot, rollback.warnings))


def _with_notes(ports: Ports, snapshot: Snapshot, warnings: tuple[str, ...]) -> tuple[str, ...]:
    marker = ports.policy.iac_marker(snapshot.tags or {})
    if marker is not None:
        told = f"The hub's tag {marker} says that code manages it: the code may undo this rollback."
        warnings = (*warnings, told)
    closed = ports.policy.closed(snapshot.hub, snapshot.tags, ports.clock.now())
    if closed is not None:
        warnings = (*warnings, f"This is {closed.reason}; an approval does not wait.")
    return warnings


def proposed_rollback(ports: Ports, snapshot: Snapshot, rollback: Rollback) -> Proposal:
    """What to put to people.

    Raises:
        PlanError: see ``prepared_rollback``.
    """
    return _proposal(ports, prepared_rollback(ports, snapshot, rollback))


def _proposal(ports: Ports, made: Prepared) -> Proposal:
    changes = tuple(change.as_json() for change in made.plan.changes)
    return Proposal(made.plan.digest, made.plan.etag, changes, made.warnings, ports.clock.now())


def changes_of(rollback: Rollback) -> tuple[Change, ...]:
    """What leads back."""
    return tuple(Change.of(change) for change in rollback.changes)


def why_over(ports: Ports, snapshot: Snapshot, finding: Finding) -> str | None:
    """Why nobody needs to decide on the rollback any more, as far as the snapshot shows; None where it stands.

    One that failed, or that nobody decided on, is for people for a while; then it has come to nothing.
    """
    assert finding.rollback is not None
    last = finding.history[-1]
    if ports.policy.observes:
        return "the rollback does not take place: policy enforcement is observe by now, so nothing is written"
    if finding.state is State.REJECTED:
        return f"the rollback does not take place: {last.reason}"
    elsewhere = "; ".join(moved(changes_of(finding.rollback), snapshot))
    if elsewhere:
        return f"the rollback has no object any more, somebody has changed the hub: {elsewhere}"
    if finding.state is State.TICKETED and last.at + ports.timings.retry_denied <= ports.clock.now():
        return f"the rollback has come to nothing; it can be asked for again: {last.reason}"
    return None


async def hold_all(ports: Ports, finding: Finding, known: Sequence[Stored[Finding]]) -> str | None:
    """Put on hold what the fix was for: before the rollback is written, so that nothing undoes it.

    A hold that stands already stays as it is.

    Returns:
        Why it cannot be, or None.

    Raises:
        StaleWriteError: somebody else wrote one of them; nothing was written to Azure yet.
    """
    rollback = finding.rollback
    assert rollback is not None
    rows = {stored.value.id: stored for stored in known}
    missing = [id_ for id_ in rollback.findings if id_ not in rows]
    if missing:
        return f"{', '.join(missing)} is not there to be put on hold, so a sweep would undo the rollback"
    reason = f"rolled back ({rollback.remediation}): {rollback.reason}"
    for stored in (rows[id_] for id_ in rollback.findings):
        if stored.value.hold is None:
            held = _held(stored.value, Hold(rollback.by, ports.clock.now(), reason))
            await enter(ports, stored, held, held.history[-1].reason)
    return None


def _held(finding: Finding, hold: Hold) -> Finding:
    """Where it stands it stays: once the drift is seen again, policy holds it."""
    noted = finding.noting(Event.HOLD, at=hold.at, reason=f"held by {hold.by}: {hold.reason}")
    return replace(noted, hold=hold)
