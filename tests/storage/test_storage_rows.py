"""What goes into a row comes out of it again, whatever it is."""

from __future__ import annotations

import dataclasses

from datetime import UTC, datetime

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from hubwarden.adapters.storage.findings import FINDINGS
from hubwarden.adapters.storage.hubs import HUBS, SWEEPS
from hubwarden.adapters.tickets.builtin import TICKETS
from hubwarden.domain.finding import Actor, Attempt, Event, Finding, Obstacle, State, Step
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.severity import Severity
from hubwarden.service.errors import StorageUnavailableError
from hubwarden.service.ports import HubRecord, SweepRecord, Ticket, TicketRef


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
any_text = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates too
names = st.text(max_size=20)
times = st.datetimes(timezones=st.just(UTC))
maybe_time = st.none() | times
counts = st.integers(0, 2**31 - 1)
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(names, jsons, max_size=3)
texts = st.dictionaries(names, any_text, max_size=3)
hubs = st.builds(
    HubId,
    st.uuids().map(str),
    st.text(st.characters(categories=["L", "Nd"], include_characters="_.()-"), min_size=1, max_size=90),
    st.text("abcXYZ0-", min_size=1, max_size=50),
)
actors = st.builds(Actor, st.none() | any_text, st.none() | any_text, st.none() | any_text)
attempts = st.builds(
    Attempt,
    digest=any_text,
    etag=any_text,
    changes=st.lists(objects, max_size=3).map(tuple),
    started_at=times,
    deadline=times,
    fingerprint=texts,
    written_at=maybe_time,
)
findings = st.builds(
    Finding,
    hub=hubs,
    rule_id=names,
    subject=names,
    severity=st.sampled_from(Severity),
    summary=any_text,
    first_seen=times,
    last_seen=times,
    evidence=objects,
    state=st.sampled_from(State),
    occurrences=counts,
    actor=st.none() | actors,
    attempt=st.none() | attempts,
    attempts=counts,
    obstacle=st.none() | st.builds(Obstacle, any_text, times, maybe_time),
    history=st.lists(
        st.builds(Step, times, st.sampled_from(Event), st.sampled_from(State), any_text), max_size=4
    ).map(tuple),
)
hub_records = st.builds(
    HubRecord,
    hub=hubs,
    looked_at=maybe_time,
    looking_since=maybe_time,
    hub_etag=st.none() | any_text,
    verdicts=texts,
    unknown=texts,
    written_by=st.none() | actors,
    written_at=maybe_time,
)
sweeps = st.builds(
    SweepRecord,
    subscriptions=st.lists(any_text, max_size=3).map(tuple),
    started_at=times,
    finished_at=times,
    hubs=counts,
    evaluated=counts,
    drifting=counts,
    unknown=texts,
    dead=texts,
)
refs = st.none() | st.builds(TicketRef, any_text, any_text, st.none() | any_text)
tickets = st.builds(
    Ticket,
    key=st.from_regex(r"f-[0-9a-f]{16}", fullmatch=True),
    hub=hubs,
    rule_id=any_text,
    title=any_text,
    text=any_text,
    is_open=st.booleans(),
    opened_at=times,
    changed_at=times,
    occurrences=counts,
    closing_note=st.none() | any_text,
    severity=st.sampled_from(Severity),
    ref=refs,
    previous=refs,
)


def finding(**changes) -> Finding:
    hub = HubId("00000000-0000-0000-0000-000000000001", "rg", "hub")
    return dataclasses.replace(Finding(hub, "r", "s", Severity.HIGH, "summary", NOW, NOW), **changes)


def comes_back(shape, value) -> None:
    row = shape.to_row(value)
    again = shape.from_row(row)
    assert again == value
    assert shape.to_row(again) == row  # equality alone takes 1, 1.0 and true for the same
    assert row["Doc"].isascii()  # so that no piece ends within a character
    for column in row.values():
        assert not isinstance(column, str) or len(column.encode("utf-16-le")) <= 64 * 1024
    assert not set("/\\#?") & set(row["PartitionKey"] + row["RowKey"])


@given(findings)
def test_findings_come_back(value):
    comes_back(FINDINGS, value)


@given(hub_records)
def test_hub_records_come_back(value):
    comes_back(HUBS, value)


@given(sweeps)
def test_sweeps_come_back(value):
    comes_back(SWEEPS, value)


@given(tickets)
def test_tickets_come_back(value):
    comes_back(TICKETS, value)


@given(sweeps, sweeps)
def test_a_later_sweep_has_a_smaller_key(one, other):
    keys = SWEEPS.key(one), SWEEPS.key(other)
    assert (keys[0] < keys[1]) == (one.started_at > other.started_at)


@settings(max_examples=20)
@given(st.integers(1, 450_000))
def test_a_long_document_goes_on_in_further_properties(length):
    comes_back(FINDINGS, finding(evidence={"long": "x" * length}))


def test_a_document_that_just_fits_is_within_the_limits_of_a_row():
    value = finding(evidence={"long": "x" * 440_000}, summary="ü" * 5000, subject="s" * 5000)
    row = FINDINGS.to_row(value)
    assert sum(len(str(part).encode("utf-16-le")) for pair in row.items() for part in pair) < 1024 * 1024


def test_a_document_that_fits_no_row_is_refused():
    with pytest.raises(StorageUnavailableError, match=r"table hubwardenfindings: a row of \d+ characters"):
        FINDINGS.to_row(finding(evidence={"long": "x" * 480_000}))


def test_columns_for_people_are_cut_and_have_no_lone_surrogates():
    row = FINDINGS.to_row(finding(summary="\ud800" + "x" * 2000, subject="ü😀"))
    assert row["Summary"] == "?" + "x" * 999
    assert row["Subject"] == "ü😀"


def test_a_row_that_another_schema_wrote_is_not_guessed_at():
    row = FINDINGS.to_row(finding()) | {"Schema": 2}
    with pytest.raises(StorageUnavailableError, match="its schema is 2, and this app knows those up to 1"):
        FINDINGS.from_row(row)


def test_a_value_that_is_not_of_its_type_is_not_written():
    with pytest.raises(ValueError, match="occurrences"):
        FINDINGS.to_row(finding(occurrences="three"))


@pytest.mark.parametrize("document", ["", "{", "[]", '{"hub": "secret-value"}'])
def test_a_damaged_row_is_named_without_its_content(document):
    row = FINDINGS.to_row(finding()) | {"Doc": document}
    with pytest.raises(
        StorageUnavailableError, match=r"row .*\|rg\|hub / f-[0-9a-f]{16} cannot be read"
    ) as caught:
        FINDINGS.from_row(row)
    assert "secret-value" not in str(caught.value)


@pytest.mark.parametrize("bad", "/\\#?\n\x7f\x85")
def test_a_key_that_tables_do_not_take_is_refused(bad):
    with pytest.raises(ValueError, match="not a table key"):
        FINDINGS.to_row(finding(hub=HubId("s", f"r{bad}g", "h")))
