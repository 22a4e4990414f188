"""From findings to what the pages show of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hubwarden.domain.approval import Ask
from hubwarden.domain.finding import Finding, Ruling, State
from hubwarden.domain.message import visible
from hubwarden.domain.plan import change_parts, plan_difference
from hubwarden.service.approve import Outcome
from hubwarden.service.ports import Ports
from hubwarden.web.links import Link
from hubwarden.web.view import NOT_DONE, ChangeView, RequestView, SeveralView


_EXPLAINED: Final = frozenset({NOT_DONE, State.FAILED, State.HELD, State.EXEMPT, State.REPORTED, State.TICKETED})
"""Standings that a person who decided did not ask for."""


def request_view(ports: Ports, finding: Finding, ask: Ask, link: Link, csrf: str = "") -> RequestView:
    """One request that the link is about, as it stands now."""
    rule = next((rule for rule in ports.rules if rule.id == finding.rule_id), None)
    asked = finding.proposal if finding.proposal and ask.means(finding.proposal.digest) else None
    ruling = _ruling(finding, ask)
    before, standing = finding.outdated if asked else None, _standing(finding, ask)
    return RequestView(
        finding_id=finding.id,
        hub_name=finding.hub.name,
        hub_path=finding.hub.path,
        rule_id=finding.rule_id,
        rule_title=rule.title if rule else "",
        severity=finding.severity.value,
        summary=finding.summary,
        actor=str(finding.actor) if finding.actor else "",
        changed_at=finding.changed_at,
        changes=tuple(ChangeView(*change_parts(change)) for change in asked.changes) if asked else (),
        differences=plan_difference(before.changes, asked.changes) if before and asked else (),
        warnings=asked.warnings if asked else (),
        risk=rule.risk if rule else "",
        rollback=finding.rollback is not None,
        agreed=_agreed(ports, finding) if asked else "",
        expires_at=link.expires_at,
        csrf=csrf,
        action_url=_action(link),
        state=standing,
        because=visible(finding.history[-1].reason, 500) if standing in _EXPLAINED else "",
        decided_by=ruling.by if ruling else "",
        decided_at=ruling.at if ruling and ruling.by else None,
        decided_reason=ruling.reason if ruling and ruling.by else "",
    )


def several_view(
    ports: Ports,
    asked: Sequence[tuple[Ask, Finding]],
    link: Link,
    csrf: str = "",
    *,
    outcomes: Sequence[Outcome] = (),
) -> SeveralView:
    """The requests that the link is about; after a decision, ``outcomes`` tells what became of it."""
    refused = {done.ask.finding_id: str(done.refusal) for done in outcomes if done.refusal}
    return SeveralView(
        requests=tuple(request_view(ports, finding, ask, link) for ask, finding in asked),
        expires_at=link.expires_at,
        csrf=csrf,
        action_url=_action(link),
        page_url=f"/api/approvals/{link.place}?{link.query}",
        decided=bool(outcomes),
        refused=refused,
    )


def waits(finding: Finding, ask: Ask) -> bool:
    """Whether the finding waits for a word on this plan."""
    asked = finding.proposal is not None and ask.means(finding.proposal.digest)
    return asked and finding.state is State.AWAITING_APPROVAL


def _action(link: Link) -> str:
    return f"/api/approvals/{link.place}/decision?{link.query}"


def _agreed(ports: Ports, finding: Finding) -> str:
    if not finding.agreed:
        return ""
    needed = ports.policy.approvals.needed_for(finding.rule_id)
    names = ", ".join(each.by for each in finding.agreed)
    return f"{len(finding.agreed)} of {needed} have agreed so far: {names}"


def _ruling(finding: Finding, ask: Ask) -> Ruling | None:
    return finding.ruling if finding.ruling and ask.means(finding.ruling.digest) else None


def _standing(finding: Finding, ask: Ask) -> str:
    """Where this plan stands, which may not be where the finding stands by now."""
    if waits(finding, ask) or finding.state is State.RESOLVED:
        return finding.state
    ruling = _ruling(finding, ask)
    if ruling is None:
        return State.STALE
    if ruling.state is State.APPROVED and finding.state is State.TICKETED:
        return NOT_DONE
    moved_on = finding.proposal is not None and not ask.means(finding.proposal.digest)
    undecided = finding.state in {State.TICKETED, State.AWAITING_APPROVAL}
    return ruling.state if moved_on or undecided else finding.state
