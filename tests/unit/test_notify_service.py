"""Telling people: nothing waits for a channel, nothing is told twice, and one cause is one message."""

from __future__ import annotations

import logging

from datetime import timedelta

import pytest

from hubwarden.domain.approval import Approver, Via
from hubwarden.domain.finding import Event, State
from hubwarden.domain.message import Kind
from hubwarden.service.approve import approve
from hubwarden.service.errors import DeniedError, PermanentError, TransientError
from hubwarden.service.exemptions import tell_ends
from hubwarden.service.health import health
from hubwarden.service.messages import NotifyMessage, Queue
from hubwarden.service.notify import wake
from tests.unit.fakes import HUB, START, FakeChannel, FakeOutbox, Killed, World, hub_id, policy
from tests.unit.test_service_remediate import two_rules


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


async def test_a_channel_that_never_comes_back_is_asked_for_a_day():
    world = made()
    world.channels["ops"].fails = TransientError("503")
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run()
    assert world.clock.at - START > timedelta(days=1)
    assert not world.outbox.rows
    assert not world.work.poison
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


async def of_a_burst(hubs, gap):
    """How many notices each message told of what drifted anew, hub after hub, this far apart."""
    world = made()
    fleet = [hub_id(f"hub-{number:02}") for number in range(hubs)]
    for hub in fleet:
        world.hubs.add(hub)
    await world.sweep()
    await world.run(until=timedelta(minutes=3))
    for hub in fleet:
        await world.drift(hub)
        await world.run(until=timedelta(seconds=gap))
    await world.run(until=timedelta(minutes=7))
    return [message.count for message in world.channels["ops"].sent if message.kind is Kind.ASKED]


@pytest.mark.parametrize("gap", [0.5, 1, 2, 6])
async def test_a_burst_is_one_message_once_it_is_over(gap):
    assert await of_a_burst(40, gap) == [40]


async def test_what_never_ends_is_told_every_five_minutes():
    counts = await of_a_burst(80, 10)
    assert sum(counts) == 80
    assert len(counts) == 3
    assert counts[0] >= 30


async def test_a_burst_of_one_cause_does_not_hold_up_another():
    world = made()
    fleet = [hub_id(f"hub-{number}") for number in range(10)]
    for hub in fleet:
        world.hubs.add(hub)
    await world.sweep()
    event = world.hubs.change(fleet[0])
    event["data"]["claims"]["name"] = "Eve"
    await world.event(event)
    for hub in fleet[1:]:
        await world.drift(hub)
        await world.run(until=timedelta(seconds=10))
    assert [message.count for message in world.channels["ops"].sent] == [1]


@pytest.mark.parametrize("hours", [0.5, 2, 6])
async def test_what_waited_through_an_outage_is_told_soon_after_it(hours):
    world = made("ticket")
    world.channels["all"].fails = TransientError("503")
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(hours=hours))
    assert len(await health_of(world)) == 1
    world.channels["all"].fails = None
    await world.run(until=timedelta(minutes=16))
    assert told(world, "all") == [Kind.TICKETED]
    assert (await health_of(world), world.work.poison) == ([], [])


async def test_a_wake_up_that_was_lost_is_made_good_by_the_next_sweep():
    world = made("ticket")
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(seconds=20))
    world.work.letters.clear()
    world.clock.turn(hours=1)
    assert told(world, "all") == []
    await wake(world.ports)
    await world.run(until=timedelta(minutes=1))
    assert told(world, "all") == [Kind.TICKETED]


async def test_nobody_is_woken_for_what_is_to_be_told_later():
    world = made()
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(hours=1))
    assert [stored.value.notice.kind for stored in world.outbox.rows.values()] == [Kind.REMINDER]
    before = len(world.work.letters)
    await wake(world.ports)
    assert len(world.work.letters) == before


async def test_an_outbox_that_is_down_does_not_stop_a_sweep():
    world = made()
    world.outbox.down = True
    await wake(world.ports)
    assert not world.work.letters


async def test_what_no_channel_took_in_a_day_is_dropped_with_an_audit_line():
    world = made("ticket")
    world.channels["all"].fails = TransientError("POST hooks.slack.com: 503")
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(hours=23))
    assert not world.audit.of("untold")
    await world.run()
    finding = world.finding()
    (line,) = world.audit.of("untold")
    assert line["reason"] == "the channel did not take it in a day: POST hooks.slack.com: 503"
    assert (line["channel"], line["notice"], line["finding"]) == ("all", "ticketed", finding.id)
    assert (line["hub"], line["rule"]) == (HUB.path, "tls-minimum")
    assert (await health_of(world), len(world.outbox.rows), world.work.poison) == ([], 0, [])


@pytest.mark.parametrize("was_told_no", [False, True])
async def test_what_waits_for_a_channel_that_is_no_more_is_dropped_after_a_day(was_told_no):
    world = made("ticket")
    world.channels["all"].fails = TransientError("503")
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    if was_told_no:
        await world.run(until=timedelta(minutes=5))
    del world.channels["all"]
    await world.live(hours=23)
    (warning,) = await health_of(world)
    assert "the policy file names no such channel" in warning
    assert len(world.outbox.rows) == 1
    await world.live(hours=2)
    assert (len(world.outbox.rows), await health_of(world)) == (0, [])
    assert [line["channel"] for line in world.audit.of("untold")] == ["all"]


