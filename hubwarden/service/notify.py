"""Telling people: a notice is laid into the outbox, and a delayed message sends what has gathered there as one.

Nothing waits for a channel. A channel that is down keeps its own notices in the outbox, and health says so.
"""

from __future__ import annotations

import logging

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from hubwarden.domain.finding import Finding, Proposal, Trouble
from hubwarden.domain.message import (
    OUTCOMES,
    TOGETHER,
    Kind,
    LinkTo,
    Message,
    Notice,
    group,
    notice,
    notices,
    still_true,
    told_before,
)
from hubwarden.service.asking import page_for, waiting
from hubwarden.service.errors import (
    AzureError,
    DeniedError,
    StaleWriteError,
    StorageUnavailableError,
    TransientError,
)
from hubwarden.service.gathering import GATHER, is_old, old_ones, ready_ones
from hubwarden.service.messages import NotifyMessage
from hubwarden.service.ports import Channel, Outbox, Ports, Stored, Waiting
from hubwarden.service.put_off import TRIES, backoff


log = logging.getLogger(__name__)

CLAIM: Final = timedelta(minutes=3)
LONGEST_DELAY: Final = timedelta(days=6)
"""A queue keeps a message for seven."""
_LONGEST_REASON: Final = 300
_QUARTER: Final = timedelta(minutes=15)
_LATER: Final = timedelta(seconds=5)
"""So much later a worker looks than it would find something, for another one's clock may be a little behind."""


async def announce(ports: Ports, before: Finding | None, after: Finding) -> None:
    """Lay down what of the change is to be told; call it before the finding is stored.

    Storage that does not take it is logged and holds nothing up.
    """
    for one in notices(before, after):
        earlier = told_before(after) if one.kind in OUTCOMES else ()
        await _lay_down(ports, one, {one.kind, *earlier})
        if one.kind is Kind.ASKED and after.proposal is not None:
            await _remind_later(ports, after, after.proposal)


async def tell(ports: Ports, one: Notice) -> None:
    """Lay down a notice of something that is no step of the finding's history."""
    await _lay_down(ports, one, {one.kind})


async def _remind_later(ports: Ports, finding: Finding, proposal: Proposal) -> None:
    """Lay down now what is told at half of the request's time, if nobody has decided by then."""
    half = (ports.policy.approvals.expires_at(proposal) - proposal.made_at) / 2
    delay = min(half, LONGEST_DELAY)
    at = ports.clock.now() + delay
    one = notice(finding, Kind.REMINDER, at=at, reason="nobody has decided yet")
    await _lay_down(ports, one, {Kind.REMINDER})


async def wake(ports: Ports) -> None:
    """Have everything sent that may be by now; call it at times, for a message that was to do so can get lost.

    Storage that does not answer is logged and holds nothing up.
    """
    outbox, now = ports.outbox, ports.clock.now()
    if outbox is None:
        return
    try:
        names = {*ports.channels} | {troubled.channel async for troubled in outbox.troubled()}
        for name in sorted(names):
            if any(stored.value.since <= now for stored in await outbox.waiting(name)):
                await ports.work.send(NotifyMessage(channel=name))
    except StorageUnavailableError:
        log.exception("not every channel could be woken")


async def deliver(ports: Ports, message: NotifyMessage) -> None:
    """Send what waits for this channel, grouped by its causes; drop what is too old."""
    outbox = ports.outbox
    if outbox is None:
        return
    channel = ports.channels.get(message.channel) or _NoChannel()
    now, waiting = ports.clock.now(), await outbox.waiting(message.channel)
    due = [*old_ones(waiting, now), *ready_ones(waiting, now)]
    if not due:
        return
    # In case this worker dies with its claim.
    await ports.work.send(NotifyMessage(channel=message.channel), delay=CLAIM + _LATER)
    claimed = await _claimed(ports, outbox, due)
    findings = await _findings(ports, claimed)
    taken = await _true_ones(outbox, claimed, findings)
    await _drop(ports, outbox, [stored for stored in taken if is_old(stored.value, now)])
    left = [stored for stored in taken if not is_old(stored.value, now)]
    await _send(ports, outbox, channel, message, left, link=_links(ports, message.channel, findings))


class _NoChannel:
    """Channel. It stands for one that the policy file does not name, or does not name yet on this instance."""

    async def send(self, message: Message) -> None:
        raise DeniedError(f"the policy file names no such channel; it was not told: {message.title}")

    async def close(self) -> None:
        pass


