"""sweep: events can be lost; the sweep is the truth, and says exactly what it did not see."""

from __future__ import annotations

import asyncio

from datetime import timedelta

import pytest

from hubwarden.domain.finding import State
from hubwarden.service.errors import (
    ConflictError,
    DeniedError,
    HubGoneError,
    PermanentError,
    StaleWriteError,
    StorageRefusedError,
    TransientError,
)
from hubwarden.service.messages import EvaluateMessage, RemediateMessage, SweepMessage
from hubwarden.service.sweep import HUBS_AT_ONCE, SUBSCRIPTIONS_AT_ONCE, sweep
from tests.unit.fakes import HUB, SUB, SUB2, World, ask, hub_id, policy


ACTION = "Microsoft.Devices/IotHubs/read"
HUBS = [hub_id(f"hub-{number}") for number in (1, 2, 3)]
OTHER = hub_id("other", SUB2)


def listing(error, *, subscription=SUB, after=0):
    error.subscription, error.after = subscription, after
    return error


async def three(mode="report", **properties):
    world = World(mode)
    for hub in HUBS:
        world.hubs.add(hub, **properties)
    world.hubs.add(OTHER, **properties)
    await world.sweep()
    world.hubs.calls.clear()
    return world


async def test_a_lost_event_costs_only_time():
    world = World()
    world.hubs.add()
    await world.sweep()
    world.hubs.change()
    await world.sweep()
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.finding().history[0].reason.startswith("sweep: ")


async def test_the_record_says_what_was_seen():
    world = await three()
    world.hubs.change(HUBS[1])
    record = await world.sweep()
    assert record.subscriptions == (SUB, SUB2)
    assert (record.hubs, record.evaluated, record.drifting) == (4, 4, 1)
    assert record.complete
    assert record.summary == "evaluated 4 of 4 facets on 4 of 4 hubs, 1 with drift"
    assert (record.unknown, record.dead) == ({}, {})
    assert record.started_at < record.finished_at
    assert await world.records.last_sweep() == record
    assert world.audit.of("sweep")[-1] == {
        "summary": record.summary, "subscriptions": [SUB, SUB2], "unknown": {}, "dead": {}
    }  # fmt: skip


async def test_it_costs_one_list_a_subscription_and_no_read():
    world = await three()
    await world.sweep()
    assert sorted(world.hubs.calls) == [("list", SUB), ("list", SUB2)]


async def test_a_subscription_named_twice_is_swept_once():
    world = World("report")
    world.policy = policy("report", subscriptions=[SUB, SUB.upper()])
    world.hubs.add()
    record = await world.sweep()
    assert record.summary == "evaluated 1 of 1 facets on 1 of 1 hubs, 0 with drift"
    assert world.hubs.calls == [("list", SUB)]


@pytest.mark.parametrize("error", [
    TransientError("503"), DeniedError("403: no right"), PermanentError("no JSON"), ConflictError("409"),
    HubGoneError("404 SubscriptionNotFound"),
])  # fmt: skip
async def test_a_subscription_that_cannot_be_listed_hides_no_other(error):
    world = await three(minTlsVersion="1.0")
    world.hubs.faults["list"] = [listing(error)]
    record = await world.sweep()
    assert record.summary == "evaluated 1 of 4 facets on 1 of 4 hubs, 1 with drift"
    assert not record.complete
    assert record.unknown[f"/subscriptions/{SUB}"] == str(error)
    for hub in HUBS:
        assert record.unknown[hub.path] == f"its subscription could not be listed: {error}"
        assert world.state(hub) is State.REPORTED
    assert world.hubs.count("get") == 0
    assert len(world.work.of(SweepMessage)) == isinstance(error, TransientError)


async def test_hubs_that_were_listed_before_the_failure_are_judged():
    world = await three()
    for hub in HUBS:
        world.hubs.change(hub)
    world.hubs.faults["list"] = [listing(TransientError("cut", retry_after=timedelta(minutes=3)), after=2)]
    record = await world.sweep()
    assert record.summary == "evaluated 3 of 4 facets on 3 of 4 hubs, 2 with drift"
    assert set(record.unknown) == {f"/subscriptions/{SUB}", HUBS[2].path}
    assert [world.state(hub) for hub in HUBS] == [State.REPORTED, State.REPORTED, None]
    assert world.work.sent == [(SweepMessage(subscription=SUB, attempt=1), timedelta(minutes=3))]
    await world.run()
    assert world.state(HUBS[2]) is State.REPORTED


