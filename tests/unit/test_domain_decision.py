from __future__ import annotations

import functools
import itertools

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
import yaml

from detectors import RULES
from hubwarden.domain.decision import Action, decide
from hubwarden.domain.finding import Event, Finding, Hold, Obstacle
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.policy import check_policy
from hubwarden.domain.rule import Mode, Remediator, Safety
from hubwarden.domain.severity import Severity


NOW = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
TODAY = date(2026, 11, 23)
HUB, RULE = HubId("s", "g", "h"), "tls-minimum"

MODES = [None, *Mode]
SAFETIES = [None, *Safety]
EXEMPTIONS = ["none", "active", "last day", "expired", "other hub", "other rule"]
OBSTACLES = ["none", "pending", "over", "just over", "for good"]
PRODUCT = list(itertools.product(MODES, SAFETIES, EXEMPTIONS, OBSTACLES, [False, True]))


@functools.cache
def policy(mode, exemption="none", *, accepted=False):
    until = {"active": TODAY + timedelta(days=30), "expired": TODAY - timedelta(days=1)}.get(exemption, TODAY)
    hub = "other" if exemption == "other hub" else "H"
    exempt = {
        "rule": "diagnostics" if exemption == "other rule" else RULE,
        "hub": f"/subscriptions/s/resourceGroups/G/providers/Microsoft.Devices/IotHubs/{hub}",
        "until": str(until),
        "reason": "a migration",
        "owner": "jo@example.com",
    }
    document = {
        "version": 1,
        "subscriptions": ["0b1f6471-1bf0-4dda-aec3-cb9272f09590"],
        "rules": {} if mode is None else {RULE: {"mode": str(mode)}},
        "exemptions": [] if exemption == "none" else [exempt],
        "accept_risk": [RULE] if accepted else ["diagnostics"],
    }
    made, problems = check_policy(yaml.safe_dump(document), RULES, today=TODAY)
    assert made is not None, problems
    return made


def remediator(safety):
    return None if safety is None else Remediator(RULE, safety, "because", (), (), lambda *_: iter(()))


def finding(obstacle):
    retry_at = {
        "pending": NOW + timedelta(seconds=1),
        "over": NOW - timedelta(days=1),
        "just over": NOW,
    }.get(obstacle)
    met = None if obstacle == "none" else Obstacle("a lock", NOW - timedelta(days=2), retry_at)
    return Finding(HUB, RULE, "", Severity.HIGH, "drift", NOW, NOW, obstacle=met)


def oracle(mode, safety, exemption, obstacle, accepted):
    """DESIGN decision 11 and the words table, read backwards: start from the most and take away."""
    if exemption in {"active", "last day"}:
        return "exempt"
    if mode in {None, "off", "report"}:
        return "report"
    may_write = mode in {"approve", "auto"} and safety is not None
    if accepted:
        needs_person, people_only = False, False
    else:
        needs_person, people_only = safety == "approval", safety == "ticket"
    if not may_write or people_only or obstacle in {"pending", "for good"}:
        return "ticket"
    return "fix" if mode == "auto" and not needs_person else "ask"


def test_what_is_only_told_is_reported_whatever_the_mode_unless_it_is_exempt():
    for mode, safety, exemption, obstacle, accepted in PRODUCT:
        told = replace(finding(obstacle), report_only=True)
        decision = decide(told, remediator(safety), policy(mode, exemption, accepted=accepted), NOW, {})
        assert decision.action == ("exempt" if exemption in {"active", "last day"} else "report")


def test_the_full_product():
    for mode, safety, exemption, obstacle, accepted in PRODUCT:
        case = (mode, safety, exemption, obstacle, accepted)
        decision = decide(
            finding(obstacle), remediator(safety), policy(mode, exemption, accepted=accepted), NOW, {}
        )
        assert decision.action == oracle(*case), case
        assert decision.reason, case
        if decision.action is Action.FIX:
            assert mode is Mode.AUTO, case
            assert safety is Safety.AUTO or (accepted and safety is not None), case
            assert exemption not in {"active", "last day"}, case
            assert obstacle in {"none", "over", "just over"}, case
        if decision.action is Action.ASK:
            assert mode in {Mode.APPROVE, Mode.AUTO}, case
            assert safety is not None, case


def test_the_product_has_every_answer_that_decide_can_give():
    answers = {oracle(*case) for case in PRODUCT}
    assert answers == {action.value for action in Action} - {"hold"}


def test_an_action_is_an_event():
    assert {Event(action.value) for action in Action} == {
        Event.REPORT, Event.TICKET, Event.ASK, Event.FIX, Event.HOLD, Event.EXEMPT,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "safety", "exemption", "obstacle", "words"),
    [
        (Mode.AUTO, Safety.AUTO, "active", "none", "exempt until 2026-12-23 by jo@example.com: a migration"),
        (Mode.TICKET, Safety.AUTO, "none", "none", "policy rules.tls-minimum.mode is ticket"),
        (Mode.AUTO, None, "none", "none", "no fix that a machine can make"),
        (Mode.AUTO, Safety.AUTO, "none", "pending", "a lock"),
        (Mode.AUTO, Safety.APPROVAL, "none", "none", "this fix needs an approval: because"),
        (Mode.APPROVE, Safety.TICKET, "none", "none", "this fix is left to people: because"),
    ],
)
def test_the_reason_names_what_decided(mode, safety, exemption, obstacle, words):
    assert words in decide(finding(obstacle), remediator(safety), policy(mode, exemption), NOW, {}).reason


@pytest.mark.parametrize(
    ("now", "exempt"),
    [
        (datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC), True),
        (datetime(2026, 11, 24, tzinfo=UTC), False),
        (datetime.fromisoformat("2026-11-24T01:30:00+02:00"), True),
        (datetime.fromisoformat("2026-11-23T22:30:00-02:00"), False),
    ],
)
def test_the_last_day_ends_at_midnight_utc(now, exempt):
    decision = decide(finding("none"), remediator(Safety.AUTO), policy(Mode.AUTO, "last day"), now, {})
    assert (decision.action is Action.EXEMPT) is exempt


def test_an_approval_that_the_operator_asked_for_is_his_reason_and_not_the_fix():
    decision = decide(finding("none"), remediator(Safety.APPROVAL), policy(Mode.APPROVE), NOW, {})
    assert (decision.action, decision.reason) == (Action.ASK, "policy rules.tls-minimum.mode is approve")


def test_what_somebody_holds_is_held_wherever_a_machine_would_ask_or_fix():
    for mode, safety, exemption, obstacle, accepted in PRODUCT:
        held = replace(finding(obstacle), hold=Hold("Kim", NOW, "the gateway is being replaced"))
        decision = decide(held, remediator(safety), policy(mode, exemption, accepted=accepted), NOW, {})
        wanted = oracle(mode, "auto", exemption, "none", accepted)
        assert decision.action == ("hold" if wanted in {"ask", "fix"} else wanted)
        assert decision.action != "hold" or decision.reason == "held by Kim: the gateway is being replaced"
