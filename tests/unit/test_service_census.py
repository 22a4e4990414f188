"""A count of devices: in slices, within half of the hub's budget, right whatever dies, comes twice or fails."""

from __future__ import annotations

import json

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.defender_devices import RULE
from hubwarden.domain.census import SHOWN, CensusSettings
from hubwarden.domain.snapshot import Unread
from hubwarden.service.census import COUNTED, budget, census, count_is_due, devices_facet, start_count
from hubwarden.service.errors import DeniedError, HubGoneError, PermanentError, TransientError
from hubwarden.service.messages import CensusMessage, EvaluateMessage
from hubwarden.service.ports import Counting, DeviceCount, HubRecord, Page
from hubwarden.service.put_off import TRIES
from tests.unit.fakes import HUB, START, Killed, World, hub_body, hub_id


SETTINGS = CensusSettings()
STATES = {
    "connected": {"connectionState": "Connected", "lastActivityTime": "0001-01-01T00:00:00Z"},
    "recent": {"connectionState": "Disconnected", "lastActivityTime": "2026-11-23T01:02:03.1234567Z"},
    "stale": {"connectionState": "Disconnected", "lastActivityTime": "2026-11-01T01:02:03Z"},
    "never": {"connectionState": "Disconnected", "lastActivityTime": "0001-01-01T00:00:00Z"},
}
ALIVE = {"connected", "recent"}
CREATED = "event Microsoft.Devices.DeviceCreated"


def device(name):
    return {"deviceId": name, "status": "enabled", "connectionState": "Connected", "lastActivityTime": None}


def module(name, state="connected", module_id="DefenderIotMicroAgent"):
    return {"deviceId": name, "moduleId": module_id, **STATES[state]}


def paged(rows, size):
    return [rows[at : at + size] for at in range(0, len(rows), size)] or [[]]


def a_world(modules=(), devices=(), *, sku="S1", units=1, more="", **options):
    world = World("report", rules=(RULE,), more=more, **options)
    world.hubs.add()
    world.hubs.hubs[HUB].body["sku"] = {"name": sku, "tier": "Standard", "capacity": units}
    world.hubs.pages = {"devices.modules": list(modules) or [[]], "devices": list(devices) or [[]]}
    return world


THREE = (
    [[module("a"), module("b", "stale")]],
    [[device("a"), device("b")], [], [device("c")]],
)


async def begin(world):
    return await start_count(world.ports, world.records.rows.get(HUB), HUB, world.hubs.hubs[HUB].body, SETTINGS)


async def counted(world):
    await begin(world)
    await world.run()
    assert not world.work.poison
    assert not world.errors
    return world.record().count


def listed(world):
    """What the list says that the facet names."""
    place = world.record().count.facet["list"]
    if place is None:
        return []
    return [json.loads(line) for line in world.lists.committed[place.removeprefix("lists/")].splitlines()]


def messages(world):
    return [(message, delay) for message, delay in world.work.sent if isinstance(message, CensusMessage)]


# --- a whole count


async def test_every_device_is_covered_silent_or_unregistered():
    world = a_world(*THREE)
    count = await counted(world)
    assert count.unread is None
    assert count.facet["counts"] == {"covered": 1, "silent": 1, "unregistered": 1}
    assert count.facet["total"] == 3
    assert count.facet["first"] == {"silent": ["b"], "unregistered": ["c"]}
    assert listed(world) == [
        {**device("b"), "coverage": "silent"},
        {**device("c"), "coverage": "unregistered"},
    ]
    assert list(world.lists.committed) == [count.facet["list"].removeprefix("lists/")]
    assert world.record().counting is None


async def test_a_small_hub_takes_one_message_and_is_judged_at_once():
    world = a_world(*THREE)
    await counted(world)
    assert len(messages(world)) == 1
    looks = [message for message, _ in world.work.sent if isinstance(message, EvaluateMessage)]
    assert [look.cause for look in looks] == [COUNTED]
    assert world.record().looked_at > world.record().count.at
    assert devices_facet(world.record(), world.hubs.hubs[HUB].body, SETTINGS, world.clock.now())["total"] == 3


async def test_where_all_are_covered_there_is_no_list():
    world = a_world([[module("a")]], [[device("a")]])
    count = await counted(world)
    assert count.facet["list"] is None
    assert not world.lists.committed
    assert not world.lists.staged


async def test_a_hub_without_devices_is_counted():
    assert (await counted(a_world())).facet["total"] == 0


