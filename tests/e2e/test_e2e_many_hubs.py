"""A hundred hubs in five subscriptions, while Azure fails on every tenth call: nothing is missed, nothing made up.

The real use cases and adapters in this process, over TLS and on Azurite, with messages that the test delivers.
Under the functions host nobody would see what one sweep left: the host goes on with the delayed messages at once.
"""

from __future__ import annotations

import random

from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ClientSecretCredential

from detectors import RULES
from hubwarden.adapters.azure.cloud import Cloud
from hubwarden.adapters.azure.hubs import ArmHubs
from hubwarden.bootstrap import Hubwarden
from hubwarden.domain.hub_id import HubId
from local.azure_simulator import AzureSimulator, SimulatorConfig
from local.azurite import Azurite, why_azurite_cannot_run
from local.scene import UNLIMITED, hub_body
from local.stack import HUBWARDEN, TENANT
from tests.unit.fakes import FakeClock, FakeWork, Gates


SUBSCRIPTIONS = [f"5ab5c71e-0000-4000-8000-{number:012d}" for number in range(1, 6)]
HUBS_EACH = 20
WORKSPACE = (
    f"/subscriptions/{SUBSCRIPTIONS[0]}/resourceGroups/Logs/providers/Microsoft.OperationalInsights/workspaces/w"
)
JUDGED = ("tls-minimum", "diagnostics", "sas-policies", "defender-hub")
FACETS = {
    "tls-minimum": "hub",
    "diagnostics": "diagnostics",
    "sas-policies": "policies",
    "defender-hub": "defender",
}
FIXED = ("tls-minimum", "diagnostics")
TROUBLE = [
    {"kind": "status", "status": 403},
    {"kind": "status", "status": 404, "path": "^(?!.*/workspaces/)"},
    {"kind": "status", "status": 429},
    {"kind": "status", "status": 500},
    {"kind": "cut"},
]
"""All but a 404 on the destination of the logs, which does mean that it is gone: then there is a drift."""
ALL_LOGS = {"categoryGroup": "allLogs", "enabled": True}
CONFIG = SimulatorConfig(transition_seconds=0.01, page_size=7, reads=(1e6, 1e6), writes=(1e6, 1e6))
"""Lists of several pages; throttling is among the faults, and nowhere else."""


@dataclass(frozen=True)
class Made:
    """A hub, and what is wrong with it: rule → how, for the rules that it breaks."""

    hub: HubId
    wrong: dict[str, str]

    @property
    def truth(self) -> dict[str, str]:
        return {rule: "drift" if rule in self.wrong else "compliant" for rule in JUDGED}


WAYS = {
    "tls-minimum": ("lowered", "absent", None, None),
    "diagnostics": ("missing", "disabled", None, None),
    "sas-policies": ("rogue", None, None),
    "defender-hub": ("outside", None, None),
}


def fleet() -> list[Made]:
    """The same hubs each time."""
    rng = random.Random(20261124)
    made = []
    for number in range(len(SUBSCRIPTIONS) * HUBS_EACH):
        chosen = {rule: rng.choice(ways) for rule, ways in WAYS.items()}
        hub = HubId(SUBSCRIPTIONS[number % len(SUBSCRIPTIONS)], "plants", f"hub-{number:03d}")
        made.append(Made(hub, {rule: way for rule, way in chosen.items() if way}))
    return made


def build(sim: AzureSimulator, made: list[Made]) -> None:
    sim.add_destination(WORKSPACE)
    for one in made:
        _build_hub(sim, one)
    for subscription in SUBSCRIPTIONS:
        inside = [m.hub.path for m in made if m.hub.subscription == subscription and "defender-hub" not in m.wrong]
        properties = {"status": "Enabled", "workspace": WORKSPACE, "iotHubs": inside}
        place = f"/subscriptions/{subscription}/resourceGroups/plants/providers/Microsoft.Security"
        sim.add_security_solution({"id": f"{place}/iotSecuritySolutions/s", "properties": properties})


