"""One table of values, with the row's etag as the only lock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.failures import creating, reported
from hubwarden.adapters.storage.rows import Key, Shape
from hubwarden.service.errors import StaleWriteError
from hubwarden.service.ports import Stored


if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient


class Table[T]:
    """Values of one shape in their table, which is created by the first write that misses it.

    Every method raises StorageUnavailableError where the table does not answer as it should.
    """

    def __init__(self, account: StorageAccount, shape: Shape[T]) -> None:
        self._account = account
        self._shape = shape
        self._part = f"table {shape.table}"

    async def get(self, key: Key) -> Stored[T] | None:
        """The value under a key."""
        with reported(self._part):
            try:
                row = await self._client.get_entity(*key)
            except ResourceNotFoundError:
                return None
        return self._stored(row)

    async def save(self, value: T, etag: str | None) -> str:
        """Write a value read at this etag, or a new one (None), and return the new etag.

        Raises:
            StaleWriteError: the row is not as it was. The change may be one's own: a write whose answer was
                lost is sent again. Read the row to know.
        """
        row = self._shape.to_row(value)
        stale = (ResourceExistsError,) if etag is None else (ResourceModifiedError, ResourceNotFoundError)
        with reported(self._part):
            try:
                written = await (self._insert(row) if etag is None else self._replace(row, etag))
            except stale:
                raise StaleWriteError(f"{self._part}: {row['PartitionKey']} / {row['RowKey']}") from None
        return str(written["etag"])

    async def put(self, value: T) -> None:
        """Write a value, whatever was there before."""
        row = self._shape.to_row(value)
        with reported(self._part):
            await creating(self._client.create_table, lambda: self._client.upsert_entity(row, mode="replace"))

    async def delete(self, key: Key) -> None:
        """Delete the row under a key; nothing happens where there is none."""
        with reported(self._part), suppress(ResourceNotFoundError):
            await self._client.delete_entity(*key)

    async def values(self, partition: str | None = None, *, page: int | None = None) -> AsyncIterator[Stored[T]]:
        """The values of a partition, or of all, in the order of their keys, fetched ``page`` at a time."""
        with reported(self._part), suppress(ResourceNotFoundError):
            async for row in self._rows(partition, page):
                yield self._stored(row)

    async def partitions(self) -> list[str]:
        """The keys of the partitions that have rows, sorted."""
        found: set[str] = set()
        with reported(self._part), suppress(ResourceNotFoundError):
            async for row in self._client.list_entities(select=["PartitionKey"]):
                found.add(row["PartitionKey"])
        return sorted(found)

    async def named(self, row_key: str) -> AsyncIterator[Stored[T]]:
        """The values under this row key, in whatever partition."""
        with reported(self._part), suppress(ResourceNotFoundError):
            async for row in self._client.query_entities("RowKey eq @row", parameters={"row": row_key}):
                yield self._stored(row)

    async def marked(self, column: str) -> AsyncIterator[Stored[T]]:
        """The values of which this column is true."""
        with reported(self._part), suppress(ResourceNotFoundError):
            async for row in self._client.query_entities(f"{column} eq true"):
                yield self._stored(row)

    async def columns(self, *names: str) -> AsyncIterator[Mapping[str, Any]]:
        """These columns of every row, as far as it has them; the values themselves are not fetched."""
        with reported(self._part), suppress(ResourceNotFoundError):
            async for row in self._client.list_entities(select=list(names)):
                yield row

    @property
    def _client(self) -> TableClient:
        return self._account.table(self._shape.table)

    async def _insert(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return await creating(self._client.create_table, lambda: self._client.create_entity(row))

    async def _replace(self, row: Mapping[str, Any], etag: str) -> Mapping[str, Any]:
        return await self._client.update_entity(
            row, mode="replace", etag=etag, match_condition=MatchConditions.IfNotModified
        )

    def _rows(self, partition: str | None, page: int | None) -> AsyncIterator[Any]:
        if partition is None:
            return self._client.list_entities(results_per_page=page)
        return self._client.query_entities(
            "PartitionKey eq @partition", parameters={"partition": partition}, results_per_page=page
        )

    def _stored(self, row: Any) -> Stored[T]:
        return Stored(self._shape.from_row(row), row.metadata["etag"])
