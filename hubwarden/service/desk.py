"""The ticket of a finding: opened where people must act, closed when the drift is proven gone."""

from __future__ import annotations

import logging

from dataclasses import replace
from typing import Any

from hubwarden.domain.finding import Finding, Proposal, State
from hubwarden.domain.plan import change_text
from hubwarden.service.ports import Ports, Stored, Ticket


log = logging.getLogger(__name__)

_FOR_PEOPLE = frozenset({State.TICKETED, State.AWAITING_APPROVAL})


async def settle_ticket(ports: Ports, stored: Stored[Finding], *, news: bool = False) -> Stored[Finding]:
    """Open or close the finding's ticket where its state asks for it and that was not done yet.

    With ``news``, a ticket that is open already is told why people must act now. A ticket system that is down
    holds nothing up: the next look at the hub catches up.

    Raises:
        StaleWriteError: somebody else wrote the finding.
    """
    finding = stored.value
    wanted = finding.state in _FOR_PEOPLE
    settled = wanted == finding.ticket_open and not (wanted and news)
    if settled or not (wanted or finding.state is State.RESOLVED):
        return stored
    try:
        if wanted:
            await ports.tickets.open(_ticket(ports, finding))
        else:
            await ports.tickets.close(finding.id, finding.history[-1].reason, finding.history[-1].at)
    except Exception:
        log.exception("the ticket of %s (%s on %s) could not be settled", finding.id, finding.rule_id, finding.hub)
        return stored
    if wanted == finding.ticket_open:
        return stored
    known = replace(finding, ticket_open=wanted)
    return Stored(known, await ports.findings.save(known, stored.etag))


def _ticket(ports: Ports, finding: Finding) -> Ticket:
    now = ports.clock.now()
    return Ticket(
        key=finding.id,
        hub=finding.hub,
        rule_id=finding.rule_id,
        title=f"{finding.hub.name}: {finding.summary}",
        text=ticket_text(ports, finding),
        is_open=True,
        opened_at=now,
        changed_at=now,
    )


def ticket_text(ports: Ports, finding: Finding) -> str:
    """What, where, since when, who, risk, why no machine fixed it, and how a person does."""
    rule = next((rule for rule in ports.rules if rule.id == finding.rule_id), None)
    lines = [
        f"What: {finding.summary}",
        f"Where: {finding.hub}",
        f"Since: {finding.first_seen:%Y-%m-%d %H:%M:%S} UTC, seen {finding.occurrences} time(s)",
        f"Who changed it: {finding.actor or 'not known; no event told'}",
        f"Why no machine fixed it: {finding.history[-1].reason}",
    ]
    if finding.obstacle and finding.obstacle.retry_at:
        again = f"{finding.obstacle.retry_at:%Y-%m-%d %H:%M} UTC"
        lines.append(f"What happens next: hubwarden tries again on {again}, or once somebody changes the hub.")
    if finding.state is State.AWAITING_APPROVAL and finding.proposal is not None:
        lines += _asked(finding, finding.proposal)
    if rule is not None:
        values = {
            **ports.policy.settings_of(rule, finding.hub).model_dump(mode="json"),
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
    return "\n".join(lines)


def _asked(finding: Finding, proposal: Proposal) -> list[str]:
    """What is to be decided, and how: the very plan that would run."""
    return [
        "Waiting for an approval: nothing was changed. This plan would be carried out, and no other:",
        *(f"  {change_text(change)}" for change in proposal.changes),
        *(f"  Note: {warning}" for warning in proposal.warnings),
        f"To approve it: python -m hubwarden.cli approve {finding.id} --plan {proposal.digest}",
        f"To reject it: python -m hubwarden.cli reject {finding.id} --plan {proposal.digest} --reason TEXT",
    ]


def _filled(template: str, values: dict[str, Any]) -> str:
    for name, value in values.items():
        template = template.replace("{" + name + "}", str(value))
    return template
