"""Counting is pure: rows in, coverage out, and what is not understood proves nothing."""

from __future__ import annotations

import json

from datetime import UTC, datetime, timedelta

import pytest

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from hubwarden.domain.census import (
    SHOWN,
    CensusSettings,
    Coverage,
    RowError,
    Tally,
    judged,
    module_line,
    module_of,
    module_states,
)


NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SETTINGS = CensusSettings(silent_after_hours=48)


@pytest.mark.parametrize(("row", "active"), [
    ({"connectionState": "Connected", "lastActivityTime": "0001-01-01T00:00:00Z"}, True),
    ({"connectionState": "Connected"}, True),
    ({"connectionState": "connected"}, False),
    ({"connectionState": "Disconnected", "lastActivityTime": "0001-01-01T00:00:00Z"}, False),
    ({"lastActivityTime": "0001-01-01T00:00:00"}, False),
    ({"lastActivityTime": "2026-11-22T12:00:00Z"}, True),
    ({"lastActivityTime": "2026-11-22T11:59:59.9999999Z"}, False),
    ({"lastActivityTime": "2026-11-22T12:00:00.1234567"}, True),
    ({"lastActivityTime": "2026-11-22T13:00:00+02:00"}, False),
    ({"lastActivityTime": "2027-01-01T00:00:00Z"}, True),
    ({"lastActivityTime": None}, False),
    ({"lastActivityTime": ""}, False),
    ({"lastActivityTime": 1700000000}, False),
    ({"connectionState": None, "lastActivityTime": "9999-12-31T23:59:59.9999999Z"}, True),
])  # fmt: skip
def test_a_module_protects_while_it_is_connected_or_was_active_not_long_ago(row, active):
    assert SETTINGS.active(row, NOW) is active


def test_the_queries_ask_for_ids_and_activity_only():
    settings = CensusSettings(security_modules=["one", "it(is)2"])
    assert settings.modules_query == (
        "SELECT deviceId, moduleId, connectionState, lastActivityTime FROM devices.modules "
        "WHERE moduleId IN ['one', 'it(is)2']"
    )
    assert settings.devices_query == "SELECT deviceId, status, connectionState, lastActivityTime FROM devices"


@pytest.mark.parametrize("name", ["", "it's", 'a"b', "a b", "a\n", "x" * 129, "ü", "a] OR true"])
def test_a_name_that_could_break_out_of_the_query_is_refused(name):
    with pytest.raises(ValidationError):
        CensusSettings(security_modules=[name])


@pytest.mark.parametrize(("field", "value"), [
    ("security_modules", []), ("silent_after_hours", 0), ("count_every_hours", 0), ("grace_minutes", 4), ("x", 1),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(field, value):
    with pytest.raises(ValidationError):
        CensusSettings(**{field: value})


ALIVE = {"connectionState": "Connected"}
SILENT = {"connectionState": "Disconnected", "lastActivityTime": "0001-01-01T00:00:00Z"}


@pytest.mark.parametrize(("modules", "coverage"), [
    ([], Coverage.UNREGISTERED),
    ([SILENT], Coverage.SILENT),
    ([ALIVE], Coverage.COVERED),
    ([ALIVE, SILENT], Coverage.COVERED),
    ([SILENT, ALIVE], Coverage.COVERED),
])  # fmt: skip
def test_the_best_module_of_a_device_counts(modules, coverage):
    states = module_states([{"deviceId": "A", **module} for module in modules], SETTINGS, NOW)
    ((said, told),) = judged([{"deviceId": "A", "status": "enabled", "tags": {"secret": 1}}], states)
    assert said is coverage
    assert told == {
        "deviceId": "A",
        "coverage": coverage.value,
        "status": "enabled",
        "connectionState": None,
        "lastActivityTime": None,
    }


def test_ids_that_differ_in_case_are_different_devices():
    assert [said for said, _ in judged([{"deviceId": "a"}], {"A": True})] == [Coverage.UNREGISTERED]


@pytest.mark.parametrize("row", [{}, {"deviceId": None}, {"deviceId": ""}, {"deviceId": 7}, {"$1": 100}])
def test_a_row_without_a_device_proves_nothing(row):
    with pytest.raises(RowError):
        list(judged([{"deviceId": "a"}, row], {}))
    with pytest.raises(RowError):
        module_states([{**row, **ALIVE}], SETTINGS, NOW)


def test_a_module_of_whose_activity_nothing_is_said_proves_nothing():
    with pytest.raises(RowError):
        module_states([{"deviceId": "a", "moduleId": "m"}], SETTINGS, NOW)


@given(device=st.text(), active=st.booleans())
def test_a_module_is_one_line_whatever_its_device_is_called(device, active):
    line = module_line(device, active=active)
    assert line.isascii()
    assert line.splitlines() == [line]
    assert module_of(line) == (device, active)


JUDGED = st.lists(st.tuples(st.sampled_from(Coverage), st.text(max_size=5)), max_size=120)


@given(said=JUDGED, cut=st.integers(0, 120))
def test_a_tally_is_the_same_in_one_go_and_in_slices_that_travel_as_json(said, cut):
    adapter = TypeAdapter(Tally)
    first = adapter.validate_json(adapter.dump_json(Tally().plus(said[:cut])))
    facet = first.plus(said[cut:]).facet(NOW, "hubwarden-lists/x")
    assert facet == Tally().plus(said).facet(NOW, "hubwarden-lists/x")
    assert facet["total"] == len(said) == sum(facet["counts"].values())
    assert set(facet["counts"]) == {coverage.value for coverage in Coverage}
    for coverage in Coverage:
        ids = [device for kind, device in said if kind is coverage]
        assert facet["counts"][coverage] == len(ids)
        if coverage is Coverage.COVERED:
            assert coverage not in facet["first"]
        else:
            assert facet["first"].get(coverage, []) == ids[:SHOWN]
    assert json.loads(json.dumps(facet)) == facet
    assert datetime.fromisoformat(facet["counted_at"]) == NOW


def test_a_tally_does_not_change():
    before = Tally().plus([(Coverage.SILENT, "a")])
    before.plus([(Coverage.SILENT, "b")] * 5)
    assert before == Tally({Coverage.SILENT: 1}, {Coverage.SILENT: ("a",)})


def test_activity_is_judged_at_the_moment_that_is_given():
    row = {"deviceId": "a", "lastActivityTime": "2026-11-24T12:00:00Z"}
    assert module_states([row], SETTINGS, NOW) == {"a": True}
    assert module_states([row], SETTINGS, NOW + timedelta(hours=49)) == {"a": False}
