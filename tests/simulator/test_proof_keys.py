"""The simulator's keys are recognisable: after fixes and failures none is anywhere but on its way to the hub.

Each place is looked into in a way that would find one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import traceback

from dataclasses import replace

from azure.core.exceptions import ServiceResponseError
from azure.mgmt.iothub.v2023_06_30.aio.operations import IotHubResourceOperations

from hubwarden.domain.finding import State
from hubwarden.service.messages import Queue
from hubwarden.service.ports import HubRecord, Ticket
from local.azure_simulator import CANARY, CANARY_BASE64
from tests.simulator.listening import all_loggers_at_debug
from tests.simulator.proof import (
    HUB,
    PERSON,
    PROOFS,
    SOLUTION,
    WARDEN,
    azure,
    derived_key,
    person,
    sections,
    warden,
)
from tests.unit.fakes import START


KEY = derived_key("planted")
HUB_PUT = ("PUT", HUB.path)
FAULTS = [
    {"method": "POST", "path": "listkeys", "status": 500, "times": 2},
    {"method": "PUT", "path": "IotHubs/Press$", "kind": "cut_after"},
    {"method": "PUT", "path": "diagnosticSettings/hubwarden$", "status": 500},
    {"method": "PUT", "path": "iotSecuritySolutions", "kind": "cut"},
]


def found(text):
    return CANARY in text or CANARY_BASE64 in text


def places(world, log):
    """All that is kept, sent or said, by where."""
    return {
        "findings": repr(world.findings.rows),
        "records": repr(world.records.rows),
        "sweeps": repr(world.records.sweeps),
        "audit": json.dumps(world.audit.lines),
        "tickets": repr(world.tickets.tickets),
        "lists": repr((world.lists.staged, world.lists.committed)),
        "messages": repr((world.work.sent, world.work.letters, world.work.poison)),
        "graveyard": repr(world.graveyard.buried),
        "errors": "".join(line for error in world.errors for line in traceback.format_exception(error)),
        "log": log.text,
    }


@contextlib.contextmanager
def a_client_that_breaks_once(monkeypatch):
    """The SDK fails once with keys in its hands, and shows them in its error."""
    real, broken = IotHubResourceOperations.begin_create_or_update, []

    async def breaks(self, group, name, content, **options):
        if not broken and found(content.decode()):
            broken.append(content)
            raise ServiceResponseError(f"no answer to {content.decode()}")
        return await real(self, group, name, content, **options)

    with monkeypatch.context() as patched:
        patched.setattr(IotHubResourceOperations, "begin_create_or_update", breaks)
        yield broken


@contextlib.asynccontextmanager
async def after_everything(monkeypatch):
    """All drifts at once, fixed and approved, with faults on the way; the world and the log of it."""
    with all_loggers_at_debug() as log, a_client_that_breaks_once(monkeypatch) as broken:
        drifts = [proof.first.drift for proof in PROOFS.values()]
        modes = dict.fromkeys(PROOFS, "auto") | {"sas-policies": "approve"}
        async with azure(*drifts) as sim, warden(sim, sections({}, modes)) as world:
            for fault in FAULTS:
                sim.fail(**fault)
            await world.live(hours=1)
            await world.approve("sas-policies")
            await world.live(hours=1)
            assert all(fault["hits"] for fault in sim.faults())
            assert broken
            assert world.states() == {State.RESOLVED}
            yield sim, world, log


async def test_no_key_is_kept_sent_or_said(monkeypatch):
    async with after_everything(monkeypatch) as (_, world, log):
        looked_into = places(world, log)
        assert [place for place, text in looked_into.items() if found(text)] == []
        for place in ("findings", "records", "sweeps", "audit", "tickets", "messages", "log"):
            assert len(looked_into[place]) > 100, f"{place}: nothing there to look into"


async def test_no_request_but_the_write_of_the_hub_holds_a_key(monkeypatch):
    async with after_everything(monkeypatch) as (sim, _, _):
        ours = [entry for entry in sim.requests(bodies=True) if entry["client_id"] in {WARDEN, None}]
        holding = [(entry["method"], entry["path"].lower()) for entry in ours if found(json.dumps(entry))]
        assert {*holding} == {HUB_PUT}
        with_policies = [
            e for e in ours if e["body"] and "authorizationPolicies" in e["body"].get("properties", {})
        ]
        assert len(holding) == len(with_policies), "a write that does not edit policies sends no key at all"
        async with person(sim) as somebody:
            body = {"location": "westeurope", "properties": {"displayName": KEY, "iotHubs": []}}
            await somebody("PUT", SOLUTION, "2019-08-01", body)
        planted = [entry for entry in sim.requests(bodies=True) if entry["client_id"] == PERSON]
        assert [found(json.dumps(entry)) for entry in planted] == [True]


# --- and one would be found


def ticket():
    return Ticket("f-1", HUB, "tls-minimum", "title", KEY, is_open=True, opened_at=START, changed_at=START)


async def plant_finding(world):
    stored = world.findings.all[0]
    await world.findings.save(replace(stored, evidence={"x": [KEY]}), world.findings.rows[stored.id].etag)


async def plant_sweep(world):
    await world.records.add_sweep(replace(world.records.sweeps[0], unknown={"x": KEY}))


async def plant_list(world):
    await world.lists.stage("a", 0, KEY.encode())


async def plant_error(world):
    world.errors.append(RuntimeError(KEY))


async def plant_line(world):
    logging.getLogger("azure.core").debug("sent", extra={"body": KEY})


async def plant_audit_line(world):
    await world.audit.append("poison", {"queue": "x", "reason": KEY, "kept": "x", "sha256": "0" * 64})


PLANTS = {
    "findings": plant_finding,
    "records": lambda world: world.records.save(HubRecord(replace(HUB, name="x"), policies={"x": KEY}), None),
    "sweeps": plant_sweep,
    "audit": plant_audit_line,
    "tickets": lambda world: world.tickets.open(ticket()),
    "lists": plant_list,
    "messages": lambda world: world.work.send_to_poison(Queue.EVALUATE, KEY),
    "graveyard": lambda world: world.graveyard.bury(Queue.EVALUATE, "{}", KEY),
    "errors": plant_error,
    "log": plant_line,
}


async def test_a_key_in_any_of_these_places_would_be_found():
    drift = PROOFS["tls-minimum"].first.drift
    with all_loggers_at_debug() as log:
        async with azure(drift) as sim, warden(sim, sections({})) as world:
            await world.settle()
            assert PLANTS.keys() == places(world, log).keys()
            for number, plant in enumerate(PLANTS.values(), start=1):
                await plant(world)
                hit = [place for place, text in places(world, log).items() if found(text)]
                assert hit == [*PLANTS][:number]
