"""Storage that does not answer is reported soon, by its part, and without a secret."""

from __future__ import annotations

import asyncio
import time
import traceback

from datetime import UTC, datetime

import pytest

from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.audit import BlobAudit
from hubwarden.adapters.storage.dead_letters import BlobDeadLetters
from hubwarden.adapters.storage.failures import reported
from hubwarden.adapters.storage.findings import TableFindings
from hubwarden.adapters.storage.graveyard import BlobGraveyard
from hubwarden.adapters.storage.hubs import TableHubs
from hubwarden.adapters.storage.lists import BlobLists
from hubwarden.adapters.storage.queues import QueueWork
from hubwarden.adapters.tickets.builtin import BuiltinTickets
from hubwarden.domain.finding import Finding
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.severity import Severity
from hubwarden.service.errors import StorageUnavailableError
from hubwarden.service.messages import Queue, RemediateMessage
from hubwarden.service.ports import DeadLetter, HubRecord, SweepRecord


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HUB = HubId("00000000-0000-0000-0000-000000000001", "rg", "hub")
LETTER = DeadLetter("A/2026/11/23/9/x.json", 2, NOW, '"0x8DE2A"')
CANARY = "Q2FuYXJ5S2V5Q2FuYXJ5S2V5Q2FuYXJ5S2V5Q2FuYXJ5S2V5Cg=="
ETAG = "W/\"datetime'2026-01-01T00%3A00%3A00.0000000Z'\""


async def all_of(values):
    return [value async for value in values]


def calls(account, clock) -> dict[str, list]:
    """Everything that the adapters can be asked, by the part that must be named."""
    findings, hubs, work = TableFindings(account), TableHubs(account), QueueWork(account)
    lists, letters = BlobLists(account), BlobDeadLetters(account)
    finding = Finding(HUB, "r", "s", Severity.HIGH, "x", NOW, NOW)
    return {
        "table hubwardenfindings: ": [
            findings.of_hub(HUB),
            findings.save(finding, None),
            findings.save(finding, ETAG),
            findings.find("f-1"),
            all_of(findings.everything()),
            all_of(findings.waiting()),
        ],
        "table hubwardenhubs: ": [
            hubs.get(HUB),
            hubs.save(HubRecord(HUB), None),
            hubs.forget(HUB),
            hubs.subscriptions(),
            all_of(hubs.of_subscription(HUB.subscription)),
        ],
        "table hubwardensweeps: ": [hubs.last_sweep(), hubs.add_sweep(SweepRecord(("s",), NOW, NOW, 0, 0, 0, {}))],
        "table hubwardentickets: ": [BuiltinTickets(account).find_by_key("f-1")],
        "queue hubwarden-remediate: ": [work.send(RemediateMessage(hub=HUB.path))],
        "queue hubwarden-verify-poison: ": [work.send_to_poison(Queue.VERIFY, "x")],
        "queue hubwarden-": [work.depths()],
        "container hubwarden-audit: ": [BlobAudit(account, clock).append("x", {})],
        "container hubwarden-lists: ": [
            lists.stage("a", 0, b"x"),
            lists.commit("a", 0),
            lists.delete("a"),
            all_of(lists.lines("a")),
        ],
        "container hubwarden-deadletters: ": [
            letters.waiting(1),
            letters.count(),
            letters.read(LETTER),
            letters.remove(LETTER),
            letters.set_aside(LETTER, "x"),
        ],
        "container hubwarden-poison: ": [BlobGraveyard(account, clock).bury(Queue.VERIFY, "x", "y")],
    }


async def all_are_reported(account, clock, secret: str) -> list[str]:
    expected = [(part, call) for part, each in calls(account, clock).items() for call in each]
    outcomes = await asyncio.gather(*(call for _, call in expected), return_exceptions=True)
    for (part, _), outcome in zip(expected, outcomes, strict=True):
        assert isinstance(outcome, StorageUnavailableError), outcome
        assert str(outcome).startswith(part)
        assert secret not in "".join(traceback.format_exception(outcome))
    await account.close()
    return [str(outcome) for outcome in outcomes]


async def test_an_outage_is_reported_by_every_part(clock, doomed_azurite):
    account = StorageAccount({"AzureWebJobsStorage": doomed_azurite.connection_string})
    await TableHubs(account).save(HubRecord(HUB), None)
    doomed_azurite.stop()
    begun = time.monotonic()
    messages = await all_are_reported(account, clock, "Eby8vdM02xNOcqFl")
    assert time.monotonic() - begun < 15
    assert all("Cannot connect to host 127.0.0.1" in message for message in messages)


async def test_silence_is_reported_by_every_part(clock):
    async def say_nothing(reader, writer):
        await reader.read()  # until whoever asks has given up
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    text = f"AccountName=x;AccountKey={CANARY};TableEndpoint={url};QueueEndpoint={url};BlobEndpoint={url}"
    account = StorageAccount({"AzureWebJobsStorage": text}, read_timeout=0.5)
    begun = time.monotonic()
    await all_are_reported(account, clock, CANARY)
    assert time.monotonic() - begun < 10
    server.close()
    async with asyncio.timeout(10):
        await server.wait_closed()  # no connection is left to the garbage collector


async def test_a_wrong_key_is_reported_without_it(azurite, clock):
    from_right = azurite.connection_string.partition("AccountKey=")[2].partition(";")[0]
    text = azurite.connection_string.replace(from_right, CANARY)
    messages = await all_are_reported(StorageAccount({"AzureWebJobsStorage": text}), clock, CANARY)
    assert all("HTTP 403 " in message for message in messages)


async def test_a_wrong_sas_is_reported_without_it(azurite, clock):
    key = azurite.connection_string.partition("AccountKey=")[2].partition(";")[0]
    sas = "SharedAccessSignature=sv=2024-11-04&ss=bqt&srt=sco&sp=rwdlacup&se=2099-01-01T00:00:00Z&sig=Canary%3D"
    text = azurite.connection_string.replace(f"AccountKey={key}", sas)
    messages = await all_are_reported(StorageAccount({"AzureWebJobsStorage": text}), clock, "Canary")
    assert all("HTTP 403 " in message for message in messages)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            ClientAuthenticationError("no identity here\nAttempted: …"),
            "ClientAuthenticationError: no identity here",
        ),
        (ServiceRequestError("https://a.example/t?sig=Canary broke"), "https://a.example/t?… broke"),
        (ConnectionResetError("reset"), "ConnectionResetError: reset"),
    ],
)
def test_errors_that_are_no_answer_are_told_in_one_line(error, expected):
    with pytest.raises(StorageUnavailableError) as caught, reported("table x"):
        raise error
    assert str(caught.value).startswith("table x: ")
    assert str(caught.value).endswith(expected)
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


def test_a_mistake_of_our_own_is_not_blamed_on_storage():
    with pytest.raises(TypeError), reported("table x"):
        raise TypeError
