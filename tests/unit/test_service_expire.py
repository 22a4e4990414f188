"""A request that nobody answers: when its time is over, what becomes of it, and how it is asked again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hubwarden.domain.approval import Approver, Via
from hubwarden.domain.finding import State
from hubwarden.service.approve import NotAskedError, approve
from hubwarden.service.expire import expire
from tests.unit.fakes import World


KIM = Approver("Kim", Via.SIGN_IN)


async def asked(more=""):
    world = World("approve", more=more)
    world.hubs.add()
    await world.sweep()
    await world.drift()
    await world.run()
    assert world.state() is State.AWAITING_APPROVAL
    return world


def pass_(world, **time):
    made = world.finding().proposal.made_at
    world.clock.turn(seconds=(made + timedelta(**time) - world.clock.now()).total_seconds())


async def yes(world):
    finding = world.finding()
    return await approve(world.ports, finding.id, plan=finding.proposal.digest, by=KIM, reason="r")


async def look(world):
    await world.sweep()
    await world.run()


async def by_command(world):
    with pytest.raises(NotAskedError, match="it is ticketed: nobody decided on plan"):
        await yes(world)


@pytest.mark.parametrize("seen_by", [look, lambda world: expire(world.ports), by_command])
async def test_after_a_day_it_is_a_plain_ticket_whoever_notices_first(seen_by):
    world = await asked()
    pass_(world, hours=24)
    await seen_by(world)
    finding = world.finding()
    assert finding.state is State.TICKETED
    assert world.events()[-2:] == ["expire", "ticket"]
    assert finding.ruling.state is State.EXPIRED
    assert "within 24 hours" in finding.history[-1].reason
    [ticket] = world.tickets.open_ones
    assert "nobody decided on plan" in ticket.text
    assert "To approve it" not in ticket.text
    assert world.hubs.effective == []


async def test_a_moment_before_it_can_still_be_approved():
    world = await asked()
    pass_(world, hours=24, seconds=-1)
    await expire(world.ports)
    assert (await yes(world)).state is State.APPROVED


async def test_policy_says_how_long():
    world = await asked("approvals:\n  expires_hours: 2\n")
    pass_(world, hours=2)
    await expire(world.ports)
    assert world.state() is State.TICKETED
    assert "within 2 hours" in world.finding().history[-1].reason


async def test_it_stays_a_ticket_and_nobody_is_asked_every_day():
    world = await asked()
    pass_(world, hours=24)
    await look(world)
    told = world.finding().history
    for _ in range(5):
        world.clock.turn(hours=20)
        await look(world)
    assert world.finding().history == told


async def test_a_change_of_the_hub_asks_anew_with_time_of_its_own():
    world = await asked()
    first = world.finding().proposal
    pass_(world, hours=24)
    await look(world)
    world.clock.turn(minutes=5)
    await world.drift(value="1.1")
    await world.run()
    finding = world.finding()
    assert finding.state is State.AWAITING_APPROVAL
    assert finding.proposal.made_at > first.made_at
    assert (await yes(world)).state is State.APPROVED


async def test_a_drift_that_goes_by_itself_closes_the_expired_ticket():
    world = await asked()
    pass_(world, hours=24)
    await look(world)
    world.hubs.change(value="1.2")
    await look(world)
    assert world.state() is State.RESOLVED
    assert world.tickets.open_ones == []
