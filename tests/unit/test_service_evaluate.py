"""evaluate: look at one hub, say what is true, start what policy wants."""

from __future__ import annotations

import logging

from dataclasses import replace
from datetime import timedelta

import pytest

from hubwarden.domain.finding import Actor, State
from hubwarden.domain.jsons import ABSENT
from hubwarden.domain.policy import check_policy
from hubwarden.domain.rule import Mode
from hubwarden.domain.verdict import Compliant, Drift, Unknown
from hubwarden.service.errors import (
    ConflictError,
    DeniedError,
    HubGoneError,
    PermanentError,
    StorageUnavailableError,
    TransientError,
)
from hubwarden.service.evaluate import evaluate
from hubwarden.service.messages import EvaluateMessage, Queue, RemediateMessage, VerifyMessage
from hubwarden.service.observe import observe
from hubwarden.service.ports import HubRecord, Stored
from hubwarden.service.reconcile import Cause, reconcile
from tests.unit.fakes import HUB, RULES, SOMEBODY, START, SUB, TLS, World, arm_event, ask, hub_id, policy


ACTION = "Microsoft.Devices/IotHubs/read"


def later(world, **more):
    return ask(at=world.clock.now(), **more)


def rule(name, *verdicts, raising=None):
    def detect(_snapshot, _settings):
        if raising:
            raise raising
        yield from verdicts

    return replace(RULES[0], id=name, detect=detect)


# --- decisions


@pytest.mark.parametrize(("mode", "state", "remediates", "tickets"), [
    (Mode.OFF, None, 0, 0),
    (Mode.REPORT, State.REPORTED, 0, 0),
    (Mode.TICKET, State.TICKETED, 0, 1),
    (Mode.APPROVE, State.AWAITING_APPROVAL, 0, 1),
    (Mode.AUTO, State.APPROVED, 1, 0),
])  # fmt: skip
async def test_new_drift_becomes_what_policy_says(mode, state, remediates, tickets):
    world = World(mode)
    world.hubs.add(minTlsVersion="1.0")
    look = await evaluate(world.ports, later(world))
    assert world.state() is state
    assert len(world.work.of(RemediateMessage)) == remediates
    assert len(world.tickets.open_ones) == tickets
    assert world.hubs.count("put") == 0
    assert look.snapshot.hub == HUB
    if state:
        assert world.finding().history[-1].reason == f"policy rules.tls-minimum.mode is {mode}"
        assert [line["to"] for line in world.audit.of("finding")] == [state]


async def test_a_finding_knows_what_where_when_and_who():
    world = World("report")
    world.hubs.add()
    event = world.hubs.change(value="1.0")
    await world.event(event)
    await world.run()
    finding = world.finding()
    assert finding.actor == Actor(SOMEBODY, "04b07795-0000-0000-0000-000000000046", "Jo Doe")
    assert finding.summary == "the minimum TLS version is '1.0'; it must be 1.2 or higher"
    assert finding.evidence == {"minTlsVersion": "1.0"}
    assert finding.first_seen == finding.last_seen > START
    record = world.record()
    assert record.verdicts == {"tls-minimum": "drift"}
    assert record.hub_etag == world.hubs.hubs[HUB].body["etag"]
    assert record.looking_since is None
    assert record.written_by == finding.actor
    assert record.written_at is not None


async def test_a_drift_that_comes_back_is_not_blamed_on_who_caused_the_first():
    world = World("report")
    world.hubs.add()
    await world.drift()
    await world.run()
    await world.drift(value="1.2")
    await world.run()
    assert world.state() is State.RESOLVED
    world.hubs.change(value="1.1")  # and no event tells
    await world.sweep()
    assert world.finding().occurrences == 2
    assert world.finding().actor is None


async def test_a_rule_that_is_switched_off_takes_the_machines_hands_off_its_findings():
    world = World("auto")
    world.hubs.add(minTlsVersion="1.0")
    await evaluate(world.ports, later(world))
    assert world.state() is State.APPROVED
    world.policy = policy("off")
    await evaluate(world.ports, later(world))
    assert world.state() is State.REPORTED
    await world.run()
    assert not world.hubs.effective
    assert not world.tickets.open_ones


