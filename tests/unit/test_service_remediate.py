"""remediate: what is approved is put right in one write, in an order that makes it safe to stop anywhere."""

from __future__ import annotations

import asyncio
import copy
import logging

from dataclasses import replace
from datetime import timedelta

import pytest

from hubwarden.domain.audit import LONGEST_BLOCK
from hubwarden.domain.finding import Event, State
from hubwarden.domain.jsons import ABSENT, differences, get_at, with_value
from hubwarden.domain.plan import Change, Target
from hubwarden.domain.snapshot import Unread
from hubwarden.domain.verdict import Compliant, Drift, Unknown
from hubwarden.service.errors import (
    ConflictError,
    DeniedError,
    HubGoneError,
    PermanentError,
    StorageUnavailableError,
    TransientError,
)
from hubwarden.service.messages import RemediateMessage, VerifyMessage
from hubwarden.service.ports import Timings
from remediators import REMEDIATORS
from tests.unit.fakes import HUB, RECEIPT, RULES, SUB, TLS, World, ask, hub_id, policy


REMEDIATE = RemediateMessage(hub=HUB.path)


async def approved(**more):
    """A world in which a drift was seen and its fix is approved; the remediate message waits."""
    world = World(**more)
    world.hubs.add()
    world.hubs.change()
    await world.handle(ask(at=world.clock.now()))
    assert world.state() is State.APPROVED
    del world.log[:]
    world.hubs.calls.clear()
    return world


def sent(*, applied):
    error = TransientError("the connection broke", sent=True)
    error.applied = applied
    return error


# --- the write


async def test_exactly_one_write_that_differs_in_exactly_the_declared_path():
    world = await approved()
    before = copy.deepcopy(world.hubs.hubs[HUB].body)
    await world.run()
    assert world.hubs.count("put") == 1
    (put,) = world.hubs.effective
    assert put.etag == before["etag"]
    assert list(differences(before, put.body)) == [TLS]
    assert put.body == with_value(before, TLS, "1.2")
    assert put.body["somethingNew"] == {"nobody": ["knows", {"it": None}, 9007199254740993]}
    assert put.body["properties"]["unheardOf"] == {"deep": {"1": 1.0}}
    assert world.state() is State.RESOLVED
    assert not world.violations


async def test_an_absent_minimum_is_set():
    world = World()
    world.hubs.add()
    await world.event(world.hubs.change(value=ABSENT))
    world.hubs.hubs[HUB].occurrence = 1
    world.hubs._fine = lambda properties: "minTlsVersion" in properties
    await world.run()
    assert world.tls() == "1.2"
    assert not world.violations


async def test_claim_guard_and_audit_line_come_before_the_write():
    world = await approved()
    await world.handle(REMEDIATE)
    put = next(index for index, entry in enumerate(world.log) if entry[0] == "put")
    before, after = world.log[:put], world.log[put + 1 :]
    claimed = before.index(("finding", "tls-minimum", State.EXECUTING))
    guarded = before.index(("send", "VerifyMessage", world.timings.claim))
    written = before.index(("audit", "write", "about to be sent"))
    assert guarded < before.index(("audit", "finding", State.EXECUTING)) < claimed < written == put - 1
    assert [entry for entry in after if entry[0] != "audit" or entry[1] == "write"] == [
        ("audit", "write", "accepted"),
        ("finding", "tls-minimum", State.VERIFYING),
        ("send", "VerifyMessage", timedelta(seconds=2)),
    ]


async def test_the_audit_line_names_plan_changes_and_findings():
    world = await approved()
    await world.handle(REMEDIATE)
    told, accepted = world.audit.of("write")
    attempt = world.finding().attempt
    assert told == {
        "hub": HUB.path,
        "plan": attempt.digest,
        "remediation": attempt.remediation,
        "etag": attempt.etag,
        "changes": [
            {"path": list(TLS), "rule": "tls-minimum", "before": "1.0", "after": "1.2"}
        ],
        "findings": [world.finding().id],
        "outcome": "about to be sent",
    }  # fmt: skip
    assert accepted == told | {"outcome": "accepted", **RECEIPT.as_json()}


