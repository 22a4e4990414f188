"""The operator's command line over fakes: what it prints, what it decides, and how it ends."""

from __future__ import annotations

import asyncio
import json

from dataclasses import replace
from datetime import timedelta

import pytest

from typer.testing import CliRunner

from detectors import RULES as ALL_RULES
from hubwarden.bootstrap import Hubwarden
from hubwarden.cli.app import app, main
from hubwarden.cli.screen import plain
from hubwarden.cli.surroundings import Surroundings
from hubwarden.domain.finding import Actor, State
from hubwarden.domain.severity import Severity
from hubwarden.service.errors import DeniedError, StorageUnavailableError, TransientError
from hubwarden.service.messages import EvaluateMessage, RemediateMessage, SweepMessage
from hubwarden.service.ports import DeviceCount, HubRecord, StateRecord, Stored, SweepRecord
from tests.unit.fakes import HUB, START, SUB, SUB2, World, hub_id


STORAGE = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:9/a"
STRANGE = "\x1b[31m[red]rogue\u202e\n"


class Closing(Hubwarden):
    closed = False

    async def close(self):
        self.closed = True
        await super().close()


class Desk:
    """A terminal before a world: commands go in, exit codes and texts come out."""

    def __init__(self, tmp_path, mode="approve", *, rules=None):
        self.world = World(mode, **({"rules": rules} if rules else {}))
        self.policy = tmp_path / "policy.yaml"
        modes = "".join(f"  {rule.id}: {{mode: {mode}}}\n" for rule in self.world.rules)
        self.policy.write_text(f"version: 1\nsubscriptions: [{SUB}]\nrules:\n{modes}")
        self.env = {
            "AzureWebJobsStorage": STORAGE,
            "HUBWARDEN_POLICY": str(self.policy),
            "SWEEP_SCHEDULE": "0 0 */6 * * *",
        }
        self.around = Surroundings(
            env=self.env, compose=self.compose, is_terminal=lambda: self.terminal, user=lambda: "robin"
        )
        self.terminal = False
        self.composed = []

    def compose(self, env):
        world = self.world
        service = Closing(
            env, hubs=world.hubs, findings=world.findings, records=world.records, work=world.work,
            audit=world.audit, graveyard=world.graveyard, lists=world.lists, tickets=world.tickets,
            dead_letters=world.dead_letters, remediations=world.remediations, safety=world.safety,
            state=world.schema, clock=world.clock, rules=world.rules, remediators=world.remediators,
        )  # fmt: skip
        self.composed.append(service)
        return service

    def run(self, *arguments, answer=None):
        return CliRunner(env={"COLUMNS": "300"}).invoke(app, [*arguments], obj=self.around, input=answer)

    def json(self, *arguments):
        result = self.run(*arguments, "--output", "json")
        return result.exit_code, json.loads(result.stdout)

    def sweep(self):
        """Only of the subscription that the policy file names."""
        record = asyncio.run(self.world.sweep())
        self.world.records.sweeps[-1] = replace(record, subscriptions=(SUB,))

    def change(self, **changes):
        finding = replace(self.world.finding(), **changes)
        self.world.findings.rows[self.world.finding().id] = Stored(finding, "edited")
        return finding


@pytest.fixture
def desk(tmp_path):
    """A hub whose TLS minimum was lowered; its plan waits."""
    desk = Desk(tmp_path)
    desk.world.hubs.add(minTlsVersion="1.0")
    desk.sweep()
    assert desk.world.state() is State.AWAITING_APPROVAL
    return desk


@pytest.fixture
def clean(tmp_path):
    desk = Desk(tmp_path)
    desk.world.hubs.add()
    desk.sweep()
    return desk


def plan_of(desk):
    return desk.world.finding().proposal.digest


# --- findings


