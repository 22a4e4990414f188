"""Notices in their table, on real Azurite."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hubwarden.adapters.storage.outbox import TableOutbox
from hubwarden.domain.finding import Trouble
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.message import Kind, Notice
from hubwarden.domain.severity import Severity
from hubwarden.service.errors import StaleWriteError
from hubwarden.service.ports import Waiting


NOW = datetime(2026, 11, 23, 12, 0, 1, 2, tzinfo=UTC)
HUB = HubId("00000000-0000-0000-0000-000000000001", "rg", "h")


def waiting(channel="ops", kind=Kind.ASKED, **more):
    told = Notice(kind, "f-0", HUB, "tls-minimum", Severity.HIGH, "ünï", "because", "Eve", NOW, digest="sha256:0")
    return Waiting(channel, told, NOW, **more)


@pytest.fixture
def outbox(account):
    return TableOutbox(account)


async def test_a_notice_waits_for_its_channel_whole_and_once(outbox):
    await outbox.add(waiting())
    await outbox.add(waiting())
    await outbox.add(waiting("others"))
    assert [stored.value for stored in await outbox.waiting("ops")] == [waiting()]
    assert await outbox.waiting("nobody") == []


async def test_of_two_that_claim_one_gets_through(outbox):
    await outbox.add(waiting())
    (stored,) = await outbox.waiting("ops")
    mine = replace(stored.value, not_before=NOW)
    await outbox.save(mine, stored.etag)
    with pytest.raises(StaleWriteError):
        await outbox.save(mine, stored.etag)


async def test_what_is_in_trouble_is_found_until_it_is_told(outbox):
    await outbox.add(waiting())
    await outbox.add(waiting(kind=Kind.FAILED, trouble=Trouble(NOW, "503"), rests=True))
    assert [(one.notice.kind, one.rests) async for one in outbox.troubled()] == [(Kind.FAILED, True)]
    await outbox.remove(waiting(kind=Kind.FAILED))
    await outbox.remove(waiting(kind=Kind.FAILED))
    assert [one async for one in outbox.troubled()] == []
    assert len(await outbox.waiting("ops")) == 1