@pytest.mark.parametrize("receipt", [RECEIPT, None])
async def test_the_audit_line_of_a_refusal_names_azures_request_where_azure_has_answered(receipt):
    world = await approved()
    world.hubs.faults["put"].append(DeniedError("403 no").with_receipt(receipt))
    await world.handle(REMEDIATE)
    told, refused = world.audit.of("write")
    assert refused == told | {"outcome": "DeniedError: 403 no"} | (receipt.as_json() if receipt else {})


async def test_the_audit_line_after_the_proof_has_the_hubs_new_etag():
    world = await approved()
    before = world.hubs.hubs[HUB].body["etag"]
    await world.run()
    after = world.hubs.hubs[HUB].body["etag"]
    assert after != before
    [told] = world.audit.of("verified")
    assert told == {
        "hub": HUB.path,
        "plan": world.audit.of("write")[0]["plan"],
        "etag": after,
        "findings": [world.finding().id],
        "still_there": [],
    }


async def test_the_audit_line_after_a_write_without_effect_says_that_the_drift_is_there():
    world = await approved()
    world.hubs.no_effect = True
    await world.run()
    [told] = world.audit.of("verified")
    assert told["still_there"] == told["findings"] == [world.finding().id]


# --- what keeps it from writing


async def test_without_an_audit_line_nothing_is_written_and_nothing_is_stuck():
    world = await approved()
    world.audit.fails = lambda kind, _: kind == "write"
    await world.run(until=timedelta(minutes=2))
    assert world.hubs.count("put") == 0
    assert any(isinstance(error, StorageUnavailableError) for error in world.errors)
    world.audit.fails = lambda *_: False
    await world.live()
    assert world.state() is State.RESOLVED
    assert len(world.hubs.effective) == 1


async def test_a_line_that_is_too_long_for_the_trail_keeps_the_fix_from_being_written():
    world = await approved(remediators=remediator([(TLS, "1.0", "1" * LONGEST_BLOCK)]))
    await world.run(until=timedelta(minutes=2))
    assert world.hubs.count("put") == 0
    assert any("more than the 4194304 that fit" in str(error) for error in world.errors)


async def test_a_claim_that_cannot_be_audited_is_no_claim():
    world = await approved()
    world.audit.fails = lambda kind, details: details.get("to") is State.EXECUTING
    with pytest.raises(StorageUnavailableError):
        await world.handle(REMEDIATE)
    assert world.state() is State.APPROVED
    assert world.hubs.count("put") == 0


@pytest.mark.parametrize(("mode", "state"), [
    ("report", State.REPORTED), ("ticket", State.TICKETED), ("approve", State.AWAITING_APPROVAL),
    ("off", State.REPORTED),
])  # fmt: skip
async def test_policy_is_asked_again_just_before(mode, state):
    world = await approved()
    world.policy = policy(mode)
    await world.run()
    assert world.hubs.count("put") == 0
    assert world.state() is state


async def test_a_subscription_that_is_no_longer_named_is_not_touched():
    world = await approved()
    world.policy = policy(subscriptions=["aaaaaaaa-1bf0-4dda-aec3-cb9272f09590"])
    await world.run()
    assert not world.hubs.calls


async def test_a_drift_that_is_gone_meanwhile_is_resolved_without_a_write():
    world = await approved()
    world.hubs.change(value="1.3")
    await world.run()
    assert world.hubs.count("put") == 0
    assert world.state() is State.RESOLVED
    assert world.finding().history[-1].reason == "read before a fix: the hub no longer shows it"


async def test_a_hub_in_transition_is_fixed_later():
    world = await approved()
    world.hubs.busy_for(seconds=100)
    await world.run(until=timedelta(seconds=60))
    assert world.hubs.count("put") == 0
    assert world.state() is State.APPROVED
    await world.run()
    assert world.state() is State.RESOLVED
    assert len(world.hubs.effective) == 1


@pytest.mark.parametrize("state", ["Failed", "Accepted", None, "Transitioning"])
async def test_only_a_hub_that_is_said_to_be_at_rest_is_written(state):
    world = await approved()
    world.hubs.hubs[HUB].body = with_value(
        world.hubs.hubs[HUB].body, ("properties", "provisioningState"), ABSENT if state is None else state
    )
    await world.handle(REMEDIATE)
    assert world.hubs.count("put") == 0


