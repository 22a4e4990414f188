"""The gate before the stored state: what it costs, whom it lets through, and who migrates an older state."""

from __future__ import annotations

import asyncio
import random

from dataclasses import replace
from datetime import timedelta

import pytest

from hubwarden import __version__
from hubwarden.service.errors import StorageRefusedError, StorageUnavailableError
from hubwarden.service.ports import StateRecord, Stored
from hubwarden.service.state import StateGate
from tests.unit.fakes import START, FakeSchema, Gates, Killed


NEWER = StateRecord(3, "9.9.9", START)


class Clock:
    """Stands still until it is turned."""

    at = START

    def now(self):
        return self.at

    def turn(self, **by):
        self.at += timedelta(**by)


class Account:
    """One account's schema, and as many instances as one likes."""

    def __init__(self, newest=1, older=0, record=None):
        self.gates, self.clock = Gates(), Clock()
        self.schema = FakeSchema(self.gates, [], newest, older)
        if record is not None:
            self.schema.rows["state"] = Stored(record, "first")

    def instance(self):
        return StateGate(self.schema, self.clock)

    @property
    def record(self):
        return self.schema.rows["state"].value

    def turns_until_it_fits(self, gate):
        async def go():
            for turn in range(20):
                if await gate.misfit(migrate=True) is None:
                    return turn
                self.clock.turn(seconds=30)
            return None

        return go()


def recorded(version, **more):
    return StateRecord(version, "0.0.9", START, **more)


async def test_the_first_use_is_recorded_and_costs_nothing_from_then_on():
    account = Account()
    gate = account.instance()
    assert [await gate.misfit(migrate=True) for _ in range(5)] == [None] * 5
    assert account.record == StateRecord(1, __version__, account.clock.now())
    assert account.gates.calls.count("before FakeSchema.record") == 1
    assert account.gates.calls.count("before FakeSchema.save") == 1


async def test_a_cold_start_asks_once_however_many_messages_come_at_once():
    account = Account(record=recorded(1))
    account.gates.random = random.Random(7)  # lets the others in between
    gate = account.instance()
    assert await asyncio.gather(*(gate.misfit(migrate=True) for _ in range(16))) == [None] * 16
    assert account.gates.calls == ["before FakeSchema.record", "after FakeSchema.record"]


async def test_who_only_looks_records_nothing():
    account = Account()
    assert await account.instance().misfit() is None
    assert not account.schema.rows
    older = Account(newest=2, older=5)
    assert "has to be brought to 2" in str(await older.instance().misfit())
    assert not older.schema.rows
    assert older.schema.older == 5


@pytest.mark.parametrize("record", [None, recorded(1), recorded(1, target=2)])
async def test_an_older_state_is_brought_up_to_date_slice_by_slice(record):
    account = Account(newest=2, older=35, record=record)
    gate = account.instance()
    assert "migrating" in str(await gate.misfit(migrate=True))
    assert account.record.version == 1
    assert account.record.until is None, "the next worker need not wait"
    assert await account.turns_until_it_fits(gate) == 2
    assert account.schema.older == 0
    assert account.record == StateRecord(2, __version__, account.clock.now(), 2)


@pytest.mark.parametrize("record", [NEWER, replace(NEWER, version=1, target=3, until=START)])
async def test_a_newer_state_lets_nothing_through_and_says_what_to_do(record):
    account = Account(newest=2, record=record)
    misfit = await account.instance().misfit(migrate=True)
    assert not misfit.passes
    assert misfit.wait == timedelta(minutes=5)
    for words in ("version 3", "9.9.9", f"hubwarden {__version__}", "up to 2", "nothing is judged or written"):
        assert words in str(misfit)
    assert account.record == record
    assert account.gates.calls.count("before FakeSchema.save") == 0


async def test_others_wait_for_the_one_who_migrates_until_nothing_is_heard_of_it():
    account = Account(newest=2, older=5)
    account.gates.kill_when = lambda name: name == "before FakeSchema.upgrade"
    with pytest.raises(Killed):
        await account.instance().misfit(migrate=True)
    other = account.instance()
    misfit = await other.misfit(migrate=True)
    assert (str(misfit), misfit.passes) == ("migrating: the stored state is being brought to version 2", True)
    assert account.schema.older == 5
    account.clock.turn(seconds=119)
    assert await other.misfit(migrate=True) is not None
    account.clock.turn(seconds=1)
    assert await other.misfit(migrate=True) is None
    assert account.record.version == 2


