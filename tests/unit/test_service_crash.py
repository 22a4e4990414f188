"""The most important test: a worker may die anywhere, messages may come twice, late or in any order."""

from __future__ import annotations

import inspect
import random
import typing

from contextlib import suppress
from datetime import timedelta

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from hubwarden.domain.finding import State
from hubwarden.service.errors import (
    ConflictError,
    DeniedError,
    HubGoneError,
    PermanentError,
    TransientError,
)
from hubwarden.service.messages import RemediateMessage, VerifyMessage
from hubwarden.service.ports import Ports
from hubwarden.service.remediate import remediate
from hubwarden.service.verify import verify
from tests.points import EFFECTS, POINTS, READS, ROLLBACK, Path
from tests.unit.fakes import HUB, Killed, World, hub_id
from tests.unit.test_service_rollback import ask_back, fixed, say_yes


async def whole_flow(world):
    """From the event to the proof, without a sweep."""
    world.hubs.add()
    await world.drift()
    await world.run()


async def delivered(world, event):
    """Event Grid delivers again what was not taken."""
    for _ in range(3):
        with suppress(Killed):
            await world.event(event)
            return


async def gates_of_the_whole_flow():
    world = World()
    await whole_flow(world)
    assert world.state() is State.RESOLVED
    return world.gates.passed, world.gates.calls


async def assert_survives(world):
    assert world.hubs.compliant(), world.log
    assert world.state() is State.RESOLVED, world.log
    assert len(world.hubs.effective) == 1, world.log
    assert not world.violations
    assert not world.in_flight()
    assert not world.tickets.open_ones
    assert not world.work.poison


async def every_gate():
    passed, _ = await gates_of_the_whole_flow()
    assert passed > 60
    return range(1, passed + 1)


@pytest.mark.parametrize("sweeping", [True, False], ids=["with sweeps", "messages alone"])
async def test_a_worker_that_dies_at_any_port_call_leaves_nothing_undone(sweeping):
    needed_a_sweep = []
    for k in await every_gate():
        world = World()
        world.gates.kill_at = k
        world.hubs.add()
        event = world.hubs.change()
        await delivered(world, event)
        await world.run()
        if sweeping:
            await world.live(hours=1)
        elif world.state() is not State.RESOLVED:
            needed_a_sweep.append(world.gates.calls[k - 1])
            continue
        await assert_survives(world)
    # Only the few calls between the claim and its guard, and the end of a verify, are left to the sweep.
    assert len(needed_a_sweep) <= 6, needed_a_sweep


async def test_a_worker_that_dies_twice_leaves_nothing_undone():
    gates = await every_gate()
    for k in gates[::5]:
        for second in (1, 4, 9, 23):
            world = World()
            world.gates.kill_at = k
            world.hubs.add()
            await delivered(world, world.hubs.change())
            for _ in range(400):
                if world.killed and world.gates.kill_at == k:
                    world.gates.kill_at = world.gates.passed + second
                if not world.work.letters:
                    break
                await world.run(until=timedelta(seconds=1))
            await world.live(hours=1)
            await assert_survives(world)


async def test_a_ticket_survives_a_worker_that_dies_at_any_port_call():
    for k in range(1, 400):
        world = World("ticket")
        world.hubs.add(minTlsVersion="1.0")
        world.gates.kill_at = k
        await world.live(hours=1)
        assert world.state() is State.TICKETED
        assert len(world.tickets.open_ones) == 1
        world.hubs.change(value="1.2")
        await world.live(hours=1)
        assert world.state() is State.RESOLVED
        assert not world.tickets.open_ones
        assert not world.hubs.effective
        if not world.killed:
            return
    raise AssertionError("the flow never ended")


async def test_a_hub_that_is_deleted_survives_a_worker_that_dies_at_any_port_call():
    for k in range(1, 300):
        world = World()
        world.gates.kill_at = k
        world.hubs.add()
        world.hubs.change()
        await world.live(hours=0.25)
        world.hubs.hubs[HUB].gone = True
        await world.live(hours=1)
        assert world.state() in {State.RESOLVED, None}
        assert world.record() is None
        assert not world.violations
        if not world.killed:
            return
    raise AssertionError("the flow never ended")


