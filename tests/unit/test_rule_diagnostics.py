"""diagnostics, on settings written for it (tests/cases/diagnostics), made-up ones, and every recorded one."""

from __future__ import annotations

import copy
import json

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from detectors.diagnostics import RULE, Settings, detect
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import ABSENT, same
from hubwarden.domain.plan import Plan, PlanError, Target
from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from hubwarden.domain.verdict import Compliant, Drift, Unknown
from remediators.diagnostics import NAME, REMEDIATOR


ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT / "../shared/data/recordings/diagnosticSettings"
CASES = {
    path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "tests/cases/diagnostics").glob("*.json"))
}
VERDICTS = {"compliant": Compliant, "drift": Drift, "unknown": Unknown}
NOW = datetime(2026, 11, 23, tzinfo=UTC)
HUB = HubId("s", "g", "contoso-hub")
BODY = CASES["compliant-group"]["hub"]


def snapshot(data, hub=BODY):
    return Snapshot(HUB, NOW, {Facet.HUB: hub, Facet.DIAGNOSTICS: data})


def judged(data, settings, hub=BODY):
    (verdict,) = detect(snapshot(data, hub), settings)
    return verdict


def planned(data, settings):
    return Plan(HUB, "etag", tuple(REMEDIATOR.plan(Drift("drift"), snapshot(data), settings)))


def applied(data, plan):
    """What Azure would show afterwards; that it took the write proves that the destination is there."""
    (change,) = plan.changes
    made = copy.deepcopy(data)
    kept = [setting for setting in made["settings"] if setting["name"].lower() != change.path[0]]
    made["settings"] = [*kept, {"name": change.path[0], "properties": copy.deepcopy(change.after)}]
    sinks = [str(value).rstrip("/").lower() for key, value in change.after.items() if key.endswith("Id")]
    made["destinations"] |= dict.fromkeys(sinks, "exists")
    return made


def facet_of(case):
    return Unread(**case["unread"]) if "unread" in case else case["diagnostics"]


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    case = CASES[name]
    expected = case["expect"]
    before = copy.deepcopy(case)
    verdict = judged(facet_of(case), Settings(**case.get("settings", {})), case["hub"])
    assert type(verdict) is VERDICTS[expected["verdict"]], case["about"]
    assert name.startswith(f"{expected['verdict']}-")
    assert same(case, before)
    json.dumps(getattr(verdict, "evidence", None))
    match verdict:
        case Drift():
            assert (verdict.summary, verdict.subject) == (expected["says"], "")
            assert {key: verdict.evidence[key] for key in ("cause", "missing", "gone")} == {
                key: expected[key] for key in ("cause", "missing", "gone")
            }
            assert {setting["name"] for setting in verdict.evidence["settings"]} == {
                setting["name"] for setting in facet_of(case)["settings"]
            }
        case Unknown():
            assert (verdict.reason, verdict.missing_action) == (expected["says"], expected.get("missing_action"))


def test_every_verdict_and_every_cause_has_cases():
    assert {name.partition("-")[0] for name in CASES} == set(VERDICTS)
    causes = {case["expect"].get("cause") for case in CASES.values()} - {None}
    assert causes == {"nothing-set", "missing", "wrong-destination", "destination-gone"}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "fix" in case["expect"]])
def test_the_fix_of_a_case(name):
    case = CASES[name]
    settings = Settings(**case["settings"])
    data = facet_of(case)
    before = copy.deepcopy(data)
    plan = planned(data, settings)
    (change,) = plan.changes
    expected = case["expect"]["fix"]
    assert (change.target, change.path) == (Target.DIAGNOSTICS, ("hubwarden",))
    assert same(change.before, ABSENT if expected["before"] is None else expected["before"])
    assert same(change.after, expected["after"])
    assert same(data, before)
    made = applied(data, plan)
    assert isinstance(judged(made, settings), Compliant)
    with pytest.raises(PlanError, match="already"):
        planned(made, settings)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "no_fix" in case["expect"]])
def test_a_drift_that_is_left_to_people(name):
    case = CASES[name]
    assert "fix" not in case["expect"]
    with pytest.raises(PlanError, match=case["expect"]["no_fix"]):
        planned(facet_of(case), Settings(**case.get("settings", {})))


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("drift-")])
def test_no_fix_without_a_drift(name):
    case = CASES[name]
    if name == "unknown-dead":
        return
    with pytest.raises(PlanError):
        planned(facet_of(case), Settings(**case.get("settings", {})))