def _build_hub(sim: AzureSimulator, one: Made) -> None:
    body = {**hub_body(one.hub.name, "1.0" if one.wrong.get("tls-minimum") == "lowered" else "1.2"),
            "id": one.hub.path}  # fmt: skip
    if one.wrong.get("tls-minimum") == "absent":
        del body["properties"]["minTlsVersion"]
    policies = None
    if "sas-policies" in one.wrong:
        rogue = {"keyName": "rogue", "rights": "RegistryWrite, ServiceConnect"}
        owner = {"keyName": "iothubowner", "rights": "RegistryWrite, ServiceConnect, DeviceConnect"}
        policies = [owner, rogue]
    sim.add_hub(body, policies=policies)
    diagnostics = one.wrong.get("diagnostics")
    if diagnostics != "missing":
        logs = [{**ALL_LOGS, "enabled": diagnostics != "disabled"}]
        sim.add_diagnostic_setting(one.hub.path, "to-logs", {"workspaceId": WORKSPACE, "logs": logs})


def policy(mode: str) -> str:
    """The fixes that a machine may make in this mode, every other rule reported, and none that counts devices."""
    lines = ["version: 1", "subscriptions:", *(f"  - {s}" for s in SUBSCRIPTIONS), "rules:"]
    for rule in RULES:
        said = "off" if rule.id not in JUDGED else mode if rule.id in {"tls-minimum", "diagnostics"} else "report"
        lines.append(f'  {rule.id}: {{mode: "{said}"{_settings(rule.id)}}}')
    return "\n".join([*lines, UNLIMITED])


def _settings(rule_id: str) -> str:
    return f", settings: {{destination: {WORKSPACE}}}" if rule_id == "diagnostics" else ""


class World:
    """hubwarden on the simulated Azure, with a clock that is turned and messages that are delivered by hand."""

    def __init__(self, sim, service, clock, work, made):
        self.sim, self.service, self.clock, self.work, self.made = sim, service, clock, work, made

    async def sweep(self):
        """One sweep; its record, and the requests that were made for it."""
        before = len(self.requests())
        await self.service.on_sweep()
        return await self.service.ports.records.last_sweep(), self.requests()[before:]

    async def deliver(self) -> None:
        """Every message when it is due, until none is left."""
        for _ in range(20_000):
            if not self.work.letters:
                return
            letter = min(self.work.letters, key=lambda letter: (letter.due, letter.number))
            self.work.letters.remove(letter)
            self.clock.at = max(self.clock.at, letter.due)
            await self.service.on_message(letter.queue, letter.text)
        raise AssertionError("it never comes to rest")

    def break_azure(self, seed: int) -> None:
        """Every tenth call of hubwarden goes wrong, and now and then one whose effect is there nevertheless."""
        for number, trouble in enumerate(TROUBLE):
            self._fail(seed * 100 + number, 0.02, **trouble)
        self._fail(seed * 100 + 99, 0.02, method="PUT", kind="cut_after")

    def _fail(self, seed, probability, method="*", **fault) -> None:
        self.sim.fail(
            method, principal=HUBWARDEN.client_id, probability=probability, seed=seed, times=None, **fault
        )

    def requests(self) -> list[dict]:
        return [entry for entry in self.sim.requests() if entry["principal"] == HUBWARDEN.name]

    async def stored(self) -> dict[HubId, object]:
        records = self.service.ports.records
        return {one.hub: one for s in SUBSCRIPTIONS async for one in _records_of(records, s)}

    async def findings(self) -> list:
        return [finding async for finding in self.service.ports.findings.everything()]


async def _records_of(records, subscription):
    async for record in records.of_subscription(subscription):
        yield record