async def test_both_halves_of_every_gate_are_covered():
    _, calls = await gates_of_the_whole_flow()
    for name in ("FakeHubs.put_hub", "FakeHubs.get_hub", "FakeWork.send", "FakeAudit.append", "FakeFindings.save"):
        assert f"before {name}" in calls
        assert f"after {name}" in calls


async def test_two_workers_interleaved_write_once():
    for seed in range(70):
        world = World(seed=seed)
        world.gates.random = random.Random(seed)
        world.deliver_twice = 0.5
        world.hubs.if_match_enforced = bool(seed % 2)
        await world.drift(world.hubs.add())
        await world.run(workers=3)
        await world.live(hours=0.5, workers=3)
        await assert_survives(world)


def an_error(rng, kind, world):
    """A scripted answer of ARM: mostly fine, sometimes each kind of no."""
    if rng.random() < 0.75:
        return None
    if kind == "get":
        return rng.choice([
            TransientError("429", retry_after=timedelta(seconds=rng.randrange(1, 400))),
            TransientError("503"),
            DeniedError("403", missing_action="Microsoft.Devices/IotHubs/read"),
            PermanentError("no JSON"),
            ConflictError("409"),
        ])  # fmt: skip
    if kind == "list":
        return rng.choice([TransientError("503"), DeniedError("403"), PermanentError("?"), HubGoneError("404")])
    error = rng.choice(
        [
            TransientError("429", retry_after=timedelta(seconds=rng.randrange(1, 400))),
            TransientError("504", sent=True),
            TransientError("cut", sent=True),
            ConflictError("409"),
            DeniedError("ScopeLocked"),
            PermanentError("400"),
        ]
    )
    if isinstance(error, TransientError) and error.sent:
        error.applied = rng.random() < 0.5
    return error


class Chaos:
    """One life of several hubs, in which everything goes wrong for a while."""

    def __init__(self, seed, fixes):
        self.rng = random.Random(seed)
        self.world = World(seed=seed, more=f"limits: {{breaker: {{fixes: {fixes}}}}}\n")
        self.world.deliver_twice = 0.2
        self.world.gates.random = self.rng
        self.world.gates.kill_chance = self.rng.choice([0, 0.005, 0.03])
        self.world.hubs.if_match_enforced = self.rng.random() < 0.5
        self.world.hubs.shows_early = self.rng.random() < 0.5
        self.world.hubs.takes = timedelta(seconds=self.rng.choice([0, 3, 30, 300]))
        self.world.hubs.fault = lambda kind, _: an_error(self.rng, kind, self.world)
        self.names = [hub_id(f"hub-{number}") for number in range(self.rng.randrange(1, 4))]
        self.audit_fails = self.rng.choice([0, 0, 0.05])
        self.world.audit.fails = lambda *_: self.rng.random() < self.audit_fails

    async def live(self):
        for hub in self.names:
            self.world.hubs.add(hub)
        for _ in range(self.rng.randrange(2, 8)):
            await self.something()
            self.world.tickets.down = self.rng.random() < 0.2
            await self.world.run(until=timedelta(seconds=self.rng.choice([0, 1, 20, 100, 2000])), workers=2)

    async def something(self):
        world, hub = self.world, self.rng.choice(self.names)
        if world.hubs.hubs[hub].operation is not None:
            return  # ARM lets nobody write while it is at it
        match self.rng.randrange(7):
            case 6:
                self.world.clock.turn(seconds=self.rng.choice([-90, -5, 90, 7200]))
                return
            case 0 | 1:
                event = world.hubs.change(hub, value=self.rng.choice(["1.0", "1.1", "nonsense"]))
            case 2:
                event = world.hubs.change(hub, value="1.2")
            case 3:
                event = world.hubs.change(hub, path=("tags", "note"), value=str(self.rng.random()))
            case 4:
                world.hubs.busy_for(hub, seconds=self.rng.randrange(60))
                return
            case _:
                return
        for _ in range(self.rng.choice([0, 1, 1, 3])):  # lost, or doubled
            with suppress(Killed):
                await world.event(event)

    async def calm(self):
        """The faults stop and time passes."""
        world = self.world
        world.gates.random, world.gates.kill_chance = None, 0
        world.hubs.fault = lambda *_: None
        self.audit_fails = 0
        world.tickets.down = False
        await world.live(hours=2)


