"""What a message says: the kinds of news, the grouping, and that nothing in it can pass for something else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from hypothesis import given
from hypothesis import strategies as st

from hubwarden.domain.finding import Actor, Attempt, Event, Finding, Proposal
from hubwarden.domain.message import SHOWN, Kind, Notice, group, notices, still_true, told_before, visible
from hubwarden.domain.severity import Severity
from tests.unit.fakes import START, hub_id


def finding(**more):
    plain = {
        "hub": hub_id(), "rule_id": "tls-minimum", "subject": "", "severity": Severity.HIGH,
        "summary": "minTlsVersion is 1.0", "first_seen": START, "last_seen": START,
    }  # fmt: skip
    return Finding(**(plain | more))


def lived(one, *events, after=timedelta(seconds=10)):
    at = one.history[-1].at if one.history else START
    for event in events:
        at += after
        one = one.after(event, at=at, reason=f"because {event}")
        if event is Event.WRITTEN:
            one = replace(one, attempt=Attempt("sha256:0", "W/1", (), at, at, at, written_at=at))
    return one


def notice_of(name="hub-1", kind=Kind.ASKED, **more):
    plain = {
        "kind": kind, "finding": f"f-{name}", "hub": hub_id(name), "rule_id": "tls-minimum",
        "severity": Severity.HIGH, "summary": "minTlsVersion is 1.0", "reason": "policy says approve",
        "actor": "Eve", "at": START,
    }  # fmt: skip
    return Notice(**(plain | more))


FIX = (Event.FIX, Event.CLAIM, Event.WRITTEN)


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ((Event.REPORT,), [Kind.REPORTED]),
        ((Event.ASK,), [Kind.ASKED]),
        ((Event.ASK, Event.APPROVE), [Kind.ASKED, Kind.APPROVED]),
        ((Event.ASK, Event.REJECT), [Kind.ASKED, Kind.REJECTED]),
        ((Event.ASK, Event.EXPIRE, Event.TICKET), [Kind.ASKED, Kind.EXPIRED, Kind.TICKETED]),
        ((*FIX, Event.CLEARED), [Kind.FIXED]),
        ((*FIX, Event.NO_EFFECT), [Kind.FAILED]),
        ((*FIX, Event.NO_EFFECT, Event.CLEARED), [Kind.FAILED, Kind.CLEARED]),
        ((Event.FIX, Event.CLAIM, Event.DENIED), [Kind.TICKETED]),
        ((Event.FIX, Event.CLAIM, Event.RELEASE), []),
        ((Event.REPORT, Event.CLEARED), [Kind.REPORTED, Kind.CLEARED]),
        ((Event.REPORT, Event.CLEARED, Event.SEEN), [Kind.REPORTED, Kind.CLEARED, Kind.CAME_BACK]),
        ((Event.EXEMPT,), []),
    ],
)
def test_each_step_that_matters_to_people_is_told(events, told):
    assert [one.kind for one in notices(None, lived(finding(), *events))] == told


def test_only_what_is_new_is_told():
    before = lived(finding(), Event.ASK)
    after = lived(before, Event.APPROVE)
    assert [one.kind for one in notices(before, after)] == [Kind.APPROVED]
    assert list(notices(after, replace(after, summary="another"))) == []


def test_a_fix_says_how_long_after_the_write_it_was_proven():
    written = lived(finding(), *FIX)
    after = lived(written, Event.CLEARED, after=timedelta(seconds=40))
    (message,) = group(notices(written, after))
    assert message.items[0].text == "hub-1: minTlsVersion is 1.0 (fixed, verified 40 s later)"


def test_what_was_never_stored_is_not_true():
    stored = lived(finding(), Event.ASK)
    (asked,) = notices(None, stored)
    assert still_true(asked, stored)
    assert not still_true(asked, None)
    assert not still_true(asked, finding())


def test_a_reminder_is_true_while_somebody_has_to_decide():
    asked = lived(finding(), Event.ASK)
    proposal = Proposal("sha256:0", "W/1", (), (), START)
    asked = replace(asked, proposal=proposal)
    reminder = notice_of(kind=Kind.REMINDER, digest="sha256:0")
    assert still_true(reminder, asked)
    assert not still_true(reminder, lived(asked, Event.APPROVE))
    assert not still_true(replace(reminder, digest="sha256:1"), asked)


def test_what_was_told_before_ends_with_the_drift():
    asked = lived(finding(), Event.ASK, Event.REJECT)
    assert told_before(asked) == {Kind.ASKED, Kind.REJECTED}
    assert told_before(lived(asked, Event.CLEARED, Event.SEEN)) == {Kind.CAME_BACK}


def test_forty_hubs_of_one_cause_are_one_message_that_shows_ten():
    told = [notice_of(f"hub-{number:02}") for number in range(40)]
    (message,) = group(told, lambda some: f"https://app.example/{some[0].finding}/{len(some)}")
    assert message.title == "Approval needed: tls-minimum on 40 hubs"
    assert (message.count, len(message.items), message.more) == (40, 10, "and 30 more")
    assert message.items[0].url == "https://app.example/f-hub-00/1"
    assert message.together == (("Decide on all 40", "https://app.example/f-hub-00/40"),)
    assert message.lines[-1] == "Decide on all 40: https://app.example/f-hub-00/40"


def test_more_than_a_page_holds_is_decided_on_several_pages():
    told = [notice_of(f"hub-{number:03}") for number in range(101)]
    (message,) = group(told, lambda some: f"{some[0].finding} {len(some)}")
    assert message.together == (
        ("Decide on 1 to 50 of 101", "f-hub-000 50"),
        ("Decide on 51 to 100 of 101", "f-hub-050 50"),
        ("Decide on 101 to 101 of 101", "f-hub-100 1"),
    )


def test_each_request_has_a_page_in_its_message_however_many_there_are():
    told = [notice_of(f"hub-{number:03}", digest="sha256:0") for number in range(507)]
    messages = group(told, lambda some: f"{some[0].finding} {len(some)}")
    assert [message.count for message in messages] == [250, 250, 7]
    assert [len(message.together) for message in messages] == [5, 5, 1]
    assert sum(int(url.split()[1]) for message in messages for _, url in message.together) == 507
    assert messages[1].title == "Approval needed: tls-minimum on 250 hubs"


def test_what_asks_nothing_is_one_message_however_much_it_is():
    assert [message.count for message in group(notice_of(f"hub-{n:03}", Kind.FAILED) for n in range(507))] == [507]


def test_one_request_or_none_that_can_be_decided_has_no_page_for_several():
    assert group([notice_of()], lambda _: "https://app.example")[0].together == ()
    assert group([notice_of("a"), notice_of("b")])[0].together == ()


@pytest.mark.parametrize(
    "other",
    [
        {"kind": Kind.FAILED},
        {"rule_id": "diagnostics"},
        {"actor": "Mallory"},
        {"severity": Severity.LOW},
    ],
)
def test_another_cause_is_another_message(other):
    assert len(group([notice_of("hub-1"), notice_of("hub-2", **other)])) == 2


some_notices = st.lists(
    st.builds(
        notice_of,
        st.sampled_from([f"hub-{n}" for n in range(30)]),
        st.sampled_from(list(Kind)),
        rule_id=st.sampled_from(["tls-minimum", "diagnostics"]),
        severity=st.sampled_from(list(Severity)),
        actor=st.sampled_from([None, "Eve", "Mallory"]),
        at=st.integers(0, 50).map(lambda s: START + timedelta(seconds=s)),
    ),
    max_size=80,
    unique=True,
)


@given(some_notices)
def test_grouping_loses_nothing_and_tells_nothing_twice(told):
    messages = group(told)
    about = [one for message in messages for one in message.about]
    assert len(about) == len(told)
    assert set(about) == set(told)
    for message in messages:
        assert 1 <= len(message.items) == min(message.count, SHOWN)
        assert len({(one.kind, one.rule_id, one.severity, one.actor) for one in message.about}) == 1
    assert len({message.id for message in messages}) == len(messages)


@given(st.text())
def test_visible_text_is_one_line_of_what_can_be_seen(text):
    assert len(visible(text, 50)) <= 50
    assert visible(text).isprintable()


def test_who_did_it_is_said_or_that_nobody_knows():
    seen = finding(actor=Actor(object_id="1", name="Eve\n\u202egnp"))
    (message,) = group(notices(None, lived(seen, Event.ASK)))
    assert dict(message.facts)["Changed by"] == "Eve gnp"
    (nobody,) = group(notices(None, lived(finding(), Event.ASK)))
    assert "not known" in dict(nobody.facts)["Changed by"]


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        (Kind.ASKED, "Approval of a rollback needed"),
        (Kind.FIXED, "Rolled back and verified"),
        (Kind.CLEARED, "The rollback is off"),
        (Kind.EXPIRED, "Nobody decided in time"),
    ],
)
def test_what_is_undone_is_not_told_as_a_fix(kind, title):
    (message,) = group([notice_of(kind=kind, rollback=True)])
    assert message.title == f"{title}: tls-minimum on hub-1"
    assert dict(message.facts)["Asked for by"] == "Eve"
    assert len(group([notice_of("a", kind), notice_of("b", kind, rollback=True)])) == 2
