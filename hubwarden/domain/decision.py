"""What policy says to do with a finding now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from hubwarden.domain.exemption import Exempted
from hubwarden.domain.finding import Event, Finding
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.policy import Policy
from hubwarden.domain.rule import Mode, Remediator, Safety
from hubwarden.domain.where import Tags
from hubwarden.domain.windows import Closed


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
    """An action and the reason for it, in words that name the place of the policy file or the property of the fix.

    ``exempted`` says by what, where that is the action. ``instead_of`` is what would have been done if Azure might
    be changed.
    """

    action: Action
    reason: str
    exempted: Exempted | None = None
    instead_of: Action | None = None


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
    """Say what to do with a drift that was just seen. What is asked first wins; nothing does more than the mode.

    The order: exemption, mode, hold, is there a fix at all, an exemption that cannot be read, obstacle, the fix's
    safety, who manages the hub, the time, and whether Azure may be changed at all.

    Args:
        finding: the drift.
        remediator: the rule's fix, or None where it has none.
        policy: the operator's wishes.
        now: UTC.
        tags: the hub's, None where they are not known; one that says who manages the hub asks for an approval,
            for what is fixed here is changed back there.
    """
    exempted = policy.exemption_of(finding.hub, finding.rule_id, now, subject=finding.subject, tags=tags)
    if exempted is not None:
        return Decision(Action.EXEMPT, str(exempted), exempted=exempted)
    wish = policy.wish_for(finding.rule_id, finding.hub, tags)
    wanted, said = _BY_MODE[wish.mode], str(wish)
    if finding.report_only:
        wanted, said = Action.REPORT, f"{finding.rule_id} only tells of it: nothing has to be done"
    said += _unheeded(finding, policy, now, tags)
    if wanted not in {Action.ASK, Action.FIX}:
        return Decision(wanted, said)
    unreadable = policy.unreadable_exemption(finding.rule_id, now, subject=finding.subject, tags=tags)
    in_the_way = _in_the_way(finding, remediator, unreadable, said, now)
    if in_the_way is not None:
        return in_the_way
    assert remediator is not None
    decision = _limited(Decision(wanted, said), remediator, policy)
    decision = _managed(decision, policy, tags)
    decision = _timed(decision, policy.closed(finding.hub, tags, now))
    return _observed(decision) if policy.observes else decision


def fixes_alone(rule_id: str, hub: HubId, policy: Policy, now: datetime, tags: Tags | None) -> bool:
    """Whether policy may have a drift of the rule on this hub fixed by itself, now or once its time has come.

    What cannot be told without the tags (None) counts as yes.
    """
    wish = policy.wish_for(rule_id, hub, tags)
    if wish.sure and wish.mode is not Mode.AUTO:
        return False
    if tags is not None and policy.iac_marker(tags) is not None:
        return False
    return policy.exemption_of(hub, rule_id, now, tags=tags) is None


def _unheeded(finding: Finding, policy: Policy, now: datetime, tags: Tags | None) -> str:
    """What to say of a tag that somebody may take for an exemption."""
    refused = policy.refused_tag(finding.rule_id, now, subject=finding.subject, tags=tags)
    return f" ({refused})" if refused else ""


def _in_the_way(
    finding: Finding, remediator: Remediator | None, unreadable: str | None, said: str, now: datetime
) -> Decision | None:
    if finding.hold is not None:
        return Decision(Action.HOLD, f"held by {finding.hold.by}: {finding.hold.reason}")
    if remediator is None:
        return Decision(Action.TICKET, f"{said}, but the rule has no fix that a machine can make")
    if unreadable is not None:
        return Decision(Action.TICKET, f"{said}, but {unreadable}; until that is mended nothing is fixed here")
    if finding.obstacle is not None and not _over(finding, now):
        return Decision(Action.TICKET, finding.obstacle.reason)
    return None


def _over(finding: Finding, now: datetime) -> bool:
    assert finding.obstacle is not None
    retry_at = finding.obstacle.retry_at
    return retry_at is not None and retry_at <= now


def _limited(wanted: Decision, remediator: Remediator, policy: Policy) -> Decision:
    """How far a machine may go with this fix, unless the operator takes the risk."""
    said, asks = wanted.reason, wanted.action is Action.FIX and remediator.safety is Safety.APPROVAL
    if remediator.safety is not Safety.TICKET and not asks:
        return wanted
    if remediator.rule_id in policy.accept_risk:
        index = policy.accept_risk.index(remediator.rule_id)
        return Decision(wanted.action, f"{said}, and policy accept_risk[{index}] takes the risk of this fix")
    if remediator.safety is Safety.TICKET:
        return Decision(Action.TICKET, f"{said}, but this fix is left to people: {remediator.why}")
    return Decision(Action.ASK, f"{said}, but this fix needs an approval: {remediator.why}")


def _managed(decision: Decision, policy: Policy, tags: Tags | None) -> Decision:
    """Who manages the hub by code is asked, for what is fixed here may be changed back there."""
    if decision.action is not Action.FIX:
        return decision
    if tags is None or not policy.markers_known(tags):
        why = "the hub's tags are not known, and one of them may say that it is managed elsewhere"
        return Decision(Action.ASK, f"{decision.reason}, but {why}")
    marker = policy.iac_marker(tags)
    if marker is None:
        return decision
    why = f"the hub's tag {marker} says that it is managed elsewhere, and what is fixed here may come back there"
    return Decision(Action.ASK, f"{decision.reason}, but {why}")


def _timed(decision: Decision, closed: Closed | None) -> Decision:
    """What runs by itself waits for its time. Who approves a plan decides on the time too, and is told."""
    if closed is None:
        return decision
    if decision.action is Action.FIX:
        return Decision(Action.HOLD, f"{decision.reason}, but this is {closed.reason}")
    if decision.action is Action.ASK:
        return Decision(Action.ASK, f"{decision.reason}. Note: this is {closed.reason}; an approval does not wait")
    return decision


_INSTEAD: Final = {
    Action.FIX: "it would be fixed now",
    Action.ASK: "an approval would be asked for now",
}


def _observed(decision: Decision) -> Decision:
    """What would be written, or could come to it, is told and not done."""
    would = _INSTEAD.get(decision.action)
    if would is None:
        return decision
    why = f"policy enforcement is observe: nothing is changed in Azure. Otherwise {would} ({decision.reason})"
    return Decision(Action.TICKET, why, instead_of=decision.action)
