"""asking: which requests wait for a person, and the address of the page on which they are decided together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hubwarden.domain.approval import Ask
from hubwarden.domain.finding import Finding, State
from hubwarden.domain.policy import Policy
from hubwarden.service.ports import ApprovalLinks


def waiting(findings: Iterable[Finding]) -> list[Finding]:
    """Those that wait for a word on a plan."""
    return [f for f in findings if f.state is State.AWAITING_APPROVAL and f.proposal is not None]


def page_for(links: ApprovalLinks, policy: Policy, findings: Sequence[Finding]) -> str:
    """The page on which these are decided, one or at most TOGETHER, all of which wait.

    It ends with the first of them to end.
    """
    proposals = [(finding.id, finding.proposal) for finding in findings if finding.proposal is not None]
    until = min(policy.approvals.expires_at(proposal) for _, proposal in proposals)
    return links.url([Ask(finding_id, proposal.digest) for finding_id, proposal in proposals], until)
