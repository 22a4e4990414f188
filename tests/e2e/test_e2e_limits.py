"""Many hubs drift at once, and the kill switch, with everything real but Azure."""

from __future__ import annotations

import asyncio
import sys

from collections import Counter

import pytest
import pytest_asyncio

from hubwarden.domain.finding import State
from local.azurite import why_azurite_cannot_run
from local.scene import UNLIMITED, hub_body, lower_tls
from local.stack import HUBWARDEN, ROOT, SOMEBODY, Options, Stack
from tests.e2e.conftest import ONLY_TLS


HUBS = [f"plant-{number:02d}" for number in range(50)]
RATE = 10


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(tmp_path_factory):
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    policy = ONLY_TLS.replace(UNLIMITED, "")
    hubs = [hub_body(name) for name in HUBS]
    async with Stack(tmp_path_factory.mktemp("limits"), policy, hubs, Options(transition=0.2)) as stack:
        yield stack


async def puts(stack):
    requests = await stack.sim.requests()
    return sum(r["principal"] == HUBWARDEN.name and r["method"] == "PUT" for r in requests)


async def states(stack):
    return Counter([finding.state async for finding in stack.findings.everything()])


async def until(stack, within, **wanted):
    found = None
    try:
        async with asyncio.timeout(within):
            while (found := await states(stack)) != {State(name): count for name, count in wanted.items()}:
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"the findings never were {wanted}: {found}") from None


async def command(stack, *arguments):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hubwarden.cli", "--settings", str(stack.settings_file), *arguments,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.asyncio(loop_scope="session")
async def test_forty_of_fifty_hubs_drift_at_once_and_are_fixed_at_the_rate_after_one_word(stack):
    await stack.sweep()
    somebody = stack.arm_as(SOMEBODY)
    await asyncio.gather(*(lower_tls(somebody, name) for name in HUBS[:40]))
    await until(stack, 60, held=40)
    assert await puts(stack) == 0
    _, health = await stack.health()
    assert health["held"] == 40
    assert any("of 50 hubs drift of tls-minimum" in warning for warning in health["warnings"])
    code, out, err = await command(stack, "release", "--rule", "tls-minimum")
    assert (code, err) == (0, ""), err
    assert out.startswith("40 hub(s) are fixed at the rate")
    await until(stack, 90, held=40 - RATE, resolved=RATE)
    assert await puts(stack) == RATE


@pytest.mark.asyncio(loop_scope="session")
async def test_the_kill_switch_stops_writes_and_resume_goes_on(stack):
    before = await puts(stack)
    assert (await command(stack, "kill", "--reason", "a test"))[0] == 0
    await lower_tls(stack.arm_as(SOMEBODY), HUBS[-1])
    await until(stack, 60, held=40 - RATE + 1, resolved=RATE)
    assert await puts(stack) == before
    _, health = await stack.health()
    assert health["kill"]["reason"] == "a test"
    assert (await command(stack, "resume"))[0] == 0
    _, health = await stack.health()
    assert health["kill"] is None
