"""From a snapshot to findings that say what is now true, and what policy wants done about it."""

from __future__ import annotations

import logging

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hubwarden.domain.decision import Action, Decision, decide
from hubwarden.domain.finding import IN_FLIGHT, Actor, Event, Finding, Proposal, State, Step, finding_id
from hubwarden.domain.jsons import Json
from hubwarden.domain.limits import Gate
from hubwarden.domain.plan import PlanError, plan_difference
from hubwarden.domain.rollback import unread
from hubwarden.domain.rule import Mode, Rule
from hubwarden.domain.severity import Severity
from hubwarden.domain.snapshot import Snapshot
from hubwarden.domain.verdict import Compliant, Drift, Unknown, Verdict
from hubwarden.service.errors import StaleWriteError
from hubwarden.service.expire import expired, is_expired
from hubwarden.service.gate import gated, open_gate
from hubwarden.service.ledger import enter
from hubwarden.service.observe import active_rules, busy
from hubwarden.service.planning import proposed
from hubwarden.service.ports import Ports, Stored
from hubwarden.service.rollback import changes_of, proposed_rollback, why_over


log = logging.getLogger(__name__)

_RACES_RUN = 5
_UNDECIDED = IN_FLIGHT | {State.REJECTED, State.EXPIRED, State.FAILED, State.RESOLVED}


