"""The kill switch and the ledger in a real table: many instances count as one."""

from __future__ import annotations

import asyncio

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hubwarden.adapters.storage.findings import TableFindings
from hubwarden.adapters.storage.hubs import TableHubs
from hubwarden.adapters.storage.safety import TableSafety
from hubwarden.domain.finding import Actor, Deed, Finding, Limit
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.limits import Asked, Kill, Ledger, Outcome, Released, Slot
from hubwarden.domain.severity import Severity
from hubwarden.service.errors import StaleWriteError, StorageRefusedError, StorageUnavailableError
from hubwarden.service.gate import kill_switch, open_gate
from hubwarden.service.operate import kill, resume
from hubwarden.service.ports import HubRecord
from hubwarden.service.turns import take
from tests.unit.fakes import FakeWork, World, hub_id


NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
RULE = "tls-minimum"
ON = Kill(on=True, by="robin", at=NOW, reason="odd")
TEN = "limits: {per_hour: {in_all: 10, per_rule: 50, per_subscription: 50}}\n"


def finding(hub, **changes):
    return replace(Finding(hub, RULE, "", Severity.HIGH, "summary", NOW, NOW), **changes)


@pytest.fixture
def safety(account):
    return TableSafety(account)


async def test_where_no_table_is_nothing_holds(safety):
    assert await safety.kill() is None
    assert await safety.ledger() is None


async def test_the_switch_is_thrown_and_taken_back_and_stale_hands_are_refused(safety, other):
    etag = await safety.save_kill(ON, None)
    assert (await TableSafety(other).kill()).value == ON
    await TableSafety(other).save_kill(replace(ON, on=False), etag)
    with pytest.raises(StaleWriteError):
        await safety.save_kill(ON, etag)
    with pytest.raises(StaleWriteError):
        await safety.save_kill(ON, None)
    assert not (await safety.kill()).value.on


async def test_a_ledger_comes_back_as_it_was(safety):
    hub = hub_id()
    ledger = Ledger(
        slots=(Slot(hub, RULE, NOW), Slot(hub, "sas-policies", NOW, granted=True)),
        sweep_at=NOW,
        next_turn=NOW,
        outcomes=(Outcome("sha256:x", NOW, "400"),),
        tripped="why",
        tripped_at=NOW,
        tripped_told=True,
        passed=(Slot(hub_id(), RULE, NOW, granted=True),),
        asked={RULE: Asked(RULE, hub, NOW, 40, 50)},
        released={RULE: Released(RULE, "robin", NOW, NOW, ("a", "b"))},
    )
    await safety.save_ledger(ledger, None)
    assert (await safety.ledger()).value == ledger


async def test_the_largest_ledger_fits_into_its_row(safety):
    hub = HubId("0" * 36, "g" * 90, "h" * 50)
    marks = tuple(f"{n:010x}" for n in range(20_000))
    slots = tuple(Slot(hub, "r" * 30, NOW + timedelta(seconds=n), granted=True) for n in range(500))
    ledger = Ledger(slots=slots, released={RULE: Released(RULE, "robin", NOW, NOW, marks)})
    await safety.save_ledger(ledger, None)
    assert (await safety.ledger()).value == ledger


async def test_fifty_takers_at_once_get_exactly_ten_slots(account, other):
    """Of two instances, with an etag that only one writer gets through."""
    world = World(more=TEN)
    ports = [replace(world.ports, safety=TableSafety(one)) for one in (account, other)]
    hubs = [hub_id(f"hub-{number}") for number in range(50)]
    answers = await asyncio.gather(*(take(ports[n % 2], [finding(hub)]) for n, hub in enumerate(hubs)))
    assert sum(len(slots) for slots, _ in answers) == 10
    assert sum(len(refused) for _, refused in answers) == 40
    ledger = (await TableSafety(account).ledger()).value
    assert len(ledger.slots) == 10
    assert ledger.next_turn is not None
    assert isinstance(world.work, FakeWork)
    assert world.work.sent, "who is refused has a turn sent"


@pytest.mark.parametrize("damage", [{"Doc": "{"}, {"Schema": 99}], ids=["damaged", "of a newer version"])
async def test_to_stop_asks_nobody_what_was_there(account, safety, damage):
    world = World()
    ports = replace(world.ports, safety=safety)
    await kill(safety, world.audit, world.clock, by="robin", reason="odd")
    assert (await safety.kill()).value.on
    await resume(ports, by="robin")
    table = account.table("hubwardensafety")
    row = await table.get_entity("safety", "kill")
    await table.update_entity({**row, **damage})
    await kill(safety, world.audit, world.clock, by="robin", reason="odd again")
    assert (await safety.kill()).value.reason == "odd again"
    await resume(ports, by="robin")
    assert await kill_switch(ports) is None


async def test_a_damaged_row_stops_writes(account, safety):
    await safety.save_kill(replace(ON, on=False), None)
    table = account.table("hubwardensafety")
    row = await table.get_entity("safety", "kill")
    await table.update_entity({**row, "Doc": "{"})
    with pytest.raises(StorageRefusedError):
        await safety.kill()
    world = World()
    killed = await kill_switch(replace(world.ports, safety=safety))
    assert killed.on
    assert "cannot be read" in killed.reason


async def test_storage_that_is_down_stops_writes(doomed_azurite):
    from hubwarden.adapters.storage.account import StorageAccount

    account = StorageAccount({"AzureWebJobsStorage": doomed_azurite.connection_string}, retry_total=0)
    doomed_azurite.stop()
    safety = TableSafety(account)
    with pytest.raises(StorageUnavailableError):
        await safety.ledger()
    gate = await open_gate(replace(World().ports, safety=safety), hub_id(), [], {RULE})
    assert gate.stop(finding(hub_id())).limit is Limit.KILL
    await account.close()


async def test_how_many_hubs_drift_is_known_from_what_the_last_looks_remember(account):
    hubs = TableHubs(account)
    assert (await hubs.standing(RULE, lambda _hub, _tags: True)).watched == 0
    drifts = {RULE: "drift", "sas-policies": "unknown"}
    for name, record in {
        "drifts": {"looked_at": NOW, "verdicts": drifts},
        "compliant": {"looked_at": NOW, "verdicts": {RULE: "compliant", "tls-minimum-2": "drift"}},
        "never-looked-at": {"verdicts": drifts},
        "not-watched": {"looked_at": NOW, "verdicts": drifts, "tags": {"env": "lab"}},
        "long": {"looked_at": NOW, "verdicts": drifts, "tags": {"env": "x" * 2000}},
    }.items():
        await hubs.save(HubRecord(hub_id(name), **record), None)
    tags = {}
    standing = await hubs.standing(RULE, lambda hub, known: tags.update({hub.name: known}) or known is None)
    assert (standing.watched, standing.drifting) == (3, {hub_id("drifts"), hub_id("long")})
    assert tags == {"drifts": None, "compliant": None, "not-watched": {"env": "lab"}, "long": None}


async def test_what_limits_hold_is_found_and_told_apart(account):
    findings = TableFindings(account)
    deed = Deed(Actor("oid", "app", "Jo"), NOW)
    held = finding(hub_id("a"), limit=Limit.BUDGET, fixes=(NOW,), deeds=(deed,))
    for one in (held, finding(hub_id("b"))):
        await findings.save(one, None)
    assert [one async for one in findings.limited()] == [held]
