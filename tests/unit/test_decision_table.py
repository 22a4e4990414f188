"""Every combination that there can be, against a table that is data: tests/cases/decisions/table.yaml."""

from __future__ import annotations

import functools
import itertools
import re

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from detectors import RULES
from hubwarden.domain.decision import decide
from hubwarden.domain.finding import Finding, Hold, Limit, Obstacle, State
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.limits import Asked, Gate, Kill, Ledger, Limits
from hubwarden.domain.policy import check_policy
from hubwarden.domain.rule import Remediator, Safety
from hubwarden.domain.severity import Severity
from hubwarden.service.gate import gated


TABLE = yaml.safe_load((Path(__file__).parents[1] / "cases" / "decisions" / "table.yaml").read_text())
CELLS, ROWS = TABLE["cells"], TABLE["rows"]
NOW, TODAY = datetime(2026, 11, 23, 12, tzinfo=UTC), date(2026, 11, 23)
SUBSCRIPTION = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
HUB, RULE, SUBJECT = HubId(SUBSCRIPTION, "g", "h"), "tls-minimum", "gateway"

WRITTEN = {
    "file": {"until": "2026-11-23"},
    "file over": {"until": "2026-11-22"},
    "other subject": {"until": "2026-12-31", "subject": "other"},
}
TAGGED = {
    "tag": f"{RULE}=2026-11-23;reason=a migration;owner=jo;subject={SUBJECT}",
    "tag over": f"{RULE}=2026-11-22;reason=a migration;owner=jo",
    "tag refused": f"{RULE}=2026-12-31;reason=a migration;owner=jo",
    "tag refused for rule": f"{RULE}=2026-12-31;reason=a migration;owner=jo",
    "tag unreadable": f"{RULE}=2026-12-31;owner=jo",
    "tag unreadable but refused": f"{RULE}=2026-12-31;owner=jo",
    "tag unreadable of another rule": "diagnostics=2026-12-31;owner=jo",
}
REFUSED = {"tag refused", "tag unreadable but refused"}
BY_TAG = {*TAGGED, "tags allowed and not known"} - REFUSED
TIMES = {
    "no windows": {},
    "open": {"maintenance": [{"windows": [{"from": "11:00", "to": "13:00"}]}]},
    "outside": {"maintenance": [{"windows": [{"from": "13:00", "to": "11:00"}]}]},
    "frozen": {"freeze": [{"from": "2026-11-23", "until": "2026-11-23", "reason": "the fair"}]},
}
OBSTACLES = {
    "none": None,
    "for a day": Obstacle("a lock", NOW, NOW + timedelta(seconds=1)),
    "over": Obstacle("a lock", NOW, NOW),
    "for good": Obstacle("a lock", NOW, final=True),
}


@functools.cache
def policy(mode, risk, exemption, time, enforcement):
    about = {"rule": RULE, "hub": HUB.path, "reason": "a migration", "owner": "jo"}
    document = {
        "version": 1,
        "subscriptions": [SUBSCRIPTION],
        "rules": {} if mode == "not named" else {RULE: {"mode": mode}},
        "accept_risk": [RULE] if risk == "taken" else ["diagnostics"],
        "exemptions": [about | WRITTEN[exemption]] if exemption in WRITTEN else [],
        "exemptions_by_tag": "allowed" if exemption in BY_TAG else "refused",
        "refuse_tag_exemptions": [RULE] if exemption == "tag refused for rule" else [],
        "enforcement": enforcement,
        **TIMES[time],
    }
    made, problems = check_policy(yaml.safe_dump(document), RULES, today=TODAY)
    assert made is not None, problems
    return made


def decided(case):
    return _decided(*case.values())


@functools.cache
def _decided(*values):
    case = dict(zip(CELLS, values, strict=True))
    made = policy(*(case[name] for name in ("mode", "risk", "exemption", "time", "enforcement")))
    tags = {"hubwarden-exempt": TAGGED[case["exemption"]]} if case["exemption"] in TAGGED else {}
    if case["managed"] == "by code":
        tags["managed-by"] = "terraform"
    fix = (
        None
        if case["fix"] == "none"
        else Remediator(RULE, Safety(case["fix"]), "because", (), (), lambda *_: iter(()))
    )
    hold = Hold("Kim", NOW, "the gateway is being replaced") if case["hold"] == "held" else None
    finding = Finding(
        HUB, RULE, SUBJECT, Severity.HIGH, "drift", NOW, NOW, obstacle=OBSTACLES[case["obstacle"]], hold=hold
    )
    return decide(finding, fix, made, NOW, None if case["managed"] == "not known" else tags)


