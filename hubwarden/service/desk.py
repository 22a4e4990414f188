"""The ticket of a finding: opened where people must act, closed when the drift is proven gone.

A ticket system that is down holds nothing up: the finding notes the trouble, and the ticket is settled later.
"""

from __future__ import annotations

import json
import logging

from dataclasses import replace
from typing import Any

from hubwarden.domain.finding import ASIDE, IN_FLIGHT, Finding, Proposal, State, Trouble
from hubwarden.domain.jsons import Json
from hubwarden.domain.plan import change_text, plan_difference
from hubwarden.service.asking import page_for
from hubwarden.service.errors import AzureError, ConflictError, StaleWriteError, TransientError
from hubwarden.service.gate import kill_switch
from hubwarden.service.messages import TicketMessage
from hubwarden.service.ports import Ports, Stored, Ticket
from hubwarden.service.put_off import backoff, put_off


log = logging.getLogger(__name__)

_LONGEST_REASON = 300
_MARK = "[observe] "
_UNDER_WAY = IN_FLIGHT | {State.APPROVED}


async def settle_ticket(ports: Ports, stored: Stored[Finding], *, news: bool = False) -> Stored[Finding]:
    """Open or close the finding's ticket where its state asks for it and that was not done yet, or not there.

    With ``news``, a ticket that is open already is told why people must act now, or why nobody must for now. What
    the ticket system does not take is noted in the finding; a message and each next look at the hub try again.

    Raises:
        StaleWriteError: somebody else wrote the finding.
    """
    finding = stored.value
    elsewhere = finding.for_people and finding.ticket_system != ports.tickets.system
    if not (finding.ticket_due or elsewhere or (news and _has_text(finding))):
        return stored
    try:
        await _carry_over(ports, finding)
    except Exception as error:
        log.exception("the ticket of %s (%s on %s) could not be settled", finding.id, finding.rule_id, finding.hub)
        return await _troubled(ports, stored, error)
    return await _settled(ports, stored)


async def settle_late(ports: Ports, message: TicketMessage) -> None:
    """Settle a ticket that could not be settled before, as its finding stands now."""
    findings = await ports.findings.of_hub(message.hub_id)
    stored = next((stored for stored in findings if stored.value.id == message.finding), None)
    if stored is None or stored.value.ticket_trouble is None:
        return
    if stored.value.state in _UNDER_WAY:
        await put_off(ports, message, ConflictError(f"{message.finding} is being worked on"))
        return
    if not stored.value.ticket_due:
        return
    try:
        await _carry_over(ports, stored.value)
        await _settled(ports, stored)
    except TransientError as error:
        await put_off(ports, message, error, retry_after=error.retry_after)
    except StaleWriteError as error:
        await put_off(ports, message, error)
    except AzureError:
        log.exception("the ticket of %s on %s is left to the next sweep", message.finding, message.hub)


async def _carry_over(ports: Ports, finding: Finding) -> None:
    """Let the ticket system know."""
    if _has_text(finding):
        ticket, killed = _ticket(ports, finding), await kill_switch(ports)
        note = f"\nNote: {_line(str(killed))}" if killed else ""
        await ports.tickets.open(replace(ticket, text=ticket.text + note))
    else:
        await ports.tickets.close(finding.id, finding.history[-1].reason, finding.history[-1].at)


def _has_text(finding: Finding) -> bool:
    """Whether there is to be a ticket, or the one that is there tells of a drift that stays."""
    return finding.for_people or (finding.state in ASIDE and finding.ticket_open)


async def _settled(ports: Ports, stored: Stored[Finding]) -> Stored[Finding]:
    finding = stored.value
    system = ports.tickets.system if _has_text(finding) else None
    settled = replace(finding, ticket_open=system is not None, ticket_system=system, ticket_trouble=None)
    return await _keep(ports, stored, settled)


async def _troubled(ports: Ports, stored: Stored[Finding], error: Exception) -> Stored[Finding]:
    """Note the trouble; the first of a row sends a message, so that there is one at a time."""
    if stored.value.ticket_trouble is not None:
        return stored
    trouble = Trouble(ports.clock.now(), (str(error) or type(error).__name__)[:_LONGEST_REASON])
    noted = await _keep(ports, stored, replace(stored.value, ticket_trouble=trouble))
    if isinstance(error, TransientError):
        delay = max(backoff(0), error.retry_after or backoff(0))
        await ports.work.send(TicketMessage(hub=noted.value.hub.path, finding=noted.value.id), delay=delay)
    return noted


