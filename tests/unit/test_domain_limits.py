"""The limits as data: every combination against an oracle of its own, and sums that hold whatever happens."""

from __future__ import annotations

import itertools

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hypothesis import given
from hypothesis import strategies as st

from hubwarden.domain.decision import Action, Decision
from hubwarden.domain.finding import Actor, Deed, Finding, Limit, State
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.limits import (
    HOUR,
    Asked,
    Errors,
    Full,
    Gate,
    Kill,
    Ledger,
    Limits,
    Outcome,
    Released,
    Share,
    Slot,
    Standing,
    fixes_of,
    mark,
    told_deeds,
    uncovered,
)
from hubwarden.domain.policy import Policy
from hubwarden.domain.severity import Severity
from hubwarden.service.gate import gated


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HUB = HubId("s", "g", "hub-1")
RULE = "tls-minimum"
KEY = (HUB, RULE)
LIMITS = Limits()
FIX = Decision(Action.FIX, "policy says so")


def finding(state=State.OPEN, **changes):
    made = Finding(HUB, RULE, "", Severity.HIGH, "drift", NOW, NOW, state=state)
    return replace(made, **changes)


def slots(count, *, hub=None, rule=RULE, ago=timedelta(minutes=5)):
    return tuple(
        Slot(hub or HubId("s", "g", f"other-{n}"), rule, NOW - ago + timedelta(seconds=n)) for n in range(count)
    )


# --- every combination

KILL = {"off": None, "on": Kill(on=True, by="robin", at=NOW, reason="odd")}
ERRORS = {"fine": "", "tripped": "11 of the last 20 fixes failed"}
SHARE = {
    "small": {},
    "large": {RULE: Asked(RULE, HUB, NOW, 40, 50)},
    "of another rule": {"x": Asked("x", HUB, NOW, 9, 9)},
}
FIXES = {"two": 2, "three": 3}
WAITS = {
    "new": finding(),
    "approved": finding(State.APPROVED),
    "held for its turn": finding(State.HELD, limit=Limit.BUDGET),
    "held by policy": finding(State.HELD),
}
BUDGET = {
    "free": Ledger(),
    "full": Ledger(slots=slots(10)),
    "granted": Ledger(slots=(*slots(9), Slot(HUB, RULE, NOW, granted=True))),
}
READ = {"read": "", "unread": "HTTP 503"}


def expected(read, kill, errors, share, fixes, waits, budget):
    """What stops it, said in another way than the code does: the first of the reasons that apply."""
    if read == "unread":
        return "kill"
    if kill == "on":
        return "none" if waits == "approved" else "kill"
    reasons = []
    if errors == "tripped":
        reasons.append("errors")
    if share == "large":
        reasons.append("share")
    if fixes == "three":
        reasons.append("breaker")
    if waits == "held for its turn" and budget != "granted":
        reasons.append("budget")
    return [*reasons, "none"][0]


@pytest.mark.parametrize(
    "names", list(itertools.product(READ, KILL, ERRORS, SHARE, FIXES, WAITS, BUDGET)), ids=" ".join
)
def test_every_combination_of_limits(names):
    read, kill, errors, share, fixes, waits, budget = names
    ledger = replace(BUDGET[budget], tripped=ERRORS[errors], tripped_at=NOW if ERRORS[errors] else None)
    moments = frozenset(NOW - timedelta(hours=n) for n in range(FIXES[fixes]))
    gate = Gate(LIMITS, NOW, KILL[kill], ledger, SHARE[share], {RULE: moments}, watched=50, unread=READ[read])
    before = WAITS[waits]
    after, decision = gated(gate, before, FIX)
    want = expected(*names)
    if want == "none":
        assert decision == FIX
        assert after == replace(before, limit=None)
        return
    assert decision.action is Action.HOLD
    assert decision.reason
    if want == "breaker":
        assert (after.hold.by, after.hold.calls_people, after.limit) == ("the breaker", True, None)
    else:
        assert (after.hold, after.limit, after.calls_people) == (None, Limit(want), want == "share")


