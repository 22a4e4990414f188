"""Alerts, workbook and their log queries: bound by Microsoft's own parser, run on data, held to the telemetry."""

import json
import re
import shutil

from datetime import timedelta
from types import MappingProxyType

import pytest

from tests.infra import log_queries as logs
from tests.infra.bicep_values import evaluate


MODULES = logs.ROOT / "infra" / "modules"
DOC = logs.ROOT / "docs" / "watching.md"
QUERIES = logs.texts()

TELEMETRY = MappingProxyType({
    "hubwarden.findings": {"rule", "severity", "state", "age"},
    "hubwarden.fixes": {"rule", "outcome"},
    "hubwarden.time_to_detect": {"rule"},
    "hubwarden.time_to_fix": {"rule"},
    "hubwarden.arm_calls": {"kind", "outcome"},
    "hubwarden.arm_budget": {"kind"},
    "hubwarden.sweeps": {"complete"},
    "hubwarden.sweep.hubs": {"outcome"},
    "hubwarden.sweep.duration": set(),
    "hubwarden.approvals": {"rule", "due"},
    "hubwarden.breakers": {"kind"},
    "hubwarden.poison": {"queue"},
    "hubwarden.audit_unwritable": set(),
    "hubwarden.failures": {"function"},
    "hubwarden.events": {"outcome"},
})  # fmt: skip
LOG_FIELDS = {"invocation_id", "trace_id", "finding_id", "rule_id", "resource_id", "attempt", "actor"}

PERIODS = (
    "PT5M",
    "PT10M",
    "PT15M",
    "PT30M",
    "PT45M",
    "PT1H",
    "PT2H",
    "PT3H",
    "PT4H",
    "PT5H",
    "PT6H",
    "P1D",
    "P2D",
)
"""What Azure takes as a window, a frequency (but no two days) or a time to be mute."""


def rules(hours=2, group=""):
    given = {"noSweepHours": hours, "actionGroupId": group}
    return {rule["name"]: rule for rule in evaluate(MODULES / "alerts.bicep", "rules", given)}


def workbook():
    found = evaluate(MODULES / "workbook.bicep", "workbook", {"workspaceId": "/the/workspace"})
    return json.loads(found["properties"]["serializedData"])


ALERTS = MappingProxyType(rules())
TILES = MappingProxyType({item["name"]: item["content"] for item in workbook()["items"] if item["type"] == 3})


def short(title):
    """A tile's title up to its first mark."""
    return re.split(r"[,:;(]", title)[0].strip()


def condition(rule):
    [found] = rule["properties"]["criteria"]["allOf"]
    return found


FAULTS = (
    ("poison", "where Name ==", "where Nane ==", "The name 'Nane' does not refer to any known column"),
    ("poison", "AppMetrics", "AppMetric", "The name 'AppMetric' does not refer to any known table"),
    ("poison", "sum(Sum)", "summe(Sum)", "The name 'summe' does not refer to any known function"),
    ("poison", "| where Messages", "where Messages", "Expected: ;"),
    ("poison", "order by Messages", "order by Message", "The name 'Message' does not refer to any known column"),
    ("poison", '"hubwarden.poison"', '"hubwarden.poison', "Missing"),
    ("findings", "newest - 6m", '"yesterday"', "The operator '>' is not defined"),
    ("errors", "int(3)", "3", "The name 'SeverityLevel' does not refer to any known column"),
)


@pytest.fixture(scope="module")
def bound():
    if shutil.which("node") is None or not logs.BINDER.is_dir():
        pytest.skip("Microsoft's KQL parser is missing: npm ci")
    faulty = {f"{name}: {new}": QUERIES[name].replace(old, new) for name, old, new, _ in FAULTS}
    return logs.bind(QUERIES | faulty)


@pytest.mark.parametrize("name", QUERIES)
def test_microsofts_parser_has_nothing_to_say_against_a_query(bound, name):
    assert bound[name]["problems"] == []


@pytest.mark.parametrize(("name", "old", "new", "said"), FAULTS)
def test_a_fault_in_a_query_is_told(bound, name, old, new, said):
    assert old in QUERIES[name]
    assert any(said in problem for problem in bound[f"{name}: {new}"]["problems"])


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_asks_for_what_is_sent(name):
    code = logs.code(QUERIES[name])
    assert "Properties." not in code, "names of attributes are written as Properties[...]"
    metrics = set(re.findall(r'"(hubwarden\.[a-z_.]+)"', code))
    asked = set(re.findall(r'Properties\["([^"]+)"\]', code))
    assert metrics <= TELEMETRY.keys()
    assert metrics or "AppMetrics" not in code
    assert asked <= set().union(*(TELEMETRY[metric] for metric in metrics)) if metrics else asked <= LOG_FIELDS


