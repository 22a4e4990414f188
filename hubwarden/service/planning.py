"""From what is approved on a hub to one plan, and to a body that differs from the hub in that plan alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from hubwarden.domain.finding import Finding
from hubwarden.domain.jsons import ABSENT, JsonObject, differences, dotted
from hubwarden.domain.plan import Change, Plan, PlanError, Target
from hubwarden.domain.snapshot import Facet, Snapshot
from hubwarden.service.ports import PolicyEdit, Ports
from hubwarden.service.reconcile import Look


def planned(ports: Ports, look: Look, findings: Sequence[Finding]) -> tuple[Plan, JsonObject]:
    """One plan for several findings of one hub, and the body to send.

    Raises:
        PlanError: a finding's drift is not in the snapshot, a remediator touches what it did not declare, or
            two of them touch the same.
    """
    plan = _plan(ports, look, findings)
    if plan.target is Target.DIAGNOSTICS and len(plan.changes) > 1:
        raise PlanError(f"{plan.hub}: only one diagnostic setting is written at a time")
    return plan, _checked_body(plan, look.snapshot)


def _plan(ports: Ports, look: Look, findings: Sequence[Finding]) -> Plan:
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
        if not remediator.declares(change):
            raise PlanError(f"{finding.rule_id} wants to change {dotted(change.path)}, which it does not declare")
        yield change


def _checked_body(plan: Plan, snapshot: Snapshot) -> JsonObject:
    """The body to send, compared once more with what was read: it differs in the plan's paths and nowhere else."""
    before = snapshot.read(Facet.HUB)
    body = plan.apply(before)
    differing = set(differences(before, body))
    if differing != {change.path for change in plan.on(Target.HUB)}:
        raise PlanError(f"the body for {plan.hub} differs in {sorted(map(dotted, differing))}, not as planned")
    return body


def policy_edits(plan: Plan) -> tuple[PolicyEdit, ...]:
    """What the plan makes of the hub's shared access policies."""
    return tuple(_edit(change) for change in plan.on(Target.POLICIES))


def _edit(change: Change) -> PolicyEdit:
    before, after = cast("Any", change.before), cast("Any", change.after)
    if after is ABSENT:
        return PolicyEdit(change.path[0], frozenset(before["rights"]), None)
    return PolicyEdit(
        change.path[0],
        frozenset(before["rights"]),
        frozenset(after["rights"]),
        new_keys=bool(after.get("newKeys")),
    )
