"""sas-policies, on policies written for it (tests/cases/sas-policies), made-up ones, and the recorded list."""

from __future__ import annotations

import copy
import json

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from detectors.sas_policies import RULE, Settings, detect
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import ABSENT, same
from hubwarden.domain.plan import Plan, PlanError, Target
from hubwarden.domain.rule import Safety
from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from hubwarden.domain.verdict import Compliant, Drift, Unknown
from remediators.sas_policies import REMEDIATOR


ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT / "../shared/data/recordings/listkeys"
CASES = {
    path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "tests/cases/sas-policies").glob("*.json"))
}
VERDICTS = {"compliant": Compliant, "drift": Drift, "unknown": Unknown}
NOW = datetime(2026, 11, 23, tzinfo=UTC)
HUB = HubId("s", "g", "contoso-hub")
BODY = CASES["compliant-defaults"]["hub"]


def snapshot(data, hub=BODY):
    return Snapshot(HUB, NOW, {Facet.HUB: hub, Facet.POLICIES: data})


def judged(data, settings, hub=BODY):
    return list(detect(snapshot(data, hub), settings))


def planned(drift, data, settings):
    return Plan(HUB, "etag", tuple(REMEDIATOR.plan(drift, snapshot(data), settings)))


def parts(rights):
    listed = rights.split(",") if isinstance(rights, str) else rights
    return {part.strip() for part in listed} - {""}


def applied(data, plan):
    """What listkeys would show afterwards; that the policies are as planned for is checked as the engine does."""
    made = copy.deepcopy(data)
    for change in plan.changes:
        (found,) = (one for one in made["policies"] if one["keyName"] == change.path[0])
        assert parts(found["rights"]) == set(change.before["rights"])
        if change.after is ABSENT:
            made["policies"].remove(found)
        else:
            found["rights"] = list(change.after["rights"])
    return made


def facet_of(case):
    return Unread(**case["unread"]) if "unread" in case else case["policies"]


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    case = CASES[name]
    expected = case["expect"]
    before = copy.deepcopy(case)
    verdicts = judged(facet_of(case), Settings(**case.get("settings", {})), case["hub"])
    assert {type(verdict) for verdict in verdicts} == {VERDICTS[expected["verdict"]]}, case["about"]
    assert name.startswith(f"{expected['verdict']}-")
    assert same(case, before)
    match verdicts:
        case [Compliant(evidence)]:
            assert same(evidence, expected["evidence"])
        case [Unknown(reason, missing_action)]:
            assert (reason, missing_action) == (expected["says"], expected.get("missing_action"))
        case drifts:
            said = [(drift.subject, drift.summary, drift.evidence, drift.report_only) for drift in drifts]
            assert said == [
                (each["subject"], each["says"], each["evidence"], each.get("report_only", False))
                for each in expected["drifts"]
            ]


def test_every_verdict_has_cases():
    assert {name.partition("-")[0] for name in CASES} == set(VERDICTS)


DRIFTS = [
    pytest.param(case, expected, id=f"{name}-{expected['subject']}")
    for name, case in CASES.items()
    for expected in case["expect"].get("drifts", ())
]


@pytest.mark.parametrize(("case", "expected"), DRIFTS)
def test_the_fix_of_a_case(case, expected):
    settings, data = Settings(**case.get("settings", {})), facet_of(case)
    before = copy.deepcopy(data)
    drift = next(one for one in judged(data, settings) if one.subject == expected["subject"])
    if "no_fix" in expected:
        with pytest.raises(PlanError, match=expected["no_fix"]):
            planned(drift, data, settings)
        return
    plan = planned(drift, data, settings)
    (change,) = plan.changes
    assert (change.target, change.path) == (Target.POLICIES, (expected["subject"],))
    assert same(change.before, {"rights": expected["evidence"]["rights"]})
    wanted = expected["fix"]
    assert same(change.after, ABSENT if wanted is None else {**wanted, "rights": sorted(wanted["rights"])})
    assert same(data, before)
    made = applied(data, plan)
    assert expected["subject"] not in {getattr(one, "subject", None) for one in judged(made, settings)}
    with pytest.raises(PlanError):
        planned(drift, made, settings)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("drift-")])
