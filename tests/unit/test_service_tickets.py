"""Tickets: opened where people must act, closed when the drift is proven gone, and never in the way."""

from __future__ import annotations

import logging

from datetime import timedelta

import pytest

from hubwarden.domain.finding import State
from hubwarden.service.errors import DeniedError, HubGoneError, PermanentError, StaleWriteError, TransientError
from hubwarden.service.health import health
from hubwarden.service.messages import Queue, TicketMessage
from tests.unit.fakes import HUB, World, ask, policy


@pytest.fixture(autouse=True)
def _quiet(caplog):
    with caplog.at_level(logging.CRITICAL):
        yield


async def ticketed(**more):
    world = World("ticket", **more)
    world.hubs.add()
    await world.drift()
    await world.run()
    return world


def text(world):
    (ticket,) = world.tickets.tickets.values()
    return ticket.text


async def test_the_text_says_what_where_since_who_why_risk_and_how(snapshot):
    world = await ticketed()
    assert text(world) == snapshot
    (ticket,) = world.tickets.open_ones
    assert ticket.title == snapshot
    assert ticket.key == world.finding().id
    assert (ticket.hub, ticket.rule_id) == (HUB, "tls-minimum")


async def test_the_text_of_one_that_waits_for_an_approval(snapshot):
    world = World("approve")
    world.hubs.add(minTlsVersion="1.1")
    await world.sweep()
    assert world.state() is State.AWAITING_APPROVAL
    assert text(world) == snapshot


async def test_the_text_of_one_that_azure_refused(snapshot):
    world = World()
    world.hubs.add()
    world.hubs.faults["put"] = [DeniedError("writing the hub: 409 ScopeLocked: remove the lock and try again")]
    await world.drift()
    await world.run()
    assert text(world) == snapshot


async def test_an_open_ticket_is_told_when_the_reason_changes():
    world = World()
    world.hubs.add()
    world.hubs.faults["put"] = [DeniedError("ScopeLocked"), PermanentError("400 never")]
    await world.drift()
    await world.run()
    assert "ScopeLocked" in text(world)
    await world.drift(path=("tags", "a"), value="b")
    await world.run()
    assert "400 never" in text(world)
    assert "ScopeLocked" not in text(world)
    assert world.tickets.open_ones[0].occurrences == 1


async def test_a_rule_that_is_not_known_any_more_has_a_text_all_the_same():
    world = await ticketed()
    world.tickets.tickets.clear()
    finding = world.finding()
    world.rules = ()
    from hubwarden.service.desk import ticket_text

    said = ticket_text(world.ports, finding)
    assert HUB.path in said
    assert "Risk" not in said


@pytest.mark.parametrize("mode", ["ticket", "approve"])
async def test_a_ticket_system_that_is_down_stops_nothing_and_is_caught_up_with(mode):
    world = World(mode)
    world.tickets.down = True
    world.hubs.add(minTlsVersion="1.0")
    record = await world.sweep()
    assert record.complete
    assert world.state() in {State.TICKETED, State.AWAITING_APPROVAL}
    assert not world.finding().ticket_open
    world.tickets.down = False
    await world.sweep()
    assert len(world.tickets.open_ones) == 1
    assert world.finding().ticket_open
    world.tickets.down = True
    await world.drift(value="1.2")
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.finding().ticket_open
    assert world.tickets.open_ones
    world.tickets.down = False
    await world.sweep()
    assert not world.tickets.open_ones
    assert not world.finding().ticket_open
    assert not world.errors


async def test_a_fix_goes_its_way_while_the_ticket_system_is_down():
    world = await ticketed()
    world.policy = policy("auto")
    world.tickets.down = True
    await world.sweep()
    await world.run()
    assert world.state() is State.RESOLVED
    assert len(world.hubs.effective) == 1


async def test_the_ticket_of_a_hub_that_is_gone_is_closed_later_too():
    world = await ticketed()
    world.hubs.hubs[HUB].gone = True
    world.tickets.down = True
    await world.sweep()
    assert world.state() is State.RESOLVED
    assert world.tickets.open_ones
    world.tickets.down = False
    await world.sweep()
    assert not world.tickets.open_ones
    assert world.record() is None


async def test_only_evidence_closes_a_ticket():
    world = await ticketed()
    for error in (DeniedError("403"), PermanentError("no JSON")):
        world.hubs.faults["get"] = [error]
        await world.handle(ask(at=world.clock.now()))
        assert world.tickets.open_ones
    for mode in ("report", "off", "auto"):
        world.policy = policy(mode)
        world.hubs.fault = lambda kind, _: DeniedError("403") if kind == "put" else None
        await world.sweep()
        await world.run()
        assert world.tickets.open_ones, mode
    world.policy = policy("report")
    await world.drift(value="1.2")
    await world.run()
    (ticket,) = world.tickets.tickets.values()
    assert not ticket.is_open
    assert ticket.closing_note == "event Microsoft.Devices/IotHubs/write: the hub no longer shows it"
    assert ticket.changed_at == world.finding().history[-1].at


async def test_a_drift_that_comes_back_opens_the_same_ticket():
    world = await ticketed()
    for value in ("1.2", "1.0"):
        await world.drift(value=value)
        await world.run()
    (ticket,) = world.tickets.tickets.values()
    assert ticket.is_open
    assert ticket.occurrences == 2
    assert "seen 2 time(s)" in ticket.text