@asynccontextmanager
async def world(folder, mode: str):
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    (folder / "policy.yaml").write_text(policy(mode))
    made, clock = fleet(), FakeClock()
    with Azurite() as azurite:
        async with AzureSimulator(CONFIG) as sim:
            sim.add_principal(HUBWARDEN.client_id, HUBWARDEN.secret, name=HUBWARDEN.name)
            build(sim, made)
            credential = ClientSecretCredential(
                TENANT, HUBWARDEN.client_id, HUBWARDEN.secret, authority=sim.authority,
                disable_instance_discovery=True, connection_verify=sim.ca_file,
            )  # fmt: skip
            work = FakeWork(Gates(), [], clock)
            service = Hubwarden(
                {
                    "AzureWebJobsStorage": azurite.connection_string,
                    "HUBWARDEN_POLICY": str(folder / "policy.yaml"),
                },
                credential=credential,
                hubs=ArmHubs(
                    Cloud(sim.url, sim.audience, sim.authority, custom=True),
                    credential,
                    AioHttpTransport(use_env_settings=False, connection_verify=sim.ca_file),
                    now=clock.now,
                ),
                clock=clock,
                work=work,
            )
            try:
                yield World(sim, service, clock, work, made)
            finally:
                await service.ports.hubs.close()
                await service.close()
                await credential.close()


# --- what must hold after any sweep, counted anew from what is stored and from what was asked


async def check_nothing_made_up(world: World) -> None:
    """Each verdict stored is true, or unknown with a reason; every drift that was judged has one finding."""
    stored, findings = await world.stored(), await world.findings()
    found = Counter((finding.hub, finding.rule_id) for finding in findings)
    truth = {(one.hub, rule): word for one in world.made for rule, word in one.truth.items()}
    for hub, record in stored.items():
        for rule, word in record.verdicts.items():
            assert word in {truth[hub, rule], "unknown"}, (hub, rule, word)
            assert (word == "unknown") == bool(record.unknown.get(rule)), (hub, rule, word)
    judged = {
        (hub, rule) for hub, record in stored.items() for rule, word in record.verdicts.items() if word == "drift"
    }
    assert judged <= found.keys()
    assert all(truth[key] == "drift" for key in found)
    assert set(found.values()) <= {1}


async def check_counts(world: World, record, requests) -> None:
    """The record of the sweep, against a recount."""
    stored = await world.stored()
    judged = {h: r for h, r in stored.items() if r.looked_at is not None and r.looked_at >= record.started_at}
    fully = {hub for hub, one in judged.items() if not one.unknown}
    missed = stored.keys() - fully
    unlisted = {s for s in SUBSCRIPTIONS if not _was_listed(s, requests)}
    assert record.unknown.keys() == {hub.path for hub in missed} | {f"/subscriptions/{s}" for s in unlisted}
    assert all(record.unknown.values())
    assert not [reason for reason in record.unknown.values() if "hubwarden failed" in reason]
    assert record.hubs == len(stored)
    assert record.evaluated == len(fully)
    assert record.drifting == sum("drift" in one.verdicts.values() for one in judged.values())
    assert record.facets == len(stored) * len(FACETS)
    assert record.facets_read == sum(_facets_read(one) for one in judged.values())
    assert record.facets_read == sum(_facets_answered(hub, judged[hub], requests) for hub in judged)


def _was_listed(subscription: str, requests) -> bool:
    path = f"/subscriptions/{subscription}/providers/microsoft.devices/iothubs"
    asked = [entry for entry in requests if entry["path"].lower() == path]
    return asked[-1]["status"] == 200


def _facets_read(record) -> int:
    """As the reasons tell: what could not be read says so."""
    unread = [reason for reason in record.unknown.values() if reason.startswith(("reading ", "listing "))]
    return len(FACETS) - len(unread)


def _facets_answered(hub: HubId, record, requests) -> int:
    """As the answers tell: the last one of its kind was a good one, or an earlier answer still stands."""
    asked = {"diagnostics": f"{hub.path}/providers/microsoft.insights/", "policies": f"{hub.path}/listkeys"}
    good = 2  # the list has brought the hub's body, and other hubs' looks share the solutions: see the reasons
    good -= "defender-hub" in record.unknown
    for path in asked.values():
        last = [entry for entry in requests if entry["path"].lower().startswith(path)][-1:]
        good += all(entry["status"] == 200 for entry in last)
    return good


