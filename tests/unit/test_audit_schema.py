"""docs/audit.schema.json: a valid schema, and what it says of each kind is what is written."""

from __future__ import annotations

import json
import re

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from jsonschema import Draft202012Validator

from hubwarden.cli.refusals import refused
from hubwarden.domain.approval import Approver, Via
from hubwarden.domain.audit import BEGIN, CONTINUED, Entry, Place, chained
from hubwarden.domain.finding import State
from hubwarden.domain.limits import Asked
from hubwarden.domain.message import Kind, notice
from hubwarden.service import operate
from hubwarden.service.approve import NoSuchFindingError, approve
from hubwarden.service.bury import bury
from hubwarden.service.dead_letters import read_back
from hubwarden.service.gate import change
from hubwarden.service.messages import NotifyMessage, Queue
from hubwarden.service.ports import Waiting
from hubwarden.service.rollback import ask_for_rollback
from tests.unit.audit_schema import KINDS, SCHEMA, what_is_wrong
from tests.unit.fakes import HUB, START, FakeChannel, FakeOutbox, arm_event
from tests.unit.test_web_approvals import asked


DOCS = Path(__file__).parents[2] / "docs"
VALIDATOR = Draft202012Validator(SCHEMA)


async def rolled_back(world):
    kim, robin = Approver("Kim", Via.COMMAND_LINE), Approver("Robin", Via.COMMAND_LINE)
    [remediation] = world.remediations.all
    asked_for = await ask_for_rollback(world.ports, remediation.id, by=kim, reason="the old gateways need it")
    await approve(world.ports, asked_for.id, plan=asked_for.proposal.digest, by=robin, reason="agreed")
    await world.run()


async def limited(world):
    """The switch is thrown, the breaker reset, and a question answered."""
    asked = {"tls-minimum": Asked("tls-minimum", HUB, world.clock.now(), 8, 10)}
    await change(world.ports, lambda ledger: replace(ledger, tripped="too many failed", asked=asked))
    await operate.kill(world.safety, world.audit, world.clock, by="robin", reason="something is odd")
    await operate.resume(world.ports, by="robin")
    await operate.reset_breaker(world.ports, by="robin")
    await operate.release_rule(world.ports, "tls-minimum", by="robin")


async def refused_(world):
    """A word that was not taken."""
    with pytest.raises(NoSuchFindingError):
        async with refused(world.ports, "hold", "f-none", Approver("Kim", Via.COMMAND_LINE)):
            await operate.hold(world.ports, "f-none", by="Kim", reason="x")


async def untold(world):
    """Nobody was told in a day."""
    world.outbox, world.channels = FakeOutbox(world.gates, world.log), {"ops": FakeChannel()}
    finding = world.finding()
    step = finding.history[-1]
    await world.outbox.add(Waiting("ops", notice(finding, Kind.FIXED, at=step.at, reason=step.reason), step.at))
    world.clock.turn(days=2)
    await world.handle(NotifyMessage(channel="ops"))


async def undelivered(world):
    """Event Grid could not deliver an event; and something lies there that is none."""
    world.dead_letters.leave([arm_event() | {"deadLetterReason": "MaxDeliveryAttemptsExceeded"}])
    world.dead_letters.leave(b"no events")
    await read_back(world.dead_letters, route=world.event, audit=world.audit, clock=world.clock)


async def life():
    """A world in which all happens that leaves a line."""
    front = await asked()
    world = front.world
    assert (await front.post(csrf="forged")).status == 403
    await front.post()
    await world.run(until=timedelta(seconds=1))
    attempt = world.finding().attempt
    await world.event(arm_event(at=attempt.read_at + (attempt.written_at - attempt.read_at) / 2))
    world.hubs.hubs[HUB].operation.done_at = world.clock.at
    world.hubs.change(path=("properties", "routing"), value={})
    await world.run()
    assert world.state() is State.RESOLVED
    await rolled_back(world)
    await limited(world)
    await refused_(world)
    await untold(world)
    await bury(Queue.VERIFY, "x", graveyard=world.graveyard, audit=world.audit)
    await undelivered(world)
    return world


async def test_every_kind_is_written_as_it_is_described():
    world = await life()
    details = {"next": Place(START.date()).name}
    goes_on, _ = chained([Entry(START, "7f9c24e5-0000-4000-8000-000000000000", CONTINUED, details)], BEGIN)
    lines = [json.loads(line) for line in [*world.audit.chain, goes_on]]
    assert {line["kind"] for line in lines} == KINDS.keys()
    for line in lines:
        VALIDATOR.validate(line)


def test_it_is_a_valid_schema_and_its_kinds_are_those_that_it_lists():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["kind"]["enum"] == list(KINDS)
    assert [each["$ref"] for each in SCHEMA["oneOf"]] == [f"#/$defs/{kind}" for kind in KINDS]
    assert all(described["properties"]["kind"] == {"const": kind} for kind, described in KINDS.items())


def sample(**changes):
    details = {"queue": "q", "reason": "r", "kept": "k", "sha256": "0" * 64}
    line, _ = chained([Entry(START, "7f9c24e5-0000-4000-8000-000000000000", "poison", details)], BEGIN)
    entry = json.loads(line) | changes
    return json.dumps({name: value for name, value in entry.items() if value is not ...}).encode()


def test_the_sample_is_right():
    assert what_is_wrong(sample()) is None
    VALIDATOR.validate(json.loads(sample()))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "unheard-of"},
        {"kind": "sweep"},
        {"reason": ...},
        {"reason": 1},
        {"prev": "0"},
        {"seq": 0},
        {"v": 2},
        {"at": "2026-11-23T09:00:00"},
        {"id": ...},
        {"more": "x"},
    ],
)
def test_a_line_that_is_not_so_is_found(change):
    assert what_is_wrong(sample(**change))
    assert "more" in change or not VALIDATOR.is_valid(json.loads(sample(**change)))


def test_the_documentation_names_every_kind_and_every_member():
    text = (DOCS / "audit.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_0-9]+)`", text))
    members = {name for kind in KINDS.values() for name in kind["properties"]}
    assert (KINDS.keys() | members | SCHEMA["properties"].keys()) - named == set()