async def test_seeing_it_again_opens_no_second_ticket():
    world = await ticketed()
    opened = list(world.log)
    await world.live(hours=2)
    assert len(world.tickets.tickets) == 1
    assert [entry for entry in world.log[len(opened) :] if entry[0] == "ticket"] == []


async def test_reported_drift_has_no_ticket():
    world = World("report")
    world.hubs.add(minTlsVersion="1.0")
    await world.live(hours=1)
    assert not world.tickets.tickets


async def test_a_hub_that_is_deleted_while_it_has_a_ticket():
    world = await ticketed()
    world.hubs.faults["get"] = [HubGoneError("404")]
    gone = ask(at=world.clock.now() + timedelta(seconds=1), deleted=True)
    await world.handle(gone)
    assert not world.tickets.open_ones


# --- what the ticket system could not take is settled later


def trouble(world):
    return world.finding().ticket_trouble


async def in_trouble(error=None):
    """A finding whose ticket could not be opened."""
    world = World("ticket")
    world.tickets.down = True
    world.tickets.error = error or TransientError("the ticket system says 503", retry_after=timedelta(seconds=90))
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    return world


async def test_a_message_settles_what_could_not_be_and_waits_as_long_as_was_asked():
    world = await in_trouble()
    ((message, delay),) = world.work.sent
    assert message == TicketMessage(hub=HUB.path, finding=world.finding().id)
    assert delay == timedelta(seconds=90)
    assert trouble(world).reason == "the ticket system says 503"
    world.tickets.down = False
    await world.run()
    assert len(world.tickets.open_ones) == 1
    assert world.finding().ticket_open
    assert trouble(world) is None


async def test_there_is_one_message_however_often_the_hub_is_looked_at():
    world = await in_trouble()
    since = trouble(world).since
    for _ in range(3):
        world.clock.turn(minutes=15)
        await world.sweep()
    assert len(world.work.of(TicketMessage)) == 1
    assert trouble(world).since == since


async def test_a_dead_ticket_system_ends_in_poison_and_audit_and_the_next_sweep_tries_all_the_same():
    world = await in_trouble()
    await world.run()
    assert [queue for queue, _ in world.work.poison] == [Queue.TICKETS]
    assert trouble(world) is not None
    assert not world.errors
    world.tickets.down = False
    await world.sweep()
    assert len(world.tickets.open_ones) == 1
    assert trouble(world) is None


async def test_the_ticket_follows_the_state_that_the_finding_has_by_then():
    world = await in_trouble()
    await world.drift(value="1.2")
    await world.run(until=timedelta(seconds=20))
    assert world.state() is State.RESOLVED
    world.tickets.down = False
    await world.run()
    assert not world.tickets.open_ones
    assert trouble(world) is None


async def test_a_ticket_that_may_have_been_opened_all_the_same_is_closed():
    world = await in_trouble()
    arrived = world.finding()
    world.tickets.down = False
    from hubwarden.service.desk import _ticket

    await world.tickets.open(_ticket(world.ports, arrived))
    await world.drift(value="1.2")
    await world.run()
    assert not world.tickets.open_ones


async def test_news_that_did_not_arrive_is_told_later():
    world = World()
    world.hubs.add()
    world.hubs.faults["put"] = [DeniedError("ScopeLocked"), PermanentError("400 never")]
    await world.drift()
    await world.run()
    world.tickets.down = True
    await world.drift(path=("tags", "a"), value="b")
    await world.run(until=timedelta(minutes=2))
    assert "400 never" not in text(world)
    world.tickets.down = False
    await world.run()
    assert "400 never" in text(world)


async def test_what_a_ticket_system_refuses_is_left_to_the_sweeps():
    world = await in_trouble(DeniedError("401: the token has expired"))
    assert not world.work.of(TicketMessage)
    assert trouble(world).reason == "401: the token has expired"
    world.tickets.down = False
    await world.sweep()
    assert world.finding().ticket_open


async def test_a_message_about_a_finding_that_needs_nothing_does_nothing():
    world = await ticketed()
    before = list(world.log)
    for finding in (world.finding().id, "f-unknown"):
        await world.handle(TicketMessage(hub=HUB.path, finding=finding))
    assert world.log == before


async def test_a_message_that_meets_a_refusal_ends_and_one_that_meets_a_race_comes_again():
    world = await in_trouble()
    ((message, _),) = world.work.sent
    world.work.letters.clear()
    world.tickets.error = DeniedError("401")
    await world.handle(message)
    assert not world.work.letters
    world.tickets.down = False
    world.findings.save = _stale
    await world.handle(message)
    assert world.work.of(TicketMessage) == [message.model_copy(update={"attempt": 1})]


async def _stale(*_):
    raise StaleWriteError("somebody else was faster")


async def test_health_says_since_when_how_many_tickets_wait_and_why():
    world = await in_trouble()
    said = await health(
        world.records, world.findings, world.work, world.clock,
        next_sweep=lambda _: None, not_ready=None, warnings=(),
    )  # fmt: skip
    assert said["warnings"] == [
        "1 ticket(s) wait for the ticket system since 2026-11-23 09:00 UTC: the ticket system says 503"
    ]
