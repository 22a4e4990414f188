"""What was stored and sent is read by every later version, and nobody changes what is stored without noticing."""

from __future__ import annotations

import json

import pytest

from hubwarden.adapters.storage.migrations import FIRST, MIGRATIONS, TABLES, newest
from hubwarden.service.messages import VERSION, Queue, parse, queue_of
from tests import state_cases
from tests.state_cases import CASES, SHAPES


STATES = [CASES / f"{version}" for version in range(FIRST, newest(MIGRATIONS) + 1)]
SENT = [CASES / f"messages-{version}" for version in range(1, VERSION + 1)]
QUEUES = {model.__name__: queue_of(state_cases.message(model)) for model in state_cases.MESSAGES}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", STATES, ids=lambda folder: folder.name)
def test_each_version_that_was_ever_stored_is_read(folder):
    rows = read(folder / "rows.json")
    for name, row in rows.items():
        value = SHAPES[name].from_row(row)
        assert SHAPES[name].key(value) == (row["PartitionKey"], row["RowKey"])


@pytest.mark.parametrize("folder", SENT, ids=lambda folder: folder.name)
def test_each_version_that_was_ever_sent_is_read(folder):
    for name, text in read(folder / "texts.json").items():
        message = parse(QUEUES[name], text)
        assert type(message).__name__ == name
        assert parse(QUEUES[name], message.model_dump_json()) == message


@pytest.mark.parametrize("path", state_cases.files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_is_stored_changes_only_with_its_version(path):
    assert state_cases.files()[path] == read(path), (
        "what is stored has changed: see docs/upgrade.md, 'When you change what is stored'"
    )


def test_every_table_and_every_queue_has_its_sample():
    assert {shape.table for shape in SHAPES.values()} == {*TABLES}
    assert {*QUEUES.values()} == {*Queue}


def test_steps_follow_each_other():
    assert [step.to for step in MIGRATIONS] == [*range(FIRST + 1, newest(MIGRATIONS) + 1)]
    assert {table for step in MIGRATIONS for table in step.tables} <= {*TABLES}