async def test_sweeping_a_part_again_does_not_hide_what_the_whole_missed():
    world = await three()
    world.hubs.faults["list"] = [
        listing(TransientError("503")), listing(DeniedError("403"), subscription=SUB2),
    ]  # fmt: skip
    await world.sweep()
    await world.run()
    last = await world.records.last_sweep()
    assert not last.complete
    assert last.unknown[f"/subscriptions/{SUB2}"] == "403"
    assert len(world.audit.of("sweep")) == 3


async def test_a_subscription_that_is_no_longer_named_is_not_swept_again():
    world = await three()
    world.policy = policy("report", subscriptions=[SUB2])
    await sweep(world.ports, SweepMessage(subscription=SUB))
    assert not world.hubs.calls


# --- hubs that the list does not show


async def test_a_hub_that_is_gone():
    world = await three("ticket", minTlsVersion="1.0")
    world.hubs.hubs[HUBS[1]].gone = True
    record = await world.sweep()
    assert record.summary == "evaluated 3 of 3 facets on 3 of 3 hubs, 3 with drift"
    assert record.complete
    assert world.state(HUBS[1]) is State.RESOLVED
    assert world.record(HUBS[1]) is None
    assert len(world.tickets.open_ones) == 3


async def test_a_hub_that_we_may_not_see_any_more_is_unknown_and_not_gone():
    world = await three("ticket", minTlsVersion="1.0")
    world.hubs.hubs[OTHER].gone = True
    world.hubs.hubs[HUBS[1]].listed = False
    denied = DeniedError(f"reading {HUBS[1]}: 403 AuthorizationFailed: perform action '{ACTION}'",
                         missing_action=ACTION)  # fmt: skip
    world.hubs.fault = lambda kind, hub: denied if kind == "get" and hub == HUBS[1] else None
    record = await world.sweep()
    assert record.summary == "evaluated 2 of 3 facets on 2 of 3 hubs, 2 with drift"
    assert not record.complete
    assert ACTION in record.unknown[HUBS[1].path]
    assert world.state(HUBS[1]) is State.TICKETED
    assert world.record(HUBS[1]).verdicts == {"tls-minimum": "unknown"}


async def test_a_hub_that_the_list_missed_and_that_is_there_is_judged():
    world = await three()
    world.hubs.hubs[HUBS[1]].listed = False
    world.hubs.change(HUBS[1])
    record = await world.sweep()
    assert record.complete
    assert record.summary == "evaluated 4 of 4 facets on 4 of 4 hubs, 1 with drift"


async def test_a_hub_that_the_list_missed_and_azure_does_not_answer():
    world = await three()
    world.hubs.hubs[HUBS[1]].listed = False
    world.hubs.faults["get"] = [TransientError("503: later", retry_after=timedelta(seconds=99))]
    record = await world.sweep()
    assert record.summary == "evaluated 3 of 4 facets on 3 of 4 hubs, 0 with drift"
    assert record.unknown == {HUBS[1].path: "503: later"}
    ((message, delay),) = world.work.sent
    assert (message.hub, delay) == (HUBS[1].path, timedelta(seconds=99))
    assert world.record(HUBS[1]) is not None


async def test_one_hub_on_which_we_fail_hides_no_other(monkeypatch):
    world = await three()
    for listed in (True, False):
        world.hubs.hubs[HUBS[1]].listed = listed
        for hub in HUBS:
            world.hubs.change(hub)
        of_hub = world.findings.of_hub

        async def broken(hub, of_hub=of_hub):
            if hub == HUBS[1]:
                raise KeyError("a row that cannot be read")
            return await of_hub(hub)

        world.findings.of_hub = broken
        record = await world.sweep()
        world.findings.of_hub = of_hub
        assert record.summary == "evaluated 3 of 4 facets on 3 of 4 hubs, 2 with drift"
        assert "KeyError" in record.unknown[HUBS[1].path]
        assert [message.hub for message in world.work.of(EvaluateMessage)] == [HUBS[1].path]
        world.work.letters.clear()


# --- hubs that are not at rest


