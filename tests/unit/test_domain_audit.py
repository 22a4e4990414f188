"""The audit trail's chain: whatever is changed, removed, put in or moved is found."""

from __future__ import annotations

import json
import math

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from hypothesis import given
from hypothesis import strategies as st

from hubwarden.domain.audit import (
    BEGIN,
    CONTINUED,
    LONGEST_BLOCK,
    End,
    Entry,
    Head,
    Place,
    UnwritableEntryError,
    chained,
    end_of,
    hash_of,
    verify,
)


AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DAYS = [Place(date(2026, 11, 23)), Place(date(2026, 11, 23), 1), Place(date(2026, 11, 26))]
OLD = json.dumps({"at": AT.isoformat(), "id": "x", "kind": "finding", "to": "open"}).encode() + b"\n"


def entry(kind="finding", **details):
    return Entry(AT, "7f9c24e5-0000-4000-8000-000000000000", kind, details)


def trail(*sizes, old=()):
    """Blobs with so many lines each; every one but the last goes on in the next."""
    head = Head(0, hash_of(old[-1][:-1])) if old else BEGIN
    blobs = []
    for place, after, size in zip(DAYS, [*DAYS[1 : len(sizes)], None], sizes, strict=False):
        entries = [entry(number=number) for number in range(size)]
        if after is not None:
            entries.append(entry(CONTINUED, next=after.name))
        block, head = chained(entries, head)
        blobs.append((place.name, [*(() if blobs else old), *block.splitlines(keepends=True)]))
    return blobs, head


def told(blobs, **how):
    return [(problem.blob, problem.line) for problem in verify(blobs, **how).problems]


# --- lines


def test_a_line_holds_what_chains_and_names_it_and_follows_the_one_before():
    block, head = chained([entry(a=1), entry("write", a={"z": 1, "b": [None, "ü\ud800"]})], BEGIN)
    first, second = block.splitlines()
    assert json.loads(first) == {
        "a": 1,
        "at": "2026-11-23T12:00:00+00:00",
        "id": "7f9c24e5-0000-4000-8000-000000000000",
        "kind": "finding",
        "prev": "0" * 64,
        "seq": 1,
        "v": 1,
    }
    assert json.loads(second)["prev"] == hash_of(first)
    assert head == Head(2, hash_of(second))
    assert json.dumps(json.loads(second), sort_keys=True).encode() == second


@pytest.mark.parametrize("name", ["v", "seq", "at", "id", "kind", "prev"])
def test_details_cannot_take_the_place_of_what_is_added(name):
    with pytest.raises(ValueError, match=f"its own {name}"):
        entry(**{"a": 1, name: "forged"}) if name != "kind" else Entry(AT, "x", "y", {name: "forged"})


def test_times_are_utc():
    east = Entry(AT.astimezone(timezone(timedelta(hours=3))), "x", "y", {})
    assert json.loads(east.line(BEGIN))["at"] == "2026-11-23T12:00:00+00:00"


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": [-math.inf]}])
def test_what_json_cannot_carry_makes_no_line(value):
    with pytest.raises(UnwritableEntryError, match="kind finding that JSON cannot carry"):
        entry(x=value).size()


def test_a_line_takes_at_most_what_it_is_reckoned_with_and_one_that_no_append_carries_is_refused():
    assert len(chained([entry(x="y")], Head(10**15, "f" * 64))[0]) <= entry(x="y").size()
    room = LONGEST_BLOCK - entry(x="").size()
    assert entry(x="y" * room).size() == LONGEST_BLOCK
    with pytest.raises(UnwritableEntryError, match=rf"{LONGEST_BLOCK + 1} bytes, more than the {LONGEST_BLOCK}"):
        entry(x="y" * (room + 1)).size()


# --- places


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("audit/2026/11/23.jsonl", Place(date(2026, 11, 23))),
        ("audit/2026/11/23.10.jsonl", Place(date(2026, 11, 23), 10)),
        ("audit/2026/13/01.jsonl", None),
        ("audit/2026/11/23.0.jsonl", None),
        ("audit/2026/11/23.01.jsonl", None),
        ("audit/2026/11/23.jsonl.bak", None),
        ("other/2026/11/23.jsonl", None),
    ],
)
def test_a_blob_is_known_by_its_name(name, place):
    assert Place.of(name) == place
    assert place is None or place.name == name


def test_places_are_in_the_order_of_days_and_parts_and_not_of_names():
    names = ["23.jsonl", "23.1.jsonl", "23.2.jsonl", "23.10.jsonl", "24.jsonl"]
    places = [Place.of(f"audit/2026/11/{name}") for name in names]
    assert sorted(places, key=lambda place: place.name) != places
    assert sorted([places[-1], *places[:-1]]) == places


@pytest.mark.parametrize(("today", "after"), [(24, Place(date(2026, 11, 24))), (23, DAYS[1]), (22, DAYS[1])])
def test_the_trail_goes_on_in_a_new_day_or_part_and_never_back(today, after):
    assert DAYS[0].following(date(2026, 11, today)) == after