async def test_what_cannot_be_audited_is_kept_and_holds_no_other_up():
    world = made("ticket")
    channel = world.channels["all"]
    channel.fails = TransientError("503")
    world.audit.fails = lambda kind, details: kind == "untold"
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(hours=25))
    channel.fails = None
    world.hubs.add(hub_id("hub-2"), minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(minutes=30))
    assert [one.hub.name for message in channel.sent for one in message.about] == ["hub-2"]
    assert {stored.value.notice.hub.name for stored in world.outbox.rows.values()} == {"hub-1"}


async def calls_while(error, hubs, *, rules=None, hours=2, gap=0):
    """How often a channel is called that always answers so."""
    world = made("ticket", **(rules or {}))
    calls = []

    class Refusing(FakeChannel):
        async def send(self, message):
            calls.append((world.clock.at, message.count))
            raise error

    world.channels["all"] = Refusing()
    fleet = [hub_id(f"hub-{number:02}") for number in range(hubs)]
    for hub in fleet:
        world.hubs.add(hub)
    await world.sweep()
    for hub in fleet:
        await world.drift(hub)
        await world.run(until=timedelta(seconds=gap))
    await world.run(until=timedelta(hours=hours), most=100_000)
    return calls


@pytest.mark.parametrize("hubs", [1, 10, 40])
@pytest.mark.parametrize("error", [DeniedError("401"), PermanentError("400")])
async def test_a_channel_that_refuses_is_asked_each_quarter_of_an_hour(hubs, error):
    assert len(await calls_while(error, hubs)) <= 9


@pytest.mark.parametrize("error", [DeniedError("401"), PermanentError("400"), TransientError("503")])
async def test_news_does_not_make_a_channel_that_refuses_be_asked_more_often(error):
    """Forty drifts, each five minutes after the one before, in more than three hours."""
    calls = await calls_while(error, 40, gap=300)
    quarters = 22
    assert len(calls) <= (40 + quarters if isinstance(error, PermanentError) else quarters + 8)
    last = [at for at, _ in calls if at > calls[-1][0] - timedelta(minutes=90)]
    assert len(last) <= 7


async def test_of_several_messages_none_follows_one_that_the_channel_refused():
    assert len(await calls_while(DeniedError("401"), 4, rules=two_rules(), hours=0.1)) == 1
    assert len(await calls_while(PermanentError("400"), 4, rules=two_rules(), hours=0.1)) == 2


async def test_one_message_that_is_refused_does_not_keep_the_others():
    world = made("ticket", **two_rules())

    class Picky(FakeChannel):
        async def send(self, message):
            if message.rule_id == "tls-minimum":
                raise PermanentError("400 too long")
            await FakeChannel.send(self, message)

    world.channels["all"] = Picky()
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(minutes=2))
    assert len(world.channels["all"].sent) == 1
    assert "400 too long" in (await health_of(world))[0]


async def test_news_waits_as_long_as_the_channel_wishes():
    world = made()
    world.channels["ops"].fails = TransientError("429", retry_after=timedelta(minutes=40))
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(minutes=1))
    world.channels["ops"].fails = None
    world.hubs.add(hub_id("hub-2"), minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(minutes=38))
    assert told(world) == []
    await world.run(until=timedelta(minutes=3))
    (message,) = world.channels["ops"].sent
    assert sorted(one.hub.name for one in message.about) == ["hub-1", "hub-2"]


@pytest.mark.parametrize("error", [DeniedError("401"), PermanentError("400"), TransientError("503")])
async def test_wherever_a_worker_dies_what_was_refused_is_told_without_a_sweep(error):
    for gate in range(1, 40):
        world = made("ticket")
        world.channels["all"].fails = error
        world.hubs.add(minTlsVersion="1.1")
        await world.sweep()
        await world.run(until=timedelta(seconds=30))
        world.gates.kill_at = world.gates.passed + gate
        await world.run(until=timedelta(seconds=8))
        if not world.killed:
            break
        world.channels["all"].fails = None
        await world.run(until=timedelta(minutes=20))
        assert told(world, "all") == [Kind.TICKETED], f"killed at gate {gate}"
    assert gate > 10


async def test_exemptions_of_several_hubs_that_end_are_one_message():
    exempt = "".join(
        f"\n  - {{rule: tls-minimum, hub: {hub_id(f'hub-{n}').path}, until: 2026-11-25, reason: r, owner: jo}}"
        for n in range(3)
    )
    world = made()
    world.policy = policy("auto", more=NOTIFY.replace("came_back]", "exemption_ends]") + "exemptions:" + exempt)
    for number in range(3):
        world.hubs.add(hub_id(f"hub-{number}"), minTlsVersion="1.1")
    await world.sweep()
    await world.run(until=timedelta(minutes=2))
    await tell_ends(world.ports)
    await world.run(until=timedelta(minutes=2))
    assert [(message.kind, message.count) for message in world.channels["ops"].sent] == [(Kind.EXEMPTION_ENDS, 3)]


async def test_a_channel_that_another_instance_knows_already_gets_its_notices_soon():
    world = made()
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    known = world.channels.pop("ops")
    await world.run(until=timedelta(minutes=2))
    world.channels["ops"] = known
    await world.run(until=timedelta(minutes=15))
    assert told(world) == [Kind.ASKED]