@pytest.mark.parametrize("action", [action for action in Action if action is not Action.FIX])
def test_only_what_would_be_fixed_by_itself_is_stopped(action):
    gate = Gate(LIMITS, NOW, KILL["on"])
    decision = Decision(action, "policy says so")
    assert gated(gate, finding(), decision) == (finding(), decision)


def test_only_one_hub_calls_people_for_all():
    gate = Gate(LIMITS, NOW, asked={RULE: Asked(RULE, HubId("s", "g", "first"), NOW, 40, 50)})
    assert not gate.stop(finding()).calls_people


# --- the budget


@pytest.mark.parametrize(
    ("ledger", "answer"),
    [
        (Ledger(), "taken"),
        (Ledger(slots=slots(9)), "taken"),
        (Ledger(slots=slots(10)), "limits.per_hour.per_rule"),
        (Ledger(slots=slots(10, ago=HOUR + timedelta(minutes=1))), "taken"),
        (
            Ledger(slots=slots(10, ago=HOUR + timedelta(minutes=1)), sweep_at=NOW - 2 * HOUR),
            "limits.per_sweep.per_rule",
        ),
        (Ledger(slots=slots(10), sweep_at=NOW), "limits.per_hour.per_rule"),
        (Ledger(slots=slots(20, rule="x")), "limits.per_hour.in_all"),
        (Ledger(slots=slots(19, rule="x")), "taken"),
        (Ledger(next_turn=NOW), "waits"),
        (Ledger(slots=(Slot(HUB, RULE, NOW - HOUR / 10, granted=True),), next_turn=NOW), "taken"),
        (Ledger(slots=(*slots(20, rule="x"), Slot(HUB, RULE, NOW - HOUR / 10, granted=True))), "taken"),
    ],
)
def test_who_gets_a_slot(ledger, answer):
    taken = ledger.take(KEY, LIMITS, NOW)
    if answer == "taken":
        assert Slot(HUB, RULE, NOW) in taken.slots
        assert taken.granted(*KEY) is None
        assert taken.take(KEY, LIMITS, NOW) == taken, "the answer was lost, and it is asked again"
    elif answer == "waits":
        assert taken is None
    else:
        assert isinstance(taken, Full)
        assert taken.name == answer


def test_a_full_hour_says_when_it_frees():
    full = Ledger(slots=slots(12)).full(*KEY, LIMITS, NOW)
    freed = full.frees_at
    assert freed == NOW + timedelta(minutes=55, seconds=2), "two more than allowed: the third has to age"
    assert Ledger(slots=slots(12)).full(*KEY, LIMITS, freed - timedelta(seconds=1)) is not None
    assert Ledger(slots=slots(12)).full(*KEY, LIMITS, freed) is None


keys = st.tuples(
    st.builds(HubId, st.sampled_from(["s", "t"]), st.just("g"), st.sampled_from("abcdef")),
    st.sampled_from(["r", "q"]),
)
steps = st.lists(
    st.tuples(keys, st.sampled_from(["take", "give", "turns", "sweep"]), st.integers(0, 1800)), max_size=60
)
caps = st.fixed_dictionaries({
    name: st.integers(1, 4) for name in ("in_all", "per_rule", "per_subscription")
})  # fmt: skip


@given(steps, caps, caps)
def test_whatever_happens_no_hour_and_no_sweep_has_more_fixes_than_allowed(walk, hour, sweep):
    limits = Limits.model_validate({"per_hour": hour, "per_sweep": sweep})
    ledger, now, taken, began = Ledger(), NOW, [], None
    waiting = []
    for key, what, seconds in walk:
        now += timedelta(seconds=seconds)
        if what == "sweep":
            began, ledger = now, replace(ledger, sweep_at=now)
        elif what == "give" and taken:
            ledger = ledger.given_back([taken.pop()])
        elif what == "turns":
            ledger, granted = ledger.with_turns(waiting, limits, now)
            waiting = [one for one in waiting if one not in granted]
        else:
            answer = ledger.take(key, limits, now)
            if isinstance(answer, Ledger):
                ledger, slot = answer, Slot(*key, now)
                taken += [] if slot in taken else [slot]
            elif key not in waiting:
                waiting.append(key)
        for cap, since in ((limits.per_hour, now - HOUR), (limits.per_sweep, began)):
            lately = [
                s
                for s in taken
                if since is not None and (s.at > since or (cap is limits.per_sweep and s.at == since))
            ]
            assert len(lately) <= cap.in_all
            for name in ("r", "q"):
                assert sum(s.rule_id == name for s in lately) <= cap.per_rule
            for name in ("s", "t"):
                assert sum(s.hub.subscription == name for s in lately) <= cap.per_subscription