def test_a_drift_ends_with_2_and_is_listed_with_all_that_one_sorts_by(desk):
    result = desk.run("findings")
    assert result.exit_code == 2
    [line] = [line for line in result.stdout.splitlines() if line.startswith("f-")]
    assert line.split()[:5] == [desk.world.finding().id, "high", "hub-1", "tls-minimum", "awaiting_approval"]
    assert "2026-11-23 09:00" in line
    assert line.split()[-1] == "1"


def test_a_clean_world_ends_with_0(clean):
    result = clean.run("findings")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "No drift is known." in result.stdout


def test_the_json_of_findings_is_what_the_documentation_says(desk):
    code, told = desk.json("findings")
    finding = desk.world.finding()
    assert code == 2
    assert told["findings"] == [{
        "id": finding.id,
        "hub": HUB.path,
        "rule": "tls-minimum",
        "subject": "",
        "severity": "high",
        "state": "awaiting_approval",
        "summary": finding.summary,
        "first_seen": finding.first_seen.isoformat(),
        "last_seen": finding.last_seen.isoformat(),
        "held": None,
        "occurrences": 1,
        "plan": plan_of(desk),
        "exemption": None,
    }]  # fmt: skip
    assert told["not_judged"] == []
    assert told["dead"] == {}
    assert told["warnings"] == []
    assert set(told["last_sweep"]) == {"started_at", "finished_at", "complete", "summary"}


def test_the_worst_comes_first_and_then_the_oldest(desk):
    finding = desk.world.finding()
    for name, severity, age in [("b", "low", 9), ("c", "critical", 1), ("d", "high", 5)]:
        other = replace(
            finding, hub=hub_id(name), severity=Severity(severity), first_seen=START - timedelta(days=age)
        )
        desk.world.findings.rows[other.id] = Stored(other, "e")
    _, told = desk.json("findings")
    assert [entry["hub"].rpartition("/")[2] for entry in told["findings"]] == ["c", "d", "hub-1", "b"]


def test_what_is_resolved_is_listed_only_when_it_is_asked_for(desk):
    desk.change(state=State.RESOLVED)
    code, told = desk.json("findings")
    assert (code, told["findings"]) == (0, [])
    code, told = desk.json("findings", "--all")
    assert (code, [entry["state"] for entry in told["findings"]]) == (0, ["resolved"])


RECORD = HubRecord(HUB, looked_at=START, verdicts={"tls-minimum": "compliant"})
SWEEP = SweepRecord((SUB,), START - timedelta(minutes=2), START - timedelta(minutes=1), 1, 1, 0, {})
DENIED = "403: no right"


@pytest.mark.parametrize(
    ("record", "sweep", "not_judged"),
    [
        pytest.param(RECORD, SWEEP, [], id="all was judged"),
        pytest.param(
            replace(RECORD, unknown={"tls-minimum": DENIED}),
            SWEEP,
            [(HUB.path, "tls-minimum", DENIED)],
            id="unknown",
        ),
        pytest.param(replace(RECORD, unknown={"gone-rule": DENIED}), SWEEP, [], id="a rule that is no more"),
        pytest.param(replace(RECORD, verdicts={}), SWEEP, [(HUB.path, "tls-minimum", "new to")], id="a new rule"),
        pytest.param(HubRecord(HUB), SWEEP, [(HUB.path, None, "not looked at yet")], id="known, never seen"),
        pytest.param(
            RECORD,
            replace(SWEEP, unknown={f"/subscriptions/{SUB}": DENIED}),
            [(f"/subscriptions/{SUB}", None, DENIED)],
            id="a subscription that could not be listed",
        ),
        pytest.param(
            replace(RECORD, looked_at=START - timedelta(days=1)),
            replace(SWEEP, unknown={HUB.path: DENIED}),
            [(HUB.path, None, DENIED)],
            id="the sweep missed a hub that was judged before",
        ),
        pytest.param(
            RECORD, replace(SWEEP, unknown={HUB.path: DENIED}), [], id="judged since the sweep missed it"
        ),
        pytest.param(
            replace(RECORD, looked_at=SWEEP.started_at, unknown={"tls-minimum": DENIED}),
            replace(SWEEP, unknown={HUB.path: f"tls-minimum: {DENIED}"}),
            [(HUB.path, "tls-minimum", DENIED)],
            id="the sweep and the record tell of the same",
        ),
        pytest.param(
            RECORD,
            replace(SWEEP, subscriptions=()),
            [(f"/subscriptions/{SUB}", None, "did not look")],
            id="not swept",
        ),
        pytest.param(RECORD, None, [("/subscriptions", None, "no sweep yet")], id="never swept"),
    ],
)
def test_what_could_not_be_judged_is_told_apart_and_ends_with_1(tmp_path, record, sweep, not_judged):
    desk = Desk(tmp_path)
    desk.world.records.rows[HUB] = Stored(record, "e")
    desk.world.records.sweeps += [sweep] if sweep else []
    code, told = desk.json("findings")
    assert [(entry["path"], entry["rule"]) for entry in told["not_judged"]] == [
        (path, rule) for path, rule, _ in not_judged
    ]
    for entry, (_, _, reason) in zip(told["not_judged"], not_judged, strict=True):
        assert reason in entry["reason"]
    assert code == (1 if not_judged or not sweep.complete else 0)
    assert ("Not judged" in desk.run("findings").stdout) is bool(not_judged)


