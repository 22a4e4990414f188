"""Exemptions in the policy file and as tags: what counts, what does not, and what stops the machine."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
import yaml

from hypothesis import given
from hypothesis import strategies as st

from detectors import RULES
from hubwarden.domain.decision import Action, decide
from hubwarden.domain.exemption import Exempted, read_tags
from hubwarden.domain.finding import Finding
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.policy import check_policy
from hubwarden.domain.severity import Severity
from remediators import REMEDIATORS


TODAY = date(2026, 11, 23)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SUBSCRIPTION = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
HUB = HubId(SUBSCRIPTION, "rg", "hub-one")
RULE, OTHER = "tls-minimum", "sas-policies"
GOOD = f"{RULE}=2027-01-31;reason=a migration;owner=jo"
LAST = TODAY + timedelta(days=90)


def policy(*exemptions, mode="auto", **more):
    document = {
        "version": 1,
        "subscriptions": [SUBSCRIPTION],
        "rules": {RULE: {"mode": mode}, OTHER: {"mode": mode}},
        "exemptions": list(exemptions),
    }
    made, problems = check_policy(yaml.safe_dump(document | more), RULES, today=TODAY)
    assert made is not None, problems
    return made


def written(until="2027-01-31", **more):
    return {"rule": RULE, "hub": HUB.path, "until": until, "reason": "a migration", "owner": "jo"} | more


def finding(rule=RULE, subject=""):
    return Finding(HUB, rule, subject, Severity.HIGH, "drift", NOW, NOW)


def decided(made, tags, *, now=NOW, rule=RULE, subject=""):
    return decide(finding(rule, subject), REMEDIATORS[rule], made, now, tags)


def read(value, tag="hubwarden-exempt"):
    [said] = read_tags({tag: value, "other": "x"}, {RULE, OTHER}, LAST)
    return said


@pytest.mark.parametrize(
    ("value", "subject"),
    [
        (GOOD, None),
        (f" {RULE.upper()} = 2027-01-31 ; Owner = jo ;REASON= a migration;", None),
        (f"{RULE}=2027-01-31;owner=jo;reason=a migration;subject=old-gateway", "old-gateway"),
    ],
)
def test_a_tag_is_read_without_case_and_blanks(value, subject):
    said = read(value)
    assert (said.rule, said.subject, said.trouble) == (RULE, subject, None)
    assert said.exempted == Exempted(date(2027, 1, 31), "a migration", "jo", "the hub's tag hubwarden-exempt")


@pytest.mark.parametrize(
    ("value", "rule", "trouble"),
    [
        ("", None, "does not begin with a rule's id"),
        ("please", None, "does not begin with a rule's id"),
        ("tls=2027-01-31;reason=r;owner=o", None, "does not begin with a rule's id"),
        (RULE, RULE, "reason is missing"),
        (f"{RULE}=2027-01-31", RULE, "reason is missing"),
        (f"{RULE}=2027-01-31;reason=r", RULE, "owner is missing"),
        (f"{RULE}=2027-01-31;reason= ;owner=o", RULE, "reason is missing"),
        (f"{RULE}=2027-01-31;reason=\u200b;owner=o", RULE, "reason is missing"),
        (f"{RULE}=2027-01-31;reason=r;owner=\u00ad\u2060", RULE, "owner is missing"),
        (f"{RULE}=2027-01-31;reason=r;owner=o;subject=", RULE, "subject is missing"),
        (f"{RULE};reason=r;owner=o", RULE, "must be a day"),
        (f"{RULE}=31.1.2027;reason=r;owner=o", RULE, "must be a day"),
        (f"{RULE}=2027-02-30;reason=r;owner=o", RULE, "must be a day of the calendar"),
        (f"{RULE}=2027-01-31;reason=r;owner=o;until=never", RULE, "'until' is no part"),
        (f"{RULE}=2027-01-31;reason=r;owner=o;owner=p", RULE, "twice"),
        (f"{RULE}=2027-01-31;reason=r;owner=o;sas-policies=2027-01-31", RULE, "is no part"),
        (f"{RULE}={LAST + timedelta(days=1)};reason=r;owner=o", RULE, f"too far ahead: {LAST} is the last day"),
        (None, None, "does not begin with a rule's id"),
    ],
)
def test_what_is_wrong_with_a_tag_is_said_and_whose_it_is_as_far_as_legible(value, rule, trouble):
    said = read(value)
    assert said.exempted is None
    assert said.rule == rule
    assert trouble in said.trouble


@given(st.text(max_size=60) | st.text(alphabet=f"{RULE}=;2027-01-31reasonowner ", max_size=80))
def test_any_tag_is_an_exemption_or_has_a_trouble(value):
    said = read(value)
    assert (said.exempted is None) is (said.trouble is not None)
    if said.exempted:
        assert said.exempted.reason
        assert said.exempted.owner
        assert said.exempted.until <= LAST


@pytest.mark.parametrize("name", ["reason", "owner", "subject"])
@pytest.mark.parametrize("value", ["", " ", "\u200b", "\u00a0\ufeff", "\u0301"])
def test_words_that_nobody_can_read_are_refused_in_the_file(name, value):
    document = {"version": 1, "subscriptions": [SUBSCRIPTION], "exemptions": [written(**{name: value})]}
    made, problems = check_policy(yaml.safe_dump(document), RULES, today=TODAY)
    assert made is None
    assert [str(each).partition(", ")[2] for each in problems] == [
        f"exemptions[0].{name}: says nothing: write it in words"
    ]


def test_tags_count_for_nothing_unless_the_file_allows_them():
    tags = {"hubwarden-exempt": GOOD}
    refused = decided(policy(), tags)
    assert refused.action is Action.FIX
    assert "tag hubwarden-exempt counts for nothing: policy exemptions_by_tag is refused" in refused.reason
    allowed = decided(policy(exemptions_by_tag="allowed"), tags)
    assert allowed.action is Action.EXEMPT
    assert allowed.reason == "exempt until 2027-01-31 by jo: a migration (the hub's tag hubwarden-exempt)"
    by_rule = decided(policy(exemptions_by_tag="allowed", refuse_tag_exemptions=[RULE]), tags)
    assert by_rule.action is Action.FIX
    assert "policy refuse_tag_exemptions names the rule" in by_rule.reason


def test_several_tags_exempt_from_several_rules_and_each_from_its_own():
    made = policy(exemptions_by_tag="allowed")
    tags = {"HubWarden-Exempt": GOOD, "hubwarden-exempt-2": f"{OTHER}=2026-12-01;reason=r;owner=o;subject=Old"}
    assert decided(made, tags).action is Action.EXEMPT
    assert decided(made, tags, rule=OTHER, subject="old").action is Action.EXEMPT
    assert decided(made, tags, rule=OTHER, subject="new").action is not Action.EXEMPT


@pytest.mark.parametrize("mode", ["auto", "approve"])
@pytest.mark.parametrize(
    ("value", "stopped"),
    [
        ("what", {RULE, OTHER}),
        (f"{RULE}=2027-01-31", {RULE}),
        (f"{OTHER}=2099-01-31;reason=r;owner=o", {OTHER}),
    ],
)
def test_a_tag_that_cannot_be_read_exempts_nothing_and_stops_the_machine(mode, value, stopped):
    made = policy(exemptions_by_tag="allowed", mode=mode)
    for rule in (RULE, OTHER):
        decision = decided(made, {"hubwarden-exempt-x": value}, rule=rule)
        if rule in stopped:
            assert decision.action is Action.TICKET
            assert "tag hubwarden-exempt-x is no exemption that can be read" in decision.reason
            assert "nothing is fixed here" in decision.reason
        else:
            assert decision.action in {Action.FIX, Action.ASK}


def test_tags_that_are_not_known_may_exempt_so_nothing_is_fixed_where_they_count():
    assert decided(policy(exemptions_by_tag="allowed"), None).action is Action.TICKET
    assert decided(policy(), None).action is Action.ASK
    assert decided(policy(exemptions_by_tag="allowed", refuse_tag_exemptions=[RULE]), None).action is Action.ASK


def test_a_tag_that_is_over_is_no_trouble_and_no_exemption():
    made = policy(exemptions_by_tag="allowed")
    tags = {"hubwarden-exempt": f"{RULE}=2026-11-23;reason=r;owner=o"}
    assert decided(made, tags).action is Action.EXEMPT
    assert decided(made, tags, now=NOW + timedelta(hours=12)).action is Action.FIX


def test_what_is_too_far_ahead_is_taken_once_it_is_near_enough():
    made = policy(exemptions_by_tag="allowed", exemption_max_days=10)
    tags = {"hubwarden-exempt": f"{RULE}=2026-12-04;reason=r;owner=o"}
    assert decided(made, tags).action is Action.TICKET
    assert decided(made, tags, now=NOW + timedelta(days=1)).action is Action.EXEMPT


def test_the_longest_of_several_exemptions_counts():
    made = policy(written("2026-12-01"), written("2027-02-01", reason="longer"), exemptions_by_tag="allowed")
    exempted = decided(made, {"hubwarden-exempt": GOOD}).exempted
    assert (exempted.until, exempted.source) == (date(2027, 2, 1), "policy exemptions[1]")


def test_an_exemption_in_the_file_holds_whatever_the_tags_are():
    made = policy(written(), exemptions_by_tag="allowed")
    for tags in (None, {"hubwarden-exempt": "what"}):
        assert decided(made, tags).action is Action.EXEMPT


def test_an_exemption_with_a_subject_is_for_that_alone():
    made = policy(written(rule=OTHER, subject="Old"))
    assert decided(made, {}, rule=OTHER, subject="old").action is Action.EXEMPT
    assert decided(made, {}, rule=OTHER, subject="new").action is not Action.EXEMPT


@pytest.mark.parametrize(("days", "good"), [(90, True), (91, False)])
def test_an_exemption_that_ends_too_late_is_refused_with_its_line(days, good):
    text = f"""\
version: 1
subscriptions: [{SUBSCRIPTION}]
exemptions:
  - rule: {RULE}
    hub: {HUB.path}
    until: {TODAY + timedelta(days=days)}
    reason: r
    owner: o
"""
    made, problems = check_policy(text, RULES, today=TODAY)
    assert (made is not None) is good
    if not good:
        [problem] = problems
        assert (problem.line, problem.path, problem.expired) == (6, "exemptions[0].until", False)
        assert "is 91 days ahead, and exemption_max_days is 90" in problem.message
    assert check_policy(text + "exemption_max_days: 91\n", RULES, today=TODAY)[1] == []


def test_a_rule_that_may_not_be_exempted_must_exist():
    text = f"version: 1\nsubscriptions: [{SUBSCRIPTION}]\nrefuse_tag_exemptions: [tls]\n"
    [problem] = check_policy(text, RULES, today=TODAY)[1]
    assert (problem.line, problem.path) == (3, "refuse_tag_exemptions[0]")
