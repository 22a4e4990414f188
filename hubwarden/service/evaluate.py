"""evaluate: look at one hub, say what is true of it, and start what policy wants."""

from __future__ import annotations

import logging

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from hubwarden.domain.finding import IN_FLIGHT, Event, Finding, State
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from hubwarden.service.census import census_settings, start_count
from hubwarden.service.desk import settle_ticket
from hubwarden.service.errors import HubGoneError, StaleWriteError, TransientError
from hubwarden.service.ledger import detected, move
from hubwarden.service.messages import EvaluateMessage, RemediateMessage, VerifyMessage
from hubwarden.service.observe import busy, observe, policies_known, wanted
from hubwarden.service.planning import told_who
from hubwarden.service.ports import HubRecord, Ports, Stored
from hubwarden.service.put_off import TRIES, backoff, put_off
from hubwarden.service.reconcile import Cause, Look, reconcile
from hubwarden.service.route_device_event import DEVICE_CREATED


log = logging.getLogger(__name__)

_SOMEBODY_LOOKS: Final = timedelta(seconds=2)
_GONE_FOR: Final = timedelta(seconds=30)
_TAKES_EFFECT: Final = timedelta(minutes=30)
"""A change shows on the hub within so long."""
_IN_TRANSITION: Final = timedelta(seconds=15)


async def evaluate(ports: Ports, message: EvaluateMessage) -> Look | None:
    """Look at the hub unless somebody has looked since this was asked; a burst of events costs two reads at most.

    Returns:
        What was seen, or None where nobody needed to look, nothing could be read for now, or the hub is gone.
    """
    hub = message.hub_id
    if not ports.policy.watches(hub):
        log.info("%s is in no subscription that the policy file names: left alone", hub)
        return None
    if await _new_devices_have_time(ports, message):
        return None
    record = await _claim_look(ports, message)
    if record is None:
        return None
    try:
        snapshot = await observe(ports, hub, record.value)
        look = await reconcile(ports, snapshot, await _cause(ports, message, record.value))
    except TransientError as error:
        await _release(ports, record)
        await put_off(ports, message, error, retry_after=error.retry_after)
        return None
    except HubGoneError as error:
        await _release(ports, record)
        if not await not_found(ports, hub, sure=message.deleted):
            await put_off(ports, message, error)
        return None
    except Exception:
        await _release(ports, record)
        raise
    await follow_up(ports, look)
    if (busy(snapshot) or snapshot.passing) and message.attempt < TRIES:
        later = message.model_copy(update={"asked_at": ports.clock.now(), "attempt": message.attempt + 1})
        await ports.work.send(later, delay=max(_IN_TRANSITION, backoff(message.attempt)))
    await remember(ports, look, record)
    return look


async def _new_devices_have_time(ports: Ports, message: EvaluateMessage) -> bool:
    """Whether more devices came since this was asked, whose time is not over: then the message comes back."""
    stored = await ports.records.get(message.hub_id) if message.cause == DEVICE_CREATED else None
    due, now = stored.value.count_due if stored else None, ports.clock.now()
    if due is None or due <= now:
        return False
    await ports.work.send(message.model_copy(update={"asked_at": due}), delay=due - now)
    return True


async def follow_up(ports: Ports, look: Look) -> None:
    """Start the fix of what is approved, and look after fixes of which nothing was heard in time.

    A fix that nobody asked for waits a little, for a burst of drifts on other hubs to show. While the kill switch
    is on, what is approved has its message already, or gets it with the next look after that.
    """
    hub, gate = look.snapshot.hub, look.gate
    if look.approved() and not (gate and gate.kill):
        await ports.work.send(RemediateMessage(hub=hub.path), delay=gate.settle if gate else timedelta(0))
    await _look_after(ports, hub, look.findings)


async def _look_after(ports: Ports, hub: HubId, findings: Sequence[Stored[Finding]]) -> None:
    now = ports.clock.now()
    for stored in findings:
        attempt = stored.value.attempt
        if stored.value.state in IN_FLIGHT and attempt is not None and attempt.deadline < now:
            give_up_at = now + ports.timings.verify
            await ports.work.send(VerifyMessage(hub=hub.path, digest=attempt.digest, give_up_at=give_up_at))