def warned(data):
    return list(REMEDIATOR.warn(Drift("drift"), snapshot(data), Settings()))


COSTS = "The destination charges for the logs that it receives."
REPLACED = "The setting hubwarden is there and is replaced; what others changed in it is gone."
BY_POLICY = (
    "Azure Policy writes settings on this hub too (setByPolicy-LogAnalytics, setbypolicy-x) and may write again."
)


def named(*names):
    settings = [{"name": name, "properties": {}} for name in names]
    return {"settings": settings, "categories": {}, "destinations": {}}


@pytest.mark.parametrize(
    ("data", "sentences"),
    [
        (named(), [COSTS]),
        (named("other", "not-setByPolicy"), [COSTS]),
        (named("HubWarden"), [COSTS, REPLACED]),
        (named("setByPolicy-LogAnalytics", "setbypolicy-x"), [COSTS, BY_POLICY]),
        (named("hubwarden", "setbypolicy-x", "setByPolicy-LogAnalytics"), [COSTS, REPLACED, BY_POLICY]),
        (Unread("no"), [COSTS]),
        ([], [COSTS]),
    ],
    ids=["nothing", "others", "ours", "policy", "both", "unread", "odd"],
)
def test_the_plan_warns_of_the_bill_and_of_who_else_writes(data, sentences):
    assert warned(data) == sentences


def test_what_was_not_read_is_unknown():
    (nothing,) = detect(Snapshot(HUB, NOW, {}), Settings())
    (no_hub,) = detect(snapshot(facet_of(CASES["compliant-group"]), Unread("no", "a/b")), Settings())
    (no_logs,) = detect(Snapshot(HUB, NOW, {Facet.HUB: BODY}), Settings())
    assert isinstance(nothing, Unknown)
    assert no_hub == Unknown("no", "a/b")
    assert no_logs == Unknown("the diagnostics facet was not asked for")


SUB = "/subscriptions/S/resourceGroups/G/providers"
WORKSPACE = f"{SUB}/Microsoft.OperationalInsights/workspaces/A"
OTHER = f"{SUB}/Microsoft.OperationalInsights/workspaces/B"
STORAGE = f"{SUB}/Microsoft.Storage/storageAccounts/c"
EVENT_HUB = f"{SUB}/Microsoft.EventHub/namespaces/n/authorizationRules/r"
SINKS = {
    "workspaceId": [WORKSPACE, OTHER],
    "storageAccountId": [STORAGE],
    "eventHubAuthorizationRuleId": [EVENT_HUB],
}
CATEGORIES = {"Alpha": ["audit", "allLogs"], "Beta": ["audit", "allLogs"], "Gamma": ["allLogs"], "Delta": []}
GROUPS = {"audit": {"Alpha", "Beta"}, "allLogs": {"Alpha", "Beta", "Gamma"}}
EXPANDED = {**{name: {name} for name in CATEGORIES}, **GROUPS}


def recased(text):
    return st.sampled_from([text, text.lower(), text.upper()])


entries = st.one_of(
    st.sampled_from([*CATEGORIES, "Legacy"]).flatmap(recased).map(lambda name: {"category": name}),
    st.sampled_from([*GROUPS, "strange"]).flatmap(recased).map(lambda name: {"categoryGroup": name}),
)
logs = st.lists(
    st.tuples(entries, st.booleans()).map(lambda pair: {**pair[0], "enabled": pair[1]}), max_size=3
)  # fmt: skip
sinks = st.fixed_dictionaries(
    {},
    optional={
        **{member: st.sampled_from(ids).flatmap(recased) | st.none() for member, ids in SINKS.items()},
        "eventHubName": st.sampled_from(["h", "H", "i", None]),
    },
)
NAMES = ["a", "b", "setByPolicy-x", "HubWarden", "y", "z"]
properties = st.builds(lambda where, what: {**where, "logs": what}, sinks, logs | st.none())
settings_lists = st.dictionaries(st.sampled_from(NAMES), properties, max_size=6).map(
    lambda found: [{"name": name, "properties": value} for name, value in found.items()]
)
facets = st.builds(
    lambda found, states: {"settings": found, "categories": CATEGORIES, "destinations": states},
    settings_lists,
    st.dictionaries(
        st.sampled_from([WORKSPACE, OTHER, STORAGE, EVENT_HUB]).map(str.lower), st.sampled_from(["exists", "gone"])
    ),
)
wishes = st.builds(
    lambda where, required: Settings(**where, required=required),
    st.sampled_from([
        {}, {"destination": WORKSPACE}, {"destination": STORAGE}, {"destination": EVENT_HUB},
        {"destination": EVENT_HUB, "event_hub_name": "h"},
    ]),
    st.lists(st.sampled_from(list(EXPANDED)), min_size=1, max_size=3),
)  # fmt: skip