def test_no_fix_without_a_drift(name):
    case = CASES[name]
    with pytest.raises(PlanError):
        planned(Drift("drift", "device"), facet_of(case), Settings(**case.get("settings", {})))


def warned(name, rights, **settings):
    data = {"policies": [{"keyName": "Sneaky", "rights": rights}]}
    return list(REMEDIATOR.warn(Drift("drift", name), snapshot(data), Settings(**settings)))


UNSEEN = "Whether anybody used its keys cannot be seen in Azure."
CUT_OFF = "Whoever uses the keys of Sneaky is cut off from the hub."
FOR_GOOD = "The keys cannot be had back: a policy of the same name that is made later gets new ones."
FULL = ["RegistryWrite", "ServiceConnect", "DeviceConnect"]


def test_the_plan_warns_of_whom_a_removal_cuts_off():
    assert warned("sneaky", FULL) == [CUT_OFF, FOR_GOOD, UNSEEN]


@pytest.mark.parametrize(
    ("allowed", "loses"),
    [
        (["ServiceConnect"], "DeviceConnect, RegistryRead, RegistryWrite"),
        (["RegistryRead", "ServiceConnect"], "DeviceConnect, RegistryWrite"),
        (["RegistryWrite", "DeviceConnect"], "ServiceConnect"),
    ],
)
def test_the_plan_warns_of_the_rights_that_are_lost(allowed, loses):
    sentences = warned("Sneaky", FULL, allowed={"sneaky": allowed})
    assert sentences == [f"Whoever uses the keys of Sneaky loses {loses}.", UNSEEN]


def test_the_plan_warns_of_new_keys():
    sentences = warned("Sneaky", FULL, allowed={"sneaky": ["ServiceConnect"]}, offending="rotate")
    assert sentences[1] == "Both keys of Sneaky are replaced: everybody who uses it needs the new ones."


def test_where_nothing_is_planned_nothing_is_warned_of():
    assert warned("gone", FULL) == []
    assert warned("Sneaky", ["DeviceConnect"]) == []
    assert list(REMEDIATOR.warn(Drift("drift", "x"), snapshot(Unread("no")), Settings())) == []


def test_what_was_not_read_is_unknown():
    (nothing,) = detect(Snapshot(HUB, NOW, {}), Settings())
    (no_hub,) = detect(snapshot(facet_of(CASES["compliant-defaults"]), Unread("no", "a/b")), Settings())
    (no_policies,) = detect(Snapshot(HUB, NOW, {Facet.HUB: BODY}), Settings())
    assert isinstance(nothing, Unknown)
    assert no_hub == Unknown("no", "a/b")
    assert no_policies == Unknown("the policies facet was not asked for")


def test_what_is_drift_and_what_is_not_known_are_both_said():
    data = {"policies": [{"keyName": "a", "rights": ["RegistryWrite"]}, {"keyName": "b", "rights": ["Telepathy"]}]}
    assert [type(verdict) for verdict in judged(data, Settings())] == [Drift, Unknown]


READ, WRITE, SERVICE, DEVICE = RIGHTS = ("RegistryRead", "RegistryWrite", "ServiceConnect", "DeviceConnect")
DEFAULTS = {
    "iothubowner": {WRITE, SERVICE, DEVICE},
    "service": {SERVICE},
    "device": {DEVICE},
    "registryread": {READ},
    "registryreadwrite": {WRITE},
}
BROAD = [
    set(chosen)
    for chosen in (
        [WRITE], [READ, SERVICE], [READ, DEVICE], [SERVICE, DEVICE], [WRITE, SERVICE], [WRITE, DEVICE],
        [READ, SERVICE, DEVICE], [WRITE, SERVICE, DEVICE],
    )
]  # fmt: skip
"""Out of the 15 values that Azure has for rights (AZURE §1), with RegistryRead left out beside RegistryWrite."""

