"""What is kept of each write, in its table, on real Azurite."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hubwarden.adapters.storage.remediations import TableRemediations
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import ABSENT
from hubwarden.domain.plan import Change, Target
from hubwarden.domain.remediation import Outcome, Remediation
from hubwarden.service.errors import StorageUnavailableError


NOW = datetime(2026, 11, 23, 12, 0, 1, 2, tzinfo=UTC)
HUB = HubId("00000000-0000-0000-0000-000000000001", "rg", "h")
CHANGES = (
    Change(("rogue",), {"rights": ["ServiceConnect"]}, ABSENT, "sas-policies", Target.POLICIES),
    Change(("properties", "minTlsVersion"), None, "1.2", "tls-minimum"),
)


def remediation(id_="r-1", hub=HUB, **more):
    made = Remediation(
        id_, hub, ("sas-policies", "tls-minimum"), ("f-1", "f-2"), Target.HUB, "sha256:1", "e",
        tuple(change.as_json() for change in CHANGES), ("approved by ünï",), NOW,
    )  # fmt: skip
    return replace(made, **more)


@pytest.fixture
def remediations(account):
    return TableRemediations(account)


async def test_what_is_kept_comes_back_whole_and_the_last_word_counts(remediations):
    await remediations.keep(remediation())
    await remediations.keep(remediation("r-2", replace(HUB, name="other")))
    found = await remediations.find(HUB, "r-1")
    assert found == remediation()
    assert tuple(Change.of(change) for change in found.changes) == CHANGES, "null and absence are two things"
    undo = tuple(reversed(found.changes))
    await remediations.keep(replace(found, outcome=Outcome.PROVEN, undo=undo))
    assert await remediations.find(HUB, "r-1") == remediation(outcome=Outcome.PROVEN, undo=undo)
    assert {one.id async for one in remediations.everything()} == {"r-1", "r-2"}


async def test_what_is_not_kept_is_not_found(remediations):
    assert await remediations.find(HUB, "r-1") is None
    assert [one async for one in remediations.everything()] == []
    await remediations.keep(remediation())
    assert await remediations.find(HUB, "r-2") is None
    assert await remediations.find(replace(HUB, name="other"), "r-1") is None


async def test_only_what_is_old_is_forgotten(remediations):
    await remediations.forget(NOW)
    await remediations.keep(remediation())
    await remediations.keep(remediation("r-2", at=NOW - timedelta(microseconds=1)))
    await remediations.forget(NOW)
    assert [one.id async for one in remediations.everything()] == ["r-1"]


async def test_what_cannot_be_kept_says_so(remediations):
    with pytest.raises(StorageUnavailableError):
        await remediations.keep(remediation(undo=({"x": "y" * 500_000},)))
