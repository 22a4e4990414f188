"""route_device_event: a hub has a new device, which is to be counted once it had time to register its module."""

from __future__ import annotations

import logging

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from hubwarden.domain.hub_id import HubId, NotAHubError
from hubwarden.service.errors import StaleWriteError
from hubwarden.service.events import Ignored, name_of
from hubwarden.service.messages import EvaluateMessage
from hubwarden.service.ports import Clock, HubRecord, HubStore, WorkQueue
from hubwarden.service.telemetry import EVENTS, SILENT, Telemetry


log = logging.getLogger(__name__)

OF_HUBS: Final = "Microsoft.Devices."
"""The types of the hubs' own events begin so."""
CREATED: Final = f"{OF_HUBS}DeviceCreated"
DEVICE_CREATED: Final = f"event {CREATED}"
"""The cause of the look that counts new devices."""
_LONGEST: Final = 4
"""However many devices come, the first ones wait no longer than so many times the grace."""
_TRIES: Final = 5


def read_device_event(event: Mapping[str, Any]) -> HubId | Ignored:
    """The hub that got a device, from either event schema. Whatever its shape, the answer is a value."""
    kind = event.get("eventType") or event.get("type")
    if kind != CREATED:
        return Ignored(f"an event of type {str(kind)[:100]!r} does not tell of a new device")
    source = event.get("topic") or event.get("source")
    try:
        return HubId.parse(source if isinstance(source, str) else "")
    except NotAHubError as error:
        return Ignored(str(error))


async def route_device_event(
    event: Mapping[str, Any],
    *,
    records: HubStore,
    work: WorkQueue,
    clock: Clock,
    grace: timedelta,
    telemetry: Telemetry = SILENT,
) -> HubId | Ignored:
    """See that the hub's devices are counted when the new one's grace is over; a burst of events costs few writes.

    The first event sends a message for when its grace is over. Later ones only move that moment, in
    ``HubRecord.count_due``: whoever gets the message too early sends it again for then.

    Args:
        event: as Event Grid sent it, in either schema.
        records: where it is remembered.
        work: where the message goes.
        clock: the time.
        grace: how long a new device has to register its module.
        telemetry: who is told what became of it.

    Raises:
        StaleWriteError: the record was changed by somebody else each time; the event is to be delivered again.
    """
    hub = read_device_event(event)
    if isinstance(hub, Ignored):
        log.info("event %s ignored: %s", name_of(event), hub.reason)
        telemetry.count(EVENTS, outcome="ignored")
        return hub
    for tries_left in reversed(range(_TRIES)):
        try:
            first_due = await _note(hub, records, clock.now(), grace)
        except StaleWriteError:
            if not tries_left:
                raise
            continue
        if first_due is not None:
            message = EvaluateMessage(hub=hub.path, asked_at=first_due, cause=DEVICE_CREATED)
            await work.send(message, delay=grace)
            log.info("%s has new devices, which are to be counted after %s", hub, first_due)
        break
    telemetry.count(EVENTS, outcome="routed")
    return hub


async def _note(hub: HubId, records: HubStore, now: datetime, grace: timedelta) -> datetime | None:
    """Remember that there is a new device; when it is to be counted, if it is the first of its kind."""
    stored = await records.get(hub)
    known = stored.value if stored else HubRecord(hub)
    etag = stored.etag if stored else None
    since, due = known.new_devices_since, known.count_due
    if since is None or due is None:
        await records.save(replace(known, new_devices_since=now, count_due=now + grace), etag)
        return now + grace
    later = min(since + _LONGEST * grace, now + grace)
    if due - now < grace * 3 / 4 and later > due:
        await records.save(replace(known, count_due=later), etag)
    return None