def test_drift_goes_before_what_could_not_be_judged(desk):
    other = hub_id("hub-2")
    desk.world.records.rows[other] = Stored(HubRecord(other), "e")
    code, told = desk.json("findings")
    assert (code, len(told["not_judged"])) == (2, 1)


def test_a_hub_that_nobody_watches_any_more_is_not_missed(clean):
    other = hub_id("hub-2", SUB2)
    clean.world.records.rows[other] = Stored(HubRecord(other), "e")
    assert clean.json("findings")[0] == 0


def test_a_dead_hub_is_told_apart(clean):
    record = clean.world.record()
    clean.world.records.rows[HUB] = Stored(replace(record, unknown={"tls-minimum": "the hub is dead"}), "e")
    last = clean.world.records.sweeps[-1]
    clean.world.records.sweeps[-1] = replace(last, dead={HUB.path: "the hub is ActivationFailed"})
    code, told = clean.json("findings")
    assert (code, told["not_judged"], list(told["dead"])) == (0, [], [HUB.path])
    assert "Out of service: hub-1" in clean.run("findings").stdout


def test_a_service_that_does_not_sweep_any_more_is_not_clean(clean):
    clean.world.clock.turn(days=2)
    result = clean.run("findings")
    assert result.exit_code == 1
    assert "a sweep is overdue" in result.stderr


# --- show


def test_show_tells_the_plan_its_warnings_and_how_to_decide(desk):
    finding = desk.world.finding()
    result = desk.run("show", finding.id)
    assert result.exit_code == 0
    for text in (
        "properties.minTlsVersion: '1.0' → '1.2'",
        *(f"Note: {warning}" for warning in finding.proposal.warnings),
        f"approve {finding.id} --plan {plan_of(desk)}",
        f"reject {finding.id} --plan {plan_of(desk)} --reason TEXT",
        "not known; no event told",
    ):
        assert text in result.stdout


def test_the_json_of_show_holds_everything(desk):
    desk.change(actor=Actor(name="Jo Doe"), changed_at=START)
    code, told = desk.json("show", desk.world.finding().id)
    assert code == 0
    assert told["proposal"]["plan"] == plan_of(desk)
    assert told["proposal"]["changes"][0]["path"] == ["properties", "minTlsVersion"]
    assert (told["changed_by"], told["changed_at"]) == ("Jo Doe", START.isoformat())
    assert [step["state"] for step in told["history"]] == ["open", "awaiting_approval"]
    assert told["approval"] is None
    assert told["evidence"]


