"""census: how many devices of a hub have a security module that is alive, counted in slices.

One slice is one queue message. It asks for as many pages as half of the hub's own query budget allows in a minute;
the other half is left to the operator's apps. First the security modules are listed, then the devices; nothing but
one page and the states of the modules is ever held.
"""

from __future__ import annotations

import json
import logging

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hubwarden.domain.census import (
    CensusSettings,
    Coverage,
    RowError,
    judged,
    module_line,
    module_of,
    module_states,
)
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import JsonObject, get_at
from hubwarden.domain.rule import Mode
from hubwarden.domain.snapshot import Facet, Unread
from hubwarden.domain.where import Tags
from hubwarden.service.errors import (
    AzureError,
    StaleWriteError,
    StorageUnavailableError,
    TransientError,
)
from hubwarden.service.messages import CensusMessage, EvaluateMessage
from hubwarden.service.ports import Counting, DeviceCount, HubRecord, Lists, Page, Ports, Stored
from hubwarden.service.put_off import TRIES, put_off


log = logging.getLogger(__name__)

COUNTED: Final = "devices were counted"
"""The cause of the look that follows a count."""

_MINUTE: Final = timedelta(minutes=1)
_RETRY_FAILED: Final = timedelta(hours=1)
_LONGEST: Final = timedelta(days=2)
"""A million devices and as many modules take 200 slices of one unit's budget, and no hub has more (AZURE §4)."""
_PART: Final = 4 * 1024 * 1024
_WRITES: Final = 5
_NAMED: Final = "%Y%m%dT%H%M%S%fZ"
"""A count is named by when it began."""
_QUERIES: Final = 20
_QUERIES_OF_THIRD_TIERS: Final = 1000
"""What a hub allows in a minute, for each unit (AZURE §4)."""


def census_settings(ports: Ports, hub: HubId, tags: Tags | None) -> CensusSettings:
    """The settings of the rule that judges the hub's devices; the defaults where there is none."""
    for rule in ports.rules:
        if Facet.DEVICES in rule.reads:
            settings = ports.policy.settings_of(rule, hub, tags)
            assert isinstance(settings, CensusSettings)
            return settings
    return CensusSettings()


def count_is_due(record: HubRecord | None, settings: CensusSettings, now: datetime) -> bool:
    """Whether the hub's devices should be counted, as far as what is remembered goes. ``now`` is UTC.

    While new devices have time to register their module, a regular count waits for them.
    """
    count = record.count if record else None
    if record is None or count is None:
        return True
    if record.count_due is not None and record.count_due <= now:
        return True
    age, every = now - count.at, timedelta(hours=settings.count_every_hours)
    if count.unread is not None:
        return age > _RETRY_FAILED
    return age > (every if record.count_due is None else 2 * every)


async def start_count(
    ports: Ports, record: Stored[HubRecord] | None, hub: HubId, body: JsonObject, settings: CensusSettings
) -> Stored[HubRecord] | None:
    """Begin to count the hub's devices, if that is due and possible and nobody is at it.

    New devices that wait to be counted are taken over by this count; who comes later waits for the next.

    Args:
        ports: the world.
        record: what is remembered of the hub, as it was read last.
        hub: which.
        body: the hub's, as ARM shows it.
        settings: what is asked for.

    Returns:
        The record as it is stored now; the one given where no count was begun.
    """
    now = ports.clock.now()
    known = record.value if record else HubRecord(hub)
    host = _host(body)
    if host is None or _uncountable(body) or _under_way(ports, known, now):
        return record
    if known.counting is None and not count_is_due(known, settings, now):
        return record  # one that was lost is begun again in any case
    due = known.count_due is not None and known.count_due <= now
    begun = replace(
        known,
        counting=Counting(now.strftime(_NAMED), now),
        new_devices_since=None if due else known.new_devices_since,
        count_due=None if due else known.count_due,
    )
    try:
        stored = Stored(begun, await ports.records.save(begun, record.etag if record else None))
    except StaleWriteError:
        log.info("%s: the record has changed meanwhile; the next look begins the count of devices", hub)
        return record
    message = CensusMessage(hub=hub.path, run=now.strftime(_NAMED), host=host, pages=budget(body))
    await ports.work.send(message)
    log.info("%s: its devices are being counted, at most %d queries a minute", hub, message.pages)
    return stored


