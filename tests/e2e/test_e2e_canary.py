"""No key, token or secret is left behind anywhere: the whole flow at DEBUG, then a search through everything.

Every key of the simulated Azure is recognisable. Its own log is Azure's side, and not searched.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import json
import os
import re
import sys

from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio

from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueClient

from hubwarden.domain.finding import Finding
from local.azure_simulator.keys import CANARY, derived_key
from local.azurite import Azurite, why_azurite_cannot_run
from local.scene import RESOURCE_GROUP, UNLIMITED, hub_body, lower_tls
from local.stack import HUBWARDEN, ROOT, SUBSCRIPTION, Options, Stack
from tests.e2e.conftest import Scene, hub_path
from tests.e2e.leaks import everything, found_in


pytestmark = pytest.mark.asyncio(loop_scope="session")

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}/providers"
WORKSPACE = f"{GROUP}/Microsoft.OperationalInsights/workspaces/w"
SOLUTION = f"{GROUP}/Microsoft.Security/iotSecuritySolutions/s"
POLICY = f"""\
version: 1
subscriptions: [{SUBSCRIPTION}]
rules:
  tls-minimum: {{mode: auto}}
  diagnostics:
    mode: auto
    settings: {{destination: {WORKSPACE}}}
  sas-policies:
    mode: approve
    settings:
      allowed: {{backend: [ServiceConnect]}}
    scopes:
      - where: {{hub: rotated}}
        settings: {{offending: rotate}}
  defender-hub:
    mode: approve
    settings: {{solution: {SOLUTION}, workspace: {WORKSPACE}, location: westeurope}}
  defender-devices: {{mode: ticket}}
{UNLIMITED}"""
ROGUE = {"keyName": "rogue", "rights": "RegistryWrite, ServiceConnect"}
WIDENED = {"keyName": "backend", "rights": "RegistryWrite, ServiceConnect"}
OWNER = {"keyName": "iothubowner", "rights": "RegistryWrite, ServiceConnect, DeviceConnect"}
ENDPOINTS = {
    "endpoints": {
        "eventHubs": [
            {
                "name": "out",
                "connectionString": "Endpoint=sb://plants.servicebus.windows.net:5671/;"
                "SharedAccessKeyName=send;SharedAccessKey=****;EntityPath=out",
            }
        ],
        "storageContainers": [
            {
                "name": "cold",
                "connectionString": "DefaultEndpointsProtocol=https;AccountName=plants;AccountKey=****",
                "containerName": "c",
            }
        ],
    },
    "routes": [],
}
UPLOADS = {
    "$default": {
        "sasTtlAsIso8601": "PT1H",
        "connectionString": "DefaultEndpointsProtocol=https;AccountName=uploads;AccountKey=****",
        "containerName": "c",
    }
}
IN_CLEAR = {
    "endpoints": {
        "cosmosDBSqlCollections": [
            {"name": "twins", "primaryKey": derived_key("cosmos-1"), "secondaryKey": derived_key("cosmos-2")}
        ]
    }
}
"""A list and a GET show these as they are: only connection strings are masked."""
MID_PUT = {
    "cut": {"kind": "cut"},
    "cut-after": {"kind": "cut_after"},
    "broken": {"status": 500},
    "forbidden": {"status": 403},
    "stale": {"status": 412},
}
"""Hub → what happens to the PUT that carries all of its keys."""
NO_LIST = {"keyless-403": {"status": 403}, "keyless-cut": {"kind": "cut", "times": 2}}
"""Hub → what happens to the listkeys right before that PUT."""
ROGUE_HUBS = ("rogue", "killed", *MID_PUT, *NO_LIST)


class Kept(Stack):
    """A stack whose storage lies in files, so that what is only hidden can be searched too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, POLICY, [], Options(transition=0.3, message_lease=5, claim=45))
        self._azurite = Azurite(location=folder / "storage")


