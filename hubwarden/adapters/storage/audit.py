"""The audit trail: JSON lines in append blobs, a blob a day, chained by hashes over all of them."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.failures import creating, error_code, reported
from hubwarden.adapters.storage.trail import CONTAINER, blob_of, bytes_of, places_of
from hubwarden.domain.audit import (
    BEGIN,
    CONTINUED,
    LONGEST_BLOCK,
    Entry,
    Head,
    Place,
    UnwritableEntryError,
    chained,
    end_of,
)
from hubwarden.domain.jsons import Json
from hubwarden.service.errors import StorageUnavailableError
from hubwarden.service.ports import Clock


log = logging.getLogger(__name__)

_MOST_BLOCKS: Final = 50_000
_WINDOW: Final = 64 * 1024
_PATIENCE: Final = 20
"""Seconds after which others have been quicker too often."""
_PAUSE: Final = 0.05


@dataclass(frozen=True, slots=True)
class _Tail:
    """How a blob ends. ``head`` is None where it has no line; ``next`` says where else the trail goes on."""

    place: Place
    size: int = 0
    blocks: int = 0
    head: Head | None = None
    next: Place | None = None
    torn: bool = False


@dataclass(slots=True, eq=False)
class _Waiting:
    """An entry on its way, and what became of it."""

    entry: Entry
    size: int
    failure: str | None = None


class BlobAudit:
    """AuditTrail in ``audit/YYYY/MM/DD.jsonl`` (UTC); a full blob is followed by ``DD.1.jsonl`` and so on.

    Any number of instances may append. Each append names the position at which it must land, so of two only one
    does, and the other chains its lines anew. So, too, an append whose answer was lost is not doubled: sent again,
    it finds its place taken, and by whom. While one append is under way, what comes gathers and goes out as the
    next one. Where the trail ends is remembered, so that an append is one request.

    ``blocks`` is how many appends a blob can take.
    """

    def __init__(self, account: StorageAccount, clock: Clock, *, blocks: int = _MOST_BLOCKS) -> None:
        self._account = account
        self._clock = clock
        self._blocks = blocks
        self._turn = asyncio.Lock()
        self._waiting: list[_Waiting] = []
        self._tail: _Tail | None = None
        self._last = BEGIN
        self._full: Place | None = None

    async def append(self, kind: str, details: Mapping[str, Json]) -> None:
        """Write one line and return once it is stored; what chains and names it is added to the details.

        Raises:
            StorageUnavailableError: it could not be written; then nothing may be written to Azure either.
            ValueError: the details have one of the names that are added.
        """
        entry = Entry(self._clock.now(), str(uuid.uuid4()), kind, details)
        try:
            waiting = _Waiting(entry, entry.size())
        except UnwritableEntryError as error:
            raise StorageUnavailableError(f"container {CONTAINER}: {error}") from None
        self._waiting.append(waiting)
        try:
            async with self._turn:
                while waiting in self._waiting:  # else whoever had the turn before took it along
                    await self._write(self._take())
        finally:
            if waiting in self._waiting:  # who waited for it is gone
                self._waiting.remove(waiting)
        if waiting.failure is not None:
            raise StorageUnavailableError(waiting.failure)

    def _take(self) -> list[_Waiting]:
        """What goes into the next block."""
        taken: list[_Waiting] = []
        room = LONGEST_BLOCK - 1  # a torn line before it needs a line feed
        for waiting in self._waiting:
            room -= waiting.size
            if taken and room < 0:
                break
            taken.append(waiting)
        del self._waiting[: len(taken)]
        return taken

    async def _write(self, taken: Sequence[_Waiting]) -> None:
        failure: str | None = f"container {CONTAINER}: the append was broken off"
        try:
            with reported(f"container {CONTAINER}"):
                await self._store([waiting.entry for waiting in taken])
            failure = None
        except StorageUnavailableError as error:
            failure = str(error)
        finally:
            for waiting in taken:
                waiting.failure = failure

    async def _store(self, entries: Sequence[Entry]) -> None:
        now = asyncio.get_running_loop().time
        ends = now() + _PATIENCE
        while now() < ends:
            tail, self._tail = self._tail or await self._find(), None
            today = self._today()
            if tail.next is not None:
                self._tail = _Tail(tail.next, head=tail.head)
            elif tail.place.day < today or tail.blocks >= self._blocks - 1:
                await self._put(tail, [self._continued(tail, today)])
            elif await self._put(tail, entries):
                return
        raise StorageUnavailableError(
            f"container {CONTAINER}: for {_PATIENCE} seconds, others were always quicker"
        )

    def _continued(self, tail: _Tail, today: date) -> Entry:
        goes_on = tail.place.following(today).name
        return Entry(self._clock.now(), str(uuid.uuid4()), CONTINUED, {"next": goes_on})

    async def _put(self, tail: _Tail, entries: Sequence[Entry]) -> bool:
        """Append the entries where the trail ends; False where it does not end there, or the blob is full."""
        assert tail.head is not None, "only what is known is chained to"
        block, head = chained(entries, tail.head)
        if tail.torn:
            block = b"\n" + block
        try:
            blocks = await self._append(tail, block)
        except ResourceNotFoundError:
            return False  # somebody has deleted it
        except HttpResponseError as error:
            match error_code(error):
                case "AppendPositionConditionNotMet":
                    return await self._is_there(tail, block, head)
                case "BlockCountExceedsLimit":
                    self._full = tail.place
                    return False
                case _:
                    raise
        self._last = head
        end = end_of(block, whole=True)
        self._tail = _Tail(tail.place, tail.size + len(block), blocks, head, next=end.next if end else None)
        return True

    async def _append(self, tail: _Tail, block: bytes) -> int:
        """Append at this position or not at all; how many blocks the blob then has."""
        blob = blob_of(self._account, tail.place)

        async def append() -> int:
            answer: Mapping[str, Any] = await blob.append_block(block, appendpos_condition=tail.size)
            return int(answer["blob_committed_block_count"])

        return await append() if tail.size else await creating(lambda: self._create(tail.place.name), append)

    async def _is_there(self, tail: _Tail, block: bytes, head: Head) -> bool:
        """Whether the block stands where it was to land: then it was our own first try that took its place."""
        if await bytes_of(blob_of(self._account, tail.place), tail.size, len(block)) == block:
            self._last = head
            return True
        await asyncio.sleep(random.uniform(0, _PAUSE))  # noqa: S311 - so that not all come back at once
        ends = await self._read(tail.place)
        self._tail = None if ends.head is None else self._checked(ends)
        return False

    async def _find(self) -> _Tail:
        """The end of the trail, from what is stored."""
        places = list(await places_of(self._account))
        if not places:
            return self._checked(_Tail(Place(self._today()), head=BEGIN))
        tail = await self._read(places.pop())
        while tail.head is None:  # it was made, and whoever made it stopped before its first line
            tail = replace(tail, head=(await self._read(places.pop())).head if places else BEGIN)
        return self._checked(tail)

    def _checked(self, tail: _Tail) -> _Tail:
        """The tail; where less is there than we have written ourselves, with the head that it must have."""
        if tail.head is not None and tail.head.seq < self._last.seq:
            log.error(
                "the audit trail was cut: it ended with line %d, now it ends with %d; `audit verify` tells where",
                self._last.seq,
                tail.head.seq,
            )
            return replace(tail, head=self._last)
        return tail

    async def _read(self, place: Place) -> _Tail:
        """How this blob ends; from its last bytes, as many as it takes."""
        blob = blob_of(self._account, place)
        found = await blob.get_blob_properties()
        tail = _Tail(place, found.size, found.append_blob_committed_block_count or 0)
        window, end = _WINDOW, None
        while end is None and tail.size:
            begin = max(0, tail.size - window)
            end = end_of(await bytes_of(blob, begin, tail.size - begin), whole=begin == 0)
            window *= 8
        if end is not None:
            tail = replace(tail, head=end.head, next=end.next, torn=end.torn)
        if tail.next is None and (tail.blocks >= self._blocks or place == self._full):
            tail = replace(tail, next=Place(place.day, place.part + 1))  # whatever day: all must say the same
        return tail

    def _today(self) -> date:
        return self._clock.now().astimezone(UTC).date()

    async def _create(self, name: str) -> None:
        container = self._account.container(CONTAINER)
        blob = container.get_blob_client(name)
        await creating(
            container.create_container,
            lambda: blob.create_append_blob(match_condition=MatchConditions.IfMissing),
        )