@given(st.lists(keys, unique=True, max_size=20), caps)
def test_turns_are_given_in_order_as_far_as_the_limits_go(waiting, hour):
    limits = Limits.model_validate({"per_hour": hour})
    ledger, granted = Ledger().with_turns(waiting, limits, NOW)
    assert list(granted) == [key for key in waiting if key in granted]
    assert (ledger.next_turn is None) == (len(granted) == len(waiting))
    again, same = ledger.with_turns(waiting, limits, NOW)
    assert (again, same) == (ledger, granted)
    if waiting:
        assert granted[0] == waiting[0]


# --- share, errors, deeds


@pytest.mark.parametrize(
    ("drifting", "watched", "too_many"),
    [(10, 50, False), (11, 50, True), (4, 4, False), (5, 5, True), (5, 25, False), (5, 24, True), (0, 0, False)],
)
def test_more_than_a_fifth_and_at_least_five(drifting, watched, too_many):
    hubs = frozenset(HubId("s", "g", f"h{n}") for n in range(drifting))
    assert Standing(watched, hubs).exceeds(Share()) is too_many
    assert not Standing(watched, hubs).exceeds(Share(percent=100))


def test_a_release_covers_its_hubs_for_its_time():
    one, other = HubId("s", "g", "a"), HubId("s", "g", "b")
    released = Released(RULE, "robin", NOW, NOW + HOUR, (mark(one),))
    assert uncovered({one, other}, released, NOW) == {other}
    assert uncovered({one, other}, released, NOW + HOUR) == {one, other}
    assert uncovered({one}, None, NOW) == {one}


@given(st.lists(st.booleans(), max_size=60))
def test_errors_trip_once_more_than_half_of_the_last_twenty_failed(ended):
    ledger, tripped = Ledger(), False
    for number, failed in enumerate(ended):
        ledger = ledger.with_outcome(Outcome(f"p{number}", NOW, "400" if failed else ""), Errors())
        tripped = tripped or sum(ended[max(0, number - 19) : number + 1]) > 10
        assert bool(ledger.tripped) is tripped
    assert not ledger.reset().tripped
    assert ledger.reset().outcomes == ()


def test_a_fix_counts_once_and_as_failed_where_a_part_of_it_failed():
    good = Ledger().with_outcome(Outcome("p", NOW), Errors())
    bad = good.with_outcome(Outcome("p", NOW, "400"), Errors())
    assert [one.error for one in bad.outcomes] == ["400"]
    assert bad.with_outcome(Outcome("p", NOW), Errors()) == bad
    assert bad.with_outcome(Outcome("p", NOW, "again"), Errors()) == bad


def test_fixes_of_all_subjects_of_a_rule_count_together_and_one_write_once():
    one = finding(subject="a", fixes=(NOW, NOW + HOUR))
    other = finding(subject="b", fixes=(NOW, NOW + 2 * HOUR))
    assert fixes_of([one, other]) == {RULE: {NOW, NOW + HOUR, NOW + 2 * HOUR}}


def test_deeds_name_principal_client_and_time():
    cli = Actor("oid-1", "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "Jo Doe")
    app = Actor(None, "app-7", None)
    told = told_deeds([Deed(cli, NOW), Deed(app, NOW + HOUR)])
    assert told == "Jo Doe (oid-1, Azure CLI) at 2026-11-23 12:00:00 UTC; app-7 at 2026-11-23 13:00:00 UTC"
    assert told_deeds([]) == "somebody of whom no event told"


def test_the_shipped_limits():
    policy = Policy.model_validate({"version": 1, "subscriptions": ["all"]})
    assert policy.limits == Limits()
    assert policy.limits.per_hour.in_all == 20
