"""The way production goes: endpoints and a token credential, over TLS, for each client once."""

from __future__ import annotations

import json

from datetime import UTC, datetime

import pytest

from hubwarden.adapters.storage.audit import BlobAudit
from hubwarden.adapters.storage.graveyard import BlobGraveyard
from hubwarden.adapters.storage.hubs import TableHubs
from hubwarden.adapters.storage.queues import QueueWork
from hubwarden.domain.hub_id import HubId
from hubwarden.service.errors import StaleWriteError
from hubwarden.service.messages import Queue, RemediateMessage
from hubwarden.service.ports import HubRecord


HUB = HubId("00000000-0000-0000-0000-000000000001", "rg-ü(1)", "hub")


@pytest.fixture
async def account(token_account):
    account = token_account()
    yield account
    await account.close()


async def test_tables(account):
    hubs = TableHubs(account)
    etag = await hubs.save(HubRecord(HUB, datetime(2026, 11, 23, tzinfo=UTC)), None)
    assert (await hubs.get(HUB)).etag == etag
    assert [record.hub async for record in hubs.of_subscription(HUB.subscription)] == [HUB]
    with pytest.raises(StaleWriteError):
        await hubs.save(HubRecord(HUB), None)


async def test_queues(account):
    work = QueueWork(account)
    await work.send(RemediateMessage(hub=HUB.path))
    (message,) = [message async for message in account.queue(Queue.REMEDIATE).receive_messages()]
    assert RemediateMessage.model_validate_json(message.content).hub_id == HUB
    assert (await work.depths())[Queue.REMEDIATE] == 1


async def test_blobs(account, clock):
    await BlobAudit(account, clock).append("x", {"n": 1})
    place = await BlobGraveyard(account, clock).bury(Queue.VERIFY, "text", "reason")
    for name, expected in (("hubwarden-audit/audit/2026/11/23.jsonl", 1), (place, "text")):
        container, _, blob = name.partition("/")
        data = await (await account.container(container).get_blob_client(blob).download_blob()).readall()
        assert (json.loads(data)["n"] if expected == 1 else data.decode()) == expected
