"""The kill switch and the ledger of the limits, in one table: a row each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.rows import Column, Key, Shape
from hubwarden.adapters.storage.table import Table
from hubwarden.domain.limits import Kill, Ledger
from hubwarden.service.ports import Stored


class TableSafety:
    """SafetyStore in the table ``hubwardensafety``. The switch has a row of its own, apart from counters."""

    def __init__(self, account: StorageAccount) -> None:
        self._kill = Table(account, KILL)
        self._ledger = Table(account, LEDGER)

    async def kill(self) -> Stored[Kill] | None:
        """See SafetyStore."""
        return await self._kill.get(_KILL)

    async def save_kill(self, kill: Kill, etag: str | None) -> str:
        """See Table.save."""
        return await self._kill.save(kill, etag)

    async def stop(self, kill: Kill) -> None:
        """See SafetyStore."""
        await self._kill.put(kill)

    async def ledger(self) -> Stored[Ledger] | None:
        """See SafetyStore."""
        return await self._ledger.get(_LEDGER)

    async def save_ledger(self, ledger: Ledger, etag: str | None) -> str:
        """See Table.save."""
        return await self._ledger.save(ledger, etag)


_KILL: Final[Key] = ("safety", "kill")
_LEDGER: Final[Key] = ("safety", "ledger")


def _kill_columns(kill: Kill) -> Mapping[str, Column]:
    return {"On": kill.on, "By": kill.by, "At": kill.at, "Reason": kill.reason}


def _ledger_columns(ledger: Ledger) -> Mapping[str, Column]:
    return {
        "Slots": len(ledger.slots),
        "NextTurn": ledger.next_turn,
        "Tripped": ledger.tripped or None,
        "Asked": " ".join(ledger.asked) or None,
        "Released": " ".join(ledger.released) or None,
    }


KILL: Final = Shape("hubwardensafety", Kill, lambda _: _KILL, _kill_columns)
LEDGER: Final = Shape("hubwardensafety", Ledger, lambda _: _LEDGER, _ledger_columns)