async def test_one_module_that_is_alive_covers_wherever_it_is_listed():
    pages = [[module("a", "never", "azureiotsecurity")], [module("a")], [module("a", "stale", "x")]]
    for modules in (pages, pages[::-1], [[row for page in pages for row in page]]):
        assert (await counted(a_world(modules, [[device("a")]]))).facet["counts"]["covered"] == 1


async def test_a_module_of_a_device_that_is_gone_counts_for_nothing():
    assert (await counted(a_world([[module("gone")]], [[device("a")]]))).facet["counts"]["unregistered"] == 1


async def test_the_list_of_the_count_before_goes_and_that_of_this_one_stays():
    world = a_world(*THREE)
    first = await counted(world)
    world.clock.turn(hours=25)
    second = await counted(world)
    assert second.facet["list"] != first.facet["list"]
    assert list(world.lists.committed) == [second.facet["list"].removeprefix("lists/")]
    assert second.facet["counted_at"] > first.facet["counted_at"]


async def test_the_facet_names_the_first_ones_only():
    world = a_world([[]], paged([device(f"d{n}") for n in range(100)], 7))
    count = await counted(world)
    assert count.facet["first"]["unregistered"] == [f"d{n}" for n in range(SHOWN)]
    assert len(listed(world)) == 100


# --- slices


@pytest.mark.parametrize(("sku", "units", "pages"), [
    ("S1", 1, 10), ("F1", 1, 10), ("S2", 3, 30), ("S3", 1, 500), ("S3", 2, 1000), ("S1", None, 10),
    (None, "x", 10),
])  # fmt: skip
def test_half_of_what_the_hub_allows_is_asked_for(sku, units, pages):
    assert budget({"sku": {"name": sku, "capacity": units}}) == pages


async def test_no_minute_takes_more_queries_than_that():
    devices = [device(f"d{n}") for n in range(47)]
    world = a_world(paged([module(f"d{n}") for n in range(0, 47, 2)], 1), paged(devices, 2))
    asked = []
    real = world.hubs.query_devices
    world.hubs.query_devices = lambda *args: (asked.append(world.clock.at), real(*args))[1]
    await counted(world)
    assert world.record().count.facet["counts"] == {"covered": 24, "silent": 0, "unregistered": 23}
    assert len(asked) == 48
    for at in asked:
        assert sum(at <= other < at + timedelta(seconds=60) for other in asked) <= 10
    assert len(messages(world)) == 5


async def test_a_slice_ends_when_its_minute_is_over():
    world = a_world(paged([module(f"d{n}") for n in range(9)], 1), [[device("d1")]], sku="S3")
    real = world.hubs.query_devices

    async def slow(*args):
        world.clock.turn(seconds=25)
        return await real(*args)

    world.hubs.query_devices = slow
    await counted(world)
    assert world.record().count.facet["counts"]["covered"] == 1
    assert [message.slices for message, _ in messages(world)] == [0, 1, 2, 3]


async def test_every_part_is_small_and_lines_are_never_torn():
    devices = [{**device(f"{'long' * 30}{n}"), "status": "x" * 1000} for n in range(9000)]
    world = a_world([[]], paged(devices, 1000), sku="S3")
    await counted(world)
    ((_, parts),) = world.lists.staged.items()
    assert len(parts) > 1
    assert max(map(len, parts.values())) < 8 * 1024 * 1024
    assert all(part.endswith(b"\n") for part in parts.values())
    assert [entry["deviceId"] for entry in listed(world)] == [entry["deviceId"] for entry in devices]


# --- whether it begins


def record(**more):
    return HubRecord(HUB, **more)


def ago(**time):
    return START - timedelta(**time)


GOOD = DeviceCount(ago(hours=1), {"counted_at": "x", "list": None})
BAD = DeviceCount(ago(minutes=50), None, "no")


@pytest.mark.parametrize(("known", "due"), [
    (None, True),
    (record(), True),
    (record(count=GOOD), False),
    (record(count=replace(GOOD, at=ago(hours=25))), True),
    (record(count=BAD), False),
    (record(count=replace(BAD, at=ago(minutes=61))), True),
    (record(count=GOOD, new_devices_since=ago(minutes=20), count_due=ago(minutes=5)), True),
    (record(count=GOOD, new_devices_since=ago(minutes=2), count_due=START + timedelta(minutes=13)), False),
    (record(count=replace(GOOD, at=ago(hours=25)), count_due=START + timedelta(minutes=13)), False),
    (record(count=replace(GOOD, at=ago(hours=49)), count_due=START + timedelta(minutes=13)), True),
], ids=["unknown hub", "never", "fresh", "old", "failed", "failed an hour ago", "new devices", "in their grace",
        "old, in their grace", "very old, in their grace"])  # fmt: skip
