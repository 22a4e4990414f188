"""Migrations in a real storage account: each row once, whoever dies or comes in between."""

from __future__ import annotations

import asyncio
import json
import re

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from azure.core.exceptions import HttpResponseError

from hubwarden import __version__
from hubwarden.adapters.storage import schema
from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.findings import FINDINGS, TableFindings
from hubwarden.adapters.storage.migrations import TABLES, Migration, upgraded
from hubwarden.adapters.storage.schema import TableSchema
from hubwarden.adapters.storage.table import Table
from hubwarden.domain.finding import Finding
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.severity import Severity
from hubwarden.service.errors import StaleWriteError, StateNewerError, StorageUnavailableError
from hubwarden.service.ports import StateRecord
from hubwarden.service.state import StateGate
from tests.state_cases import SHAPES, sample


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MANY = 130


def marked(row):
    """Not idempotent on purpose: a row that is changed twice shows it."""
    content = json.loads(row["Doc"])
    content["summary"] += "+"
    return {**row, "Doc": json.dumps(content), "Summary": content["summary"]}


STEPS = (Migration(2, {"hubwardenfindings": marked}), Migration(3, {}))
NEW = replace(FINDINGS, migrations=STEPS)


class Killed(BaseException):
    """The process is gone."""


def finding(number, **changes):
    hub = HubId("00000000-0000-0000-0000-000000000001", "rg", f"hub-{number % 7}")
    return replace(Finding(hub, "r", f"s{number}", Severity.HIGH, "drift", NOW, NOW), **changes)


@pytest.fixture
async def old(account):
    """A state of version 1: a row of each kind, and more findings than a page holds."""
    for shape in SHAPES.values():
        await Table(account, shape).put(sample(shape.value_type))
    table = Table(account, FINDINGS)
    await asyncio.gather(*(table.put(finding(number)) for number in range(MANY)))
    return account


async def rows(account, name="hubwardenfindings"):
    return [row async for row in account.table(name).list_entities() if row["PartitionKey"] != "schema"]


async def all_is_new(account, *, damaged=0):
    for name in TABLES:
        assert {row["Schema"] for row in await rows(account, name)} - ({1} if damaged else set()) == {3}, name
    summaries = [json.loads(row["Doc"])["summary"] for row in await rows(account) if row["Schema"] == 3]
    assert sorted(summaries) == ["drift+"] * (MANY - damaged) + ["text+"], "each row once"
    if not damaged:
        assert len([stored async for stored in Table(account, NEW).values()]) == MANY + 1


def gate(account, clock, steps=STEPS):
    return StateGate(TableSchema(account, steps), clock)


async def test_every_row_of_every_table_is_brought_to_the_newest_version(old, clock):
    assert await gate(old, clock).misfit(migrate=True) is None
    await all_is_new(old)
    record = (await TableSchema(old, STEPS).record()).value
    assert record == StateRecord(3, __version__, clock.now(), 3)


async def test_an_empty_account_is_recorded_as_it_will_be_written(account, clock):
    assert await gate(account, clock).misfit(migrate=True) is None
    assert (await TableSchema(account).record()).value.version == 3


async def test_a_cold_start_costs_one_request_and_what_comes_after_none(account, settings, clock):
    requests = []
    await gate(account, clock, ()).misfit(migrate=True)
    counted = StorageAccount(settings, raw_response_hook=lambda answer: requests.append(answer.http_request))
    try:
        new = gate(counted, clock, ())
        for _ in range(3):
            assert await new.misfit(migrate=True) is None
        assert [request.method for request in requests] == ["GET"]
    finally:
        await counted.close()


async def test_two_instances_at_once_change_each_row_once(old, other, clock):
    """Without the record that keeps them apart: one of them may have slept while the other took over."""
    until = clock.now() + timedelta(minutes=1)
    done = await asyncio.gather(*(TableSchema(one, STEPS).upgrade(clock, until) for one in (old, other)))
    assert done == [True, True]
    await all_is_new(old)


