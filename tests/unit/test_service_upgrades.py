"""The service over a state, or with messages, of another version: nothing is judged, written or lost."""

from __future__ import annotations

import json

from datetime import timedelta

import pytest

from hubwarden import __version__
from hubwarden.adapters.storage.findings import FINDINGS
from hubwarden.bootstrap import Hubwarden
from hubwarden.domain.finding import State
from hubwarden.service.errors import StateNewerError, StorageRefusedError, StorageUnavailableError
from hubwarden.service.invocation import function_of
from hubwarden.service.messages import EvaluateMessage, Queue, SweepMessage
from hubwarden.service.ports import StateRecord, Stored
from hubwarden.service.telemetry import FAILURES
from hubwarden.web.requests import Request
from tests.unit.fakes import RULES, START, SUB, World, ask
from tests.unit.test_service_bootstrap import FakeCredential


GOOD = f"version: 1\nsubscriptions: [{SUB}]\nrules:\n  tls-minimum: {{mode: auto}}\n"
NEWER = StateRecord(2, "9.9.9", START)
WEB = {"HUBWARDEN_APPROVAL_KEYS": "k" * 40}


class Running:
    """A service over fakes, with a hub that drifts."""

    def __init__(self, tmp_path, record=None, *, newest=1, older=0):
        policy = tmp_path / "policy.yaml"
        policy.write_text(GOOD)
        self.world = world = World()
        world.schema.newest, world.schema.older = newest, older
        if record is not None:
            world.schema.rows["state"] = Stored(record, "first")
        self.service = Hubwarden(
            {"HUBWARDEN_POLICY": str(policy), "AzureWebJobsStorage": "UseDevelopmentStorage=true", **WEB},
            credential=FakeCredential(), hubs=world.hubs, findings=world.findings, records=world.records,
            work=world.work, audit=world.audit, graveyard=world.graveyard, lists=world.lists,
            tickets=world.tickets, clock=world.clock, rules=RULES, remediations=world.remediations,
            safety=world.safety, state=world.schema,
        )  # fmt: skip
        world.hubs.add(minTlsVersion="1.0")

    async def message(self, text=None, queue=Queue.EVALUATE):
        text = text or ask(at=self.world.clock.now()).model_dump_json()
        await self.service.on_message(queue, text)
        return text

    @property
    def nothing_was_done(self):
        """No look at a hub, no row, no line, no ticket."""
        world = self.world
        return not (world.hubs.effective or world.findings.rows or world.records.rows or world.records.sweeps
                    or world.audit.lines or world.tickets.tickets)  # fmt: skip

    @property
    def waiting(self):
        now = self.world.clock.now()
        return [(letter.queue, letter.text, round((letter.due - now).total_seconds()))
                for letter in self.world.work.letters]  # fmt: skip


@pytest.mark.parametrize("queue", Queue)
async def test_over_a_newer_state_every_message_comes_back_whole_and_nothing_is_done(tmp_path, queue):
    from hubwarden.service.messages import queue_of
    from tests.state_cases import MESSAGES, message

    running = Running(tmp_path, NEWER)
    texts = [one.model_dump_json() for one in map(message, MESSAGES) if queue_of(one) is queue]
    for text in texts:
        await running.message(text, queue)
    assert running.waiting == [(queue, text, 300) for text in texts]
    assert not running.world.work.poison
    assert running.nothing_was_done


async def test_over_a_newer_state_there_is_no_sweep_and_no_sweep_record(tmp_path):
    running = Running(tmp_path, NEWER)
    await running.service.on_sweep()
    assert not running.waiting
    assert running.nothing_was_done


async def test_over_a_newer_state_health_is_not_ready_and_says_what_to_do(tmp_path):
    said = await Running(tmp_path, NEWER).service.on_health()
    assert not said["ready"]
    assert said["version"] == __version__
    assert said["reason"] == (
        f"the stored state is of version 2, written by hubwarden 9.9.9, and this is hubwarden {__version__}, "
        "which knows those up to 1: nothing is judged or written; deploy hubwarden 9.9.9 or later again, or "
        "restore the tables of before (docs/upgrade.md)"
    )


@pytest.mark.parametrize("way", ["on_page", "on_decision", "on_webhook"])
async def test_over_a_newer_state_nobody_decides(tmp_path, way):
    running = Running(tmp_path, NEWER)
    answer = await getattr(running.service, way)(Request())
    assert answer.status == 503
    assert running.nothing_was_done


async def test_over_a_newer_state_events_are_kept_as_they_are_over_a_broken_policy(tmp_path):
    running = Running(tmp_path, NEWER)
    await running.service.on_event(running.world.hubs.change())
    assert [type(letter.message) for letter in running.world.work.letters] == [EvaluateMessage]


