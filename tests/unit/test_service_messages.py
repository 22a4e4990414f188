"""Messages, put-off, poison, fingerprints, health: the small parts."""

from __future__ import annotations

import json

from datetime import UTC, timedelta

import pytest

from hypothesis import example, given
from hypothesis import strategies as st

from hubwarden import __version__
from hubwarden.adapters.ncrontab import next_due
from hubwarden.domain.finding import Actor
from hubwarden.service.bury import bury
from hubwarden.service.errors import StorageUnavailableError, TransientError
from hubwarden.service.fingerprint import changed_since, fingerprint
from hubwarden.service.health import health
from hubwarden.service.messages import (
    EvaluateMessage,
    MalformedMessageError,
    Queue,
    RemediateMessage,
    SweepMessage,
    TicketMessage,
    VerifyMessage,
    parse,
    queue_of,
)
from hubwarden.service.ports import SweepRecord
from hubwarden.service.put_off import TRIES, backoff, put_off
from tests.unit.fakes import HUB, START, SUB, World, ask, hub_body


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
TIMES = st.datetimes(timezones=st.just(UTC))
ACTORS = st.builds(Actor, *[st.none() | WORDS] * 3)
HUBS = st.just(HUB.path)
ATTEMPTS = st.integers(0, 1000)
MESSAGES = st.one_of(
    st.builds(
        EvaluateMessage, hub=HUBS, attempt=ATTEMPTS, asked_at=TIMES, cause=WORDS,
        actor=st.none() | ACTORS, changed_at=st.none() | TIMES,
    ),
    st.builds(SweepMessage, subscription=WORDS, attempt=ATTEMPTS),
    st.builds(RemediateMessage, hub=HUBS, attempt=ATTEMPTS),
    st.builds(VerifyMessage, hub=HUBS, attempt=ATTEMPTS, digest=WORDS, give_up_at=TIMES),
    st.builds(TicketMessage, hub=HUBS, attempt=ATTEMPTS, finding=WORDS),
)  # fmt: skip


@given(message=MESSAGES)
def test_a_message_is_read_as_it_was_written(message):
    assert parse(queue_of(message), message.model_dump_json()) == message


GOOD = json.loads(ask().model_dump_json())


@given(queue=st.sampled_from(Queue), text=st.text() | st.text(st.characters()) | st.recursive(
    st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
).map(json.dumps) | st.tuples(st.sampled_from([*GOOD, "v", "digest"]), st.none() | st.integers() | st.text()).map(
    lambda change: json.dumps(GOOD | {change[0]: change[1]})
))  # fmt: skip
@example(queue=Queue.EVALUATE, text="\ud800")
@example(queue=Queue.EVALUATE, text='"\ud800"')
@example(queue=Queue.EVALUATE, text="[" * 100_000)
@example(queue=Queue.VERIFY, text='{"attempt": 1e999}')
@example(queue=Queue.EVALUATE, text=json.dumps(GOOD | {"asked_at": 10**300}))
def test_what_is_no_message_is_malformed_and_nothing_else(queue, text):
    try:
        parse(queue, text)
    except MalformedMessageError as error:
        said = str(error)
    else:
        return
    assert "\n" not in said
    assert str(queue) in said


@pytest.mark.parametrize(("change", "says"), [
    ({"v": 2}, "is of version 2, and this app reads those up to 1"),
    ({"v": 0}, "v: "),
    ({"hub": "AccountKey=c2VjcmV0"}, "hub: Value error, names no IoT Hub"),
    ({"attempt": 1001}, "attempt: "),
    ({"asked_at": "2026-11-23T09:00:00"}, "asked_at: "),
    ({"AccountKey=c2VjcmV0extra": "c2VjcmV0"}, ""),
])  # fmt: skip
def test_what_is_wrong_is_said_without_the_content(change, says):
    with pytest.raises(MalformedMessageError) as caught:
        parse(Queue.EVALUATE, json.dumps(GOOD | change))
    assert says in str(caught.value)
    assert 'c2VjcmV0"' not in str(caught.value)
    if "hub" in change:
        assert "c2VjcmV0" not in str(caught.value)


