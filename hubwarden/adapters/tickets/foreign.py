"""Tickets in somebody else's system. Our own table remembers where each lives, so that finding it is one call."""

from __future__ import annotations

import time

from asyncio import Lock
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final, Protocol
from weakref import WeakValueDictionary

from hubwarden.adapters.tickets.http import Http
from hubwarden.service.errors import DeniedError, TransientError
from hubwarden.service.ports import Ticket, TicketRef, TicketSystem


class Standing(Enum):
    """Where a ticket stands in its system."""

    OPEN = auto()
    CLOSED = auto()
    """It can be opened again."""
    FINAL = auto()
    """It is over, and nothing opens it again."""
    GONE = auto()


class Tracker(Protocol):
    """One ticket system. Everything raises as TicketSystem does."""

    @property
    def system(self) -> str:
        """Which one, in a word or two: a ticket of another one is none of ours."""
        ...

    async def find(self, key: str) -> TicketRef | None:
        """The newest ticket with this key, open or not."""
        ...

    async def standing(self, ref: TicketRef) -> Standing | None:
        """Where it stands, or None where the system cannot be asked."""
        ...

    async def create(self, ticket: Ticket) -> TicketRef:
        """Open a new one, which says what it follows (``ticket.previous``)."""
        ...

    async def update(self, ref: TicketRef, ticket: Ticket, *, reopen: bool) -> None:
        """Bring it up to date, and open it again where that is asked for."""
        ...

    async def close(self, ref: TicketRef, note: str) -> None:
        """Close it with the evidence."""
        ...


_PAUSE: Final = timedelta(seconds=30)


class ForeignTickets(TicketSystem):
    """TicketSystem in a system of somebody else's.

    ``store`` is what we remember of each ticket. After a failure the system is left alone for as long as it asked
    for, or half a minute, so that one which is down costs one time-out and not one a finding.
    """

    def __init__(
        self, store: TicketSystem, tracker: Tracker, http: Http, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._tracker = tracker
        self._http = http
        self._now = now
        self._locks: WeakValueDictionary[str, Lock] = WeakValueDictionary()
        self._quiet_until = 0.0
        self._why = ""

    async def open(self, ticket: Ticket) -> None:
        """See TicketSystem."""
        async with self._alone(ticket.key):
            async with self._careful():
                known = await self._store.find_by_key(ticket.key)
                ref = await self._ref(ticket.key, known)
                opened = await self._opened(ticket, ref, known)
            await self._store.open(opened)

    async def close(self, key: str, note: str, at: datetime) -> bool:
        """See TicketSystem. One that somebody has closed by hand is left as it is."""
        async with self._alone(key):
            async with self._careful():
                known = await self._store.find_by_key(key)
                ref = await self._ref(key, known)
                if ref is not None and await self._standing(ref, known) is Standing.OPEN:
                    await self._tracker.close(ref, note)
            return await self._store.close(key, note, at)

    async def find_by_key(self, key: str) -> Ticket | None:
        """The ticket of a finding, as we remember it."""
        return await self._store.find_by_key(key)

    async def shut_down(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _ref(self, key: str, known: Ticket | None) -> TicketRef | None:
        if known is not None and known.ref is not None and known.ref.system == self._tracker.system:
            return known.ref
        return await self._tracker.find(key)

    async def _opened(self, ticket: Ticket, ref: TicketRef | None, known: Ticket | None) -> Ticket:
        standing = None if ref is None else await self._standing(ref, known)
        if ref is None or standing in {Standing.FINAL, Standing.GONE}:
            previous = ref if standing is Standing.FINAL else None
            follows = replace(ticket, previous=previous)
            return replace(follows, ref=await self._tracker.create(follows))
        kept = replace(ticket, ref=ref, previous=known.previous if known else None)
        await self._tracker.update(ref, kept, reopen=standing is Standing.CLOSED)
        return kept

    async def _standing(self, ref: TicketRef, known: Ticket | None) -> Standing:
        """As the system says; where it cannot be asked, as we remember."""
        standing = await self._tracker.standing(ref)
        if standing is not None:
            return standing
        return Standing.OPEN if known is None or known.is_open else Standing.CLOSED

    def _alone(self, key: str) -> Lock:
        """Two workers of one process must not open the same ticket side by side."""
        lock = self._locks.get(key)
        if lock is None:
            self._locks[key] = lock = Lock()
        return lock

    @asynccontextmanager
    async def _careful(self) -> AsyncIterator[None]:
        left = self._quiet_until - self._now()
        if left > 0:
            raise TransientError(f"not asked again yet: {self._why}", retry_after=timedelta(seconds=left))
        try:
            yield
        except (TransientError, DeniedError) as error:
            pause = getattr(error, "retry_after", None) or _PAUSE
            self._quiet_until, self._why = self._now() + pause.total_seconds(), str(error)
            raise
