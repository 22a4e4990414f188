"""defender-hub, on solutions written for it (tests/cases/defender-hub), made-up ones, and every recorded one."""

from __future__ import annotations

import copy
import json

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from detectors._solutions import STANDARD
from detectors.defender_hub import RULE, Settings, detect
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import ABSENT, differences, get_at, same, with_value
from hubwarden.domain.plan import Plan, PlanError, Target
from hubwarden.domain.rule import Safety
from hubwarden.domain.severity import Severity
from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from hubwarden.domain.verdict import Compliant, Drift, Unknown
from remediators.defender_hub import REMEDIATOR


ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT / "../shared/data/recordings/iotSecuritySolutions"
CASES = {
    path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "tests/cases/defender-hub").glob("*.json"))
}
VERDICTS = {"compliant": Compliant, "drift": Drift, "unknown": Unknown}
NOW = datetime(2026, 11, 23, tzinfo=UTC)
BODY = CASES["compliant-in-solution"]["hub"]
HUB = HubId.parse(BODY["id"])


def snapshot(data, body=BODY, hub=HUB):
    return Snapshot(hub, NOW, {Facet.HUB: body, Facet.DEFENDER: data})


def judged(data, settings, body=BODY, hub=HUB):
    (verdict,) = detect(snapshot(data, body, hub), settings)
    return verdict


def planned(data, settings, hub=HUB):
    changes = tuple(REMEDIATOR.plan(Drift("drift"), snapshot(data, hub=hub), settings))
    plan = Plan(hub, "etag", changes)
    assert all(REMEDIATOR.declares(change) for change in changes)
    return plan


def warned(data, settings):
    return list(REMEDIATOR.warn(Drift("drift"), snapshot(data), settings))


def applied(data, plan):
    """What the list would show afterwards; that the solution is as planned for is checked as the engine does."""
    made = copy.deepcopy(data)
    for change in plan.changes:
        id_, *path = change.path
        at = next((n for n, one in enumerate(made["solutions"]) if one["id"].lower() == id_), None)
        if path:
            assert same(get_at(made["solutions"][at], tuple(path)), change.before)
            made["solutions"][at] = with_value(made["solutions"][at], tuple(path), change.after)
        else:
            assert at is None
            assert change.before is ABSENT
            made["solutions"].append({"id": id_, **copy.deepcopy(change.after)})
    return made


def facet_of(case):
    return Unread(**case["unread"]) if "unread" in case else case["defender"]


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
        case Compliant(evidence):
            assert evidence["solution"] == expected["solution"]
        case Drift():
            assert (verdict.summary, verdict.subject) == (expected["says"], "")
            for key in ("cause", "solution", "off"):
                assert verdict.evidence[key] == expected[key]
        case Unknown():
            assert (verdict.reason, verdict.missing_action) == (expected["says"], expected.get("missing_action"))


def test_every_verdict_and_every_cause_has_cases():
    assert {name.partition("-")[0] for name in CASES} == set(VERDICTS)
    causes = {case["expect"].get("cause") for case in CASES.values()} - {None}
    assert causes == {"not-onboarded", "disabled", "no-workspace", "recommendation-off"}


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("drift-")])
def test_a_drift_says_that_it_may_not_have_seen_all(name):
    assert "solutions that hubwarden may read" in CASES[name]["expect"]["says"]


def test_a_recommendation_that_is_off_is_the_least_of_faults():
    off, disabled = (CASES[f"drift-{name}"] for name in ("recommendation-off", "disabled"))
    assert judged(facet_of(off), Settings()).severity is Severity.LOW
    assert judged(facet_of(disabled), Settings()).severity is None


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "fix" in case["expect"]])
def test_the_fix_of_a_case(name):
    case = CASES[name]
    settings, data = Settings(**case["settings"]), facet_of(case)
    before = copy.deepcopy(data)
    plan = planned(data, settings)
    said = [(list(change.path), change.before, change.after) for change in plan.changes]
    expected = [(each["path"], each.get("before", ABSENT), each["after"]) for each in case["expect"]["fix"]]
    assert len(said) == len(expected)
    for (path, was, will), (want_path, want_was, want_will) in zip(said, expected, strict=True):
        assert path == want_path
        assert same(was, want_was)
        assert same(will, want_will)
    assert {change.target for change in plan.changes} == {Target.DEFENDER}
    assert same(data, before)
    made = applied(data, plan)
    assert isinstance(judged(made, settings), Compliant)
    with pytest.raises(PlanError, match="already"):
        planned(made, settings)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "no_fix" in case["expect"]])
