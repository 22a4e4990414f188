"""``policy validate|explain|schema`` and ``exempt``."""

from __future__ import annotations

import json

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from detectors import RULES
from hubwarden.domain.explain import lines_of
from hubwarden.domain.finding import State
from hubwarden.domain.limits import Ledger
from hubwarden.domain.policy import check_policy, policy_lines
from hubwarden.service.ports import Stored
from tests.unit.fakes import HUB, START, SUB
from tests.unit.test_cli import Desk


ROOT = Path(__file__).parents[2]
POLICY = f"""\
version: 1
subscriptions: [{SUB}]
rules:
  tls-minimum:
    mode: report
    scopes:
      - where: {{tags: {{env: prod}}}}
        mode: auto
      - where: {{tags: {{env: test}}}}
        mode: "off"
maintenance:
  - where: {{tags: {{env: prod}}}}
    windows:
      - {{from: "22:00", to: "23:00"}}
exemptions:
  - rule: sas-policies
    hub: {HUB.path}
    until: 2026-12-31
    reason: a migration
    owner: jo
"""


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path, rules=RULES)
    desk.policy.write_text(POLICY)
    desk.world.hubs.add(minTlsVersion="1.0")
    return desk


def explained(desk, *arguments):
    code, told = desk.json("policy", "explain", *arguments)
    assert code == 0
    return {each.pop("rule"): each for each in told["rules"]}


def test_a_good_file_is_right(desk):
    result = desk.run("policy", "validate", str(ROOT / "policy.sample.yaml"))
    assert (result.exit_code, result.stdout.rstrip()[-8:]) == (0, "is right")


