"""Tickets in somebody else's system. Our own table remembers where each lives, so that finding it is one call."""

from __future__ import annotations

import time

from asyncio import Lock
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Final, Protocol
from weakref import WeakValueDictionary

from hubwarden.adapters.tickets.http import Http
from hubwarden.adapters.tickets.turn import Held, Turns, turn_at
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
        """Close it, with the evidence where closing takes a text."""
        ...

    async def explain(self, ref: TicketRef, note: str) -> None:
        """Add the evidence to one that is closed, where closing took none."""
        ...


class Store(TicketSystem, Turns, Protocol):
    """What we remember of each ticket, and whose turn it is at it."""


_PAUSE: Final = timedelta(seconds=30)
_OVER: Final = frozenset({Standing.FINAL, Standing.GONE})


class ForeignTickets(TicketSystem):
    """TicketSystem in a system of somebody else's.

    ``store`` is what we remember of each ticket. After a failure the system is left alone for as long as it asked
    for, or half a minute, so that one which is down costs one time-out and not one a finding.
    """

    def __init__(
        self,
        store: Store,
        tracker: Tracker,
        http: Http,
        *,
        now: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._tracker = tracker
        self._http = http
        self._now = now
        self._clock = clock
        self._locks: WeakValueDictionary[str, Lock] = WeakValueDictionary()
        self._quiet_until = 0.0
        self._why = ""

    @property
    def system(self) -> str:
        """See TicketSystem."""
        return self._tracker.system

    async def open(self, ticket: Ticket) -> None:
        """See TicketSystem."""
        async with self._turn(ticket.key) as turn:
            async with self._careful():
                known = await self._store.find_by_key(ticket.key)
                ref = await self._ref(ticket.key, known)
                opened = await self._opened(ticket, ref, known)
                turn.owe_nothing()
            await self._store.open(opened)

    async def close(self, key: str, note: str, at: datetime) -> bool:
        """See TicketSystem. One that somebody has closed by hand is left as it is."""
        async with self._turn(key) as turn:
            async with self._careful():
                known = await self._store.find_by_key(key)
                ref = await self._ref(key, known)
                if ref is not None:
                    await self._close(ref, note, await self._standing(ref, known), turn)
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
        previous = known.previous if known else None
        if ref is not None and standing in _OVER:
            newest = await self._tracker.find(ticket.key)
            if newest is not None and newest.id != ref.id:  # it has been followed already, and nobody remembers
                previous = ref if standing is Standing.FINAL else None
                ref, standing = newest, await self._standing(newest, known)
        if ref is None or standing in _OVER:
            follows = replace(ticket, previous=ref if standing is Standing.FINAL else None)
            return replace(follows, ref=await self._tracker.create(follows))
        kept = replace(ticket, ref=ref, previous=previous)
        await self._tracker.update(ref, kept, reopen=standing is Standing.CLOSED)
        return kept

    async def _close(self, ref: TicketRef, note: str, standing: Standing, turn: Held) -> None:
        """Close what is open; what we closed before, without its evidence, is given that."""
        if standing is Standing.OPEN:
            await turn.about_to_close()
            await self._tracker.close(ref, note)
        if standing is not Standing.GONE and turn.owes_evidence:
            await self._tracker.explain(ref, note)
        turn.owe_nothing()

    async def _standing(self, ref: TicketRef, known: Ticket | None) -> Standing:
        """As the system says; where it cannot be asked, as we remember."""
        standing = await self._tracker.standing(ref)
        if standing is not None:
            return standing
        return Standing.OPEN if known is None or known.is_open else Standing.CLOSED

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncIterator[Held]:
        """The ticket to ourselves, in this process and among all others."""
        async with self._alone(key):
            self._check_pause()
            async with turn_at(self._store, key, self._clock) as turn:
                yield turn

    def _alone(self, key: str) -> Lock:
        """Two workers of one process must not open the same ticket side by side."""
        lock = self._locks.get(key)
        if lock is None:
            self._locks[key] = lock = Lock()
        return lock

    @asynccontextmanager
    async def _careful(self) -> AsyncIterator[None]:
        self._check_pause()
        try:
            yield
        except (TransientError, DeniedError) as error:
            pause = getattr(error, "retry_after", None) or _PAUSE
            self._quiet_until, self._why = self._now() + pause.total_seconds(), str(error)
            raise

    def _check_pause(self) -> None:
        left = self._quiet_until - self._now()
        if left > 0:
            raise TransientError(f"not asked again yet: {self._why}", retry_after=timedelta(seconds=left))