def test_a_drift_that_is_left_to_people(name):
    case = CASES[name]
    with pytest.raises(PlanError, match=case["expect"]["no_fix"]):
        planned(facet_of(case), Settings(**case.get("settings", {})))


def test_every_drift_has_a_fix_or_a_reason_why_not():
    drifts = [case["expect"] for name, case in CASES.items() if name.startswith("drift-")]
    assert all(("fix" in expected) != ("no_fix" in expected) for expected in drifts)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("drift-")])
def test_no_fix_without_a_drift(name):
    case = CASES[name]
    if name == "unknown-dead":
        return
    with pytest.raises(PlanError):
        planned(facet_of(case), Settings(**case.get("settings", CASES["drift-nothing"]["settings"])))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "warns" in case["expect"]])
def test_what_the_fix_of_a_case_warns_of(name):
    case = CASES[name]
    assert warned(facet_of(case), Settings(**case.get("settings", {}))) == case["expect"]["warns"]


def test_what_was_not_read_is_unknown():
    (nothing,) = detect(Snapshot(HUB, NOW, {}), Settings())
    (no_hub,) = detect(snapshot(facet_of(CASES["compliant-in-solution"]), Unread("no", "a/b")), Settings())
    (no_solutions,) = detect(Snapshot(HUB, NOW, {Facet.HUB: BODY}), Settings())
    assert isinstance(nothing, Unknown)
    assert no_hub == Unknown("no", "a/b")
    assert no_solutions == Unknown("the defender facet was not asked for")


SUB = f"/subscriptions/{HUB.subscription}/resourceGroups/g/providers"
NAMED = f"{SUB}/Microsoft.Security/iotSecuritySolutions/Named"
WORKSPACE = f"{SUB}/Microsoft.OperationalInsights/workspaces/w"
IDS = [
    NAMED,
    f"{SUB}/Microsoft.Security/iotSecuritySolutions/other",
    f"{SUB}/microsoft.security/iotsecuritysolutions/z",
]
TYPES = ["IoT_SharedCredentials", "IoT_PrivilegedDockerOptions", "IoT_OpenPorts", "IoT_Recommendation_SNMP"]


def recased(text):
    return st.sampled_from([text, text.lower(), text.upper()])


hubs = st.lists(
    st.sampled_from([HUB.path, HUB.path.upper(), f"{HUB.path}-2", f"{HUB.path}/certificates/c", "x"]), max_size=3
)
recommendations = st.lists(
    st.builds(
        lambda kind, status: {"recommendationType": kind, "name": "n", "status": status},
        st.sampled_from(TYPES).flatmap(recased),
        st.sampled_from(["Enabled", "Enabled", "enabled", "Disabled", "?"]),
    ),
    max_size=4,
)
properties = st.fixed_dictionaries(
    {"displayName": st.just("d"), "status": st.sampled_from(["Enabled", "enabled", "Disabled", "?"])},
    optional={
        "iotHubs": hubs | st.none(),
        "workspace": st.sampled_from([WORKSPACE, WORKSPACE.lower(), "", None]),
        "recommendationsConfiguration": recommendations | st.none(),
        "tomorrow": st.just({"kept": True}),
    },
)
facets = st.dictionaries(st.sampled_from(IDS).flatmap(recased), properties, max_size=3).map(
    lambda found: {
        "solutions": [
            {"id": id_, "location": "l", "properties": found[id_]}
            for id_ in {key.lower(): key for key in found}.values()
        ]
    }
)
wishes = st.builds(
    lambda named, kinds: Settings(**named, recommendations=kinds),
    st.sampled_from([
        {}, {"solution": NAMED}, {"solution": NAMED.lower(), "workspace": WORKSPACE},
        {"solution": NAMED, "workspace": WORKSPACE, "location": "westeurope"},
        {"solution": NAMED.replace(HUB.subscription, "elsewhere"), "workspace": WORKSPACE, "location": "l"},
    ]),
    st.lists(st.sampled_from(TYPES), max_size=3),
)  # fmt: skip


