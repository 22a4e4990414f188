"""The command line as an operator runs it, against the running service: a broad policy waits for a word."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid

from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from azure.storage.blob.aio import BlobServiceClient

from local.azurite import why_azurite_cannot_run
from local.scene import POLICY, ROGUE, WORKSPACE, add_policy, lower_tls, read
from local.stack import ROOT, Options, Stack
from tests.e2e.conftest import Scene


pytestmark = pytest.mark.asyncio(loop_scope="session")

RULES_OF_THE_HUB_ALONE = POLICY.partition("  defender-hub:")[0] + '  defender-hub:\n    mode: "off"\n'
RULES_OF_THE_HUB_ALONE += '  defender-devices:\n    mode: "off"\n'
LOGS = {"workspaceId": WORKSPACE, "logs": [{"categoryGroup": "allLogs", "enabled": True}]}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(tmp_path_factory):
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("cli")
    async with Stack(folder, RULES_OF_THE_HUB_ALONE, [], Options(transition=0.3)) as stack:
        await stack.sim.add_destination(WORKSPACE)
        yield Scene(stack)


async def cli(stack, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hubwarden.cli", "--settings", str(stack.settings_file), *arguments),
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(("AZURE_", "HUBWARDEN_"))},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, complained = await process.communicate()
    return process.returncode, told.decode(), complained.decode()


async def test_a_broad_policy_waits_for_a_word_and_goes_once_it_is_approved_all_else_staying_as_it_is(own):
    name = "spoken-for"
    hub = await own.new_hub(name)
    await own.sim.add_diagnostic_setting(hub, "theirs", LOGS)
    code, _, complained = await cli(own.stack, "findings")
    assert code == 1, "nothing is known yet, and that is not clean"
    assert "there was no sweep yet" in complained
    await own.stack.sweep()
    code, told, complained = await cli(own.stack, "findings")
    assert (code, complained) == (0, "")
    assert told.startswith("No drift is known.")

    before, keys = await read(own.auditor, name), (await own.sim.hub(hub))["policies"]
    await add_policy(own.somebody, name)
    finding = await own.reaches(name, "awaiting_approval")
    code, told, _ = await cli(own.stack, "findings", "--output", "json")
    assert code == 2
    [listed] = json.loads(told)["findings"]
    assert (listed["id"], listed["subject"], listed["plan"]) == (finding.id, ROGUE, finding.proposal.digest)

    code, told, complained = await cli(own.stack, "show", finding.id)
    assert (code, complained) == (0, "")
    assert f"{ROGUE} is cut off" in told
    assert "Robin Example" in told
    every_key = [p[kind] for p in (await own.sim.hub(hub))["policies"] for kind in ("primaryKey", "secondaryKey")]
    assert len(every_key) == 2 * (len(keys) + 1)
    assert not [key for key in every_key if key in told]

    for refused in (["--plan", "sha256:wrong"], []):
        code, _, complained = await cli(own.stack, "approve", finding.id, *refused)
        assert code == 1
        assert finding.proposal.digest in complained
        assert ROGUE in {p["keyName"] for p in (await own.sim.hub(hub))["policies"]}

    code, told, complained = await cli(
        own.stack, "approve", finding.id, "--plan", finding.proposal.digest, "--reason", "unknown", "--by", "Kim"
    )
    assert (code, complained) == (0, "")
    done = await own.reaches(name, "resolved")
    assert "approved by Kim (command line): unknown" in [step.reason for step in done.history]
    assert (await own.sim.hub(hub))["policies"] == keys, "byte for byte, and in their order"
    after = await read(own.auditor, name)
    assert {**after, "etag": None} == {**before, "etag": None}
    assert (await cli(own.stack, "findings"))[0] == 0


async def test_the_audit_trail_of_the_running_service_is_whole_until_somebody_touches_it(own):
    await own.sim.add_diagnostic_setting(await own.new_hub("audited"), "theirs", LOGS)
    await lower_tls(own.somebody, "audited", "1.0")
    digest = (await own.reaches("audited", "resolved")).attempt.digest
    code, told, complained = await cli(own.stack, "audit", "verify", "--output", "json")
    assert (code, complained) == (0, "")
    verdict = json.loads(told)
    assert verdict["unchained"] == 0
    head = f"{verdict['head']['seq']}:{verdict['head']['hash']}"
    await own.stack.sweep()
    code, told, _ = await cli(own.stack, "audit", "verify", "--head", head)
    assert (code, told.split(":")[0]) == (0, "Whole")

    today = datetime.now(UTC).date()
    days = ("--since", str(today - timedelta(days=1)), "--until", str(today))
    code, told, complained = await cli(
        own.stack, "audit", "export", *days, "--kind", "write", "--kind", "verified"
    )
    assert (code, complained) == (0, "")
    lines = [json.loads(line) for line in told.splitlines()]
    sent, accepted, verified = [line for line in lines if line["plan"] == digest]
    assert (sent["outcome"], accepted["outcome"]) == ("about to be sent", "accepted")
    assert uuid.UUID(accepted["request_id"]) != uuid.UUID(accepted["correlation_id"])
    assert verified["plan"] == accepted["plan"]
    assert verified["still_there"] == []
    assert verified["etag"] not in {"", accepted["etag"]}

    async with BlobServiceClient.from_connection_string(own.stack.connection_string) as blobs:
        container = blobs.get_container_client("hubwarden-audit")
        [name, *_] = [name async for name in container.list_blob_names()]
        blob = container.get_blob_client(name)
        first, *rest = (await (await blob.download_blob()).readall()).splitlines(keepends=True)
        await blob.delete_blob()
        await blob.upload_blob(b"".join([first.replace(b'"kind"', b'"kin"'), *rest]), blob_type="AppendBlob")
    code, told, _ = await cli(own.stack, "audit", "verify")
    assert code == 1
    assert "NOT WHOLE" in told