# --- how a blob ends


BLOCK, LAST = chained([entry(a=1), entry(a=2)], BEGIN)
CLOSED, CLOSED_HEAD = chained([entry(CONTINUED, next=DAYS[1].name)], LAST)


@pytest.mark.parametrize(
    ("data", "whole", "end"),
    [
        (BLOCK, True, End(LAST)),
        (BLOCK[9:], False, End(LAST)),
        (BLOCK.splitlines(keepends=True)[1], False, None),
        (BLOCK[-1:], False, None),
        (BLOCK + CLOSED, True, End(CLOSED_HEAD, DAYS[1])),
        (BLOCK + CLOSED + OLD, True, End(Head(3, hash_of(OLD[:-1])))),
        (BLOCK + OLD, True, End(Head(2, hash_of(OLD[:-1])))),
        (b"x" + OLD + OLD, False, None),
        (OLD + OLD, True, End(Head(0, hash_of(OLD[:-1])))),
        (BLOCK + b"torn", True, End(Head(2, hash_of(b"torn")), torn=True)),
        (BLOCK + b"\n", True, End(Head(2, hash_of(b"")))),
        (BLOCK + b"[" * 100_000 + b"\n", True, End(Head(2, hash_of(b"[" * 100_000)))),
    ],
)
def test_the_end_of_a_blob_says_what_the_next_line_follows(data, whole, end):
    assert end_of(data, whole=whole) == end


# --- heads


def test_a_head_is_read_as_it_is_written():
    assert Head.parse(f" {LAST}\n") == LAST


@pytest.mark.parametrize(
    "text", ["", "7", "7:", "0:" + "0" * 64, "x:" + "0" * 64, "7:" + "g" * 64, "7:" + "0" * 63]
)
def test_what_is_no_head_is_refused(text):
    with pytest.raises(ValueError, match="is no head"):
        Head.parse(text)


# --- what is whole


@pytest.mark.parametrize("sizes", [(1,), (3,), (0, 2), (2, 0, 1), (3, 1, 2)])
def test_a_trail_that_nobody_touched_is_whole(sizes):
    blobs, head = trail(*sizes)
    verdict = verify(blobs, noted=head)
    assert verdict.whole, verdict.problems
    assert verdict.head == head
    assert verdict.lines == head.seq
    assert (verdict.blobs, verdict.unchained, verdict.notes) == (len(sizes), 0, ())


def test_lines_from_before_the_chain_are_noted_and_the_last_of_them_is_chained_to():
    blobs, head = trail(2, 1, old=[OLD, OLD])
    verdict = verify(blobs)
    assert verdict.whole, verdict.problems
    assert (verdict.head, verdict.unchained) == (head, 2)
    assert verdict.notes == ("2 lines are from before the chain was begun: nothing proves them",)
    blobs[0][1][1] = OLD.replace(b"open", b"held")
    assert told(blobs) == [(DAYS[0].name, 3)]


def test_a_part_can_be_checked_alone_and_says_what_it_left_out():
    blobs, head = trail(2, 2, 2)
    verdict = verify(blobs[1:], midway=True, noted=head)
    assert verdict.whole, verdict.problems
    assert verdict.first.seq == 4
    assert verdict.notes == ("what is before seq 4 was not looked at",)


def test_a_noted_line_may_have_others_after_it():
    blobs, _ = trail(2, 3)
    assert verify(blobs, noted=Head(2, hash_of(blobs[0][1][1][:-1]))).whole


# --- what is not


def broken(how):
    blobs, _ = trail(3, 2, 2)
    how(blobs)
    return verify(blobs)


def put(lines, at, new):
    lines.insert(at, new)


FORGED = entry(forged=True).line(Head(1, "f" * 64)) + b"\n"


@pytest.mark.parametrize(
    ("how", "at", "says"),
    [
        (lambda b: b[0][1].__setitem__(1, b"torn" + b[0][1][1]), (0, 2), "no JSON object"),
        (lambda b: b[0][1].__setitem__(1, b[0][1][1].replace(b'"number": 1', b'"number": 9')), (0, 3), "changed"),
        (lambda b: b[0][1].pop(1), (0, 2), "seq 3 follows 1: line 2 is gone"),
        (lambda b: b[0][1].__delitem__(slice(0, 2)), (0, 1), "the trail begins with seq 3: what was before is"),
        (lambda b: b[0][1].__delitem__(slice(1, 3)), (0, 2), "seq 4 follows 1: the lines 2 to 3 are gone"),
        (lambda b: put(b[0][1], 1, b[0][1][0]), (0, 2), "seq 1 follows 1: lines were moved or put in"),
        (lambda b: put(b[0][1], 1, FORGED), (0, 2), "it was not written after the line that stands before it"),
        (lambda b: put(b[0][1], 1, OLD), (0, 2), "a line without a chain: put in by hand, or an older hubwarden"),
        (lambda b: put(b[0][1], 1, b"\n"), (0, 2), "no JSON object"),
        (lambda b: b[0][1].pop(), (1, 1), "seq 5 follows 3: line 4 is gone"),
        (lambda b: b.pop(1), (1, 0), "the trail goes on in this blob and it is not there"),
        (lambda b: b.pop(), (2, 0), "the trail goes on in this blob and it is not there"),
        (lambda b: b[2][1].__setitem__(-1, b[2][1][-1][:-1]), (2, 2), "the line is torn"),
        (lambda b: b.reverse(), (2, 1), "the trail begins with seq 8"),
    ],
)  # fmt: skip
def test_what_was_done_to_the_trail_is_told_with_its_place(how, at, says):
    verdict = broken(how)
    assert not verdict.whole
    found = {(problem.blob, problem.line): problem.what for problem in reversed(verdict.problems)}
    assert says in found[DAYS[at[0]].name, at[1]]