async def _keep(ports: Ports, stored: Stored[Finding], finding: Finding) -> Stored[Finding]:
    if finding == stored.value:
        return stored
    return Stored(finding, await ports.findings.save(finding, stored.etag))


def _ticket(ports: Ports, finding: Finding) -> Ticket:
    now = ports.clock.now()
    return Ticket(
        key=finding.id,
        hub=finding.hub,
        rule_id=finding.rule_id,
        title=_line(f"{_MARK if finding.observed else ''}{finding.hub.name}: {finding.summary}"),
        text=ticket_text(ports, finding),
        is_open=True,
        opened_at=now,
        changed_at=now,
        severity=finding.severity,
    )


def ticket_text(ports: Ports, finding: Finding) -> str:
    """What, where, since when, who, risk, why no machine fixed it, and how a person does."""
    rules = () if finding.rollback else ports.rules  # how to fix a drift is no help in bringing it back
    rule = next((rule for rule in rules if rule.id == finding.rule_id), None)
    lines = [
        *(_observed(finding) if finding.observed else ()),
        f"What: {finding.summary}",
        *(f"  {name}: {_told(value)}" for name, value in finding.evidence.items() if value),
        f"Where: {finding.hub}",
        f"Since: {finding.first_seen:%Y-%m-%d %H:%M:%S} UTC, seen {finding.occurrences} time(s)",
        f"Who {'asks for' if finding.rollback else 'changed'} it: {finding.actor or 'not known; no event told'}",
        f"Why no machine fixed it: {finding.history[-1].reason}",
    ]
    if finding.obstacle and finding.obstacle.retry_at:
        again = f"{finding.obstacle.retry_at:%Y-%m-%d %H:%M} UTC"
        lines.append(f"What happens next: hubwarden tries again on {again}, or once somebody changes the hub.")
    if finding.state is State.AWAITING_APPROVAL and finding.proposal is not None:
        lines += _asked(ports, finding, finding.proposal)
    if rule is not None:
        values = {
            **ports.policy.settings_of(rule, finding.hub, finding.tags).model_dump(mode="json"),
            "name": finding.hub.name,
            "resource_group": finding.hub.resource_group,
            "subscription": finding.hub.subscription,
        }
        lines += [
            f"Risk: {rule.risk}",
            f"By command line: {_filled(rule.manual_fix.cli, values)}",
            f"By Bicep: {_filled(rule.manual_fix.bicep, values)}",
            f"By portal: {rule.manual_fix.portal}",
            f"More: {rule.reference}",
        ]
    return "\n".join(_line(line) for line in lines)


def _observed(finding: Finding) -> list[str]:
    """That nothing is changed, and what would have been."""
    first = "Observed only: policy enforcement is observe, so hubwarden changes nothing in Azure."
    if finding.state is not State.TICKETED or finding.proposal is None:
        return [f"{first} It would have changed nothing here either."]
    changes = (f"  {change_text(change)}" for change in finding.proposal.changes)
    notes = (f"  Note: {warning}" for warning in finding.proposal.warnings)
    return [f"{first} This plan is what it would have come to:", *changes, *notes]


def _asked(ports: Ports, finding: Finding, proposal: Proposal) -> list[str]:
    """What is to be decided, and how: the very plan that would run."""
    until = ports.policy.approvals.expires_at(proposal)
    linked = ports.ticket_links
    page = [f"To decide: {page_for(linked, ports.policy, [finding])}"] if linked else []
    return [
        "Waiting for an approval: nothing was changed. This plan would be carried out, and no other:",
        *(f"  {change_text(change)}" for change in proposal.changes),
        *(f"  Note: {warning}" for warning in proposal.warnings),
        *_asked_anew(finding.outdated, proposal),
        f"Time to decide: until {until:%Y-%m-%d %H:%M} UTC",
        *page,
        f"To approve it: python -m hubwarden.cli approve {finding.id} --plan {proposal.digest}",
        f"To reject it: python -m hubwarden.cli reject {finding.id} --plan {proposal.digest} --reason TEXT",
    ]


def _asked_anew(outdated: Proposal | None, proposal: Proposal) -> list[str]:
    if outdated is None:
        return []
    lines = plan_difference(outdated.changes, proposal.changes)
    return [
        "Asked before with another plan, which never ran. What is different:",
        *(f"  {line}" for line in lines),
    ]


def _told(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _line(text: str) -> str:
    """One line, whatever Azure told: nothing in it can begin another, or turn the direction of reading."""
    return "".join(c if c.isprintable() else " " for c in text)


def _filled(template: str, values: dict[str, Any]) -> str:
    for name, value in values.items():
        template = template.replace("{" + name + "}", f"<{name}>" if value is None else str(value))
    return template