def test_when_a_count_is_due(known, due):
    assert count_is_due(known, SETTINGS, START) is due


async def test_while_one_is_under_way_none_begins():
    world = a_world(*THREE)
    await begin(world)
    await begin(world)
    assert len(messages(world)) == 1


async def test_one_that_was_lost_is_begun_again_even_where_the_last_good_one_is_young():
    world = a_world(*THREE)
    lost = record(count=replace(GOOD, at=world.clock.at), counting=Counting("gone", world.clock.at))
    await world.records.save(lost, None)
    world.clock.turn(hours=1, minutes=59)
    await begin(world)
    assert not messages(world)
    world.clock.turn(minutes=2)
    await begin(world)
    assert len(messages(world)) == 1


async def test_of_two_who_begin_one_does():
    world = a_world(*THREE)
    await world.records.save(record(), None)
    stale = world.records.rows[HUB]
    await begin(world)
    body = world.hubs.hubs[HUB].body
    assert await start_count(world.ports, stale, HUB, body, SETTINGS) == stale
    assert len(messages(world)) == 1


async def test_who_begins_is_told_the_record_as_it_is_now():
    world = a_world(*THREE)
    assert await begin(world) == world.records.rows[HUB]


@pytest.mark.parametrize(("change", "says"), [
    ({"sku": {"name": "B1", "capacity": 1}}, "Basic tier B1"),
    ({"properties": {}}, "no host name"),
])  # fmt: skip
async def test_what_can_never_be_counted_costs_no_call(change, says):
    world = a_world(*THREE)
    world.hubs.hubs[HUB].body |= change
    await begin(world)
    assert not world.work.sent
    assert HUB not in world.records.rows
    facet = devices_facet(record(count=GOOD), world.hubs.hubs[HUB].body, SETTINGS, START)
    assert says in facet.reason
    assert not facet.passing


async def test_new_devices_whose_grace_is_over_are_taken_over_and_others_wait():
    for due, left in ((-1, None), (10, START + timedelta(minutes=10))):
        world = a_world(*THREE)
        at = START + timedelta(minutes=due)
        await world.records.save(record(new_devices_since=ago(minutes=20), count_due=at), None)
        await counted(world)
        assert world.record().count_due == left
        assert (world.record().new_devices_since is None) is (left is None)


# --- what it comes to


@pytest.mark.parametrize(("known", "says"), [
    (None, "are being counted"),
    (record(), "are being counted"),
    (record(count=BAD), "could not be counted on 2026-11-23 08:10 UTC: no"),
    (record(count=replace(GOOD, at=ago(hours=74))), "the last count of the devices is of 2026-11-20 07:00 UTC"),
])  # fmt: skip
def test_without_a_count_that_is_good_nothing_is_known(known, says):
    facet = devices_facet(known, hub_body(HUB), SETTINGS, START)
    assert isinstance(facet, Unread)
    assert says in facet.reason
    assert not facet.passing


@pytest.mark.parametrize("hours", [0, 25, 72])
def test_until_then_the_last_count_stands_also_while_another_is_under_way(hours):
    known = record(count=replace(GOOD, at=ago(hours=hours)), counting=Counting("r", START))
    assert devices_facet(known, hub_body(HUB), SETTINGS, START) == GOOD.facet


# --- trouble


@pytest.mark.parametrize("error", [
    DeniedError("asking x: HTTP 401: the role IoT Hub Data Reader is missing"), PermanentError("no JSON"),
    HubGoneError("404"),
], ids=lambda error: type(error).__name__)  # fmt: skip
@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_refusal_ends_the_count_with_its_reason_and_the_hub_is_judged(error, after):
    world = a_world(*THREE)
    await world.records.save(record(count=GOOD), None)
    world.clock.turn(hours=25)
    real, calls = world.hubs.query_devices, []

    async def refuse(*args):
        calls.append(args)
        if len(calls) > after:
            raise error
        return await real(*args)

    world.hubs.query_devices = refuse
    count = await counted(world)
    assert (count.facet, count.unread) == (None, str(error))
    assert world.record().counting is None
    assert [message.cause for message, _ in world.work.sent if isinstance(message, EvaluateMessage)] == [COUNTED]
    assert not world.lists.committed
    assert str(error) in world.record().unknown.get("defender-devices", str(error))


async def test_throttling_before_the_first_page_puts_the_slice_off_as_long_as_azure_wants():
    world = a_world(*THREE)
    world.hubs.faults["query"] = [TransientError("429", retry_after=timedelta(seconds=77))]
    await counted(world)
    assert world.record().count.facet["total"] == 3
    assert [(message.attempt, delay) for message, delay in messages(world)] == [
        (0, timedelta(0)), (1, timedelta(seconds=77)),
    ]  # fmt: skip