def test_on_a_narrow_screen_nothing_is_cut(desk):
    for command in (("findings",), ("show", desk.world.finding().id)):
        narrow = CliRunner(env={"COLUMNS": "60"}).invoke(app, command, obj=desk.around).stdout
        assert "…" not in narrow
    assert HUB.name in "".join(narrow.split())
    assert HUB.path in "".join(narrow.split())


# --- approve and reject


def test_a_yes_is_entered_with_who_and_why_and_the_fix_is_started(desk):
    finding = desk.world.finding()
    result = desk.run("approve", finding.id, "--plan", plan_of(desk), "--reason", " it is\n planned ")
    assert (result.exit_code, result.stderr) == (0, "")
    assert desk.world.state() is State.APPROVED
    assert desk.world.finding().history[-1].reason == "approved by robin (command line): it is planned"
    assert len(desk.world.work.of(RemediateMessage)) == 1


def test_a_no_is_entered_and_nothing_is_started(desk):
    result = desk.run(
        "reject", desk.world.finding().id, "--plan", plan_of(desk), "--reason", "a test", "--by", "Kim Doe"
    )
    assert result.exit_code == 0
    assert desk.world.state() is State.REJECTED
    assert desk.world.finding().history[-1].reason == "rejected by Kim Doe (command line): a test"
    assert desk.world.work.of(RemediateMessage) == []


def test_without_a_terminal_nobody_approves_what_they_have_not_seen(desk):
    result = desk.run("approve", desk.world.finding().id)
    assert result.exit_code == 1
    assert "'1.0' → '1.2'" in result.stdout
    assert f"--plan {plan_of(desk)}" in result.stderr
    assert desk.world.state() is State.AWAITING_APPROVAL


@pytest.mark.parametrize(
    ("answer", "state"), [("y\n", "approved"), *((text, "awaiting_approval") for text in ("n\n", "\n", ""))]
)
def test_on_a_terminal_the_plan_is_shown_and_then_asked_about(desk, answer, state):
    desk.terminal = True
    result = desk.run("approve", desk.world.finding().id, answer=answer)
    assert "'1.0' → '1.2'" in result.stdout
    assert desk.world.state() == state
    assert result.exit_code == (0 if state == "approved" else 1)


def test_a_plan_that_changes_while_one_thinks_is_not_approved(desk):
    desk.terminal = True
    finding = desk.world.finding()

    def others():
        desk.change(proposal=replace(finding.proposal, digest="sha256:another"))
        return True

    desk.around = replace(desk.around, is_terminal=others)
    result = desk.run("approve", finding.id, answer="y\n")
    assert result.exit_code == 1
    assert "asks about plan sha256:another by now" in result.stderr
    assert desk.world.state() is State.AWAITING_APPROVAL


@pytest.mark.parametrize("command", ["approve", "reject"])
@pytest.mark.parametrize(
    ("finding", "plan", "said"),
    [
        ("f-0", None, "there is no finding f-0"),
        (None, "sha256:0", "not about sha256:0"),
    ],
)
def test_a_word_on_something_else_changes_nothing(desk, command, finding, plan, said):
    id_ = finding or desk.world.finding().id
    result = desk.run(command, id_, "--plan", plan or plan_of(desk), "--reason", "r")
    assert result.exit_code == 1
    assert said in result.stderr
    assert desk.world.state() is State.AWAITING_APPROVAL


@pytest.mark.parametrize("command", ["approve", "reject"])
def test_what_does_not_wait_any_more_cannot_be_decided(desk, command):
    digest = plan_of(desk)
    desk.change(state=State.TICKETED)
    result = desk.run(command, desk.world.finding().id, "--plan", digest, "--reason", "r")
    assert result.exit_code == 1
    assert "does not wait for an approval, it is ticketed" in result.stderr


