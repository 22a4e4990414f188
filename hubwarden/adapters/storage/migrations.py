"""What became of the rows from one version of the state to the next, and the version that this app writes.

The number of a version stands in each row's ``Schema`` and, for the account as a whole, in its record (schema.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final


type Row = Mapping[str, Any]

FIRST: Final = 1
"""The version of a state that has no record: the one before there were records."""

TABLES: Final = (
    "hubwardenfindings",
    "hubwardenhubs",
    "hubwardennonces",
    "hubwardennotices",
    "hubwardenremediations",
    "hubwardensafety",
    "hubwardensweeps",
    "hubwardentickets",
)


@dataclass(frozen=True)
class Migration:
    """The step to a version from the one before it.

    ``tables`` says of a table what becomes of each of its rows; rows of other tables only take the new number.
    Such a function is pure, keeps the row's keys, and raises ValueError where it cannot read the row.
    """

    to: int
    tables: Mapping[str, Callable[[Row], Row]]


MIGRATIONS: Final[tuple[Migration, ...]] = ()
"""Every step there ever was, in order, from ``FIRST`` on. A step that was released never changes again."""


def newest(migrations: Sequence[Migration]) -> int:
    """The version to which all these steps lead."""
    return FIRST + len(migrations)


def upgraded(table: str, row: Row, migrations: Sequence[Migration]) -> Row:
    """The row as the newest version writes it; itself where it is of that version, or of a later one.

    Raises:
        ValueError: the row has no version, or a step cannot read it.
    """
    version = row.get("Schema")
    if type(version) is not int or version < FIRST:
        raise ValueError(f"its schema is {version!r}, which is none")
    key = row["PartitionKey"], row["RowKey"]
    for step in migrations[version - FIRST :]:
        row = {**step.tables.get(table, _as_it_is)(row), "Schema": step.to}
    if key != (row["PartitionKey"], row["RowKey"]):
        raise ValueError("a step changed its key")
    return row


def _as_it_is(row: Row) -> Row:
    return row
