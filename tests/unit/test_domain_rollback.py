"""Undoing a write, pure: what is there, what leads back, and what cannot."""

from __future__ import annotations

import re

from dataclasses import replace

import pytest

from hypothesis import given
from hypothesis import strategies as st

from hubwarden.domain.finding import finding_id, rollback_finding_id
from hubwarden.domain.jsons import ABSENT, same
from hubwarden.domain.plan import Change, Target
from hubwarden.domain.remediation import Outcome, Remediation, remediation_id
from hubwarden.domain.rollback import facets_of, moved, not_back, obstacle, shortfalls, undoing, unread, value_at
from hubwarden.domain.snapshot import Facet, Snapshot, Unread
from tests.unit.fakes import HUB, START


SOLUTION = (
    f"/subscriptions/{HUB.subscription}/resourcegroups/rg/providers/microsoft.security/iotsecuritysolutions/s"
)
FACETS = {
    Facet.HUB: {"etag": "e", "properties": {"minTlsVersion": "1.2"}},
    Facet.POLICIES: {"policies": [{"keyName": "Service", "rights": ["ServiceConnect", "DeviceConnect"]}]},
    Facet.DIAGNOSTICS: {"settings": [{"name": "HubWarden", "properties": {"logs": []}}]},
    Facet.DEFENDER: {
        "solutions": [
            {
                "id": SOLUTION.upper(),
                "name": "s",
                "type": "t",
                "location": "w",
                "properties": {"status": "Enabled"},
            }
        ]
    },
}
SEEN = Snapshot(HUB, START, FACETS)
PLACES = [
    (("properties", "minTlsVersion"), Target.HUB, "1.2"),
    (("properties", "unheardOf"), Target.HUB, ABSENT),
    (("service",), Target.POLICIES, {"rights": ["DeviceConnect", "ServiceConnect"]}),
    (("gone",), Target.POLICIES, ABSENT),
    (("hubwarden",), Target.DIAGNOSTICS, {"logs": []}),
    (("gone",), Target.DIAGNOSTICS, ABSENT),
    ((SOLUTION, "properties", "status"), Target.DEFENDER, "Enabled"),
    ((SOLUTION, "properties", "workspace"), Target.DEFENDER, ABSENT),
    ((SOLUTION,), Target.DEFENDER, {"location": "w", "properties": {"status": "Enabled"}}),
    ((SOLUTION + "2", "properties"), Target.DEFENDER, ABSENT),
]

texts = st.text(max_size=3)
values = st.recursive(st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner, max_size=2)
                      | st.dictionaries(texts, inner, max_size=2), max_leaves=4)  # fmt: skip
changes = st.builds(
    Change, st.lists(texts, min_size=1, max_size=3).map(tuple), st.just(ABSENT) | values, st.just(ABSENT) | values,
    texts, st.sampled_from(Target),
)  # fmt: skip


def change(path, before, after, target=Target.HUB):
    return Change(path, before, after, "a-rule", target)


def remediation(*undo, outcome=Outcome.PROVEN, rolls_back=None):
    return Remediation(
        "r-1", HUB, ("a-rule",), ("f-1",), Target.HUB, "sha256:1", "e", (), (), START, outcome,
        tuple(one.as_json() for one in undo), rolls_back,
    )  # fmt: skip


@given(changes)
def test_a_change_is_the_same_after_it_was_stored(one):
    again = Change.of(one.as_json())
    assert again == one
    assert same(again.before, one.before)
    assert same(again.after, one.after)


@pytest.mark.parametrize(("path", "target", "expected"), PLACES)
def test_what_a_place_holds_is_told_as_changes_tell_it(path, target, expected):
    one = change(path, "x", "y", target)
    assert same(value_at(SEEN, one), expected)
    [back] = undoing([one], SEEN)
    assert back == replace(one, before=expected, after="x")
    assert list(moved([back], SEEN)) == []
    assert list(not_back([replace(back, after=expected)], SEEN)) == []
    assert len(list(moved([replace(back, before="another")], SEEN))) == 1
    assert len(list(not_back([replace(back, after="another")], SEEN))) == 1


@pytest.mark.parametrize("target", Target)
def test_what_could_not_be_read_says_nothing(target):
    places = [change(("a",), 1, 2, target)]
    assert unread(SEEN, places) is None
    for facet in facets_of(places):
        assert unread(replace(SEEN, facets={**FACETS, facet: Unread("no right")}), places) == "no right"


