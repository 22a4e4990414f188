"""Messages to oneself, in real queues."""

from __future__ import annotations

import asyncio
import json

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from azure.core.exceptions import HttpResponseError

from hubwarden.adapters.storage.queues import QueueWork
from hubwarden.domain.census import Coverage, Tally
from hubwarden.service.errors import StorageUnavailableError
from hubwarden.service.messages import (
    CensusMessage,
    EvaluateMessage,
    NotifyMessage,
    Queue,
    RemediateMessage,
    TicketMessage,
    VerifyMessage,
    parse,
)


HUB = "/subscriptions/00000000-0000-0000-0000-000000000001/resourcegroups/rg/providers/microsoft.devices/iothubs/h"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TALLY = Tally({Coverage.SILENT: 1}, {Coverage.SILENT: ("ü",)})
MESSAGES = {
    Queue.EVALUATE: EvaluateMessage(hub=HUB, asked_at=NOW, cause="ürsache"),
    Queue.REMEDIATE: RemediateMessage(hub=HUB),
    Queue.VERIFY: VerifyMessage(hub=HUB, digest="sha256:0", give_up_at=NOW),
    Queue.CENSUS: CensusMessage(hub=HUB, run="r", host="h.azure-devices.net", continuation="…", tally=TALLY),
    Queue.TICKETS: TicketMessage(hub=HUB, finding="f-0123456789abcdef"),
    Queue.NOTIFY: NotifyMessage(channel="operators"),
}


@pytest.fixture
def work(account) -> QueueWork:
    return QueueWork(account)


async def texts(account, name: str) -> list[str]:
    return [message.content async for message in account.queue(name).receive_messages(messages_per_page=32)]


@pytest.mark.parametrize("queue", Queue)
async def test_a_message_arrives_on_its_queue(account, work, queue):
    await work.send(MESSAGES[queue])
    (text,) = await texts(account, queue)
    assert parse(queue, text) == MESSAGES[queue]


async def test_texts_stand_on_the_wire_as_they_are_so_that_any_text_can_be_judged(account, work, azurite):
    await work.send(MESSAGES[Queue.VERIFY])
    await work.send_to_poison(Queue.VERIFY, "%%%")
    assert await texts(account, Queue.VERIFY) == [MESSAGES[Queue.VERIFY].model_dump_json()]
    assert await texts(account, "hubwarden-verify-poison") == ["%%%"]
    host = json.loads((Path(__file__).parents[2] / "host.json").read_text())
    assert host["extensions"]["queues"]["messageEncoding"] == "none"


async def test_a_message_never_expires(account, work):
    await work.send(MESSAGES[Queue.VERIFY], delay=timedelta(days=7))
    await work.send(MESSAGES[Queue.VERIFY])
    (message,) = [message async for message in account.queue(Queue.VERIFY).receive_messages()]
    assert message.expires_on.year == 9999


async def test_a_delayed_message_is_seen_after_the_delay_and_not_before(account, work):
    await work.send(MESSAGES[Queue.VERIFY], delay=timedelta(milliseconds=1200))
    assert await texts(account, Queue.VERIFY) == []
    await asyncio.sleep(1.1)
    assert await texts(account, Queue.VERIFY) == []
    await asyncio.sleep(1.4)
    assert len(await texts(account, Queue.VERIFY)) == 1


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        (timedelta(days=-1), timedelta(0)),
        (timedelta(days=7), timedelta(days=7)),
        (timedelta(days=400), timedelta(days=7)),
    ],
)
async def test_a_delay_is_held_between_nothing_and_seven_days(account, work, mocker, delay, expected):
    client = account.queue(Queue.VERIFY)
    mocker.patch.object(account, "queue", return_value=client)
    sent = mocker.spy(client, "send_message")
    await work.send(MESSAGES[Queue.VERIFY], delay=delay)
    assert sent.spy_return.next_visible_on - sent.spy_return.inserted_on == pytest.approx(
        expected, abs=timedelta(seconds=2)
    )


@pytest.mark.parametrize(
    "text", ["", "no json", 'ünï 😀 "<&>"\n\t', "x" * 48 * 1024], ids=["empty", "plain", "odd", "48k"]
)
async def test_a_poison_text_is_intact_byte_for_byte(account, work, text):
    await work.send_to_poison(Queue.REMEDIATE, text)
    assert await texts(account, "hubwarden-remediate-poison") == [text]


async def test_a_text_that_no_queue_holds_is_reported(work):
    with pytest.raises(
        StorageUnavailableError, match=r"queue hubwarden-verify-poison: HTTP 4\d\d RequestBodyTooLarge"
    ):
        await work.send_to_poison(Queue.VERIFY, "x" * (64 * 1024 + 1))


async def test_depths_of_all_queues(work):
    for _ in range(3):
        await work.send(MESSAGES[Queue.EVALUATE])
    await work.send(MESSAGES[Queue.VERIFY], delay=timedelta(hours=1))
    await work.send_to_poison(Queue.VERIFY, "x")
    assert await work.depths() == {
        "hubwarden-evaluate": 3,
        "hubwarden-evaluate-poison": 0,
        "hubwarden-remediate": 0,
        "hubwarden-remediate-poison": 0,
        "hubwarden-verify": 1,
        "hubwarden-verify-poison": 1,
        "hubwarden-census": 0,
        "hubwarden-census-poison": 0,
        "hubwarden-tickets": 0,
        "hubwarden-tickets-poison": 0,
        "hubwarden-notify": 0,
        "hubwarden-notify-poison": 0,
    }


async def test_many_senders_may_create_the_queue_together(account, other):
    works = [QueueWork(account), QueueWork(other)] * 5
    await asyncio.gather(*(each.send(MESSAGES[Queue.EVALUATE]) for each in works))
    assert (await works[0].depths())["hubwarden-evaluate"] == 10


async def test_a_queue_that_is_there_is_not_created_again(account, work, mocker):
    await work.send(MESSAGES[Queue.EVALUATE])
    create = mocker.patch("azure.storage.queue.aio.QueueClient.create_queue", side_effect=HttpResponseError)
    await work.send(MESSAGES[Queue.EVALUATE])
    create.assert_not_called()
