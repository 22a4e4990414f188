"""What Event Grid could not deliver is read back: every event is routed, and nothing is removed before that."""

from __future__ import annotations

import json

from datetime import timedelta

import pytest

from hypothesis import given
from hypothesis import strategies as st

from hubwarden.domain.finding import State
from hubwarden.service import dead_letters
from hubwarden.service.dead_letters import read_back
from hubwarden.service.errors import StaleWriteError, StorageRefusedError, StorageUnavailableError
from hubwarden.service.messages import EvaluateMessage
from tests.unit.fakes import HUB, OWN, SOMEBODY, Killed, World, arm_event, hub_id
from tests.unit.test_service_device_events import created
from tests.unit.test_service_events import cloud_event


def undelivered(event):
    """As Event Grid writes it: the event's own members, and why it was not delivered."""
    if "specversion" in event:
        told = {"deadletterreason": "MaxDeliveryAttemptsExceeded", "lastdeliveryoutcome": "TimedOut"}
        return event | told | {"deliveryattempts": 30, "publishtime": "2026-11-23T09:00:00.0265758Z"}
    told = {"deadLetterReason": "MaxDeliveryAttemptsExceeded", "lastDeliveryOutcome": "TimedOut"}
    times = dict.fromkeys(("publishTime", "lastDeliveryAttemptTime"), "2026-11-23T09:00:00.0265758Z")
    return event | told | times | {"deliveryAttempts": 30}


async def read(world, route=None):
    return await read_back(world.dead_letters, route=route or world.event, audit=world.audit, clock=world.clock)


def asked(world):
    return [message.hub_id.name for message in world.work.of(EvaluateMessage)]


@pytest.mark.parametrize("shape", [dict, cloud_event], ids=["EventGridSchema", "CloudEventSchemaV1_0"])
async def test_an_event_is_routed_and_its_letter_is_gone(shape, caplog):
    world = World()
    name = world.dead_letters.leave([undelivered(shape(arm_event()))])
    done = await read(world)
    assert asked(world) == [HUB.name]
    assert not world.dead_letters.blobs
    assert (done.letters, done.events, done.set_aside, done.more) == (1, 1, 0, False)
    [line] = world.audit.of("dead_letter")
    assert line["letter"] == name
    assert line["reasons"] == {"MaxDeliveryAttemptsExceeded, last TimedOut": 1}
    assert line["set_aside"] is None
    [record] = [r for r in caplog.records if r.levelname == "WARNING"]
    assert "could not deliver 1 event(s) in 1 dead letter(s)" in record.message
    assert "1 × MaxDeliveryAttemptsExceeded, last TimedOut" in record.message


async def test_the_hub_is_put_right_and_the_event_says_who_did_it():
    world = World()
    world.hubs.add()
    world.dead_letters.leave([undelivered(world.hubs.change())])
    world.clock.turn(hours=20)
    await read(world)
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.finding().actor.object_id == SOMEBODY
    assert not world.violations


async def test_our_own_changes_are_dropped_as_ever():
    world = World()
    world.dead_letters.leave([undelivered(arm_event(by=OWN.object_id))])
    assert (await read(world)).events == 1
    assert not world.work.letters
    assert not world.dead_letters.blobs


async def test_nothing_waits_and_nothing_is_said(caplog):
    world = World()
    done = await read(world)
    assert (done.letters, done.more) == (0, False)
    assert not caplog.records
    assert not world.audit.lines


async def test_one_letter_with_many_events():
    world = World()
    world.dead_letters.leave([undelivered(arm_event(hub_id(f"hub-{number}"))) for number in range(5)])
    await read(world)
    assert asked(world) == [f"hub-{number}" for number in range(5)]
    assert world.audit.of("dead_letter")[0]["events"] == 5


async def test_a_run_takes_the_oldest_and_leaves_the_rest_for_the_next(monkeypatch):
    monkeypatch.setattr(dead_letters, "LETTERS", 3)
    world = World()
    for number in range(5):
        world.dead_letters.leave([arm_event(hub_id(f"hub-{number}"))], name=f"{9 - number}.json")
    assert (await read(world)).more
    assert asked(world) == ["hub-0", "hub-1", "hub-2"]
    assert not (await read(world)).more
    assert asked(world) == [f"hub-{number}" for number in range(5)]


