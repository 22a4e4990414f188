"""Of which version the account's state is, and the way to the newest."""

from __future__ import annotations

import asyncio
import logging

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.failures import creating, reported
from hubwarden.adapters.storage.migrations import FIRST, MIGRATIONS, TABLES, Migration, newest, upgraded
from hubwarden.service.errors import StaleWriteError, StorageRefusedError
from hubwarden.service.ports import Clock, StateRecord, Stored


if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient

log = logging.getLogger(__name__)

_TABLE: Final = "hubwardensafety"
_KEY: Final = {"PartitionKey": "schema", "RowKey": "state"}
_PART: Final = f"table {_TABLE}: row schema / state"
_AT_ONCE: Final = 50


class _Done(Enum):
    REWRITTEN = auto()
    CHANGED = auto()
    DAMAGED = auto()


class TableSchema:
    """StateSchema: the record is a row of the table ``hubwardensafety``, of a form that never changes."""

    def __init__(self, account: StorageAccount, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        self._account = account
        self._migrations = migrations

    first = FIRST

    @property
    def newest(self) -> int:
        """See StateSchema."""
        return newest(self._migrations)

    async def record(self) -> Stored[StateRecord] | None:
        """See StateSchema."""
        with reported(_PART):
            try:
                row = await self._account.table(_TABLE).get_entity(_KEY["PartitionKey"], _KEY["RowKey"])
            except ResourceNotFoundError:
                return None
        return Stored(_read(row), str(row.metadata["etag"]))

    async def save(self, record: StateRecord, etag: str | None) -> str:
        """See StateSchema."""
        table, row = self._account.table(_TABLE), _written(record)
        stale = ResourceExistsError if etag is None else ResourceModifiedError
        with reported(_PART):
            try:
                written = await (
                    creating(table.create_table, lambda: table.create_entity(row))
                    if etag is None
                    else _replace(table, row, etag)
                )
            except stale:
                raise StaleWriteError(_PART) from None
        return str(written["etag"])

    async def upgrade(self, clock: Clock, until: datetime) -> bool:
        """See StateSchema. A row that no step can read stays as it is, as unreadable as before."""
        for name in TABLES:
            while (again := await self._pass(name, clock, until)) is not False:
                if again is None:
                    return False
        return True

    async def _pass(self, name: str, clock: Clock, until: datetime) -> bool | None:
        """Go through a table once: whether others changed rows meanwhile; None where the time is over."""
        table, changed = self._account.table(name), False
        with reported(f"table {name}"), suppress(ResourceNotFoundError):
            pages = table.query_entities(
                "Schema lt @newest", parameters={"newest": self.newest}, results_per_page=_AT_ONCE
            ).by_page()
            async for page in pages:
                rows = [row async for row in page]
                if rows and clock.now() >= until:
                    return None
                done = await asyncio.gather(*(self._rewrite(table, name, row) for row in rows))
                changed = changed or _Done.CHANGED in done
        return changed

    async def _rewrite(self, table: TableClient, name: str, row: Any) -> _Done:
        try:
            changed = upgraded(name, row, self._migrations)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            where = f"table {name}: row {row['PartitionKey']} / {row['RowKey']}"
            log.error("%s cannot be migrated and stays as it is: %s", where, type(error).__name__)  # noqa: TRY400
            return _Done.DAMAGED
        try:
            await _replace(table, changed, row.metadata["etag"])
        except (ResourceModifiedError, ResourceNotFoundError):
            return _Done.CHANGED
        return _Done.REWRITTEN


async def _replace(table: TableClient, row: Mapping[str, Any], etag: str) -> Mapping[str, Any]:
    return await table.update_entity(row, mode="replace", etag=etag, match_condition=MatchConditions.IfNotModified)


def _written(record: StateRecord) -> dict[str, Any]:
    columns = {
        "Version": record.version,
        "App": record.app,
        "At": record.at,
        "Target": record.target,
        "Until": record.until,
    }
    return {**_KEY, **{name: value for name, value in columns.items() if value is not None}}


def _read(row: Mapping[str, Any]) -> StateRecord:
    version, target = row.get("Version"), row.get("Target")
    app, at, until = row.get("App"), row.get("At"), row.get("Until")
    if (
        type(version) is int
        and version >= FIRST
        and (target is None or type(target) is int)
        and isinstance(app, str)
        and isinstance(at, datetime)
        and (until is None or isinstance(until, datetime))
    ):
        return StateRecord(version, app, at, target, until)
    raise StorageRefusedError(f"{_PART} is damaged: it does not say of which version the state is")
