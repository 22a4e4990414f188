"""Events of new devices: each device gets its grace, and a burst of events costs few writes."""

from __future__ import annotations

import asyncio

from contextlib import suppress
from datetime import timedelta

import pytest

from hypothesis import example, given
from hypothesis import strategies as st

from detectors.defender_devices import RULE
from hubwarden.service.errors import StaleWriteError
from hubwarden.service.events import Ignored
from hubwarden.service.messages import EvaluateMessage
from hubwarden.service.ports import DeviceCount, HubRecord
from hubwarden.service.route_device_event import read_device_event, route_device_event
from tests.unit.fakes import HUB, START, Killed, World


GRACE = timedelta(minutes=15)
DEVICE = "device-of-somebody"


def created(**more):
    """As Event Grid sends it (AZURE §5): the topic shouts."""
    return {
        "id": "2da5e9b4-4e38-04c1-cc58-9da0b37230c0",
        "topic": HUB.path.upper(),
        "subject": f"devices/{DEVICE}",
        "eventType": "Microsoft.Devices.DeviceCreated",
        "eventTime": "2026-11-23T09:00:00.1234567Z",
        "data": {
            "twin": {"deviceId": DEVICE, "status": "enabled", "properties": {"desired": {}, "reported": {}}},
            "hubName": HUB.name.upper(),
            "deviceId": DEVICE,
        },
        "dataVersion": "1",
        "metadataVersion": "1",
        **more,
    }


def as_cloud_event(event):
    kept = {name: event[name] for name in ("id", "subject", "data")}
    return {**kept, "specversion": "1.0", "source": event["topic"], "type": event["eventType"]}


def as_the_trigger_hands_it_over(event):
    kept = {name: event[name] for name in ("id", "topic", "subject", "data")}
    return {**kept, "type": event["eventType"], "time": event["eventTime"]}


async def come(world, event=None):
    return await route_device_event(
        event or created(), records=world.records, work=world.work, clock=world.clock, grace=GRACE
    )


def writes(world):
    return world.gates.calls.count("after FakeRecords.save")


@pytest.mark.parametrize("shape", [dict, as_cloud_event, as_the_trigger_hands_it_over])
async def test_a_new_device_is_looked_at_when_its_grace_is_over(shape):
    world = World()
    assert await come(world, shape(created())) == HUB
    due = world.record().count_due
    assert START < world.record().new_devices_since == due - GRACE
    message = EvaluateMessage(hub=HUB.path, asked_at=due, cause="event Microsoft.Devices.DeviceCreated")
    assert world.work.sent == [(message, GRACE)]


async def test_nothing_of_the_device_is_kept_or_logged(caplog):
    caplog.set_level("DEBUG")
    world = World()
    await come(world)
    await come(world, created(eventType="Microsoft.Devices.DeviceDeleted"))
    assert DEVICE not in repr(world.record()) + repr(world.work.sent) + caplog.text
    assert HUB.path in caplog.text


async def test_what_is_known_of_the_hub_stays():
    world = World()
    known = HubRecord(HUB, looked_at=START, verdicts={"x": "drift"}, count=DeviceCount(START, None, "no"))
    await world.records.save(known, None)
    await come(world)
    assert (world.record().looked_at, world.record().verdicts, world.record().count) == (
        known.looked_at, known.verdicts, known.count,
    )  # fmt: skip


async def test_a_later_device_gets_its_grace_too_without_another_message():
    world = World()
    await come(world)
    first = world.record().count_due
    world.clock.turn(minutes=5)
    await come(world)
    assert timedelta(minutes=5) <= world.record().count_due - first < timedelta(minutes=5, seconds=1)
    assert world.record().new_devices_since == first - GRACE
    assert len(world.work.sent) == 1


async def test_while_most_of_the_grace_is_left_nothing_is_written():
    world = World()
    await come(world)
    world.clock.turn(minutes=3, seconds=44)
    await come(world)
    assert writes(world) == 1
    world.clock.turn(seconds=2)
    await come(world)
    assert writes(world) == 2