def devices_facet(
    record: HubRecord | None, body: JsonObject, settings: CensusSettings, now: datetime
) -> JsonObject | Unread:
    """Facet.DEVICES: what the last count came to, or why there is none that can be used. ``now`` is UTC."""
    why = _uncountable(body)
    if why is not None:
        return Unread(why)
    count = record.count if record else None
    if count is None:
        return Unread("the devices of the hub are being counted; the hub is judged again once that is done")
    said = f"{count.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if count.facet is None:
        return Unread(f"the devices could not be counted on {said}: {count.unread}")
    if now - count.at > 2 * timedelta(hours=settings.count_every_hours) + timedelta(days=1):
        return Unread(f"the last count of the devices is of {said}: that is too long ago")
    return count.facet


def budget(body: JsonObject) -> int:
    """How many queries a minute may be ours: half of what the hub allows."""
    name, units = get_at(body, ("sku", "name")), get_at(body, ("sku", "capacity"))
    each = _QUERIES_OF_THIRD_TIERS if isinstance(name, str) and name.endswith("3") else _QUERIES
    return each * (units if isinstance(units, int) and units > 0 else 1) // 2


async def census(ports: Ports, message: CensusMessage) -> None:
    """Count on from where the message stands, for a minute at most; then send the next message, or end the count.

    A message of another count, or one that was worked on before, is dropped.
    """
    hub = message.hub_id
    stored = await ports.records.get(hub)
    tags = stored.value.tags if stored else None
    if not _wanted(ports, hub, tags):
        log.info("%s: nobody wants its devices counted any more", hub)
        return
    if not _is_next(stored, message):
        log.info("%s: this message of the count %s is out of date", hub, message.run)
        if stored is not None and _came_to(stored.value, message.run):
            await _tell(ports, message)  # whoever ended the count may not have come so far
        return
    slice_ = _Slice(ports, message, census_settings(ports, hub, tags))
    try:
        over = await slice_.work()
    except TransientError as error:
        if message.attempt < TRIES:
            await put_off(ports, message, error, retry_after=error.retry_after)
            return
        await _fail(ports, message, f"{error}; it was tried {TRIES} times")
    except (AzureError, RowError) as error:
        await _fail(ports, message, str(error))
    else:
        await (_succeed(ports, slice_) if over else _go_on(ports, slice_))