async def test_an_exemption_ends_what_was_approved():
    world = World("auto")
    world.hubs.add(minTlsVersion="1.0")
    await evaluate(world.ports, later(world))
    world.policy = policy("auto", more=(
        f"exemptions:\n  - {{rule: tls-minimum, hub: {HUB.path}, until: 2026-12-01, reason: old, owner: jo}}\n"
    ))  # fmt: skip
    await world.run()
    assert world.state() is State.EXEMPT
    assert not world.hubs.effective


# --- what cannot be read


async def test_what_may_not_be_read_is_unknown_and_nothing_is_closed():
    world = World("ticket")
    world.hubs.add(minTlsVersion="1.0")
    await evaluate(world.ports, later(world))
    before = world.finding()
    world.hubs.change(value="1.2")
    world.hubs.faults["get"] = [DeniedError(f"reading {HUB}: 403: no {ACTION}", missing_action=ACTION)]
    look = await evaluate(world.ports, later(world))
    assert world.finding() == before
    assert world.tickets.open_ones
    (verdict,) = look.verdicts["tls-minimum"]
    assert verdict == Unknown(f"reading {HUB}: 403: no {ACTION}", ACTION)
    assert look.unknown == {"tls-minimum": f"reading {HUB}: 403: no {ACTION}"}
    record = world.record()
    assert record.verdicts == {"tls-minimum": "unknown"}
    assert ACTION in record.unknown["tls-minimum"]
    assert record.hub_etag is None


async def test_an_approved_fix_of_a_hub_that_may_not_be_read_goes_to_people():
    world = World()
    world.hubs.add(minTlsVersion="1.0")
    world.hubs.fault = lambda kind, _: PermanentError("no JSON") if kind == "get" and world.finding() else None
    await world.drift(path=("tags", "x"), value="y")
    await world.run()
    assert world.state() is State.TICKETED
    assert world.tickets.open_ones
    assert world.hubs.count("put") == 0
    world.hubs.fault = lambda *_: None
    await world.drift(path=("tags", "x"), value="z")
    await world.run()
    assert world.state() is State.RESOLVED


async def test_a_hub_that_is_gone_ends_its_findings_and_is_forgotten():
    world = World("ticket")
    world.hubs.add(minTlsVersion="1.0")
    await evaluate(world.ports, later(world))
    world.hubs.hubs[HUB].gone = True
    assert await evaluate(world.ports, later(world)) is None
    assert world.state() is State.TICKETED, "one 404 alone can be a slip of ARM's"
    await world.run(until=timedelta(seconds=40))
    assert world.state() is State.RESOLVED
    assert world.record() is None
    assert not world.tickets.open_ones
    assert not world.work.letters
    assert world.finding().history[-1].reason == "the hub is gone"


async def test_a_hub_that_an_event_says_is_deleted_is_gone_with_the_first_404():
    world = World("ticket")
    world.hubs.add(minTlsVersion="1.0")
    await evaluate(world.ports, later(world))
    world.hubs.hubs[HUB].gone = True
    await world.event(arm_event(at=world.clock.now(), kind="Microsoft.Resources.ResourceDeleteSuccess"))
    await world.run(until=timedelta(seconds=1))
    assert world.state() is State.RESOLVED


async def test_a_404_now_and_then_ends_nothing():
    world = World("ticket")
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    for _ in range(5):
        world.hubs.faults["get"] = [HubGoneError("404")]
        await evaluate(world.ports, later(world))
        await world.run(until=timedelta(minutes=5))
    assert world.events() == ["seen", "ticket"]
    assert world.record().missing_since is None


async def test_a_hub_that_is_being_fixed_and_not_found_is_left_to_verify():
    world = World()
    world.hubs.add()
    await world.drift()
    await world.run(until=timedelta(seconds=1))
    assert world.state() is State.VERIFYING
    world.hubs.faults["get"] = [ConflictError("409")]
    world.hubs.hubs[HUB].gone = True
    await world.handle(later(world))  # the 409: put off
    await world.handle(later(world))
    assert world.state() is State.VERIFYING
    await world.sweep()
    assert world.state() is State.VERIFYING
    world.hubs.hubs[HUB].gone = False
    await world.run()
    assert world.state() is State.RESOLVED
    assert "verified: the hub no longer shows it" in world.finding().history[-1].reason
    assert world.record() is not None


