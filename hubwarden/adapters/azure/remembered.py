"""Answers that are the same for many hubs, kept in memory for a while."""

from __future__ import annotations

import asyncio

from collections.abc import Awaitable, Callable
from datetime import timedelta


class Remembered[T]:
    """Values by key, each asked for once and then kept; who comes meanwhile waits for the same answer.

    A failure is not kept and not shared: it may be about the one hub by which was asked.
    """

    def __init__(self, keep: timedelta, clock: Callable[[], float]) -> None:
        self._seconds = keep.total_seconds()
        self._clock = clock
        self._values: dict[str, tuple[float, T]] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def get(self, key: str, ask: Callable[[], Awaitable[T]]) -> T:
        """The value that is kept, or what ``ask`` gives; it raises what that raises."""
        async with self._asking.setdefault(key, asyncio.Lock()):
            kept = self._values.get(key)
            if kept is not None and self._clock() - kept[0] < self._seconds:
                return kept[1]
            asked_at = self._clock()
            value = await ask()
            self._values[key] = (asked_at, value)
            return value
