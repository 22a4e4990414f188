"""A ReadOnly lock is seen before the write, where it can be read."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hubwarden.domain.finding import State
from hubwarden.service.errors import DeniedError, PermanentError, TransientError
from tests.unit.fakes import HUB, SUB, SUB2, World, arm_event


DELETED = "Microsoft.Resources.ResourceDeleteSuccess"
GROUP = HUB.path.partition("/providers/")[0]


async def drifting(*locks):
    world = World()
    world.hubs.add()
    world.hubs.read_only = list(locks)
    await world.drift()
    return world


@pytest.mark.parametrize("lock", [HUB.path, GROUP, f"/subscriptions/{SUB}"])
async def test_what_is_locked_is_not_written_and_a_ticket_names_the_lock(lock):
    world = await drifting(lock)
    await world.run()
    assert (world.state(), world.hubs.count("put")) == (State.TICKETED, 0)
    [ticket] = world.tickets.open_ones
    assert f"a ReadOnly lock on {lock} forbids it; remove the lock" in ticket.text
    await world.live(hours=20)
    assert world.hubs.count("locks") == 1, "it is not asked about on every sweep"
    world.hubs.read_only.clear()
    await world.drift(path=("tags", "x"), value="the lock is off")
    await world.run()
    assert world.state() is State.RESOLVED
    assert not world.violations


@pytest.mark.parametrize("scope", [HUB.path, GROUP, f"/subscriptions/{SUB}"])
async def test_the_fix_goes_on_at_once_when_a_lock_is_taken_off(scope):
    world = await drifting(scope)
    await world.run()
    assert world.state() is State.TICKETED
    world.hubs.read_only.clear()
    world.clock.turn(hours=1)
    lock = f"{scope}/providers/Microsoft.Authorization/locks/no"
    await world.event(arm_event(kind=DELETED, resourceUri=lock, at=world.clock.now()))
    await world.run(until=timedelta(minutes=5))
    assert world.state() is State.RESOLVED
    assert not world.violations


@pytest.mark.parametrize(
    "lock", [f"{HUB.path}0", f"{GROUP}-2", f"/subscriptions/{SUB2}", f"{HUB.path}/providers/x/y/z"]
)
async def test_what_is_locked_elsewhere_is_written(lock):
    world = await drifting(lock)
    await world.run()
    assert world.state() is State.RESOLVED


@pytest.mark.parametrize("error", [DeniedError("403"), TransientError("429"), PermanentError("400")])
async def test_where_locks_cannot_be_read_the_write_finds_out(error):
    world = await drifting(HUB.path)
    world.hubs.faults["locks"] = [error]
    world.hubs.faults["put"] = [DeniedError("409 ScopeLocked")]
    await world.run(until=timedelta(minutes=5))
    assert (world.state(), world.hubs.count("put")) == (State.TICKETED, 1)
    assert "409 ScopeLocked" in world.tickets.open_ones[0].text