def test_each_metric_is_asked_for():
    code = "".join(map(logs.code, QUERIES.values()))
    assert [metric for metric in TELEMETRY if f'"{metric}"' not in code] == []


def test_the_code_sends_what_is_written_here():
    telemetry = pytest.importorskip("hubwarden.service.telemetry")
    assert {metric.name: set(metric.attributes) for metric in telemetry.METRICS} == TELEMETRY


def test_each_query_is_used_and_says_where():
    for name, text in QUERIES.items():
        asked = logs.code(text).strip()
        alerts = [alert for alert, rule in ALERTS.items() if logs.code(condition(rule)["query"]).strip() == asked]
        tiles = [tile for tile, content in TILES.items() if logs.code(content["query"]).strip() == asked]
        said = "\n".join(line for line in text.splitlines() if line.startswith("//"))
        assert alerts or tiles, name
        assert re.findall(r"alert (hubwarden-[a-z-]+)", said) == alerts, name
        assert re.findall(r'"([^"]+)"', said) == list(map(short, tiles)), name


# Alerts


@pytest.mark.parametrize("alert", ALERTS)
def test_azure_takes_the_alert(alert):
    rule = ALERTS[alert]["properties"]
    window, frequency = rule["windowSize"], rule["evaluationFrequency"]
    assert window in PERIODS
    assert frequency in PERIODS[:-1]
    assert logs.period(frequency) <= logs.period(window)
    assert 0 <= rule["severity"] <= 4
    assert rule["autoMitigate"] is (rule["muteActionsDuration"] is None), "both together are refused"
    assert not rule["autoMitigate"] or logs.period(frequency) <= timedelta(hours=12)
    assert rule["muteActionsDuration"] in {None, *PERIODS}
    assert condition(ALERTS[alert])["failingPeriods"] == {
        "numberOfEvaluationPeriods": 1,
        "minFailingPeriodsToAlert": 1,
    }


@pytest.mark.parametrize("alert", ALERTS)
def test_azure_takes_the_alerts_query(alert):
    code = logs.code(condition(ALERTS[alert])["query"])
    for word in ("bag_unpack", "pivot", "narrow", "AggregatedValue", "search ", "take ", "ingestion_time"):
        assert word not in code, "not in the query of an alert"
    assert all(re.fullmatch(r"\d+[mhd]", span) for span in re.findall(r"ago\(([^)]*)\)", code)), "literals only"


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_measures_what_its_query_answers(bound, alert):
    asked = condition(ALERTS[alert])
    [answer] = [bound[name] for name, text in QUERIES.items() if text == asked["query"]]
    assert "datetime" not in answer["columns"].values(), "Azure would cut the answer into pieces by it"
    if asked["timeAggregation"] == "Count":
        assert asked["metricMeasureColumn"] is None
    else:
        assert answer["columns"][asked["metricMeasureColumn"]] in {"real", "long", "int"}


def test_alerts_go_to_the_action_group_if_there_is_one():
    assert {tuple(rule["properties"]["actions"]["actionGroups"]) for rule in ALERTS.values()} == {()}
    given = rules(group="/the/group").values()
    assert {tuple(rule["properties"]["actions"]["actionGroups"]) for rule in given} == {("/the/group",)}


@pytest.mark.parametrize("hours", [1, 24])
def test_the_hours_without_a_sweep_are_the_parameters(hours):
    rule = rules(hours)["hubwarden-no-sweep"]
    assert f"ago({hours}h)" in condition(rule)["query"]
    assert condition(rule)["query"].count("ago(") == 1
    assert logs.period(rule["properties"]["windowSize"]) >= timedelta(hours=hours)
    assert f"For {hours} hours" in rule["properties"]["description"]


# What they do with data