def test_two_who_decide_at_once_cannot_both_win(desk):
    finding = desk.world.finding()
    find = desk.world.findings.find

    async def overtaken(id_):
        stored = await find(id_)
        desk.world.findings.rows[id_] = Stored(stored.value, "newer")
        return stored

    desk.world.findings.find = overtaken
    result = desk.run("approve", finding.id, "--plan", plan_of(desk))
    assert result.exit_code == 1
    assert result.stderr == "somebody else has just decided or changed it: look again\n"
    assert desk.world.work.of(RemediateMessage) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("reject", "--plan", "p", "--reason", " \n"),
        ("approve", "--plan", "p", "--by", " "),
        ("approve", "--plan", "p", "--reason", ""),
    ],
)
def test_who_and_why_are_said_in_words(desk, arguments):
    command, *options = arguments
    result = desk.run(command, desk.world.finding().id, *options)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert desk.world.state() is State.AWAITING_APPROVAL


def test_where_nobody_is_signed_in_a_name_is_asked_for(desk):
    def nobody():
        raise OSError("no user")

    desk.around = replace(desk.around, user=nobody)
    result = desk.run("approve", desk.world.finding().id, "--plan", plan_of(desk))
    assert (result.exit_code, result.stderr) == (1, "who decides is not known: say it with --by NAME\n")


# --- count


@pytest.fixture
def devices(tmp_path):
    desk = Desk(tmp_path, "report", rules=[rule for rule in ALL_RULES if rule.id == "defender-devices"])
    desk.world.hubs.add()
    desk.world.records.rows[HUB] = Stored(HubRecord(HUB), "e")
    return desk


@pytest.mark.parametrize("name", ["hub-1", "HUB-1", HUB.path.upper()])
@pytest.mark.parametrize("count", [None, DeviceCount(START, {"counts": {}}), DeviceCount(START, None, "403")])
def test_a_hub_is_counted_when_an_operator_asks_whatever_came_of_the_last_count(devices, name, count):
    devices.world.records.rows[HUB] = Stored(HubRecord(HUB, count=count), "e")
    devices.world.clock.turn(minutes=1)
    assert devices.run("count", name).exit_code == 0
    [message] = devices.world.work.of(EvaluateMessage)
    assert message.hub == HUB.path
    asyncio.run(devices.world.run(until=timedelta(seconds=1)))
    assert devices.world.hubs.count("query") > 0
    assert devices.world.record().count.at > START + timedelta(seconds=59)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hub-9", "no hub named hub-9 is known"),
        (hub_id("x", SUB2).path, "no subscription that the policy file names"),
    ],
)
def test_a_hub_that_is_not_ours_is_not_counted(devices, name, said):
    result = devices.run("count", name)
    assert result.exit_code == 1
    assert said in result.stderr
    assert devices.world.work.of(EvaluateMessage) == []


def test_where_no_rule_wants_a_count_the_operator_is_told(clean):
    result = clean.run("count", "hub-1")
    assert result.exit_code == 1
    assert "no rule wants devices counted" in result.stderr


def test_a_refused_decision_leaves_a_line_in_the_audit_trail(desk):
    assert desk.run("approve", desk.world.finding().id, "--plan", "sha256:x").exit_code == 1
    [line] = desk.world.audit.of("approval_refused")
    assert (line["via"], line["status"]) == ("command line", 409)
    assert "asks about plan" in line["why"]


# --- plan and sweep


