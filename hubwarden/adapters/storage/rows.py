"""How a value becomes a table row and a row the value again."""

from __future__ import annotations

import json
import re

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from hubwarden.adapters.storage.migrations import MIGRATIONS, Migration, newest, upgraded
from hubwarden.domain.hub_id import HubId
from hubwarden.service.errors import StateNewerError, StorageRefusedError


type Column = str | int | bool | datetime | None
type Key = tuple[str, str]
"""PartitionKey and RowKey."""

# A property holds 64 KiB and a row 1 MiB, both counted in UTF-16; escaped JSON is ASCII, two bytes a character.
_PROPERTY: Final = 32_000
_DOCUMENT: Final = 15 * _PROPERTY
_COLUMN: Final = 1_000

_NOT_IN_A_KEY: Final = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Shape[T]:
    """The rows of one table.

    The whole value is JSON in ``Doc``, and goes on in ``Doc1``, ``Doc2``, … where one property is too small.
    ``columns`` are only for people and queries; what is None is left out, long texts are cut.
    """

    table: str
    value_type: type[T]
    key: Callable[[T], Key]
    columns: Callable[[T], Mapping[str, Column]]
    migrations: Sequence[Migration] = MIGRATIONS

    def to_row(self, value: T) -> dict[str, Any]:
        """The row of a value.

        Raises:
            StorageRefusedError: the value is larger than a row can be.
            ValueError: its key has a character that keys cannot have, or a field is not of its type.
        """
        partition, row = self.key(value)
        return {
            "PartitionKey": _checked(partition),
            "RowKey": _checked(row),
            "Schema": newest(self.migrations),
            **{name: _shown(column) for name, column in self.columns(value).items() if column is not None},
            **dict(self._pieces(value)),
        }

    def from_row(self, row: Mapping[str, Any]) -> T:
        """The value of a row, which an instance of a version before may have written after the migration.

        Raises:
            StateNewerError: a newer version of hubwarden wrote the row.
            StorageRefusedError: the row is damaged.
        """
        known = newest(self.migrations)
        try:
            row = upgraded(self.table, row, self.migrations)
            if row["Schema"] > known:
                raise self._unreadable(
                    row, f"its schema is {row['Schema']}, and this app knows those up to {known}", StateNewerError
                )
            value: T = self._adapter.validate_python(json.loads(_document(row)))
        except ValueError as error:
            raise self._unreadable(row, _told(error)) from None
        return value

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        return TypeAdapter(self.value_type)

    def _unreadable(
        self, row: Mapping[str, Any], why: str, error: type[StorageRefusedError] = StorageRefusedError
    ) -> StorageRefusedError:
        return error(
            f"table {self.table}: row {row.get('PartitionKey')} / {row.get('RowKey')} cannot be read: {why}"
        )

    def _pieces(self, value: T) -> Iterator[tuple[str, str]]:
        document = json.dumps(self._adapter.dump_python(value, mode="json", warnings="error"))
        if len(document) > _DOCUMENT:
            raise StorageRefusedError(
                f"table {self.table}: a row of {len(document)} characters is more than the {_DOCUMENT} that fit"
            )
        for index, start in enumerate(range(0, len(document), _PROPERTY)):
            yield _piece(index), document[start : start + _PROPERTY]


def hub_partition(hub: HubId) -> str:
    """The PartitionKey of rows of which a hub has several."""
    return f"{hub.subscription}|{hub.resource_group}|{hub.name}"


def _document(row: Mapping[str, Any]) -> str:
    pieces: list[str] = []
    while (name := _piece(len(pieces))) in row:
        pieces.append(row[name])
    return "".join(pieces)


def _piece(index: int) -> str:
    return f"Doc{index or ''}"


def _checked(key: str) -> str:
    if _NOT_IN_A_KEY.search(key):
        raise ValueError(f"not a table key: {key!r}")
    return key


def _shown(column: Column) -> Column:
    return column[:_COLUMN].encode("utf-8", "replace").decode() if isinstance(column, str) else column


def _told(error: ValueError) -> str:
    """What is wrong, without the values: they may be anything."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