FIRES = (
    ("no-sweep", ()),
    ("no-sweep", (("sweeps", 1, 10, {"complete": "false"}),)),
    ("no-sweep", (("sweeps", 1, 121, {"complete": "true"}), ("sweeps", 1, 5, {"complete": "false"}))),
    ("audit", (("audit_unwritable", 1, 5, {}),)),
    ("breaker", (("breakers", 1, 300, {"kind": "errors"}), ("breakers", 0, 300, {"kind": "hubs"}))),
    ("breaker", (("breakers", 0, 20, {"kind": "hubs"}), ("breakers", 2, 5, {"kind": "hubs"}))),
    ("poison", (("poison", 1, 20, {"queue": "hubwarden-verify"}),)),
    ("failures", (("failures", 3, 50, {"function": "sweep"}), ("failures", 2, 10, {"function": "verify"}))),
    (
        "approvals",
        (("breakers", 0, 9, {"kind": "hubs"}), ("approvals", 1, 10, {"rule": "tls-minimum", "due": "soon"})),
    ),
    ("fixes", (("fixes", 1, 20, {"rule": "tls-minimum", "outcome": "no_effect"}),)),
    ("arm", (("arm_calls", 10, 20, {"kind": "read", "outcome": "throttled"}),)),
    ("arm", (("arm_budget", 200, 5, {"kind": "writes"}), ("arm_budget", 9, 20, {"kind": "reads"}))),
    ("dead-letters", (("events", 1, 20, {"outcome": "dead_letter"}),)),
)
RESTS = (
    ("no-sweep", (("sweeps", 1, 119, {"complete": "true"}), ("sweeps", 1, 5, {"complete": "false"}))),
    ("audit", ()),
    ("audit", (("audit_unwritable", 1, 16, {}),)),
    ("breaker", ()),
    ("breaker", (("breakers", 1, 20, {"kind": "errors"}), ("breakers", 0, 5, {"kind": "errors"}))),
    ("poison", ()),
    ("failures", ()),
    ("failures", (("failures", 4, 10, {"function": "sweep"}),)),
    ("failures", (("failures", 9, 61, {"function": "sweep"}),)),
    ("approvals", ()),
    ("approvals", (("breakers", 0, 9, {"kind": "hubs"}), ("approvals", 1, 10, {"rule": "r", "due": "later"}))),
    ("approvals", (("breakers", 0, 9, {"kind": "hubs"}), ("approvals", 1, 25, {"rule": "r", "due": "soon"}))),
    ("fixes", ()),
    (
        "fixes",
        (("fixes", 9, 5, {"rule": "r", "outcome": "proven"}), ("fixes", 9, 5, {"rule": "r", "outcome": "gone"})),
    ),
    ("arm", ()),
    (
        "arm",
        (("arm_calls", 9, 5, {"kind": "read", "outcome": "throttled"}), ("arm_budget", 10, 5, {"kind": "reads"})),
    ),
    ("arm", (("arm_calls", 999, 5, {"kind": "read", "outcome": "ok"}),)),
    ("dead-letters", ()),
    ("dead-letters", (("events", 9, 5, {"outcome": "routed"}),)),
)


def fires(alert, metrics):
    """Whether the alert fires now, as Azure works it out, where these values were sent."""
    rule = ALERTS[f"hubwarden-{alert}"]
    workspace = logs.Workspace()
    for name, value, minutes, attributes in metrics:
        workspace.metric(name, value, minutes=minutes, **attributes)
    workspace.forget(logs.period(rule["properties"]["windowSize"]))
    asked = condition(rule)
    rows = workspace.ask(asked["query"])
    column = asked["metricMeasureColumn"]
    value = len(rows) if column is None else sum(row[column] for row in rows)
    over = value > asked["threshold"]
    return over or (asked["operator"] == "GreaterThanOrEqual" and value == asked["threshold"])


@pytest.mark.parametrize(("alert", "metrics"), FIRES)
def test_it_fires(alert, metrics):
    assert fires(alert, metrics)


@pytest.mark.parametrize(("alert", "metrics"), RESTS)
def test_it_rests(alert, metrics):
    assert not fires(alert, metrics)


def test_each_alert_is_seen_to_fire_and_to_rest():
    assert (
        {name for name, _ in FIRES}
        == {name for name, _ in RESTS}
        == {n.removeprefix("hubwarden-") for n in ALERTS}
    )


@pytest.fixture
def workspace():
    return logs.Workspace()


def asked(workspace, query):
    return workspace.ask(QUERIES[query])


def test_findings_of_the_newest_sweep_are_shown_the_worst_first(workspace):
    kept = {"state": "open", "age": "<1d"}
    workspace.metric("breakers", 0, minutes=10, kind="hubs")
    workspace.metric("findings", 2, minutes=11, rule="a", severity="low", **kept)
    workspace.metric("findings", 3, minutes=11, rule="b", severity="critical", **kept)
    workspace.metric("findings", 5, minutes=26, rule="gone", severity="critical", **kept)
    found = [(row["Rule"], row["Severity"], row["Findings"]) for row in asked(workspace, "findings")]
    assert found == [("b", "critical", 3), ("a", "low", 2)]


def test_a_sweep_without_findings_leaves_none(workspace):
    workspace.metric("findings", 5, minutes=26, rule="a", severity="low", state="open", age="<1d")
    workspace.metric("breakers", 0, minutes=10, kind="hubs")
    assert asked(workspace, "findings") == []


