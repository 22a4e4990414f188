from __future__ import annotations

import copy
import json

from datetime import timedelta

import pytest

from hypothesis import example, given
from hypothesis import strategies as st

from hubwarden.domain.finding import Actor
from hubwarden.service.events import Ignored, Sighting, read_event
from hubwarden.service.messages import parse
from hubwarden.service.route_event import route_event
from tests.unit.fakes import HUB, OID, OWN, SOMEBODY, START, World, arm_event


def cloud_event(event):
    return {
        "specversion": "1.0",
        "id": event["id"],
        "source": event["topic"],
        "subject": event["subject"],
        "type": event["eventType"],
        "time": event["eventTime"],
        "data": event["data"],
    }


def as_strings(event):
    """As older events have it (RECORDINGS §8)."""
    data = event["data"]
    texts = {name: json.dumps(data[name]) for name in ("authorization", "claims")}
    return event | {"data": data | texts | {"httpRequest": "{}"}}


SHAPES = {
    "event grid": lambda event: event,
    "cloud event": cloud_event,
    "event grid, strings": as_strings,
    "cloud event, strings": lambda event: cloud_event(as_strings(event)),
}


@pytest.fixture(params=SHAPES)
def shape(request):
    return SHAPES[request.param]


async def route(event, own=OWN):
    world = World()
    said = await route_event(event, own=own, work=world.work, records=world.records, clock=world.clock)
    return said, [letter.message for letter in world.work.letters]


async def test_a_write_makes_us_look_at_the_hub_and_says_who_did_it(shape):
    at = START - timedelta(seconds=3)
    said, (message,) = await route(shape(arm_event(at=at)))
    assert isinstance(said, Sighting)
    assert message.hub == HUB.path
    assert message.changed_at == at
    assert message.asked_at > START
    assert message.actor == Actor(SOMEBODY, "04b07795-0000-0000-0000-000000000046", "Jo Doe")
    assert message.cause == "event Microsoft.Devices/IotHubs/write"


async def test_a_deletion_makes_us_look(shape):
    _, messages = await route(shape(arm_event(kind="Microsoft.Resources.ResourceDeleteSuccess")))
    assert [message.hub for message in messages] == [HUB.path]


@pytest.mark.parametrize("part", [
    "/certificates/one", "/providers/microsoft.insights/diagnosticSettings/audit",
    "/providers/Microsoft.Authorization/locks/no",
])  # fmt: skip
async def test_a_change_to_a_part_of_the_hub_makes_us_look_at_the_hub(part):
    _, messages = await route(arm_event(resourceUri=HUB.path + part))
    assert [message.hub for message in messages] == [HUB.path]


@pytest.mark.parametrize("kind", [
    "Microsoft.Resources.ResourceActionSuccess", "Microsoft.Resources.ResourceWriteFailure",
    "Microsoft.Resources.ResourceWriteCancel", "Microsoft.Devices.DeviceCreated", "", None, 7, [1], {"a": 1},
])  # fmt: skip
async def test_other_events_ask_for_nothing(shape, kind):
    said, messages = await route(shape(arm_event(kind=kind)))
    assert isinstance(said, Ignored)
    assert not messages


@pytest.mark.parametrize("uri", [
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a",
    "/subscriptions/s/resourceGroups/g", "nonsense", "/",
])  # fmt: skip
async def test_other_resources_ask_for_nothing(uri):
    said, messages = await route(arm_event(resourceUri=uri))
    assert isinstance(said, Ignored)
    assert not messages


async def test_without_a_resource_uri_the_subject_names_the_hub():
    event = arm_event()
    del event["data"]["resourceUri"]
    _, messages = await route(event)
    assert [message.hub for message in messages] == [HUB.path]


OURS = {
    "object id": {"claims": {OID: OWN.object_id.upper()}},
    "short oid": {"claims": {"oid": OWN.object_id}},
    "application id alone": {"claims": {"appid": OWN.app_id}, "authorization": {}},
    "azp": {"claims": {"azp": OWN.app_id}, "authorization": None},
    "evidence": {"claims": {}, "authorization": {"evidence": {"principalId": OWN.object_id}}},
    "evidence without dashes": {
        "claims": {}, "authorization": {"evidence": {"principalId": OWN.object_id.replace("-", "")}}
    },
}  # fmt: skip


