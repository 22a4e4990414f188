"""Dead letters in real blobs, as Event Grid writes them."""

from __future__ import annotations

import asyncio

from datetime import UTC, datetime

import pytest

from azure.storage.blob.aio import ContainerClient

from hubwarden.adapters.storage.dead_letters import CONTAINER, BlobDeadLetters
from hubwarden.service.ports import DeadLetter, DeadLetterCount


NAME = "HUBWARDEN/2026/11/23/9/{}.json"


@pytest.fixture
async def container(account) -> ContainerClient:
    container = account.container(CONTAINER)
    await container.create_container()
    return container


@pytest.fixture
def letters(account) -> BlobDeadLetters:
    return BlobDeadLetters(account)


async def test_without_a_container_there_are_none(letters):
    assert await letters.waiting(5) == []
    assert await letters.count() == DeadLetterCount()
    gone = DeadLetter("x.json", 1, datetime.now(UTC), '"0x0"')
    assert await letters.read(gone) is None
    await letters.remove(gone)
    await letters.set_aside(gone, "x")


async def test_the_oldest_come_first_whatever_their_names(letters, container):
    """As text, hour 10 comes before hour 9."""
    for name in ("Z/2026/11/23/9/a", "A/2026/11/23/10/b", "A/2026/2/3/9/c"):
        await container.upload_blob(f"{name}.json", b"[]")
        await asyncio.sleep(1.01)  # times of blobs are whole seconds
    waiting = await letters.waiting(2)
    assert [letter.name[-6] for letter in waiting] == ["a", "b"]
    assert [letter.size for letter in waiting] == [2, 2]
    assert waiting[0].at < waiting[1].at <= datetime.now(UTC)
    count = await letters.count()
    assert (count.waiting, count.since, count.set_aside) == (3, waiting[0].at, 0)


async def test_what_is_read_is_what_lies_there_until_it_is_removed(letters, container):
    await container.upload_blob(NAME.format("a"), "[ü]".encode())
    [letter] = await letters.waiting(5)
    assert await letters.read(letter) == "[ü]".encode()
    await letters.remove(letter)
    await letters.remove(letter)
    assert await letters.read(letter) is None
    assert await letters.waiting(5) == []


async def test_an_empty_one_is_read_too(letters, container):
    await container.upload_blob(NAME.format("a"), b"")
    [letter] = await letters.waiting(5)
    assert await letters.read(letter) == b""


async def test_what_is_set_aside_lies_there_whole_and_waits_no_more(letters, container):
    await container.upload_blob(NAME.format("a"), b"odd")
    [letter] = await letters.waiting(5)
    await letters.set_aside(letter, "ü\r\nX-Evil: 1")
    assert await letters.waiting(5) == []
    assert (await letters.count()).set_aside == 1
    blob = container.get_blob_client(letter.name)
    assert await (await blob.download_blob()).readall() == b"odd"
    properties = await blob.get_blob_properties()
    assert properties.metadata == {"hubwarden_reason": r"\xfc\r\nX-Evil: 1"}
    await blob.set_blob_metadata({})
    assert len(await letters.waiting(5)) == 1, "without the mark it is read back"


async def test_what_was_written_anew_since_it_was_listed_is_left_alone(letters, container):
    await container.upload_blob(NAME.format("a"), b"[1]")
    [letter] = await letters.waiting(5)
    await container.upload_blob(NAME.format("a"), b"[2]", overwrite=True)
    assert await letters.read(letter) is None
    await letters.remove(letter)
    await letters.set_aside(letter, "x")
    [again] = await letters.waiting(5)
    assert await letters.read(again) == b"[2]"


async def test_no_more_are_listed_than_asked_for_and_all_are_counted(letters, container):
    names = [NAME.format(f"{number:05d}") for number in range(40)]
    await asyncio.gather(*(container.upload_blob(name, b"[]") for name in names))
    assert len(await letters.waiting(30)) == 30
    assert (await letters.count()).waiting == 40
