"""tls-minimum, on hubs written for it (tests/cases/tls-minimum) and on every recorded one."""

from __future__ import annotations

import collections
import copy
import json

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from detectors.tls_minimum import PATH, RULE, Settings, detect, version_of
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import ABSENT, differences, get_at, same, with_value
from hubwarden.domain.plan import Plan, PlanError
from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from hubwarden.domain.verdict import Compliant, Drift, Unknown
from remediators.tls_minimum import REMEDIATOR


ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "../shared/data/corpus/hubs.jsonl"
CASES = {
    path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "tests/cases/tls-minimum").glob("*.json"))
}
VERDICTS = {"compliant": Compliant, "drift": Drift, "unknown": Unknown}
NOW = datetime(2026, 11, 23, tzinfo=UTC)
HUB = HubId("s", "g", "contoso-hub")


def snapshot(facet):
    return Snapshot(HUB, NOW, {Facet.HUB: facet})


def judged(facet, **settings):
    (verdict,) = detect(snapshot(facet), Settings(**settings))
    return verdict


def planned(body, **settings):
    changes = tuple(REMEDIATOR.plan(Drift("drift"), snapshot(body), Settings(**settings)))
    return Plan(HUB, body["etag"], changes)


def facet_of(case):
    return case["hub"] if "hub" in case else Unread(**case["unread"])


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    case = CASES[name]
    expected = case["expect"]
    before = copy.deepcopy(case)
    verdict = judged(facet_of(case), **case.get("settings", {}))
    assert type(verdict) is VERDICTS[expected["verdict"]], case["about"]
    assert name.startswith(f"{expected['verdict']}-")
    assert same(case, before)
    match verdict:
        case Compliant(evidence):
            found = get_at(facet_of(case), PATH)
            assert evidence == {"minTlsVersion": None if found is ABSENT else found}
        case Drift():
            assert (verdict.summary, verdict.subject) == (expected["says"], "")
            assert same(verdict.evidence, expected["evidence"])
        case Unknown():
            assert verdict.reason == expected["says"]
            assert verdict.missing_action == expected.get("missing_action")


def test_every_verdict_has_cases():
    assert {name.partition("-")[0] for name in CASES} == set(VERDICTS)


def test_a_facet_that_was_not_asked_for_is_unknown():
    (verdict,) = detect(Snapshot(HUB, NOW, {}), Settings())
    assert isinstance(verdict, Unknown)


DRIFTS = {name: case for name, case in CASES.items() if name.startswith("drift-")}


@pytest.mark.parametrize(
    "name", [name for name, case in DRIFTS.items() if not case["expect"].get("fixable", True)]
)
def test_a_value_that_cannot_be_compared_is_left_to_people(name):
    with pytest.raises(PlanError, match="cannot be compared"):
        planned(DRIFTS[name]["hub"], **DRIFTS[name].get("settings", {}))


@pytest.mark.parametrize("name", [name for name, case in DRIFTS.items() if case["expect"].get("fixable", True)])
def test_the_fix_of_a_case(name):
    case = CASES[name]
    settings = case.get("settings", {})
    body = case["hub"]
    plan = planned(body, **settings)
    made = plan.apply(body)
    assert set(differences(body, made)) == {PATH} <= set(REMEDIATOR.paths)
    assert get_at(made, PATH) == Settings(**settings).minimum
    assert isinstance(judged(made, **settings), Compliant)
    with pytest.raises(PlanError):
        planned(made, **settings)


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if not isinstance(case.get("hub", {}).get("properties"), dict)]
)
def test_no_fix_without_sight(name):
    facet = facet_of(CASES[name])
    with pytest.raises(PlanError):
        list(REMEDIATOR.plan(Drift("drift"), snapshot(facet), Settings()))


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("unknown-unenforced")])
def test_no_fix_where_the_setting_has_no_effect(name):
    case = CASES[name]
    with pytest.raises(PlanError, match="has no effect"):
        planned(case["hub"], **case["settings"])
    assert isinstance(judged(case["hub"]), Drift)


@pytest.mark.parametrize("location", [None, 1, ["westus2"], "", ABSENT])
def test_a_region_that_is_none_is_not_one_of_those_named(location):
    body = with_value(DRIFTS["drift-absent"]["hub"], ("location",), location)
    assert isinstance(judged(body, unenforced_regions=["westus2"]), Drift)


def warned(**settings):
    body = DRIFTS["drift-absent"]["hub"]
    return list(REMEDIATOR.warn(Drift("drift"), snapshot(body), Settings(**settings)))