async def _lay_down(ports: Ports, one: Notice, kinds: Collection[Kind]) -> None:
    if ports.outbox is None:
        return
    now = ports.clock.now()
    since = max(now, one.at)
    try:
        for name in ports.policy.notify.channels_for(one.hub, one.severity, kinds):
            await ports.outbox.add(Waiting(name, one, since))
            await ports.work.send(NotifyMessage(channel=name), delay=since - now + GATHER + _LATER)
    except StorageUnavailableError:
        log.exception("that %s on %s is %s may not be told", one.rule_id, one.hub, one.kind)


async def _claimed(ports: Ports, outbox: Outbox, ready: Sequence[Stored[Waiting]]) -> list[Stored[Waiting]]:
    until = ports.clock.now() + CLAIM
    claimed: list[Stored[Waiting]] = []
    for stored in ready:
        mine = replace(stored.value, not_before=until, rests=False)
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
    woken: datetime | None = None
    for said in group(left, link):
        try:
            await channel.send(said)
        except (TransientError, DeniedError) as error:
            await _rest(ports, outbox, message, list(left.values()), error)
            return
        except AzureError as error:
            log.exception("channel %s does not take %s", message.channel, said.title)
            until = _next_quarter(ports)
            if until != woken:
                await _come_back(ports, NotifyMessage(channel=message.channel), until)
                woken = until
            await _note(ports, outbox, [left.pop(one) for one in said.about], error, until)
        else:
            for one in said.about:
                await outbox.remove(left.pop(one).value)


async def _rest(
    ports: Ports,
    outbox: Outbox,
    message: NotifyMessage,
    left: Sequence[Stored[Waiting]],
    error: TransientError | DeniedError,
) -> None:
    """Leave the channel alone for a while; the day that a notice is kept for bounds how often."""
    if isinstance(error, TransientError):
        wait = max(backoff(message.attempt), error.retry_after or timedelta(0))
        until, attempt = ports.clock.now() + wait, min(message.attempt + 1, TRIES)
    else:
        until, attempt = _next_quarter(ports), 0
    log.warning("channel %s rests until %s: %s", message.channel, until, error)
    await _come_back(ports, NotifyMessage(channel=message.channel, attempt=attempt), until)
    await _note(ports, outbox, left, error, until, rests=True)


async def _come_back(ports: Ports, message: NotifyMessage, at: datetime) -> None:
    """Have it tried again then; call it before that is noted, for a worker can die between the two."""
    await ports.work.send(message, delay=max(at - ports.clock.now(), timedelta(0)) + _LATER)


def _next_quarter(ports: Ports) -> datetime:
    """The next quarter of an hour: the same for whatever is refused before it, so that it is tried in one go."""
    now = ports.clock.now()
    return now + _QUARTER - (now - datetime.min.replace(tzinfo=now.tzinfo)) % _QUARTER


async def _note(
    ports: Ports,
    outbox: Outbox,
    troubled: Sequence[Stored[Waiting]],
    error: AzureError,
    until: datetime,
    *,
    rests: bool = False,
) -> None:
    now = ports.clock.now()
    for stored in troubled:
        since = stored.value.trouble.since if stored.value.trouble else now
        trouble = Trouble(since, str(error)[:_LONGEST_REASON])
        noted = replace(stored.value, not_before=until, trouble=trouble, rests=rests)
        with suppress(StaleWriteError):  # the claim took too long, and another worker has it
            await outbox.save(noted, stored.etag)


async def _drop(ports: Ports, outbox: Outbox, old: Sequence[Stored[Waiting]]) -> None:
    """Give up telling these, with a line in the audit trail; without that line they are kept."""
    for stored in old:
        waiting, told = stored.value, stored.value.notice
        reason = f"the channel did not take it in a day: {waiting.trouble.reason}" if waiting.trouble else (
            "nobody could send it in a day"
        )  # fmt: skip
        log.error("channel %s was not told that %s on %s is %s: %s",
                  waiting.channel, told.rule_id, told.hub, told.kind, reason)  # fmt: skip
        try:
            await ports.audit.append("untold", {
                "channel": waiting.channel,
                "finding": told.finding,
                "hub": told.hub.path,
                "rule": told.rule_id,
                "notice": told.kind.value,
                "since": waiting.since.isoformat(),
                "reason": reason,
            })  # fmt: skip
        except StorageUnavailableError:
            log.exception("the audit trail does not take it: the notice is kept")
            return
        await outbox.remove(waiting)