async def check_all_is_known(world: World, record) -> None:
    """With nothing in the way: every hub is judged, and every drift, and nothing else, is an open finding."""
    drifting = [one for one in world.made if one.wrong]
    assert record.complete, record.unknown
    assert record.summary == (
        f"evaluated {4 * len(world.made)} of {4 * len(world.made)} facets on {len(world.made)} of "
        f"{len(world.made)} hubs, {len(drifting)} with drift"
    )
    findings = await world.findings()
    assert len(findings) == sum(len(one.wrong) for one in world.made)
    assert {finding.occurrences for finding in findings} == {1}
    stands = {(finding.hub, finding.rule_id) for finding in findings if finding.state == "reported"}
    assert stands == {(one.hub, rule) for one in world.made for rule in one.wrong}
    assert {hub: dict(one.verdicts) for hub, one in (await world.stored()).items()} == {
        one.hub: one.truth for one in world.made
    }


# --- the tests


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_drift_is_called_compliant_and_every_count_is_exact_while_every_tenth_call_fails(tmp_path, seed):
    async with world(tmp_path, "report") as here:
        here.break_azure(seed)
        for _ in range(2):  # of hubs that were never seen, and of hubs that are known
            record, requests = await here.sweep()
            assert sum(entry["fault"] is not None for entry in requests) > 2
            assert not record.complete
            await check_nothing_made_up(here)
            await check_counts(here, record, requests)

        here.sim.clear_faults()
        await here.deliver()
        await check_nothing_made_up(here)
        record, requests = await here.sweep()
        await check_counts(here, record, requests)
        await check_all_is_known(here, record)
        assert here.work.poison == []


async def test_what_may_be_fixed_ends_fixed_with_one_write_a_drift_while_every_tenth_call_fails(tmp_path):
    async with world(tmp_path, "auto") as here:
        here.break_azure(seed=4)
        for _ in range(2):
            await here.sweep()
            await here.deliver()
        assert sum(entry["fault"] is not None for entry in here.requests()) > 50

        here.sim.clear_faults()
        here.clock.turn(hours=25)  # what was forbidden is tried again after a day
        await here.sweep()
        await here.deliver()
        record, _ = await here.sweep()
        assert record.complete, record.unknown
        assert here.work.poison == []
        await check_all_is_fixed(here)


async def check_all_is_fixed(world: World) -> None:
    """One write for each drift and none for anything else; but what Azure called impossible is left to people."""
    refused = _told_impossible(world.requests())
    drifts = {(one.hub, rule) for one in world.made for rule in FIXED if rule in one.wrong}
    assert len(drifts) > 50
    assert Counter(_written(event["event"]["subject"]) for event in world.sim.events()
                   if event["event"]["eventType"] == "Microsoft.Resources.ResourceWriteSuccess"
                   ) == Counter(drifts - refused)  # fmt: skip
    states = {(f.hub, f.rule_id): f.state for f in await world.findings() if f.rule_id in FIXED}
    assert states == {drift: "ticketed" if drift in refused else "resolved" for drift in drifts}
    for hub, rule in drifts - refused:
        stored = world.sim.hub(hub.path)["body"]["properties"]
        settings = [setting["name"] for setting in world.sim.diagnostic_settings(hub.path)]
        assert stored["minTlsVersion"] == "1.2" if rule == "tls-minimum" else "hubwarden" in settings


def _told_impossible(requests) -> set:
    """To a write of a setting, a 404 says that its destination does not exist: that is not tried again."""
    return {
        _written(entry["path"])
        for entry in requests
        if entry["method"] == "PUT"
        and entry["status"] == 404
        and "/providers/microsoft.insights/" in entry["path"]
    }


def _written(path: str) -> tuple[HubId, str]:
    hub, setting, _ = path.lower().partition("/providers/microsoft.insights/")
    return HubId.parse(hub), "diagnostics" if setting else "tls-minimum"
