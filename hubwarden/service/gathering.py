"""Which of the notices that wait for a channel are sent now: those whose cause has come to rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from hubwarden.domain.message import Cause, cause
from hubwarden.service.ports import Stored, Waiting


GATHER: Final = timedelta(seconds=30)
"""A cause of which nothing new came for so long is told."""
LONGEST_GATHER: Final = timedelta(minutes=5)
"""A cause that never comes to rest is told as often."""
SETTLED: Final = timedelta(seconds=5)
"""A notice is laid down before its finding is stored; after that long, it is or never will be."""
TOO_OLD: Final = timedelta(days=1)

type Row = Stored[Waiting]


def rests(waiting: Sequence[Row], now: datetime) -> bool:
    """Whether the channel is left alone for now, for it did not take what it was sent last."""
    return any(row.value.rests and _is_put_off(row.value, now) for row in waiting)


def old_ones(waiting: Sequence[Row], now: datetime) -> list[Row]:
    """What is too old to matter and is no other worker's."""
    return [
        row for row in waiting if is_old(row.value, now) and (row.value.rests or not _is_put_off(row.value, now))
    ]


def ready_ones(waiting: Sequence[Row], now: datetime) -> list[Row]:
    """What may be sent now and is no other worker's."""
    return [] if rests(waiting, now) else list(_ready(waiting, now))


def is_old(waiting: Waiting, now: datetime) -> bool:
    """Whether it is too old to matter."""
    return now - waiting.since > TOO_OLD


def _ready(waiting: Sequence[Row], now: datetime) -> Iterator[Row]:
    causes: dict[Cause, list[Row]] = {}
    for row in waiting:
        if row.value.since <= now and not _is_put_off(row.value, now) and not is_old(row.value, now):
            causes.setdefault(cause(row.value.notice), []).append(row)
    for rows in causes.values():
        quiet_for = now - max(row.value.since for row in rows)
        waited = now - min(row.value.since for row in rows)
        if quiet_for >= GATHER or waited >= LONGEST_GATHER:
            yield from (row for row in rows if now - row.value.since >= SETTLED)


def _is_put_off(waiting: Waiting, now: datetime) -> bool:
    return waiting.not_before is not None and waiting.not_before > now
