"""Telling people: nothing waits for a channel, nothing is told twice, and one cause is one message."""

from __future__ import annotations

import logging

from datetime import timedelta

import pytest

from hubwarden.domain.approval import Approver, Via
from hubwarden.domain.finding import Event, State
from hubwarden.domain.message import Kind
from hubwarden.service.approve import approve
from hubwarden.service.errors import DeniedError, TransientError
from hubwarden.service.health import health
from hubwarden.service.messages import NotifyMessage, Queue
from tests.unit.fakes import HUB, FakeChannel, FakeOutbox, Killed, World, hub_id


NOTIFY = """
notify:
  channels:
    ops: {kind: teams}
    all: {kind: slack}
  routes:
    - {channels: [ops], events: [asked, reminder, came_back]}
    - {channels: [all], events: [reported, failed, ticketed], where: {hub: "hub-*"}, min_severity: low}
"""


@pytest.fixture(autouse=True)
def _quiet(caplog):
    with caplog.at_level(logging.CRITICAL):
        yield


def made(mode="approve", **more):
    world = World(mode, more=NOTIFY, **more)
    world.outbox = FakeOutbox(world.gates, world.log)
    world.channels = {"ops": FakeChannel(), "all": FakeChannel()}
    return world


def told(world, channel="ops"):
    return [message.kind for message in world.channels[channel].sent]


async def health_of(world):
    return (await health(
        world.records, world.findings, world.work, world.clock, next_sweep=lambda _: None, not_ready=None,
        warnings=(), outbox=world.outbox,
    ))["warnings"]  # fmt: skip


async def test_a_sweep_that_finds_forty_drifts_of_one_cause_sends_one_message():
    world = made()
    for number in range(40):
        world.hubs.add(hub_id(f"hub-{number:02}"), minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(hours=1))
    (message,) = world.channels["ops"].sent
    assert (message.kind, message.count) == (Kind.ASKED, 40)
    assert {stored.value.notice.kind for stored in world.outbox.rows.values()} == {Kind.REMINDER}
    assert not world.channels["all"].sent


async def test_the_outcome_follows_the_request_on_its_channel():
    world = made()
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(minutes=2))
    finding = world.finding()
    by = Approver("Ada", Via.COMMAND_LINE)
    await approve(world.ports, finding.id, plan=finding.proposal.digest, by=by, reason="do it")
    await world.run(until=timedelta(hours=1))
    assert world.state() is State.RESOLVED
    assert told(world) == [Kind.ASKED, Kind.APPROVED, Kind.FIXED]
    assert "fixed, verified" in world.channels["ops"].sent[-1].items[0].text
    assert told(world, "all") == []


async def test_only_hubs_of_the_route_are_told():
    world = made("report")
    world.hubs.add(hub_id("hub-9"), minTlsVersion="1.1")
    world.hubs.add(hub_id("other"), minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(hours=1))
    (message,) = world.channels["all"].sent
    assert [one.hub.name for one in message.about] == ["hub-9"]


async def test_a_dead_channel_holds_nothing_up_keeps_its_notices_and_shows_in_health():
    world = made("auto")
    world.channels["all"].fails = TransientError("POST hooks.slack.com: 503")
    world.hubs.add(minTlsVersion="1.1")
    world.hubs.faults["put"] = [DeniedError("writing the hub: 403")]
    await world.sweep()
    await world.run(until=timedelta(minutes=2))
    assert world.state() is State.TICKETED
    (warning,) = await health_of(world)
    assert warning.startswith("1 notice(s) wait for the channel all since")
    assert warning.endswith("POST hooks.slack.com: 503")
    world.channels["all"].fails = None
    await world.run(until=timedelta(hours=2))
    assert told(world, "all") == [Kind.TICKETED]
    assert await health_of(world) == []


