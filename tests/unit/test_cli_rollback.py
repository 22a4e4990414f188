"""``remediations`` and ``rollback`` on the command line."""

from __future__ import annotations

import asyncio

from dataclasses import replace

import pytest

from hubwarden.domain.finding import State
from hubwarden.domain.remediation import Outcome
from tests.unit.fakes import HUB, hub_id
from tests.unit.test_cli import STRANGE, Desk


@pytest.fixture
def desk(tmp_path):
    """A fix was approved, and is proven."""
    desk = Desk(tmp_path)
    desk.world.hubs.add(minTlsVersion="1.0")
    desk.sweep()
    finding = desk.world.finding()
    desk.run("approve", finding.id, "--plan", finding.proposal.digest)
    asyncio.run(desk.world.run())
    assert desk.world.state() is State.RESOLVED
    return desk


def test_what_was_written_is_listed_with_what_became_of_it(desk):
    [kept] = desk.world.remediations.all
    result = desk.run("remediations")
    assert (result.exit_code, result.stderr) == (0, "")
    [line] = [line for line in result.stdout.splitlines() if line.startswith("r-")]
    assert line.split()[:6] == [kept.id, "2026-11-23", "09:00", "hub-1", "tls-minimum", "proven"]
    assert "properties.minTlsVersion: '1.0' → '1.2'" in line


def test_the_json_of_remediations_is_what_the_documentation_says(desk):
    [kept] = desk.world.remediations.all
    code, told = desk.json("remediations", HUB.name)
    assert code == 0
    change = {"path": ["properties", "minTlsVersion"], "rule": "tls-minimum"}
    assert told == {"remediations": [{
        "id": kept.id,
        "hub": HUB.path,
        "rules": ["tls-minimum"],
        "findings": [desk.world.finding().id],
        "target": "hub",
        "plan": kept.plan,
        "etag": kept.etag,
        "at": kept.at.isoformat(),
        "decided": [*kept.decided],
        "outcome": "proven",
        "changes": [{**change, "before": "1.0", "after": "1.2"}],
        "undo": [{**change, "before": "1.2", "after": "1.0"}],
        "rolls_back": None,
        "cannot_be_rolled_back": None,
    }]}  # fmt: skip
    assert kept.decided[0].startswith("approved by ")


def test_only_the_hub_that_was_asked_for_is_listed(desk):
    other = replace(desk.world.remediations.all[0], id="r-2", hub=hub_id("hub-2"), outcome=Outcome.BEGUN)
    desk.world.remediations.kept["r-2"] = other
    assert len(desk.json("remediations")[1]["remediations"]) == 2
    [told] = desk.json("remediations", other.hub.path)[1]["remediations"]
    assert told["id"] == "r-2"
    assert "not proven (it is begun)" in told["cannot_be_rolled_back"]
    assert desk.run("remediations", "nobody").exit_code == 1


def test_nothing_written_is_said(tmp_path):
    desk = Desk(tmp_path)
    desk.world.hubs.add()
    desk.sweep()
    assert "Nothing was written" in desk.run("remediations").stdout


def test_a_rollback_is_asked_for_shown_and_approved_as_any_plan(desk):
    [kept] = desk.world.remediations.all
    result = desk.run("rollback", kept.id, "--reason", "old gateways", "--by", "Kim")
    assert (result.exit_code, result.stderr) == (0, "")
    waiting = desk.world.rollback()
    assert "This is a rollback, not a fix" in result.stdout
    assert "properties.minTlsVersion: '1.2' → '1.0'" in result.stdout
    assert f"approve {waiting.id} --plan {waiting.proposal.digest}" in result.stdout
    assert desk.run("findings").exit_code == 2
    assert desk.run("approve", waiting.id, "--plan", waiting.proposal.digest, "--by", "Robin").exit_code == 0
    asyncio.run(desk.world.run())
    assert desk.world.tls() == "1.0"
    told = desk.run("remediations").stdout
    assert f"proven, rolls back {kept.id}" in told
    assert "rolled_back" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["r-none", "--reason", "x"], "nothing is kept of a remediation r-none"),
        (["{id}", "--reason", "  "], "the reason is empty"),
        (["{id}", "--reason", "x", "--by", " "], "who decides is not known"),
        (["{id}", "--reason", "x", "--by", "\u200b"], "who decides is not known"),
    ],
)
def test_what_is_not_asked_says_why(desk, arguments, said):
    [kept] = desk.world.remediations.all
    result = desk.run("rollback", *(word.replace("{id}", kept.id) for word in arguments))
    assert result.exit_code == 1
    assert said in result.stderr
    assert desk.world.rollback() is None


def test_a_refused_rollback_leaves_a_line_in_the_audit_trail(desk):
    [kept] = desk.world.remediations.all
    desk.run("rollback", kept.id, "--reason", "x", "--by", "Kim")
    assert desk.world.audit.of("refused") == []
    for id_, why in (("r-none", "nothing is kept of"), (kept.id, "is asked for already")):
        assert desk.run("rollback", id_, "--reason", "x", "--by", "Kim").exit_code == 1
        line = desk.world.audit.of("refused")[-1]
        assert (line["command"], line["about"], line["by"]) == ("rollback", id_, "Kim (command line)")
        assert why in line["why"]


def test_nothing_from_azure_can_move_the_cursor(desk):
    [kept] = desk.world.remediations.all
    strange = {**kept.changes[0], "before": STRANGE, "path": [STRANGE]}
    desk.world.remediations.kept[kept.id] = replace(kept, changes=(strange,), undo=(strange,))
    for command in ("remediations", "remediations --output json", f"rollback {kept.id} --reason x"):
        result = desk.run(*command.split())
        assert all(c.isprintable() or c == "\n" for c in result.stdout + result.stderr), command


def test_a_rollback_has_no_plan_of_a_fix_and_no_exemption(desk):
    [kept] = desk.world.remediations.all
    desk.run("rollback", kept.id, "--reason", "old gateways", "--by", "Kim")
    waiting = desk.world.rollback()
    result = desk.run("exempt", waiting.id, "--until", "2026-12-24", "--reason", "x", "--owner", "jo")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is no drift but the rollback of a fix, and nothing is exempt by it" in result.stderr
    assert kept.findings[0] in result.stderr
    result = desk.run("plan", waiting.id)
    assert result.exit_code == 1
    assert f"is no drift but the rollback of a fix: `show {waiting.id}`" in result.stderr