async def test_a_hub_that_may_no_longer_be_read_is_not_touched():
    world = await approved()
    world.hubs.faults["get"] = [DeniedError("403 AuthorizationFailed")]
    await world.handle(REMEDIATE)
    assert world.hubs.count("put") == 0
    assert world.state() is State.TICKETED
    assert "cannot be read: 403 AuthorizationFailed" in world.tickets.open_ones[0].text
    await world.drift(path=("tags", "x"), value="y")
    await world.run()
    assert world.state() is State.RESOLVED


@pytest.mark.parametrize("state", ["Failed", None])
async def test_a_hub_that_is_not_at_rest_and_not_busy_goes_to_people(state):
    world = World()
    world.hubs.add(minTlsVersion="1.0")
    properties = world.hubs.hubs[HUB].body["properties"]
    properties["provisioningState"] = state
    if state is None:
        del properties["provisioningState"]
    await world.live(hours=12)
    assert world.hubs.count("put") == 0
    assert world.state() is State.TICKETED
    assert "provisioningState" in world.tickets.open_ones[0].text


async def test_a_fix_that_never_gets_its_turn_goes_to_people():
    world = await approved()
    world.hubs.busy_for(days=30)
    await world.live(hours=12)
    assert world.hubs.count("put") == 0
    assert world.state() is State.TICKETED
    assert "did not come to the fix" in world.tickets.open_ones[0].text


async def test_a_newer_look_of_somebody_else_is_not_overruled():
    """Between our read and our claim somebody changed the hub and another worker saw it: ours is an old plan."""
    world = await approved()
    changed = []

    async def look_again(name):
        if name == "after FakeHubs.get_hub" and not changed:
            changed.append(True)
            world.hubs.change(path=("tags", "a"), value="b")
            await world.handle(ask(at=world.clock.now()))

    passing = world.gates.pass_
    world.gates.pass_ = lambda name: look_again(name) if not changed else passing(name)
    world.hubs.if_match_enforced = False
    await world.handle(REMEDIATE)
    assert world.hubs.count("put") == 0
    await world.run()
    assert world.hubs.hubs[HUB].body["tags"]["a"] == "b"
    assert world.state() is State.RESOLVED


async def test_a_worker_that_got_ready_too_slowly_does_not_write():
    world = await approved()

    def slow(kind, details):
        if kind == "write" and not world.hubs.count("put") and not slow.done:
            world.clock.turn(seconds=45)
            slow.done = True
        return False

    slow.done = False
    world.audit.fails = slow
    await world.handle(REMEDIATE)
    assert world.hubs.count("put") == 0
    assert [line["outcome"][:9] for line in world.audit.of("write")] == ["about to ", "not sent:"]
    assert world.state() is State.APPROVED
    await world.run()
    assert world.state() is State.RESOLVED
    assert len(world.hubs.effective) == 1


# --- remediators that do what they must not


def remediator(changes, **more):
    def plan(_drift, snapshot, _settings):
        if isinstance(changes, Exception):
            raise changes
        yield from (Change(path, before, after, "tls-minimum") for path, before, after in changes)

    return {"tls-minimum": replace(REMEDIATORS["tls-minimum"], plan=plan, **more)}


LIES = {
    "an undeclared path": [(TLS, "1.0", "1.2"), (("tags", "team"), "flow", "pwned")],
    "only an undeclared path": [(("properties", "ipFilterRules"), [], [{}])],
    "a parent of its path": [(("properties",), {}, {})],
    "nothing": [],
    "a wrong before": [(TLS, "1.1", "1.2")],
    "no change at all": [(TLS, "1.0", "1.0")],
    "the same path twice": [(TLS, "1.0", "1.2"), (TLS, "1.0", "1.3")],
    "a crash": ZeroDivisionError(),
}


