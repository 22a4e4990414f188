"""The audit trail in real append blobs: no line lost, none torn."""

from __future__ import annotations

import asyncio
import json
import uuid

from datetime import UTC, datetime, timedelta, timezone

import pytest

from azure.core.exceptions import ResourceExistsError

from hubwarden.adapters.storage.audit import BlobAudit
from hubwarden.service.errors import StorageUnavailableError


async def lines(account, name: str) -> list[dict]:
    blob = account.container("hubwarden-audit").get_blob_client(name)
    data = await (await blob.download_blob()).readall()
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


async def names(account) -> list[str]:
    return [blob.name async for blob in account.container("hubwarden-audit").list_blobs()]


async def test_a_line_has_time_kind_id_and_details_in_the_order_of_their_names(account, clock):
    await BlobAudit(account, clock).append(
        "decided", {"why": "ünï\n\ud800", "hub": "/x", "a": {"z": 1, "b": [None]}}
    )
    blob = account.container("hubwarden-audit").get_blob_client("audit/2026/11/23.jsonl")
    data = await (await blob.download_blob()).readall()
    (line,) = data.splitlines()
    entry = json.loads(line)
    assert uuid.UUID(entry.pop("id")).version == 4
    assert entry == {
        "a": {"b": [None], "z": 1},
        "at": "2026-11-23T12:00:00+00:00",
        "hub": "/x",
        "kind": "decided",
        "why": "ünï\n\ud800",
    }
    assert json.dumps(json.loads(line), sort_keys=True).encode() == line


async def test_fifty_appends_of_two_instances_into_nothing_lose_no_line(account, other, clock):
    trails = BlobAudit(account, clock), BlobAudit(other, clock)
    await asyncio.gather(
        *(trails[number % 2].append("n", {"number": number, "pad": "x" * 3000}) for number in range(50))
    )
    found = await lines(account, "audit/2026/11/23.jsonl")
    assert sorted(line["number"] for line in found) == list(range(50))
    assert len({line["id"] for line in found}) == 50


async def test_a_trail_that_exists_is_never_begun_anew(account, other, clock):
    await BlobAudit(account, clock).append("first", {})
    with pytest.raises(ResourceExistsError):
        await BlobAudit(other, clock)._create("audit/2026/11/23.jsonl")
    assert [line["kind"] for line in await lines(account, "audit/2026/11/23.jsonl")] == ["first"]


async def test_a_new_day_is_a_new_blob_and_days_are_utc(account, clock):
    trail = BlobAudit(account, clock)
    clock.moment = datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    await trail.append("old", {})
    clock.forward(timedelta(microseconds=1))
    await trail.append("new", {})
    clock.moment = datetime(2027, 1, 2, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    await trail.append("east", {})
    assert await names(account) == ["audit/2026/12/31.jsonl", "audit/2027/01/01.jsonl"]
    assert [line["at"] for line in await lines(account, "audit/2027/01/01.jsonl")] == [
        "2027-01-01T00:00:00+00:00",
        "2027-01-01T23:30:00+00:00",
    ]


async def test_a_full_blob_is_followed_by_the_next_one(account, other, clock, mocker):
    from azure.storage.blob.aio import BlobClient

    append = BlobClient.append_block

    async def until_full(blob, data, **options):
        if blob.blob_name.endswith(("/23.jsonl", "/23.1.jsonl")):
            error = ResourceExistsError("full")
            error.error_code = "BlockCountExceedsLimit"
            raise error
        return await append(blob, data, **options)

    trail = BlobAudit(account, clock)
    await trail.append("before", {})
    patched = mocker.patch.object(BlobClient, "append_block", autospec=True, side_effect=until_full)
    await trail.append("after", {})
    assert [line["kind"] for line in await lines(account, "audit/2026/11/23.2.jsonl")] == ["after"]
    patched.reset_mock()
    await trail.append("again", {})
    assert patched.call_count == 1  # what is full is remembered
    await BlobAudit(other, clock).append("elsewhere", {})
    assert len(await lines(account, "audit/2026/11/23.2.jsonl")) == 3
    assert [line["kind"] for line in await lines(account, "audit/2026/11/23.jsonl")] == ["before"]


async def test_a_line_that_no_block_holds_is_refused(account, clock):
    trail = BlobAudit(account, clock)
    with pytest.raises(StorageUnavailableError, match=r"container hubwarden-audit: a line of \d+ bytes"):
        await trail.append("big", {"x": "x" * 4 * 1024 * 1024})
    await trail.append("nearly", {"x": "x" * (4 * 1024 * 1024 - 500)})
    assert [line["kind"] for line in await lines(account, "audit/2026/11/23.jsonl")] == ["nearly"]


@pytest.mark.parametrize("name", ["at", "id", "kind"])
async def test_details_cannot_take_the_place_of_what_is_added(account, clock, name):
    with pytest.raises(ValueError, match=f"its own {name}"):
        await BlobAudit(account, clock).append("x", {name: "forged"})
