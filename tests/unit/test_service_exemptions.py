from __future__ import annotations

from datetime import date, timedelta

import pytest

from hubwarden.domain.finding import State
from hubwarden.domain.message import Kind
from hubwarden.service.exemptions import tell_ends
from tests.unit.fakes import HUB, FakeChannel, FakeOutbox, World, ask


EXEMPT = """\
exemptions:
  - {rule: tls-minimum, hub: %s, until: %s, reason: a migration, owner: jo}
"""
TOLD = """\
notify:
  channels: {ops: {kind: slack}}
  routes: [{channels: [ops]}]
"""
BY_TAG = "exemptions_by_tag: allowed\n"


def world_with(more, *, until=None):
    world = World(more=more + (EXEMPT % (HUB.path, until) if until else ""))
    world.outbox, world.channels = FakeOutbox(world.gates, world.log), {"ops": FakeChannel()}
    world.hubs.add(minTlsVersion="1.0")
    return world


def tag(world, **tags):
    world.hubs.hubs[HUB].body["tags"] = {name.replace("_", "-"): value for name, value in tags.items()}
    world.hubs._new_etag(HUB)


def told(world):
    return [message for message in world.channels["ops"].sent if message.kind is Kind.EXEMPTION_ENDS]


async def days(world, number):
    """Days pass, with a sweep and what follows it each day."""
    for _ in range(number):
        world.clock.turn(days=1)
        await world.sweep()
        await tell_ends(world.ports)
        await world.run(until=timedelta(minutes=30))


async def test_it_is_told_before_an_exemption_ends_and_once_and_then_the_drift_is_fixed():
    world = world_with(TOLD, until="2026-12-05")
    await days(world, 4)
    assert (world.state(), told(world)) == (State.EXEMPT, [])
    assert world.finding().exempted.until == date(2026, 12, 5)
    await days(world, 1)
    [message] = told(world)
    assert "An exemption ends soon" in message.title
    assert "exempt until 2026-12-05 by jo: a migration" in message.lines[-1]
    await days(world, 7)
    assert (world.state(), len(told(world))) == (State.EXEMPT, 1)
    await days(world, 1)
    assert world.state() is State.RESOLVED
    assert world.finding().exempted is None
    assert world.violations == []


async def test_an_exemption_that_is_extended_is_told_of_again_before_its_new_end():
    world = world_with(BY_TAG + TOLD)
    tag(world, hubwarden_exempt="tls-minimum=2026-11-26;reason=r;owner=o")
    await days(world, 1)
    assert len(told(world)) == 1
    tag(world, hubwarden_exempt="tls-minimum=2026-12-20;reason=r;owner=o")
    await days(world, 10)
    assert (world.state(), len(told(world))) == (State.EXEMPT, 1)
    await days(world, 10)
    assert len(told(world)) == 2


async def test_a_notice_whose_exemption_is_gone_meanwhile_is_not_sent():
    world = world_with(TOLD, until="2026-11-25")
    await world.sweep()
    await tell_ends(world.ports)
    world.policy = world_with(TOLD).policy
    await world.handle(ask(at=world.clock.now()))
    await world.run()
    assert told(world) == []


async def test_two_workers_tell_it_once():
    world = world_with(TOLD, until="2026-11-25")
    await world.sweep()
    seen = [finding async for finding in world.findings.everything()]
    await tell_ends(world.ports)
    assert [finding.end_told_at for finding in seen] == [None]
    await tell_ends(world.ports)
    await world.run()
    assert [message.count for message in told(world)] == [1]


@pytest.mark.parametrize("by", ["file", "tag"])
async def test_an_exempt_drift_is_neither_fixed_nor_ticketed_and_says_by_whom(by):
    world = world_with(BY_TAG, until="2026-12-05" if by == "file" else None)
    if by == "tag":
        tag(world, hubwarden_exempt="tls-minimum=2026-12-05;reason=a migration;owner=jo")
    await world.sweep()
    await world.run()
    assert (world.state(), world.hubs.effective, world.tickets.open_ones) == (State.EXEMPT, [], [])
    exempted = world.finding().exempted
    assert (exempted.owner, exempted.reason) == ("jo", "a migration")
    assert exempted.source == ("policy exemptions[0]" if by == "file" else "the hub's tag hubwarden-exempt")


async def test_an_approved_fix_does_not_run_once_a_tag_cannot_be_read():
    world = world_with(BY_TAG)
    await world.handle(ask())
    assert world.state() is State.APPROVED
    tag(world, hubwarden_exempt="tls-minimum=someday")
    await world.run()
    assert (world.state(), world.hubs.effective) == (State.TICKETED, [])
    [ticket] = world.tickets.open_ones
    assert "the hub's tag hubwarden-exempt is no exemption that can be read" in ticket.text
    tag(world, hubwarden_exempt="tls-minimum=2026-12-05;reason=r;owner=o")
    await world.handle(ask(at=world.clock.now()))
    assert world.state() is State.EXEMPT