async def remember(ports: Ports, look: Look, known: Stored[HubRecord] | None = None) -> None:
    """Write down what was seen of the hub; the newest look wins. Its devices are counted again where that is due.

    Only a look at all that the rules want makes an evaluation needless that was asked for before it.

    Args:
        ports: the world.
        look: what was seen.
        known: the record as it was read last; where it is not that any more, it is read again.
    """
    record = await _remember(ports, look, known)
    snapshot = look.snapshot
    if record is not None and Facet.DEVICES in snapshot.facets and not snapshot.dead and snapshot.etag is not None:
        settings = census_settings(ports, snapshot.hub, snapshot.tags)
        await start_count(ports, record, snapshot.hub, snapshot.read(Facet.HUB), settings)


async def _remember(ports: Ports, look: Look, known: Stored[HubRecord] | None) -> Stored[HubRecord] | None:
    snapshot = look.snapshot
    whole = snapshot.facets.keys() >= wanted(ports, snapshot)
    for _ in range(5):
        stored, known = known or await ports.records.get(snapshot.hub), None
        before = stored.value if stored else HubRecord(snapshot.hub)
        if before.looked_at is not None and before.looked_at > snapshot.taken_at:
            return None
        record = replace(
            before,
            looked_at=snapshot.taken_at if whole else before.looked_at,
            looking_since=None if whole else before.looking_since,
            missing_since=None,
            hub_etag=snapshot.etag,
            tags=before.tags if snapshot.tags is None else ports.policy.tags_to_keep(snapshot.tags),
            verdicts={**before.verdicts, **look.words},
            unknown={**_not_asked(before.unknown, look), **look.unknown},
            last_good={**before.last_good, **look.good},
            last_seen={**before.last_seen, **look.evidence},
            **_policies(before, snapshot),
        )
        try:
            return Stored(record, await ports.records.save(record, stored.etag if stored else None))
        except StaleWriteError:
            continue
    return None


def _not_asked(unknown: Mapping[str, str], look: Look) -> dict[str, str]:
    return {rule: why for rule, why in unknown.items() if rule not in look.verdicts}


def _policies(before: HubRecord, snapshot: Snapshot) -> dict[str, Any]:
    """The shared access policies to remember: those just read, or those that are known already."""
    read = snapshot.facets.get(Facet.POLICIES)
    if read is None or isinstance(read, Unread) or policies_known(before, snapshot.etag, snapshot.taken_at):
        return {}
    return {"policies": read, "policies_etag": snapshot.etag, "policies_at": snapshot.taken_at}


async def remember_hub(ports: Ports, hub: HubId) -> Stored[HubRecord] | None:
    """Know of the hub before anything is found on it: what is known is looked for, even once no list shows it.

    Returns:
        The record, or None where somebody else has just written one.
    """
    record = HubRecord(hub)
    try:
        return Stored(record, await ports.records.save(record, None))
    except StaleWriteError:
        return None


async def stays_away(ports: Ports, hub: HubId) -> bool:
    """Note that a read missed the hub; whether that is so for a while, with no look at it in between.

    One 404 alone can be a slip of ARM's, and a read just after a write can miss the hub (RECORDINGS §3.13).
    """
    stored = await ports.records.get(hub)
    record, now = stored.value if stored else HubRecord(hub), ports.clock.now()
    if record.missing_since is not None:
        return now - record.missing_since >= _GONE_FOR
    with suppress(StaleWriteError):
        await ports.records.save(replace(record, missing_since=now), stored.etag if stored else None)
    return False


async def not_found(ports: Ports, hub: HubId, *, sure: bool) -> bool:
    """A read says that there is no such hub: bury it once it stays away, but for one that is being fixed.

    Args:
        ports: the world.
        hub: which.
        sure: whether somebody else says so too: a whole list, or the event of its deletion.

    Returns:
        Whether it was buried.
    """
    if not sure and not await stays_away(ports, hub):
        return False
    findings = await ports.findings.of_hub(hub)
    if any(stored.value.state in IN_FLIGHT for stored in findings):
        await _look_after(ports, hub, findings)
        return False
    await bury_hub(ports, hub, "the hub is gone")
    return True


async def bury_hub(ports: Ports, hub: HubId, why: str) -> None:
    """The hub does not exist any more: its findings are resolved, and it is forgotten once no ticket is open."""
    settled = []
    for stored in await ports.findings.of_hub(hub):
        if stored.value.state is State.RESOLVED:
            settled.append(await settle_ticket(ports, stored))
        else:
            settled.append(await move(ports, stored, Event.CLEARED, why, gone=True))
    if not any(stored.value.ticket_due for stored in settled):
        await ports.records.forget(hub)
    log.info("%s: %s", hub, why)