class Flow(Scene):
    """All that hubwarden does with keys around, and what it tells of it."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack)
        self.told: dict[str, str] = {}
        self.queued: dict[str, bytes] = {}

    async def finding(self, name: str, rule: str = "") -> Finding | None:
        found = [f async for f in self.stack.findings.everything() if f.hub.name == name]
        return next((f for f in found if not rule or f.rule_id == rule), None)

    async def reaches_in(self, name: str, rule: str, *states: str, within: float = 100) -> Finding:
        finding = None
        try:
            async with asyncio.timeout(within):
                while True:
                    finding = await self.finding(name, rule)
                    if finding is not None and finding.state in states:
                        return finding
                    await asyncio.sleep(0.1)
        except TimeoutError:
            history = [(step.state, step.reason) for step in finding.history] if finding else None
            raise AssertionError(f"{rule} on {name} never was {states}: {history}") from None

    async def command(self, *arguments: str) -> str:
        """Run the operator's command line; all that it prints is kept."""
        command = ("-m", "hubwarden.cli", "--settings", str(self.stack.folder / "local.settings.json"))
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, *arguments, cwd=ROOT,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said = (await process.communicate())[0].decode()
        self.told[f"by the command line: {' '.join(arguments)}"] = said
        return said

    async def approve(self, name: str, rule: str) -> None:
        finding = await self.reaches_in(name, rule, "awaiting_approval")
        await self.command("show", finding.id)
        await self.command("show", finding.id, "--output", "json")
        said = await self.command("approve", finding.id, "--plan", finding.proposal.digest, "--by", "ann")
        assert "is carried out now" in said, said

    async def watch_queues(self) -> None:
        """Keep every message that there ever is: storage drops the text of those that are done."""
        while True:
            for path in (self.stack.folder / "storage").rglob("__queuestorage__/*"):
                with contextlib.suppress(OSError):
                    self.queued[f"message in {path.name}"] = path.read_bytes()
            await asyncio.sleep(0.3)


# --- the flow


async def build(flow: Flow) -> None:
    sim = flow.sim
    await sim.add_destination(WORKSPACE)
    bodies = {name: hub_body(name) for name in ("widened", "rotated", "watched", *ROGUE_HUBS)}
    bodies |= {name: hub_body(name, "1.0") for name in ("lowered", "clear")}
    for name, body in bodies.items():
        body["properties"]["storageEndpoints"] = UPLOADS
        body["properties"]["routing"] = IN_CLEAR if name == "clear" else ENDPOINTS
        extra = [ROGUE] if name in ROGUE_HUBS else [WIDENED] if name in {"widened", "rotated"} else []
        await sim.add_hub(body, policies=[OWNER, *extra])
        if name != "lowered":
            logs = [{"categoryGroup": "allLogs", "enabled": True}]
            await sim.add_diagnostic_setting(body["id"], "to-logs", {"workspaceId": WORKSPACE, "logs": logs})
    await sim.add_devices(bodies["lowered"]["id"], ["bare", "silent"])
    watched = [body["id"] for name, body in bodies.items() if name != "watched"]
    properties = {"displayName": "s", "status": "Enabled", "workspace": WORKSPACE, "iotHubs": watched}
    await sim.add_security_solution({"id": SOLUTION, "location": "westeurope", "properties": properties})


async def play(flow: Flow) -> None:
    await build(flow)
    await flow.stack.sweep()
    for name in ROGUE_HUBS:
        await flow.reaches_in(name, "sas-policies", "awaiting_approval")
    await _break_writes(flow)
    for name in (*MID_PUT, *NO_LIST, "rogue", "widened", "rotated"):
        await flow.approve(name, "sas-policies")
    await flow.approve("watched", "defender-hub")
    await lower_tls(flow.somebody, "widened")  # an event with all of its claims
    await _send_rubbish(flow.stack)
    await flow.reaches_in("lowered", "diagnostics", "resolved")
    await _kill_between_claim_and_put(flow)
    await _come_to_rest(flow)
    await flow.stack.sweep()
    await flow.command("findings", "--all")
    await flow.command("findings", "--all", "--output", "json")
    await _hear_the_pages(flow)


async def _break_writes(flow: Flow) -> None:
    for name, fault in MID_PUT.items():
        await flow.sim.fail("PUT", f"/IotHubs/{name}$", principal=HUBWARDEN.client_id, **fault)
    for name, fault in NO_LIST.items():
        await flow.sim.fail("POST", f"/IotHubs/{name}/listkeys$", principal=HUBWARDEN.client_id, **fault)