def streams(setting, wanted=None):
    """Destination, event hub and category of everything that a setting sends, said once more and plainly."""
    found = set()
    for member, name in setting["properties"].items():
        if not name or member not in SINKS:
            continue
        event_hub = (setting["properties"].get("eventHubName") or "").lower() if member.startswith("event") else ""
        if wanted and wanted.destination and name.lower() != wanted.destination.lower():
            continue
        if wanted and wanted.event_hub_name and event_hub != wanted.event_hub_name:
            continue
        for entry in setting["properties"].get("logs") or []:
            if entry["enabled"]:
                named = (entry.get("category") or entry.get("categoryGroup")).lower()
                members = next((EXPANDED[one] for one in EXPANDED if one.lower() == named), set())
                found |= {(name.lower(), event_hub, category) for category in members}
    return found


def wanted_of(wanted):
    return set().union(*(EXPANDED[name] for name in wanted.required))


@given(facets, wishes)
def test_compliant_is_that_each_required_category_reaches_a_destination_that_exists(data, wanted):
    reached = {"exists": set(), "gone": set(), None: set()}
    for setting in data["settings"]:
        for sink, _, category in streams(setting, wanted):
            reached[data["destinations"].get(sink)].add(category)
    required = wanted_of(wanted)
    verdict = judged(data, wanted)
    if required <= reached["exists"]:
        assert isinstance(verdict, Compliant)
    elif required <= reached["exists"] | reached[None]:
        assert isinstance(verdict, Unknown)
    else:
        assert isinstance(verdict, Drift)
        assert set(verdict.evidence["missing"]) == required - reached["exists"] - reached[None]


@given(facets, wishes)
def test_the_fix_ends_the_drift_and_touches_nothing_else(data, wanted):
    verdict = judged(data, wanted)
    others = [setting for setting in data["settings"] if setting["name"].lower() != NAME]
    gone = wanted.destination and data["destinations"].get(wanted.destination.lower()) == "gone"
    if not isinstance(verdict, Drift) or wanted.destination is None or gone or len(others) >= 5:
        with pytest.raises(PlanError):
            planned(data, wanted)
        return
    plan = planned(data, wanted)
    (change,) = plan.changes
    assert REMEDIATOR.declares(change)
    made = applied(data, plan)
    assert isinstance(judged(made, wanted), Compliant)
    assert made["settings"][:-1] == others
    (ours,) = (setting for setting in made["settings"] if setting["name"] == NAME)
    theirs = set().union(*(streams(setting) for setting in others))
    assert not streams(ours) & theirs, "Azure refuses one category twice to one place"
    kinds = {frozenset(entry) for entry in ours["properties"]["logs"]}
    assert kinds in ({frozenset({"category", "enabled"})}, {frozenset({"categoryGroup", "enabled"})})
    assert {category for _, _, category in streams(ours)} <= wanted_of(wanted)
    assert len(made["settings"]) <= 5
    with pytest.raises(PlanError, match="already"):
        planned(made, wanted)


@given(facets, wishes, st.randoms())
def test_the_order_of_the_settings_means_nothing(data, wanted, random):
    shuffled = copy.deepcopy(data)
    random.shuffle(shuffled["settings"])
    shuffled["categories"] = dict(reversed(data["categories"].items()))
    assert judged(data, wanted) == judged(shuffled, wanted)
    if not isinstance(judged(data, wanted), Drift):
        return
    outcomes = []
    for one in (data, shuffled):
        try:
            outcomes.append(planned(one, wanted))
        except PlanError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["settings", "categories", "destinations", "name", "properties", "logs", "category", "categoryGroup",
        "enabled", "workspaceId", "eventHubName", "hubwarden", "allLogs", "exists"]  # fmt: skip