async def test_a_hub_in_transition_is_asked_for_again():
    world = await three()
    world.hubs.busy_for(HUBS[0], seconds=20)
    world.hubs.hubs[HUBS[0]].operation.body["properties"]["minTlsVersion"] = "1.0"
    record = await world.sweep()
    assert record.summary == "evaluated 3 of 4 facets on 3 of 4 hubs, 0 with drift"
    assert "an operation is running" in record.unknown[HUBS[0].path]
    await world.run()
    assert world.state(HUBS[0]) is State.REPORTED


async def test_dead_hubs_are_counted_apart_and_leave_the_sweep_complete():
    world = await three("auto")
    dead = world.hubs.add(hub_id("dead"), minTlsVersion="1.0", state="DeletionFailed", provisioningState="Failed")
    del world.hubs.hubs[dead].body["properties"]["hostName"]
    record = await world.sweep()
    assert record.complete
    assert record.summary == "evaluated 4 of 4 facets on 4 of 4 hubs, 0 with drift"
    assert record.dead == {dead.path: "the hub is DeletionFailed"}
    assert world.finding(dead) is None
    await world.run()
    assert not world.hubs.effective


async def test_something_in_the_list_that_is_no_hub_is_passed_over():
    world = await three()
    world.hubs.hubs[HUBS[0]].body["id"] = None
    record = await world.sweep()
    # the known hub was read instead
    assert record.summary == "evaluated 4 of 4 facets on 4 of 4 hubs, 0 with drift"


# --- a list is a minute old by the time it is judged


@pytest.mark.parametrize(("listed", "now", "state"), [
    ("1.0", "1.2", None), ("1.2", "1.0", State.TICKETED),
])  # fmt: skip
async def test_a_list_that_is_older_than_the_newest_look_is_not_believed(listed, now, state):
    world = World("ticket")
    world.hubs.add(minTlsVersion=listed)

    async def slow_list(subscription):
        if subscription != SUB:
            return
        body = await world.hubs.get_hub(HUB)
        world.hubs.change(value=now)
        await world.handle(ask(at=world.clock.now()))
        yield body

    world.hubs.list_hubs = slow_list
    record = await world.sweep()
    assert world.state() is state
    assert record.drifting == (now == "1.0")
    assert record.complete
    assert len(world.tickets.tickets) == (now == "1.0")


async def test_a_sweep_during_a_fix_disturbs_nothing():
    world = World()
    world.hubs.add()
    await world.drift()
    for _ in range(30):
        await world.run(until=timedelta(seconds=2))
        await world.sweep()
    await world.run()
    assert world.state() is State.RESOLVED
    assert len(world.hubs.effective) == 1
    assert not world.violations
    assert not world.errors


async def test_what_is_approved_and_was_forgotten_is_started_by_the_sweep():
    world = World()
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    world.work.letters.clear()
    await world.sweep()
    assert world.work.of(RemediateMessage)


async def test_a_hundred_hubs_are_judged_a_few_at_a_time():
    world = World("report")
    world.gates.random = __import__("random").Random(1)
    for number in range(100):
        world.hubs.add(hub_id(f"hub-{number}"), minTlsVersion="1.0")
    record = await asyncio.wait_for(world.sweep(), 20)
    assert record.summary == "evaluated 100 of 100 facets on 100 of 100 hubs, 100 with drift"


async def test_a_row_that_cannot_be_read_hides_no_other_hub():
    world = World("report")
    bad, good = (world.hubs.add(hub_id(name), minTlsVersion="1.0") for name in ("bad", "good"))
    of_hub = world.findings.of_hub

    async def refusing(hub):
        if hub == bad:
            raise StorageRefusedError("table hubwardenfindings: the row is damaged")
        return await of_hub(hub)

    world.findings.of_hub = refusing
    record = await world.sweep()
    assert record.unknown == {bad.path: "table hubwardenfindings: the row is damaged"}
    assert world.finding(good).state is State.REPORTED
    assert not world.work.letters, "asking again would not help"


async def test_a_race_while_a_hub_is_buried_hides_no_other():
    world = World("report")
    world.hubs.add()
    gone = world.hubs.add(hub_id("gone"), minTlsVersion="1.0")
    await world.sweep()
    world.hubs.hubs[gone].gone = True
    save = world.findings.save
    races = iter([True])

    async def racing(finding, etag):
        if finding.hub == gone and next(races, False):
            raise StaleWriteError("somebody was faster")
        return await save(finding, etag)

    world.findings.save = racing
    record = await world.sweep()
    assert list(record.unknown) == [gone.path]
    await world.run()
    assert world.state(gone) is State.RESOLVED