@pytest.mark.parametrize("changes", LIES.values(), ids=LIES)
async def test_a_remediator_that_lies_writes_nothing_and_people_are_told(changes, caplog):
    world = await approved()
    world.remediators = remediator(changes)
    with caplog.at_level(logging.CRITICAL):
        await world.run()
    assert world.hubs.count("put") == 0
    assert world.state() is State.TICKETED
    (ticket,) = world.tickets.open_ones
    assert "no plan could be made" in ticket.text
    assert not world.work.poison
    world.remediators = REMEDIATORS
    await world.live(hours=1)
    assert world.state() is State.TICKETED
    await world.drift(value="1.1")
    await world.live(hours=1)
    assert world.state() is State.RESOLVED


# --- several rules


def two_rules():
    path = ("tags", "owner")

    def detect(snapshot, _settings):
        missing = get_at(snapshot.read("hub"), path) is ABSENT
        yield Drift("nobody owns it") if missing else Compliant()

    def plan(_drift, _snapshot, _settings):
        yield Change(path, ABSENT, "platform", "tags-owner")

    rule = replace(RULES[0], id="tags-owner", detect=detect)
    fix = replace(REMEDIATORS["tls-minimum"], rule_id="tags-owner", paths=(path,), plan=plan)
    return {"rules": (*RULES, rule), "remediators": {**REMEDIATORS, "tags-owner": fix}}


async def test_all_fixes_of_a_hub_are_one_write():
    world = World(**two_rules())
    world.hubs.add()
    await world.drift()
    await world.run()
    (put,) = world.hubs.effective
    assert put.body["tags"] == {"team": "flow", "owner": "platform"}
    assert put.body["properties"]["minTlsVersion"] == "1.2"
    assert {finding.state for finding in world.findings.all} == {State.RESOLVED}


async def test_a_fix_that_cannot_be_planned_holds_up_no_other(caplog):
    made = two_rules()
    made["remediators"]["tags-owner"] = replace(made["remediators"]["tags-owner"], paths=())
    world = World(**made)
    world.hubs.add()
    await world.drift()
    with caplog.at_level(logging.CRITICAL):
        await world.run()
    assert world.tls() == "1.2"
    assert {f.rule_id: f.state for f in world.findings.all} == {
        "tls-minimum": State.RESOLVED, "tags-owner": State.TICKETED
    }  # fmt: skip


async def test_a_fix_whose_evidence_is_not_read_for_now_is_tried_again():
    tls = RULES[0]

    def detect(snapshot, settings):
        logs = snapshot.read("diagnostics")
        yield from [Unknown(logs.reason)] if isinstance(logs, Unread) else tls.detect(snapshot, settings)

    world = World(rules=(replace(tls, reads=("hub", "diagnostics"), detect=detect),))
    world.hubs.add()
    await world.drift()
    await world.handle(world.work.letters.pop().message)
    world.hubs.faults["diagnostics"] = [TransientError("503")]
    await world.run()
    assert {finding.state for finding in world.findings.all} == {State.RESOLVED}


async def test_what_azure_refuses_of_one_rule_holds_up_no_other():
    """Two requests: one beside the hub, which goes first, and one of the hub."""
    made = two_rules()
    target, path = Target.DIAGNOSTICS, ("hubwarden",)

    def plan(_drift, _snapshot, _settings):
        yield Change(path, ABSENT, {"logs": []}, "tags-owner", target)

    beside = replace(made["remediators"]["tags-owner"], plan=plan, paths=(), beyond=((target, path),))
    made["remediators"]["tags-owner"] = beside
    world = World(**made)
    world.hubs.add()

    async def refused(*_):
        world.hubs.calls.append(("put_diagnostics", HUB))
        raise DeniedError("403: no right")

    world.hubs.put_diagnostic_setting = refused
    await world.drift()
    await world.run(until=timedelta(minutes=10))
    assert [kind for kind, _ in world.hubs.calls if kind.startswith("put")] == ["put_diagnostics", "put"]
    assert {f.rule_id: f.state for f in world.findings.all} == {
        "tls-minimum": State.RESOLVED, "tags-owner": State.TICKETED
    }  # fmt: skip


