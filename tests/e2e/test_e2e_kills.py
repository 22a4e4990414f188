"""The host is killed in the middle of a fix: on restart the finding ends resolved, and the hub is written once."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import pytest_asyncio

from hubwarden.domain.hub_id import HubId
from local.azurite import why_azurite_cannot_run
from local.scene import lower_tls
from local.stack import Options, Stack
from tests.e2e.conftest import ONLY_TLS, Scene, hub_path


pytestmark = pytest.mark.asyncio(loop_scope="session")

RECOVERY = 120
PAST = frozenset({"executing", "verifying", "ambiguous", "resolved"})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(tmp_path_factory):
    """A stack of its own: nobody else's host is killed."""
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    options = Options(transition=0.5, message_lease=5, claim=45)
    async with Stack(tmp_path_factory.mktemp("kills"), ONLY_TLS, [], options) as stack:
        yield Scene(stack)


async def test_killed_between_the_put_and_its_proof(own):
    await own.new_hub("after-put")
    await lower_tls(own.somebody, "after-put")
    async with asyncio.timeout(60):
        while not [r for r in await own.requests("after-put", "PUT") if r["status"] == 201]:
            await asyncio.sleep(0.005)
    await own.stack.kill_host()

    finding = await own.finding("after-put")
    assert finding.state in {"executing", "verifying"}
    await own.stack.start_host()
    await own.reaches("after-put", "resolved", within=RECOVERY)
    assert len(await own.requests("after-put", "PUT")) == 1


async def test_killed_between_the_claim_and_the_put(own):
    """Storage is frozen the moment the claim is seen in it, so that the worker cannot come as far as the PUT."""
    for attempt in range(12):
        name = f"after-claim-{attempt}"
        await own.new_hub(name)
        await lower_tls(own.somebody, name)
        await _kill_once_claimed(own, name)
        sent = len(await own.requests(name, "PUT"))
        await own.stack.start_host()
        if sent == 0:
            break
    else:
        pytest.fail("the host was never caught between claim and PUT")

    finding = await own.reaches(name, "resolved", within=RECOVERY)
    assert "ambiguous" in [step.state for step in finding.history]
    assert len(await own.requests(name, "PUT")) == 1
    for earlier in range(attempt):
        await own.reaches(f"after-claim-{earlier}", "resolved", within=RECOVERY)
        assert len(await own.requests(f"after-claim-{earlier}", "PUT")) == 1


async def _kill_once_claimed(own, name) -> None:
    """Look as often as can be: the claim stands for a few hundredths of a second before the PUT leaves."""
    async with asyncio.timeout(60):
        while not [
            f for f in await own.stack.findings.of_hub(HubId.parse(hub_path(name))) if f.value.state in PAST
        ]:
            await asyncio.sleep(0)
    azurite = own.stack.azurite_pid
    os.kill(azurite, signal.SIGSTOP)
    try:
        await own.stack.kill_host()
    finally:
        os.kill(azurite, signal.SIGCONT)