def test_a_line_of_another_version_is_not_believed():
    line = BLOCK.splitlines()[0].replace(b'"v": 1', b'"v": 2')
    assert "of version 2" in verify([(DAYS[0].name, [line + b"\n"])]).problems[0].what


def test_nothing_and_nothing_chained_prove_nothing():
    assert "there is no line" in verify([]).problems[0].what
    assert "no line of it is chained" in verify([(DAYS[0].name, [OLD])]).problems[0].what


def test_the_newest_lines_can_be_cut_off_unseen_unless_their_head_was_noted():
    blobs, head = trail(3)
    blobs[0][1].pop()
    assert verify(blobs).whole
    verdict = verify(blobs, noted=head)
    assert [problem.what for problem in verdict.problems] == [
        "line 3, which was noted as the head, is gone: the trail ends with 2"
    ]


def test_a_trail_that_was_written_anew_is_not_the_one_whose_head_was_noted():
    _, head = trail(3)
    block, _ = chained([entry(number=9), entry(), entry(), entry()], BEGIN)
    anew = [(DAYS[0].name, block.splitlines(keepends=True))]
    assert verify(anew).whole
    assert told(anew, noted=head) == [(DAYS[0].name, 3)]


def test_a_noted_head_that_was_not_looked_at_is_not_passed_over():
    blobs, _ = trail(2, 2)
    verdict = verify(blobs[1:], midway=True, noted=Head(1, "0" * 64))
    assert "is before what was looked at" in verdict.problems[0].what


# --- any single change


@st.composite
def trails(draw):
    sizes = draw(st.lists(st.integers(0, 4), min_size=1, max_size=3).filter(lambda sizes: sizes[-1] > 0))
    return trail(*sizes)


def flat(blobs):
    return [(number, at) for number, (_, lines) in enumerate(blobs) for at in range(len(lines))]


@given(trails(), st.data())
def test_any_byte_that_is_changed_is_found(made, data):
    blobs, head = made
    number, at = data.draw(st.sampled_from(flat(blobs)))
    line = bytearray(blobs[number][1][at])
    where = data.draw(st.integers(0, len(line) - 1))
    line[where] = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[where]))
    blobs[number][1][at : at + 1] = bytes(line).splitlines(keepends=True) if 10 in line[:-1] else [bytes(line)]
    assert not verify(blobs, noted=head).whole
    if (number, at) != flat(blobs)[-1]:
        assert not verify(blobs).whole


@given(trails(), st.data())
def test_any_line_that_is_removed_is_found(made, data):
    blobs, head = made
    places = flat(blobs)
    number, at = data.draw(st.sampled_from(places))
    del blobs[number][1][at]
    assert not verify(blobs, noted=head).whole
    if (number, at) != places[-1]:
        assert not verify(blobs).whole


@given(trails(), st.data())
def test_any_two_lines_that_are_swapped_are_found(made, data):
    blobs, _ = made
    one, two = data.draw(st.lists(st.sampled_from(flat(blobs)), min_size=2, max_size=2))
    first, second = blobs[one[0]][1], blobs[two[0]][1]
    first[one[1]], second[two[1]] = second[two[1]], first[one[1]]
    assert verify(blobs).whole is (one == two)


@given(trails(), st.data())
def test_any_line_that_is_put_in_is_found(made, data):
    blobs, head = made
    number, at = data.draw(st.sampled_from(flat(blobs)))
    everything = [line for _, lines in blobs for line in lines]
    new = data.draw(st.sampled_from([OLD, FORGED, b"\n", b"{}\n", *everything]))
    blobs[number][1].insert(at, new)
    assert not verify(blobs).whole
    assert not verify(blobs, noted=head).whole


@given(trails(), st.data())
def test_any_blob_that_is_removed_is_found(made, data):
    blobs, head = made
    del blobs[data.draw(st.integers(0, len(blobs) - 1))]
    assert not verify(blobs, noted=head).whole
    assert not verify(blobs).whole
