"""The commands that stop what runs by itself, over fakes."""

from __future__ import annotations

import asyncio

from pathlib import Path

import pytest

from hubwarden.cli.app import main
from hubwarden.domain.finding import State
from hubwarden.domain.limits import Ledger, Outcome
from hubwarden.service.errors import StorageUnavailableError
from hubwarden.service.messages import EvaluateMessage, RemediateMessage, TurnMessage
from hubwarden.service.ports import Stored
from tests.unit.fakes import hub_id
from tests.unit.test_cli import Desk


@pytest.fixture
def desk(tmp_path):
    """A hub whose TLS minimum was lowered, and is to be fixed."""
    desk = Desk(tmp_path, "auto")
    desk.world.hubs.add(minTlsVersion="1.0")
    desk.sweep()
    assert desk.world.state() is State.APPROVED
    desk.world.work.letters.clear()
    return desk


def run(desk):
    asyncio.run(desk.world.run())


def test_kill_and_resume(desk):
    result = desk.run("kill", "--reason", "something\nis odd")
    assert result.exit_code == 0
    assert "on since 2026-11-23 09:00 UTC, by robin (command line): something is odd" in result.stdout
    told = desk.run("findings")
    assert "the kill switch is on since" in told.stderr
    assert desk.json("findings")[1]["warnings"]
    result = desk.run("resume", "--by", "kim")
    assert (result.exit_code, result.stdout) == (0, "the kill switch is off: work goes on for 1 hub(s)\n")
    assert desk.world.work.of(RemediateMessage)
    assert desk.world.work.of(TurnMessage)
    run(desk)
    assert desk.world.state() is State.RESOLVED
    assert "kill switch" not in desk.run("findings").stderr


@pytest.mark.parametrize("text", [None, "version: 1\nsubscriptions: [nonsense]\n"])
def test_kill_asks_for_no_policy_file(desk, text):
    file = Path(desk.env["HUBWARDEN_POLICY"])
    file.unlink()
    if text is not None:
        file.write_text(text, encoding="utf-8")
    assert desk.run("resume").exit_code == 1
    result = desk.run("kill", "--reason", "odd")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "no hub is written until `resume`" in result.stdout


def test_kill_that_cannot_be_stored_names_the_other_way(desk, mocker):
    mocker.patch.object(desk.world.safety, "stop", side_effect=StorageUnavailableError("table x: no answer"))
    result = desk.run("kill", "--reason", "odd")
    assert result.exit_code == 1
    assert "table x: no answer" in result.stderr
    assert "HUBWARDEN_KILL=1" in result.stderr


def test_resume_cannot_undo_an_app_setting(desk):
    desk.env["HUBWARDEN_KILL"] = "1"
    assert "HUBWARDEN_KILL" in desk.run("findings").stderr
    result = desk.run("resume")
    assert result.exit_code == 1
    assert "HUBWARDEN_KILL still stops every write: take it away first; nothing was changed" in result.stderr


@pytest.mark.parametrize(
    ("value", "on"), [("", False), ("0", False), ("false", False), ("1", True), ("yes?", True)]
)
def test_in_doubt_the_setting_means_on(desk, value, on):
    desk.env["HUBWARDEN_KILL"] = value
    assert ("kill switch is on" in desk.run("findings").stderr) is on


def test_hold_and_release(desk):
    finding = desk.world.finding()
    result = desk.run("hold", finding.id, "--reason", "we test")
    assert (result.exit_code, result.stdout) == (
        0, f"{finding.id} on hub-1 is held by robin (command line) until `release`\n"
    )  # fmt: skip
    told = desk.run("findings")
    assert "Held" in told.stdout
    assert "held by robin (command line): we test" in told.stdout
    [one] = desk.json("findings")[1]["findings"]
    assert (one["state"], one["held"]) == ("held", "held by robin (command line): we test")
    result = desk.run("release", finding.id)
    assert result.exit_code == 0
    assert desk.world.state() is State.OPEN
    assert desk.world.work.of(EvaluateMessage)


def test_a_rule_that_the_share_limit_holds_is_released(desk):
    for number in range(10):
        desk.world.hubs.add(hub_id(f"many-{number}"), minTlsVersion="1.0")
    desk.sweep()
    run(desk)
    assert "hubs drift of tls-minimum: a migration, or a broken rule?" in desk.run("findings").stderr
    result = desk.run("release", "--rule", "tls-minimum")
    assert (result.exit_code, result.stdout.split(",")[0]) == (
        0, "11 hub(s) are fixed at the rate that limits allow"
    )  # fmt: skip
    asyncio.run(desk.world.live(hours=3))
    assert {finding.state for finding in desk.world.findings.all} == {State.RESOLVED}


def test_breaker_reset(desk):
    tripped = Ledger(outcomes=(Outcome("p", desk.world.clock.now(), "400"),), tripped="11 of the last 20")
    desk.world.safety.rows["ledger"] = Stored(tripped, "edited")
    assert "all automatic fixing has stopped: 11 of the last 20" in desk.run("findings").stderr
    result = desk.run("breaker", "reset")
    assert result.exit_code == 0
    assert "they had stopped because 11 of the last 20" in result.stdout
    assert desk.world.safety.rows["ledger"].value == Ledger()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["release"], "say what to release"),
        (["release", "f-1", "--rule", "tls-minimum"], "say what to release"),
        (["release", "--rule", "tls-minimum"], "no share limit holds tls-minimum"),
        (["release", "f-1"], "there is no finding f-1"),
        (["hold", "f-1", "--reason", "x"], "there is no finding f-1"),
        (["hold", "f-1", "--reason", "  "], "the reason is empty"),
        (["kill", "--reason", " "], "the reason is empty"),
        (["breaker", "reset"], "nothing to reset"),
    ],
)
def test_what_cannot_be_done_says_why(desk, command, said):
    result = desk.run(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["release", "f-1"], ("release", "f-1", "there is no finding f-1")),
        (["release", "--rule", "tls-minimum"], ("release", "tls-minimum", "no share limit holds")),
        (["hold", "f-1", "--reason", "x"], ("hold", "f-1", "there is no finding f-1")),
        (["resume"], ("resume", "", "HUBWARDEN_KILL still stops")),
        (["breaker", "reset"], ("breaker reset", "", "nothing to reset")),
    ],
)
def test_what_is_refused_leaves_a_line_in_the_audit_trail(desk, command, told):
    desk.env["HUBWARDEN_KILL"] = "1"
    assert desk.run(*command).exit_code == 1
    [line] = desk.world.audit.of("refused")
    assert (line["command"], line["about"], line["by"]) == (*told[:2], "robin (command line)")
    assert told[2] in line["why"]


def test_kill_needs_a_reason(capsys):
    assert main(["kill"]) == 1