@pytest.mark.parametrize("wait", [None, 1, 300])
async def test_a_transient_failure_is_put_off_as_long_as_azure_asks(wait):
    world = World()
    world.hubs.add(minTlsVersion="1.0")
    retry_after = None if wait is None else timedelta(seconds=wait)
    world.hubs.faults["get"] = [TransientError("429", retry_after=retry_after)]
    message = later(world)
    await evaluate(world.ports, message)
    assert world.finding() is None
    assert world.record().looking_since is None
    assert world.work.sent == [(message.model_copy(update={"attempt": 1}), timedelta(seconds=max(2, wait or 0)))]
    await world.run()
    assert world.state() is State.RESOLVED


async def test_a_conflict_while_reading_is_put_off_too():
    world = World()
    world.hubs.add(minTlsVersion="1.0")
    world.hubs.faults["get"] = [ConflictError("409 ResourceGroupBeingDeleted")]
    await world.handle(later(world))
    await world.run()
    assert world.state() is State.RESOLVED
    assert not world.errors


# --- hubs in transition


async def test_a_hub_in_transition_is_looked_at_again():
    world = World("report")
    world.hubs.add()
    world.hubs.busy_for(seconds=40)
    await evaluate(world.ports, later(world))
    assert [type(message) for message, _ in world.work.sent] == [EvaluateMessage]
    assert world.work.sent[0][1] == timedelta(seconds=15)
    world.hubs.hubs[HUB].operation.body["properties"]["minTlsVersion"] = "1.0"
    await world.run()
    assert world.state() is State.REPORTED


async def test_a_hub_that_never_comes_to_rest_is_left_to_the_sweep():
    world = World("report")
    world.hubs.add(provisioningState="Transitioning")
    await evaluate(world.ports, later(world))
    await world.run()
    assert world.hubs.count("get") <= 14


async def test_nothing_is_closed_on_what_a_hub_shows_in_transition():
    world = World("ticket")
    world.hubs.add(minTlsVersion="1.0")
    await evaluate(world.ports, later(world))
    world.hubs.shows_early = True
    world.hubs.busy_for(seconds=40)
    world.hubs.hubs[HUB].operation.body["properties"]["minTlsVersion"] = "1.2"
    await evaluate(world.ports, later(world))
    assert world.state() is State.TICKETED
    await world.run()
    assert world.state() is State.RESOLVED


async def test_a_dead_hub_is_neither_asked_for_again_nor_touched():
    world = World()
    world.hubs.add(minTlsVersion="1.0", state="ActivationFailed", provisioningState="Failed")
    look = await evaluate(world.ports, later(world))
    assert look.words == {"tls-minimum": "unknown"}
    assert not world.work.letters
    assert world.finding() is None


# --- bursts and order


@pytest.mark.parametrize("seed", range(10))
async def test_a_burst_of_a_hundred_doubled_and_shuffled_messages_costs_few_reads(seed):
    world = World("report", seed=seed)
    world.deliver_twice = 0.1
    world.hubs.add()
    event = world.hubs.change()
    for _ in range(100):
        await world.event(event)
    await world.run(workers=4)
    assert world.hubs.count("get") <= 3
    assert len(world.findings.all) == 1
    assert world.finding().occurrences == 1
    assert len(world.audit.of("finding")) == 1


async def test_a_look_that_began_after_the_question_answers_it_but_what_the_event_told_is_kept():
    world = World("report")
    world.hubs.add()
    event = world.hubs.change()
    await world.event(event)
    await world.sweep()
    await world.run()
    assert world.hubs.count("get") == 0
    assert world.record().written_at is not None
    assert world.record().written_by.object_id == SOMEBODY