async def test_a_run_ends_after_so_many_events(monkeypatch):
    monkeypatch.setattr(dead_letters, "EVENTS", 4)
    world = World()
    for _ in range(3):
        world.dead_letters.leave([arm_event()] * 3)
    done = await read(world)
    assert (done.letters, done.events, done.more) == (2, 6, True)
    assert len(world.dead_letters.blobs) == 1


BAD = {
    "no json": (b"PK\x03\x04", "it is no JSON (JSONDecodeError)"),
    "no utf-8": (b'[{"eventType": "\xff"}]', "it is no JSON (UnicodeDecodeError)"),
    "text": (b"jo.doe@example.com", "it is no JSON (JSONDecodeError)"),
    "empty": (b"", "it is no JSON (JSONDecodeError)"),
    "deep": (b"[" * 100_000, "it is no JSON (RecursionError)"),
    "number": (b"7", "1 of 1 elements are no events"),
    "no type": (b'[{"name": "jo.doe@example.com"}]', "1 of 1 elements are no events"),
    "type is no text": (b'[{"eventType": 3}]', "1 of 1 elements are no events"),
}


@pytest.mark.parametrize(("content", "why"), BAD.values(), ids=BAD)
async def test_what_cannot_be_read_is_set_aside_where_it_lies_told_once_and_repeated_nowhere(content, why, caplog):
    caplog.set_level("DEBUG")
    world = World()
    name = world.dead_letters.leave(content)
    world.dead_letters.leave([arm_event()])
    done = await read(world)
    assert (done.letters, done.set_aside, done.events) == (2, 1, 1), "it stands in nobody's way"
    assert world.dead_letters.aside == {name: why}
    assert world.dead_letters.blobs == {name: content}
    assert [line["set_aside"] for line in world.audit.of("dead_letter")] == [why, None]
    assert not world.graveyard.buried
    assert "example.com" not in caplog.text + json.dumps(world.audit.lines)
    assert (await read(world)).letters == 0
    assert asked(world) == [HUB.name]


async def test_what_is_too_large_is_not_read(monkeypatch):
    monkeypatch.setattr(dead_letters, "LARGEST", 10)
    world = World()
    [name] = [world.dead_letters.leave([arm_event()])]
    await read(world)
    assert "more than 10" in world.dead_letters.aside[name]
    assert "before FakeDeadLetters.read" not in world.gates.calls


async def test_the_events_of_a_letter_that_holds_something_else_too_are_routed():
    world = World()
    name = world.dead_letters.leave([arm_event(), "no event", None])
    await read(world)
    assert asked(world) == [HUB.name]
    assert world.dead_letters.aside == {name: "2 of 3 elements are no events"}


async def test_an_object_alone_is_one_event():
    world = World()
    world.dead_letters.leave(arm_event())
    await read(world)
    assert asked(world) == [HUB.name]


async def test_a_letter_that_goes_meanwhile_is_no_harm(caplog):
    world = World()
    name = world.dead_letters.leave([arm_event()])
    waiting = await world.dead_letters.waiting(5)
    world.dead_letters.blobs.pop(name)

    async def still(_most):
        return waiting

    world.dead_letters.waiting = still
    done = await read(world)
    assert (done.letters, done.events) == (0, 0)
    assert not world.audit.lines
    assert not caplog.records


async def test_storage_that_is_down_leaves_everything_for_the_next_run():
    world = World()
    for number in range(2):
        world.dead_letters.leave([arm_event(hub_id(f"hub-{number}"))])

    async def down(_event):
        raise StorageUnavailableError("queue hubwarden-evaluate: HTTP 503")

    with pytest.raises(StorageUnavailableError):
        await read(world, down)
    assert len(world.dead_letters.blobs) == 2
    assert not world.dead_letters.aside
    world.dead_letters.down = True
    with pytest.raises(StorageUnavailableError):
        await read(world)
    world.dead_letters.down = False
    await read(world)
    assert asked(world) == ["hub-0", "hub-1"]


async def test_without_an_audit_line_nothing_is_removed():
    world = World()
    world.dead_letters.leave([arm_event()])
    world.audit.fails = lambda kind, _: kind == "dead_letter"
    with pytest.raises(StorageUnavailableError):
        await read(world)
    assert world.dead_letters.blobs