def test_a_plan_is_made_from_the_hub_as_it_is_now_and_writes_nothing(tmp_path):
    desk = Desk(tmp_path, "report")
    desk.world.hubs.add(minTlsVersion="1.0")
    desk.sweep()
    desk.world.hubs.change(value="1.1")
    before, log = desk.world.finding(), [*desk.world.log]
    result = desk.run("plan", before.id)
    assert result.exit_code == 0, result.stderr
    assert "properties.minTlsVersion: '1.1' → '1.2'" in result.stdout
    assert "nothing was changed" in result.stdout
    assert "Policy now: report: policy rules.tls-minimum.mode is report" in result.stdout
    code, told = desk.json("plan", before.id)
    assert (code, told["decision"], told["proposal"]["changes"][0]["before"]) == (0, "report", "1.1")
    assert desk.world.finding() == before
    assert desk.world.log == log


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda world: world.hubs.change(value="1.2"), "does not show this drift any more"),
        (lambda world: world.hubs.faults["get"].append(TransientError("503")), "cannot be read: 503"),
        (lambda world: world.hubs.faults["get"].append(DeniedError("403")), "cannot be judged on"),
        (lambda world: setattr(world, "remediators", {}), "has no fix that a machine can make"),
    ],
)
def test_where_there_is_no_plan_it_is_said_why(desk, spoil, said):
    finding = desk.world.finding().id
    spoil(desk.world)
    result = desk.run("plan", finding)
    assert result.exit_code == 1
    assert said in result.stderr
    assert desk.run("plan", "f-0").stderr == "there is no finding f-0\n"


def test_an_operator_has_every_hub_looked_at_now(clean):
    clean.world.hubs.change(value="1.0")
    assert clean.run("sweep", "now").exit_code == 0
    [message] = clean.world.work.of(SweepMessage)
    assert message.subscription == "all"
    asyncio.run(clean.world.run(until=timedelta(seconds=1)))
    assert len(clean.world.records.sweeps) == 2
    assert clean.world.state() is not None


# --- what goes wrong


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"HUBWARDEN_CLOUD": "moon"}, "HUBWARDEN_CLOUD is 'moon'"),
        ({"AzureWebJobsStorage": ""}, "no storage account: set AzureWebJobsStorage__accountName"),
        ({"HUBWARDEN_POLICY": "/nowhere/policy.yaml"}, "/nowhere/policy.yaml: cannot be read"),
    ],
)
@pytest.mark.parametrize("command", [("findings",), ("show", "f-1"), ("approve", "f-1"), ("count", "h")])
def test_wrong_settings_are_one_clear_message(desk, env, said, command):
    if "AzureWebJobsStorage" in env:
        desk.around = replace(desk.around, compose=Hubwarden)
    desk.env.update(env)
    result = desk.run(*command)
    assert result.exit_code == 1
    assert result.stderr.startswith(said.split(":")[0])
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_storage_that_does_not_answer_is_one_clear_message(desk):
    async def down(_):
        raise StorageUnavailableError("table hubwardenfindings: HTTP 503")

    desk.world.findings.find = down
    result = desk.run("show", "f-1")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert result.stderr.startswith("table hubwardenfindings: HTTP 503 (")
    assert "`az login`" in result.stderr


def test_settings_of_a_file_lie_under_those_of_the_environment(desk, tmp_path):
    file = tmp_path / "local.settings.json"
    file.write_text(json.dumps({"IsEncrypted": False, "Values": {**desk.env, "HUBWARDEN_CLOUD": "moon"}}))
    stored = dict(desk.env)
    desk.env.clear()
    assert "HUBWARDEN_CLOUD is 'moon'" in desk.run("--settings", str(file), "findings").stderr
    desk.env.update(HUBWARDEN_CLOUD="public")
    assert desk.run("--settings", str(file), "findings").exit_code == 2
    assert stored.items() <= desk.env.items()


@pytest.mark.parametrize(
    "content", [None, "{", "[]", '{"Values": []}', '{"IsEncrypted": true, "Values": {"A": "b"}}']
)
def test_a_file_that_holds_no_settings_is_refused(desk, tmp_path, content):
    file = tmp_path / "local.settings.json"
    if content is not None:
        file.write_text(content)
    result = desk.run("--settings", str(file), "findings")
    assert result.exit_code == 1
    assert result.stderr.startswith(str(file))
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], ["fly"], ["findings", "--output", "xml"], ["reject", "f-1"], ["show"]])
def test_a_wrong_command_line_does_not_look_like_drift(arguments, capsys):
    assert main(arguments) == 1
    assert "--help" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["findings", "--help"]])
def test_help_is_no_trouble(arguments, capsys):
    assert main(arguments) == 0
    assert "findings" in capsys.readouterr().out


