"""A hub with 100,000 devices, counted by the real service: few queries, little memory, every device judged.

Run as a script, this is the worker: a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import resource
import sys

from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hubwarden.bootstrap import Hubwarden
from hubwarden.domain.census import CensusSettings
from hubwarden.domain.hub_id import HubId
from hubwarden.service.census import start_count
from hubwarden.service.messages import Queue
from local.azure_simulator.client import SimulatorClient
from local.azurite import Azurite, why_azurite_cannot_run
from local.scene import hub_body
from local.stack import HUBWARDEN, SUBSCRIPTION, TENANT


ROOT = Path(__file__).parents[2]
ALIVE = {"id": "DefenderIotMicroAgent", "connection_state": "Connected"}
FLEET = {
    "covered-": (55_000, [ALIVE]),
    "both-": (5_000, ["azureiotsecurity", ALIVE]),
    "silent-": (20_000, ["azureiotsecurity"]),
    "other-": (10_000, ["edgeAgent"]),
    "bare-": (10_000, []),
}
DEVICES, MODULES = 100_000, 55_000 + 2 * 5_000 + 20_000
MOST_QUERIES = math.ceil((DEVICES + MODULES) / 1000) + 2
MOST_MEMORY = 200e6


# --- the worker


async def count(hub: HubId) -> dict[str, object]:
    """Begin the count and work on its messages, as the host does."""
    service = Hubwarden(os.environ)
    ports = service.ports
    body = await ports.hubs.get_hub(hub)
    await start_count(ports, await ports.records.get(hub), hub, body, CensusSettings())
    queue, slices = service._account.queue(Queue.CENSUS), 0
    async with asyncio.timeout(100):
        while (message := await queue.receive_message()) is not None:
            await service.on_message(Queue.CENSUS, message.content)
            await queue.delete_message(message)
            slices += 1
    record = (await ports.records.get(hub)).value
    result = {"facet": record.count.facet, "peak": peak_memory(), "slices": slices}
    listed = ports.lists.lines(record.count.facet["list"].partition("/")[2])
    result["listed"] = [(entry["deviceId"], entry["coverage"]) async for entry in parsed(listed)]
    result["looks"] = (await ports.work.depths())[Queue.EVALUATE]
    await service.close()
    return result


async def parsed(lines):
    async for line in lines:
        yield json.loads(line)


def peak_memory() -> float:
    """The most that this process ever held, in bytes. What rusage says may be of its parent, before exec."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# --- the test


@asynccontextmanager
async def simulator(folder: Path, hub: str):
    """The simulator as a process, with the fleet."""
    body = {**hub_body("large"), "sku": {"name": "S3", "tier": "Standard", "capacity": 1}}
    seed = {
        "principals": [{"client_id": HUBWARDEN.client_id, "secret": HUBWARDEN.secret, "name": HUBWARDEN.name}],
        "hubs": [body],
        "devices": [
            {"hub_id": hub, "devices": number, "modules": modules, "prefix": prefix}
            for prefix, (number, modules) in FLEET.items()
        ],
    }
    (folder / "seed.json").write_text(json.dumps(seed))
    options = ("--seed", str(folder / "seed.json"), "--ca-dir", str(folder), "--parent-pid", str(os.getpid()))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "local.azure_simulator", *options, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.terminate()
        await process.wait()


def settings(ready, azurite, folder: Path) -> dict[str, str]:
    """The worker's environment."""
    policy = folder / "policy.yaml"
    policy.write_text(f"version: 1\nsubscriptions: [{SUBSCRIPTION}]\n")
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "SSL_CERT_FILE": ready["ca_file"],
        "AzureWebJobsStorage": azurite.connection_string,
        "SWEEP_SCHEDULE": "0 */15 * * * *",
        "HUBWARDEN_POLICY": str(policy),
        "HUBWARDEN_CLOUD": "custom",
        "HUBWARDEN_ARM_ENDPOINT": ready["arm"],
        "HUBWARDEN_ARM_AUDIENCE": ready["audience"],
        "HUBWARDEN_AUTHORITY": ready["authority"],
        "HUBWARDEN_DATA_PLANE": ready["data_plane"],
        "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
        "AZURE_TENANT_ID": TENANT,
        "AZURE_CLIENT_ID": HUBWARDEN.client_id,
        "AZURE_CLIENT_SECRET": HUBWARDEN.secret,
    }


async def worked(env: dict[str, str], hub: str) -> dict:
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, hub, env=env, stdout=asyncio.subprocess.PIPE, limit=2**26
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(said)


async def test_a_hundred_thousand_devices_are_counted_with_few_queries_and_little_memory(tmp_path):
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    hub = hub_body("large")["id"]
    with Azurite() as azurite:
        async with simulator(tmp_path, hub) as ready:
            said = await worked(settings(ready, azurite, tmp_path), hub)
            async with SimulatorClient(ready["control"], ready["ca_file"]) as sim:
                asked = [r for r in await sim.requests() if r["path"].endswith("/devices/query")]
    facet = said["facet"]
    assert facet["counts"] == {"covered": 60_000, "silent": 20_000, "unregistered": 20_000}
    assert facet["total"] == DEVICES
    assert {kind: len(ids) for kind, ids in facet["first"].items()} == {"silent": 20, "unregistered": 20}

    names = Counter((name.rpartition("-")[0], coverage) for name, coverage in said["listed"])
    assert names == {
        ("silent", "silent"): 20_000,
        ("other", "unregistered"): 10_000,
        ("bare", "unregistered"): 10_000,
    }
    assert len({name for name, _ in said["listed"]}) == 40_000

    assert {request["status"] for request in asked} == {200}
    assert len(asked) <= MOST_QUERIES
    assert said["peak"] < MOST_MEMORY, f"{said['peak'] / 1e6:.0f} MB"
    assert said["looks"] == 1


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(count(HubId.parse(sys.argv[1])))))