async def test_while_somebody_looks_others_come_back_and_do_not_pile_up():
    world = World("report")
    world.hubs.add(minTlsVersion="1.0")
    world.gates.kill_when = lambda name: name == "before FakeHubs.get_hub"  # after the claim of the look
    await world.event(world.hubs.change(path=("tags", "a"), value="b"))
    await world.run(until=timedelta(seconds=5))
    assert world.killed
    assert world.record().looking_since is not None
    await world.run()
    assert world.state() is State.REPORTED
    assert len([m for m, _ in world.work.sent if isinstance(m, EvaluateMessage)]) <= 8


async def test_an_older_snapshot_never_overrules_a_newer_one():
    for first, second, mode, state in (
        ("1.0", "1.2", "ticket", State.RESOLVED), ("1.2", "1.0", "ticket", State.TICKETED)
    ):  # fmt: skip
        world = World(mode)
        world.hubs.add(minTlsVersion="1.0")
        await evaluate(world.ports, later(world))
        world.hubs.change(value=first)
        old = await observe(world.ports, HUB, None)
        world.hubs.change(value=second)
        await evaluate(world.ports, later(world))
        assert world.state() is state
        before = world.finding()
        looked_at = world.record().looked_at
        await reconcile(world.ports, old, Cause("late"))
        assert world.finding() == before
        assert world.record().looked_at == looked_at


# --- isolation


async def test_a_hub_that_is_not_watched_is_left_alone():
    world = World()
    other = hub_id(subscription="aaaaaaaa-1bf0-4dda-aec3-cb9272f09590")
    world.hubs.add(other, minTlsVersion="1.0")
    await world.handle(ask(other))
    await world.handle(RemediateMessage(hub=other.path))
    assert not world.hubs.calls
    assert not world.findings.all
    assert not world.records.rows


async def test_a_detector_that_breaks_leaves_its_rule_unknown_and_the_others_alone(caplog):
    rules = (rule("breaks", raising=ZeroDivisionError()), rule("mute"), rule("lies", None), *RULES)
    world = World("report", rules=rules)
    world.hubs.add(minTlsVersion="1.0")
    with caplog.at_level(logging.CRITICAL):
        look = await evaluate(world.ports, later(world))
    assert look.words.items() >= {
        "breaks": "unknown", "mute": "unknown", "lies": "unknown", "tls-minimum": "drift"
    }.items()  # fmt: skip
    assert "ZeroDivisionError" in look.unknown["breaks"]
    assert all("bug in hubwarden" in look.unknown[name] for name in ("breaks", "mute", "lies"))
    assert [finding.rule_id for finding in world.findings.all] == ["tls-minimum"]


async def test_what_a_broken_detector_found_before_stays_open():
    world = World("ticket")
    world.hubs.add(minTlsVersion="1.0")
    await evaluate(world.ports, later(world))
    world.rules = (rule("tls-minimum", raising=ZeroDivisionError()),)
    await evaluate(world.ports, later(world))
    assert world.state() is State.TICKETED
    world.rules = (rule("tls-minimum", Compliant(), Unknown("half of it")),)
    await evaluate(world.ports, later(world))
    assert world.state() is State.TICKETED


async def test_every_subject_has_its_own_finding():
    rules = (rule("policies", Drift("one", "owner"), Drift("two", "device"), Compliant()),)
    world = World("report", rules=rules)
    world.hubs.add()
    await evaluate(world.ports, later(world))
    assert {finding.subject for finding in world.findings.all} == {"owner", "device"}
    world.rules = (rule("policies", Drift("one", "OWNER")),)
    await evaluate(world.ports, later(world))
    assert {f.subject: f.state for f in world.findings.all} == {
        "owner": State.REPORTED, "device": State.RESOLVED
    }  # fmt: skip


async def test_a_failure_of_storage_lets_the_next_look_begin_at_once_and_ends_as_poison():
    world = World()
    world.hubs.add(minTlsVersion="1.0")
    world.audit.fails = lambda kind, _: kind == "finding"
    await world.event(world.hubs.change(path=("tags", "a"), value="b"))
    await world.run()
    assert {type(error) for error in world.errors} == {StorageUnavailableError}
    assert [queue for queue, _ in world.work.poison] == [Queue.EVALUATE]
    assert world.graveyard.buried
    assert world.record().looking_since is None
    assert world.hubs.count("put") == 0
    world.audit.fails = lambda *_: False
    await world.live()
    assert world.state() is State.RESOLVED