@pytest.mark.parametrize("data", OURS.values(), ids=OURS)
async def test_our_own_changes_do_not_wake_us(shape, data):
    said, messages = await route(shape(arm_event(**data)))
    assert said == Ignored(f"our own change of {HUB}")
    assert not messages


@pytest.mark.parametrize("own", [Actor(), Actor(object_id="else"), Actor(app_id="else")])
async def test_an_identity_that_is_not_known_drops_nothing(own):
    _, messages = await route(arm_event(by=OWN.object_id), own=own)
    assert len(messages) == 1


async def test_somebody_else_with_our_application_id_is_somebody_else():
    _, messages = await route(arm_event(claims={OID: SOMEBODY, "appid": OWN.app_id}))
    assert len(messages) == 1


async def test_no_personal_data_is_kept(shape):
    claims = {
        OID: SOMEBODY,
        "name": "jo.doe@example.com",
        "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": "jo.doe@example.com",
        "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name": "jo.doe@example.com",
        "ipaddr": "203.0.113.9",
        "groups": "secret-group",
    }
    said, (message,) = await route(shape(arm_event(claims=claims, httpRequest={"clientIpAddress": "203.0.113.9"})))
    for text in (message.model_dump_json(), repr(said)):
        for private in ("example.com", "203.0.113", "secret-group", "xmlsoap"):
            assert private not in text


async def test_a_change_in_the_future_happened_now():
    event = arm_event(at=START + timedelta(days=400))
    _, (message,) = await route(event)
    assert message.changed_at == message.asked_at


@pytest.mark.parametrize("time", ["2018-07-19T18:38:04.6117357Z", "2018-07-19T18:38:04.6117357"])
async def test_times_have_seven_digits_and_are_utc(time):
    _, (message,) = await route(arm_event() | {"eventTime": time})
    assert message.changed_at.isoformat() == "2018-07-19T18:38:04.611735+00:00"


@pytest.mark.parametrize("time", [
    "", None, 3, [], "yesterday", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
])  # fmt: skip
async def test_a_time_that_is_none_does_no_harm(time):
    _, (message,) = await route(arm_event() | {"eventTime": time})
    assert message.changed_at is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.characters(categories=["Cs"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
ODD = JSON | st.sampled_from([
    "Microsoft.Resources.ResourceWriteSuccess", HUB.path, HUB.path + "/\ud800", "[" * 100_000, '{"a":' * 50_000,
    "\ud800", "NaN", "1" * 5000, '"x"', "{}", "[]", {"evidence": "text"}, {"evidence": []}, {OID: ["x"]},
])  # fmt: skip


@st.composite
def odd_events(draw):
    event = arm_event() if draw(st.booleans()) else cloud_event(arm_event())
    for name in draw(st.lists(st.sampled_from([*event, "extra"]), max_size=3)):
        event[name] = draw(ODD)
    event = copy.deepcopy(event)  # what was drawn stays as it was drawn
    if isinstance(event.get("data"), dict):
        for name in draw(st.lists(st.sampled_from([*event["data"], "extra"]), max_size=3)):
            event["data"][name] = draw(ODD)
    return event


@given(event=odd_events() | st.dictionaries(st.text(), JSON))
@example(event={"eventType": [1]})
@example(event=arm_event(operationName="\ud800", claims={OID: "\udfff", "name": "\ud800"}))
@example(event=arm_event(claims="[" * 200_000))
async def test_garbage_of_any_shape_never_raises_and_what_is_sent_can_be_read(event):
    world = World()
    said = await route_event(event, own=OWN, work=world.work, records=world.records, clock=world.clock)
    assert isinstance(said, Sighting | Ignored)
    assert isinstance(said, Sighting) == bool(world.work.letters)
    for letter in world.work.letters:
        assert parse(letter.queue, letter.text).hub
    read_event(event)


def test_the_event_types_are_those_of_the_event_grid_sdk():
    from azure.eventgrid import SystemEventNames

    from hubwarden.service import events

    names = {SystemEventNames.ResourceWriteSuccessEventName, SystemEventNames.ResourceDeleteSuccessEventName}
    assert {name.value for name in names} == events._TYPES


def test_what_an_event_says_stays_on_one_line():
    event = arm_event()
    event["data"]["operationName"] = "op\nforged"
    event["data"]["claims"] = {"name": "Eve\n2026 ERROR forged\x1b[31m\u202e"}
    sighting = read_event(event)
    assert sighting.operation == "op forged"
    assert sighting.actor.name == "Eve 2026 ERROR forged [31m "