odd = st.recursive(
    json_values | st.sampled_from(KEYS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(
    odd
    | st.fixed_dictionaries({"settings": odd, "categories": odd, "destinations": odd})
    | st.builds(
        lambda data, part, what: {**data, part: what},
        facets,
        st.sampled_from(["settings", "categories", "destinations"]),
        odd,
    )
    | st.builds(
        lambda properties: {
            "settings": [{"name": "x", "properties": properties}],
            "categories": CATEGORIES,
            "destinations": {},
        },
        odd,
    ),
    wishes,
)
def test_nothing_that_azure_might_say_breaks_the_rule(data, wanted):
    verdict = judged(data, wanted)
    assert isinstance(verdict, Compliant | Drift | Unknown)
    assert all(isinstance(sentence, str) for sentence in warned(data))
    try:
        plan = planned(data, wanted)
    except PlanError:
        return
    assert isinstance(verdict, Drift)
    assert isinstance(judged(applied(data, plan), wanted), Compliant)


BAD_SETTINGS = [
    {"destination": ""},
    {"destination": "central"},
    {"destination": None, "event_hub_name": "h"},
    {"destination": f"{WORKSPACE}/"},
    {"destination": f"{WORKSPACE}\n"},
    {"destination": f"{WORKSPACE}/tables/x"},
    {"destination": f"{SUB}/Microsoft.EventHub/namespaces/n"},
    {"destination": f"{SUB}/Microsoft.Devices/IotHubs/n"},
    {"destination": WORKSPACE, "event_hub_name": "h"},
    {"destination": EVENT_HUB, "event_hub_name": " "},
    {"required": []},
    {"required": [""]},
    {"required": "allLogs"},
]


@pytest.mark.parametrize("settings", BAD_SETTINGS, ids=str)
def test_settings_that_are_refused(settings):
    with pytest.raises(ValidationError):
        Settings(**settings)


@pytest.mark.parametrize("destination", [WORKSPACE, STORAGE, EVENT_HUB, WORKSPACE.upper(), EVENT_HUB.lower()])
def test_a_destination_is_stored_as_given(destination):
    assert Settings(destination=destination).destination == destination


def recorded():
    if not RECORDINGS.exists():
        pytest.skip(f"the recorded diagnostic settings are not here: {RECORDINGS}")
    return [json.loads(path.read_text()) for path in sorted(RECORDINGS.glob("*.json"))]


def bodies_of(record):
    answer = record["response_body"]
    found = answer.get("value", [answer]) if isinstance(answer, dict) else []
    return [body for body in found if "categoryType" not in body.get("properties", {})]


def test_every_recorded_setting_is_judged():
    bodies = [body for record in recorded() for body in bodies_of(record)]
    assert len(bodies) > 30
    sending = 0
    for body in bodies:
        logs = body["properties"].get("logs") or []
        named = [entry["category"] for entry in logs if entry.get("category")]
        enabled = {entry["category"] for entry in logs if entry["enabled"] and entry.get("category")}
        found = {"name": body.get("name") or "recorded", "properties": body["properties"]}
        ids = [body["properties"].get(member) for member in (*SINKS, "serviceBusRuleId", "marketplacePartnerId")]
        states = {id_.lower(): "exists" for id_ in ids if id_}
        data = {"settings": [found], "categories": {name: ["allLogs"] for name in named}, "destinations": states}
        verdict = judged(data, Settings())
        if not named:
            assert isinstance(verdict, Unknown)
        elif enabled == set(named) and states:
            assert isinstance(verdict, Compliant)
            sending += 1
        else:
            assert isinstance(verdict, Drift)
        wanted = Settings(destination=WORKSPACE)
        if named:
            assert isinstance(judged(data, wanted), Drift)
            assert isinstance(judged(applied(data, planned(data, wanted)), wanted), Compliant)
    assert sending > 5


def test_the_rule_says_what_it_reads_and_the_fix_what_it_writes():
    assert RULE.reads == (Facet.HUB, Facet.DIAGNOSTICS)
    assert RULE.settings is Settings
    assert Settings() == Settings(destination=None, required=["allLogs"])
    assert (REMEDIATOR.paths, REMEDIATOR.beyond) == ((), ((Target.DIAGNOSTICS, ("hubwarden",)),))
