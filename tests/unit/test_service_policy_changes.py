"""A policy file that changes while the service runs: the new one is used, a bad one is not, and health says so."""

from __future__ import annotations

import os
import time

import pytest

from hubwarden.adapters.azure.read_only import ReadOnlyHubs
from hubwarden.bootstrap import Hubwarden
from hubwarden.domain.finding import State
from hubwarden.service.messages import Queue, RemediateMessage
from tests.unit.fakes import HUB, RULES, SUB, World, ask


GOOD = f"version: 1\nsubscriptions: [{SUB}]\nrules:\n  tls-minimum: {{mode: %s}}\n"
SLACK = "notify: {channels: {ops: {kind: slack}}, routes: [{channels: [ops]}]}\n"
BAD = {
    "no yaml": "version: [",
    "unknown key": GOOD % "auto" + "colour: red\n",
    "empty": "",
    "gone": None,
    "unknown rule": GOOD % "auto" + "accept_risk: [tls]\n",
}  # fmt: skip


class Running:
    """A service that runs on a policy file, over fakes."""

    def __init__(self, tmp_path, text, **env):
        self.file = tmp_path / "policy.yaml"
        self.file.write_text(text)
        self.world = world = World()
        self.wait = 60.0
        self.service = Hubwarden(
            {"HUBWARDEN_POLICY": str(self.file), "AzureWebJobsStorage": "UseDevelopmentStorage=true", **env},
            hubs=world.hubs, findings=world.findings, records=world.records, work=world.work, audit=world.audit,
            graveyard=world.graveyard, lists=world.lists, tickets=world.tickets, clock=world.clock, rules=RULES,
            remediations=world.remediations, safety=world.safety, dead_letters=world.dead_letters,
            state=world.schema,
        )  # fmt: skip
        self.service._file._wall = lambda: time.time() + self.wait
        world.hubs.add(minTlsVersion="1.0")

    def write(self, text):
        if text is None:
            self.file.unlink()
            return
        self.file.write_text(text)
        os.utime(self.file, ns=(1, time.time_ns()))

    async def look(self):
        self.world.clock.turn(minutes=5)
        await self.service.on_message(Queue.EVALUATE, ask(at=self.world.clock.now()).model_dump_json())
        return self.world.state()


async def test_a_changed_file_is_used_from_the_next_message_on(tmp_path):
    running = Running(tmp_path, GOOD % "report")
    assert await running.look() is State.REPORTED
    running.write(GOOD % "ticket")
    assert await running.look() is State.TICKETED
    assert (await running.service.on_health())["warnings"] == [
        "there was no sweep yet: nothing is known of any hub"
    ]


async def test_observing_begins_and_ends_without_a_restart(tmp_path):
    running = Running(tmp_path, GOOD % "auto")
    await running.look()
    running.write(GOOD % "auto" + "enforcement: observe\n")
    await running.service.on_message(Queue.REMEDIATE, RemediateMessage(hub=HUB.path).model_dump_json())
    assert running.world.hubs.effective == []
    assert isinstance(running.service.ports.hubs, ReadOnlyHubs)
    assert await running.look() is State.TICKETED
    running.write(GOOD % "auto")
    assert await running.look() is State.APPROVED
    await running.service.on_message(Queue.REMEDIATE, RemediateMessage(hub=HUB.path).model_dump_json())
    assert len(running.world.hubs.effective) == 1


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
async def test_a_file_that_turns_bad_changes_nothing_and_health_says_so(tmp_path, text):
    running = Running(tmp_path, GOOD % "ticket")
    running.write(text)
    assert await running.look() is State.TICKETED
    said = await running.service.on_health()
    assert said["ready"]
    assert said["warnings"][0].startswith(
        "the policy file was changed and cannot be used as it is; the last good one stays in use:\n"
    )
    running.write(GOOD % "report")
    assert await running.look() is State.REPORTED
    assert not any("policy" in warning for warning in (await running.service.on_health())["warnings"])


async def test_a_service_that_began_with_a_bad_file_is_ready_once_it_is_mended(tmp_path):
    running = Running(tmp_path, "version: 2\n")
    assert not (await running.service.on_health())["ready"]
    assert await running.look() is None
    running.write(GOOD % "ticket")
    assert await running.look() is State.TICKETED
    assert (await running.service.on_health())["ready"]


async def test_a_file_that_is_just_being_written_is_left_until_it_lies_still(tmp_path):
    running = Running(tmp_path, GOOD % "report")
    running.wait = 4.0
    running.write(GOOD % "ticket")
    assert await running.look() is State.REPORTED
    running.wait = 6.0
    assert await running.look() is State.TICKETED


async def test_channels_that_the_file_names_are_made_and_the_old_ones_closed_at_the_end(tmp_path):
    url = {"HUBWARDEN_SLACK_URL": "https://hooks.slack.com/services/T/B/x"}
    running = Running(tmp_path, GOOD % "report", **url)
    assert running.service.ports.channels == {}
    running.write(GOOD % "report" + SLACK)
    await running.look()
    made = running.service.ports.channels
    assert set(made) == {"ops"}
    running.write(GOOD % "ticket" + SLACK)
    await running.look()
    assert running.service.ports.channels is made, "what did not change is not made again"
    running.write(GOOD % "report")
    await running.look()
    assert running.service.ports.channels == {}
    assert running.service._in_use.old_channels == [*made.values()]
    await running.service.close()


async def test_a_file_is_read_once_for_each_change(tmp_path, mocker):
    running = Running(tmp_path, GOOD % "report")
    read = mocker.spy(type(running.file), "read_text")
    for _ in range(3):
        await running.look()
    assert read.call_count == 0
    running.write(GOOD % "ticket")
    for _ in range(3):
        await running.look()
    assert read.call_count == 1
