"""What may be used once, in a table: one row a use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.rows import Key, Shape
from hubwarden.adapters.storage.table import Table
from hubwarden.service.errors import StaleWriteError


_USES: Final = "uses"


@dataclass(frozen=True, slots=True)
class Use:
    """One use, to be remembered until then (UTC)."""

    nonce: str
    until: datetime


class TableNonces:
    """Nonces in the table ``hubwardennonces``; a row that is there already is a second use."""

    def __init__(self, account: StorageAccount) -> None:
        self._table = Table(account, NONCES)

    async def first_use(self, nonce: str, until: datetime) -> bool:
        """See Nonces. A write whose answer was lost counts as a use."""
        try:
            await self._table.save(Use(nonce, until), None)
        except StaleWriteError:
            return False
        return True

    async def forget(self, now: datetime) -> None:
        """See Nonces."""
        old = [stored.value async for stored in self._table.values(_USES) if stored.value.until < now]
        for use in old:
            await self._table.delete(_key(use))


def _key(use: Use) -> Key:
    return _USES, use.nonce


NONCES: Final = Shape("hubwardennonces", Use, _key, lambda use: {"Until": use.until})
