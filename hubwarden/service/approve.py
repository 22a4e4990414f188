"""approve and reject: a person's word on one plan, or on several at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from hubwarden.domain.approval import Approver, Ask, Via
from hubwarden.domain.finding import Actor, Approval, Event, Finding, Proposal, Ruling, State
from hubwarden.domain.rule import Mode
from hubwarden.service.correlation import about
from hubwarden.service.errors import StaleWriteError
from hubwarden.service.expire import give_up_waiting, is_expired
from hubwarden.service.ledger import enter
from hubwarden.service.messages import RemediateMessage
from hubwarden.service.ports import Ports, Stored


_NOTHING: Final = "nothing was decided and nothing was changed"
_RACES_RUN: Final = 5


class Word(StrEnum):
    """What a person can say of a plan."""

    APPROVE = "approve"
    REJECT = "reject"


class NoSuchFindingError(Exception):
    """There is no finding of this id."""


class NotAskedError(Exception):
    """The finding does not wait for this decision: it stands elsewhere, or another plan is asked about by now."""


class NotYoursError(Exception):
    """Somebody else must decide this."""


type Refusal = NoSuchFindingError | NotAskedError | NotYoursError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a word on one request: the finding as it is now, or why the word was not taken."""

    ask: Ask
    finding: Finding | None
    refusal: Refusal | None = None


async def approve(ports: Ports, finding_id: str, *, plan: str, by: Approver, reason: str) -> Finding:
    """Say yes to the plan with this digest, and have it carried out once as many have as policy wants.

    What runs is that plan or none: right before the fix it is made again from the hub as it is then.

    Returns:
        The finding: approved, or waiting for others to agree.

    Raises:
        NoSuchFindingError, NotAskedError, NotYoursError: as they say; the message is for whoever decided.
        StaleWriteError: the finding was just written by somebody else; look at it again.
    """
    finding = await _agree(ports, finding_id, plan, by, reason)
    if finding.state is State.APPROVED:
        await ports.work.send(RemediateMessage(hub=finding.hub.path))
    return finding


async def reject(ports: Ports, finding_id: str, *, plan: str, by: Approver, reason: str) -> Finding:
    """Say no to the plan with this digest: asked again only if the drift changes, or goes and comes back.

    One no is enough, and whoever made the change may say it.

    Returns, raises: see approve.
    """
    return await _refuse(ports, finding_id, plan, by, reason)


async def decide_together(
    ports: Ports, asks: Sequence[Ask], word: Word, *, by: Approver, reason: str
) -> list[Outcome]:
    """Say the same of several plans. One that cannot be decided holds up no other; a lost race is run again.

    No fix begins before all is said, so that what belongs together is written together: the first write of a hub
    voids every other plan for it. If this worker dies halfway, the next look at a hub begins what was approved.

    Raises:
        StorageUnavailableError: what was said of some is not known; what was approved before goes on.
    """
    outcomes: list[Outcome] = []
    try:
        for ask in asks:
            outcomes.append(await _said(ports, ask, word, by, reason))  # noqa: PERF401 - what was said before counts
    finally:
        said = [done.finding for done in outcomes if done.finding and done.finding.state is State.APPROVED]
        for hub in dict.fromkeys(finding.hub for finding in said):
            await ports.work.send(RemediateMessage(hub=hub.path))
    return outcomes


async def _said(ports: Ports, ask: Ask, word: Word, by: Approver, reason: str) -> Outcome:
    work = _agree if word is Word.APPROVE else _refuse
    for _ in range(_RACES_RUN):
        stored = await ports.findings.find(ask.finding_id)
        proposal = stored.value.proposal if stored else None
        plan = proposal.digest if proposal and ask.means(proposal.digest) else ask.digest
        try:
            return Outcome(ask, await work(ports, ask.finding_id, plan, by, reason))
        except StaleWriteError:
            continue
        except (NoSuchFindingError, NotAskedError, NotYoursError) as refusal:
            return Outcome(ask, None, refusal)
    lost = NotAskedError(f"finding {ask.finding_id} keeps changing: look at it again; {_NOTHING}")
    return Outcome(ask, None, lost)


async def _agree(ports: Ports, finding_id: str, plan: str, by: Approver, reason: str) -> Finding:
    stored, proposal = await _asked(ports, finding_id, plan)
    finding = stored.value
    _check_yours(ports, finding, by)
    approval = Approval(proposal.digest, str(by), ports.clock.now(), reason, by.object_id, by.name)
    agreed = (*finding.agreed, approval)
    needed = ports.policy.approvals.needed_for(finding.rule_id)
    if len(agreed) < needed:
        told = f"agreed to by {by} ({len(agreed)} of {needed}): {reason}"
        await _tell(ports, finding, proposal, told, by)
        partly = replace(finding, agreed=agreed)
        await ports.findings.save(partly, stored.etag)
        return partly
    names = " and ".join(each.by for each in agreed)
    told = f"approved by {names}: {reason}"
    ids = tuple(each.object_id for each in agreed if each.object_id)
    ruling = Ruling(proposal.digest, State.APPROVED, names, approval.at, reason, ids)
    approved = finding.after(Event.APPROVE, at=approval.at, reason=told)
    approved = replace(approved, agreed=agreed, approval=replace(approval, by=names), ruling=ruling)
    await _tell(ports, finding, proposal, told, by)
    with about(actor=Actor(object_id=by.object_id)):
        return (await enter(ports, stored, approved, told)).value


