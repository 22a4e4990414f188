"""expire: a request for an approval that nobody has answered in time becomes a plain ticket."""

from __future__ import annotations

import logging

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from hubwarden.domain.finding import Event, Finding, Obstacle, Ruling, State
from hubwarden.service.errors import StaleWriteError
from hubwarden.service.ledger import enter
from hubwarden.service.ports import Ports, Stored


log = logging.getLogger(__name__)


def is_expired(ports: Ports, finding: Finding) -> bool:
    """Whether the finding waits for an approval and its time is over."""
    if finding.state is not State.AWAITING_APPROVAL or finding.proposal is None:
        return False
    return ports.policy.approvals.expires_at(finding.proposal) <= ports.clock.now()


def expired(ports: Ports, finding: Finding) -> Finding:
    """The finding once its request has run out: it is asked about again after somebody has changed the hub."""
    assert finding.proposal is not None
    now, hours = ports.clock.now(), ports.policy.approvals.expires_hours
    reason = f"nobody decided on plan {finding.proposal.digest} within {hours} hours; nothing was changed"
    ended = finding.after(Event.EXPIRE, at=now, reason=reason)
    ruling = Ruling(finding.proposal.digest, State.EXPIRED, "", now, reason)
    return replace(ended, obstacle=Obstacle(reason, now), agreed=(), ruling=ruling)


async def give_up_waiting(ports: Ports, stored: Stored[Finding]) -> Stored[Finding]:
    """Let an expired request become a ticket.

    Raises:
        StaleWriteError: somebody else wrote the finding.
    """
    ended = expired(ports, stored.value)
    reason = ended.history[-1].reason
    return await enter(ports, stored, ended.after(Event.TICKET, at=ports.clock.now(), reason=reason), reason)


async def expire(ports: Ports, seen: Callable[[Finding], None] | None = None) -> None:
    """Let every request whose time is over become a ticket, also on hubs that cannot be read for now.

    Every finding is shown to ``seen``, for whoever wants to see all of them need not read them once more.
    """
    due: list[str] = []
    async for finding in ports.findings.everything():
        if seen is not None:
            seen(finding)
        if is_expired(ports, finding):
            due.append(finding.id)
    for finding_id in due:
        stored = await ports.findings.find(finding_id)
        if stored is not None and is_expired(ports, stored.value):
            with suppress(StaleWriteError):  # whoever wrote it has just looked at it
                await give_up_waiting(ports, stored)
                log.info("%s on %s: the time for a decision is over", finding_id, stored.value.hub)