def test_the_plan_warns_of_devices_with_weak_ciphers():
    (sentence,) = warned()
    assert "weak cipher suites" in sentence


def test_the_plan_warns_of_whoever_cannot_speak_a_higher_minimum():
    assert warned(minimum="1.2.0") == warned()
    assert "cannot speak TLS 1.3" in warned(minimum="1.3")[1]


versions = st.lists(st.integers(0, 12), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
odd = st.one_of(
    st.just(ABSENT),
    st.none(),
    st.booleans(),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.lists(st.integers()),
)
ANY_BODY = CASES["compliant-unknown-properties"]["hub"]


@given(versions | odd, versions.filter(lambda text: version_of(text) >= (1, 2)))
def test_the_fix_ends_the_drift_and_never_lowers(found, minimum):
    body = with_value(ANY_BODY, PATH, found)
    verdict = judged(body, minimum=minimum)
    if isinstance(verdict, Compliant):
        assert version_of(found) >= version_of(minimum)
        with pytest.raises(PlanError, match="is not higher"):
            planned(body, minimum=minimum)
        return
    if version_of(found) is None and found not in (ABSENT, None, ""):
        with pytest.raises(PlanError, match="cannot be compared"):
            planned(body, minimum=minimum)
        return
    plan = planned(body, minimum=minimum)
    made = plan.apply(body)
    assert {change.path for change in plan.changes} <= set(REMEDIATOR.paths)
    assert list(differences(body, made)) == [PATH]
    assert version_of(found) is None or version_of(get_at(made, PATH)) > version_of(found)
    assert isinstance(judged(made, minimum=minimum), Compliant)
    with pytest.raises(PlanError):
        planned(made, minimum=minimum)


@given(
    st.lists(st.integers(0, 9999), min_size=1, max_size=4), st.lists(st.integers(0, 9999), min_size=1, max_size=4)
)
def test_versions_are_compared_part_by_part_as_numbers(one, two):
    left, right = (version_of(".".join(map(str, parts))) for parts in (one, two))
    padded = [(*parts, 0, 0, 0)[:4] for parts in (one, two)]
    assert (left < right) is (padded[0] < padded[1])
    assert (left == right) is (padded[0] == padded[1])


NO_VERSIONS = [
    "", ".", "1.", ".1", "1..2", " 1.2", "1.2 ", "1.2\n", "+1", "-1", "1e3", "1,2", "TLS1.2", "12345", "1.2.3.4.5",
    "\u0661", "\u00b2", None, 1, 1.2, True, ["1.2"], ABSENT,
]  # fmt: skip


@pytest.mark.parametrize("text", NO_VERSIONS, ids=repr)
def test_is_no_version(text):
    assert version_of(text) is None


@pytest.mark.parametrize("minimum", ["", "x", "1.2 ", 1.2, None, "1.1", "1.0", "0", "1"])
def test_a_minimum_that_is_no_version_is_refused(minimum):
    with pytest.raises(ValidationError):
        Settings(minimum=minimum)


def recorded():
    if not CORPUS.exists():
        pytest.skip(f"the recorded hubs are not here: {CORPUS}")
    return [json.loads(line)["body"] for line in CORPUS.read_text().splitlines()]


def test_every_recorded_hub_is_judged_and_fixed():
    hubs = recorded()
    counts = collections.Counter()
    for body in hubs:
        hub = HubId.parse(body["id"])
        seen = Snapshot(hub, NOW, {Facet.HUB: body})
        (verdict,) = detect(seen, Settings())
        counts[type(verdict)] += 1
        assert (seen.dead is not None) is isinstance(verdict, Unknown)
        if isinstance(verdict, Drift):
            assert seen.etag is not None
            plan = Plan(hub, seen.etag, tuple(REMEDIATOR.plan(verdict, seen, Settings())))
            made = plan.apply(body)
            assert list(differences(body, made)) == [PATH]
            assert isinstance(judged(made), Compliant)
    assert len(hubs) > 1000
    assert counts[Drift] > len(hubs) // 2
    assert counts[Compliant] > len(hubs) // 10
    assert 0 < counts[Unknown] < len(hubs) // 20


def test_the_rule_says_what_it_reads():
    assert RULE.reads == (Facet.HUB,)
    assert RULE.settings is Settings
    assert Settings() == Settings(minimum="1.2", absent="drift", unenforced_regions=[])