def test_everything_that_is_wrong_is_told_with_its_line(desk, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(
        f"version: 1\nsubscriptions: [{SUB}]\ncolour: red\nrules:\n  tls-minimum: {{mode: sometimes}}\n"
    )
    result = desk.run("policy", "validate", str(file))
    assert result.exit_code == 1
    assert [line.partition(f"{file}: ")[2].partition(":")[0] for line in result.stdout.splitlines()] == [
        "line 3, colour",
        "line 5, rules.tls-minimum.mode",
    ]
    code, told = desk.json("policy", "validate", str(file))
    assert (code, told["usable"], [each["line"] for each in told["problems"]]) == (1, False, [3, 5])


def test_the_file_of_the_settings_is_checked_where_none_is_named_also_when_it_is_broken(desk):
    desk.policy.write_text(POLICY.partition("exemptions:")[0])
    assert desk.run("policy", "validate").exit_code == 0
    desk.policy.write_text("version: 2\n")
    result = desk.run("policy", "validate")
    assert result.exit_code == 1
    assert f"{desk.policy}: line 1, version" in result.stdout
    desk.policy.unlink()
    result = desk.run("policy", "validate")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be read" in result.stderr


def test_an_expired_exemption_is_a_problem_of_a_file_that_can_be_used(desk):
    desk.policy.write_text(POLICY.replace("2026-12-31", "2000-01-31"))
    code, told = desk.json("policy", "validate")
    assert (code, told["usable"], [each["expired"] for each in told["problems"]]) == (1, True, [True])


def test_the_schema_is_the_committed_one(desk):
    result = desk.run("policy", "schema")
    assert json.loads(result.stdout) == json.loads((ROOT / "docs" / "policy.schema.json").read_text())


def test_it_says_for_each_rule_what_would_happen_and_which_line_says_so(desk):
    told = explained(desk, HUB.path, "--tag", "env=prod")
    assert set(told) == {rule.id for rule in RULES}
    tls = told["tls-minimum"]
    assert (tls["mode"], tls["action"]) == ("auto", "hold")
    assert tls["lines"] == [
        {"place": "rules.tls-minimum.scopes[0].mode", "line": 8},
        {"place": "maintenance[0]", "line": 12},
    ]
    assert told["sas-policies"]["action"] == "exempt"
    assert told["sas-policies"]["lines"] == [{"place": "exemptions[0]", "line": 16}]
    assert told["diagnostics"]["lines"] == [{"place": "rules.diagnostics.mode", "line": None}]
    assert told["diagnostics"]["action"] == "report"


@pytest.mark.parametrize(
    ("tags", "mode", "action"),
    [(["env=test"], "off", None), (["env=dev"], "report", "report"), ([], "report", "report")],
)
def test_the_tags_decide_and_may_be_tried(desk, tags, mode, action):
    arguments = [part for tag in tags for part in ("--tag", tag)]
    told = explained(desk, HUB.path, "--rule", "tls-minimum", *arguments)["tls-minimum"]
    assert (told["mode"], told["action"]) == (mode, action)


def test_the_tags_are_those_of_the_last_look(desk):
    assert "tags are not known" in explained(desk, HUB.path)["tls-minimum"]["reason"]
    desk.world.hubs.hubs[HUB].body["tags"] = {"Env": "PROD", "owner": "jane@example.com"}
    desk.world.policy, _ = check_policy(POLICY, RULES, today=START.date())
    desk.sweep()
    assert desk.json("policy", "explain", "hub-1")[1]["tags"] == {"Env": "PROD"}
    assert explained(desk, "hub-1")["tls-minimum"]["mode"] == "auto"


def test_a_tag_that_the_file_did_not_ask_about_at_the_last_look_is_not_known(desk):
    desk.world.hubs.hubs[HUB].body["tags"] = {"tier": "gold"}
    desk.world.policy, _ = check_policy(POLICY, RULES, today=START.date())
    desk.sweep()
    edited = POLICY.replace("env: prod", "tier: silver").replace("mode: report", "mode: ticket")
    desk.policy.write_text(edited)
    code, told = desk.json("policy", "explain", "hub-1", "--rule", "tls-minimum")
    assert (code, told["tags"], told["tags_not_read"]) == (0, {}, ["tier"])
    assert "tags are not known" in told["rules"][0]["reason"]
    assert "not known until the hub is looked at again: tier" in desk.run("policy", "explain", "hub-1").stdout
    desk.world.policy, _ = check_policy(edited, RULES, today=START.date())
    desk.sweep()
    told = desk.json("policy", "explain", "hub-1", "--rule", "tls-minimum")[1]
    assert (told["tags"], told["tags_not_read"]) == ({"tier": "gold"}, [])
    assert told["rules"][0]["mode"] == "ticket"


def test_what_stops_the_machine_whatever_the_file_says_is_noted(tmp_path):
    desk = Desk(tmp_path, "auto")
    desk.world.hubs.add(minTlsVersion="1.0")
    desk.sweep()
    finding = desk.world.finding()
    assert desk.json("policy", "explain", "hub-1")[1]["notes"] == []
    desk.run("kill", "--reason", "odd")
    desk.run("hold", finding.id, "--reason", "mine")
    desk.world.safety.rows["ledger"] = Stored(Ledger(tripped="11 of the last 20"), "edited")
    [kill, tripped, held] = desk.json("policy", "explain", "hub-1")[1]["notes"]
    assert kill.startswith("the kill switch is on since")
    assert tripped == "all automatic fixing has stopped: 11 of the last 20"
    assert held == f"{finding.id} (tls-minimum) is held by robin (command line): mine"
    shown = desk.run("policy", "explain", "hub-1").stdout
    assert all(f"but now: {note}" in shown for note in (kill, tripped, held))


def test_people_read_the_action_the_reason_and_the_line(desk):
    result = desk.run("policy", "explain", HUB.path, "--tag", "env=prod", "--rule", "tls-minimum")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert "tls-minimum (mode auto): hold" in lines
    assert any("automatic fixes may run again from 2026-11-23 22:00 UTC on" in line for line in lines)
    assert f"  rules.tls-minimum.scopes[0].mode: {desk.policy}:8" in lines


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["hub-9"], "no hub named hub-9 is known"),
        ([HUB.path.replace(SUB, SUB.replace("0", "9"))], "is in no subscription that the policy file names"),
        ([HUB.path, "--rule", "tls"], "no rule tls; there are: "),
        ([HUB.path, "--tag", "env"], "--tag is written NAME=VALUE"),
    ],
)
def test_what_cannot_be_explained_is_said(desk, arguments, says):
    result = desk.run("policy", "explain", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr


def test_every_place_that_a_reason_can_name_is_found(desk):
    lines = policy_lines(POLICY)
    said = (
        "policy rules.tls-minimum.scopes[1].mode is off, but policy rules.tls-minimum.mode (policy "
        "maintenance[0]: x) policy accept_risk[0]; policy enforcement is observe; in policy of ours; policy "
        "exemptions_by_tag."
    )
    assert [(line.place, line.line) for line in lines_of(said, lines)] == [
        ("rules.tls-minimum.scopes[1].mode", 10),
        ("rules.tls-minimum.mode", 5),
        ("maintenance[0]", 12),
        ("accept_risk[0]", None),
        ("enforcement", None),
        ("exemptions_by_tag", None),
    ]


def found(desk, subject=""):
    desk.policy.write_text(POLICY.replace("mode: report", "mode: ticket"))
    desk.sweep()
    finding = replace(desk.world.findings.all[0], subject=subject)
    desk.world.findings.rows = {finding.id: Stored(finding, "e")}
    return finding


@pytest.mark.parametrize("subject", ["", "old-gateway"])
def test_exempt_prints_lines_that_make_the_finding_exempt_and_changes_nothing(desk, subject):
    finding = found(desk, subject)
    before = desk.policy.read_text()
    result = desk.run(
        "exempt", finding.id, "--until", "2027-01-31", "--reason", "off: a 'move'", "--owner", "jane.doe"
    )
    assert result.exit_code == 0
    assert "nothing was changed: add these lines" in result.stderr
    assert (desk.policy.read_text(), desk.world.findings.all) == (before, [finding])
    text = f"version: 1\nsubscriptions: [{SUB}]\nexemptions:\n{result.stdout}"
    policy, problems = check_policy(text, RULES, today=START.date())
    assert problems == []
    exempted = policy.exemption_of(finding.hub, finding.rule_id, START, subject=subject)
    assert (exempted.reason, exempted.owner) == ("off: a 'move'", "jane.doe")
    assert ("subject" in yaml.safe_load(result.stdout)[0]) is bool(subject)


@pytest.mark.parametrize(
    ("until", "reason", "owner", "says"),
    [
        ("2027-02-22", "r", "o", "must be a day from 2026-11-23 to 2027-02-21"),
        ("2026-11-22", "r", "o", "must be a day from"),
        ("soon", "r", "o", "--until must be a day such as"),
        ("2026-12-01", " ", "o", "the reason is empty"),
        ("2026-12-01", "\u200b", "o", "the reason is empty"),
        ("2026-12-01", "r", " ", "--owner says nothing"),
        ("2026-12-01", "r", "\u200b", "--owner says nothing"),
    ],
)
def test_exempt_prints_nothing_that_the_file_would_not_take(desk, until, reason, owner, says):
    result = desk.run("exempt", found(desk).id, "--until", until, "--reason", reason, "--owner", owner)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr


def test_exempt_of_nothing(desk):
    result = desk.run("exempt", "f-0", "--until", "2026-12-01", "--reason", "r", "--owner", "o")
    assert (result.exit_code, result.stdout) == (1, "")
    assert State.EXEMPT not in [finding.state for finding in desk.world.findings.all]
