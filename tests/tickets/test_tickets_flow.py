"""From the drift to the proof, with each ticket system in its place: down, slow to recover, closed by hand."""

from __future__ import annotations

import logging

from datetime import timedelta

import pytest

from hubwarden.domain.finding import State
from hubwarden.service.errors import DeniedError
from hubwarden.service.messages import Queue, TicketMessage
from tests.tickets.vendors import ASKED, VENDORS
from tests.unit.fakes import World, hub_id, policy


EVERY = pytest.mark.parametrize("name", VENDORS)


@pytest.fixture(autouse=True)
def _quiet(caplog):
    with caplog.at_level(logging.CRITICAL):
        yield


async def world_with(desk_of, name, mode="ticket"):
    """A world whose tickets live in that system; their pauses are measured by the world's clock."""
    desk, world = await desk_of(name), World(mode)
    world.tickets = desk.tickets

    def seconds():
        return world.clock.at.timestamp()

    desk.tickets._now = seconds
    world.hubs.add()
    return desk.vendor, world


@EVERY
async def test_a_drift_has_a_ticket_that_closes_once_the_hub_is_proven_compliant(desk_of, name):
    vendor, world = await world_with(desk_of, name)
    await world.drift()
    await world.run()
    (item,) = vendor.open_ones
    assert item.key == world.finding().id
    assert "TLS" in item.title
    world.hubs.fault = lambda kind, _: DeniedError("403") if kind == "get" else None
    await world.drift(value="1.2")
    await world.run(until=timedelta(seconds=20))
    assert item.state == "open"
    world.hubs.fault = lambda *_: None
    await world.sweep()
    await world.run()
    assert item.state == "closed"
    assert not vendor.refusals


@EVERY
async def test_a_system_that_is_down_delays_its_ticket_and_nothing_else(desk_of, name):
    vendor, world = await world_with(desk_of, name, "auto")
    vendor.faults = [(503, {"Retry-After": "40"}, None)] * 3
    world.policy = policy("ticket")
    await world.drift()
    await world.run(until=timedelta(seconds=30))
    assert world.state() is State.TICKETED
    assert len(vendor.requests) == 1
    assert world.work.of(TicketMessage)
    world.policy = policy("auto")
    await world.sweep()
    await world.run()
    assert world.state() is State.RESOLVED
    assert len(world.hubs.effective) == 1
    assert not vendor.open_ones
    assert world.finding().ticket_trouble is None


@EVERY
async def test_a_system_that_stays_down_ends_in_poison_and_comes_back_with_the_sweeps(desk_of, name):
    vendor, world = await world_with(desk_of, name)
    vendor.faults = [(500, {}, None)] * 1000
    await world.drift()
    await world.run()
    assert [queue for queue, _ in world.work.poison] == [Queue.TICKETS]
    assert len(vendor.requests) <= 14
    vendor.faults.clear()
    world.clock.turn(minutes=15)
    await world.sweep()
    assert len(vendor.open_ones) == 1


@pytest.mark.parametrize("name", ASKED)
async def test_somebody_who_closes_the_ticket_by_hand_closes_no_finding(desk_of, name):
    vendor, world = await world_with(desk_of, name)
    await world.drift()
    await world.run()
    (item,) = vendor.items
    item.state = "closed"
    await world.live(hours=1)
    assert world.state() is State.TICKETED
    assert item.state == "closed"
    for value in ("1.2", "1.1"):
        await world.drift(value=value)
        await world.run()
    assert item.state == "open"


@EVERY
async def test_an_open_finding_gets_its_ticket_in_the_system_that_the_policy_file_names_by_now(desk_of, name):
    world = World("ticket")
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    old, desk = world.tickets, await desk_of(name)
    world.tickets = desk.tickets
    await world.live(hours=30)
    (item,) = desk.vendor.open_ones
    assert item.key == world.finding().id
    assert world.finding().ticket_system == desk.tickets.system
    asked = len(desk.vendor.requests)
    await world.live(hours=30)
    assert len(desk.vendor.requests) == asked
    assert old.open_ones, "nobody writes to the old system any more"
    await world.drift(value="1.2")
    await world.run()
    assert not desk.vendor.open_ones
    assert (world.finding().ticket_open, world.finding().ticket_system) == (False, None)


async def test_a_new_system_that_is_down_gets_its_ticket_later_and_the_finding_waits_for_it(desk_of):
    world = World("ticket")
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    desk = await desk_of("github")
    desk.vendor.faults = [(503, {}, None)]
    world.tickets = desk.tickets

    def seconds():
        return world.clock.at.timestamp()

    desk.tickets._now = seconds
    await world.sweep()
    assert world.finding().ticket_trouble is not None
    assert not desk.vendor.open_ones
    await world.run()
    assert len(desk.vendor.open_ones) == 1
    assert world.finding().ticket_trouble is None


async def test_a_drift_that_is_gone_before_the_new_system_has_its_ticket_needs_none_there(desk_of):
    world = World("ticket")
    world.hubs.add(minTlsVersion="1.0")
    await world.sweep()
    desk = await desk_of("github")
    world.tickets = desk.tickets
    await world.drift(value="1.2")
    await world.run()
    assert desk.vendor.items == []
    assert not world.finding().ticket_open
    assert world.finding().ticket_trouble is None


async def test_a_hundred_drifts_while_the_system_is_down_cost_a_few_requests_and_are_all_told_later(desk_of):
    vendor, world = await world_with(desk_of, "github")
    hubs = [world.hubs.add(hub_id(f"hub-{number}"), minTlsVersion="1.0") for number in range(100)]
    vendor.faults = [(503, {"Retry-After": "60"}, None)] * 50
    record = await world.sweep()
    assert (record.drifting, dict(record.unknown)) == (100, {})
    assert len(vendor.requests) <= 16
    vendor.faults.clear()
    await world.run()
    assert sorted(item.key for item in vendor.open_ones) == sorted(world.finding(hub).id for hub in hubs)
    assert not vendor.refusals