async def test_throttling_later_keeps_the_pages_that_were_read():
    world = a_world(paged([module(f"d{n}") for n in range(6)], 1), [[device(f"d{n}") for n in range(6)]])
    real, calls = world.hubs.query_devices, []

    async def throttle(*args):
        calls.append(args)
        if len(calls) in {4, 8}:
            raise TransientError("429", retry_after=timedelta(minutes=5))
        return await real(*args)

    world.hubs.query_devices = throttle
    await counted(world)
    assert world.record().count.facet["counts"]["covered"] == 6
    assert len(calls) == 6 + 1 + 2
    (_, (second, wait), *_) = messages(world)
    assert (second.attempt, wait) == (0, timedelta(minutes=5))


async def test_what_never_answers_ends_the_count_and_nothing_is_poisoned():
    world = a_world(*THREE)
    world.hubs.faults["query"] = [TransientError("no connection to hub-1.azure-devices.net")] * 50
    count = await counted(world)
    assert count.unread == f"no connection to hub-1.azure-devices.net; it was tried {TRIES} times"
    assert len(world.hubs.faults["query"]) == 50 - TRIES - 1


@pytest.mark.parametrize("pages", [
    ([[{"moduleId": "x", **STATES["never"]}]], [[]]),
    ([[{"deviceId": "a", "moduleId": "x"}]], [[]]),
    ([[]], [[{"status": "enabled"}]]),
    ([[]], [[{"deviceId": None}]]),
])  # fmt: skip
async def test_rows_that_are_not_what_was_asked_for_prove_nothing(pages):
    count = await counted(a_world(*pages))
    assert count.facet is None
    assert "row" in count.unread


# --- messages that come late, twice, or of nowhere


async def test_a_message_of_another_count_is_dropped():
    world = a_world(*THREE)
    await begin(world)
    before = world.records.rows[HUB]
    ((message, _),) = messages(world)
    for stray in (
        message.model_copy(update={"run": "other"}),
        message.model_copy(update={"hub": hub_id("x").path}),
    ):
        await census(world.ports, stray)
    assert world.records.rows[HUB] == before
    assert world.hubs.count("query") == 0


@pytest.mark.parametrize("page", range(1, 5))
async def test_a_slice_that_was_overtaken_by_a_newer_count_leaves_that_one_alone(page):
    world = a_world(*THREE)
    await begin(world)
    real, calls = world.hubs.query_devices, []

    async def overtaken(*args):
        calls.append(args)
        if len(calls) == page:
            world.clock.turn(hours=3)
            await begin(world)
        return await real(*args)

    world.hubs.query_devices = overtaken
    old = messages(world)[0][0]
    await census(world.ports, old)
    (new,) = (message for message, _ in messages(world) if message.run != old.run)
    assert world.record().count is None
    assert world.record().counting.run == new.run
    await world.run()
    assert world.record().count.facet["total"] == 3
    assert new.run in world.record().count.facet["list"]


async def test_a_message_that_was_worked_on_is_dropped_even_if_it_comes_again_much_later():
    rows = [device(f"d{n}") for n in range(30)]
    world = a_world([[]], paged(rows, 1))
    await begin(world)
    ((first, _),) = messages(world)
    await world.run(until=timedelta(seconds=90))
    asked = world.hubs.count("query")
    await census(world.ports, first)
    assert world.hubs.count("query") == asked
    await world.run()
    assert world.record().count.facet["total"] == 30
    assert [entry["deviceId"] for entry in listed(world)] == [row["deviceId"] for row in rows]


async def test_a_count_that_goes_on_for_hours_is_not_taken_for_lost():
    rows = [device(f"d{n}") for n in range(2000)]
    world = a_world([[]], paged(rows, 1))
    await begin(world)
    for _ in range(16):
        await world.run(until=timedelta(minutes=15))
        await begin(world)
    assert world.record().count.facet["total"] == 2000
    assert sum(message.slices == 0 for message, _ in messages(world)) == 1


@pytest.mark.parametrize("mode", ["off", "elsewhere"])
async def test_what_nobody_wants_is_not_asked_for(mode):
    world = a_world(*THREE)
    await begin(world)
    watched = World("off" if mode == "off" else "report", rules=(RULE,)).policy
    if mode == "elsewhere":
        watched = watched.model_copy(update={"subscriptions": ["00000000-0000-0000-0000-000000000000"]})
    world.policy = watched
    await world.run()
    assert world.hubs.count("query") == 0


