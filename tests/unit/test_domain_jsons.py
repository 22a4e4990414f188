from __future__ import annotations

import copy
import hashlib
import json
import pickle

import pytest

from hypothesis import assume, given
from hypothesis import strategies as st

from hubwarden.domain.jsons import (
    ABSENT,
    NotAnObjectError,
    differences,
    digest,
    dotted,
    get_at,
    same,
    with_value,
)


keys = st.text(st.characters(codec="utf-8"), max_size=4)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=5),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
objects = st.dictionaries(keys, values, max_size=4)


def shuffled(value):
    if isinstance(value, dict):
        return {key: shuffled(inner) for key, inner in reversed(value.items())}
    return [shuffled(inner) for inner in value] if isinstance(value, list) else value


@given(objects)
def test_key_order_does_not_enter_the_digest(document):
    assert digest(shuffled(document)) == digest(document)
    assert digest(json.loads(json.dumps(document))) == digest(document)


@given(values, values)
def test_equal_digests_mean_equal_documents(one, two):
    # Whole floats are written as RFC 8785 says: 1.0 and 1 are one number on the wire, so == and not same().
    assert (digest(one) == digest(two)) is (
        json.loads(json.dumps(one)) == two and _booleans(one) == _booleans(two)
    )


def _booleans(value):
    if isinstance(value, dict):
        return {key: _booleans(inner) for key, inner in value.items()}
    return [_booleans(inner) for inner in value] if isinstance(value, list) else isinstance(value, bool)


def test_the_digest_is_sha256_of_the_canonical_text():
    canonical = rb'{"a":[true,null,"\u20ac"],"b":1}'
    assert digest({"b": 1, "a": [True, None, "€"]}) == f"sha256:{hashlib.sha256(canonical).hexdigest()}"


ODD = [None, False, True, 0, 1, 1.0, 0.5, "", "1", [], [1], [True], [1.0], {}, {"a": None}, {"a": 1}, {"a": True}]


@pytest.mark.parametrize("one", ODD, ids=repr)
def test_nothing_is_the_same_as_something_else(one):
    assert [other for other in [*ODD, ABSENT] if same(one, other)] == [one]
    assert sum(not list(differences(one, other)) for other in ODD) == 1
    assert list(differences(one, ABSENT)) == [()]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["a"]),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": 1}, {"a": 1.0}, ["a"]),
        ({"a": None}, {}, ["a"]),
        ({}, {"a": {}}, ["a"]),
        ({"a": [1]}, {"a": [True]}, ["a"]),
        ({"a": [{"b": 0}]}, {"a": [{"b": False}]}, ["a"]),
        ({"a": [1, 2]}, {"a": [2, 1]}, ["a"]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 2, "d": 2}}, ["a.b", "a.c", "a.d"]),
        ({"a": {"b": 1}}, {"a": [1]}, ["a"]),
        ({"A": 1}, {"a": 1}, ["A", "a"]),
    ],
)
def test_differences(before, after, expected):
    assert [dotted(path) for path in differences(before, after)] == expected


@given(objects, objects)
def test_no_difference_means_the_same(one, two):
    assert (not list(differences(one, two))) is same(one, two)
    assert not list(differences(one, copy.deepcopy(one)))


@given(values, values)
def test_same_is_symmetric_and_stricter_than_equal(one, two):
    assert same(one, two) is same(two, one)
    assert one == two or not same(one, two)


@pytest.mark.parametrize(
    ("document", "path", "found"),
    [
        ({"a": {"b": 1}}, ("a", "b"), 1),
        ({"a": {"b": None}}, ("a", "b"), None),
        ({"a": {}}, ("a", "b"), ABSENT),
        ({}, ("a", "b"), ABSENT),
        ({"a": None}, ("a", "b"), ABSENT),
        ({"a": "b"}, ("a", "b"), ABSENT),
        ({"a": ["b"]}, ("a", "b"), ABSENT),
        ({"a": [{"b": 1}]}, ("a", "0"), ABSENT),
        ({"a": 5}, ("a", "real"), ABSENT),
        ({"a": {"B": 1}}, ("a", "b"), ABSENT),
        ({"a.b": 1}, ("a", "b"), ABSENT),
        ({"": {"": 0}}, ("", ""), 0),
        ({"a": 1}, (), {"a": 1}),
        (None, ("a",), ABSENT),
        ([], ("a",), ABSENT),
    ],
)
def test_get_at(document, path, found):
    assert get_at(document, path) is found or get_at(document, path) == found


paths = st.lists(keys, min_size=1, max_size=3).map(tuple)


@given(objects, paths, scalars | st.lists(scalars, max_size=2) | st.just(ABSENT))
def test_with_value_changes_this_path_and_no_other(document, path, value):
    before = copy.deepcopy(document)
    try:
        after = with_value(document, path, value)
    except NotAnObjectError:
        assert any(not isinstance(get_at(document, path[:n]), dict) for n in range(1, len(path)))
        return
    finally:
        assert same(document, before)
    assert same(get_at(after, path), value)
    deep = [path for path in differences(document, after) if not isinstance(get_at(document, path), dict)]
    if not isinstance(get_at(document, path), dict):
        # An object that had to be made on the way is the difference; without one, it is the path itself.
        made = next((path[:n] for n in range(1, len(path)) if get_at(document, path[:n]) is ABSENT), path)
        assert deep in ([], [made])
    assert all(different[: len(path)] == path or path[: len(different)] == different for different in deep)


@given(objects, paths, scalars)
def test_with_value_can_be_taken_back(document, path, value):
    assume(len(path) == 1 or isinstance(get_at(document, path[:-1]), dict))
    there = with_value(document, path, value)
    assert same(with_value(there, path, get_at(document, path)), document)


def test_with_value_does_not_share():
    document, value = {"a": {"b": [1]}, "c": {"d": [1]}}, [1]
    made = with_value(document, ("a", "b"), value)
    made["a"]["b"].append(2)
    made["c"]["d"].append(2)
    assert document == {"a": {"b": [1]}, "c": {"d": [1]}}
    assert value == [1]


@pytest.mark.parametrize("between", [None, [], [{}], "x", "", 0, 1.5, False])
def test_with_value_does_not_replace_what_is_no_object(between):
    with pytest.raises(NotAnObjectError, match=r"a\.b is no object, so there can be no a\.b\.c"):
        with_value({"a": {"b": between}}, ("a", "b", "c"), 1)


@pytest.mark.parametrize("document", [{}, {"a": None}, {"a": {}}, {"a": "x"}])
def test_taking_away_what_is_not_there_changes_nothing(document):
    assert with_value(document, ("a", "b", "c"), ABSENT) == document


def test_null_and_absence_differ():
    assert with_value({"a": 1}, ("a",), None) == {"a": None}
    assert with_value({"a": 1}, ("a",), ABSENT) == {}


def test_absent_stays_itself():
    assert copy.deepcopy(ABSENT) is ABSENT
    assert copy.copy([ABSENT])[0] is ABSENT
    assert pickle.loads(pickle.dumps(ABSENT)) is ABSENT
    assert repr(ABSENT) == "ABSENT"