def test_findings_of_two_sweeps_in_an_hour_are_not_added_up(workspace):
    hour = workspace.now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    for minute, number in ((5, 4), (20, 3)):
        age = (workspace.now - hour).total_seconds() / 60 - minute
        workspace.metric("findings", number, minutes=age, rule="a", severity="low", state="open", age="<1d")
        workspace.metric("findings", 1, minutes=age, rule="b", severity="low", state="open", age="<1d")
    assert asked(workspace, "findings-trend") == [{"Time": hour, "Severity": "low", "Findings": 5}]


@pytest.mark.parametrize(("query", "metric", "count"), [
    ("time-to-detect", "time_to_detect", "Drifts"), ("time-to-fix", "time_to_fix", "Fixes"),
])  # fmt: skip
def test_times_are_mean_lowest_and_highest_of_all(workspace, query, metric, count):
    row = {"Name": f"hubwarden.{metric}"}
    workspace.add("AppMetrics", attributes={"rule": "a"}, Sum=30.0, Min=5.0, Max=20.0, ItemCount=3, **row)
    workspace.add("AppMetrics", attributes={"rule": "a"}, Sum=70.0, Min=70.0, Max=70.0, ItemCount=1, **row)
    assert asked(workspace, query) == [{"Rule": "a", count: 4, "Mean": 25.0, "Lowest": 5.0, "Highest": 70.0}]


def test_coverage_is_the_newest_sweeps(workspace):
    for minutes, judged in ((20, 1), (5, 9)):
        for outcome, number in (("judged", judged), ("unknown", 3), ("dead", 2)):
            workspace.metric("sweep.hubs", number, minutes=minutes, outcome=outcome)
    [row] = asked(workspace, "coverage")
    assert (row["All"], row["Judged"], row["Dead"], row["Percent"]) == (12, 9, 2, 75.0)


def test_approvals_are_split_by_their_time(workspace):
    workspace.metric("breakers", 0, kind="hubs")
    workspace.metric("approvals", 2, rule="a", due="soon")
    workspace.metric("approvals", 5, rule="a", due="later")
    assert asked(workspace, "approvals") == [{"Rule": "a", "Soon": 2, "Later": 5}]


def test_an_exception_and_a_warning_are_told_with_their_hub(workspace):
    about = {"resource_id": "/hub", "rule_id": "a"}
    workspace.add("AppTraces", minutes=3, attributes=about, Message="a warning", SeverityLevel=2)
    workspace.add("AppTraces", minutes=2, attributes=about, Message="an information", SeverityLevel=1)
    workspace.add("AppExceptions", minutes=1, attributes=about, OuterMessage="it broke")
    found = [(row["Severity"], row["Message"], row["Hub"]) for row in asked(workspace, "errors")]
    assert found == [("error", "it broke", "/hub"), ("warning", "a warning", "/hub")]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_runs_on_an_empty_workspace(workspace, query):
    if any(word in QUERIES[query] for word in logs.ENGINE_LACKS):
        pytest.skip("DuckDB's translation lacks a function; Microsoft's parser binds the query")
    assert len(asked(workspace, query)) == (query == "no-sweep")


# The workbook


def test_the_workbook_asks_within_its_time_range():
    parameters, *items = workbook()["items"]
    assert [p["name"] for p in parameters["content"]["parameters"]] == ["TimeRange"]
    assert {item["type"] for item in items} == {1, 3}
    for tile in TILES.values():
        assert tile["timeContextFromParameter"] == "TimeRange"
        assert tile["crossComponentResources"] == ["/the/workspace"]
        assert tile["query"] in QUERIES.values()
        assert "{" not in tile["query"], "the workbook would take it for a parameter"


def test_a_chart_has_a_time_and_a_number(bound):
    for name, tile in TILES.items():
        [query] = [query for query, text in QUERIES.items() if text == tile["query"]]
        columns = bound[query]["columns"]
        if tile["visualization"] != "table":
            assert "datetime" in columns.values(), name
            assert {"real", "long"} & set(columns.values()), name


# The docs


def anchors():
    heads = re.findall(r"^##+ (.+)$", DOC.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_where_its_docs_are(alert):
    rule = ALERTS[alert]["properties"]
    [anchor] = re.findall(r"docs/watching\.md#(\S+)$", rule["description"])
    assert anchor in anchors()
    text = DOC.read_text(encoding="utf-8")
    assert re.search(rf"\| `{alert}` \| {rule['severity']} \|", text)


def test_the_docs_list_each_tile():
    text = DOC.read_text(encoding="utf-8")
    assert [tile for tile in TILES if f"| {short(tile)} |" not in text] == []