def watches(solution, settings):
    """Whether it is right in everything, said once more and plainly; None where that cannot be known."""
    inside = solution["properties"]
    listed = [
        (one["recommendationType"].lower(), one["status"].lower())
        for one in inside.get("recommendationsConfiguration") or []
    ]
    required = {kind.lower() for kind in settings.recommendations}
    if HUB.path not in [one.lower() for one in inside.get("iotHubs") or []]:
        return False
    if inside["status"].lower() != "enabled" or not inside.get("workspace"):
        return False
    if any(kind in required and status != "enabled" for kind, status in listed):
        return False
    unlisted = required - {kind for kind, _ in listed} - {kind.lower() for kind in STANDARD}
    return None if unlisted else True


@given(facets, wishes)
def test_compliant_is_that_one_solution_is_right_in_everything(data, settings):
    found = [watches(solution, settings) for solution in data["solutions"]]
    verdict = judged(data, settings)
    if True in found:
        assert isinstance(verdict, Compliant)
    elif None in found:
        assert isinstance(verdict, Unknown)
    else:
        assert isinstance(verdict, Drift)


@given(facets, wishes)
def test_the_fix_ends_the_drift_and_touches_the_named_solution_only(data, settings):
    verdict = judged(data, settings)
    try:
        plan = planned(data, settings)
    except PlanError:
        return
    assert isinstance(verdict, Drift)
    assert {change.path[0] for change in plan.changes} == {NAMED.lower()}
    made = applied(data, plan)
    assert isinstance(judged(made, settings), Compliant)
    with pytest.raises(PlanError, match="already"):
        planned(made, settings)
    others = [one for one in data["solutions"] if one["id"].lower() != NAMED.lower()]
    assert [one for one in made["solutions"] if one["id"].lower() != NAMED.lower()] == others
    for old in data["solutions"]:
        new = next(one for one in made["solutions"] if one["id"] == old["id"])
        assert set(differences(old, new)) <= {
            ("properties", member) for member in ("iotHubs", "status", "workspace", "recommendationsConfiguration")
        }
        kept = old["properties"].get("iotHubs") or []
        assert (new["properties"].get("iotHubs") or [])[: len(kept)] == kept
        was, now = (one["properties"].get("recommendationsConfiguration") or [] for one in (old, new))
        assert [one["recommendationType"] for one in was] == [one["recommendationType"] for one in now]
        required = {kind.lower() for kind in settings.recommendations}
        assert [one for one in was if one["recommendationType"].lower() not in required] == [
            one for one in now if one["recommendationType"].lower() not in required
        ]


@given(facets, wishes)
def test_a_drift_without_a_fix_has_a_reason(data, settings):
    if not isinstance(judged(data, settings), Drift):
        return
    named = next((one for one in data["solutions"] if one["id"].lower() == NAMED.lower()), None)
    ready = (
        settings.solution is not None
        and "elsewhere" not in settings.solution
        and (settings.workspace is not None or (named is not None and named["properties"].get("workspace")))
        and (named is not None or settings.location is not None)
    )
    listed = [] if named is None else named["properties"].get("recommendationsConfiguration") or []
    known = {kind.lower() for kind in STANDARD} | {one["recommendationType"].lower() for one in listed}
    if ready and {kind.lower() for kind in settings.recommendations} <= known:
        assert planned(data, settings).changes
        assert warned(data, settings)
        return
    with pytest.raises(PlanError):
        planned(data, settings)
    assert warned(data, settings) == []


@given(facets, wishes, st.randoms())
def test_the_order_of_the_solutions_means_nothing(data, settings, random):
    shuffled = copy.deepcopy(data)
    random.shuffle(shuffled["solutions"])
    assert judged(data, settings) == judged(shuffled, settings)
    outcomes = []
    for one in (data, shuffled):
        try:
            outcomes.append(planned(one, settings))
        except PlanError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["solutions", "id", "properties", "iotHubs", "status", "workspace", "recommendationsConfiguration",
        "recommendationType", "Enabled", "IoT_SharedCredentials", NAMED, WORKSPACE, HUB.path]  # fmt: skip
