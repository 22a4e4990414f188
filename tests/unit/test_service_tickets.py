"""Tickets: opened where people must act, closed when the drift is proven gone, and never in the way."""

from __future__ import annotations

import logging

from datetime import timedelta

import pytest

from hubwarden.domain.finding import State
from hubwarden.service.errors import DeniedError, HubGoneError, PermanentError
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