async def _refuse(ports: Ports, finding_id: str, plan: str, by: Approver, reason: str) -> Finding:
    stored, proposal = await _asked(ports, finding_id, plan)
    told, now = f"rejected by {by}: {reason}", ports.clock.now()
    ids = (by.object_id,) if by.object_id else ()
    ruling = Ruling(proposal.digest, State.REJECTED, str(by), now, reason, ids)
    rejected = replace(stored.value.after(Event.REJECT, at=now, reason=told), ruling=ruling)
    await _tell(ports, rejected, proposal, told, by)
    with about(actor=Actor(object_id=by.object_id)):
        return (await enter(ports, stored, rejected, told)).value


def _check_yours(ports: Ports, finding: Finding, by: Approver) -> None:
    if finding.rule_id in ports.policy.approvals.four_eyes and any(map(by.made, finding.changers)):
        raise NotYoursError(f"{by} made the change: somebody else must approve it; {_NOTHING}")
    needed = ports.policy.approvals.needed_for(finding.rule_id)
    if needed > 1 and by.via is Via.LINK:
        raise NotYoursError(
            f"{needed} different people must approve it, and a link does not say who you are: sign in, or use the "
            f"command line; {_NOTHING}"
        )
    if by.agreed(finding.agreed):
        raise NotYoursError(f"{by} has agreed already: somebody else must agree too; {_NOTHING}")


async def _asked(ports: Ports, finding_id: str, plan: str) -> tuple[Stored[Finding], Proposal]:
    stored = await ports.findings.find(finding_id)
    if stored is None:
        raise NoSuchFindingError(f"there is no finding {finding_id}; {_NOTHING}")
    if is_expired(ports, stored.value):
        stored = await give_up_waiting(ports, stored)
    finding, proposal = stored.value, stored.value.proposal
    if not ports.policy.watches(finding.hub):
        raise NotAskedError(f"{finding.hub} is in no subscription that the policy file names: {_NOTHING}")
    if ports.policy.observes:
        raise NotAskedError(f"policy enforcement is observe, so nothing is changed in Azure: {_NOTHING}")
    if finding.state is not State.AWAITING_APPROVAL or proposal is None:
        raise NotAskedError(
            f"finding {finding_id} ({finding.rule_id} on {finding.hub}) does not wait for an approval, "
            f"it is {finding.state}: {finding.history[-1].reason}; {_NOTHING}"
        )
    if finding.hold is not None:
        raise NotAskedError(
            f"finding {finding_id} ({finding.rule_id} on {finding.hub}) is held by {finding.hold.by}: "
            f"{finding.hold.reason}; `release` it first; {_NOTHING}"
        )
    _check_policy(ports, finding)
    if proposal.digest != plan:
        raise NotAskedError(
            f"finding {finding_id} ({finding.rule_id} on {finding.hub}) asks about plan {proposal.digest} by now, "
            f"not about {plan}: look at what it would change, then decide; {_NOTHING}"
        )
    return stored, proposal


def _check_policy(ports: Ports, finding: Finding) -> None:
    """A yes that policy would not follow by now is not taken."""
    now, subject, tags = ports.clock.now(), finding.subject, finding.tags
    exempted = ports.policy.exemption_of(finding.hub, finding.rule_id, now, subject=subject, tags=tags)
    if finding.rollback is None and exempted is not None:
        raise NotAskedError(
            f"finding {finding.id} ({finding.rule_id} on {finding.hub}) is not fixed any more, for it is exempt "
            f"by now: {exempted}; {_NOTHING}"
        )
    mode = ports.policy.mode_of(finding.rule_id, finding.hub, finding.tags)
    if finding.rollback is None and mode in {Mode.OFF, Mode.REPORT, Mode.TICKET}:
        raise NotAskedError(
            f"finding {finding.id} ({finding.rule_id} on {finding.hub}) is not fixed any more: the policy file's "
            f"mode is {mode} by now; {_NOTHING}"
        )


async def _tell(ports: Ports, finding: Finding, proposal: Proposal, told: str, by: Approver) -> None:
    """Before the row is written, so that no decision is without a line; the row may still refuse it."""
    await ports.audit.append("approval", {
        "finding": finding.id,
        "hub": finding.hub.path,
        "plan": proposal.digest,
        "decision": told,
        "by_id": by.object_id,
    })  # fmt: skip