async def test_a_second_fix_waits_for_the_first():
    """Two plans made from one reading would undo each other: a PUT replaces the whole hub (RECORDINGS §3.7)."""
    world = World({"tls-minimum": "auto", "tags-owner": "report"}, **two_rules())
    world.hubs.add()
    world.hubs.if_match_enforced = False
    await world.drift()
    await world.run(until=timedelta(seconds=1))
    assert world.state() is State.VERIFYING
    world.policy = policy("auto", rules=world.rules)
    world.hubs.hubs[HUB].operation.done_at = world.clock.at  # at rest again, and not verified
    await world.handle(ask(at=world.clock.now()))
    await world.handle(REMEDIATE)
    assert world.hubs.count("put") == 1
    assert world.finding(rule="tags-owner").state is State.APPROVED
    assert world.finding(rule="tags-owner").attempts == 0
    await world.run()
    assert world.hubs.count("put") == 2
    assert world.hubs.hubs[HUB].body["tags"]["owner"] == "platform"
    assert world.tls() == "1.2"
    assert {finding.state for finding in world.findings.all} == {State.RESOLVED}


async def test_of_two_claims_on_one_hub_at_most_one_goes_on():
    """Another worker, with a newer policy, claims another finding between our reading and our claim."""
    world = World({"tls-minimum": "auto", "tags-owner": "report"}, **two_rules())
    world.hubs.add()
    world.hubs.change()
    await world.handle(ask(at=world.clock.now()))
    key = next(stored.value.id for stored in world.findings.rows.values() if stored.value.rule_id == "tags-owner")

    async def somebody_claims(name):
        other = world.findings.rows[key]
        if name == "after FakeAudit.append" and world.audit.lines[-1][1].get("to") is State.EXECUTING:
            claimed = other.value
            for event in (Event.FIX, Event.CLAIM):
                claimed = claimed.after(event, at=world.clock.now(), reason="another worker")
            world.findings.rows[key] = replace(other, value=claimed, etag="theirs")

    world.gates.pass_ = somebody_claims
    await world.handle(REMEDIATE)
    assert world.hubs.count("put") == 0
    assert world.state() is State.APPROVED
    assert "claim" in world.events()


# --- Azure says no


@pytest.mark.parametrize("error", [ConflictError("412 412001"), ConflictError("409 409002")])
async def test_a_conflict_is_read_again_and_tried_again(error):
    world = await approved()
    world.hubs.faults["put"] = [error]
    await world.handle(REMEDIATE)
    assert world.state() is State.APPROVED
    assert "not written" in world.finding().history[-1].reason
    assert world.work.sent[-1] == (REMEDIATE.model_copy(update={"attempt": 1}), timedelta(seconds=2))
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.hubs.count("put") == 2
    assert len(world.hubs.effective) == 1
    assert world.hubs.count("get") >= 3


async def test_somebody_changes_the_hub_between_read_and_write_and_etags_are_enforced():
    world = await approved()
    once = iter([True])
    world.hubs.before_put = lambda hub: next(once, None) and world.hubs.change(path=("tags", "x"), value="y")
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.hubs.hubs[HUB].body["tags"]["x"] == "y"
    assert len(world.hubs.effective) == 1


async def test_a_denial_goes_to_people_and_is_not_tried_on_every_sweep():
    world = await approved()
    world.hubs.fault = lambda kind, _: DeniedError("409 ScopeLocked: remove the lock") if kind == "put" else None
    await world.run()
    assert world.state() is State.TICKETED
    assert "409 ScopeLocked: remove the lock" in world.tickets.open_ones[0].text
    await world.live(hours=23)
    assert world.hubs.count("put") == 1
    await world.live(hours=1.5)
    assert world.hubs.count("put") == 2
    assert world.state() is State.TICKETED
    world.hubs.fault = lambda *_: None
    await world.live(hours=25)
    assert world.state() is State.RESOLVED
    assert not world.tickets.open_ones


async def test_a_denial_is_tried_again_once_somebody_has_changed_the_hub():
    world = await approved()
    world.hubs.faults["put"] = [DeniedError("ScopeLocked")]
    await world.run()
    await world.drift(path=("tags", "x"), value="the lock is off")
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.hubs.count("put") == 2


