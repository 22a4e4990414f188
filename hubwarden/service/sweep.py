"""sweep: look at every hub. Events can be lost; the sweep is the truth."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from hubwarden.domain.hub_id import HubId, NotAHubError
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.policy import ALL
from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from hubwarden.service.correlation import about
from hubwarden.service.errors import (
    AzureError,
    HubGoneError,
    StorageRefusedError,
    StorageUnavailableError,
    TransientError,
)
from hubwarden.service.evaluate import follow_up, not_found, remember, remember_hub
from hubwarden.service.messages import EvaluateMessage, SweepMessage
from hubwarden.service.observe import busy, observe, observe_listed
from hubwarden.service.ports import HubRecord, Ports, Stored, SweepRecord
from hubwarden.service.put_off import put_off
from hubwarden.service.reconcile import Cause, Look, reconcile
from hubwarden.service.telemetry import SWEEP_DURATION, SWEEP_HUBS, SWEEPS
from hubwarden.service.turns import begin_sweep, turns


log = logging.getLogger(__name__)

SUBSCRIPTIONS_AT_ONCE: Final = 32
HUBS_AT_ONCE: Final = 48
_OF_ONE_SUBSCRIPTION: Final = 4
"""What is asked once for a subscription, its other hubs wait for: so many subscriptions are looked at together."""
_SOON: Final = timedelta(seconds=10)
_CAUSE: Final = Cause("sweep")


@dataclass(frozen=True, slots=True)
class _Listed:
    """A hub as a list showed it; ``taken_at`` is from before the list began."""

    hub: HubId
    body: JsonObject
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class _Watched:
    """The subscriptions whose hubs are to be listed, and those of which only the known hubs are looked for."""

    listed: tuple[str, ...]
    unlisted: tuple[str, ...] = ()


@dataclass(slots=True)
class _Tally:
    seen: set[HubId] = field(default_factory=set)
    evaluated: int = 0
    drifting: int = 0
    facets: int = 0
    facets_read: int = 0
    listkeys_saved: int = 0
    looked_at: int = 0
    unknown: dict[str, str] = field(default_factory=dict)
    dead: dict[str, str] = field(default_factory=dict)

    def miss(self, hub: HubId, why: str) -> None:
        """Enter one hub that could not be judged."""
        self.seen.add(hub)
        self.unknown[hub.path] = why

    def count(self, look: Look) -> None:
        """Enter one hub that was read."""
        self.seen.add(look.snapshot.hub)
        if look.snapshot.dead:
            self.dead[look.snapshot.hub.path] = f"the hub is {look.snapshot.dead}"
            return
        facets = look.snapshot.facets.values()
        self.looked_at += 1
        self.facets += len(facets)
        self.facets_read += sum(not isinstance(facet, Unread) for facet in facets)
        self.listkeys_saved += Facet.POLICIES in look.snapshot.remembered
        self.drifting += look.drifting
        if look.unknown:
            self.unknown[look.snapshot.hub.path] = "; ".join(
                f"{rule}: {reason}" for rule, reason in look.unknown.items()
            )
        else:
            self.evaluated += 1


async def sweep(ports: Ports, again: SweepMessage | None = None) -> SweepRecord:
    """Look at every hub of every subscription that policy names, or of the one that is to be swept again.

    A subscription or hub that cannot be read hides no other: it is counted as unknown, with the reason, and
    asked for again by a message. Costs one list per subscription, one more where policy watches all subscriptions,
    and one read per known hub that no list shows: deleted, or not for us to see any more.
    """
    started_at = ports.clock.now()
    whole = again is None or again.subscription == ALL
    if whole:
        await begin_sweep(ports)
    tally = _Tally()
    watched = await _watched(ports, again, tally)
    limit, at_once = asyncio.Semaphore(HUBS_AT_ONCE), asyncio.Semaphore(SUBSCRIPTIONS_AT_ONCE)
    async with asyncio.TaskGroup() as group:
        for subscription in watched.listed:
            message = SweepMessage(subscription=subscription, attempt=again.attempt if again else 0)
            group.create_task(_within(at_once, _sweep_subscription(ports, message, limit, tally)))
        for subscription in watched.unlisted:
            group.create_task(_within(at_once, _sweep_hidden(ports, subscription, tally)))
    subscriptions = (*watched.listed, *watched.unlisted)
    record = _record(ports, subscriptions, started_at, tally)
    if whole:
        await ports.records.add_sweep(record)  # a part must not pass for the whole
        _measure(ports, record)
    await ports.audit.append("sweep", {
        "summary": record.summary,
        "subscriptions": list(subscriptions),
        "unknown": dict(record.unknown),
        "dead": dict(record.dead),
    })  # fmt: skip
    log.log(logging.INFO if record.complete else logging.WARNING, "sweep: %s%s", record.summary,
            "".join(f"; {path}: {reason}" for path, reason in record.unknown.items()))  # fmt: skip
    await turns(ports)
    return record


def _measure(ports: Ports, record: SweepRecord) -> None:
    ports.telemetry.count(SWEEPS, complete=str(record.complete).lower())
    took = record.finished_at - record.started_at
    ports.telemetry.measure(SWEEP_DURATION, took.total_seconds())
    ports.telemetry.report(SWEEP_HUBS, {
        ("judged",): record.evaluated,
        ("unknown",): record.hubs - record.evaluated,
        ("dead",): len(record.dead),
    })  # fmt: skip


async def _within(limit: asyncio.Semaphore, work: Coroutine[Any, Any, None]) -> None:
    async with limit:
        await work


async def _watched(ports: Ports, again: SweepMessage | None, tally: _Tally) -> _Watched:
    """Which subscriptions to sweep. Of one that is known and not seen any more, each hub is looked for."""
    policy = ports.policy
    if again is not None and again.subscription != ALL:
        named = policy.watches_all or again.subscription in policy.subscriptions
        return _Watched((again.subscription,) if named else ())
    if not policy.watches_all:
        return _Watched(tuple(dict.fromkeys(policy.subscriptions)))
    known = await ports.records.subscriptions()
    try:
        seen = await ports.hubs.subscriptions()
    except AzureError as error:
        tally.unknown["/subscriptions"] = f"which subscriptions there are could not be read: {error}"
        if isinstance(error, TransientError):
            message = again or SweepMessage(subscription=ALL)
            await put_off(ports, message, error, retry_after=error.retry_after)
        return _Watched(tuple(known))
    if not seen:
        tally.unknown["/subscriptions"] = "the identity sees no subscription at all: it may have no role in any"
    return _Watched(tuple(seen), tuple(sorted(set(known) - set(seen))))


async def _sweep_subscription(
    ports: Ports, message: SweepMessage, limit: asyncio.Semaphore, tally: _Tally
) -> None:
    known = await _known(ports, message.subscription, tally)
    listed: set[HubId] = set()
    failure: AzureError | None = None
    taken_at = ports.clock.now()
    own_limit = asyncio.Semaphore(_OF_ONE_SUBSCRIPTION)
    async with asyncio.TaskGroup() as group:
        try:
            async for body in ports.hubs.list_hubs(message.subscription):
                hub = _hub_of(body)
                if hub is not None and hub not in listed:
                    listed.add(hub)
                    group.create_task(_look(ports, (own_limit, limit), _Listed(hub, body, taken_at), tally))
        except AzureError as error:
            failure = error
    unlisted = [hub for hub in known if hub not in listed]
    if failure is not None:
        await _not_listed(ports, message, failure, unlisted, tally)
        return
    for hub in unlisted:
        async with _apart(ports, hub, tally):
            await _look_for(ports, hub, tally)


async def _sweep_hidden(ports: Ports, subscription: str, tally: _Tally) -> None:
    """A subscription that is not seen any more: whether its hubs are gone or hidden, a read of each can tell."""
    for hub in await _known(ports, subscription, tally):
        async with _apart(ports, hub, tally):
            await _look_for(ports, hub, tally)


async def _known(ports: Ports, subscription: str, tally: _Tally) -> list[HubId]:
    try:
        return [record.hub async for record in ports.records.of_subscription(subscription)]
    except StorageRefusedError as error:
        tally.unknown[f"/subscriptions/{subscription}"] = f"which hubs it had before is not known: {error}"
        return []


async def _not_listed(
    ports: Ports, message: SweepMessage, error: AzureError, hubs: Sequence[HubId], tally: _Tally
) -> None:
    tally.unknown[f"/subscriptions/{message.subscription}"] = str(error)
    for hub in hubs:
        tally.miss(hub, f"its subscription could not be listed: {error}")
    if isinstance(error, TransientError):
        await put_off(ports, message, error, retry_after=error.retry_after)


async def _look(
    ports: Ports, limits: tuple[asyncio.Semaphore, asyncio.Semaphore], listed: _Listed, tally: _Tally
) -> None:
    async with limits[0], limits[1], _apart(ports, listed.hub, tally):
        stored = await ports.records.get(listed.hub) or await remember_hub(ports, listed.hub)
        record = stored.value if stored else None
        if record and record.looked_at and record.looked_at > listed.taken_at:
            await _look_for(ports, listed.hub, tally, listed=True)  # older than what is known: read it anew
        else:
            snapshot = await observe_listed(ports, listed.hub, listed.body, listed.taken_at, record)
            await _count(ports, snapshot, stored, tally)


async def _look_for(ports: Ports, hub: HubId, tally: _Tally, *, listed: bool = False) -> None:
    """A hub that the list does not show, or not as it is now: gone, or hidden from us; only a read can tell."""
    try:
        stored = await ports.records.get(hub)
        snapshot = await observe(ports, hub, stored.value if stored else None)
    except HubGoneError as error:
        if not await not_found(ports, hub, sure=not listed):
            tally.miss(hub, f"it is not seen again yet: {error}")
            await _ask_again(ports, hub)
    except TransientError as error:
        tally.miss(hub, str(error))
        await _ask_again(ports, hub, error.retry_after)
    else:
        await _count(ports, snapshot, stored, tally)


async def _count(ports: Ports, snapshot: Snapshot, known: Stored[HubRecord] | None, tally: _Tally) -> None:
    if busy(snapshot):
        tally.miss(snapshot.hub, "an operation is running on the hub; it is looked at again soon")
        await _ask_again(ports, snapshot.hub)
        return
    look = await reconcile(ports, snapshot, _CAUSE)
    await follow_up(ports, look)
    await remember(ports, look, known)
    tally.count(look)
    if snapshot.passing:
        await _ask_again(ports, snapshot.hub)


@contextlib.asynccontextmanager
async def _apart(ports: Ports, hub: HubId, tally: _Tally) -> AsyncIterator[None]:
    """Whatever goes wrong with one hub is unknown of this hub alone; only storage that is down ends the sweep."""
    with about(hub=hub):
        try:
            yield
        except StorageRefusedError as error:
            log.error("the sweep could not judge %s: %s", hub, error)  # noqa: TRY400 - the message says it all
            tally.miss(hub, str(error))
        except StorageUnavailableError:
            raise
        except Exception as error:
            log.exception("the sweep could not judge %s", hub)
            tally.miss(hub, f"hubwarden failed on it: {type(error).__name__}: {error}")
            await _ask_again(ports, hub)


async def _ask_again(ports: Ports, hub: HubId, retry_after: timedelta | None = None) -> None:
    message = EvaluateMessage(hub=hub.path, asked_at=ports.clock.now(), cause="sweep")
    await ports.work.send(message, delay=retry_after or _SOON)


def _hub_of(body: JsonObject) -> HubId | None:
    try:
        return HubId.parse(str(body.get("id")))
    except NotAHubError as error:
        log.warning("a list of hubs holds something else: %s", error)
        return None


def _ever_wanted(ports: Ports) -> frozenset[Facet]:
    """What the rules want to see that are on for any hub."""
    return frozenset(facet for rule in ports.rules if ports.policy.is_on(rule.id) for facet in rule.reads)


def _record(ports: Ports, subscriptions: Sequence[str], started_at: datetime, tally: _Tally) -> SweepRecord:
    hubs = len(tally.seen) - len(tally.dead)
    return SweepRecord(
        subscriptions=tuple(subscriptions),
        started_at=started_at,
        finished_at=ports.clock.now(),
        hubs=hubs,
        evaluated=tally.evaluated,
        drifting=tally.drifting,
        unknown=tally.unknown,
        dead=tally.dead,
        facets=tally.facets + (hubs - tally.looked_at) * len(_ever_wanted(ports)),
        facets_read=tally.facets_read,
        listkeys_saved=tally.listkeys_saved,
    )