POINTS = (
    "before FakeSchema.record",
    "after FakeSchema.record",
    "before FakeSchema.save",
    "after FakeSchema.save",
    "before FakeSchema.upgrade",
    "after FakeSchema.upgrade",
    "before FakeSchema.save",
    "after FakeSchema.save",
)
"""Where a worker can die while it migrates."""


async def test_the_points_are_all_that_there_are():
    account = Account(newest=2, older=5)
    await account.instance().misfit(migrate=True)
    assert tuple(account.gates.calls) == POINTS


@pytest.mark.parametrize("point", range(1, len(POINTS) + 1))
async def test_a_worker_that_dies_at_a_point_is_followed_by_another(point):
    account = Account(newest=2, older=5)
    account.gates.kill_at = point
    with pytest.raises(Killed):
        await account.instance().misfit(migrate=True)
    account.gates.kill_at = None
    assert await account.turns_until_it_fits(account.instance()) <= 5
    assert account.record.version == 2
    assert account.schema.older == 0


async def test_a_worker_that_was_overtaken_does_not_say_that_it_is_done():
    account = Account(newest=2, older=5)
    taken = StateRecord(1, "other", START, target=2, until=START + timedelta(hours=1))

    async def upgrade(_clock, _until):
        account.schema.rows["state"] = Stored(taken, "other")
        return True

    account.schema.upgrade = upgrade
    gate = account.instance()
    assert "migrating" in str(await gate.misfit(migrate=True))
    assert account.record == taken
    assert "migrating" in str(await gate.misfit(migrate=True)), "it does not believe itself"


@pytest.mark.parametrize("newest", [1, 2])
async def test_instances_that_begin_at_once_all_get_through(newest):
    account = Account(newest=newest, older=5)
    gates = [account.instance() for _ in range(8)]
    first = await asyncio.gather(*(gate.misfit(migrate=True) for gate in gates))
    assert None in first
    account.clock.turn(seconds=15)
    assert [await gate.misfit(migrate=True) for gate in gates] == [None] * 8
    assert len([line for line in account.schema.log if line[0] == "upgrade"]) == newest - 1


async def test_where_the_record_cannot_be_read_nothing_gets_through():
    account = Account(record=recorded(1))
    account.schema.down = True
    gate = account.instance()
    misfit = await gate.misfit(migrate=True)
    assert misfit.passes
    assert "cannot be read" in str(misfit)
    assert "ServerBusy" in str(misfit)
    account.schema.down = False
    assert await gate.misfit(migrate=True) is None


async def test_a_damaged_record_waits_for_a_person_and_does_not_say_that_it_passes():
    account = Account()

    async def damaged():
        raise StorageRefusedError("table hubwardensafety: row schema / state is damaged")

    account.schema.record = damaged
    misfit = await account.instance().misfit(migrate=True)
    assert (misfit.passes, misfit.wait) == (False, timedelta(minutes=5))
    assert "is damaged; nothing is judged or written until somebody mends that row" in str(misfit)


async def test_a_migration_that_breaks_off_is_gone_on_with():
    account = Account(newest=2, older=5)
    upgrade = account.schema.upgrade

    async def broken(_clock, _until):
        raise StorageUnavailableError("table hubwardenhubs: HTTP 503 ServerBusy")

    account.schema.upgrade = broken
    gate = account.instance()
    assert "hubwardenhubs" in str(await gate.misfit(migrate=True))
    account.schema.upgrade = upgrade
    assert await account.turns_until_it_fits(gate) is not None
    assert account.record.version == 2


async def test_who_doubts_asks_again():
    account = Account(newest=2, record=recorded(2))
    gate = account.instance()
    assert await gate.misfit(migrate=True) is None
    account.schema.rows["state"] = Stored(NEWER, "newer")
    assert await gate.misfit(migrate=True) is None
    gate.doubt()
    assert not (await gate.misfit(migrate=True)).passes