# --- every subscription that the identity can see


async def all_of_them(**properties):
    world = await three(**properties)
    world.policy = policy("report", subscriptions=["all"])
    return world


async def test_all_means_what_the_identity_can_see():
    world = await all_of_them()
    world.hubs.calls.clear()
    record = await world.sweep()
    assert record.subscriptions == (SUB, SUB2)
    assert record.complete
    assert sorted(world.hubs.calls, key=str) == [("list", SUB), ("list", SUB2), ("subscriptions", None)]


@pytest.mark.parametrize("error", [TransientError("503"), DeniedError("403: no right")])
async def test_where_the_subscriptions_cannot_be_listed_those_that_are_known_are_swept(error):
    world = await all_of_them()
    world.hubs.change(HUBS[1])
    world.hubs.faults["subscriptions"] = [error]
    record = await world.sweep()
    assert record.subscriptions == (SUB, SUB2)
    assert record.unknown == {"/subscriptions": f"which subscriptions there are could not be read: {error}"}
    assert not record.complete
    assert world.state(HUBS[1]) is State.REPORTED
    assert [m.subscription for m in world.work.of(SweepMessage)] == ["all"] * isinstance(error, TransientError)


async def test_a_whole_sweep_that_is_made_again_counts_as_one():
    world = await all_of_them()
    world.hubs.faults["subscriptions"] = [TransientError("503")]
    await world.sweep()
    await world.run()
    last = await world.records.last_sweep()
    assert last.complete
    assert last.subscriptions == (SUB, SUB2)


async def test_the_hubs_of_a_subscription_that_is_not_seen_any_more_are_looked_for_one_by_one():
    world = await all_of_them(minTlsVersion="1.0")
    seen = [hub for hub in world.hubs.hubs if hub.subscription == SUB]
    gone, hidden = seen[0], seen[1]

    async def subscriptions():
        return [SUB2]

    world.hubs.subscriptions = subscriptions
    world.hubs.hubs[gone].gone = True
    world.hubs.fault = lambda kind, hub: DeniedError("403: no right") if (kind, hub) == ("get", hidden) else None
    record = await world.sweep()
    assert world.state(gone) is State.RESOLVED
    assert "the hub is gone" in world.finding(gone).history[-1].reason
    assert world.state(hidden) is State.REPORTED
    assert list(record.unknown) == [hidden.path]
    assert ("list", SUB) not in world.hubs.calls[-10:]


async def test_the_hubs_of_all_subscriptions_together_are_judged_a_few_at_a_time():
    world = World("report", timings=None)
    subscriptions = [f"{number}b1f6471-1bf0-4dda-aec3-cb9272f09590" for number in range(10)]
    world.policy = policy("report", subscriptions=subscriptions)
    for subscription in subscriptions:
        for number in range(12):
            world.hubs.add(hub_id(f"hub-{number}", subscription))
    at_once = most = 0
    get = world.records.get

    async def slow(hub):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.001)
        at_once -= 1
        return await get(hub)

    world.records.get = slow
    record = await world.sweep()
    assert record.evaluated == 120
    assert most <= HUBS_AT_ONCE


async def test_an_identity_that_sees_no_subscription_is_no_clean_sweep():
    world = World("report")
    world.policy = policy("report", subscriptions=["all"])
    record = await world.sweep()
    assert not record.complete
    assert record.unknown == {
        "/subscriptions": "the identity sees no subscription at all: it may have no role in any"
    }


async def test_subscriptions_are_swept_a_few_at_a_time():
    world = World("report")
    many = [f"{number:08d}-1bf0-4dda-aec3-cb9272f09590" for number in range(3 * SUBSCRIPTIONS_AT_ONCE)]
    world.policy = policy("report", subscriptions=many)
    at_once = most = 0

    async def listed(subscription):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.001)
        at_once -= 1
        return
        yield

    world.hubs.list_hubs = listed
    record = await world.sweep()
    assert len(record.subscriptions) == len(many)
    assert most == SUBSCRIPTIONS_AT_ONCE