async def _kill_between_claim_and_put(flow: Flow) -> None:
    """Its answer to listkeys stops in the middle: the worker has claimed the fix, and half of the keys."""
    path = "/IotHubs/killed/listkeys$"
    number = await flow.sim.fail("POST", path, kind="slow", seconds=30, principal=HUBWARDEN.client_id)
    await flow.approve("killed", "sas-policies")
    async with asyncio.timeout(30):
        while not [f for f in await flow.sim.faults() if f["id"] == number and f["hits"]]:
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    assert (await flow.finding("killed", "sas-policies")).state == "executing"
    await flow.stack.kill_host()
    assert await flow.requests("killed", "PUT") == []
    await flow.stack.start_host()


async def _send_rubbish(stack: Stack) -> None:
    late = {"v": 1, "hub": hub_path("rogue"), "digest": "sha256:0", "give_up_at": "2026-11-24T00:00:00Z"}
    for queue, text in {
        "hubwarden-remediate": "no message at all",
        "hubwarden-verify-poison": json.dumps(late),
        "hubwarden-evaluate": json.dumps({"v": 1, "hub": "/subscriptions/x"}),
    }.items():
        async with QueueClient.from_connection_string(stack.connection_string, queue) as client:
            with contextlib.suppress(Exception):
                await client.create_queue()
            await client.send_message(text)


ENDS = {
    ("lowered", "tls-minimum"): "resolved",
    ("lowered", "diagnostics"): "resolved",
    ("lowered", "defender-devices"): "ticketed",
    ("clear", "tls-minimum"): "ticketed",
    ("widened", "tls-minimum"): "resolved",
    ("widened", "sas-policies"): "resolved",
    ("rotated", "sas-policies"): "resolved",
    ("watched", "defender-hub"): "resolved",
    ("watched", "defender-devices"): "resolved",
    **{(name, "sas-policies"): "resolved" for name in ROGUE_HUBS},
    ("forbidden", "sas-policies"): "ticketed",
    ("keyless-403", "sas-policies"): "ticketed",
}


async def _come_to_rest(flow: Flow) -> None:
    for (name, rule), state in ENDS.items():
        await flow.reaches_in(name, rule, state, within=120)


async def _hear_the_pages(flow: Flow) -> None:
    status, health = await flow.stack.health()
    assert status == 200
    flow.told["by the health page"] = json.dumps(health)
    async for finding in flow.stack.findings.everything():
        ticket = await flow.stack.tickets.find_by_key(finding.id)
        flow.told[f"by the ticket of {finding.id}"] = str(ticket)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def flow(tmp_path_factory):
    """The flow, over; the host is down, storage is not."""
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent / "loud"))
        async with Kept(tmp_path_factory.mktemp("canary")) as stack:
            flow = Flow(stack)
            watching = asyncio.create_task(flow.watch_queues())
            await play(flow)
            await asyncio.sleep(1)
            watching.cancel()
            await stack.kill_host()
            yield flow


async def search(flow: Flow) -> dict[str, set[str]]:
    """Place → what is found there that must not be."""
    places = {**await everything(flow.stack, flow.told), **flow.queued}
    return {place: found for place, data in places.items() if (found := found_in(data))}


# --- the tests


async def test_the_flow_had_every_kind_of_key_in_its_hands(flow):
    """Without this, that nothing is found would prove nothing."""
    states = {(f.hub.name, f.rule_id): f.state async for f in flow.stack.findings.everything()}
    assert states == ENDS
    requests = await flow.sim.requests(bodies=True)
    sent = [r for r in requests if r["method"] == "PUT" and found_in(json.dumps(r["body"]).encode())]
    refused = {"forbidden", "keyless-403"}
    assert {r["path"].rsplit("/", 1)[1] for r in sent} >= {*ROGUE_HUBS, "widened", "rotated"} - refused
    assert found_in(json.dumps(await flow.sim.hub(hub_path("clear"))).encode()) == {"a key"}
    for name in (*ROGUE_HUBS, "widened", "rotated"):
        ended = ENDS[name, "sas-policies"] == "resolved"
        policies = {p["keyName"]: p for p in (await flow.sim.hub(hub_path(name)))["policies"]}
        assert ("rogue" in policies) == (name in ROGUE_HUBS and not ended), name


