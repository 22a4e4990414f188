"""What policy says to do with a finding now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from hubwarden.domain.finding import Event, Finding
from hubwarden.domain.policy import Policy
from hubwarden.domain.rule import Mode, Remediator, Safety
from hubwarden.domain.where import Tags


class Action(StrEnum):
    """The answers that policy can give; each is also what then happens to the finding."""

    REPORT = Event.REPORT.value
    TICKET = Event.TICKET.value
    ASK = Event.ASK.value
    FIX = Event.FIX.value
    HOLD = Event.HOLD.value
    EXEMPT = Event.EXEMPT.value


@dataclass(frozen=True, slots=True)
class Decision:
    """An action and the reason for it, in words that name the line of policy or the property of the fix."""

    action: Action
    reason: str


_BY_MODE: Final = {
    Mode.OFF: Action.REPORT,
    Mode.REPORT: Action.REPORT,
    Mode.TICKET: Action.TICKET,
    Mode.APPROVE: Action.ASK,
    Mode.AUTO: Action.FIX,
}


def decide(
    finding: Finding,
    remediator: Remediator | None,
    policy: Policy,
    now: datetime,
    tags: Tags | None,
) -> Decision:
    """Say what to do with a drift that was just seen. The strictest of exemption, obstacle, mode and safety wins.

    Args:
        finding: the drift.
        remediator: the rule's fix, or None where it has none.
        policy: the operator's wishes.
        now: UTC.
        tags: the hub's, None where they are not known; one that says who manages the hub asks for an approval,
            for what is fixed here is changed back there.
    """
    exemption = policy.exemption_of(finding.hub, finding.rule_id, now)
    if exemption is not None:
        return Decision(Action.EXEMPT, f"exempt until {exemption.until} by {exemption.owner}: {exemption.reason}")
    wish = policy.wish_for(finding.rule_id, finding.hub, tags)
    wanted, said = _BY_MODE[wish.mode], str(wish)
    if finding.report_only:
        wanted, said = Action.REPORT, f"{finding.rule_id} only tells of it: nothing has to be done"
    if wanted not in {Action.ASK, Action.FIX}:
        return Decision(wanted, said)
    in_the_way = _in_the_way(finding, remediator, said, now)
    if in_the_way is not None:
        return in_the_way
    assert remediator is not None
    decision = _limited(wanted, remediator, said, accepted=finding.rule_id in policy.accept_risk)
    marker = policy.iac_marker(tags or {})
    if decision.action is Action.FIX and marker is not None:
        why = (
            f"the hub's tag {marker} says that it is managed elsewhere, and what is fixed here may come back there"
        )
        return Decision(Action.ASK, f"{said}, but {why}")
    return decision


def _in_the_way(finding: Finding, remediator: Remediator | None, said: str, now: datetime) -> Decision | None:
    if finding.hold is not None:
        return Decision(Action.HOLD, f"held by {finding.hold.by}: {finding.hold.reason}")
    if remediator is None:
        return Decision(Action.TICKET, f"{said}, but the rule has no fix that a machine can make")
    if finding.obstacle is not None and not _over(finding, now):
        return Decision(Action.TICKET, finding.obstacle.reason)
    return None


def _over(finding: Finding, now: datetime) -> bool:
    assert finding.obstacle is not None
    retry_at = finding.obstacle.retry_at
    return retry_at is not None and retry_at <= now


def _limited(wanted: Action, remediator: Remediator, said: str, *, accepted: bool) -> Decision:
    if remediator.safety is Safety.TICKET and not accepted:
        return Decision(Action.TICKET, f"{said}, but this fix is left to people: {remediator.why}")
    if wanted is Action.FIX and remediator.safety is Safety.APPROVAL and not accepted:
        return Decision(Action.ASK, f"{said}, but this fix needs an approval: {remediator.why}")
    return Decision(wanted, said)
