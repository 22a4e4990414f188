"""approve and reject: a person's word on one plan."""

from __future__ import annotations

import logging

from dataclasses import replace
from typing import Final

from hubwarden.domain.finding import Approval, Event, Finding, Proposal, State
from hubwarden.service.ledger import enter
from hubwarden.service.messages import RemediateMessage
from hubwarden.service.ports import Ports, Stored


log = logging.getLogger(__name__)

_NOTHING: Final = "nothing was decided and nothing was changed"


class NoSuchFindingError(Exception):
    """There is no finding of this id."""


class NotAskedError(Exception):
    """The finding does not wait for this decision: it stands elsewhere, or another plan is asked about by now."""


async def approve(ports: Ports, finding_id: str, *, plan: str, by: str, reason: str) -> Finding:
    """Say yes to the plan with this digest, and have it carried out.

    What runs is that plan or none: right before the fix it is made again from the hub as it is then.

    Returns:
        The finding, approved.

    Raises:
        NoSuchFindingError, NotAskedError: as they say; the message is for whoever decided.
        StaleWriteError: the finding was just written by somebody else; look at it again.
    """
    stored, proposal = await _asked(ports, finding_id, plan)
    now = ports.clock.now()
    approval = Approval(proposal.digest, by, now, reason)
    told = f"approved by {by}: {reason}"
    approved = replace(stored.value.after(Event.APPROVE, at=now, reason=told), approval=approval)
    entered = await _enter(ports, stored, approved, proposal, told)
    await ports.work.send(RemediateMessage(hub=approved.hub.path))
    return entered.value


async def reject(ports: Ports, finding_id: str, *, plan: str, by: str, reason: str) -> Finding:
    """Say no to the plan with this digest: nothing is fixed until the drift has gone and come back.

    Returns, raises: see approve.
    """
    stored, proposal = await _asked(ports, finding_id, plan)
    told = f"rejected by {by}: {reason}"
    rejected = stored.value.after(Event.REJECT, at=ports.clock.now(), reason=told)
    return (await _enter(ports, stored, rejected, proposal, told)).value


async def _asked(ports: Ports, finding_id: str, plan: str) -> tuple[Stored[Finding], Proposal]:
    stored = await ports.findings.find(finding_id)
    if stored is None:
        raise NoSuchFindingError(f"there is no finding {finding_id}; {_NOTHING}")
    finding, proposal = stored.value, stored.value.proposal
    if finding.state is not State.AWAITING_APPROVAL or proposal is None:
        raise NotAskedError(
            f"finding {finding_id} ({finding.rule_id} on {finding.hub}) does not wait for an approval, "
            f"it is {finding.state}: {finding.history[-1].reason}; {_NOTHING}"
        )
    if proposal.digest != plan:
        raise NotAskedError(
            f"finding {finding_id} ({finding.rule_id} on {finding.hub}) asks about plan {proposal.digest} by now, "
            f"not about {plan}: look at what it would change, then decide; {_NOTHING}"
        )
    return stored, proposal


async def _enter(
    ports: Ports, stored: Stored[Finding], decided: Finding, proposal: Proposal, told: str
) -> Stored[Finding]:
    await ports.audit.append("approval", {
        "finding": decided.id,
        "hub": decided.hub.path,
        "plan": proposal.digest,
        "decision": told,
    })  # fmt: skip
    return await enter(ports, stored, decided, told)