rights_sets = st.sets(st.sampled_from(RIGHTS), min_size=1)
orders = rights_sets.map(sorted).flatmap(st.permutations)
shown = orders | orders.map(", ".join)
names = st.sampled_from(
    ["iothubowner", "service", "device", "registryRead", "registryReadWrite", "App", "b", "c.d-e"]
)
facets = st.dictionaries(names, shown, max_size=7).flatmap(
    lambda found: st.permutations([{"keyName": name, "rights": rights} for name, rights in found.items()])
).map(lambda policies: {"policies": policies})  # fmt: skip
wishes = st.builds(
    lambda allowed, offending: Settings(
        allowed={name: sorted(rights) for name, rights in allowed.items()}, offending=offending
    ),
    st.dictionaries(st.sampled_from(["app", "B", "IotHubOwner", "device"]), rights_sets, max_size=3),
    st.sampled_from(["remove", "rotate"]),
)


def shrunk(rights):
    return rights - {READ} if WRITE in rights else rights


def limit_of(name, settings):
    named = {allowed.lower(): set(rights) for allowed, rights in settings.allowed.items()}
    return named.get(name.lower(), DEFAULTS.get(name.lower()))


def exceeds(name, rights, settings):
    limit = limit_of(name, settings)
    if limit is None:
        return shrunk(rights) in BROAD
    return not all(right in limit or (right == READ and WRITE in limit) for right in rights)


def drifts(verdicts):
    """Those that ask for a fix."""
    return [verdict for verdict in verdicts if isinstance(verdict, Drift) and not verdict.report_only]


@given(facets, wishes)
def test_each_policy_that_grants_too_much_is_a_drift_and_no_other(data, settings):
    too_much = {
        one["keyName"] for one in data["policies"] if exceeds(one["keyName"], parts(one["rights"]), settings)
    }
    verdicts = judged(data, settings)
    unlisted = {one["keyName"] for one in data["policies"] if limit_of(one["keyName"], settings) is None}
    assert {drift.subject for drift in drifts(verdicts)} == too_much
    told = {verdict.subject for verdict in verdicts if isinstance(verdict, Drift)} - too_much
    assert told == unlisted - too_much
    assert [type(verdict) for verdict in verdicts] == ([Drift] * len(too_much | unlisted) or [Compliant])


def fixes(found, data, settings):
    for drift in found:
        try:
            yield drift, planned(drift, data, settings)
        except PlanError:
            limit = limit_of(drift.subject, settings)
            if limit is not None:  # a fix takes rights away and never gives one
                had = set(drift.evidence["rights"])
                full = {*had, READ} if WRITE in had else had
                assert not full & ({*limit, READ} if WRITE in limit else limit)
                continue
            alone = all(
                exceeds(one["keyName"], parts(one["rights"]), settings)
                and limit_of(one["keyName"], settings) is None
                for one in data["policies"]
            )
            assert settings.offending == "rotate" or alone


@given(facets, wishes)
def test_the_fix_ends_its_drift_grants_nothing_and_touches_no_other_policy(data, settings):
    found = drifts(judged(data, settings))
    for drift, plan in fixes(found, data, settings):
        (change,) = plan.changes
        assert REMEDIATOR.declares(change)
        made = applied(data, plan)
        left = {drift.subject for drift in drifts(judged(made, settings))}
        assert left == {one.subject for one in found} - {drift.subject}
        assert [one for one in made["policies"] if one["keyName"] != drift.subject] == [
            one for one in data["policies"] if one["keyName"] != drift.subject
        ]
        assert made["policies"]
        before, limit = set(change.before["rights"]), limit_of(drift.subject, settings)
        if limit is None:
            assert change.after is ABSENT
        else:
            after = set(change.after["rights"])
            assert after == shrunk(after) != set()
            assert not exceeds(drift.subject, after, settings)
            full = {*before, READ} if WRITE in before else before
            assert after <= full
            assert change.after.get("newKeys", False) is (settings.offending == "rotate")
        with pytest.raises(PlanError):
            planned(drift, made, settings)