def fits(row, case):
    return all(
        case[name] in ([row[name]] if isinstance(row[name], str) else row[name]) for name in CELLS if name in row
    )


def cases():
    for values in itertools.product(*CELLS.values()):
        case = dict(zip(CELLS, values, strict=True))
        if not any(fits(row, case) for row in TABLE["never"]):
            yield case


def test_every_combination_is_decided_as_the_table_says():
    used = [0] * len(ROWS)
    for case in cases():
        number, row = next((number, row) for number, row in enumerate(ROWS) if fits(row, case))
        decision = decided(case)
        assert (decision.action, decision.instead_of) == (row["then"], row.get("instead_of")), (case, row)
        assert row["says"] in decision.reason, (case, decision.reason)
        assert (decision.exempted is not None) is (row["then"] == "exempt"), case
        used[number] += 1
    assert sum(used) > 50_000
    assert all(used), [row for number, row in enumerate(ROWS) if not used[number]]


def test_a_fix_needs_everything_to_allow_it():
    """Not from the table: what must hold whatever the table says."""
    for case in cases():
        decision = decided(case)
        if decision.action == "fix":
            assert (case["mode"], case["hold"], case["enforcement"]) == ("auto", "none", "enforce"), case
            assert case["fix"] == "auto" or (case["risk"] == "taken" and case["fix"] != "none"), case
            assert case["time"] in {"no windows", "open"}, case
            assert case["obstacle"] in {"none", "over"}, case
            assert case["managed"] == "nobody says", case
            assert case["exemption"] not in {"file", "tag", "tag unreadable", "tags allowed and not known"}, case
        if decision.action == "ask":
            assert case["mode"] in {"approve", "auto"}, case
            assert (case["hold"], case["enforcement"]) == ("none", "enforce"), case
            assert case["fix"] != "none", case


GATES = {
    "open": Gate(Limits(), NOW),
    "kill": Gate(Limits(), NOW, Kill(on=True, by="robin", at=NOW, reason="odd")),
    "errors": Gate(Limits(), NOW, ledger=Ledger(tripped="11 of 20 failed", tripped_at=NOW)),
    "share": Gate(Limits(), NOW, asked={RULE: Asked(RULE, HUB, NOW, 40, 50)}),
    "breaker": Gate(Limits(), NOW, fixes={RULE: frozenset(NOW - timedelta(hours=n) for n in range(3))}),
    "budget": Gate(Limits(), NOW),
    "unread": Gate(Limits(), NOW, unread="HTTP 503"),
}


@pytest.mark.parametrize("limit", GATES)
def test_of_every_combination_a_limit_holds_what_the_table_would_fix_and_nothing_else(limit):
    """What stops what among the limits is in test_domain_limits.py, for each combination of them."""
    for case in cases():
        decision = decided(case)
        waits = Finding(HUB, RULE, SUBJECT, Severity.HIGH, "drift", NOW, NOW)
        if limit == "budget":
            waits = replace(waits, state=State.HELD, limit=Limit.BUDGET)
        _, after = gated(GATES[limit], waits, decision)
        held = decision.action == "fix" and limit != "open"
        assert after.action == ("hold" if held else decision.action), case


def test_what_a_tag_that_is_refused_says_is_told_and_changes_nothing():
    for case in cases():
        if case["exemption"] in {"tag refused", "tag refused for rule", "tag unreadable but refused"}:
            with_tag, without = decided(case), decided(case | {"exemption": "none"})
            assert with_tag.action == without.action, case
            told = re.search(r"tag hubwarden-exempt counts for nothing", with_tag.reason)
            assert told or "policy rules." not in with_tag.reason, (case, with_tag.reason)


@pytest.mark.parametrize("name", list(CELLS))
def test_no_cell_has_a_value_that_makes_no_difference_to_nobody(name):
    """A cell that decided nothing would be a cell that nobody wrote."""
    decisive = set()
    for case in itertools.islice(cases(), 0, None, 7):
        for value in CELLS[name]:
            other = case | {name: value}
            if (
                not any(fits(row, other) for row in TABLE["never"])
                and decided(other).action != decided(case).action
            ):
                decisive.add(value)
        if len(decisive) > 1:
            return
    raise AssertionError(f"{name} never decides: {decisive}")