async def _claim_look(ports: Ports, message: EvaluateMessage) -> Stored[HubRecord] | None:
    stored = await ports.records.get(message.hub_id)
    known = stored.value if stored else HubRecord(message.hub_id)
    record = _noted(known, message)
    if record.written_at is not None and record.written_at != known.written_at:
        await _report_overwritten(ports, record, record.written_at)
    if record.looked_at is not None and record.looked_at >= message.asked_at:
        log.info("%s was looked at since this was asked for: nothing to do", message.hub)
        await _blame(ports, message)
        if stored is not None and record != stored.value:
            await ports.records.save(record, stored.etag)
        return None
    now = ports.clock.now()
    since = record.looking_since
    if since is not None and abs(now - since) < ports.timings.look:  # a clock may be behind that other worker's
        # The longer that look takes, the likelier its worker is gone: wait as long again.
        await ports.work.send(message, delay=max(_SOMEBODY_LOOKS, now - since))
        return None
    claimed = replace(record, looking_since=now)
    try:
        return Stored(claimed, await ports.records.save(claimed, stored.etag if stored else None))
    except StaleWriteError:
        await ports.work.send(message, delay=_SOMEBODY_LOOKS)
        return None


async def _cause(ports: Ports, message: EvaluateMessage, record: HubRecord) -> Cause:
    """What made us look. Of a change that was looked at long ago, nothing is that shows only now.

    It is told late, as dead letters are; a drift that was found meanwhile may well be its own.
    """
    changed_at, seen = message.changed_at, record.looked_at
    if changed_at is None or seen is None or seen - changed_at < _TAKES_EFFECT:
        return Cause(message.cause, message.actor, changed_at)
    await _blame(ports, message)
    return Cause(message.cause, None, changed_at)


async def _blame(ports: Ports, message: EvaluateMessage) -> None:
    """Enter who made a drift that a sweep has seen before the event of the change came."""
    actor, at = message.actor, message.changed_at
    if actor is None or at is None:
        return
    for stored in await ports.findings.of_hub(message.hub_id):
        finding = stored.value
        late = finding.state is not State.RESOLVED and finding.rollback is None and finding.began_after(at)
        if not late or finding.actor is not None:
            blamed = finding.suspecting(actor, at) if late else finding
            if blamed != finding:
                with suppress(StaleWriteError):
                    await ports.findings.save(blamed, stored.etag)
            continue
        blamed = told_who(replace(finding, actor=actor, changed_at=at).blaming(actor, at), finding)
        with suppress(StaleWriteError):  # whoever wrote it has looked again
            saved = Stored(blamed, await ports.findings.save(blamed, stored.etag))
            detected(ports, blamed, at)
            await settle_ticket(ports, saved, news=True)


async def _report_overwritten(ports: Ports, record: HubRecord, written_at: datetime) -> None:
    """Say so where a fix of ours may have undone somebody's change: Azure may not hold If-Match against a write.

    That it does is not proven (RECORDINGS §3.8).
    """
    for stored in await ports.findings.of_hub(record.hub):
        attempt = stored.value.attempt
        if attempt is not None and attempt.overwrote(written_at):
            by = str(record.written_by or "somebody unknown")
            details = {
                "hub": record.hub.path,
                "plan": attempt.digest,
                "by": by,
                "changed_at": written_at.isoformat(),
            }
            await ports.audit.append("overwritten", {**details, "finding": stored.value.id})
            log.error(
                "%s: somebody changed it at %s, between our read and our write: that change may be lost, check "
                "the hub; the audit trail says who",
                record.hub,
                written_at,
            )


async def _release(ports: Ports, record: Stored[HubRecord]) -> None:
    """The look came to nothing: let the next one begin at once."""
    with suppress(StaleWriteError):
        await ports.records.save(replace(record.value, looking_since=None), record.etag)


def _noted(record: HubRecord, message: EvaluateMessage) -> HubRecord:
    """Keep who wrote the hub last, so that verify can tell an overtaken fix from one without effect."""
    changed_at = message.changed_at
    if changed_at is None or message.actor is None:
        return record
    if record.written_at is not None and record.written_at >= changed_at:
        return record
    return replace(record, written_by=message.actor, written_at=changed_at)