async def test_news_from_before_the_denial_are_no_reason_to_try_again():
    world = World()
    world.hubs.add()
    event = world.hubs.change()
    await world.event(event)
    world.hubs.faults["put"] = [DeniedError("ScopeLocked")]
    await world.run()
    await world.event(event)  # Event Grid delivers it once more
    await world.run()
    assert world.hubs.count("put") == 1
    assert world.state() is State.TICKETED


async def test_a_permanent_refusal_is_never_tried_again_until_the_drift_comes_back():
    world = await approved()
    world.hubs.faults["put"] = [PermanentError("400 400089: no TLS value")]
    await world.run()
    assert [step.state for step in world.finding().history[-2:]] == [State.FAILED, State.TICKETED]
    assert "400 400089" in world.tickets.open_ones[0].text
    await world.drift(path=("tags", "x"), value="y")
    await world.live(hours=30)
    assert world.hubs.count("put") == 1
    assert world.state() is State.TICKETED
    await world.drift(value="1.2")
    await world.run()
    assert world.state() is State.RESOLVED
    assert not world.tickets.open_ones
    await world.drift(value="1.1")
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.hubs.count("put") == 2
    assert world.finding().occurrences == 2


@pytest.mark.parametrize("wait", [None, 5, 200])
async def test_what_was_certainly_not_sent_is_released_and_tried_after_azures_wait(wait):
    world = await approved()
    retry_after = None if wait is None else timedelta(seconds=wait)
    world.hubs.faults["put"] = [TransientError("429", retry_after=retry_after)]
    await world.handle(REMEDIATE)
    assert world.state() is State.APPROVED
    message, delay = world.work.sent[-1]
    assert (message.attempt, delay) == (1, timedelta(seconds=max(2, wait or 0)))
    await world.run()
    assert world.state() is State.RESOLVED
    assert len(world.hubs.effective) == 1


async def test_a_write_that_may_have_arrived_and_did_is_verified():
    world = await approved()
    world.hubs.faults["put"] = [sent(applied=True)]
    await world.handle(REMEDIATE)
    assert world.state() is State.AMBIGUOUS
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.hubs.count("put") == 1


async def test_a_write_that_may_have_arrived_and_did_not_is_made_again_once_it_can_no_longer_come():
    world = await approved()
    started = world.clock.at
    world.hubs.faults["put"] = [sent(applied=False)]
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.hubs.count("put") == 2
    assert len(world.hubs.effective) == 1
    assert world.hubs.effective[0].at >= started + world.timings.claim
    assert "not_arrived" in world.events()
    assert not world.audit.of("slipped")


async def test_a_write_that_arrives_late_is_not_made_twice():
    world = await approved()
    world.hubs.faults["put"] = [sent(applied=False)]
    await world.handle(REMEDIATE)
    body = with_value(world.hubs.hubs[HUB].body, TLS, "1.2")
    await world.run(until=timedelta(seconds=25))
    world.hubs._accept(HUB, body, world.hubs.hubs[HUB].body["etag"])
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.hubs.count("put") == 1


async def test_writes_that_never_arrive_end_with_people():
    world = await approved()
    world.hubs.fault = lambda kind, _: sent(applied=False) if kind == "put" else None
    await world.live(hours=30)
    assert world.hubs.count("put") == 3
    assert world.state() is State.TICKETED
    assert "after 3 writes" in world.tickets.open_ones[0].text


async def test_conflicts_do_not_count_as_writes_without_an_answer():
    world = await approved()
    world.hubs.faults["put"] = [
        ConflictError("409"),
        ConflictError("409"),
        ConflictError("409"),
        sent(applied=False),
    ]
    await world.run()
    assert world.state() is State.RESOLVED


@pytest.mark.parametrize("error", [ConflictError("409"), TransientError("429")])
async def test_there_is_an_end_to_trying(error):
    world = await approved()
    world.hubs.fault = lambda kind, _: error if kind == "put" else None
    await world.live(hours=20)
    assert world.hubs.count("put") == 8
    assert world.state() is State.TICKETED
    assert "8 tries" in world.tickets.open_ones[0].text
    world.hubs.fault = lambda *_: None
    await world.live(hours=6)
    assert world.state() is State.RESOLVED


