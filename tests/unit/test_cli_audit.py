"""`audit verify` and `audit export` over a trail in memory; and reading a trail that grows meanwhile."""

from __future__ import annotations

import json

from datetime import UTC, date, datetime

import pytest

from typer.testing import CliRunner

from hubwarden.bootstrap import Hubwarden
from hubwarden.cli.app import app, main
from hubwarden.cli.surroundings import Surroundings
from hubwarden.domain.audit import BEGIN, CONTINUED, Entry, Place, chained, hash_of
from hubwarden.service.errors import StorageUnavailableError
from hubwarden.service.trail import verify_trail
from tests.unit.test_cli import STORAGE


DAYS = [Place(date(2026, 11, day), part) for day, part in ((22, 0), (23, 0), (23, 1), (25, 0))]
KINDS = ("finding", "write", "sweep")


class FakeTrail:
    """AuditReader: four blobs of three lines each, chained."""

    def __init__(self):
        self.blobs, head = {}, BEGIN
        for place, after in zip(DAYS, [*DAYS[1:], None], strict=True):
            entries = [self.entry(kind, place) for kind in KINDS]
            if after is not None:
                entries.append(self.entry(CONTINUED, place, next=after.name))
            block, head = chained(entries, head)
            self.blobs[place] = block.splitlines(keepends=True)
        self.head = head
        self.down = False
        self.then = lambda place: None

    @staticmethod
    def entry(kind, place, **details):
        at = datetime(place.day.year, place.day.month, place.day.day, 12, tzinfo=UTC)
        return Entry(at, "7f9c24e5-0000-4000-8000-000000000000", kind, details)

    async def places(self):
        if self.down:
            raise StorageUnavailableError("container hubwarden-audit: HTTP 503 ServerBusy")
        return sorted(self.blobs)

    async def lines(self, place):
        for line in list(self.blobs[place]):
            yield line
        self.then(place)


@pytest.fixture
def trail():
    return FakeTrail()


@pytest.fixture
def run(trail, tmp_path):
    """The command line where even the policy file is missing."""
    env = {
        "AzureWebJobsStorage": STORAGE,
        "HUBWARDEN_POLICY": str(tmp_path / "none.yaml"),
        "SWEEP_SCHEDULE": "0 0 */6 * * *",
    }
    around = Surroundings(env=env, compose=lambda env: Hubwarden(env, audit_reader=trail))

    def run(*arguments):
        return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["audit", *arguments], obj=around)

    return run


# --- verify


def test_a_whole_trail_ends_with_0_and_tells_its_head(run, trail):
    result = run("verify")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"Whole: 15 lines in 4 blobs.\nHead: 15:{trail.head.hash}\n"


def test_a_broken_trail_ends_with_1_and_names_line_blob_and_what_to_make_of_it(run, trail):
    del trail.blobs[DAYS[2]][1]
    result = run("verify")
    assert result.exit_code == 1
    assert "NOT WHOLE: 14 lines in 4 blobs." in result.stdout
    [first, second] = result.stdout.splitlines()[-2:]
    assert first.split()[:2] == ["audit/2026/11/23.1.jsonl", "2"]
    assert "seq 11 follows 9: line 10 is gone" in first
    assert "it was not written after the line that stands before it" in second


def test_the_json_is_what_the_documentation_says(run, trail):
    trail.blobs[DAYS[3]][2] = trail.blobs[DAYS[3]][2][:-1]
    result = run("verify", "--output", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "whole": False,
        "blobs": 4,
        "lines": 15,
        "unchained": 0,
        "first": 1,
        "head": {"seq": 15, "hash": trail.head.hash},
        "problems": [
            {"blob": "audit/2026/11/25.jsonl", "line": 3, "what": "the line is torn: its end is missing"}
        ],
        "notes": [],
    }  # fmt: skip


def test_a_part_of_the_trail(run, trail):
    del trail.blobs[DAYS[0]]
    assert run("verify").exit_code == 1
    result = run("verify", "--since", "2026-11-23")
    assert result.exit_code == 0
    assert "Whole: 11 lines in 3 blobs." in result.stdout
    assert "Note: what is before seq 5 was not looked at." in result.stdout