# --- what came from Azure


def test_nothing_from_azure_can_move_the_cursor_or_pass_for_markup(desk):
    change = {**desk.world.finding().proposal.changes[0], "before": STRANGE}
    proposal = replace(desk.world.finding().proposal, changes=(change,), warnings=(STRANGE,))
    step = replace(desk.world.finding().history[0], reason=STRANGE)
    desk.change(
        subject=STRANGE, summary=STRANGE, proposal=proposal, history=(step,), actor=Actor(name=STRANGE),
        evidence={"policy": STRANGE, "others": [STRANGE]},
    )  # fmt: skip
    [(id_, stored)] = desk.world.findings.rows.items()
    desk.world.records.rows[HUB] = Stored(replace(desk.world.record(), unknown={"tls-minimum": STRANGE}), "e")
    for command in (("findings",), ("show", id_), ("approve", id_), ("findings", "--output", "json")):
        result = desk.run(*command)
        assert result.exit_code in {0, 1, 2}
        for text in (result.stdout, result.stderr):
            assert all(c.isprintable() or c == "\n" for c in text), command
    assert stored.value.subject == STRANGE
    assert "\\x1b[31m[red]rogue\\u202e\\n" in desk.run("show", id_).stdout


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ünï → 機", "Ünï → 機"),
        ("a\x1bb", "a\\x1bb"),
        ("\x9b1m", "\\x9b1m"),
        ("\ud800", "\\ud800"),
        ("[b]", "[b]"),
    ],
)
def test_what_prints_stays_and_what_does_not_is_made_visible(text, shown):
    assert plain(text) == shown


def test_every_composition_is_closed(desk):
    desk.run("findings")
    desk.run("approve", "f-0", "--plan", "p")
    assert [service.closed for service in desk.composed] == [True, True]


# --- another version


CHANGING = [
    ["approve", "{id}", "--plan", "{plan}", "--reason", "r", "--by", "robin"],
    ["reject", "{id}", "--plan", "{plan}", "--reason", "r", "--by", "robin"],
    ["hold", "{id}", "--reason", "r", "--by", "robin"],
    ["release", "{id}", "--by", "robin"],
    ["resume", "--by", "robin"],
    ["breaker", "reset", "--by", "robin"],
    ["sweep", "now"],
    ["count", "hub-1"],
]


@pytest.mark.parametrize("command", CHANGING, ids=lambda command: command[0])
@pytest.mark.parametrize(("newest", "record"), [(1, 2), (2, 1)])
def test_a_command_line_of_another_version_changes_nothing(desk, command, newest, record):
    words = [word.format(id=desk.world.finding().id, plan=plan_of(desk)) for word in command]
    desk.world.schema.newest = newest
    desk.world.schema.rows["state"] = Stored(StateRecord(record, "9.9.9", START), "etag")
    before = dict(desk.world.findings.rows), list(desk.world.work.letters), list(desk.world.audit.lines)
    result = desk.run(*words)
    assert result.exit_code == 1
    assert "nothing was changed: the stored state is of version" in result.stderr
    assert "use the command line of the app's own version" in result.stderr
    assert before == (desk.world.findings.rows, desk.world.work.letters, desk.world.audit.lines)


def test_to_kill_works_without_a_policy_file(desk):
    desk.env["HUBWARDEN_POLICY"] = "no-such-file.yaml"
    assert "cannot be read" in desk.run("resume", "--by", "robin").stderr
    assert desk.run("kill", "--reason", "odd", "--by", "robin").exit_code == 0
    assert desk.world.safety.rows["kill"].value.on


def test_to_kill_works_whatever_the_version(desk):
    desk.world.schema.rows["state"] = Stored(StateRecord(2, "9.9.9", START), "etag")
    assert desk.run("kill", "--reason", "odd", "--by", "robin").exit_code == 0
    assert desk.world.safety.rows["kill"].value.on