class _Slice:
    """The work of one message. ``message`` is where the count stands."""

    def __init__(self, ports: Ports, message: CensusMessage, settings: CensusSettings) -> None:
        self.message = message
        self.began = ports.clock.now()
        self.interrupted: TransientError | None = None
        self._ports = ports
        self._settings = settings
        self._asked = 0

    async def work(self) -> bool:
        """List modules, then devices, as far as the budget goes; whether all are counted.

        Raises:
            AzureError: nothing was read at all.
            RowError: Azure's answer is not what was asked for.
        """
        lists = self._ports.lists
        if self.message.stage == "modules":
            if not await self._list(_modules_list(self.message), self._settings.modules_query, self._modules):
                return False
            await lists.commit(_modules_list(self.message), self.message.parts)
            self._stand(stage="devices", continuation=None, parts=0)
        if not self._may_ask():
            return False
        states = await _states(lists, self.message)
        return await self._list(
            _uncovered_list(self.message), self._settings.devices_query, lambda rows: self._uncovered(rows, states)
        )

    async def _list(
        self, name: str, query: str, lines_of: Callable[[Sequence[JsonObject]], Iterable[str]]
    ) -> bool:
        """Page by page; whether the last one was seen. A page may be empty and yet go on."""
        parts = _Parts(self._ports.lists, name, self.message.parts)
        over = False
        while not over and self._may_ask():
            page = await self._page(query)
            if page is None:
                break
            await parts.add(lines_of(page.rows))
            self._stand(continuation=page.continuation)
            over = page.continuation is None
        await parts.flush()
        self._stand(parts=parts.number)
        return over

    def _may_ask(self) -> bool:
        in_time = self._asked == 0 or self._ports.clock.now() - self.began < _MINUTE
        return in_time and self.interrupted is None and self._asked < self.message.pages

    async def _page(self, query: str) -> Page | None:
        """The next page; None where Azure wants us to come back later, and some pages were read already."""
        try:
            page = await self._ports.hubs.query_devices(self.message.host, query, self.message.continuation)
        except TransientError as error:
            if self._asked == 0:
                raise
            self.interrupted = error
            return None
        self._asked += 1
        return page

    def _modules(self, rows: Sequence[JsonObject]) -> Iterator[str]:
        for device, active in module_states(rows, self._settings, self._ports.clock.now()).items():
            yield module_line(device, active=active)

    def _uncovered(self, rows: Sequence[JsonObject], states: Mapping[str, bool]) -> Iterator[str]:
        devices = list(judged(rows, states))
        said = ((coverage, str(device["deviceId"])) for coverage, device in devices)
        self._stand(tally=self.message.tally.plus(said))
        for coverage, device in devices:
            if coverage is not Coverage.COVERED:
                yield json.dumps(device)

    def _stand(self, **update: Any) -> None:
        self.message = self.message.model_copy(update=update)


class _Parts:
    """Lines on their way into the parts of a list; ``number`` is that of the next part."""

    def __init__(self, lists: Lists, name: str, number: int) -> None:
        self.number = number
        self._lists, self._name = lists, name
        self._data = bytearray()

    async def add(self, lines: Iterable[str]) -> None:
        """Add lines; what is large enough is staged."""
        for line in lines:
            self._data += f"{line}\n".encode()
        if len(self._data) >= _PART:
            await self.flush()

    async def flush(self) -> None:
        """Stage what is left."""
        if self._data:
            await self._lists.stage(self._name, self.number, bytes(self._data))
            self.number += 1
            self._data.clear()


async def _states(lists: Lists, message: CensusMessage) -> dict[str, bool]:
    """What was listed of the modules; a device may have several."""
    states: dict[str, bool] = {}
    async for line in lists.lines(_modules_list(message)):
        device, active = module_of(line)
        states[device] = states.get(device, False) or active
    return states


async def _go_on(ports: Ports, slice_: _Slice) -> None:
    """Send the next message for a minute later. Then say so: this one is dropped if it comes again."""
    if ports.clock.now() - _began(slice_.message) > _LONGEST:
        await _fail(ports, slice_.message, f"the count did not come to an end within {_LONGEST}")
        return
    message = slice_.message.model_copy(update={"slices": slice_.message.slices + 1, "attempt": 0})
    wished = slice_.interrupted.retry_after if slice_.interrupted else None
    await ports.work.send(message, delay=max(_MINUTE, wished or _MINUTE))
    counting = Counting(message.run, ports.clock.now(), message.slices)
    with suppress(StaleWriteError, StorageUnavailableError):
        await _change(ports, message, lambda record: replace(record, counting=counting))


async def _succeed(ports: Ports, slice_: _Slice) -> None:
    message = slice_.message
    name = _uncovered_list(message)
    place = await ports.lists.commit(name, message.parts) if message.parts else None
    facet = message.tally.facet(_began(message), place)
    before = await _end(ports, message, DeviceCount(ports.clock.now(), facet))
    if before is None:
        return
    log.info("%s: its devices are counted: %s", message.hub, facet["counts"])
    await _tell(ports, message)
    last = before.count.facet if before.count else None
    if last is not None and isinstance(last["list"], str) and last["list"] != place:
        await ports.lists.delete(last["list"].partition("/")[2])


