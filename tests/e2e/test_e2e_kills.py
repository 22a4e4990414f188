"""The host is killed at each numbered point of a fix: on restart the finding ends resolved, the hub written once.

It kills itself, by SIGKILL, the moment the point is reached (tests/e2e/points/sitecustomize.py). The next kill
does not wait for the recovery from the one before, so that hubs recover while others die.
"""

from __future__ import annotations

import asyncio
import signal

from pathlib import Path

import pytest
import pytest_asyncio

from hubwarden.adapters.storage.remediations import TableRemediations
from hubwarden.domain.remediation import Outcome
from local.azurite import why_azurite_cannot_run
from local.scene import lower_tls
from local.stack import Options, Stack
from tests.e2e.conftest import ONLY_TLS, Scene, hub_path
from tests.points import POINTS


pytestmark = pytest.mark.asyncio(loop_scope="session")

RECOVERY = 120
NUMBERED = [pytest.param(number, id=f"{number}: {point}") for number, point in enumerate(POINTS)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(tmp_path_factory):
    """A stack of its own, whose host has died at every point, on a hub each."""
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    options = Options(transition=0.2, message_lease=5, claim=45)
    async with Stack(tmp_path_factory.mktemp("kills"), ONLY_TLS, [], options) as stack:
        scene = Scene(stack)
        await stack.kill_host()
        for number, point in enumerate(POINTS):
            await _die_at(scene, f"point-{number}", point)
        await stack.start_host()
        yield scene


async def _die_at(scene: Scene, name: str, point: str) -> None:
    await scene.new_hub(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent / "points"))
        patch.setenv("DIES_AT", f"{name}:{point}")
        await scene.stack.start_host()
    await lower_tls(scene.somebody, name)
    async with asyncio.timeout(60):
        assert await scene.stack.host_ended() == -signal.SIGKILL, point


@pytest.mark.parametrize("number", NUMBERED)
async def test_a_fix_survives_that_the_host_is_killed(own, number):
    name = f"point-{number}"
    await own.reaches(name, "resolved", within=RECOVERY)
    [put] = await own.requests(name, "PUT")
    assert put["status"] == 201
    assert (await own.sim.hub(hub_path(name)))["body"]["properties"]["minTlsVersion"] == "1.2"
    kept = [one async for one in TableRemediations(own.stack.account).everything() if one.hub.name == name]
    outcomes = [one.outcome for one in kept]
    assert outcomes.count(Outcome.PROVEN) == 1
    assert {*outcomes} <= {Outcome.PROVEN, Outcome.BEGUN, Outcome.NOT_WRITTEN}
