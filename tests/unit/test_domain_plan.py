from __future__ import annotations

import copy

from dataclasses import replace

import pytest

from hypothesis import given
from hypothesis import strategies as st

from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import ABSENT, differences, get_at, same
from hubwarden.domain.plan import Change, Plan, PlanError, Target, plan_difference


HUB = HubId("s", "g", "h")
BODY = {
    "etag": "AAAA=",
    "location": "westeurope",
    "properties": {
        "minTlsVersion": "1.0",
        "disableLocalAuth": None,
        "ipFilterRules": [1],
        "routing": {"x": {"y": 1}},
    },
    "unknownToEverybody": {"k": [1.5, {"z": None}]},
}
TLS = Change(("properties", "minTlsVersion"), "1.0", "1.2", "tls-minimum")
LOCAL = Change(("properties", "disableLocalAuth"), None, "x", "local-auth")
NEW = Change(("properties", "publicNetworkAccess"), ABSENT, "Disabled", "public-network")
GONE = Change(("properties", "routing", "x"), {"y": 1}, ABSENT, "routes")
ALL = (TLS, LOCAL, NEW, GONE)


def plan(*changes, hub=HUB, etag="AAAA="):
    return Plan(hub, etag, changes)


@given(st.permutations(ALL))
def test_the_order_of_changes_makes_no_difference(changes):
    assert plan(*changes).digest == plan(*ALL).digest
    assert plan(*changes).apply(BODY) == plan(*ALL).apply(BODY)


OTHERS = [
    pytest.param(plan(TLS, hub=HubId("s", "g", "h2")), id="hub"),
    pytest.param(plan(TLS, hub=HubId("s", "g2", "h")), id="group"),
    pytest.param(plan(TLS, etag="AAAB="), id="etag"),
    pytest.param(plan(replace(TLS, before="1.1")), id="before"),
    pytest.param(plan(replace(TLS, before=ABSENT)), id="before absent"),
    pytest.param(plan(replace(TLS, before=None)), id="before null"),
    pytest.param(plan(replace(TLS, after="1.3")), id="after"),
    pytest.param(plan(replace(TLS, after=1.2)), id="after a number"),
    pytest.param(plan(replace(TLS, after=None)), id="after null"),
    pytest.param(plan(replace(TLS, after=ABSENT)), id="after absent"),
    pytest.param(plan(replace(TLS, path=("properties", "x"))), id="path"),
    pytest.param(plan(replace(TLS, path=("properties.minTlsVersion",))), id="a dot in a key is no path"),
    pytest.param(plan(replace(TLS, rule_id="other")), id="rule"),
    pytest.param(plan(TLS, LOCAL), id="one more"),
]


@pytest.mark.parametrize("other", OTHERS)
def test_everything_enters_the_digest(other):
    assert other.digest != plan(TLS).digest


def test_no_two_of_them_have_one_digest():
    assert len({param.values[0].digest for param in OTHERS}) == len(OTHERS)


def test_the_casing_of_the_hub_does_not_enter_the_digest():
    assert plan(TLS, hub=HubId("S", "G", "H")).digest == plan(TLS).digest


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param((), id="empty"),
        pytest.param((TLS, TLS), id="twice"),
        pytest.param((TLS, replace(TLS, after="1.3", rule_id="x")), id="same path"),
        pytest.param((TLS, Change(("properties",), {}, {}, "x")), id="parent"),
        pytest.param(
            (GONE, LOCAL, Change(("properties", "routing", "x", "y"), 1, 2, "x"), TLS), id="child, apart"
        ),
        pytest.param((Change((), {}, {}, "x"),), id="everything"),
        pytest.param((TLS, Change((), {}, {}, "x")), id="everything and more"),
    ],
)
def test_refused(changes):
    with pytest.raises(PlanError):
        plan(*changes)


def test_a_common_beginning_of_a_name_is_no_overlap():
    plan(Change(("a", "b"), 1, 2, "x"), Change(("a", "bc"), 1, 2, "x"), Change(("a-b",), 1, 2, "x"))


@given(st.lists(st.sampled_from(ALL), min_size=1, unique_by=lambda change: change.path))
def test_apply_touches_the_declared_paths_and_no_others(changes):
    before = copy.deepcopy(BODY)
    made = plan(*changes).apply(BODY)
    assert same(BODY, before)
    assert set(differences(BODY, made)) == {change.path for change in changes}
    assert all(same(get_at(made, change.path), change.after) for change in changes)
    assert list(made) == list(BODY)


@pytest.mark.parametrize("etag", ["AAAB=", "aaaa=", "", None, 1, ["AAAA="]])
def test_another_etag_is_refused(etag):
    with pytest.raises(PlanError, match="etag"):
        plan(TLS).apply({**BODY, "etag": etag})


def test_a_body_without_etag_is_refused():
    with pytest.raises(PlanError, match="etag"):
        plan(TLS).apply({key: value for key, value in BODY.items() if key != "etag"})


@pytest.mark.parametrize(
    ("before", "found"),
    [
        ("1.0", "1.1"),
        ("1.0", None),
        ("1.0", 1.0),
        (None, ABSENT),
        (ABSENT, None),
        (1, True),
        (0, False),
        (1, 1.0),
        ([1], [True]),
        ({"a": [0]}, {"a": [False]}),
        ({}, []),
    ],
    ids=repr,
)
def test_another_value_is_refused(before, found):
    body = {"etag": "AAAA=", "properties": {} if found is ABSENT else {"minTlsVersion": found}}
    with pytest.raises(PlanError, match=r"properties\.minTlsVersion is no longer"):
        plan(replace(TLS, before=before)).apply(body)


@pytest.mark.parametrize("properties", [None, [], "x", 1])
def test_a_body_without_room_for_the_change_is_refused(properties):
    with pytest.raises(PlanError, match="properties is no object"):
        plan(NEW).apply({"etag": "AAAA=", "properties": properties})


def test_a_change_reads_as_a_line():
    assert str(TLS) == "properties.minTlsVersion: '1.0' → '1.2'"
    assert str(NEW) == "properties.publicNetworkAccess: (absent) → 'Disabled'"


@pytest.mark.parametrize(
    ("earlier", "later", "told"),
    [
        ((TLS,), (TLS,), ["The changes are the same; the hub was written in between, by whomever."]),
        (
            (TLS,),
            (replace(TLS, before="1.1"),),
            ["properties.minTlsVersion: was '1.0' → '1.2', is now '1.1' → '1.2'"],
        ),
        ((TLS,), (TLS, NEW), ["properties.publicNetworkAccess: new in this plan: (absent) → 'Disabled'"]),
        ((TLS, NEW), (NEW,), ["properties.minTlsVersion: no longer in this plan; it was: '1.0' → '1.2'"]),
        (
            (replace(TLS, target=Target.POLICIES),),
            (TLS,),
            [
                "policies properties.minTlsVersion: no longer in this plan; it was: '1.0' → '1.2'",
                "properties.minTlsVersion: new in this plan: '1.0' → '1.2'",
            ],
        ),
    ],
)
def test_what_is_different_in_a_plan_is_told_place_by_place(earlier, later, told):
    as_json = ([change.as_json() for change in changes] for changes in (earlier, later))
    assert list(plan_difference(*as_json)) == told


@given(st.sets(st.integers(0, 3)), st.sets(st.integers(0, 3)))
def test_every_place_that_differs_is_told_and_no_other(earlier, later):
    told = plan_difference(*([ALL[index].as_json() for index in chosen] for chosen in (earlier, later)))
    if earlier == later:
        assert len(told) == 1
    else:
        assert len(told) == len(earlier ^ later)