async def test_somebody_who_always_changes_it_back_is_not_fought_for_ever():
    world = await approved()

    async def change_back():
        await world.run(until=timedelta(seconds=1))
        if world.state() is State.VERIFYING:
            world.hubs.hubs[HUB].operation.done_at = world.clock.at
            await world.drift(value="1.0")

    for _ in range(400):
        await change_back()
        world.clock.turn(seconds=3)
    assert world.hubs.count("put") == world.policy.limits.breaker.fixes
    assert world.state() is State.HELD
    assert len(world.tickets.open_ones) == 1


async def test_a_hub_that_is_deleted_under_our_hands():
    world = await approved()
    world.hubs.before_put = lambda hub: setattr(world.hubs.hubs[hub], "gone", True)
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.finding().history[-1].reason == "the hub is gone"
    assert world.record() is None


async def test_a_404_that_passes_is_not_taken_for_the_end_of_the_hub():
    world = await approved()
    world.hubs.faults["put"] = [HubGoneError("404")]
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.tls() == "1.2"
    assert len(world.hubs.effective) == 1


async def test_the_hub_is_gone_before_the_fix():
    world = await approved()
    world.hubs.hubs[HUB].gone = True
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.hubs.count("put") == 0


async def test_reading_before_the_fix_is_put_off():
    world = await approved()
    world.hubs.faults["get"] = [TransientError("503", retry_after=timedelta(seconds=77))]
    await world.handle(REMEDIATE)
    assert world.work.sent[-1] == (REMEDIATE.model_copy(update={"attempt": 1}), timedelta(seconds=77))
    assert world.state() is State.APPROVED


async def test_repeating_the_message_changes_nothing():
    world = await approved()
    for _ in range(5):
        await world.handle(REMEDIATE)
    assert world.hubs.count("put") == 1
    assert len(world.work.of(VerifyMessage)) == 2


async def test_an_event_of_somebody_else_during_the_write_does_not_close_it_without_proof():
    world = await approved()
    await world.handle(REMEDIATE)
    world.hubs.hubs[HUB].operation.done_at = world.clock.at
    await world.drift(path=("tags", "x"), value="y")
    await world.handle(ask(at=world.clock.now()))
    await world.sweep()
    assert world.state() is State.VERIFYING
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.audit.of("slipped") == [
        {"hub": HUB.path, "changed": ["tags"], "plan": world.finding().attempt.digest}
    ]


async def test_a_claim_holds_as_long_as_the_timings_say():
    world = await approved(timings=Timings(claim=timedelta(seconds=100)))
    await world.handle(REMEDIATE)
    assert [delay for message, delay in world.work.sent if isinstance(message, VerifyMessage)] == [
        timedelta(seconds=100), timedelta(seconds=2)
    ]  # fmt: skip


async def test_of_two_hubs_that_write_one_solution_only_one_goes_on():
    """A solution has no etag: two fixes of it at once would undo each other."""
    made = two_rules()
    solution = f"/subscriptions/{SUB}/resourcegroups/g/providers/microsoft.security/iotsecuritysolutions/s"

    def plan(_drift, snapshot, _settings):
        yield Change((solution, "tags", snapshot.hub.name), ABSENT, "1", "tags-owner", Target.DEFENDER)

    made["remediators"]["tags-owner"] = replace(
        made["remediators"]["tags-owner"], plan=plan, paths=(), beyond=((Target.DEFENDER, ()),)
    )
    made["rules"] = (replace(made["rules"][1], reads=("hub", "defender")),)
    world = World({"tags-owner": "auto"}, **made)
    world.hubs.solutions[solution] = {"id": solution, "tags": {}}
    hubs = [world.hubs.add(hub_id(f"hub-{number}")) for number in (1, 2)]
    await world.sweep()
    executing = []
    put = world.hubs.put_security_solution

    async def slow(*arguments):
        executing.append(sum(f.state is State.EXECUTING for f in world.findings.all))
        for _ in range(20):
            await asyncio.sleep(0)
        await put(*arguments)

    world.hubs.put_security_solution = slow
    await asyncio.gather(*(world.handle(RemediateMessage(hub=hub.path)) for hub in hubs))
    assert len(executing) <= 1, "while one writes, the other waits"