def test_a_message_of_another_queue_is_malformed():
    with pytest.raises(MalformedMessageError):
        parse(Queue.REMEDIATE, ask().model_dump_json())


def test_a_hub_is_written_in_lower_case():
    assert RemediateMessage(hub=HUB.path.upper()).hub == HUB.path


# --- put off


def test_backing_off_doubles_up_to_fifteen_minutes():
    seconds = [backoff(attempt).total_seconds() for attempt in range(12)]
    assert seconds == [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
    assert backoff(10**6) == timedelta(minutes=15)


@given(attempt=st.integers(0, TRIES - 1), wait=st.none() | st.integers(0, 86_400))
async def test_azures_own_wish_is_never_undercut(attempt, wait):
    world = World()
    retry_after = None if wait is None else timedelta(seconds=wait)
    await put_off(world.ports, ask(attempt=attempt), TransientError("busy"), retry_after=retry_after)
    ((message, delay),) = world.work.sent
    assert message == ask(attempt=attempt + 1)
    assert delay == max(backoff(attempt), retry_after or timedelta(0))


@pytest.mark.parametrize("message", [ask(attempt=TRIES), SweepMessage(subscription=SUB, attempt=TRIES)])
async def test_what_was_put_off_too_often_goes_to_the_poison_queue(message):
    world = World()
    await put_off(world.ports, message, TransientError("busy"))
    assert not world.work.letters
    assert world.work.poison == [(Queue.EVALUATE, message.model_dump_json())]


# --- bury


async def test_what_is_no_message_is_buried_whole_with_the_reason():
    world = World()
    reason = await bury(Queue.VERIFY, "garbage \ud800"[:8], graveyard=world.graveyard, audit=world.audit)
    assert "no message of hubwarden-verify" in reason
    assert world.graveyard.buried == [(Queue.VERIFY, "garbage ", reason)]
    (line,) = world.audit.of("poison")
    assert line["kept"] == "grave/1"
    assert line["reason"] == reason
    assert len(line["sha256"]) == 64


async def test_work_that_failed_every_time_is_buried_as_such():
    world = World()
    reason = await bury(Queue.EVALUATE, ask().model_dump_json(), graveyard=world.graveyard, audit=world.audit)
    assert reason.startswith("the work failed each time it was tried")


async def test_half_a_surrogate_pair_can_be_buried_too():
    world = World()
    await bury(Queue.VERIFY, "\ud800", graveyard=world.graveyard, audit=world.audit)
    assert world.graveyard.buried[0][1] == "\ud800"


# --- fingerprint


def test_what_azure_changes_by_itself_is_no_change():
    before, after = hub_body(HUB), hub_body(HUB)
    after["etag"], after["systemData"] = "new", {"lastModifiedAt": "now"}
    after["properties"] |= {"provisioningState": "Succeeded", "state": "Active", "locations": [1], "hostName": "x"}
    assert changed_since(fingerprint(before), after) == []


def test_each_member_that_somebody_changed_is_named():
    before, after = hub_body(HUB), hub_body(HUB)
    after["tags"] = {"team": "other"}
    after["properties"]["routing"]["fallbackRoute"]["isEnabled"] = False
    del after["properties"]["unheardOf"]
    after["properties"]["brandNew"] = None
    del after["sku"]
    assert changed_since(fingerprint(before), after) == [
        "properties.brandNew", "properties.routing", "properties.unheardOf", "sku", "tags",
    ]  # fmt: skip


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x, max_size=3), max_leaves=8,
)  # fmt: skip