async def test_everything_was_logged_at_debug(flow):
    log = (flow.stack.folder / "host.log").read_text(errors="replace")
    loud = set(re.findall(r"Z DEBUG +(?:\[[^\]]*\] )?([\w.]+):", log))
    assert any(name.startswith("azure.") for name in loud), loud
    assert len(loud) > 3, loud


async def test_no_key_and_no_token_is_left_anywhere(flow):
    assert await search(flow) == {}


KEY = derived_key("planted")
TOKEN = "eyJ0eXAiOiJKV1QifQ.eyJvaWQiOiJwbGFudGVkIn0.c2lnbmF0dXJl"
WAYS = {
    "as it is": KEY,
    "the text in it": f"… {CANARY} …",
    "in base64": base64.b64encode(f"x{KEY}".encode()).decode(),
    "in base64 twice": base64.b64encode(base64.b64encode(f"key={KEY}".encode())).decode(),
    "in the address of a page": f"?key={quote(KEY)}&text=%48%55BWARDENCANARY",
    "escaped": json.dumps({"key": "\\u0048" + CANARY[1:]}).replace("\\\\", "\\"),
    "a token": f"Bearer {TOKEN}",
    "a secret": f"client_secret={HUBWARDEN.secret}",
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_canary_is_found_however_it_is_written(way):
    assert found_in(f"before {WAYS[way]} after".encode())
    assert not found_in(b"before after SharedAccessKey=**** /subscriptions/x/resourceGroups/y")


async def test_a_canary_is_found_wherever_it_is_left(flow):
    """One in each kind of place, found in each, and gone afterwards."""
    connection, log = flow.stack.connection_string, flow.stack.folder / "host.log"
    size = log.stat().st_size
    async with contextlib.AsyncExitStack() as closing:
        tables = await closing.enter_async_context(TableServiceClient.from_connection_string(connection))
        blobs = await closing.enter_async_context(BlobServiceClient.from_connection_string(connection))
        queues = [
            await closing.enter_async_context(QueueClient.from_connection_string(connection, name))
            for name in ("hubwarden-verify", "hubwarden-remediate-poison")
        ]
        await _plant(tables, blobs, queues, log)
        told = copy.copy(flow.told)
        flow.told["by the health page"] += KEY
        found = await search(flow)
        flow.told = told
        for place in (
            *("table hubwardenfindings", "table hubwardenhubs", "table hubwardentickets", "table hubwardensweeps"),
            *("queue hubwarden-verify ", "queue hubwarden-remediate-poison", "blob hubwarden-audit/planted"),
            *("blob hubwarden-poison/planted", "file host.log", "told by the health page"),
        ):
            assert any(one.startswith(place) for one in found), place
        await _unplant(tables, blobs, queues, log, size)


async def _plant(tables, blobs, queues, log) -> None:
    half = len(KEY) // 2
    for table in ("hubwardenfindings", "hubwardenhubs", "hubwardentickets", "hubwardensweeps"):
        row = {"PartitionKey": "planted", "RowKey": "1", "Doc": f"x{KEY[:half]}", "Doc1": f"{KEY[half:]}x"}
        await tables.get_table_client(table).create_entity(row)
    for queue in queues:
        with contextlib.suppress(Exception):
            await queue.create_queue()
        await queue.send_message(json.dumps({"planted": KEY}))
    await blobs.get_blob_client("hubwarden-audit", "planted").upload_blob(b"line\n" + KEY.encode())
    await blobs.get_blob_client("hubwarden-poison", "planted").upload_blob(b"x", metadata={"reason": KEY})
    with log.open("a") as lines:
        lines.write(f"2026-11-24T00:00:00Z DEBUG   planted: {KEY}\n")


async def _unplant(tables, blobs, queues, log, size) -> None:
    for table in ("hubwardenfindings", "hubwardenhubs", "hubwardentickets", "hubwardensweeps"):
        await tables.get_table_client(table).delete_entity("planted", "1")
    for queue in queues:
        await queue.clear_messages()
    for container in ("hubwarden-audit", "hubwarden-poison"):
        await blobs.get_blob_client(container, "planted").delete_blob()
    os.truncate(log, size)