async def test_a_channel_is_asked_again_as_late_as_it_wishes():
    world = made()
    world.channels["ops"].fails = TransientError("429", retry_after=timedelta(minutes=10))
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(seconds=40))
    retries = [letter for letter in world.work.letters if '"attempt":1' in letter.text]
    assert [letter.queue for letter in retries] == [Queue.NOTIFY]
    assert retries[0].due - world.clock.at > timedelta(minutes=9)


async def test_a_channel_that_never_comes_back_ends_in_the_poison_queue():
    world = made()
    world.channels["ops"].fails = TransientError("503")
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run()
    assert {queue for queue, _ in world.work.poison} == {Queue.NOTIFY}
    assert world.state() is State.AWAITING_APPROVAL


async def test_a_refusal_is_kept_and_tried_again_with_the_next_news():
    world = made()
    world.channels["ops"].fails = DeniedError("the app setting HUBWARDEN_TEAMS_URL is empty")
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(minutes=10))
    assert "HUBWARDEN_TEAMS_URL is empty" in (await health_of(world))[0]
    world.channels["ops"].fails = None
    world.hubs.add(hub_id("hub-2"), minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(minutes=10))
    (message,) = world.channels["ops"].sent
    assert sorted(one.hub.name for one in message.about) == ["hub-1", "hub-2"]


async def test_at_half_of_its_time_a_request_is_reminded_of_once():
    world = made()
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(hours=11))
    assert told(world) == [Kind.ASKED]
    await world.run(until=timedelta(hours=2))
    assert told(world) == [Kind.ASKED, Kind.REMINDER]
    await world.run(until=timedelta(hours=9))
    assert told(world) == [Kind.ASKED, Kind.REMINDER]


async def test_of_what_was_decided_nobody_is_reminded():
    world = made()
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    finding = world.finding()
    by = Approver("Ada", Via.COMMAND_LINE)
    await approve(world.ports, finding.id, plan=finding.proposal.digest, by=by, reason="do it")
    await world.run(until=timedelta(hours=23))
    assert Kind.REMINDER not in told(world)
    assert not world.outbox.rows


async def test_an_outbox_that_is_down_holds_nothing_up():
    world = made("auto")
    world.outbox.down = True
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(hours=1))
    assert world.state() is State.RESOLVED


async def test_a_notice_whose_finding_was_never_stored_is_not_told():
    world = made()
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    world.findings.rows.clear()
    await world.run(until=timedelta(hours=14))
    assert told(world) == []
    assert not world.outbox.rows


async def test_a_channel_that_the_file_no_longer_names_is_no_error():
    world = made()
    await world.handle(NotifyMessage(channel="gone"))
    assert not world.work.letters


async def test_workers_side_by_side_tell_nothing_twice():
    for seed in range(20):
        world = made(seed=seed)
        world.deliver_twice = 0.5
        for number in range(5):
            world.hubs.add(hub_id(f"hub-{number}"), minTlsVersion="1.1")
        await world.sweep()
        await world.run(until=timedelta(hours=1), workers=3)
        about = [one.hub.name for message in world.channels["ops"].sent for one in message.about]
        assert sorted(about) == [f"hub-{number}" for number in range(5)]


async def test_what_one_worker_is_sending_no_other_sends():
    world = made()

    class Slow(FakeChannel):
        async def send(self, message):
            await FakeChannel.send(self, message)
            await world.handle(NotifyMessage(channel="ops"))

    world.channels["ops"] = Slow()
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(minutes=10))
    assert told(world) == [Kind.ASKED]


async def test_what_a_worker_died_with_another_sends():
    world = made()

    class Deadly(FakeChannel):
        async def send(self, message):
            world.channels["ops"] = FakeChannel()
            raise Killed

    world.channels["ops"] = Deadly()
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(minutes=10))
    assert told(world) == [Kind.ASKED]


async def test_flapping_is_told():
    world = made("auto")
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(hours=1))
    await world.drift()
    await world.run(until=timedelta(hours=1))
    assert Event.SEEN in [step.event for step in world.finding(HUB).history]
    assert told(world)[0] is Kind.CAME_BACK
    assert told(world)[-1] is Kind.FIXED