async def test_of_two_instances_that_start_at_once_one_migrates_and_the_other_waits(old, other, clock):
    gates = [gate(old, clock), gate(other, clock)]
    said = await asyncio.gather(*(one.misfit(migrate=True) for one in gates))
    assert None in said
    assert all(misfit is None or "migrating" in str(misfit) for misfit in said)
    assert [await one.misfit(migrate=True) for one in gates] == [None, None]
    await all_is_new(old)


@pytest.mark.parametrize("at", [1, 2, 49, 50, 51, 100, 131, 135])
async def test_a_worker_that_dies_at_a_row_is_followed_by_another(old, other, clock, at, monkeypatch):
    count = 0
    replace_row = schema._replace

    async def dying(*arguments):
        nonlocal count
        count += 1
        if count >= at + 1:  # the first write is the claim
            raise Killed
        return await replace_row(*arguments)

    await gate(old, clock, ()).misfit(migrate=True)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "_replace", dying)
        with pytest.raises(Killed):
            await gate(old, clock).misfit(migrate=True)
    assert "migrating" in str(await gate(other, clock).misfit(migrate=True))
    clock.forward(timedelta(minutes=2))
    assert await gate(other, clock).misfit(migrate=True) is None
    await all_is_new(other)


async def test_what_an_old_instance_writes_meanwhile_is_kept_and_migrated(old, other, clock, monkeypatch):
    findings, first = TableFindings(other), []
    replace_row = schema._replace

    async def late(table, row, etag):
        if "Doc" in row and row["RowKey"] == finding(3).id and not first:
            first.append(row)
            stored = await findings.find(finding(3).id)
            await findings.save(replace(stored.value, occurrences=77), stored.etag)
        return await replace_row(table, row, etag)

    monkeypatch.setattr(schema, "_replace", late)
    assert await gate(old, clock).misfit(migrate=True) is None
    assert first
    await all_is_new(old)
    values = [stored.value async for stored in Table(old, NEW).values() if stored.value.id == finding(3).id]
    assert [value.occurrences for value in values] == [77]


async def test_a_row_that_is_damaged_stays_and_holds_up_no_other(old, clock, caplog):
    table = old.table("hubwardenfindings")
    row = await table.get_entity(*FINDINGS.key(finding(3)))
    await table.update_entity({**row, "Doc": "{secret"})
    assert await gate(old, clock).misfit(migrate=True) is None
    await all_is_new(old, damaged=1)
    assert f"{finding(3).id} cannot be migrated" in caplog.text
    assert "secret" not in caplog.text


async def test_what_is_not_done_in_time_is_gone_on_with(old, clock):
    whole = TableSchema(old, STEPS)
    assert not await whole.upgrade(clock, clock.now())
    assert {row["Schema"] for row in await rows(old)} == {1}
    assert await whole.upgrade(clock, clock.now() + timedelta(seconds=1))
    await all_is_new(old)


async def test_a_downgrade_is_refused_by_the_record_and_by_each_row(old, clock):
    await gate(old, clock).misfit(migrate=True)
    before = {name: await rows(old, name) for name in TABLES}
    misfit = await gate(old, clock, ()).misfit(migrate=True)
    assert not misfit.passes
    assert "is of version 3" in str(misfit)
    with pytest.raises(StateNewerError, match="its schema is 3, and this app knows those up to 1"):
        await TableFindings(old).find(finding(3).id)
    assert {name: await rows(old, name) for name in TABLES} == before


async def test_a_half_done_migration_is_a_downgrade_too(old, clock):
    await TableSchema(old, STEPS).save(StateRecord(1, "9.9.9", clock.now(), target=3), None)
    assert "is of version 3, written by hubwarden 9.9.9" in str(await gate(old, clock, ()).misfit())