async def _fail(ports: Ports, message: CensusMessage, why: str) -> None:
    log.warning("%s: its devices cannot be counted: %s", message.hub, why)
    if await _end(ports, message, DeviceCount(ports.clock.now(), None, why)) is not None:
        await _tell(ports, message)


async def _end(ports: Ports, message: CensusMessage, count: DeviceCount) -> HubRecord | None:
    """Write down how the count ended.

    Returns:
        The record as it was before; None where a newer count has begun.
    """
    return await _change(ports, message, lambda record: replace(record, count=count, counting=None))


async def _tell(ports: Ports, message: CensusMessage) -> None:
    """The count is over: have the hub judged, and forget what only the count needed."""
    await ports.work.send(EvaluateMessage(hub=message.hub, asked_at=ports.clock.now(), cause=COUNTED))
    await ports.lists.delete(_modules_list(message))


async def _change(
    ports: Ports, message: CensusMessage, change: Callable[[HubRecord], HubRecord]
) -> HubRecord | None:
    """Change the hub's record while this count is under way.

    Returns:
        The record as it was before; None where another count has begun, or the hub is forgotten.

    Raises:
        StaleWriteError: somebody else was faster each time.
    """
    for tries_left in reversed(range(_WRITES)):
        stored = await ports.records.get(message.hub_id)
        if stored is None or stored.value.counting is None or stored.value.counting.run != message.run:
            return None
        try:
            await ports.records.save(change(stored.value), stored.etag)
        except StaleWriteError:
            if not tries_left:
                raise
            continue
        return stored.value
    return None


def _wanted(ports: Ports, hub: HubId, tags: Tags | None) -> bool:
    counting = (rule.id for rule in ports.rules if Facet.DEVICES in rule.reads)
    on = any(ports.policy.mode_of(rule, hub, tags) is not Mode.OFF for rule in counting)
    return ports.policy.watches(hub) and on


def _is_next(stored: Stored[HubRecord] | None, message: CensusMessage) -> bool:
    """Whether the message belongs to the count that is under way, and was not worked on before."""
    counting = stored.value.counting if stored else None
    return counting is not None and counting.run == message.run and message.slices >= counting.slices


def _came_to(record: HubRecord, run: str) -> bool:
    """Whether the last count is this one, and went well."""
    facet = record.count.facet if record.count else None
    return facet is not None and datetime.fromisoformat(str(facet["counted_at"])).strftime(_NAMED) == run


def _under_way(ports: Ports, record: HubRecord, now: datetime) -> bool:
    return record.counting is not None and now - record.counting.since < ports.timings.count


def _host(body: JsonObject) -> str | None:
    host = get_at(body, ("properties", "hostName"))
    return host if isinstance(host, str) and host else None


def _uncountable(body: JsonObject) -> str | None:
    """Why nothing can be known of the devices of this hub, or None."""
    tier = get_at(body, ("sku", "name"))
    if isinstance(tier, str) and tier.upper().startswith("B"):
        return (
            f"the hub is of the Basic tier {tier}, which has no modules: its devices cannot be told apart by them"
        )
    if _host(body) is None:
        return "the hub has no host name, so that its devices cannot be asked for"
    return None


def _began(message: CensusMessage) -> datetime:
    return datetime.strptime(message.run, "%Y%m%dT%H%M%S%f%z")


def _modules_list(message: CensusMessage) -> str:
    return f"{_folder(message)}/modules"


def _uncovered_list(message: CensusMessage) -> str:
    return f"{_folder(message)}/uncovered"


def _folder(message: CensusMessage) -> str:
    hub = message.hub_id
    return f"{hub.subscription}/{hub.resource_group}/{hub.name}/{message.run}"
