from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hubwarden.domain.hub_id import HubId
from hubwarden.domain.snapshot import DEAD_STATES, Facet, Snapshot, Unread


def snapshot(body):
    return Snapshot(HubId("s", "g", "h"), datetime(2026, 11, 23, tzinfo=UTC), {Facet.HUB: body})


@pytest.mark.parametrize(
    ("state", "provisioning", "at_rest", "dead"),
    [
        ("Active", "Succeeded", True, None),
        ("Transitioning", "Transitioning", False, None),
        ("Activating", "Activating", False, None),
        ("FailingOver", "FailingOver", False, None),
        ("Deleting", "Deleting", False, "Deleting"),
        ("ActivationFailed", "Failed", False, "ActivationFailed"),
        ("DeletionFailed", "Failed", False, "DeletionFailed"),
    ],
)
def test_the_states_that_azure_shows(state, provisioning, at_rest, dead):
    shown = snapshot({"properties": {"state": state, "provisioningState": provisioning}})
    assert (shown.at_rest, shown.dead) == (at_rest, dead)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"properties": None},
        {"properties": []},
        {"properties": "x"},
        {"properties": {}},
        {"properties": {"state": None, "provisioningState": None}},
        {"properties": {"state": ["Deleting"], "provisioningState": ["Succeeded"]}},
        {"properties": {"state": {}, "provisioningState": {}}},
        None,
        [],
        Unread("throttled"),
    ],
    ids=repr,
)
def test_an_odd_body_is_neither_at_rest_nor_dead(body):
    assert (snapshot(body).at_rest, snapshot(body).dead, snapshot(body).etag) == (False, None, None)


@pytest.mark.parametrize(("etag", "found"), [("AAAA=", "AAAA="), (None, None), (5, None), (["x"], None)])
def test_etag(etag, found):
    assert snapshot({"etag": etag}).etag == found


def test_what_was_not_asked_for_is_unread():
    empty = Snapshot(HubId("s", "g", "h"), datetime(2026, 11, 23, tzinfo=UTC), {})
    assert empty.read(Facet.HUB) == Unread("the hub facet was not asked for")


def test_dead_states():
    assert {"ActivationFailed", "DeletionFailed", "Deleting"} == DEAD_STATES
