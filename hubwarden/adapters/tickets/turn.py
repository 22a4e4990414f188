"""Whose turn it is at a ticket: of all workers of all instances, one at a time asks and writes its system."""

from __future__ import annotations

import asyncio
import logging
import uuid

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from hubwarden.service.errors import StaleWriteError, StorageUnavailableError, TransientError
from hubwarden.service.ports import Stored


log = logging.getLogger(__name__)

_LONGEST: Final = timedelta(minutes=3)
"""Who is not done by then gives up."""
_LASTS: Final = timedelta(minutes=5)
"""Who has not given its turn back by then is gone: it would have given up before, whatever its clock says."""
_SOON: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Turn:
    """The turn at the ticket with this key, which is ``owner``'s until then (UTC).

    ``owes_evidence`` is set while the ticket may be closed in its system and not say why.
    """

    key: str
    owner: str
    until: datetime
    owes_evidence: bool = False


class Turns(Protocol):
    """Where turns are kept; etags decide whose they are. Every method raises StorageUnavailableError."""

    async def turn(self, key: str) -> Stored[Turn] | None:
        """The last turn at this ticket, over or not."""
        ...

    async def save_turn(self, turn: Turn, etag: str | None) -> str:
        """Write a turn read at this etag, or the first one (None), and return the new etag.

        Raises:
            StaleWriteError: somebody else was faster, or the answer to one's own write was lost.
        """
        ...


class Held:
    """A turn that is ours."""

    def __init__(self, turns: Turns, stored: Stored[Turn]) -> None:
        self._turns = turns
        self._stored = stored

    @property
    def owes_evidence(self) -> bool:
        """Whether the ticket may be closed without saying why."""
        return self._stored.value.owes_evidence

    async def about_to_close(self) -> None:
        """Remember, before the ticket is closed, that the evidence is owed until it is told."""
        await self._save(replace(self._stored.value, owes_evidence=True))

    def owe_nothing(self) -> None:
        """The evidence is told, or the ticket is open again; written when the turn is given back."""
        self._stored = replace(self._stored, value=replace(self._stored.value, owes_evidence=False))

    async def give_back(self, now: datetime) -> None:
        """Let others have it; where that cannot be written, they have it once it is over."""
        try:
            await self._save(replace(self._stored.value, until=now))
        except (TransientError, StorageUnavailableError) as error:
            log.warning("the turn at ticket %s ends by itself: %s", self._stored.value.key, error)

    async def _save(self, turn: Turn) -> None:
        self._stored = await _saved(self._turns, turn, self._stored.etag)


@asynccontextmanager
async def turn_at(turns: Turns, key: str, now: Callable[[], datetime]) -> AsyncIterator[Held]:
    """Have the ticket to oneself.

    Raises:
        TransientError: somebody else has it; or all of it took too long, and was broken off.
    """
    held = await _take(turns, key, now())
    try:
        async with asyncio.timeout(_LONGEST.total_seconds()):
            yield held
    except TimeoutError:
        raise TransientError(
            f"ticket {key}: broken off after {_LONGEST.total_seconds():.0f} s", sent=True
        ) from None
    finally:
        await held.give_back(now())


async def _take(turns: Turns, key: str, now: datetime) -> Held:
    last = await turns.turn(key)
    if last is not None and last.value.until > now:
        raise _taken(key)
    turn = Turn(key, uuid.uuid4().hex, now + _LASTS, last is not None and last.value.owes_evidence)
    return Held(turns, await _saved(turns, turn, last.etag if last else None))


async def _saved(turns: Turns, turn: Turn, etag: str | None) -> Stored[Turn]:
    try:
        return Stored(turn, await turns.save_turn(turn, etag))
    except StaleWriteError:
        written = await turns.turn(turn.key)
    if written is None or written.value != turn:
        raise _taken(turn.key)
    return written


def _taken(key: str) -> TransientError:
    return TransientError(f"ticket {key}: another worker is at it", retry_after=_SOON)
