from __future__ import annotations

import copy
import json

from datetime import timedelta

import pytest

from hypothesis import example, given
from hypothesis import strategies as st

from hubwarden.domain.finding import Actor, State
from hubwarden.domain.hub_id import HubId
from hubwarden.service.errors import StorageRefusedError
from hubwarden.service.events import OPERATIONS, Ignored, Nearby, Sighting, read_event
from hubwarden.service.messages import parse
from hubwarden.service.ports import HubRecord
from hubwarden.service.route_event import route_event
from tests.unit.fakes import HUB, OID, OWN, SOMEBODY, START, SUB, SUB2, World, arm_event, hub_id


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


GROUP = f"/subscriptions/{SUB}/resourceGroups/RG-Prod"
SOLUTION = f"{GROUP}/providers/Microsoft.Security/iotSecuritySolutions/plant"
LOCK = "/providers/Microsoft.Authorization/locks/no"
NEAR = {
    "solution": (SOLUTION, ["a", "b", "other-group"]),
    "solution in another group": (SOLUTION.replace("RG-Prod", "rg-elsewhere"), ["a", "b", "other-group"]),
    "lock on a solution": (SOLUTION + LOCK, ["a", "b", "other-group"]),
    "lock on a group": (GROUP + LOCK, ["a", "b"]),
    "lock on a group without hubs": (GROUP + "-2" + LOCK, []),
    "lock on a subscription": (f"/subscriptions/{SUB}{LOCK}", ["a", "b", "other-group"]),
    "shouted": ((GROUP + LOCK).upper(), ["a", "b"]),
    "lock on something else": (f"{GROUP}/providers/Microsoft.Storage/storageAccounts/a{LOCK}", []),
    "part of a solution": (f"{SOLUTION}/analyticsModels/default", []),
}
KNOWN = [hub_id("a"), hub_id("b"), HubId(SUB, "rg-2", "other-group"), hub_id("elsewhere", SUB2)]


async def near(uri, *, kind="Microsoft.Resources.ResourceDeleteSuccess", known=KNOWN, **more):
    world = World()
    for hub in known:
        await world.records.save(HubRecord(hub), None)
    event = arm_event(kind=kind, resourceUri=uri, **more)
    said = await route_event(event, own=OWN, work=world.work, records=world.records, clock=world.clock)
    return said, world.work.sent


@pytest.mark.parametrize(("uri", "hubs"), NEAR.values(), ids=NEAR)
@pytest.mark.parametrize("kind", ["Write", "Delete"])
async def test_what_hubs_depend_on_makes_us_look_at_those_that_are_known_there(uri, hubs, kind):
    _, sent = await near(uri, kind=f"Microsoft.Resources.Resource{kind}Success")
    assert sorted(message.hub_id.name for message, _ in sent) == hubs
    for message, delay in sent:
        assert (message.actor, message.changed_at, message.deleted) == (None, START, False)
        assert timedelta(seconds=10) <= delay < timedelta(seconds=11)


async def test_our_own_change_of_a_solution_does_not_wake_us():
    said, sent = await near(SOLUTION, claims={OID: OWN.object_id})
    assert isinstance(said, Ignored)
    assert not sent


async def test_a_large_subscription_is_looked_at_bit_by_bit():
    known = [hub_id(f"hub-{number}") for number in range(250)]
    _, sent = await near(SOLUTION, known=known)
    assert {message.hub_id for message, _ in sent} == set(known)
    assert max(delay for _, delay in sent) == timedelta(seconds=10 + 24)


async def test_one_row_that_cannot_be_read_hides_no_hub_before_it_and_fails_no_event(caplog):
    world = World()

    async def broken(_subscription):
        yield HubRecord(HUB)
        raise StorageRefusedError("table hubwardenhubs: a row cannot be read")

    world.records.of_subscription = broken
    await world.event(arm_event(resourceUri=SOLUTION))
    assert [message.hub for message, _ in world.work.sent] == [HUB.path]
    assert "some hubs are left to the sweep: table hubwardenhubs" in caplog.text


async def test_a_burst_of_changes_to_a_solution_costs_one_look_at_each_hub():
    world = World()
    for name in ("a", "b"):
        await world.records.save(HubRecord(world.hubs.add(hub_id(name))), None)
    for _ in range(20):
        await world.event(arm_event(resourceUri=SOLUTION))
    await world.run()
    assert world.hubs.count("get") == 2


