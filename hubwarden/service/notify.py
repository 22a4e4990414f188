"""Telling people: a notice is laid into the outbox, and a delayed message sends what has gathered there as one.

Nothing waits for a channel. A channel that is down keeps its own notices in the outbox, and health says so.
"""

from __future__ import annotations

import logging

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from hubwarden.domain.finding import Finding, Proposal, Trouble
from hubwarden.domain.message import (
    OUTCOMES,
    TOGETHER,
    Kind,
    LinkTo,
    Notice,
    group,
    notice,
    notices,
    still_true,
    told_before,
)
from hubwarden.service.asking import page_for, waiting
from hubwarden.service.errors import AzureError, StaleWriteError, StorageUnavailableError, TransientError
from hubwarden.service.messages import NotifyMessage
from hubwarden.service.ports import Channel, Outbox, Ports, Stored, Waiting
from hubwarden.service.put_off import backoff, put_off


log = logging.getLogger(__name__)

GATHER: Final = timedelta(seconds=30)
"""How long a notice waits for others of its cause."""
SETTLED: Final = timedelta(seconds=5)
"""A notice is laid down before its finding is stored; after that long, it is or never will be."""
CLAIM: Final = timedelta(minutes=3)
TOO_OLD: Final = timedelta(days=1)
LONGEST_DELAY: Final = timedelta(days=6)
"""A queue keeps a message for seven."""
_LONGEST_REASON: Final = 300


async def announce(ports: Ports, before: Finding | None, after: Finding) -> None:
    """Lay down what of the change is to be told; call it before the finding is stored.

    Storage that does not take it is logged and holds nothing up.
    """
    for one in notices(before, after):
        earlier = told_before(after) if one.kind in OUTCOMES else ()
        await _lay_down(ports, one, {one.kind, *earlier}, delay=GATHER)
        if one.kind is Kind.ASKED and after.proposal is not None:
            await _remind_later(ports, after, after.proposal)


async def tell(ports: Ports, one: Notice) -> None:
    """Lay down a notice of something that is no step of the finding's history."""
    await _lay_down(ports, one, {one.kind}, delay=GATHER)


async def _remind_later(ports: Ports, finding: Finding, proposal: Proposal) -> None:
    """Lay down now what is told at half of the request's time, if nobody has decided by then."""
    half = (ports.policy.approvals.expires_at(proposal) - proposal.made_at) / 2
    delay = min(half, LONGEST_DELAY)
    at = ports.clock.now() + delay
    one = notice(finding, Kind.REMINDER, at=at, reason="nobody has decided yet")
    await _lay_down(ports, one, {Kind.REMINDER}, delay=delay)


async def deliver(ports: Ports, message: NotifyMessage) -> None:
    """Send what waits for this channel, grouped by its causes."""
    channel, outbox = ports.channels.get(message.channel), ports.outbox
    if channel is None or outbox is None:
        log.warning("there is no channel %s any more: what waited for it is not told", message.channel)
        return
    ready = await _ready(ports, outbox, message.channel)
    if not ready:
        return
    # In case this worker dies with its claim.
    await ports.work.send(NotifyMessage(channel=message.channel), delay=CLAIM)
    claimed = await _claimed(ports, outbox, ready)
    findings = await _findings(ports, claimed)
    taken = await _true_ones(outbox, claimed, findings)
    await _send(ports, outbox, channel, message, taken, link=_links(ports, message.channel, findings))


async def _lay_down(ports: Ports, one: Notice, kinds: Collection[Kind], *, delay: timedelta) -> None:
    if ports.outbox is None:
        return
    try:
        for name in ports.policy.notify.channels_for(one.hub, one.severity, kinds):
            await ports.outbox.add(Waiting(name, one, max(ports.clock.now(), one.at)))
            await ports.work.send(NotifyMessage(channel=name), delay=delay + SETTLED)
    except StorageUnavailableError:
        log.exception("that %s on %s is %s may not be told", one.rule_id, one.hub, one.kind)


