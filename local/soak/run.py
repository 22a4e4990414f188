"""One soak: a stack, chaos for a while, quiet, and then everything is counted."""

from __future__ import annotations

import asyncio
import json

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from azure.storage.blob.aio import BlobServiceClient

from hubwarden.domain.audit import Place, verify
from hubwarden.domain.finding import Finding
from local.scene import WORKSPACE, hub_body, send_logs
from local.soak import checks
from local.soak.chaos import Chaos
from local.soak.ledger import HubState, replay
from local.stack import HUBWARDEN, SUBSCRIPTION, Options, Stack


ASKING: Final = frozenset({"sas-policies"})
POLICY: Final = f"""\
version: 1
subscriptions: [{SUBSCRIPTION}]
rules:
  tls-minimum: {{mode: auto}}
  diagnostics: {{mode: auto, settings: {{destination: {WORKSPACE}}}}}
  sas-policies: {{mode: approve}}
  defender-hub: {{mode: "off"}}
  defender-devices: {{mode: "off"}}
limits:
  per_hour: {{in_all: 500, per_rule: 500, per_subscription: 500}}
  per_sweep: {{in_all: 500, per_rule: 500, per_subscription: 500}}
  share: {{percent: 100}}
  breaker: {{fixes: 50, hours: 1}}
  errors: {{percent: 99}}
"""

_REST: Final = 240
"""Seconds until everything has come to rest: claims, leases and delays that were begun in the storm run out."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be played."""

    seed: int
    seconds: float
    hubs: int = 50
    hosts: int = 1
    kills: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """How it went; ``wrong`` are sentences about what did not hold."""

    done: Mapping[str, int]
    writes: int
    drifts: int
    poisoned: int
    findings: Mapping[str, int]
    wrong: tuple[str, ...]

    @property
    def text(self) -> str:
        """For people."""
        done = ", ".join(f"{count} × {name}" for name, count in sorted(self.done.items()))
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.findings.items()))
        held = f"{len(self.wrong)} things did not hold:" if self.wrong else "everything held"
        told = (
            f"{self.drifts} drifts, {self.writes} writes by hubwarden, {self.poisoned} messages in the graveyard"
        )
        return "\n".join([done, told, f"findings: {states}", held, *self.wrong])


async def soak(plan: Plan, folder: Path) -> Report:
    """Play it, wait until it is quiet, and check."""
    names = [f"plant-{number:02d}" for number in range(plan.hubs)]
    options = Options(transition=0.4, message_lease=5, claim=45, hosts=plan.hosts, sweep_schedule="*/20 * * * * *")
    async with Stack(folder, POLICY, [hub_body(name) for name in names], options) as stack:
        await stack.sim.add_destination(WORKSPACE)
        for name in names:
            await send_logs(stack.sim, str(hub_body(name)["id"]))
        start = {name: await _state(stack, name) for name in names}
        await stack.sweep()
        chaos = Chaos(stack, names, plan.seed, kills=plan.kills)
        await chaos.run(plan.seconds)
        await chaos.calm_down()
        await _rest(stack, names)
        return await _report(stack, chaos.done, start)


async def _report(stack: Stack, done: Mapping[str, int], start: Mapping[str, HubState]) -> Report:
    requests, trail = await stack.sim.requests(bodies=True), await _audit(stack)
    audit = [json.loads(line) for lines in trail.values() for line in lines]
    states, findings = {name: await _state(stack, name) for name in start}, await _findings(stack)
    writes, ours = list(replay(requests, start)), HUBWARDEN.name
    replayed = {write.hub: write.after for write in writes}
    wrong = [
        *checks.lost(states, findings),
        *checks.unaudited(requests, audit, ours),
        *checks.unpermitted(audit, ASKING),
        *checks.needless(writes, ours),
        *(f"{problem.blob} line {problem.line}: {problem.what}" for problem in verify(trail.items()).problems),
        *(f"{hub} is not as its writes leave it" for hub, after in replayed.items() if after != states[hub]),
    ]
    return Report(
        done=done,
        writes=sum(write.by == ours for write in writes),
        drifts=sum(len(write.after.drifts() - write.before.drifts()) for write in writes if write.by != ours),
        poisoned=await _count(stack, "hubwarden-poison"),
        findings=Counter(finding.state.value for finding in findings),
        wrong=tuple(wrong),
    )


async def _rest(stack: Stack, names: Sequence[str]) -> None:
    """Sweep until nothing is lost any more, or until it would have had to be found."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _REST
    while loop.time() < until:
        await stack.sweep()
        states = {name: await _state(stack, name) for name in names}
        if not list(checks.lost(states, await _findings(stack))):
            return
        await asyncio.sleep(3)


async def _findings(stack: Stack) -> list[Finding]:
    return [finding async for finding in stack.findings.everything()]


async def _state(stack: Stack, name: str) -> HubState:
    hub = str(hub_body(name)["id"])
    stored = await stack.sim.hub(hub)
    body = stored["body"]
    settings = await stack.sim.diagnostic_settings(hub)
    return HubState(
        tls=body["properties"].get("minTlsVersion"),
        policies={policy["keyName"]: policy["rights"] for policy in stored["policies"]},
        settings={setting["name"].lower() for setting in settings},
        tags={tag: str(value) for tag, value in (body.get("tags") or {}).items()},
    )


async def _audit(stack: Stack) -> dict[str, list[bytes]]:
    """The lines of the trail by their blobs, in order."""
    async with BlobServiceClient.from_connection_string(stack.connection_string) as blobs:
        container = blobs.get_container_client("hubwarden-audit")
        places = [place async for name in container.list_blob_names() if (place := Place.of(name))]
        return {
            place.name: (await (await container.download_blob(place.name)).readall()).splitlines(keepends=True)
            for place in sorted(places)
        }


async def _count(stack: Stack, container: str) -> int:
    async with BlobServiceClient.from_connection_string(stack.connection_string) as blobs:
        found = blobs.get_container_client(container)
        return len([name async for name in found.list_blob_names()]) if await found.exists() else 0
