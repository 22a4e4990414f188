"""Notices that wait for their channel: a table, a partition a channel, a row a notice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.rows import Column, Key, Shape
from hubwarden.adapters.storage.table import Table
from hubwarden.service.ports import Stored, Waiting


class TableOutbox:
    """Outbox in the table ``hubwardennotices``."""

    def __init__(self, account: StorageAccount) -> None:
        self._table = Table(account, NOTICES)

    async def add(self, waiting: Waiting) -> None:
        """See Outbox."""
        await self._table.put(waiting)

    async def waiting(self, channel: str) -> Sequence[Stored[Waiting]]:
        """See Outbox."""
        return [stored async for stored in self._table.values(channel)]

    async def save(self, waiting: Waiting, etag: str) -> str:
        """See Outbox."""
        return await self._table.save(waiting, etag)

    async def remove(self, waiting: Waiting) -> None:
        """See Outbox."""
        await self._table.delete(_key(waiting))

    async def troubled(self) -> AsyncIterator[Waiting]:
        """See Outbox."""
        async for stored in self._table.marked("Troubled"):
            yield stored.value


def _key(waiting: Waiting) -> Key:
    told = waiting.notice
    return waiting.channel, f"{told.at:%Y%m%dT%H%M%S%f}-{told.kind}-{told.finding}"


def _columns(waiting: Waiting) -> Mapping[str, Column]:
    return {
        "Hub": waiting.notice.hub.path,
        "Kind": waiting.notice.kind.value,
        "Since": waiting.since,
        "Troubled": True if waiting.trouble else None,
    }


NOTICES: Final = Shape("hubwardennotices", Waiting, _key, _columns)
