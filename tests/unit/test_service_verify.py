"""verify: only what is proven on the hub ends a finding."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from detectors import RULES
from hubwarden.domain.finding import State
from hubwarden.domain.verdict import Unknown
from hubwarden.service.errors import DeniedError, HubGoneError, TransientError
from hubwarden.service.messages import RemediateMessage, VerifyMessage
from hubwarden.service.verify import verify
from tests.unit.fakes import HUB, SOMEBODY, World, arm_event, ask, policy


async def written(**more):
    """A world in which the write was accepted a moment ago; two verify messages wait."""
    world = World(**more)
    world.hubs.add()
    world.hubs.change()
    await world.handle(ask(at=world.clock.now()))
    await world.handle(RemediateMessage(hub=HUB.path))
    assert world.state() is State.VERIFYING
    world.work.letters = [letter for letter in world.work.letters if isinstance(letter.message, VerifyMessage)]
    world.hubs.calls.clear()
    del world.work.sent[:]
    return world


def message(world, **more):
    return VerifyMessage(hub=HUB.path, digest=world.finding().attempt.digest, **(
        {"give_up_at": world.clock.now() + timedelta(minutes=30)} | more
    ))  # fmt: skip


async def test_it_waits_until_the_operation_is_over_and_then_closes_with_the_evidence():
    world = await written()
    await world.run(until=timedelta(seconds=29))
    assert world.state() is State.VERIFYING
    reads = world.hubs.count("get")
    assert 3 <= reads <= 8
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.finding().history[-1].reason == "verified: the hub no longer shows it"
    assert world.events()[-2:] == ["written", "cleared"]
    assert world.record().verdicts == {"tls-minimum": "compliant"}
    assert not world.audit.of("slipped")
    assert world.hubs.count("get") <= reads + 3


async def test_it_waits_for_the_new_etag():
    """A read just after the write can show the hub from before it, at rest."""
    world = await written()
    operation, world.hubs.hubs[HUB].operation = world.hubs.hubs[HUB].operation, None
    for _ in range(3):
        await verify(world.ports, message(world))
        assert world.state() is State.VERIFYING
        world.clock.turn(minutes=2)
    world.hubs.hubs[HUB].operation = operation
    await world.run()
    assert world.state() is State.RESOLVED


async def test_the_ticket_closes_with_the_proof():
    world = World("ticket")
    world.hubs.add()
    await world.drift()
    await world.run()
    assert world.tickets.open_ones
    world.policy = policy("auto")
    await world.sweep()
    await world.run()
    (ticket,) = world.tickets.tickets.values()
    assert not ticket.is_open
    assert ticket.closing_note == "verified: the hub no longer shows it"


async def test_a_write_without_effect_goes_to_people_and_is_not_repeated():
    world = await written()
    world.hubs.hubs[HUB].operation.body["properties"]["minTlsVersion"] = "1.0"
    await world.run()
    assert [step.state for step in world.finding().history[-2:]] == [State.FAILED, State.TICKETED]
    assert "the drift is still there" in world.tickets.open_ones[0].text
    await world.live(hours=30)
    assert world.hubs.count("put") == 0
    assert world.state() is State.TICKETED
    assert not world.audit.of("slipped")


async def test_a_fix_that_somebody_overtook_is_made_again():
    world = await written()
    world.hubs.hubs[HUB].operation.done_at = world.clock.at
    await world.drift(value="1.1", by=SOMEBODY)
    await world.run()
    assert world.state() is State.RESOLVED
    assert "overtaken" in world.events()
    assert world.hubs.count("put") == 1  # the first was before we began to count
    overtaken = next(step for step in world.finding().history if step.event == "overtaken")
    assert overtaken.reason == "Jo Doe wrote the hub after our fix, and the drift is back"
    assert world.finding().actor.object_id == SOMEBODY


async def test_what_cannot_be_seen_in_time_goes_to_people():
    world = await written()
    world.hubs.hubs[HUB].operation.done_at += timedelta(days=1)
    await world.run()
    assert world.state() is State.TICKETED
    (ticket,) = world.tickets.open_ones
    assert "could not be verified in time: the operation on the hub is not over" in ticket.text
    assert world.hubs.count("get") < 140  # two messages wait: the guard of the claim is one


async def test_however_long_it_waits_it_can_count():
    world = await written()
    world.hubs.hubs[HUB].operation.done_at += timedelta(days=10)
    await verify(world.ports, message(world, attempt=999))
    assert world.work.sent[-1][1] == timedelta(seconds=30)


async def test_a_hub_that_is_not_found_just_after_the_write_is_tolerated():
    world = await written()
    world.hubs.faults["get"] = [HubGoneError("404"), HubGoneError("404"), HubGoneError("404")]
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.finding().history[-1].reason.startswith("verified")
    assert world.record() is not None


async def test_a_hub_that_stays_away_is_gone():
    world = await written()
    world.hubs.hubs[HUB].gone = True
    await world.run()
    assert world.finding().history[-1].reason == "the hub is gone"
    assert world.record() is None


@pytest.mark.parametrize("error", [
    TransientError("503", retry_after=timedelta(seconds=90)), DeniedError("403 AuthorizationFailed"),
])  # fmt: skip
async def test_a_hub_that_cannot_be_read_is_waited_for(error):
    world = await written()
    world.hubs.faults["get"] = [error]
    await verify(world.ports, message(world))
    assert world.state() is State.VERIFYING
    wait = getattr(error, "retry_after", None) or timedelta(seconds=2)
    assert world.work.sent[-1][1] == wait
    await world.run()
    assert world.state() is State.RESOLVED


async def test_a_change_that_slipped_in_is_told():
    world = await written()
    world.hubs.hubs[HUB].operation.done_at = world.clock.at
    world.hubs.change(path=("properties", "routing"), value={})
    await world.run()
    assert world.state() is State.RESOLVED
    said = "verified; meanwhile somebody else changed properties.routing: the hub no longer shows it"
    assert world.finding().history[-1].reason == said
    assert [line["changed"] for line in world.audit.of("slipped")] == [["properties.routing"]]


async def test_somebody_else_set_the_same_path_to_something_as_good():
    world = await written()
    world.hubs.hubs[HUB].operation.done_at = world.clock.at
    world.hubs.change(value="1.3")
    await world.run()
    assert world.state() is State.RESOLVED
    assert [line["changed"] for line in world.audit.of("slipped")] == [["properties.minTlsVersion"]]


async def test_a_second_verify_of_the_same_fix_asks_azure_nothing():
    world = await written()
    late = message(world)
    await world.run()
    world.hubs.calls.clear()
    await verify(world.ports, late)
    await verify(world.ports, late.model_copy(update={"digest": "sha256:of another fix"}))
    assert not world.hubs.calls


async def test_while_its_worker_may_live_a_fix_is_left_to_it():
    world = World()
    world.hubs.add()
    world.hubs.change()
    await world.handle(ask(at=world.clock.now()))
    world.gates.kill_when = lambda name: name == "after FakeHubs.put_hub"
    await world.run(until=timedelta(seconds=1))
    assert world.state() is State.EXECUTING
    reads = world.hubs.count("get")
    await verify(world.ports, message(world))
    assert world.state() is State.EXECUTING
    assert world.hubs.count("get") == reads
    assert timedelta(seconds=50) < world.work.sent[-1][1] <= timedelta(seconds=61)
    await world.run()
    assert world.state() is State.RESOLVED
    assert "uncertain" in world.events()
    assert len(world.hubs.effective) == 1


async def test_a_rule_that_cannot_be_judged_any_more_ends_nothing():
    """Neither resolved nor forgotten: after the time is up people are told."""
    world = await written()

    def unknown(_snapshot, _settings):
        yield Unknown("Azure's answer does not hold the hub's properties")

    world.rules = (replace(RULES[0], detect=unknown),)
    await world.run(until=timedelta(minutes=10))
    assert world.state() is State.VERIFYING
    await world.run()
    assert world.state() is State.TICKETED
    assert "tls-minimum cannot be judged: Azure's answer" in world.tickets.open_ones[0].text


async def test_a_rule_that_was_switched_off_meanwhile():
    world = await written()
    world.policy = policy("off")
    await world.live(hours=1)
    assert world.state() in {State.TICKETED, State.REPORTED}
    assert "tls-minimum cannot be judged: it is off" in str(world.finding().history)


async def test_a_hub_that_died_of_it():
    world = await written()
    world.hubs.hubs[HUB].operation = None
    world.hubs.hubs[HUB].body["properties"] |= {"state": "ActivationFailed", "provisioningState": "Failed"}
    world.hubs._new_etag(HUB)
    await world.live(hours=1)
    assert world.state() is State.TICKETED
    assert "ActivationFailed" in world.tickets.open_ones[0].text


async def test_an_answer_without_properties_ends_nothing():
    world = await written()
    world.hubs.hubs[HUB].operation = None
    del world.hubs.hubs[HUB].body["properties"]
    world.hubs._new_etag(HUB)
    world.hubs._fine = lambda _: True
    await verify(world.ports, message(world))
    assert world.state() is State.VERIFYING


async def test_an_operation_that_failed_is_over():
    world = await written()
    body = world.hubs.hubs[HUB].body
    world.hubs.hubs[HUB].operation = None
    body["properties"]["provisioningState"] = "Failed"
    world.hubs._new_etag(HUB)
    await verify(world.ports, message(world))
    assert world.state() is State.TICKETED
    assert "the drift is still there" in world.finding().history[-1].reason


async def test_a_change_that_our_write_may_have_undone_is_told():
    """Azure may take a write whose If-Match is stale; then only the other one's event tells."""
    world = World()
    world.hubs.add()
    await world.drift()
    await world.run(until=timedelta(seconds=1))
    attempt = world.finding().attempt
    between = attempt.read_at + (attempt.written_at - attempt.read_at) / 2
    await world.event(arm_event(at=between))
    await world.event(arm_event(at=between))
    await world.run()
    [told] = world.audit.of("overwritten")
    assert told["hub"] == HUB.path
    assert told["plan"] == attempt.digest


@pytest.mark.parametrize("edge", ["read_at", "written_at"])
async def test_a_change_before_our_reading_or_after_our_write_is_not_undone_by_it(edge):
    world = World()
    world.hubs.add()
    await world.drift()
    await world.run(until=timedelta(seconds=1))
    attempt = world.finding().attempt
    moments = {"read_at": attempt.read_at, "written_at": attempt.written_at + timedelta(microseconds=1)}
    await world.event(arm_event(at=moments[edge]))
    await world.run()
    assert not world.audit.of("overwritten")


async def test_a_drift_that_somebody_brought_back_at_once_is_fixed_when_its_event_comes_late():
    world = await written()
    world.clock.turn(seconds=31)
    event = world.hubs.change()
    await world.run()
    assert world.state() is State.TICKETED
    await world.event(event)
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.tls() == "1.2"