def test_a_part_follows_the_last_line_before_it(run, trail):
    result = run("verify", "--since", "2026-11-23")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "Whole: 11 lines in 3 blobs.")


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda blobs: blobs[DAYS[1]].pop(0), "seq 6 follows 4: line 5 is gone"),
        (lambda blobs: blobs[DAYS[1]].__delitem__(slice(0, 3)), "seq 8 follows 4: the lines 5 to 7 are gone"),
        (lambda blobs: blobs[DAYS[1]].insert(0, b"{}\n"), "no JSON object"),
        (lambda blobs: blobs[DAYS[1]].insert(0, b'{"kind": "x"}\n'), "was not written after the line that stands"),
        (lambda blobs: blobs[DAYS[0]].pop(), "seq 5 follows 3: line 4 is gone"),
        (lambda blobs: blobs.pop(DAYS[1]), "the trail goes on in this blob and it is not there"),
    ],
)
def test_what_is_missing_at_the_begin_of_a_part_is_seen(run, trail, harm, says):
    harm(trail.blobs)
    result = run("verify", "--since", "2026-11-23")
    assert result.exit_code == 1
    assert says in result.stdout


def test_a_noted_head_proves_that_nothing_was_cut_off(run, trail):
    noted = f"15:{trail.head.hash}"
    assert run("verify", "--head", noted).exit_code == 0
    trail.blobs[DAYS[3]].pop()
    assert run("verify").exit_code == 0
    result = run("verify", "--head", noted)
    assert result.exit_code == 1
    assert "line 15, which was noted as the head, is gone: the trail ends with 14" in result.stdout


def test_many_problems_are_counted_and_in_json_all_named(run, trail):
    trail.blobs[DAYS[3]] = [b"x\n"] * 70
    result = run("verify")
    assert result.stdout.splitlines()[-1] == "… and 20 more: --output json names them all."
    assert len(json.loads(run("verify", "--output", "json").stdout)["problems"]) == 70


def test_what_was_put_in_cannot_move_the_cursor(run, trail):
    trail.blobs[DAYS[3]].append(b'{"v": 1, "seq": 16, "prev": "\\u001b[2J", "kind": "\\u001b[2J"}\n')
    assert "\x1b" not in run("verify").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["verify", "--head", "15"], "is no head"),
        (["export", "--since", "2026-11-24", "--until", "2026-11-23"], "--until 2026-11-23 is before"),
    ],
)
def test_what_makes_no_sense_ends_with_1(run, arguments, says):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr


def test_a_day_that_is_none_ends_with_1(capsys):
    assert main(["audit", "verify", "--since", "yesterday"]) == 1
    assert "yesterday" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["verify"], ["export", "--since", "2026-11-22", "--until", "2026-11-23"]])
def test_storage_that_is_down_ends_with_1(run, trail, arguments):
    trail.down = True
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("container hubwarden-audit: HTTP 503 ServerBusy (")


# --- export


def test_the_lines_of_some_days_are_printed_as_they_are(run, trail):
    result = run("export", "--since", "2026-11-23", "--until", "2026-11-24")
    assert result.exit_code == 0
    assert result.stdout_bytes == b"".join(trail.blobs[DAYS[1]] + trail.blobs[DAYS[2]])


def test_only_some_kinds(run, trail):
    result = run("export", "--since", "2026-11-22", "--until", "2026-11-25", "--kind", "write", "--kind", "sweep")
    assert result.exit_code == 0
    kinds = [json.loads(line)["kind"] for line in result.stdout.splitlines()]
    assert kinds == ["write", "sweep"] * 4


def test_a_line_that_cannot_be_read_is_exported_with_all_and_told_where_it_is_left_out(run, trail):
    trail.blobs[DAYS[0]][1] = b"\xff\xfe torn\n"
    days = ("--since", "2026-11-22", "--until", "2026-11-22")
    result = run("export", *days)
    assert (result.exit_code, result.stdout_bytes) == (0, b"".join(trail.blobs[DAYS[0]]))
    result = run("export", *days, "--kind", "sweep")
    assert result.exit_code == 1
    assert result.stdout_bytes == trail.blobs[DAYS[0]][2]
    assert "1 lines that cannot be read were left out" in result.stderr


# --- a trail that grows


async def test_a_trail_that_goes_on_elsewhere_while_it_is_read_is_read_on(trail):
    later = {place: trail.blobs.pop(place) for place in DAYS[2:]}
    trail.then = lambda _: trail.blobs.update(later)
    verdict = await verify_trail(trail)
    assert verdict.whole, verdict.problems
    assert (verdict.blobs, verdict.head) == (4, trail.head)


async def test_a_line_that_comes_while_the_last_blob_is_read_is_no_trouble(trail):
    block, head = chained([trail.entry("write", DAYS[3])], trail.head)
    trail.then = lambda place: trail.blobs[place].append(block) if place == DAYS[3] else None
    verdict = await verify_trail(trail)
    assert verdict.whole, verdict.problems
    assert verdict.head == trail.head
    assert hash_of(block[:-1]) == head.hash
