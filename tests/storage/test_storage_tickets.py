"""The life of a built-in ticket."""

from __future__ import annotations

import asyncio
import dataclasses

from datetime import UTC, datetime, timedelta

import pytest

from hubwarden.adapters.tickets.builtin import BuiltinTickets
from hubwarden.adapters.tickets.turn import Turn, turn_at
from hubwarden.domain.hub_id import HubId
from hubwarden.service.errors import StaleWriteError, StorageUnavailableError, TransientError
from hubwarden.service.ports import Ticket


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
HUB = HubId("00000000-0000-0000-0000-000000000001", "rg", "hub")
TICKET = Ticket(
    key="f-0123456789abcdef",
    hub=HUB,
    rule_id="tls-minimum",
    title="Title",
    text="Text",
    is_open=True,
    opened_at=NOW,
    changed_at=NOW,
)


@pytest.fixture
def tickets(account) -> BuiltinTickets:
    return BuiltinTickets(account)


async def test_what_was_never_opened_is_neither_found_nor_closed(tickets):
    assert await tickets.find_by_key(TICKET.key) is None
    assert not await tickets.close(TICKET.key, "note", NOW)
    assert await tickets.find_by_key(TICKET.key) is None


async def test_an_opened_ticket_is_found(tickets):
    await tickets.open(TICKET)
    assert await tickets.find_by_key(TICKET.key) == TICKET


async def test_opening_again_brings_it_up_to_date_and_counts_nothing(tickets):
    await tickets.open(TICKET)
    newer = dataclasses.replace(TICKET, text="New text", opened_at=LATER, changed_at=LATER)
    await tickets.open(newer)
    await tickets.open(newer)
    assert await tickets.find_by_key(TICKET.key) == dataclasses.replace(newer, opened_at=NOW)


async def test_closing_keeps_the_evidence_and_happens_once(tickets):
    await tickets.open(TICKET)
    assert await tickets.close(TICKET.key, "minTlsVersion is 1.2", LATER)
    assert not await tickets.close(TICKET.key, "again", LATER + timedelta(hours=1))
    assert await tickets.find_by_key(TICKET.key) == dataclasses.replace(
        TICKET, is_open=False, closing_note="minTlsVersion is 1.2", changed_at=LATER
    )


async def test_a_drift_that_comes_back_opens_the_same_ticket_and_is_counted(tickets):
    for round_ in (1, 2, 3):
        await tickets.open(dataclasses.replace(TICKET, changed_at=NOW + timedelta(hours=round_)))
        found = await tickets.find_by_key(TICKET.key)
        assert (found.is_open, found.occurrences, found.opened_at, found.closing_note) == (True, round_, NOW, None)
        assert found.changed_at == NOW + timedelta(hours=round_)
        assert await tickets.close(TICKET.key, "gone", NOW + timedelta(hours=round_))


async def test_of_many_who_close_one_does_it(account, other):
    await BuiltinTickets(account).open(TICKET)
    systems = [BuiltinTickets(account), BuiltinTickets(other)]
    assert sorted(await asyncio.gather(*(each.close(TICKET.key, "n", LATER) for each in systems * 2))) == [
        False, False, False, True,
    ]  # fmt: skip


async def test_of_two_who_reopen_only_one_counts(account, other):
    await BuiltinTickets(account).open(TICKET)
    await BuiltinTickets(account).close(TICKET.key, "n", LATER)
    await asyncio.gather(*(BuiltinTickets(each).open(TICKET) for each in (account, other)))
    assert (await BuiltinTickets(account).find_by_key(TICKET.key)).occurrences == 2


async def test_a_ticket_that_others_never_stop_writing_is_given_up(tickets, mocker):
    save = mocker.patch.object(tickets._table, "save", side_effect=StaleWriteError)
    with pytest.raises(StorageUnavailableError, match="ticket f-0123456789abcdef"):
        await tickets.open(TICKET)
    assert save.call_count == 5


async def test_of_many_who_want_the_turn_at_a_ticket_one_has_it_and_then_the_next(account, other):
    held, most = [], []

    async def work(store):
        async with turn_at(store, TICKET.key, lambda: datetime.now(UTC)) as turn:
            held.append(turn)
            most.append(len(held))
            await turn.about_to_close()
            await asyncio.sleep(0)
            held.remove(turn)

    stores = [BuiltinTickets(account), BuiltinTickets(other)]
    done = await asyncio.gather(*(work(store) for store in stores * 4), return_exceptions=True)
    assert max(most) == 1
    assert {type(error) for error in done} <= {TransientError, type(None)}
    await work(stores[1])


async def test_a_turn_is_kept_beside_its_ticket_and_is_none(tickets):
    turn = Turn(TICKET.key, "somebody", NOW, owes_evidence=True)
    assert await tickets.turn(TICKET.key) is None
    etag = await tickets.save_turn(turn, None)
    assert (await tickets.turn(TICKET.key)).value == turn
    assert await tickets.find_by_key(TICKET.key) is None
    await tickets.open(TICKET)
    assert (await tickets.turn(TICKET.key)).etag == etag
    with pytest.raises(StaleWriteError):
        await tickets.save_turn(turn, None)