ALIKE = [
    (None, ABSENT, True),
    ({"a": None, "b": [{"c": None}]}, {"b": [{}]}, True),
    ([None], [], False),
    ("", ABSENT, False),
    (1, True, False),
    ({"a": {}}, {}, False),
]


@pytest.mark.parametrize(("wanted", "there", "alike"), ALIKE)
def test_null_and_absence_are_the_same_to_arm_and_nothing_else_is(wanted, there, alike):
    body = {"etag": "e"} if there is ABSENT else {"etag": "e", "x": there}
    seen = replace(SEEN, facets={**FACETS, Facet.HUB: body})
    assert (list(not_back([change(("x",), 5, wanted)], seen)) == []) is alike


TLS_BACK = change(("properties", "minTlsVersion"), "1.2", "1.0")
OBSTACLES = [
    (remediation(TLS_BACK), None),
    (remediation(change(("rogue",), ABSENT, {"rights": ["ServiceConnect"]}, Target.POLICIES)), None),
    (remediation(change(("hubwarden",), {"logs": []}, {"logs": [1]}, Target.DIAGNOSTICS)), None),
    (remediation(change((SOLUTION, "properties", "status"), "Enabled", ABSENT, Target.DEFENDER)), None),
    (remediation(change(("hubwarden",), {"logs": []}, ABSENT, Target.DIAGNOSTICS)), "hold f-1 .*settings delete"),
    (remediation(change((SOLUTION,), {}, ABSENT, Target.DEFENDER)), "hold f-1 .*--solution-name s .*group rg"),
    (remediation(change(("properties", "minTlsVersion"), "1.2", "")), "empty text"),
    (remediation(TLS_BACK, rolls_back="r-0"), "release what it holds .f-1."),
    (remediation(), "not proven"),
    (remediation(TLS_BACK, outcome=Outcome.ROLLED_BACK), "already"),
    *((remediation(TLS_BACK, outcome=outcome), "not proven") for outcome in Outcome
      if outcome not in {Outcome.PROVEN, Outcome.ROLLED_BACK}),
]  # fmt: skip


@pytest.mark.parametrize(("kept", "said"), OBSTACLES)
def test_what_no_machine_can_roll_back_says_what_a_person_does(kept, said):
    why = obstacle(kept)
    if said is None:
        assert why is None
    else:
        assert re.search(said, str(why))


SHORTFALLS = [
    (({"rights": ["a"]}, ABSENT), (ABSENT, {"rights": ["a"]}), Target.POLICIES, "comes back with new keys"),
    (({"rights": ["a", "b"]}, {"rights": ["a"]}), ({"rights": ["a"]}, {"rights": ["a", "b"]}), Target.POLICIES,
     "wider rights"),
    (({"rights": ["a"]}, {"rights": ["a"], "newKeys": True}), ({"rights": ["a"]}, {"rights": ["a"]}),
     Target.POLICIES, "from before stay invalid"),
    (({}, {"x": 1}), ({"x": 1}, {}), Target.DIAGNOSTICS, "put back whole"),
    (([], ["h"]), (["h"], []), Target.DEFENDER, "no etag"),
]  # fmt: skip


@pytest.mark.parametrize(("fix", "back", "target", "said"), SHORTFALLS)
def test_what_will_not_be_as_it_was_is_said_beforehand(fix, back, target, said):
    path = ("n", "properties", "iotHubs") if target is Target.DEFENDER else ("n",)
    told = " ".join(shortfalls([change(path, *fix, target)], [change(path, *back, target)]))
    assert said in told
    whole = said not in {"comes back with new keys", "from before stay invalid"}
    assert ("not whole" in told) is not whole


@given(st.text(), st.text())
def test_a_rollback_has_no_drifts_id(rule, subject):
    assert rollback_finding_id("r-1") != finding_id(HUB, rule, subject)


def test_a_remediation_is_named_by_plan_and_moment():
    one = remediation_id("sha256:1", START)
    assert one == remediation_id("sha256:1", START)
    assert one not in {remediation_id("sha256:2", START), remediation_id("sha256:1", START.replace(microsecond=1))}
    assert one.startswith("r-")
    assert len(one) == 18