async def _ready(ports: Ports, outbox: Outbox, channel: str) -> list[Stored[Waiting]]:
    """What may be sent now and is no other worker's; what is too old to matter goes."""
    now = ports.clock.now()
    ready: list[Stored[Waiting]] = []
    for stored in await outbox.waiting(channel):
        waiting = stored.value
        if now - waiting.since > TOO_OLD:
            log.error("channel %s was not told in a day: %s", channel, waiting.notice)
            await outbox.remove(waiting)
        elif now - waiting.since >= SETTLED and (waiting.not_before is None or waiting.not_before <= now):
            ready.append(stored)
    return ready


async def _claimed(ports: Ports, outbox: Outbox, ready: Sequence[Stored[Waiting]]) -> list[Stored[Waiting]]:
    until = ports.clock.now() + CLAIM
    claimed: list[Stored[Waiting]] = []
    for stored in ready:
        mine = replace(stored.value, not_before=until)
        try:
            claimed.append(Stored(mine, await outbox.save(mine, stored.etag)))
        except StaleWriteError:
            continue
    return claimed


async def _findings(ports: Ports, taken: Sequence[Stored[Waiting]]) -> dict[str, Finding]:
    """All findings of the hubs that the notices are about, as they stand, by their ids."""
    hubs = dict.fromkeys(stored.value.notice.hub for stored in taken)
    return {one.value.id: one.value for hub in hubs for one in await ports.findings.of_hub(hub)}


async def _true_ones(
    outbox: Outbox, taken: Sequence[Stored[Waiting]], findings: Mapping[str, Finding]
) -> list[Stored[Waiting]]:
    """Without the notices of what was never stored."""
    true: list[Stored[Waiting]] = []
    for stored in taken:
        if still_true(stored.value.notice, findings.get(stored.value.notice.finding)):
            true.append(stored)
        else:
            await outbox.remove(stored.value)
    return true


def _links(ports: Ports, channel: str, findings: Mapping[str, Finding]) -> LinkTo:
    """Where it is decided what notices ask; of one also what else waits on its hub, if that is told here too."""

    def told_here(finding: Finding) -> bool:
        return channel in ports.policy.notify.channels_for(finding.hub, finding.severity, {Kind.ASKED})

    def link(told: Sequence[Notice]) -> str | None:
        asked = [findings[one.finding] for one in told if one.digest is not None and one.finding in findings]
        here = waiting(asked)
        if ports.links is None or not here:
            return None
        if len(told) == 1:
            others = (other for other in findings.values() if other.hub == here[0].hub and told_here(other))
            here = list({one.id: one for one in (*here, *waiting(others))}.values())[:TOGETHER]
        return page_for(ports.links, ports.policy, here)

    return link


async def _send(
    ports: Ports,
    outbox: Outbox,
    channel: Channel,
    message: NotifyMessage,
    taken: Sequence[Stored[Waiting]],
    *,
    link: LinkTo,
) -> None:
    left = {stored.value.notice: stored for stored in taken}
    for said in group(left, link):
        try:
            await channel.send(said)
        except TransientError as error:
            wait = max(backoff(message.attempt), error.retry_after or timedelta(0))
            await _note(ports, outbox, list(left.values()), error, wait)
            await put_off(ports, message, error, retry_after=wait)
            return
        except AzureError as error:
            log.exception("channel %s does not take %s", message.channel, said.title)
            await _note(ports, outbox, [left.pop(one) for one in said.about], error, timedelta(0))
        else:
            for one in said.about:
                await outbox.remove(left.pop(one).value)


async def _note(
    ports: Ports, outbox: Outbox, troubled: Sequence[Stored[Waiting]], error: AzureError, wait: timedelta
) -> None:
    now = ports.clock.now()
    for stored in troubled:
        since = stored.value.trouble.since if stored.value.trouble else now
        noted = replace(stored.value, not_before=now + wait, trouble=Trouble(since, str(error)[:_LONGEST_REASON]))
        await outbox.save(noted, stored.etag)
