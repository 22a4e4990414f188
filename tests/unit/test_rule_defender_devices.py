"""defender-devices, on counts written for it (tests/cases/defender-devices), made-up and nonsensical ones."""

from __future__ import annotations

import copy
import json

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hypothesis import given
from hypothesis import strategies as st

from detectors.defender_devices import RULE, Settings, detect
from hubwarden.domain.census import SHOWN, CensusSettings, Coverage, Tally
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import same
from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from hubwarden.domain.verdict import Compliant, Drift, Unknown
from remediators import REMEDIATORS


ROOT = Path(__file__).parents[2]
CASES = {
    path.stem: json.loads(path.read_text())
    for path in sorted((ROOT / "tests/cases/defender-devices").glob("*.json"))
}
VERDICTS = {"compliant": Compliant, "drift": Drift, "unknown": Unknown}
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
RIGHT = CASES["compliant-all-covered"]
BODY, ONBOARDED = RIGHT["hub"], RIGHT["defender"]
NOWHERE = {"solutions": []}
HUB = HubId.parse(BODY["id"])


def judged(devices, settings=None, defender=ONBOARDED, body=BODY):
    facets = {Facet.HUB: body, Facet.DEFENDER: defender, Facet.DEVICES: devices}
    (verdict,) = detect(Snapshot(HUB, NOW, facets), settings or Settings())
    return verdict


def judged_case(case):
    defender = Unread(**case["defender_unread"]) if "defender_unread" in case else case["defender"]
    devices = Unread(**case["unread"]) if "unread" in case else case["devices"]
    return judged(devices, Settings(**case.get("settings", {})), defender, case["hub"])


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    case = CASES[name]
    expected = case["expect"]
    before = copy.deepcopy(case)
    verdict = judged_case(case)
    assert type(verdict) is VERDICTS[expected["verdict"]], case["about"]
    assert name.startswith(f"{expected['verdict']}-")
    assert same(case, before)
    json.dumps(getattr(verdict, "evidence", None))
    match verdict:
        case Compliant(evidence):
            assert evidence["devices"] == expected["devices"]
            assert evidence["counts"] == case["devices"]["counts"]
        case Drift():
            assert (verdict.summary, verdict.subject) == (expected["says"], "")
            assert verdict.evidence["cause"] == expected["cause"]
            if "devices" in expected:
                assert verdict.evidence["devices"] == expected["devices"]
        case Unknown():
            assert (verdict.reason, verdict.missing_action) == (expected["says"], expected.get("missing_action"))


def test_every_verdict_and_every_cause_has_cases():
    assert {name.partition("-")[0] for name in CASES} == set(VERDICTS)
    causes = {case["expect"].get("cause") for case in CASES.values()} - {None}
    assert causes == {"not-onboarded", "not-covered"}


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case["expect"].get("cause") == "not-covered"]
)
def test_a_drift_names_the_first_devices_and_where_all_of_them_are(name):
    devices = CASES[name]["devices"]
    evidence = judged_case(CASES[name]).evidence
    assert evidence["counts"] == devices["counts"]
    assert evidence["list"] == devices["list"]
    assert evidence["first"] == {
        coverage: devices["first"].get(coverage, [])[:SHOWN] for coverage in ("unregistered", "silent")
    }
    assert evidence["counted_at"] == devices["counted_at"]


def test_what_was_not_read_is_unknown():
    (nothing,) = detect(Snapshot(HUB, NOW, {}), Settings())
    (no_solutions,) = detect(Snapshot(HUB, NOW, {Facet.HUB: BODY, Facet.DEVICES: RIGHT["devices"]}), Settings())
    (no_count,) = detect(Snapshot(HUB, NOW, {Facet.HUB: BODY, Facet.DEFENDER: ONBOARDED}), Settings())
    assert isinstance(nothing, Unknown)
    assert no_solutions == Unknown("the defender facet was not asked for")
    assert no_count == Unknown("the devices facet was not asked for")
    assert judged(RIGHT["devices"], body=Unread("no", "a/b")) == Unknown("no", "a/b")


tallies = st.lists(st.tuples(st.sampled_from(list(Coverage)), st.uuids().map(str)), max_size=60).map(Tally().plus)
blobs = st.none() | st.just("container/name")


@given(tallies, blobs)
def test_a_count_is_judged_by_what_it_counted(tally, blob):
    counts = {coverage: tally.counts.get(coverage, 0) for coverage in Coverage}
    verdict = judged(tally.facet(NOW, blob))
    bad = counts[Coverage.SILENT] + counts[Coverage.UNREGISTERED]
    assert isinstance(verdict, Drift if bad else Compliant)
    assert verdict.evidence["devices"] == sum(counts.values())
    assert verdict.evidence["counts"] == counts
    named = [*verdict.evidence["first"]["silent"], *verdict.evidence["first"]["unregistered"]]
    assert len(named) == sum(min(counts[coverage], SHOWN) for coverage in ("silent", "unregistered"))
    outside = judged(tally.facet(NOW, blob), defender=NOWHERE)
    assert isinstance(outside, Drift)
    assert outside.evidence == {**verdict.evidence, "cause": "not-onboarded"}


@given(tallies, st.timedeltas(timedelta(0), timedelta(days=90)), st.integers(1, 720))
def test_an_old_count_covers_nobody(tally, age, hours):
    verdict = judged(tally.facet(NOW - age, None), Settings(count_every_hours=hours))
    if isinstance(verdict, Compliant):
        assert age <= timedelta(hours=hours, days=2)
    else:
        assert isinstance(verdict, Drift) or age > timedelta(hours=hours, days=2)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = [
    "counted_at",
    "total",
    "counts",
    "first",
    "list",
    "covered",
    "silent",
    "unregistered",
    "2026-11-23T10:00:00Z",
]
odd = st.recursive(
    json_values | st.sampled_from(KEYS) | st.integers(0, 3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)
nonsense = odd | st.builds(
    lambda member, what: {**RIGHT["devices"], member: what}, st.sampled_from([*RIGHT["devices"]]), odd
)


@given(nonsense)
def test_no_nonsense_is_compliant_or_breaks_the_rule(data):
    verdict = judged(data)
    if isinstance(verdict, Compliant):
        assert data["counts"] == {"covered": data["total"], "silent": 0, "unregistered": 0}
        assert type(data["total"]) is int
    else:
        assert isinstance(verdict, Drift | Unknown)
    outside = judged(data, defender=NOWHERE)
    assert isinstance(outside, Drift)
    assert outside.summary.startswith("hub not onboarded")


@given(odd | st.fixed_dictionaries({"solutions": odd}))
def test_no_nonsense_about_solutions_is_compliant_or_breaks_the_rule(data):
    assert isinstance(judged(RIGHT["devices"], defender=data), Drift | Unknown)


def test_the_rule_says_what_it_reads_and_has_no_fix():
    assert RULE.reads == (Facet.HUB, Facet.DEFENDER, Facet.DEVICES)
    assert issubclass(RULE.settings, CensusSettings)
    assert "Microsoft.Devices/IotHubs/twins/read" in RULE.permissions.data_actions
    assert RULE.id not in REMEDIATORS


def test_the_query_by_hand_is_a_query():
    settings = Settings(security_modules=["one", "two"]).model_dump()
    said = RULE.manual_fix.cli.format(name="n", resource_group="g", subscription="s", **settings)
    assert "WHERE moduleId IN ['one', 'two']" in said