async def test_who_changed_a_solution_is_not_taken_for_who_wrote_the_hub():
    world = World()
    world.hubs.add(minTlsVersion="1.0")
    await world.records.save(HubRecord(HUB), None)
    await world.event(arm_event(resourceUri=SOLUTION))
    await world.run()
    assert world.state() is State.RESOLVED
    assert world.finding().actor is None
    assert world.record().written_at is None


OPERATION_AT = {
    "Microsoft.Devices/IotHubs": HUB.path,
    "Microsoft.Insights/diagnosticSettings": f"{HUB.path}/providers/microsoft.insights/diagnosticSettings/x",
    "Microsoft.Security/iotSecuritySolutions": SOLUTION,
    "Microsoft.Authorization/locks": GROUP + LOCK,
}


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_each_operation_that_is_let_through_makes_us_look(operation):
    of, _, verb = operation.rpartition("/")
    kind = f"Microsoft.Resources.Resource{verb.capitalize()}Success"
    _, sent = await near(OPERATION_AT[of], kind=kind, known=[HUB], operationName=operation)
    assert [message.hub for message, _ in sent] == [HUB.path]


def test_the_operations_fit_into_a_filter_of_event_grid():
    assert len(OPERATIONS) == len({operation.lower() for operation in OPERATIONS}) <= 25
    assert all(len(operation) <= 512 for operation in OPERATIONS)
    assert {operation.rpartition("/")[2] for operation in OPERATIONS} == {"write", "delete"}


@pytest.mark.parametrize(("age", "sure"), [(timedelta(minutes=59), True), (timedelta(hours=1), False)])
async def test_an_old_word_of_a_deletion_proves_nothing(age, sure):
    event = arm_event(kind="Microsoft.Resources.ResourceDeleteSuccess", at=START - age)
    _, (message,) = await route(event)
    assert message.deleted is sure


async def drifted_long_after(**told):
    """Somebody changed the hub, which was then looked at for hours and was compliant; now somebody lowers TLS."""
    world = World("report")
    world.hubs.add()
    early = world.hubs.change(path=("tags", "x"), value="y")
    world.clock.turn(**told)
    await world.sweep()
    world.hubs.change(by="somebody-else")
    return world, early


async def test_an_event_that_comes_late_accuses_nobody_of_what_somebody_did_since():
    world, early = await drifted_long_after(hours=2)
    await world.event(early)
    await world.run()
    assert world.finding().summary
    assert world.finding().actor is None


async def test_an_event_that_comes_soon_says_who_did_it():
    world, early = await drifted_long_after(minutes=2)
    await world.event(early)
    await world.run()
    assert world.finding().actor.object_id == SOMEBODY


async def test_an_event_that_comes_late_says_who_did_what_a_sweep_has_found():
    world = World("report")
    world.hubs.add()
    late = world.hubs.change()
    await world.sweep()
    world.clock.turn(hours=5)
    await world.sweep()
    assert world.finding().actor is None
    await world.event(late)
    await world.run()
    assert world.finding().actor.object_id == SOMEBODY


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
    "Microsoft.Resources.ResourceWriteSuccess", HUB.path, HUB.path + "/\ud800", SOLUTION, GROUP + LOCK,
    "[" * 100_000, '{"a":' * 50_000,
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
    assert isinstance(said, Sighting | Nearby | Ignored)
    assert isinstance(said, Sighting) == bool(world.work.letters)
    for letter in world.work.letters:
        assert parse(letter.queue, letter.text).hub
    read_event(event)


def test_the_event_types_are_those_of_the_event_grid_sdk():
    from azure.eventgrid import SystemEventNames

    from hubwarden.service import events

    names = {SystemEventNames.ResourceWriteSuccessEventName, SystemEventNames.ResourceDeleteSuccessEventName}
    assert {name.value for name in names} == events._TYPES


async def test_the_id_of_an_event_forges_no_line_of_the_log_and_breaks_none(caplog):
    caplog.set_level("INFO", logger="hubwarden")
    world = World()
    event = {"id": "1\nERROR forged \ud800", "eventType": "nothing of ours"}
    await route_event(event, own=OWN, work=world.work, records=world.records, clock=world.clock)
    [line] = [record.getMessage() for record in caplog.records]
    assert line.isprintable()
    assert line.startswith("event 1 ERROR forged ")


def test_what_an_event_says_stays_on_one_line():
    event = arm_event()
    event["data"]["operationName"] = "op\nforged"
    event["data"]["claims"] = {"name": "Eve\n2026 ERROR forged\x1b[31m\u202e"}
    sighting = read_event(event)
    assert sighting.operation == "op forged"
    assert sighting.actor.name == "Eve 2026 ERROR forged [31m "
