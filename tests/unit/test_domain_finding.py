from __future__ import annotations

import copy

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hypothesis import given
from hypothesis import strategies as st

from hubwarden.domain.finding import (
    HISTORY_KEPT,
    IN_FLIGHT,
    Actor,
    Attempt,
    Event,
    Finding,
    IllegalTransitionError,
    Obstacle,
    State,
    finding_id,
    transition,
)
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.severity import Severity


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

# DESIGN.md "States of a finding", with the events that carry each arrow. A decision can be made again wherever a
# machine is not at work and no person has spoken. What is not in here is illegal, but for SEEN and CLEARED.
DECISIONS = (
    "report → reported, ticket → ticketed, ask → awaiting_approval, fix → approved, hold → held, exempt → exempt"
)
TABLE = {
    "open": DECISIONS,
    "reported": DECISIONS,
    "ticketed": DECISIONS,
    "held": DECISIONS + ", free → open",
    "exempt": DECISIONS,
    "awaiting_approval": f"{DECISIONS}, approve → approved, reject → rejected, expire → expired, outdated → stale",
    "approved": f"{DECISIONS}, claim → executing, outdated → stale",
    "rejected": "outdated → stale",
    "expired": "ticket → ticketed",
    "stale": DECISIONS,
    "executing": (
        "release → approved, written → verifying, uncertain → ambiguous, denied → ticketed, refused → failed"
    ),
    "verifying": "no_effect → failed, overtaken → open",
    "ambiguous": "not_arrived → open, no_effect → failed",
    "failed": "ticket → ticketed",
    "resolved": "",
}
EXPECTED = {
    (State(state), Event(event)): State(following)
    for state, row in TABLE.items()
    for event, _, following in (arrow.partition(" → ") for arrow in row.split(", ") if arrow)
}
EXPECTED |= {(state, Event.CLEARED): State.RESOLVED for state in State}
EXPECTED |= {(state, Event.SEEN): state for state in State} | {(State.RESOLVED, Event.SEEN): State.OPEN}

PAIRS = [(state, event) for state in State for event in Event]


def finding(state=State.OPEN, **changes):
    made = Finding(HubId("s", "g", "h"), "tls-minimum", "", Severity.HIGH, "drift", NOW, NOW, state=state)
    return replace(made, **changes)


def test_the_table_knows_every_state():
    assert set(TABLE) == {state.value for state in State}


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=[f"{state}-{event}" for state, event in PAIRS])
def test_transition(state, event):
    if (state, event) in EXPECTED:
        assert transition(state, event) is EXPECTED[state, event]
        return
    with pytest.raises(IllegalTransitionError, match=f"a finding that is {state} cannot take {event}") as caught:
        transition(state, event)
    assert (caught.value.state, caught.value.event) == (state, event)


def arrows():
    for state, event in PAIRS:
        try:
            yield state, event, transition(state, event)
        except IllegalTransitionError:
            continue


def test_cleared_resolves_from_anywhere():
    assert {state for state, event, to in arrows() if event is Event.CLEARED and to is State.RESOLVED} == set(
        State
    )


def test_only_cleared_resolves():
    assert {event for _, event, to in arrows() if to is State.RESOLVED} == {Event.CLEARED}


def test_only_seen_leaves_resolved():
    leaving = {(event, to) for state, event, to in arrows() if state is State.RESOLVED and to is not state}
    assert leaving == {(Event.SEEN, State.OPEN)}


def test_a_fix_starts_by_a_claim_on_what_is_approved_and_in_no_other_way():
    entering = {(state, event) for state, event, to in arrows() if to is State.EXECUTING and state is not to}
    assert entering == {(State.APPROVED, Event.CLAIM)}


def test_approved_is_reached_by_policy_a_person_or_a_release_alone():
    assert {event for state, event, to in arrows() if to is State.APPROVED and state is not to} == {
        Event.FIX,
        Event.APPROVE,
        Event.RELEASE,
    }


def test_what_is_in_flight_is_left_by_no_decision():
    decisions = {Event.REPORT, Event.TICKET, Event.ASK, Event.FIX, Event.HOLD, Event.EXEMPT}
    assert not [(state, event) for state, event, _ in arrows() if state in IN_FLIGHT and event in decisions]


def test_a_no_is_a_no_until_the_drift_has_gone_or_is_another_one():
    leaving = {event for state, event, to in arrows() if state is State.REJECTED and to is not state}
    assert leaving == {Event.CLEARED, Event.OUTDATED}


def test_every_state_can_be_reached():
    reached, grown = {State.OPEN}, True
    while grown:
        more = reached | {to for state, _, to in arrows() if state in reached}
        grown, reached = more != reached, more
    assert reached == set(State)


walks = st.lists(st.tuples(st.sampled_from(Event), st.integers(0, 3600)), max_size=200)