@dataclass(frozen=True, slots=True)
class Cause:
    """What made us look. ``actor`` and ``changed_at`` (UTC) are known where an event told them.

    ``verifies`` is the digest of the fix that is being verified: no other look moves a finding in flight.
    """

    why: str
    actor: Actor | None = None
    changed_at: datetime | None = None
    verifies: str | None = None

    def may_move(self, finding: Finding) -> bool:
        """Whether this look has a say about the finding."""
        if finding.state not in IN_FLIGHT:
            return True
        return finding.attempt is not None and finding.attempt.digest == self.verifies


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a hub came to."""

    snapshot: Snapshot
    verdicts: dict[str, tuple[Verdict, ...]]
    findings: tuple[Stored[Finding], ...]
    gate: Gate | None = None
    """What may hold back fixes; None where there was nothing to fix."""

    @property
    def unknown(self) -> dict[str, str]:
        """Rule id → why it could not be judged."""
        return {
            rule: verdict.reason
            for rule, verdicts in self.verdicts.items()
            for verdict in verdicts
            if isinstance(verdict, Unknown)
        }

    @property
    def drifting(self) -> bool:
        """Whether any rule does not hold."""
        return any(isinstance(verdict, Drift) for verdicts in self.verdicts.values() for verdict in verdicts)

    @property
    def words(self) -> dict[str, str]:
        """Rule id → compliant, drift or unknown, the worst that was said."""
        return {rule: _word(verdicts) for rule, verdicts in self.verdicts.items()}

    @property
    def evidence(self) -> dict[str, dict[str, Json]]:
        """Rule id → what was seen, of the rules with one verdict that tells it."""
        return {
            rule: verdict.evidence
            for rule, (verdict, *more) in self.verdicts.items()
            if not more and not isinstance(verdict, Unknown) and verdict.evidence
        }

    @property
    def good(self) -> dict[str, dict[str, Json]]:
        """Rule id → evidence, of the rules that hold and have some."""
        return {
            rule: verdict.evidence
            for rule, verdicts in self.verdicts.items()
            for verdict in verdicts
            if isinstance(verdict, Compliant) and verdict.evidence
        }

    def judged(self, rule_id: str, subject: str) -> bool:
        """Whether the rule was asked about this subject and had an answer."""
        return _holds(self.verdicts.get(rule_id, ()), subject)

    def approved(self) -> tuple[Stored[Finding], ...]:
        """The findings that may be fixed now."""
        return tuple(stored for stored in self.findings if stored.value.state is State.APPROVED)

    def drift_of(self, finding: Finding) -> Drift | None:
        """The drift that this finding is about, where the snapshot shows it."""
        drifts = (v for v in self.verdicts.get(finding.rule_id, ()) if isinstance(v, Drift))
        return next((d for d in drifts if finding_id(finding.hub, finding.rule_id, d.subject) == finding.id), None)


def judge(ports: Ports, snapshot: Snapshot) -> dict[str, tuple[Verdict, ...]]:
    """Ask every rule that is not off and whose facets were asked for.

    A detector that breaks leaves its rule unknown and the others alone.
    """
    return {
        rule.id: _ask(ports, rule, snapshot)
        for rule in active_rules(ports, snapshot.hub, snapshot.tags)
        if snapshot.facets.keys() >= set(rule.reads)
    }


async def reconcile(ports: Ports, snapshot: Snapshot, cause: Cause) -> Look:
    """Bring the hub's findings up to date with the snapshot, decide on each, and settle the tickets.

    Nothing is written to Azure. A finding that somebody else writes meanwhile is read again and done again.
    """
    verdicts = judge(ports, snapshot)
    for _ in range(_RACES_RUN):
        try:
            known = {stored.value.id: stored for stored in await ports.findings.of_hub(snapshot.hub)}
            updates, gate = await _through_the_gate(ports, snapshot, verdicts, known, cause)
            saved = [await enter(ports, update.before, update.after, update.reason) for update in updates]
        except StaleWriteError:
            continue
        return Look(snapshot, verdicts, tuple(saved), gate)
    raise StaleWriteError(f"{snapshot.hub}: its findings keep changing under our hands")


@dataclass(frozen=True, slots=True)
class _Update:
    before: Stored[Finding] | None
    after: Finding
    reason: str


async def _through_the_gate(
    ports: Ports,
    snapshot: Snapshot,
    verdicts: dict[str, tuple[Verdict, ...]],
    known: dict[str, Stored[Finding]],
    cause: Cause,
) -> tuple[list[_Update], Gate | None]:
    """What each finding becomes. The limits are only asked about what would be fixed: most looks cost no call."""
    updates = list(_updates(ports, snapshot, verdicts, known, cause))
    rules = {update.after.rule_id for update in updates if update.after.state is State.APPROVED}
    if not rules:
        return updates, None
    gate = await open_gate(ports, snapshot.hub, [update.after for update in updates], rules)
    return list(_updates(ports, snapshot, verdicts, known, cause, gate=gate)), gate


def _updates(
    ports: Ports,
    snapshot: Snapshot,
    verdicts: dict[str, tuple[Verdict, ...]],
    known: dict[str, Stored[Finding]],
    cause: Cause,
    *,
    gate: Gate | None = None,
) -> Iterator[_Update]:
    """What each finding becomes. One that a newer snapshot has spoken about is left as it is."""
    drifts = {
        finding_id(snapshot.hub, rule_id, verdict.subject): (rule_id, verdict)
        for rule_id, said in verdicts.items()
        for verdict in said
        if isinstance(verdict, Drift)
    }
    for id_, (rule_id, drift) in drifts.items():
        before = known.get(id_)
        if before is None:
            new = _informed(_new(ports, snapshot, rule_id, drift, cause), cause)
            yield _decided(ports, snapshot, None, new, drift, gate=gate)
        elif before.value.judged_at <= snapshot.taken_at and cause.may_move(before.value):
            severity = drift.severity or ports.rule(rule_id).severity
            seen = _seen(before.value, drift, severity, snapshot.taken_at, cause)
            seen = _informed(seen, cause, before.value)
            seen = replace(seen, tags=ports.policy.tags_to_keep(snapshot.tags))
            yield _decided(ports, snapshot, before, seen, drift, gate=gate)
        else:
            yield _Update(before, before.value, "")
    for id_, stored in known.items():
        if stored.value.rollback is not None:
            yield _of_rollback(ports, snapshot, stored)
        elif id_ not in drifts:
            yield _unseen(ports, stored, snapshot, verdicts.get(stored.value.rule_id, ()), cause)


def _unseen(
    ports: Ports, stored: Stored[Finding], snapshot: Snapshot, verdicts: Sequence[Verdict], cause: Cause
) -> _Update:
    finding = stored.value
    stale = finding.judged_at > snapshot.taken_at
    if finding.state is State.RESOLVED or stale or not cause.may_move(finding):
        return _Update(stored, finding, "")
    if ports.policy.mode_of(finding.rule_id, snapshot.hub, snapshot.tags) is Mode.OFF:
        return _decided(ports, snapshot, stored, finding, None)
    if busy(snapshot) or not _holds(verdicts, finding.subject):
        return _Update(stored, finding, "")
    reason = f"{cause.why}: the hub no longer shows it"
    return _Update(stored, finding.after(Event.CLEARED, at=snapshot.taken_at, reason=reason), reason)


def _of_rollback(ports: Ports, snapshot: Snapshot, stored: Stored[Finding]) -> _Update:
    """A rollback is no drift: it is asked about for as long as the hub is as the fix left it."""
    finding, same = stored.value, _Update(stored, stored.value, "")
    assert finding.rollback is not None
    settled = finding.state in IN_FLIGHT | {State.RESOLVED} or finding.judged_at > snapshot.taken_at
    if settled or busy(snapshot) or unread(snapshot, changes_of(finding.rollback)):
        return same
    over = why_over(ports, snapshot, finding)
    if over is not None:
        return _Update(stored, finding.after(Event.CLEARED, at=snapshot.taken_at, reason=over), over)
    if finding.state is State.TICKETED:
        return same
    if finding.state is State.FAILED:
        reason = finding.history[-1].reason
        return _Update(stored, finding.after(Event.TICKET, at=ports.clock.now(), reason=reason), reason)
    if finding.hold is not None:
        reason = f"held by {finding.hold.by}: {finding.hold.reason}"
        return _entered(ports, stored, finding, Decision(Action.HOLD, reason))
    try:
        proposal = proposed_rollback(ports, snapshot, finding.rollback)
    except PlanError as error:
        decision = Decision(Action.TICKET, f"the rollback cannot be planned: {error}")
    else:
        wish = Decision(Action.ASK, f"{finding.rollback.by} asks for it, and a rollback needs an approval")
        finding, decision = _with_proposal(ports, finding, proposal, wish)
    return _entered(ports, stored, finding, decision)


def _new(ports: Ports, snapshot: Snapshot, rule_id: str, drift: Drift, cause: Cause) -> Finding:
    rule = ports.rule(rule_id)
    return Finding(
        hub=snapshot.hub,
        rule_id=rule_id,
        subject=drift.subject,
        severity=drift.severity or rule.severity,
        tags=ports.policy.tags_to_keep(snapshot.tags),
        summary=drift.summary,
        evidence=drift.evidence,
        report_only=drift.report_only,
        first_seen=snapshot.taken_at,
        last_seen=snapshot.taken_at,
        history=(Step(snapshot.taken_at, Event.SEEN, State.OPEN, f"{cause.why}: {drift.summary}"),),
    )


def _seen(finding: Finding, drift: Drift, severity: Severity, at: datetime, cause: Cause) -> Finding:
    seen = finding.after(Event.SEEN, at=at, reason=f"{cause.why}: {drift.summary}")
    if finding.state is State.REJECTED and finding.evidence != drift.evidence:
        seen = seen.after(
            Event.OUTDATED, at=at, reason=f"what was rejected is not what is there now: {drift.summary}"
        )
    seen = replace(seen, summary=drift.summary, evidence=drift.evidence, report_only=drift.report_only)
    return replace(seen, severity=severity)


def _informed(finding: Finding, cause: Cause, before: Finding | None = None) -> Finding:
    """Who made the drift what it is now; a change by anybody may have removed what Azure refused for."""
    another = before is not None and before.evidence != finding.evidence
    late = finding.actor is None and cause.changed_at is not None and cause.changed_at <= finding.seen_at
    if cause.actor is not None and (finding.state is State.OPEN or another or late):
        finding = replace(finding, actor=cause.actor, changed_at=cause.changed_at)
        finding = finding.blaming(cause.actor, cause.changed_at or finding.last_seen)
    elif cause.actor is not None and cause.changed_at is not None:
        finding = finding.suspecting(cause.actor, cause.changed_at)
    obstacle = finding.obstacle
    if obstacle and not obstacle.final and cause.changed_at and cause.changed_at > obstacle.since:
        finding = replace(finding, obstacle=None)
    return finding


def _decided(
    ports: Ports,
    snapshot: Snapshot,
    before: Stored[Finding] | None,
    finding: Finding,
    drift: Drift | None,
    *,
    gate: Gate | None = None,
) -> _Update:
    finding = replace(finding, observed=ports.policy.observes)
    if finding.state is State.FAILED:
        reason = finding.history[-1].reason
        return _Update(before, finding.after(Event.TICKET, at=finding.last_seen, reason=reason), reason)
    if finding.state in _UNDECIDED:
        return _Update(before, finding, "")
    now = ports.clock.now()
    decision = decide(finding, ports.remediators.get(finding.rule_id), ports.policy, now, snapshot.tags)
    limit = finding.limit
    finding, decision = gated(gate, _accepted(finding, decision), decision)
    if (decision.action is Action.ASK or decision.instead_of) and drift is not None:
        if busy(snapshot):
            return _Update(before, finding, "")  # a plan for a hub that is just changing would be outdated at once
        with_plan = _told_only if decision.instead_of else _put_to_people
        finding, decision = with_plan(ports, snapshot, finding, drift, decision)
    elif ports.policy.observes:
        finding = replace(finding, proposal=None)  # what was asked before would not be done now
    return _entered(ports, before, finding, decision, moved=finding.limit is not limit)


def _entered(
    ports: Ports, before: Stored[Finding] | None, finding: Finding, decision: Decision, *, moved: bool = False
) -> _Update:
    """The update that the decision makes; ``moved`` says that it is news though the state stays."""
    now = ports.clock.now()
    decided = finding.after(Event(decision.action.value), at=now, reason=decision.reason)
    if decided.state is finding.state and not moved:
        return _Update(before, finding, "")
    return _Update(before, decided, decision.reason)


def _accepted(finding: Finding, decision: Decision) -> Finding:
    """The finding with the exemption that covers it now; that one ends is told once for each last day."""
    before, now = finding.exempted, decision.exempted
    same_end = before is not None and now is not None and before.until == now.until
    return replace(finding, exempted=now, end_told_at=finding.end_told_at if same_end else None)


def _told_only(
    ports: Ports, snapshot: Snapshot, finding: Finding, drift: Drift, decision: Decision
) -> tuple[Finding, Decision]:
    """The finding with the plan that would be carried out if Azure might be changed; nobody's yes to it counts."""
    try:
        proposal = proposed(ports, snapshot, finding, drift)
    except PlanError as error:
        told = replace(decision, reason=f"{decision.reason}; but no plan could be made: {error}")
        return replace(finding, proposal=None), told
    return replace(finding, proposal=proposal, agreed=(), approval=None), decision


