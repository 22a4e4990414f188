"""Which of the notices that wait are sent now."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hypothesis import given
from hypothesis import strategies as st

from hubwarden.domain.message import Kind, cause
from hubwarden.service.gathering import GATHER, LONGEST_GATHER, SETTLED, TOO_OLD, old_ones, ready_ones
from hubwarden.service.ports import Stored, Waiting
from tests.unit.fakes import START
from tests.unit.test_notify_message import notice_of


NOW = START + timedelta(days=2)


def row(ago, kind=Kind.ASKED, *, free_in=None, rests=False, name="hub-1"):
    """What was laid down so many seconds ago."""
    not_before = None if free_in is None else NOW + timedelta(seconds=free_in)
    return Stored(
        Waiting(
            "ops", notice_of(name, kind), NOW - timedelta(seconds=ago), not_before=not_before, rests=rests
        ), "W/1",
    )  # fmt: skip


DAY = 24 * 3600

CASES = {
    "it is quiet": ([row(30)], [30]),
    "it is not quiet yet": ([row(29)], []),
    "the newest counts": ([row(40), row(29)], []),
    "all that gathered goes": ([row(70), row(50), row(31)], [70, 50, 31]),
    "it never comes to rest": ([row(300), row(100), row(6)], [300, 100, 6]),
    "what may not be stored yet stays": ([row(300), row(4)], [300]),
    "another cause does not matter": ([row(40), row(1, Kind.FAILED)], [40]),
    "what is to be told later does not matter": ([row(40), row(-3600)], [40]),
    "another worker's does not matter": ([row(40), row(10, free_in=100)], [40]),
    "a claim that ended": ([row(40, free_in=0)], [40]),
    "the channel rests": ([row(40), row(600, Kind.FAILED, free_in=1, rests=True)], []),
    "it has rested": ([row(40), row(600, Kind.FAILED, free_in=0, rests=True)], [40, 600]),
    "what is too old is not sent": ([row(DAY + 1), row(40)], [40]),
}


@pytest.mark.parametrize(("rows", "ready"), CASES.values(), ids=CASES)
def test_ready(rows, ready):
    assert [(NOW - one.value.since).total_seconds() for one in ready_ones(rows, NOW)] == ready


@pytest.mark.parametrize(
    ("one", "goes"),
    [
        (row(DAY + 1), True),
        (row(DAY), False),
        (row(DAY + 1, free_in=1), False),
        (row(DAY + 1, free_in=1, rests=True), True),
    ],
)
def test_old(one, goes):
    assert bool(old_ones([one], NOW)) is goes


some_rows = st.lists(
    st.builds(
        row,
        st.integers(-60, 400) | st.integers(DAY - 3, DAY + 3),
        st.sampled_from([Kind.ASKED, Kind.FAILED]),
        free_in=st.none() | st.integers(-5, 5),
    ),
    max_size=12,
)


@given(some_rows)
def test_what_is_sent_is_free_and_stored_and_of_a_cause_that_rests_or_waited_long(rows):
    ready = ready_ones(rows, NOW)
    for one in ready:
        value = one.value
        assert value.not_before is None or value.not_before <= NOW
        assert SETTLED <= NOW - value.since <= TOO_OLD
    for one in rows:
        if one not in ready and not old_ones([one], NOW) and NOW - one.value.since >= LONGEST_GATHER:
            assert one.value.not_before is not None
            assert one.value.not_before > NOW
    newest = {}
    for one in rows:
        free = one.value.not_before is None or one.value.not_before <= NOW
        if free and one.value.since <= NOW and not old_ones([one], NOW):
            key = cause(one.value.notice)
            newest[key] = max(newest.get(key, one.value.since), one.value.since)
    for key, since in newest.items():
        if NOW - since >= GATHER:
            assert any(cause(one.value.notice) == key and one.value.since == since for one in ready)
