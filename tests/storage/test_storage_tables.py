"""Findings, hubs and sweeps in real tables: the etag is the only lock there is."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid

from datetime import UTC, datetime, timedelta

import pytest

from azure.core.exceptions import ResourceNotFoundError

from hubwarden.adapters.storage.findings import TableFindings
from hubwarden.adapters.storage.hubs import TableHubs
from hubwarden.domain.finding import Actor, Finding, State, Trouble
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.severity import Severity
from hubwarden.service.errors import StaleWriteError, StorageUnavailableError
from hubwarden.service.ports import HubRecord, SweepRecord


NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
HUB = HubId("00000000-0000-0000-0000-000000000001", "rg-Ünïcode_(1).x-プ", "hub-1")


def finding(subject: str = "s", hub: HubId = HUB, **changes) -> Finding:
    made = Finding(hub, "tls-minimum", subject, Severity.HIGH, "summary", NOW, NOW, {"minTlsVersion": None})
    return dataclasses.replace(made, **changes)


def sweep(started_at: datetime, hubs: int = 1) -> SweepRecord:
    unknown, dead = {"/subscriptions/x": "403"}, {"/subscriptions/y/h": "the hub is Deleting"}
    return SweepRecord(("x", "y"), started_at, started_at + timedelta(minutes=1), hubs, hubs, 0, unknown, dead)


@pytest.fixture
def findings(account) -> TableFindings:
    return TableFindings(account)


@pytest.fixture
def hubs(account) -> TableHubs:
    return TableHubs(account)


async def test_where_no_table_is_there_is_nothing(findings, hubs):
    assert await findings.of_hub(HUB) == []
    assert [found async for found in findings.everything()] == []
    assert [found async for found in findings.waiting()] == []
    assert await hubs.get(HUB) is None
    assert [record async for record in hubs.of_subscription(HUB.subscription)] == []
    assert await hubs.last_sweep() is None
    await hubs.forget(HUB)


async def test_reading_creates_no_table(account, findings):
    await findings.of_hub(HUB)
    assert [table async for table in account._tables.list_tables()] == []


async def test_a_replacement_in_a_table_that_is_gone_is_stale(findings):
    with pytest.raises(StaleWriteError):
        await findings.save(finding(), "W/\"datetime'2026-01-01T00%3A00%3A00.0000000Z'\"")


async def test_a_table_that_cannot_be_created_is_no_stale_write(findings, mocker):
    mocker.patch("azure.data.tables.aio.TableClient.create_table", side_effect=ResourceNotFoundError("no account"))
    with pytest.raises(StorageUnavailableError, match="table hubwardenfindings"):
        await findings.save(finding(), None)


async def test_a_finding_comes_back_with_its_etag(findings):
    etag = await findings.save(finding(), None)
    (stored,) = await findings.of_hub(HUB)
    assert stored.value == finding()
    assert stored.etag == etag


async def test_a_hub_has_its_findings_only(findings):
    elsewhere = dataclasses.replace(HUB, name="hub-2")
    for each in (finding("a"), finding("b"), finding("a", elsewhere)):
        await findings.save(each, None)
    assert {stored.value.subject for stored in await findings.of_hub(HUB)} == {"a", "b"}
    assert len([found async for found in findings.everything()]) == 3


async def test_only_a_ticket_that_is_due_and_in_trouble_waits(findings):
    trouble = Trouble(NOW, "503")
    waits = finding("waits", state=State.TICKETED, ticket_trouble=trouble)
    for each in (
        waits,
        finding("reported", state=State.REPORTED, ticket_trouble=trouble),
        finding("fine", state=State.TICKETED, ticket_open=True),
        finding("later", state=State.TICKETED),
    ):
        await findings.save(each, None)
    assert [found async for found in findings.waiting()] == [waits]
    (stored,) = [stored for stored in await findings.of_hub(HUB) if stored.value == waits]
    await findings.save(dataclasses.replace(waits, ticket_trouble=None), stored.etag)
    assert [found async for found in findings.waiting()] == []


async def test_a_finding_is_found_by_its_id_alone(findings):
    other = dataclasses.replace(HUB, name="hub-2")
    for made in (finding(), finding(hub=other), finding("t", other)):
        await findings.save(made, None)
    wanted = finding("t", other)
    found = await findings.find(wanted.id)
    assert found.value == wanted
    assert await findings.save(found.value, found.etag)
    assert await findings.find("f-0000000000000000") is None


async def test_a_finding_is_new_only_once(findings):
    await findings.save(finding(), None)
    with pytest.raises(StaleWriteError, match=r"table hubwardenfindings: .*hub-1 / f-"):
        await findings.save(finding(summary="other"), None)


async def test_a_saved_finding_has_a_new_etag_and_the_old_one_is_stale(findings):
    first = await findings.save(finding(), None)
    second = await findings.save(finding(state=State.REPORTED), first)
    assert second != first
    with pytest.raises(StaleWriteError):
        await findings.save(finding(state=State.HELD), first)
    assert [stored.value.state for stored in await findings.of_hub(HUB)] == [State.REPORTED]


async def test_of_many_writers_at_one_etag_one_wins(account, other):
    etag = await TableFindings(account).save(finding(), None)
    stores = [TableFindings(account), TableFindings(other)] * 5
    outcomes = await asyncio.gather(
        *(store.save(finding(occurrences=number), etag) for number, store in enumerate(stores, 10)),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, StaleWriteError) for outcome in outcomes) == 9
    (winner,) = (number for number, outcome in enumerate(outcomes, 10) if isinstance(outcome, str))
    assert [stored.value.occurrences for stored in await TableFindings(other).of_hub(HUB)] == [winner]


async def test_of_many_first_writers_into_no_table_one_wins(account, other):
    stores = [TableFindings(account), TableFindings(other)] * 3
    outcomes = await asyncio.gather(*(store.save(finding(), None) for store in stores), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["StaleWriteError"] * 5 + ["str"]


async def test_a_finding_that_shrinks_leaves_nothing_of_itself_behind(account, findings):
    large = finding(evidence={"long": "ü" * 20_000})
    etag = await findings.save(large, None)
    assert [stored.value for stored in await findings.of_hub(HUB)] == [large]
    await findings.save(finding(), etag)
    assert [stored.value for stored in await findings.of_hub(HUB)] == [finding()]
    row = await account.table("hubwardenfindings").get_entity(*_only_key())
    assert "Doc1" not in row


def _only_key() -> tuple[str, str]:
    return f"{HUB.subscription}|{HUB.resource_group}|{HUB.name}", finding().id


async def test_the_largest_document_is_stored(findings):
    large = finding(evidence={"long": "x" * 470_000})
    await findings.save(large, None)
    assert [stored.value for stored in await findings.of_hub(HUB)] == [large]


async def test_a_row_can_be_read_by_people(account, findings):
    await findings.save(finding(), None)
    row = await account.table("hubwardenfindings").get_entity(*_only_key())
    assert {name: row[name] for name in ("State", "RuleId", "Hub", "Subject", "Summary", "Schema")} == {
        "State": "open",
        "RuleId": "tls-minimum",
        "Hub": HUB.path,
        "Subject": "s",
        "Summary": "summary",
        "Schema": 1,
    }
    assert row["LastSeen"] == NOW


async def test_everything_goes_over_page_after_page(account, findings):
    many = [finding(f"s{number}") for number in range(1200)]
    await findings.save(many[0], None)
    table = account.table("hubwardenfindings")
    rows = [findings._table._shape.to_row(each) for each in many[1:]]
    for start in range(0, len(rows), 100):
        await table.submit_transaction([("create", row) for row in rows[start : start + 100]])
    assert {found.subject async for found in findings.everything()} == {each.subject for each in many}
    assert len(await findings.of_hub(HUB)) == 1200


async def test_a_hub_record_is_kept_changed_and_forgotten(hubs):
    record = HubRecord(HUB, NOW, NOW, "etag", {"tls-minimum": "drift"}, {"x": "403"}, Actor(name="Ann"), NOW)
    etag = await hubs.save(record, None)
    stored = await hubs.get(HUB)
    assert (stored.value, stored.etag) == (record, etag)
    with pytest.raises(StaleWriteError):
        await hubs.save(record, None)
    newer = dataclasses.replace(record, looked_at=NOW + timedelta(hours=1))
    await hubs.save(newer, etag)
    with pytest.raises(StaleWriteError):
        await hubs.save(record, etag)
    assert (await hubs.get(HUB)).value == newer
    await hubs.forget(HUB)
    await hubs.forget(HUB)
    assert await hubs.get(HUB) is None
    with pytest.raises(StaleWriteError):
        await hubs.save(record, etag)


async def test_a_subscription_has_its_hubs_only(hubs):
    mine, yours = str(uuid.uuid4()), str(uuid.uuid4())
    for subscription, name in ((mine, "a"), (mine, "b"), (yours, "c")):
        await hubs.save(HubRecord(HubId(subscription, "rg", name)), None)
    assert [record.hub.name async for record in hubs.of_subscription(mine.upper())] == ["a", "b"]


async def test_the_subscriptions_that_have_records(hubs):
    assert await hubs.subscriptions() == []
    for subscription in ("b", "a", "b"):
        await hubs.save(HubRecord(HubId(subscription, "g", uuid.uuid4().hex)), None)
    assert await hubs.subscriptions() == ["a", "b"]


async def test_a_subscription_is_a_value_and_no_part_of_the_query(hubs):
    await hubs.save(HubRecord(HUB), None)
    assert [record async for record in hubs._hubs.values("x' or PartitionKey ne 'x")] == []


async def test_the_last_sweep_is_the_one_that_began_last(hubs):
    for minutes in (5, 60, 0, 30):
        await hubs.add_sweep(sweep(NOW + timedelta(minutes=minutes), hubs=minutes))
    assert await hubs.last_sweep() == sweep(NOW + timedelta(minutes=60), hubs=60)


async def test_a_sweep_that_is_added_again_changes_nothing(account, hubs):
    await hubs.add_sweep(sweep(NOW))
    await hubs.add_sweep(sweep(NOW))
    rows = [row async for row in account.table("hubwardensweeps").list_entities()]
    assert len(rows) == 1