async def test_a_hub_that_is_forgotten_meanwhile_is_dropped():
    world = a_world(*THREE)
    await begin(world)
    await world.records.forget(HUB)
    await world.run()
    assert HUB not in world.records.rows
    assert not world.work.poison


async def test_nothing_but_the_devices_that_lack_something_is_kept():
    world = a_world([[module("covered-1")]], [[device("covered-1")]])
    await counted(world)
    assert "covered-1" not in repr(world.record())


# --- whatever dies


def long_world(**options):
    names = [f"d{n}" for n in range(13)]
    modules = [module(name, state) for name, state in zip(names, [*STATES] * 2, strict=False)]
    return a_world([[], *paged(modules, 1), []], [[], *paged([device(name) for name in names], 2)], **options)


async def test_a_worker_that_dies_at_any_call_leaves_a_right_count():
    for gate in range(1, 1000):
        world = long_world()
        world.gates.kill_at = gate
        with suppress(Killed):
            await begin(world)
        await world.run()
        for _ in range(3):  # what sweeps do
            world.clock.turn(hours=1)
            await begin(world)
            await world.run()
        assert world.record().count.facet["counts"] == {"covered": 4, "silent": 4, "unregistered": 5}
        assert len(listed(world)) == 9
        assert world.record().counting is None
        assert world.record().looked_at > world.record().count.at
        assert not world.work.poison
        if not world.killed and world.gates.passed < gate:
            assert gate > 80
            return
    raise AssertionError("it never ends")


async def test_only_one_that_dies_right_after_it_began_leaves_it_to_be_begun_again():
    again = []
    for gate in range(1, 90):
        world = long_world()
        world.gates.kill_at = gate
        with suppress(Killed):
            await begin(world)
        await world.run()
        if world.record() is None or world.record().count is None:
            again.append(world.gates.calls[gate - 1])
    assert again == ["before FakeRecords.save", "after FakeRecords.save", "before FakeWork.send"]


IDS = st.text("abAB019:.+%_#*?!(),=@;$'-", min_size=1, max_size=128)


@st.composite
def fleets(draw):
    ids = draw(st.lists(IDS, unique=True, max_size=40))
    modules = {name: draw(st.lists(st.sampled_from([*STATES]), max_size=3)) for name in ids}
    rows = [module(name, state, f"m{n}") for name, states in modules.items() for n, state in enumerate(states)]
    rows = draw(st.permutations(rows))
    return modules, draw(cut(rows)), draw(cut([device(name) for name in ids]))


@st.composite
def cut(draw, rows):
    places = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=25)))
    return [rows[a:b] for a, b in zip([0, *places], [*places, len(rows)], strict=True)]


@given(fleet=fleets(), seed=st.integers(0, 2**32), faults=st.lists(st.integers(0, 400), max_size=4))
@settings(max_examples=150)
async def test_counts_are_what_a_simple_count_gives_whatever_comes_twice_or_in_any_order(fleet, seed, faults):
    modules, module_pages, device_pages = fleet
    world = a_world(module_pages, device_pages, seed=seed)
    world.deliver_twice = 0.3
    world.hubs.faults["query"] = [TransientError("429", retry_after=timedelta(seconds=s)) for s in faults]
    await counted(world)
    expected = Counter(
        "unregistered" if not states else "covered" if ALIVE & set(states) else "silent"
        for states in modules.values()
    )
    facet = world.record().count.facet
    assert Counter(facet["counts"]) == expected
    assert facet["total"] == len(modules)
    uncovered = [name for name, states in modules.items() if not ALIVE & set(states)]
    assert [entry["deviceId"] for entry in listed(world)] == uncovered
    for coverage, ids in facet["first"].items():
        of_it = [entry["deviceId"] for entry in listed(world) if entry["coverage"] == coverage]
        assert ids == of_it[:SHOWN]
    assert len(world.lists.committed) == bool(uncovered)


async def test_a_list_that_never_ends_is_given_up_after_two_days():
    world = a_world()

    async def endless(_host, _query, continuation=None):
        return Page([], f"{int(continuation or 0) + 1}")

    world.hubs.query_devices = endless
    await begin(world)
    await world.run(until=timedelta(days=3), most=5000)
    count = world.record().count
    assert count.facet is None
    assert count.unread == "the count did not come to an end within 2 days, 0:00:00"
    assert world.record().counting is None


async def test_a_slice_that_takes_long_to_get_ready_still_asks_for_a_page():
    world = a_world([[module("a")]], [[device("a")], [device("b")]])
    lines = world.lists.lines

    async def slow(name):
        world.clock.turn(seconds=90)
        async for line in lines(name):
            yield line

    world.lists.lines = slow
    assert (await counted(world)).facet["total"] == 2
