"""ARM is asked for no more than it takes: with a small bucket there is never a 429."""

import asyncio

from datetime import UTC, datetime

import pytest

from hubwarden.domain.hub_id import HubId
from hubwarden.service.errors import TransientError
from hubwarden.service.ports import PolicyEdit


CONTRACTOR = [{"keyName": "contractor", "rights": "ServiceConnect"}]


@pytest.fixture
def press(names):
    return HubId.parse(names.hub)


def statuses(sim):
    return [entry["status"] for entry in sim.requests() if "/oauth2/" not in entry["path"]]


async def waits(call):
    """None where it was answered, else how many seconds to come back after."""
    (error,) = await asyncio.gather(call, return_exceptions=True)
    if not isinstance(error, BaseException):
        return None
    assert type(error) is TransientError, error
    assert not error.sent
    assert "not sent, for the " in str(error)
    return error.retry_after.total_seconds()


@pytest.mark.parametrize("at_once", [1, 8])
async def test_more_is_asked_for_than_a_bucket_of_reads_holds(hubs, sim, press, at_once):
    sim.configure(reads=(40, 25))
    await hubs.get_hub(press)
    found = []
    for _ in range(200 // at_once):
        found += await asyncio.gather(*(waits(hubs.get_hub(press)) for _ in range(at_once)))
    refusals = [wait for wait in found if wait is not None]
    assert 429 not in statuses(sim)
    assert len(refusals) > 50
    assert all(1 <= wait <= 2 for wait in refusals)
    assert len(statuses(sim)) + len(refusals) == 201


async def test_who_comes_back_when_told_gets_an_answer(hubs, sim, press):
    sim.configure(reads=(25, 25))
    await hubs.get_hub(press)
    while (wait := await waits(hubs.get_hub(press))) is None:
        pass
    await asyncio.sleep(wait)
    assert await waits(hubs.get_hub(press)) is None
    assert set(statuses(sim)) == {200}


async def test_reading_policies_leaves_writes_to_fixes(hubs, sim, names, press):
    sim.add_hub({"id": names.hub}, policies=CONTRACTOR)
    sim.configure(writes=(60, 0.001))
    body = await hubs.get_hub(press)
    found = [await waits(hubs.sas_policies(press)) for _ in range(20)]
    assert found[:10] == [None] * 10
    assert all(found[11:])
    assert await waits(hubs.put_hub(press, body, etag=body["etag"])) is None
    assert 429 not in statuses(sim)


async def test_a_fix_that_has_to_read_policies_first_is_not_begun(hubs, sim, names, press):
    sim.add_hub({"id": names.hub}, policies=CONTRACTOR)
    sim.configure(writes=(40, 0.001))
    body = await hubs.get_hub(press)
    await hubs.sas_policies(press)
    before = statuses(sim)
    edit = PolicyEdit("contractor", frozenset({"ServiceConnect"}), None)
    wait = await waits(hubs.put_hub(press, body, etag=body["etag"], policies=[edit]))
    assert wait == 2
    assert statuses(sim) == before


async def test_all_parts_share_one_budget_and_subscriptions_do_not(hubs, sim, names, press):
    sim.configure(reads=(21, 0.001))
    other = names.hub.replace(names.subscription, "another-subscription")
    sim.add_hub({"id": other})
    await hubs.get_hub(press)
    for call in (
        hubs.get_hub(press),
        hubs.diagnostics(press),
        hubs.security_solutions(press.subscription, since=datetime.now(UTC)),
        anext(hubs.list_hubs(press.subscription)),
    ):
        assert await waits(call) == 1
    assert await waits(hubs.get_hub(HubId.parse(other))) is None
    assert 429 not in statuses(sim)
