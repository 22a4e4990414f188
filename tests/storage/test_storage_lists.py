"""Long lists in real block blobs: whole once they are committed, and never before."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.lists import BlobLists
from hubwarden.service.errors import StorageUnavailableError


NAME = "5ab5c71e-0000-4000-8000-000000000001/.rg-(ü)_1.x/hub-1/20261124T120000000000Z/uncovered"


async def lines(lists, name=NAME):
    return [line async for line in lists.lines(name)]


async def content(account, name=NAME):
    return await (await account.container("hubwarden-lists").get_blob_client(name).download_blob()).readall()


async def test_parts_become_one_list_in_their_order(account):
    lists = BlobLists(account)
    for part, data in ((1, b"c\n"), (0, 'ä\n{"b": 1}\n'.encode()), (2, b"d\ne\n")):
        await lists.stage(NAME, part, data)
    assert await lists.commit(NAME, 3) == f"hubwarden-lists/{NAME}"
    assert await lines(lists) == ["ä", '{"b": 1}', "c", "d", "e"]
    assert await content(account) == 'ä\n{"b": 1}\nc\nd\ne\n'.encode()


async def test_nobody_sees_a_part_before_it_is_committed(account):
    lists = BlobLists(account)
    await lists.stage(NAME, 0, b"a\n")
    with pytest.raises(StorageUnavailableError, match="HTTP 404"):
        await lines(lists)
    await lists.commit(NAME, 1)
    await lists.stage(NAME, 1, b"b\n")
    assert await lines(lists) == ["a"]


async def test_a_part_that_is_staged_again_is_replaced_and_a_commit_may_be_repeated(account, other):
    lists = BlobLists(account)
    await lists.stage(NAME, 0, b"old\nold\n")
    await lists.stage(NAME, 0, b"new\n")
    await lists.stage(NAME, 1, b"last\n")
    await lists.stage(NAME, 2, b"of a worker that died\n")
    await lists.commit(NAME, 2)
    await BlobLists(other).stage(NAME, 1, b"last again\n")
    await BlobLists(other).commit(NAME, 2)
    await lists.commit(NAME, 2)
    assert await lines(lists) == ["new", "last again"]


async def test_no_parts_make_an_empty_list(account):
    lists = BlobLists(account)
    await lists.commit(NAME, 0)
    assert await lines(lists) == []


@pytest.mark.parametrize("data", [b"a", b"a\nb", b"\n", b"\n\na\n", "\u2028\x0b\r\n".encode()])
async def test_only_a_line_feed_ends_a_line(account, data):
    lists = BlobLists(account)
    await lists.stage(NAME, 0, data)
    await lists.commit(NAME, 1)
    expected = data.decode().split("\n")
    assert await lines(lists) == (expected[:-1] if expected[-1] == "" else expected)


async def test_a_large_list_is_read_whole_without_holding_it(account):
    lists, expected = BlobLists(account), 0
    for part in range(10):
        data = b"".join(b"%d ".ljust(90, b"x") % number + b"\n" for number in range(expected, expected + 40_000))
        await lists.stage(NAME, part, data)
        expected += 40_000
    await lists.commit(NAME, 10)
    tracemalloc.start()
    count = 0
    async for line in lists.lines(NAME):
        assert line.startswith(f"{count} x")
        count += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == expected
    assert peak < 25e6


async def test_a_list_that_changes_while_it_is_read_is_reported(account):
    lists = BlobLists(account)
    await lists.stage(NAME, 0, b"x\n" * 4_000_000)
    await lists.commit(NAME, 1)
    reading = lists.lines(NAME)
    await anext(reading)
    await lists.commit(NAME, 1)
    with pytest.raises(StorageUnavailableError, match="HTTP 412"):
        [line async for line in reading]


async def test_what_is_forgotten_is_gone_and_forgetting_may_be_repeated(account):
    lists = BlobLists(account)
    await lists.delete(NAME)
    await lists.stage(NAME, 0, b"a\n")
    await lists.delete(NAME)
    await lists.commit(NAME, 1)
    await lists.delete(NAME)
    await lists.delete(NAME)
    with pytest.raises(StorageUnavailableError):
        await lines(lists)


async def test_a_part_that_is_missing_is_reported(account):
    lists = BlobLists(account)
    await lists.stage(NAME, 0, b"a\n")
    with pytest.raises(StorageUnavailableError, match="container hubwarden-lists: HTTP 400 InvalidBlockList"):
        await lists.commit(NAME, 2)


async def test_many_begin_in_an_empty_account_at_once(account):
    lists = BlobLists(account)
    await asyncio.gather(*(lists.stage(f"{NAME}-{number}", 0, b"a\n") for number in range(8)))
    assert [await lists.commit(f"{NAME}-{number}", 1) for number in range(8)]


@pytest.mark.parametrize("name", [
    "", "/a", "a/", "a//b", "../a", "a/../b", "a./b", "a/./b", ".", "a\\b", "a b", "a\n", "a?b", "a#b",
    "a%2fb", "x" * 901,
])  # fmt: skip
async def test_a_name_that_no_list_can_have_is_refused(name):
    lists = BlobLists(StorageAccount({"AzureWebJobsStorage": "UseDevelopmentStorage=true"}))
    for call in (lists.stage(name, 0, b"x"), lists.commit(name, 0), lists.delete(name), lines(lists, name)):
        with pytest.raises(ValueError, match="not a name of a list"):
            await call


@pytest.mark.parametrize("part", [-1, 50_000])
async def test_a_part_that_no_list_can_have_is_refused(account, part):
    with pytest.raises(ValueError, match="no part"):
        await BlobLists(account).stage(NAME, part, b"x")
    with pytest.raises(ValueError, match="no part"):
        await BlobLists(account).commit(NAME, 50_001)


async def test_an_outage_is_reported_by_every_call(doomed_azurite):
    account = StorageAccount({"AzureWebJobsStorage": doomed_azurite.connection_string}, retry_total=0)
    lists = BlobLists(account)
    doomed_azurite.stop()
    for call in (lists.stage(NAME, 0, b"x"), lists.commit(NAME, 0), lists.delete(NAME), lines(lists)):
        with pytest.raises(StorageUnavailableError, match=r"^container hubwarden-lists: "):
            await call
    await account.close()