@pytest.mark.parametrize("error", [StaleWriteError("five times"), StorageRefusedError("one row is broken")])
async def test_a_race_or_one_broken_row_leaves_the_letter_and_the_others_are_read(error):
    world = World()
    first = world.dead_letters.leave([created()])
    world.dead_letters.leave([arm_event()])

    async def route(event):
        if event["eventType"] == created()["eventType"]:
            raise error
        await world.event(event)

    assert (await read(world, route)).put_off == 1
    assert list(world.dead_letters.blobs) == [first]
    assert not world.dead_letters.aside
    assert asked(world) == [HUB.name]


async def test_letters_that_never_can_be_routed_do_not_stand_before_the_others_for_ever(monkeypatch):
    monkeypatch.setattr(dead_letters, "LETTERS", 2)
    world = World()
    stuck = [world.dead_letters.leave([created()]) for _ in range(2)]
    world.dead_letters.leave([arm_event()])

    async def route(event):
        if event["eventType"] == created()["eventType"]:
            raise StorageRefusedError("one row is broken")
        await world.event(event)

    for _ in range(2):
        await read(world, route)
        world.clock.turn(hours=3)
    assert not asked(world)
    await read(world, route)
    assert world.dead_letters.aside == dict.fromkeys(stuck, "it could not be routed for hours: one row is broken")
    await read(world, route)
    assert asked(world) == [HUB.name]


async def test_a_run_ends_before_the_time_of_a_function_does():
    world = World()
    for _ in range(3):
        world.dead_letters.leave([arm_event()])

    async def slow(event):
        await world.event(event)
        world.clock.turn(minutes=3)

    done = await read(world, slow)
    assert (done.letters, done.more, len(world.dead_letters.blobs)) == (2, True, 1)


async def test_a_letter_of_more_events_than_a_run_can_route_is_set_aside_and_not_begun_again_for_ever(monkeypatch):
    monkeypatch.setattr(dead_letters, "MANY", 3)
    world = World()
    name = world.dead_letters.leave([arm_event()] * 4)
    world.dead_letters.leave([arm_event()] * 3)
    await read(world)
    assert world.dead_letters.aside == {name: "it has 4 events, more than 3"}
    assert asked(world) == [HUB.name] * 3


async def test_a_fault_of_ours_sets_one_letter_aside_and_the_others_are_read():
    world = World()
    first = world.dead_letters.leave([arm_event(hub_id("evil"))])
    world.dead_letters.leave([arm_event()])

    async def route(event):
        if "EVIL" in event["subject"]:
            raise ZeroDivisionError("jo.doe@example.com")
        await world.event(event)

    await read(world, route)
    assert world.dead_letters.aside == {first: "hubwarden failed on it: ZeroDivisionError"}
    assert asked(world) == [HUB.name]


async def test_whenever_it_is_killed_no_event_is_lost():
    gate = 0
    while True:
        world = World()
        for number in range(2):
            world.dead_letters.leave([arm_event(hub_id(f"hub-{number}"))])
        gate += 1
        world.gates.kill_at = gate
        try:
            await read(world)
        except Killed:
            world.gates.kill_at = None
            await read(world)
            assert set(asked(world)) == {"hub-0", "hub-1"}
            assert not world.dead_letters.blobs
            assert len(world.audit.of("dead_letter")) in {2, 3}
        else:
            break
    assert gate > 10


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.just("type"), inner, max_size=4),
    max_leaves=10,
)


@given(JSON | st.lists(st.just(undelivered(arm_event())) | JSON, max_size=4))
async def test_whatever_lies_there_is_read_or_set_aside(content):
    world = World()
    name = world.dead_letters.leave(content)
    done = await read(world)
    assert done.letters == 1
    assert (name in world.dead_letters.aside) != (name not in world.dead_letters.blobs)


def test_reasons_are_words():
    event = {"deadLetterReason": "Max\nforged <b>" + "x" * 500, "lastDeliveryOutcome": ["TimedOut"]}
    told = dead_letters._reason(event)
    assert told.startswith("Maxforgedbxxx")
    assert told.endswith(", last unknown")
    assert len(told) < 80


async def test_a_late_event_of_a_deletion_buries_no_hub_on_one_404():
    world = World()
    world.hubs.add()
    await world.sweep()
    deletion = arm_event(kind="Microsoft.Resources.ResourceDeleteSuccess", at=world.clock.now())
    world.dead_letters.leave([undelivered(deletion)])
    world.clock.turn(hours=3)
    await read(world)
    world.hubs.hubs[HUB].gone = True
    await world.run(until=timedelta(seconds=1))
    assert world.record() is not None
    world.hubs.hubs[HUB].gone = False
    await world.run()
    assert world.record().missing_since is None
