"""The ticket store that needs no other system: one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.rows import Column, Key, Shape
from hubwarden.adapters.storage.table import Table
from hubwarden.adapters.tickets.turn import Turn
from hubwarden.service.errors import StaleWriteError, StorageUnavailableError
from hubwarden.service.ports import Stored, Ticket


_PARTITION: Final = "tickets"
_TURNS: Final = "turns"
_TRIES: Final = 5


class BuiltinTickets:
    """TicketSystem in the table ``hubwardentickets``, and Turns at the tickets of other systems."""

    system = "builtin"

    def __init__(self, account: StorageAccount) -> None:
        self._table = Table(account, TICKETS)
        self._turns = Table(account, TURNS)

    async def open(self, ticket: Ticket) -> None:
        """Open the ticket, or bring the one with this key up to date and open it again.

        It keeps when it was opened first and how often it was; only a ticket that was closed counts once more.
        """

        def opened(old: Ticket | None) -> Ticket:
            if old is None:
                return replace(ticket, is_open=True, closing_note=None)
            return replace(
                ticket,
                is_open=True,
                closing_note=None,
                opened_at=old.opened_at,
                occurrences=old.occurrences + (not old.is_open),
            )

        await self._change(ticket.key, opened)

    async def close(self, key: str, note: str, at: datetime) -> bool:
        """Close the ticket with the evidence; False where none was open."""

        def closed(old: Ticket | None) -> Ticket | None:
            if old is None or not old.is_open:
                return None
            return replace(old, is_open=False, closing_note=note, changed_at=at)

        return await self._change(key, closed)

    async def find_by_key(self, key: str) -> Ticket | None:
        """The ticket of a finding."""
        stored = await self._table.get((_PARTITION, key))
        return stored.value if stored else None

    async def turn(self, key: str) -> Stored[Turn] | None:
        """See Turns."""
        return await self._turns.get((_TURNS, key))

    async def save_turn(self, turn: Turn, etag: str | None) -> str:
        """See Turns."""
        return await self._turns.save(turn, etag)

    async def _change(self, key: str, change: Callable[[Ticket | None], Ticket | None]) -> bool:
        """Write what the change makes of the ticket, or nothing where it makes None; tell which."""
        for _ in range(_TRIES):
            stored = await self._table.get((_PARTITION, key))
            changed = change(stored.value if stored else None)
            if changed is None:
                return False
            try:
                await self._table.save(changed, stored.etag if stored else None)
            except StaleWriteError:
                continue
            return True
        raise StorageUnavailableError(f"ticket {key}: others wrote it {_TRIES} times in a row")


def _columns(ticket: Ticket) -> Mapping[str, Column]:
    return {
        "State": "open" if ticket.is_open else "closed",
        "Hub": ticket.hub.path,
        "RuleId": ticket.rule_id,
        "Title": ticket.title,
        "OpenedAt": ticket.opened_at,
        "ChangedAt": ticket.changed_at,
        "Occurrences": ticket.occurrences,
    }


def _key(ticket: Ticket) -> Key:
    return _PARTITION, ticket.key


def _turn_columns(turn: Turn) -> Mapping[str, Column]:
    return {"Until": turn.until, "OwesEvidence": turn.owes_evidence or None}


def _turn_key(turn: Turn) -> Key:
    return _TURNS, turn.key


TICKETS: Final = Shape("hubwardentickets", Ticket, _key, _columns)
TURNS: Final = Shape("hubwardentickets", Turn, _turn_key, _turn_columns)
