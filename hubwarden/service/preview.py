"""preview: what would be changed to end a drift, as the hub is now; nothing is written anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from hubwarden.domain.decision import Decision, decide
from hubwarden.domain.finding import Finding, Proposal, finding_id
from hubwarden.domain.plan import PlanError
from hubwarden.domain.snapshot import Snapshot
from hubwarden.domain.verdict import Drift, Unknown
from hubwarden.service.approve import NoSuchFindingError
from hubwarden.service.errors import AzureError
from hubwarden.service.observe import observe
from hubwarden.service.planning import proposed
from hubwarden.service.ports import Ports
from hubwarden.service.reconcile import judge


class NoPlanError(Exception):
    """There is no plan, and why."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The plan that ends the drift, and what policy says to do with that drift now."""

    finding: Finding
    proposal: Proposal
    decision: Decision


async def preview(ports: Ports, name: str) -> Preview:
    """Read the hub of the finding with this id now, and make the plan.

    Raises:
        NoSuchFindingError: there is no such finding.
        NoPlanError: the hub cannot be read, does not drift any more, or no machine can fix it; or it is no drift.
    """
    stored = await ports.findings.find(name)
    if stored is None:
        raise NoSuchFindingError(f"there is no finding {name}")
    finding = stored.value
    if finding.rollback is not None:
        raise NoPlanError(f"{name} is no drift but the rollback of a fix: `show {name}` says what it would change")
    if not ports.policy.watches(finding.hub):
        raise NoPlanError(f"{finding.hub} is in no subscription that the policy file names: it is not read")
    snapshot = await _seen(ports, finding)
    drift = _drift(ports, snapshot, finding)
    remediator = ports.remediators.get(finding.rule_id)
    if remediator is None:
        raise NoPlanError(
            f"{finding.rule_id} has no fix that a machine can make: `show {name}` says how people do"
        )
    try:
        proposal = proposed(ports, snapshot, finding, drift)
    except PlanError as error:
        raise NoPlanError(f"no plan could be made: {error}") from None
    decision = decide(finding, remediator, ports.policy, ports.clock.now(), snapshot.tags)
    return Preview(finding, proposal, decision)


async def _seen(ports: Ports, finding: Finding) -> Snapshot:
    record = await ports.records.get(finding.hub)
    reads = ports.rule(finding.rule_id).reads
    try:
        return await observe(ports, finding.hub, record.value if record else None, reads)
    except AzureError as error:
        raise NoPlanError(f"{finding.hub} cannot be read: {error}") from None


def _drift(ports: Ports, snapshot: Snapshot, finding: Finding) -> Drift:
    verdicts = judge(ports, snapshot).get(finding.rule_id, ())
    for verdict in verdicts:
        if isinstance(verdict, Unknown):
            raise NoPlanError(f"{finding.rule_id} cannot be judged on {finding.hub}: {verdict.reason}")
        if isinstance(verdict, Drift) and finding_id(finding.hub, finding.rule_id, verdict.subject) == finding.id:
            return verdict
    raise NoPlanError(f"{finding.hub} does not show this drift any more, or {finding.rule_id} is off")
