# ruff: noqa: E501  a table reads best with a case a line
"""Maintenance windows and change freezes, by the clock on the wall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import yaml

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from detectors import RULES
from hubwarden.domain.decision import Action, decide
from hubwarden.domain.finding import Finding
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.policy import check_policy
from hubwarden.domain.severity import Severity
from hubwarden.domain.windows import Day, Freeze, Window
from remediators import REMEDIATORS


SUBSCRIPTION = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
HUB = HubId(SUBSCRIPTION, "plant-1", "hub-one")
BERLIN = "Europe/Berlin"
ZONES = [
    "UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Chatham",
    "America/St_Johns", "Africa/Cairo", "Pacific/Kiritimati", "America/Scoresbysund",
]  # fmt: skip


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(begins, ends, *days, timezone=BERLIN):
    return Window(**{"from": begins, "to": ends, "timezone": timezone}, **({"days": days} if days else {}))


# 2026-11-23 is a Monday. Berlin is at UTC+1 in winter, and +2 from 2027-03-28 01:00 UTC to 2027-10-31 01:00 UTC.
@pytest.mark.parametrize(
    ("window_", "moment", "is_open", "opens"),
    [
        (window("22:00", "23:00"), "2026-11-23T20:59", False, "2026-11-23T21:00"),
        (window("22:00", "23:00"), "2026-11-23T21:00", True, None),
        (window("22:00", "23:00"), "2026-11-23T21:59", True, None),
        (window("22:00", "23:00"), "2026-11-23T22:00", False, "2026-11-24T21:00"),
        (window("22:00", "04:00", "mon"), "2026-11-24T02:59", True, None),
        (window("22:00", "04:00", "mon"), "2026-11-24T03:00", False, "2026-11-30T21:00"),
        (window("22:00", "04:00", "mon"), "2026-11-23T02:00", False, "2026-11-23T21:00"),
        (window("22:00", "04:00", "sun"), "2026-11-23T02:00", True, None),
        (window("00:00", "24:00", "sat", "sun"), "2026-11-27T22:59", False, "2026-11-27T23:00"),
        (window("00:00", "24:00", "sat", "sun"), "2026-11-29T22:59", True, None),
        (window("00:00", "24:00", "sat", "sun"), "2026-11-29T23:00", False, "2026-12-04T23:00"),
        # clocks are put on: 02:00 to 03:00 is left out, and what lies in it does not open that night
        (window("02:30", "04:00"), "2027-03-28T00:59", False, "2027-03-28T01:00"),
        (window("02:30", "04:00"), "2027-03-28T01:00", True, None),
        (window("02:15", "02:45"), "2027-03-28T00:30", False, "2027-03-29T00:15"),
        (window("22:00", "04:00"), "2027-03-28T01:59", True, None),
        (window("22:00", "04:00"), "2027-03-28T02:00", False, "2027-03-28T20:00"),
        # clocks are put back: 02:00 to 03:00 comes twice, and so does what lies in it
        (window("02:15", "02:45"), "2027-10-31T00:20", True, None),
        (window("02:15", "02:45"), "2027-10-31T00:50", False, "2027-10-31T01:15"),
        (window("02:15", "02:45"), "2027-10-31T01:20", True, None),
        (window("22:00", "04:00"), "2027-10-31T02:59", True, None),
        (window("22:00", "04:00"), "2027-10-31T03:00", False, "2027-10-31T21:00"),
    ],
)  # fmt: skip
def test_a_window_opens_and_closes_by_the_clock_on_the_wall(window_, moment, is_open, opens):
    assert window_.is_open(utc(moment)) is is_open
    if not is_open:
        assert window_.next_opening(utc(moment)) == utc(opens)


minutes = st.integers(0, 1439).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
windows = st.builds(
    lambda begins, ends, days, zone: window(begins, "24:00" if begins == ends else ends, *days, timezone=zone),
    minutes, minutes, st.lists(st.sampled_from(list(Day)), min_size=1, unique=True), st.sampled_from(ZONES),
)  # fmt: skip
moments = st.one_of(
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)),  # noqa: DTZ001
    st.tuples(
        st.sampled_from(["2027-03-28T01:00", "2027-10-31T01:00", "2027-03-14T07:00", "2027-11-07T06:00", "2027-04-03T15:00"]),
        st.integers(-3000, 3000),
    ).map(lambda pair: datetime.fromisoformat(pair[0]) + timedelta(minutes=pair[1])),
).map(lambda moment: moment.replace(tzinfo=UTC, second=0, microsecond=0))  # fmt: skip


def by_hand(window_, moment):
    """What somebody says who looks at the clock and the calendar."""
    local = moment.astimezone(ZoneInfo(window_.timezone))
    name, minute = list(Day)[local.weekday()], local.hour * 60 + local.minute
    before = list(Day)[(local.weekday() + 6) % 7]
    begins, ends = (int(text[:2]) * 60 + int(text[3:]) for text in (window_.begins, window_.ends))
    if begins < ends:
        return name in window_.days and begins <= minute < ends
    return (name in window_.days and begins <= minute) or (before in window_.days and minute < ends)


@given(windows, moments)
def test_it_is_open_when_the_clock_on_the_wall_says_so(window_, moment):
    assert window_.is_open(moment) is by_hand(window_, moment)
    assert window_.is_open(moment + timedelta(seconds=59)) is by_hand(window_, moment)


@settings(max_examples=60, deadline=None)
@given(windows, moments)
def test_the_next_opening_is_the_first_minute_at_which_it_is_open(window_, moment):
    if window_.is_open(moment):
        return
    opens = window_.next_opening(moment)
    assert window_.is_open(opens)
    minute = opens - timedelta(minutes=1)
    while minute > moment and opens - minute < timedelta(days=1):
        assert not by_hand(window_, minute)
        minute -= timedelta(minutes=1)
    for hours in range(int((opens - moment) / timedelta(hours=1))):
        assert not by_hand(window_, moment + timedelta(hours=hours))


@pytest.mark.parametrize(
    ("freeze", "since", "over"),
    [
        ({"from": "2026-12-18", "until": "2027-01-06"}, "2026-12-18T00:00", "2027-01-07T00:00"),
        ({"from": "2026-12-18", "until": "2027-01-06", "timezone": BERLIN}, "2026-12-17T23:00", "2027-01-06T23:00"),
        ({"from": "2026-12-18T18:00", "until": "2026-12-18T19:30", "timezone": BERLIN}, "2026-12-18T17:00", "2026-12-18T18:30"),
        ({"from": "2026-12-18", "until": "2026-12-18"}, "2026-12-18T00:00", "2026-12-19T00:00"),
        ({"from": "2026-12-18T18:00", "until": "2026-12-18"}, "2026-12-18T18:00", "2026-12-19T00:00"),
        ({"from": "2027-10-31T02:30", "until": "2027-10-31T02:45", "timezone": BERLIN}, "2027-10-31T00:30", "2027-10-31T01:45"),
    ],
)  # fmt: skip
def test_a_freeze_lasts_from_the_first_reading_of_its_begin_to_the_last_of_its_end(freeze, since, over):
    made = Freeze(**freeze, reason="r")
    assert (made.since, made.over) == (utc(since), utc(over))


@pytest.mark.parametrize(
    ("section", "path", "message"),
    [
        ({"windows": []}, "maintenance[0].windows", "at least 1 item"),
        ({"windows": [{"from": "22:00"}]}, "maintenance[0].windows[0].to", "is missing"),
        ({"windows": [{"from": "22:00", "to": "22:00"}]}, "maintenance[0].windows[0]", "begins when it ends"),
        ({"windows": [{"from": "24:00", "to": "04:00"}]}, "maintenance[0].windows[0].from", "pattern"),
        ({"windows": [{"from": 1320, "to": "04:00"}]}, "maintenance[0].windows[0].from", "must be a time in quotes"),
        ({"windows": [{"from": "22:00", "to": "4:00"}]}, "maintenance[0].windows[0].to", "pattern"),
        ({"windows": [{"from": "22:00", "to": "04:00", "days": ["monday"]}]}, "maintenance[0].windows[0].days[0]", "'mon'"),
        ({"windows": [{"from": "22:00", "to": "04:00", "timezone": "Berlin"}]}, "maintenance[0].windows[0].timezone", "there is no time zone 'Berlin'"),
        ({"windows": [{"from": "22:00", "to": "04:00", "timezone": "../etc"}]}, "maintenance[0].windows[0].timezone", "there is no time zone"),
        ({"from": "2026-12-18", "until": "2026-12-17", "reason": "r"}, "freeze[0]", "before it begins"),
        ({"from": "2026-12-18T10:00", "until": "2026-12-18T10:00", "reason": "r"}, "freeze[0]", "before it begins"),
        ({"from": "2026-02-30", "until": "2026-12-17", "reason": "r"}, "freeze[0]", "days of the calendar"),
        ({"from": "2026-12-18", "until": "9999-12-31", "reason": "r"}, "freeze[0].until", "pattern"),
        ({"from": "2026-12-18", "until": "2026-12-31"}, "freeze[0].reason", "is missing"),
        ({"from": "2026-12-18", "until": "2026-12-31", "reason": "\u200b"}, "freeze[0].reason", "says nothing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(section, path, message):
    document = {"version": 1, "subscriptions": [SUBSCRIPTION], path.partition("[")[0]: [section]}
    made, problems = check_policy(yaml.safe_dump(document), RULES, today=utc("2026-11-23T00:00").date())
    assert made is None
    assert [problem.path for problem in problems] == [path]
    assert message in problems[0].message


def test_a_time_without_quotes_is_a_number_in_yaml_and_told_as_such():
    text = f"version: 1\nsubscriptions: [{SUBSCRIPTION}]\nmaintenance:\n  - windows:\n      - {{from: 22:00, to: 23:30}}\n"
    problems = check_policy(text, RULES, today=utc("2026-11-23T00:00").date())[1]
    assert [problem.line for problem in problems] == [5, 5]
    assert all('in quotes, such as "22:00"' in problem.message for problem in problems)


def policy(maintenance=(), freeze=(), mode="auto"):
    document = {
        "version": 1,
        "subscriptions": [SUBSCRIPTION],
        "rules": {rule.id: {"mode": mode} for rule in RULES},
        "maintenance": list(maintenance),
        "freeze": list(freeze),
    }
    made, problems = check_policy(yaml.safe_dump(document), RULES, today=utc("2026-11-23T00:00").date())
    assert made is not None, problems
    return made


NIGHT = {"windows": [{"days": ["mon", "tue"], "from": "22:00", "to": "04:00", "timezone": BERLIN}]}
PROD = {"where": {"tags": {"env": "prod"}}, **NIGHT}
ALWAYS = {"windows": [{"from": "00:00", "to": "24:00"}]}
FREEZE = {"from": "2026-11-23", "until": "2026-11-24", "timezone": BERLIN, "reason": "the fair"}
NOON = utc("2026-11-23T11:00")


def decided(made, *, now=NOON, tags=None, rule="tls-minimum"):
    finding = Finding(HUB, rule, "", Severity.HIGH, "drift", now, now)
    return decide(finding, REMEDIATORS[rule], made, now, {} if tags is None else tags)


def test_a_fix_waits_for_its_window_and_says_when_that_opens():
    decision = decided(policy([NIGHT]))
    assert decision.action is Action.HOLD
    assert decision.reason == (
        "policy rules.tls-minimum.mode is auto, but this is outside of the maintenance windows (policy "
        "maintenance[0]: mon, tue 22:00 to 04:00 Europe/Berlin); automatic fixes may run again from "
        "2026-11-23 21:00 UTC on (2026-11-23 22:00 Europe/Berlin)"
    )
    assert decided(policy([NIGHT]), now=utc("2026-11-23T21:00")).action is Action.FIX


def test_a_freeze_closes_the_windows_and_the_next_window_after_it_is_named():
    decision = decided(policy([NIGHT], [FREEZE]), now=utc("2026-11-23T21:30"))
    assert decision.action is Action.HOLD
    assert "this is change freeze (policy freeze[0]): the fair; automatic" in decision.reason
    assert "from 2026-11-24 23:00 UTC on (2026-11-25 00:00 Europe/Berlin)" in decision.reason
    assert decided(policy([NIGHT], [FREEZE]), now=utc("2026-11-24T23:00")).action is Action.FIX


def test_a_window_that_a_freeze_covers_is_not_the_next_one():
    reason = decided(policy([NIGHT], [FREEZE]), now=utc("2026-11-22T12:00")).reason
    assert "outside of the maintenance windows" in reason
    assert "from 2026-11-24 23:00 UTC on" in reason


def test_the_first_entry_that_matches_counts_and_where_none_does_there_is_no_restriction():
    made = policy([PROD, {"where": {"hub": "hub-*"}, **ALWAYS}])
    assert decided(made, tags={"env": "prod"}).action is Action.HOLD
    assert decided(made).action is Action.FIX
    assert decided(policy([PROD])).action is Action.FIX
    assert decided(policy([{"where": {"hub": "other"}, **NIGHT}])).action is Action.FIX


def test_a_freeze_is_for_the_hubs_that_it_names():
    frozen = FREEZE | {"where": {"resource_group": "plant-*"}}
    assert decided(policy(freeze=[frozen])).action is Action.HOLD
    assert decided(policy(freeze=[FREEZE | {"where": {"hub": "x"}}])).action is Action.FIX


def test_while_tags_are_not_known_whatever_may_hold_holds():
    for made in (
        policy([PROD]),
        policy([PROD, ALWAYS]),
        policy(freeze=[FREEZE | {"where": {"tags": {"a": "b"}}}]),
    ):
        assert made.closed(HUB, {}, NOON) is None
        assert made.closed(HUB, None, NOON) is not None


def test_an_approval_does_not_wait_but_whoever_gives_it_is_told():
    decision = decided(policy([NIGHT], mode="approve"))
    assert decision.action is Action.ASK
    assert "Note: this is outside of the maintenance windows" in decision.reason
    assert "an approval does not wait" in decision.reason
    assert decided(policy([NIGHT], mode="report")).action is Action.REPORT
    assert "window" not in decided(policy([NIGHT], mode="report")).reason


def test_an_hour_that_can_never_come_is_not_promised():
    forever = FREEZE | {"from": "2026-11-20", "until": "2027-11-20"}
    closing = [FREEZE | {"from": f"2026-{month:02}-01", "until": f"2026-{month:02}-28"} for month in (11, 12)]
    assert policy(freeze=[forever]).closed(HUB, {}, NOON).opens_at == utc("2027-11-20T23:00")
    assert policy(freeze=closing).closed(HUB, {}, NOON).opens_at == utc("2026-11-28T23:00")


def test_a_window_is_frozen():
    with pytest.raises(ValidationError):
        window("22:00", "23:00").begins = "21:00"