async def test_a_row_that_an_old_instance_wrote_afterwards_is_read_all_the_same(old, clock):
    await gate(old, clock).misfit(migrate=True)
    late = finding(999)
    etag = await TableFindings(old).save(late, None)
    stored = await Table(old, NEW).get(NEW.key(late))
    assert stored.value.summary == "drift+"
    await Table(old, NEW).save(stored.value, etag)
    assert (await old.table("hubwardenfindings").get_entity(*NEW.key(late)))["Schema"] == 3


def test_a_step_that_moves_a_row_is_refused():
    steps = (Migration(2, {"hubwardenfindings": lambda row: {**row, "RowKey": "x"}}),)
    with pytest.raises(ValueError, match="a step changed its key"):
        upgraded("hubwardenfindings", FINDINGS.to_row(finding(1)), steps)


@pytest.mark.parametrize("column", [{"Version": "1"}, {"Version": 0}, {"At": "yesterday"}, {"Target": "2"}])
async def test_a_damaged_record_lets_nothing_through(account, clock, column):
    await gate(account, clock, ()).misfit(migrate=True)
    table = account.table("hubwardensafety")
    await table.update_entity({**await table.get_entity("schema", "state"), **column})
    misfit = await gate(account, clock).misfit(migrate=True)
    assert "row schema / state is damaged" in str(misfit)


async def test_a_stale_hand_is_refused(account, other, clock):
    record = StateRecord(1, "0", clock.now())
    etag = await TableSchema(account).save(record, None)
    await TableSchema(other).save(replace(record, target=2), etag)
    for old_etag in (etag, None):
        with pytest.raises(StaleWriteError):
            await TableSchema(account).save(record, old_etag)


async def test_storage_that_is_down_lets_nothing_through_and_nothing_is_lost(doomed_azurite, clock):
    account = StorageAccount({"AzureWebJobsStorage": doomed_azurite.connection_string}, retry_total=0)
    await Table(account, FINDINGS).put(finding(1))
    doomed_azurite.stop()
    misfit = await gate(account, clock).misfit(migrate=True)
    assert misfit.passes
    assert "table hubwardensafety" in str(misfit)
    with pytest.raises(StorageUnavailableError):
        await TableSchema(account, STEPS).upgrade(clock, clock.now() + timedelta(minutes=1))
    await account.close()


@pytest.mark.parametrize("at", [1, 60, 131])
async def test_a_migration_that_is_throttled_breaks_off_and_is_gone_on_with(old, clock, at, monkeypatch):
    count, replace_row = 0, schema._replace

    async def busy(*arguments):
        nonlocal count
        count += 1
        if count == at:
            error = HttpResponseError("busy")
            error.status_code, error.error_code = 503, "ServerBusy"
            raise error
        return await replace_row(*arguments)

    monkeypatch.setattr(schema, "_replace", busy)
    one = gate(old, clock)
    misfit = await one.misfit(migrate=True)
    assert "HTTP 503 ServerBusy" in str(misfit)
    clock.forward(timedelta(minutes=2))
    assert await one.misfit(migrate=True) is None
    await all_is_new(old)


async def test_the_tables_are_saved_and_restored_with_what_the_guide_prints(old, other, clock, doomed_azurite):
    from azure.data.tables import TableServiceClient

    guide = (Path(__file__).parents[2] / "docs" / "upgrade.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    made: dict = {"__name__": "copy_tables"}
    exec(compile(code, "copy_tables.py", "exec"), made)
    here, there = (
        TableServiceClient.from_connection_string(one)
        for one in (old._connection_string, doomed_azurite.connection_string)
    )
    await gate(old, clock, ()).misfit(migrate=True)
    before = {name: await rows(old, name) for name in TABLES}
    made["copy"](here, there)
    await gate(old, clock).misfit(migrate=True)
    await TableFindings(old).save(finding(999), None)
    made["copy"](there, here)
    assert {name: await rows(old, name) for name in TABLES} == before
    assert await gate(other, clock, ()).misfit(migrate=True) is None
    for each in (here, there):
        each.close()
