"""A fix is rolled back from the command line, while the host dies; and no sweep undoes it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

from pathlib import Path

import pytest
import pytest_asyncio

from hubwarden.domain.finding import rollback_finding_id
from hubwarden.domain.hub_id import HubId
from local.azurite import why_azurite_cannot_run
from local.scene import lower_tls, read
from local.stack import ROOT, Options, Stack
from tests.e2e.conftest import ONLY_TLS, Scene, hub_path


pytestmark = pytest.mark.asyncio(loop_scope="session")

DEATHS = {"in-peace": None, "after-the-hold": "findings.save resolved", "after-the-put": "hubs.put_hub"}
"""Hub → where the host dies while it is rolled back (tests/points.py)."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(tmp_path_factory):
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    options = Options(transition=0.2, message_lease=5, claim=45)
    async with Stack(tmp_path_factory.mktemp("rollback"), ONLY_TLS, [], options) as stack:
        yield Scene(stack)


async def cli(stack, *arguments):
    known = {name: value for name, value in os.environ.items() if not name.startswith(("AZURE_", "HUBWARDEN_"))}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hubwarden.cli", "--settings", str(stack.settings_file), *arguments),
        cwd=ROOT,
        env={**known, "SSL_CERT_FILE": stack.ca_file},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, complained = await process.communicate()
    assert (process.returncode, complained.decode()) == (0, "")
    return told.decode()


async def fix_and_ask_back(own, name):
    """Have a lowered TLS minimum raised, and ask that this be undone; the plan that waits."""
    await own.new_hub(name)
    await lower_tls(own.somebody, name)
    await own.reaches(name, "resolved")
    [kept] = json.loads(await cli(own.stack, "remediations", name, "--output", "json"))["remediations"]
    assert (kept["outcome"], kept["cannot_be_rolled_back"]) == ("proven", None)
    told = await cli(own.stack, "rollback", kept["id"], "--reason", "old gateways", "--by", "Kim")
    assert "This is a rollback, not a fix" in told
    return kept["id"]


async def row(own, name, wanted):
    """The finding of this id, once it has come to rest."""
    async with asyncio.timeout(120):
        while True:
            for stored in await own.stack.findings.of_hub(HubId.parse(hub_path(name))):
                if stored.value.id == wanted and stored.value.state in {"resolved", "ticketed", "held"}:
                    return stored.value
            await asyncio.sleep(0.2)


async def restart_to_die(own, name, point):
    await own.stack.kill_host()
    with pytest.MonkeyPatch.context() as patch:
        if point is not None:
            patch.setenv("PYTHONPATH", str(Path(__file__).parent / "points"))
            patch.setenv("DIES_AT", f"{name}:{point}")
        await own.stack.start_host()


@pytest.mark.parametrize("name", DEATHS)
async def test_a_fix_is_rolled_back_and_stays_so_wherever_the_host_dies(own, name):
    remediation = await fix_and_ask_back(own, name)
    before = await read(own.auditor, name)
    id_ = rollback_finding_id(remediation)
    await restart_to_die(own, name, DEATHS[name])
    waiting = json.loads(await cli(own.stack, "show", id_, "--output", "json"))
    await cli(own.stack, "approve", id_, "--plan", waiting["plan"], "--by", "Robin")
    if DEATHS[name] is not None:
        async with asyncio.timeout(60):
            assert await own.stack.host_ended() == -signal.SIGKILL
        await own.stack.start_host()
    done = await row(own, name, id_)
    assert done.state == "resolved", done.history[-1]
    for _ in range(2):
        await own.stack.sweep()
    after = await read(own.auditor, name)
    azures = {"etag": None, "systemData": None}
    lowered = {**before["properties"], "minTlsVersion": "1.0"}
    assert {**after, **azures} == {**before, **azures, "properties": lowered}
    [fix] = [f for f in await own.stack.findings.of_hub(HubId.parse(hub_path(name))) if f.value.rollback is None]
    assert (fix.value.state, fix.value.hold.by) == ("held", "Kim (command line)")
    assert [put["status"] for put in await own.requests(name, "PUT")] == [201, 201]
    kept = json.loads(await cli(own.stack, "remediations", name, "--output", "json"))["remediations"]
    assert {one["outcome"] for one in kept} == {"proven", "rolled_back"}