async def test_a_worker_that_dies_right_after_its_claim_has_already_asked_for_a_look():
    world = World()
    world.hubs.add()
    world.hubs.change()
    await world.sweep()
    world.gates.kill_when = lambda name: name == "after FakeFindings.save" and world.state() is State.EXECUTING
    await world.run()
    assert world.killed
    assert world.state() is State.RESOLVED
    assert world.tls() == "1.2"


async def test_a_fix_of_which_nothing_was_heard_is_looked_after_even_if_the_message_got_lost():
    world = World()
    world.hubs.add()
    world.hubs.change()
    await world.sweep()
    kill = lambda name: name == "after FakeFindings.save" and world.state() is State.EXECUTING  # noqa: E731
    world.gates.kill_when = lambda name: kill(name) and (world.work.letters.clear() or True)
    await world.run()
    assert world.killed
    assert world.state() is State.EXECUTING
    assert not world.work.letters
    world.clock.turn(minutes=2)
    await world.handle(later(world))
    assert world.work.of(VerifyMessage)
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.tls() == "1.2"
    assert world.hubs.hubs[HUB].body[TLS[0]]["minTlsVersion"] == "1.2"


# --- how bad it is, and what it was before


async def told(world, **change):
    """Severity and summary after somebody has changed the hub."""
    if change:
        world.hubs.change(**change)
    await world.sweep()
    return world.finding().severity.value, world.finding().summary


async def test_a_drift_that_gets_worse_is_as_bad_as_it_is_now():
    world = World("report")
    world.hubs.add(minTlsVersion=ABSENT)
    assert (await told(world))[0] == "medium"
    assert (await told(world, value="1.0"))[0] == "high"


async def test_what_was_seen_before_is_never_called_never_set():
    world = World("report")
    world.hubs.add(minTlsVersion="1.0")
    await told(world)
    assert await told(world, value=ABSENT) == (
        "high", "the minimum TLS version was '1.0' and has been removed; it must be 1.2 or higher"
    )  # fmt: skip


async def test_a_minimum_that_is_removed_is_a_drift_even_where_none_need_be_set():
    world = World("report")
    text = "  tls-minimum: {mode: report, settings: {absent: compliant}}\n"
    file = f"version: 1\nsubscriptions: [{SUB}]\nrules:\n{text}"
    made, problems = check_policy(file, RULES, today=START.date())
    assert not problems
    world.policy = made
    world.hubs.add(HUB)
    never = world.hubs.add(hub_id("never"), minTlsVersion=ABSENT)
    await world.sweep()
    world.hubs.change(value=ABSENT)
    await world.sweep()
    await world.sweep()
    assert world.finding().summary.startswith("the minimum TLS version was '1.2' and has been removed")
    assert world.finding(never) is None


async def test_what_is_not_known_of_one_subject_holds_up_no_other():
    def detect(snapshot, _settings):
        yield Unknown("strange", subject="odd")
        if snapshot.read("hub")["tags"].get("drift"):
            yield Drift("it is there", "rogue")

    world = World("report", rules=(replace(RULES[0], detect=detect),))
    world.hubs.add()
    world.hubs.change(path=("tags", "drift"), value="1")
    await world.sweep()
    assert world.finding().state is State.REPORTED
    world.hubs.change(path=("tags",), value={})
    record = await world.sweep()
    assert world.finding().state is State.RESOLVED
    assert not record.complete


@pytest.mark.parametrize("back", [timedelta(seconds=1), timedelta(hours=2)])
async def test_a_look_that_seems_to_begin_in_the_future_holds_up_no_other_for_long(back):
    """The clock was put back, or another instance's is ahead."""
    world = World("report")
    world.hubs.add(minTlsVersion="1.0")
    now = world.clock.now()
    world.records.rows[HUB] = Stored(HubRecord(HUB, looking_since=now + back), "e")
    await world.event(world.hubs.change(path=("tags", "a"), value="b"))
    await world.run()
    assert world.state() is State.REPORTED
    assert world.clock.at - now < timedelta(minutes=3)