@given(walks)
def test_random_walks(walk):
    now, here, reopened, taken = NOW, finding(), 0, 0
    for event, seconds in walk:
        now += timedelta(seconds=seconds)
        before = copy.deepcopy(here)
        try:
            following = here.after(event, at=now, reason=f"because of {event}")
        except IllegalTransitionError:
            assert (here.state, event) not in EXPECTED
            continue
        assert here == before
        assert following.state is EXPECTED[here.state, event]
        reopens = here.state is State.RESOLVED and event is Event.SEEN
        reopened += reopens
        taken += event is not Event.SEEN or reopens
        if event is Event.SEEN:
            assert following.last_seen == now
            assert following.judged_at == now
        else:
            assert following.last_seen == here.last_seen
        here = following
        assert here.id == finding().id
        assert here.first_seen == NOW
    assert here.occurrences == 1 + reopened
    assert len(here.history) == min(taken, HISTORY_KEPT)
    if here.history:
        assert here.history[-1].state is here.state


def test_history_keeps_the_newest():
    here = finding()
    for second in range(HISTORY_KEPT + 5):
        here = here.after(Event.REPORT, at=NOW + timedelta(seconds=second), reason=str(second))
    assert [step.reason for step in here.history] == [str(n) for n in range(5, HISTORY_KEPT + 5)]
    assert here.history[0].event is Event.REPORT
    assert here.history[0].state is State.REPORTED


def test_a_step_says_what_happened():
    step = finding().after(Event.ASK, at=NOW, reason="policy").history[-1]
    assert (step.at, step.event, step.state, step.reason) == (NOW, Event.ASK, State.AWAITING_APPROVAL, "policy")


ATTEMPT = Attempt("sha256:x", "AAAA=", ({"path": ["a"]},), NOW, NOW, NOW)


@pytest.mark.parametrize("state", [state for state in State if state is not State.RESOLVED])
def test_seeing_it_again_is_no_news(state):
    here = finding(state, attempt=ATTEMPT, attempts=2, obstacle=Obstacle("locked", NOW))
    later = NOW + timedelta(hours=1)
    assert here.after(Event.SEEN, at=later, reason="sweep") == replace(here, last_seen=later)


def test_coming_back_starts_afresh():
    here = finding(State.RESOLVED, attempt=ATTEMPT, attempts=2, obstacle=Obstacle("locked", NOW), ticket_open=True)
    later = NOW + timedelta(hours=1)
    back = here.after(Event.SEEN, at=later, reason="event")
    assert (back.state, back.occurrences, back.attempt, back.attempts, back.obstacle) == (
        State.OPEN,
        2,
        None,
        0,
        None,
    )
    assert (back.first_seen, back.last_seen, back.ticket_open, len(back.history)) == (NOW, later, True, 1)


def test_clearing_takes_the_obstacle_away_and_keeps_the_attempt_for_the_record():
    here = finding(State.VERIFYING, attempt=ATTEMPT, attempts=1, obstacle=Obstacle("locked", NOW))
    cleared = here.after(Event.CLEARED, at=NOW, reason="verified")
    assert (cleared.state, cleared.obstacle, cleared.attempt, cleared.attempts) == (
        State.RESOLVED,
        None,
        ATTEMPT,
        1,
    )


def test_judged_at_is_the_newest_look_that_said_something():
    later = NOW + timedelta(hours=1)
    assert finding().judged_at == NOW
    assert finding().after(Event.REPORT, at=later, reason="").judged_at == NOW
    assert finding().after(Event.SEEN, at=later, reason="").judged_at == later
    assert finding().after(Event.CLEARED, at=later, reason="").judged_at == later


names = st.text("ab-", min_size=1, max_size=4)
parts = st.tuples(names, names, names, names, st.text("ab\n/", max_size=4))


def id_of(subscription, group, hub, rule, subject):
    return finding_id(HubId(subscription, group, hub), rule, subject)


@given(parts, parts)
def test_ids_are_equal_for_equal_things_alone(one, two):
    assert (id_of(*one) == id_of(*two)) is (one == two)


@given(parts)
def test_ids_do_not_know_the_casing_of_hub_and_subject(one):
    subscription, group, hub, rule, subject = one
    assert id_of(subscription.upper(), group.upper(), hub.upper(), rule, subject.upper()) == id_of(*one)


def test_the_id_is_pinned():
    # It is the key of rows and tickets that exist: a change orphans them.
    hub = HubId("0b1f6471-1bf0-4dda-aec3-cb9272f09590", "rg", "hub")
    assert finding_id(hub, "tls-minimum", "") == "f-1c254fca6d8d018b"
    assert finding_id(hub, "sas-policies", "Rogue") == finding_id(hub, "sas-policies", "rogue")


@pytest.mark.parametrize(
    ("actor", "name"),
    [
        (Actor("o", "a", "n"), "n"),
        (Actor("o", "a"), "o"),
        (Actor(app_id="a"), "a"),
        (Actor(), "somebody unknown"),
    ],
)
def test_an_actor_has_a_name(actor, name):
    assert str(actor) == name