async def test_a_device_event_over_a_newer_state_is_delivered_again(tmp_path):
    running = Running(tmp_path, NEWER)
    running.service._file.policy = (
        None  # where it can be read and no rule asks for devices, such events are ignored
    )
    with pytest.raises(StorageUnavailableError, match=r"version 2, written by hubwarden 9\.9\.9"):
        await running.service.on_device_event({})


async def test_once_the_newer_version_is_deployed_again_all_goes_on(tmp_path):
    running = Running(tmp_path, NEWER)
    await running.message()
    running.world.schema.newest = 2
    [letter] = running.world.work.letters
    running.world.work.letters.clear()
    await running.message(letter.text)
    assert running.world.state() is State.APPROVED


async def test_while_it_migrates_messages_come_back_soon_and_a_sweep_comes_later(tmp_path):
    busy = StateRecord(1, "1", START, target=2, until=START + timedelta(hours=1))
    running = Running(tmp_path, busy, newest=2, older=3)
    text = await running.message()
    assert running.waiting == [(Queue.EVALUATE, text, 15)]
    await running.service.on_sweep()
    assert running.waiting[1][1:] == (SweepMessage(subscription="all").model_dump_json(), 15)
    assert "migrating" in (await running.service.on_health())["reason"]
    assert running.nothing_was_done


async def test_the_first_message_migrates_and_then_does_its_work(tmp_path):
    running = Running(tmp_path, newest=2, older=3)
    assert not (await running.service.on_health())["ready"]
    await running.message()
    assert running.world.state() is State.APPROVED
    assert running.world.schema.older == 0
    assert running.world.log[0] == ("upgrade", 0)
    assert (await running.service.on_health())["ready"]


async def test_after_the_first_message_the_version_costs_no_call(tmp_path):
    running = Running(tmp_path)
    for _ in range(5):
        await running.message()
    await running.service.on_sweep()
    await running.service.on_health()
    assert running.world.schema.asked == 1


async def test_a_damaged_record_does_not_pile_up_sweeps(tmp_path):
    running = Running(tmp_path)

    async def damaged():
        raise StorageRefusedError("table hubwardensafety: row schema / state is damaged")

    running.world.schema.record = damaged
    for _ in range(3):
        await running.service.on_sweep()
    text = await running.message()
    assert running.waiting == [(Queue.EVALUATE, text, 300)]
    assert running.nothing_was_done


# --- messages of a newer version


@pytest.mark.parametrize("queue", Queue)
@pytest.mark.parametrize("content", [{"v": 2}, {"v": 2, "hub": 5, "new": []}, {"v": 10**9}])
async def test_a_message_of_a_newer_version_comes_back_unchanged_and_is_not_buried(
    tmp_path, mocker, queue, content
):
    running = Running(tmp_path)
    text = json.dumps(content, indent=3)
    told = mocker.spy(running.service.telemetry, "count")
    await running.message(text, queue)
    assert running.waiting == [(queue, text, 300)]
    told.assert_called_once_with(FAILURES, function=function_of(queue))
    assert not running.world.work.poison
    assert running.nothing_was_done


@pytest.mark.parametrize("text", ['{"v": 1, "x": 1}', '{"v": "2"}', '{"v": 2.5}', '{"v": -1}', "[2]", "2", "{"])
async def test_what_is_no_message_of_any_version_is_buried_as_ever(tmp_path, text):
    running = Running(tmp_path)
    await running.message(text)
    assert running.world.work.poison == [(Queue.EVALUATE, text)]
    assert not running.waiting


# --- a newer instance came in between (rolling update)


async def test_a_row_of_a_newer_version_puts_the_message_back_and_the_version_is_asked_for_again(tmp_path):
    running = Running(tmp_path)
    await running.message()
    world = running.world
    row = FINDINGS.to_row(world.finding()) | {"Schema": 2}
    before = dict(world.findings.rows)
    world.work.letters.clear()

    async def of_hub(_hub):
        return [FINDINGS.from_row(row)]

    world.findings.of_hub = of_hub
    with pytest.raises(StateNewerError):
        await of_hub(None)
    world.clock.turn(minutes=5)
    with pytest.raises(StateNewerError):  # nobody says that a newer version is at work: it fails, and is seen
        await running.message()
    assert not running.waiting
    world.schema.rows["state"] = Stored(NEWER, "newer")
    text = await running.message()
    assert running.waiting == [(Queue.EVALUATE, text, 300)]
    assert "version 2" in (await running.service.on_health())["reason"]
    assert world.findings.rows == before