def _put_to_people(
    ports: Ports, snapshot: Snapshot, finding: Finding, drift: Drift, decision: Decision
) -> tuple[Finding, Decision]:
    """The finding with the plan that people decide on, and what follows: their yes holds for that plan alone."""
    try:
        proposal = proposed(ports, snapshot, finding, drift)
    except PlanError as error:
        return finding, Decision(Action.TICKET, f"{decision.reason}; but no plan could be made: {error}")
    return _with_proposal(ports, finding, proposal, decision)


def _with_proposal(
    ports: Ports, finding: Finding, proposal: Proposal, decision: Decision
) -> tuple[Finding, Decision]:
    finding = _still_enough(ports, finding)
    approval = finding.approval
    if approval is not None and approval.digest == proposal.digest:
        return finding, Decision(Action.FIX, f"approved by {approval.by}: {approval.reason}")
    if finding.proposal is not None and finding.proposal.digest == proposal.digest:
        return _asked_before(ports, finding, proposal, decision)
    if finding.state in {State.AWAITING_APPROVAL, State.APPROVED}:
        outdated = "the hub has changed since the plan was made, so that plan would not run any more"
        finding = finding.after(Event.OUTDATED, at=ports.clock.now(), reason=outdated)
    before = finding.proposal if finding.state is State.STALE else None
    asked = replace(finding, proposal=proposal, outdated=before, agreed=(), approval=None)
    if before is None:
        return asked, decision
    difference = "; ".join(plan_difference(before.changes, proposal.changes))
    return asked, replace(decision, reason=f"{decision.reason}; asked anew with another plan: {difference}")


