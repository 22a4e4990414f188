"""The soak's own checks: each finds what it is there for, and nothing where all is well."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hubwarden.domain.finding import Event, Finding, State, Step
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.severity import Severity
from local.soak.checks import lost, needless, unaudited, unpermitted
from local.soak.ledger import HubState, replay


NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
PATH = "/subscriptions/s/resourcegroups/g/providers/microsoft.devices/iothubs/h"
FINE = HubState("1.2", {"iothubowner": "all"}, {"to-central"}, {"plant": "h"})
DRIFTED = replace(FINE, tls="1.0")


def finding(state=State.TICKETED, reason="a lock", rule="tls-minimum"):
    step = Step(NOW, Event.TICKET, state, reason)
    hub = HubId("s", "g", "h")
    return Finding(hub, rule, "", Severity.HIGH, "drift", NOW, NOW, state=state, history=(step,))


@pytest.mark.parametrize(
    ("state", "findings", "told"),
    [
        (FINE, [], []),
        (FINE, [finding(State.RESOLVED)], []),
        (DRIFTED, [finding()], []),
        (DRIFTED, [finding(State.HELD)], []),
        (DRIFTED, [], ["h drifts from tls-minimum, and no finding says so"]),
        (DRIFTED, [finding(State.RESOLVED)], ["h drifts from tls-minimum, and no finding says so"]),
        (DRIFTED, [finding(rule="diagnostics")], ["no finding says so", "h holds diagnostics"]),
        (DRIFTED, [finding(State.APPROVED)], ["its finding is approved without an end"]),
        (DRIFTED, [finding(State.VERIFYING)], ["its finding is verifying without an end"]),
        (DRIFTED, [finding(reason="")], ["its finding is ticketed without an end"]),
        (FINE, [finding()], ["h holds tls-minimum, and its finding is still ticketed"]),
        (replace(FINE, policies={"rogue": "all"}), [], ["h drifts from sas-policies"]),
        (replace(FINE, settings=set()), [], ["h drifts from diagnostics"]),
    ],
)
def test_a_lost_finding_is_found(state, findings, told):
    found = list(lost({"h": state}, findings))
    assert len(found) == len(told)
    assert all(part in sentence for part, sentence in zip(told, found, strict=True))


def put(second, *, by="hubwarden", taken=201, method="PUT", path=PATH, **properties):
    body = {"tags": {"plant": "h"}, "properties": {"minTlsVersion": "1.2"} | properties}
    time = (NOW + timedelta(seconds=second)).isoformat()
    return {"number": second, "time": time, "principal": by, "method": method, "path": path,
            "taken": taken, "body": body}  # fmt: skip


def line(second, outcome="about to be sent", findings=("f-1",)):
    at = (NOW + timedelta(seconds=second)).isoformat()
    return {"kind": "write", "at": at, "hub": PATH, "outcome": outcome, "findings": [*findings]}


SETTING = f"{PATH}/providers/microsoft.insights/diagnosticSettings/hubwarden"


@pytest.mark.parametrize(
    ("requests", "audit", "told"),
    [
        ([], [], []),
        ([put(2)], [line(1), line(3, "accepted")], []),
        ([put(2, by="Robin")], [], []),
        ([put(2, taken=None)], [line(1)], []),
        ([put(2)], [], ["request 2 wrote h without an audit line before it"]),
        ([put(2, path=SETTING)], [], ["request 2 wrote h without an audit line before it"]),
        ([put(2, taken=None)], [], ["request 2 wrote h"]),
        ([put(2)], [line(3)], ["request 2 wrote h"]),
        ([put(2), put(4)], [line(1)], ["request 4 wrote h"]),
        ([], [line(1), line(2, "accepted")], ["1 accepted writes of h; Azure took 0"]),
        ([put(2, taken=412)], [line(1), line(2, "accepted")], ["1 accepted writes of h; Azure took 0"]),
    ],
)
def test_an_unaudited_write_is_found(requests, audit, told):
    found = list(unaudited(requests, audit, "hubwarden"))
    assert len(found) == len(told)
    assert all(part in sentence for part, sentence in zip(told, found, strict=True))


def moved(to, from_="open", rule="tls-minimum"):
    return {"kind": "finding", "finding": "f-1", "rule": rule, "from": from_, "to": to}


YES = {"kind": "approval", "finding": "f-1", "decision": "approved by Kim: fine"}
NO = {"kind": "approval", "finding": "f-1", "decision": "rejected by Kim: no"}


@pytest.mark.parametrize(
    ("audit", "told"),
    [
        ([moved("approved", None), line(1)], None),
        ([moved("awaiting_approval"), YES, moved("approved"), line(1)], None),
        ([moved("approved", rule="sas"), line(1)], "nobody said yes to"),
        ([moved("awaiting_approval", rule="sas"), NO, moved("approved", rule="sas"), line(1)], "nobody said yes"),
        ([moved("awaiting_approval", rule="sas"), YES, moved("approved", rule="sas"), line(1)], None),
        ([line(1)], "was not approved"),
        ([moved("awaiting_approval"), line(1)], "was not approved"),
        ([moved("approved"), moved("ticketed", "resolved"), line(1)], "was not approved"),
        ([moved("approved", rule="sas"), YES, moved("awaiting_approval", rule="sas"), line(1)], "nobody said yes"),
    ],
)
def test_a_write_without_permission_is_found(audit, told):
    found = list(unpermitted(audit, frozenset({"sas"})))
    assert bool(found) is (told is not None)
    assert told is None or told in found[0]


@pytest.mark.parametrize(
    ("requests", "told"),
    [
        ([put(1, by="Robin", minTlsVersion="1.0"), put(2)], []),
        ([put(1, by="Robin")], []),
        ([put(1, by="Robin", minTlsVersion="1.0"), put(2, taken=412), put(3)], []),
        ([put(1)], ["had no drift that it repaired"]),
        ([put(1, by="Robin", minTlsVersion="1.0"), put(2), put(3)], ["request 3 wrote h"]),
        (
            [put(1, by="Robin", path=SETTING, method="DELETE"), put(2, path=SETTING)],
            ["request 2 wrote h"],
        ),
        ([put(1, minTlsVersion="1.0")], ["had no drift", "broke ['tls-minimum']"]),
        (
            [
                put(1, by="Robin", minTlsVersion="1.0"),
                {**put(2), "body": {"properties": {"minTlsVersion": "1.2"}}},
            ],
            ["changed the tags"],
        ),
        (
            [put(1, by="Robin", minTlsVersion="1.0"), put(2, authorizationPolicies=[])],
            ["removed ['iothubowner']"],
        ),
    ],
)
def test_a_second_fix_and_a_fix_that_undoes_are_found(requests, told):
    found = list(needless(list(replay(requests, {"h": FINE})), "hubwarden"))
    assert len(found) == len(told)
    assert all(part in sentence for part, sentence in zip(told, found, strict=True))
