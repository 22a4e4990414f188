"""Messages that nobody can use lie whole in real blobs."""

from __future__ import annotations

import re

import pytest

from hubwarden.adapters.storage.graveyard import BlobGraveyard
from hubwarden.service.messages import Queue


async def dig_up(account, place: str):
    container, _, name = place.partition("/")
    download = await account.container(container).get_blob_client(name).download_blob()
    return await download.readall(), download.properties.metadata


@pytest.mark.parametrize("text", ["", 'ünï 😀\r\n\x00 "<&>"', "x" * 65536], ids=["empty", "odd", "64k"])
async def test_a_text_lies_whole(account, clock, text):
    place = await BlobGraveyard(account, clock).bury(Queue.VERIFY, text, "no JSON")
    assert re.fullmatch(r"hubwarden-poison/2026/11/23/hubwarden-verify/[0-9a-f-]{36}\.txt", place)
    assert await dig_up(account, place) == (text.encode(), {"queue": "hubwarden-verify", "reason": "no JSON"})


async def test_what_is_no_unicode_is_kept_too(account, clock):
    place = await BlobGraveyard(account, clock).bury(Queue.VERIFY, "a\ud800b", "x")
    assert (await dig_up(account, place))[0] == b"a\xed\xa0\x80b"


async def test_a_reason_fits_in_a_header(account, clock):
    place = await BlobGraveyard(account, clock).bury(Queue.VERIFY, "x", " ü\r\nX-Evil: 1\x00😀" + "y" * 5000)
    reason = (await dig_up(account, place))[1]["reason"]
    assert reason.startswith(r"\xfc\r\nX-Evil: 1\x00\U0001f600yyy")
    assert len(reason) <= 1024


async def test_two_of_the_same_lie_side_by_side(account, clock):
    graveyard = BlobGraveyard(account, clock)
    assert await graveyard.bury(Queue.VERIFY, "x", "r") != await graveyard.bury(Queue.VERIFY, "x", "r")