@given(facets, wishes)
def test_the_fixes_of_several_drifts_fit_together(data, settings):
    found = drifts(judged(data, settings))
    plans = list(fixes(found, data, settings))
    if not plans:
        return
    whole = Plan(HUB, "etag", tuple(change for _, plan in plans for change in plan.changes))
    made = applied(data, whole)
    left = {drift.subject for drift in drifts(judged(made, settings))}
    assert left == {drift.subject for drift in found} - {drift.subject for drift, _ in plans}
    assert made["policies"]


@given(facets, wishes, st.randoms())
def test_the_order_of_policies_and_rights_means_nothing(data, settings, random):
    shuffled = copy.deepcopy(data)
    random.shuffle(shuffled["policies"])
    for one in shuffled["policies"]:
        rights = sorted(parts(one["rights"]))
        random.shuffle(rights)
        one["rights"] = random.choice([rights, ",".join(rights), " , ".join(rights)])
    assert judged(data, settings) == judged(shuffled, settings)
    for drift in drifts(judged(data, settings)):
        one, other = (list(fixes([drift], facet, settings)) for facet in (data, shuffled))
        assert one == other


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
entries = st.fixed_dictionaries({}, optional={
    "keyName": names | json_values,
    "rights": shown | json_values | st.lists(st.sampled_from(["RegistryWrite", "Telepathy", "deviceconnect", ""])),
})  # fmt: skip


@given(
    json_values | st.fixed_dictionaries({"policies": json_values | st.lists(entries | json_values, max_size=3)}),
    wishes,
)
def test_nothing_that_azure_might_say_breaks_the_rule(data, settings):
    verdicts = judged(data, settings)
    assert verdicts
    assert all(isinstance(verdict, Compliant | Drift | Unknown) for verdict in verdicts)
    for verdict in verdicts:
        subject = getattr(verdict, "subject", "device")
        sentences = list(REMEDIATOR.warn(Drift("drift", subject), snapshot(data), settings))
        assert bool(sentences) is isinstance(verdict, Drift)
        try:
            plan = planned(Drift("drift", subject), data, settings)
        except PlanError:
            continue
        assert subject not in {getattr(one, "subject", None) for one in judged(applied(data, plan), settings)}


BAD_SETTINGS = [
    {"allowed": {"a": []}},
    {"allowed": {"": ["DeviceConnect"]}},
    {"allowed": {"a": ["Everything"]}},
    {"allowed": {"a": "DeviceConnect"}},
    {"allowed": {"a": ["DeviceConnect"], "A": ["DeviceConnect"]}},
    {"allowed": ["a"]},
    {"offending": "keep"},
]


@pytest.mark.parametrize("settings", BAD_SETTINGS, ids=str)
def test_settings_that_are_refused(settings):
    with pytest.raises(ValidationError):
        Settings(**settings)


def test_the_recorded_list_is_compliant():
    if not RECORDINGS.exists():
        pytest.skip(f"the recorded list of keys is not here: {RECORDINGS}")
    records = [json.loads(path.read_text()) for path in sorted(RECORDINGS.glob("*.json"))]
    assert records
    for record in records:
        listed = record["response_body"]["value"]
        policies = [{"keyName": one["keyName"], "rights": one["rights"]} for one in listed]
        (verdict,) = judged({"policies": policies}, Settings())
        assert isinstance(verdict, Compliant)


def test_the_rule_says_what_it_reads_and_the_fix_what_it_writes():
    assert RULE.reads == (Facet.HUB, Facet.POLICIES)
    assert RULE.settings is Settings
    assert Settings() == Settings(allowed={}, offending="remove")
    assert REMEDIATOR.safety is Safety.APPROVAL
    assert (REMEDIATOR.paths, REMEDIATOR.beyond) == ((), ((Target.POLICIES, ()),))