odd = st.recursive(
    json_values | st.sampled_from(KEYS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
RIGHT = {"displayName": "d", "status": "Enabled", "workspace": WORKSPACE, "iotHubs": [HUB.path],
         "recommendationsConfiguration": [{"recommendationType": TYPES[0], "status": "Enabled"}]}  # fmt: skip


@given(
    odd
    | st.fixed_dictionaries({"solutions": odd})
    | odd.map(lambda inside: {"solutions": [{"id": NAMED, "properties": inside}]})
    | st.builds(
        lambda member, what: {"solutions": [{"id": NAMED, "properties": {**RIGHT, member: what}}]},
        st.sampled_from([*RIGHT]),
        odd,
    ),
    wishes,
)
def test_nothing_that_azure_might_say_breaks_the_rule(data, settings):
    verdict = judged(data, settings)
    assert isinstance(verdict, Compliant | Drift | Unknown)
    if isinstance(verdict, Compliant):
        (right,) = data["solutions"]
        assert HUB.path in [one.lower() for one in right["properties"]["iotHubs"]]
        assert right["properties"]["status"].lower() == "enabled"
        assert right["properties"]["workspace"] == WORKSPACE
    assert all(isinstance(sentence, str) for sentence in warned(data, settings))
    try:
        plan = planned(data, settings)
    except PlanError:
        return
    assert isinstance(verdict, Drift)
    assert isinstance(judged(applied(data, plan), settings), Compliant)


BAD_SETTINGS = [
    {"solution": ""},
    {"solution": "hubs"},
    {"solution": f"{NAMED}/"},
    {"solution": f"{NAMED}\n"},
    {"solution": f"{NAMED}/analyticsModels/default"},
    {"solution": WORKSPACE},
    {"workspace": NAMED},
    {"workspace": "w"},
    {"workspace": f"{WORKSPACE}/tables/x"},
    {"location": ""},
    {"location": "west/europe"},
    {"recommendations": "IoT_OpenPorts"},
    {"recommendations": ["OpenPorts"]},
    {"recommendations": ["IoT_"]},
    {"recommendations": ["IoT_Open Ports"]},
    {"recommendation": []},
]


@pytest.mark.parametrize("settings", BAD_SETTINGS, ids=str)
def test_settings_that_are_refused(settings):
    with pytest.raises(ValidationError):
        Settings(**settings)


@pytest.mark.parametrize("location", ["westeurope", "West Europe", " westus2 "])
def test_a_region_is_spelled_as_arm_spells_it(location):
    assert Settings(location=location).location == location.strip()


def recorded():
    if not RECORDINGS.exists():
        pytest.skip(f"the recorded solutions are not here: {RECORDINGS}")
    answers = [json.loads(path.read_text())["response_body"] for path in sorted(RECORDINGS.glob("*.json"))]
    bodies = [body for answer in answers for body in answer.get("value", [answer])]
    return [body for body in bodies if "iotHubs" in body["properties"]]


def test_every_recorded_solution_is_judged_and_mended():
    bodies = recorded()
    assert len(bodies) > 20
    kinds = set()
    for body in bodies:
        data = {"solutions": [body]}
        for text in body["properties"]["iotHubs"]:
            hub = HubId.parse(text)
            verdict = judged(data, Settings(), hub=hub)
            kinds.add(type(verdict))
            if isinstance(verdict, Compliant):
                assert body["properties"]["workspace"]
                continue
            assert verdict.evidence["cause"] == "no-workspace"
            settings = Settings(solution=body["id"], workspace=WORKSPACE)
            plan = planned(data, settings, hub)
            assert [change.path[1:] for change in plan.changes] == [("properties", "workspace")]
            assert isinstance(judged(applied(data, plan), settings, hub=hub), Compliant)
        assert judged(data, Settings()).evidence["cause"] == "not-onboarded"
        listed = {one["recommendationType"] for one in body["properties"]["recommendationsConfiguration"]}
        assert set(Settings().recommendations) <= listed
    assert kinds == {Compliant, Drift}


def test_what_new_solutions_were_recorded_with_is_known():
    bodies = [
        body for body in recorded() if len(body["properties"]["recommendationsConfiguration"]) == len(STANDARD)
    ]
    assert bodies
    for body in bodies:
        assert {
            one["recommendationType"] for one in body["properties"]["recommendationsConfiguration"]
        } == STANDARD


def test_the_rule_says_what_it_reads_and_the_fix_what_it_writes():
    assert RULE.reads == (Facet.HUB, Facet.DEFENDER)
    assert RULE.settings is Settings
    assert Settings().solution is None
    assert Settings().recommendations == ["IoT_SharedCredentials", "IoT_PrivilegedDockerOptions"]
    assert REMEDIATOR.safety is Safety.APPROVAL
    assert (REMEDIATOR.paths, REMEDIATOR.beyond) == ((), ((Target.DEFENDER, ()),))