@given(seed=st.integers(0, 2**32), fixes=st.sampled_from([1, 3]))
@settings(max_examples=150)
async def test_whatever_goes_wrong_the_promises_hold(seed, fixes):
    """With a breaker that trips late, and with one that trips at once."""
    chaos = Chaos(seed, fixes)
    await chaos.live()
    await chaos.calm()
    world = chaos.world
    assert not world.violations, (seed, world.log)
    assert not world.in_flight(), (seed, world.log)
    for hub in chaos.names:
        finding = world.finding(hub)
        if world.hubs.compliant(hub):
            assert finding is None or finding.state is State.RESOLVED, (seed, finding)
            assert finding is None or not finding.ticket_open, (seed, finding)
        else:
            assert finding is not None, (seed, world.log)
            stopped = finding.state is State.HELD and finding.hold is not None and finding.hold.by == "the breaker"
            assert stopped or finding.state is State.TICKETED, (seed, finding)
            assert stopped or finding.obstacle is not None, (seed, finding)
            assert world.tickets.tickets[finding.id].is_open
    for put in world.hubs.effective:
        expected = dict(put.before["properties"])
        expected["minTlsVersion"] = "1.2"
        if world.hubs.if_match_enforced:
            assert put.body["properties"] == expected
            assert put.body | {"properties": 0} == put.before | {"properties": 0}


# --- the numbered points, at which the whole host is killed too (tests/e2e/test_e2e_kills.py)


class Watched(World):
    """A world in which Azure is quick, and a worker on the remediate path ``dies_at`` a point."""

    def __init__(self):
        super().__init__()
        self.hubs.takes = timedelta(0)
        self.seen, self.dies_at = [], None
        self.path = None

    def watch(self, dies_at=None):
        self.path, self.dies_at = Path(self.reached), dies_at

    def reached(self, name):
        self.seen.append(name)
        if name == self.dies_at:
            self.path = None
            raise Killed(name)

    async def handle(self, message):
        if self.path is None or not isinstance(message, RemediateMessage | VerifyMessage):
            return await super().handle(message)
        self.path.begin()
        use_case = remediate if isinstance(message, RemediateMessage) else verify
        return await use_case(self.path.watched(self.ports), message)


async def a_fix(dies_at=None):
    world = Watched()
    world.hubs.add()
    world.watch(dies_at)
    await world.drift()
    await world.run()
    return world


async def a_rollback(dies_at=None):
    world = await fixed(Watched())
    await ask_back(world)
    await say_yes(world)
    world.watch(dies_at)
    await world.run()
    return world


def test_every_method_of_every_port_is_told_apart():
    """A port, or a method of one, that is new has to be put into the lists."""
    hints = typing.get_type_hints(Ports)
    kinds = {name: kind for name, hint in hints.items() for kind in (hint, *typing.get_args(hint))
             if getattr(kind, "_is_protocol", False)}  # fmt: skip
    elsewhere = {"clock", "links", "ticket_links", "channels", "telemetry"}
    assert kinds.keys() - elsewhere == EFFECTS.keys()
    for name in EFFECTS:
        methods = {method for method, _ in inspect.getmembers(kinds[name], inspect.isfunction) if method[0] != "_"}
        assert methods == {*EFFECTS[name], *READS.get(name, ())}, name


async def test_the_list_of_points_is_what_happens():
    assert tuple((await a_fix()).seen) == POINTS
    assert tuple((await a_rollback()).seen) == ROLLBACK


@pytest.mark.parametrize("point", POINTS)
async def test_a_fix_survives_a_worker_that_dies_at_each_point(point):
    world = await a_fix(point)
    assert [str(one) for one in world.killed] == [point]
    await world.live(hours=1)
    await assert_survives(world)


@pytest.mark.parametrize("point", ROLLBACK)
async def test_a_rollback_survives_a_worker_that_dies_at_each_point(point):
    world = await a_rollback(point)
    assert [str(one) for one in world.killed] == [point]
    await world.live(hours=1)
    assert world.tls() == "1.0"
    assert world.rollback().state is State.RESOLVED
    assert world.state() is State.HELD
    assert len(world.hubs.effective) == 2
    assert not world.violations
