"""Whether what is stored is of the version that this app reads and writes; an older state is brought up to it."""

from __future__ import annotations

import asyncio
import logging

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from hubwarden import __version__
from hubwarden.service.errors import StaleWriteError, StorageRefusedError, StorageUnavailableError
from hubwarden.service.ports import Clock, StateRecord, StateSchema, Stored


log = logging.getLogger(__name__)

_SLICE: Final = timedelta(minutes=1)
"""How long one invocation migrates before it lets go."""
_ALONE: Final = timedelta(minutes=2)
"""How long the others leave a worker alone of which nothing is heard."""
_SOON: Final = timedelta(seconds=15)
_LATER: Final = timedelta(minutes=5)
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why nothing may be done with what is stored, and after how long it makes sense to look again.

    ``passes`` says that it passes by itself.
    """

    why: str
    wait: timedelta
    passes: bool = True

    def __str__(self) -> str:
        return self.why


class StateGate:
    """Lets work through once the state is of the app's version; after that it costs nothing.

    That no two workers harm each other rests on the rows: each is rewritten once, by its etag. The record only
    keeps work away meanwhile, and two workers from doing the same.
    """

    def __init__(self, schema: StateSchema, clock: Clock) -> None:
        self._schema = schema
        self._clock = clock
        self._fits = False
        self._lock = asyncio.Lock()

    def doubt(self) -> None:
        """Ask again the next time: something newer was met."""
        self._fits = False

    async def misfit(self, *, migrate: bool = False) -> Misfit | None:
        """Why nothing may be done for now, or None.

        Args:
            migrate: whether to bring the state up to date where it is older, which may take a minute.
        """
        if self._fits:
            return None
        try:
            async with self._lock:
                found = await self._look(migrate=migrate)
            return await self._migrate(found) if isinstance(found, Stored) else found
        except StaleWriteError:
            return self._migrating()
        except StorageRefusedError as error:  # it waits for a person, so nobody asks for one more sweep meanwhile
            return Misfit(
                f"of which version the stored state is cannot be told: {error}; nothing is judged or written "
                "until somebody mends that row (docs/upgrade.md)",
                _LATER,
                passes=False,
            )
        except StorageUnavailableError as error:
            return Misfit(
                f"of which version the stored state is cannot be read, or not be changed: {error}", _SOON
            )

    async def _look(self, *, migrate: bool) -> Stored[StateRecord] | Misfit | None:
        """The claim on a migration, or why there is none."""
        for tries_left in reversed(range(_TRIES)):
            if self._fits:
                break
            try:
                return await self._claim(migrate=migrate)
            except StaleWriteError:
                if not tries_left:
                    raise
        return None

    async def _claim(self, *, migrate: bool) -> Stored[StateRecord] | Misfit | None:
        now, newest = self._clock.now(), self._schema.newest
        stored = await self._schema.record()
        etag = stored.etag if stored else None
        known = stored.value if stored else StateRecord(self._schema.first, __version__, now)
        if max(known.version, known.target or 0) > newest:
            return self._newer(known)
        if known.version == newest:
            if stored is None and migrate:
                await self._schema.save(known, None)
            self._fits = stored is not None or migrate
            return None
        if known.until is not None and now < known.until:
            return self._migrating()
        if not migrate:
            return Misfit(
                f"the stored state is of version {known.version} and has to be brought to {newest}: "
                "the next message or sweep begins with it",
                _SOON,
            )
        claim = replace(known, app=__version__, at=now, target=newest, until=now + _ALONE)
        return Stored(claim, await self._schema.save(claim, etag))

    async def _migrate(self, claim: Stored[StateRecord]) -> Misfit | None:
        newest, known = self._schema.newest, claim.value
        log.warning("the stored state is migrated from version %d to %d", known.version, newest)
        done = await self._schema.upgrade(self._clock, known.at + _SLICE)
        version = newest if done else known.version
        await self._schema.save(replace(known, version=version, at=self._clock.now(), until=None), claim.etag)
        if not done:
            return self._migrating()
        log.warning("the stored state is of version %d", newest)
        self._fits = True
        return None

    def _migrating(self) -> Misfit:
        return Misfit(f"migrating: the stored state is being brought to version {self._schema.newest}", _SOON)

    def _newer(self, known: StateRecord) -> Misfit:
        version = max(known.version, known.target or 0)
        return Misfit(
            f"the stored state is of version {version}, written by hubwarden {known.app}, and this is hubwarden "
            f"{__version__}, which knows those up to {self._schema.newest}: nothing is judged or written; deploy "
            f"hubwarden {known.app} or later again, or restore the tables of before (docs/upgrade.md)",
            _LATER,
            passes=False,
        )