def _still_enough(ports: Ports, finding: Finding) -> Finding:
    """The finding without a yes that fewer have said than policy wants by now."""
    needed = ports.policy.approvals.needed_for(finding.rule_id)
    if finding.approval is None or len(finding.agreed) >= needed:
        return finding
    why = f"{needed} must approve it by now, and {len(finding.agreed)} did: {finding.approval.by}"
    if finding.state is State.APPROVED:
        return finding.after(Event.OUTDATED, at=ports.clock.now(), reason=why)
    return replace(finding, agreed=(), approval=None)


def _asked_before(
    ports: Ports, finding: Finding, proposal: Proposal, decision: Decision
) -> tuple[Finding, Decision]:
    """The same plan once more: people have as long as they had, and their time is over some day."""
    if finding.state is not State.AWAITING_APPROVAL:
        return replace(finding, proposal=proposal, agreed=()), decision
    if not is_expired(ports, finding) and finding.proposal is not None:
        return replace(finding, proposal=replace(finding.proposal, warnings=proposal.warnings)), decision
    ended = expired(ports, finding)
    return ended, Decision(Action.TICKET, ended.history[-1].reason)


def _holds(verdicts: Sequence[Verdict], subject: str) -> bool:
    """Whether this subject was judged at all: what is unknown closes nothing."""
    unknown = (verdict for verdict in verdicts if isinstance(verdict, Unknown))
    return bool(verdicts) and not any(verdict.subject in {"", subject} for verdict in unknown)


def _ask(ports: Ports, rule: Rule, snapshot: Snapshot) -> tuple[Verdict, ...]:
    try:
        verdicts = tuple(rule.detect(snapshot, ports.policy.settings_of(rule, snapshot.hub, snapshot.tags)))
    except Exception as error:
        log.exception("the detector of %s broke on %s", rule.id, snapshot.hub)
        return (Unknown(f"the detector itself failed ({type(error).__name__}); this is a bug in hubwarden"),)
    if not all(isinstance(verdict, Compliant | Drift | Unknown) for verdict in verdicts):
        return (Unknown("the detector said something that is no verdict; this is a bug in hubwarden"),)
    return verdicts or (Unknown("the detector said nothing; this is a bug in hubwarden"),)


def _word(verdicts: Sequence[Verdict]) -> str:
    if any(isinstance(verdict, Drift) for verdict in verdicts):
        return "drift"
    return "compliant" if all(isinstance(verdict, Compliant) for verdict in verdicts) else "unknown"