@given(body=st.dictionaries(st.text(), VALUES, max_size=5))
@example(body={"big": 10**40})
@example(body={"properties": {"infinite": 1e999}})
@example(body={"properties": None})
def test_any_body_has_a_fingerprint_that_tells_nothing(body):
    made = fingerprint(body)
    assert changed_since(made, json.loads(json.dumps(body))) == []
    assert all(value.startswith("sha256:") and len(value) == 23 for value in made.values())


# --- health


SUMMARY = "evaluated 4 of 6 facets on 2 of 3 hubs, 1 with drift"
EVERY_QUARTER = timedelta(minutes=15)


async def told(world, *, not_ready=None, warnings=()):
    return await health(
        world.records, world.findings, world.work, world.clock,
        next_sweep=lambda after: after + EVERY_QUARTER, not_ready=not_ready, warnings=warnings,
    )  # fmt: skip


async def swept(world, *, minutes_ago=0, unknown=()):
    at = world.clock.at - timedelta(minutes=minutes_ago)
    await world.records.add_sweep(SweepRecord((SUB,), at, at, 3, 2, 1, dict(unknown), {"d": "dead"}, 6, 4, 2))


async def test_health_of_a_fresh_install():
    assert await told(World(), warnings=["careful"]) == {
        "ready": True, "reason": None, "enforcement": None, "version": __version__, "last_sweep": None,
        "warnings": ["careful", "there was no sweep yet: nothing is known of any hub"],
        "queues": {queue.value: 0 for queue in Queue}, "kill": None, "held": 0,
    }  # fmt: skip


async def test_health_tells_of_the_last_sweep():
    world = World()
    await swept(world, minutes_ago=15)
    await swept(world, unknown={"x": "why"})
    said = await told(world, not_ready="broken")
    assert (said["ready"], said["reason"]) == (False, "broken")
    assert said["last_sweep"] == {
        "started_at": "2026-11-23T09:00:00+00:00", "finished_at": "2026-11-23T09:00:00+00:00", "complete": False,
        "summary": SUMMARY, "listkeys_saved": 2,
        "unknown": {"x": "why"}, "dead": {"d": "dead"},
    }  # fmt: skip
    [warning] = said["warnings"]
    assert warning == f"the last sweep is incomplete ({SUMMARY}): `unknown` says what could not be judged, and why"
    json.dumps(said)


@pytest.mark.parametrize(("minutes", "overdue"), [(0, False), (29, False), (31, True), (6000, True)])
async def test_a_sweep_that_did_not_come_is_overdue(minutes, overdue):
    world = World()
    await swept(world, minutes_ago=minutes)
    said = (await told(world))["warnings"]
    assert [warning.startswith("a sweep is overdue: it was due at") for warning in said] == [True] * overdue


async def test_what_waits_in_a_poison_queue_is_a_warning():
    world = World()
    await swept(world)
    depths = {"hubwarden-verify": 3, "hubwarden-verify-poison": 2, "hubwarden-census-poison": 0}

    async def queues():
        return depths

    world.work.depths = queues
    assert (await told(world))["warnings"] == [
        "2 message(s) that nobody could use wait in hubwarden-verify-poison"
    ]


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        ("0 */15 * * * *", "2026-11-23T09:15:00+00:00"),
        ("0 0 6 * * 1-5", "2026-11-24T06:00:00+00:00"),
        ("0 0 6 13 * 5", "2027-08-13T06:00:00+00:00"),
        ("", None),
        ("01:00:00", None),
        ("nonsense", None),
    ],
)
def test_when_the_next_sweep_is_due(schedule, due):
    found = next_due(schedule, START)
    assert (found and found.isoformat()) == due


async def test_an_audit_trail_that_is_down_leaves_the_text_buried_and_the_poison_message_where_it_is():
    world = World()
    world.audit.fails = lambda *_: True
    with pytest.raises(StorageUnavailableError):
        await bury(Queue.VERIFY, "x", graveyard=world.graveyard, audit=world.audit)
    assert world.graveyard.buried