async def test_the_first_device_waits_no_longer_than_four_times_the_grace():
    world = World()
    await come(world)
    since = world.record().new_devices_since
    for _ in range(100):
        world.clock.turn(minutes=1)
        await come(world)
        assert world.record().count_due <= since + 4 * GRACE
    assert world.record().count_due == since + 4 * GRACE


async def test_ten_thousand_devices_in_an_hour_cost_few_writes_and_one_message():
    world = World()
    for _ in range(10_000):
        world.clock.turn(milliseconds=360)
        await come(world)
    assert writes(world) < 15
    assert len(world.work.sent) == 1


async def test_a_hundred_at_once_send_one_message():
    world = World(seed=1)
    world.gates.random = world.random
    outcomes = await asyncio.gather(*(come(world) for _ in range(100)), return_exceptions=True)
    assert set(outcomes) == {HUB}
    assert len(world.work.sent) == 1


async def test_once_the_count_has_begun_the_next_device_is_a_first_one():
    world = World()
    await come(world)
    stored = world.records.rows[HUB]
    await world.records.save(HubRecord(HUB), stored.etag)
    await come(world)
    assert len(world.work.sent) == 2


async def test_a_record_that_is_never_at_rest_makes_event_grid_deliver_again():
    world = World()

    async def stale(record, etag):
        raise StaleWriteError("busy")

    world.records.save = stale
    with pytest.raises(StaleWriteError):
        await come(world)
    assert not world.work.sent


@pytest.mark.parametrize("gate", range(1, 7))
async def test_a_worker_that_dies_leaves_the_device_to_be_counted(gate):
    world = World()
    world.gates.kill_at = gate
    with suppress(Killed):
        await come(world)
    await come(world)
    assert world.record().count_due > START + GRACE - timedelta(seconds=1)


async def test_the_devices_are_counted_when_the_grace_of_the_last_one_is_over():
    world = World("report", rules=(RULE,))
    world.hubs.add()
    await world.sweep()
    await world.run()
    before = world.record().count
    await come(world)
    world.hubs.pages["devices"] = [[{"deviceId": "first"}, {"deviceId": "second"}]]
    await world.run(until=timedelta(minutes=10))
    await come(world)
    last = world.clock.at
    await world.run(until=timedelta(minutes=14))
    await world.sweep()
    await world.run(until=timedelta(0))
    assert world.record().count == before
    await world.run()
    assert world.record().count.facet["total"] == 2
    assert GRACE <= world.record().count.at - last < GRACE + timedelta(seconds=1)
    assert (world.record().new_devices_since, world.record().count_due) == (None, None)


@pytest.mark.parametrize("kind", [
    "Microsoft.Devices.DeviceDeleted", "Microsoft.Devices.DeviceConnected", "microsoft.devices.devicecreated",
    "Microsoft.Resources.ResourceWriteSuccess", "", None, 7, ["x"], {"a": 1},
])  # fmt: skip
async def test_other_events_ask_for_nothing(kind):
    world = World()
    assert isinstance(await come(world, created(eventType=kind)), Ignored)
    assert not world.gates.calls


@pytest.mark.parametrize("topic", [
    None, "", 7, "/subscriptions/s", HUB.name, "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/x",
])  # fmt: skip
async def test_events_of_something_else_ask_for_nothing(topic):
    world = World()
    assert isinstance(await come(world, created(topic=topic)), Ignored)
    assert not world.gates.calls


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)


@given(event=st.dictionaries(st.sampled_from(["topic", "source", "eventType", "type", "data", "x"]), ANYTHING))
@example(event={"eventType": "a\n\x00\ud800" * 1000})
def test_no_shape_of_an_event_is_an_exception(event):
    read = read_device_event(event)
    assert isinstance(read, Ignored)
    assert "\n" not in read.reason
    assert len(read.reason) < 1000
