"""Event Grid: what is published, in which shape, and how it is delivered when things go wrong."""

import json
import re

import pytest

from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent, SystemEventNames

from local.azure_simulator import CANARY_BASE64
from local.azure_simulator.delivery import HandshakeError


OID = "http://schemas.microsoft.com/identity/claims/objectidentifier"
UPN = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"


async def test_a_put_is_published_when_it_is_done(arm, sim, names, hook, until):
    await sim.subscribe(hook.url)
    await arm.changed(minTlsVersion="1.2")
    assert sim.events() == []
    sim.finish_transitions()
    await until(lambda: hook.deliveries)
    headers, [body] = hook.deliveries[0]
    assert headers["aeg-event-type"] == "Notification"
    event = EventGridEvent.from_json(json.dumps(body))
    assert event.event_type == SystemEventNames.ResourceWriteSuccessEventName
    assert event.topic == f"/subscriptions/{names.subscription}"
    assert event.subject == event.data["resourceUri"] == names.hub
    assert (
        event.data["operationName"] == event.data["authorization"]["action"] == "Microsoft.Devices/IotHubs/write"
    )
    assert event.data["status"] == "Succeeded"
    assert event.data["httpRequest"]["method"] == "PUT"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", body["eventTime"])


async def test_publishing_at_accept_as_well(arm, sim):
    sim.configure(publish_on_accept=True)
    await arm.changed(minTlsVersion="1.2")
    assert len(sim.events()) == 1
    sim.finish_transitions()
    assert len(sim.events()) == 2


async def test_claims_name_who_wrote(arm, sim, names):
    await arm("PATCH", names.hub, {"tags": {}}, client=names.person)
    await arm("PATCH", names.hub, {"tags": {}}, client=names.app)
    person, application = (entry["event"]["data"]["claims"] for entry in sim.events())
    assert (person[UPN], person["name"], person["ipaddr"]) == ("eve@example.com", "Eve", "127.0.0.1")
    assert UPN not in application
    assert application["appid"] == names.app
    assert application[OID] == sim.state.entra.principals[names.app].oid != person[OID]
    assert all(isinstance(value, str) for value in person.values())


async def test_the_correlation_id_is_the_requests(arm, sim, names):
    answer = await arm("PATCH", names.hub, {"tags": {}}, headers={"x-ms-client-request-id": "mine"})
    data = sim.events()[0]["event"]["data"]
    assert data["correlationId"] == answer.headers["x-ms-correlation-request-id"]
    assert data["httpRequest"]["clientRequestId"] == "mine"


async def test_deletes_actions_and_locks_are_published_and_reads_and_failures_are_not(arm, sim, names):
    await arm("GET", names.hub)
    await arm("PUT", names.hub, {"location": "nowhere"})
    await arm("POST", f"{names.hub}/listkeys")
    await arm("POST", f"{names.hub}/IotHubKeys/device/listkeys")
    lock = f"{names.hub}/providers/Microsoft.Authorization/locks/l"
    await arm("PUT", lock, {"properties": {"level": "CanNotDelete"}})
    await arm("DELETE", lock)
    await arm("DELETE", names.hub)
    sim.finish_transitions()
    shown = [
        (e["event"]["eventType"].rsplit(".", 1)[1], e["event"]["data"]["operationName"]) for e in sim.events()
    ]
    assert shown == [
        ("ResourceActionSuccess", "Microsoft.Devices/IotHubs/listkeys/action"),
        ("ResourceActionSuccess", "Microsoft.Devices/IotHubs/iotHubKeys/listkeys/action"),
        ("ResourceWriteSuccess", "Microsoft.Authorization/locks/write"),
        ("ResourceDeleteSuccess", "Microsoft.Authorization/locks/delete"),
        ("ResourceDeleteSuccess", "Microsoft.Devices/IotHubs/delete"),
    ]
    assert CANARY_BASE64 not in json.dumps(sim.events())


async def test_cloud_events(arm, sim, names, hook, until):
    await sim.subscribe(hook.url, schema="CloudEventSchemaV1_0")
    assert hook.handshakes[0]["WebHook-Request-Origin"] == "eventgrid.azure.net"
    await arm("PATCH", names.hub, {"tags": {}})
    await until(lambda: hook.deliveries)
    headers, body = hook.deliveries[0]
    assert headers["Content-Type"].startswith("application/cloudevents+json")
    event = CloudEvent.from_dict(body)
    assert (event.specversion, event.source) == ("1.0", f"/subscriptions/{names.subscription}")
    assert (event.type, event.subject) == ("Microsoft.Resources.ResourceWriteSuccess", names.hub)
    assert event.data["claims"]["appid"] == names.app


async def test_structured_members_as_strings(arm, sim, names, hook, until):
    await sim.subscribe(hook.url, as_strings=True)
    await arm("PATCH", names.hub, {"tags": {}})
    await until(lambda: hook.deliveries)
    data = hook.deliveries[0][1][0]["data"]
    assert json.loads(data["claims"])["appid"] == names.app
    assert json.loads(data["authorization"])["scope"] == names.hub
    assert json.loads(data["httpRequest"])["method"] == "PATCH"


async def test_event_types_are_filtered_and_headers_are_sent(arm, sim, names, hook, until):
    await sim.subscribe(
        hook.url,
        event_types=["Microsoft.Resources.ResourceWriteSuccess"],
        headers={"x-functions-key": "k"},
    )
    await arm("POST", f"{names.hub}/listkeys")
    await arm("PATCH", names.hub, {"tags": {}})
    await until(lambda: hook.deliveries)
    headers, body = hook.deliveries[0]
    assert headers["x-functions-key"] == "k"
    assert [body[0]["eventType"]] == ["Microsoft.Resources.ResourceWriteSuccess"]
    assert len(sim.deliveries()) == 1


@pytest.mark.parametrize("schema", ["EventGridSchema", "CloudEventSchemaV1_0"])
async def test_an_endpoint_that_fails_the_handshake_gets_no_events(arm, sim, names, hook, schema):
    hook.validates = False
    with pytest.raises(HandshakeError):
        await sim.subscribe(hook.url, schema=schema)
    await arm("PATCH", names.hub, {"tags": {}})
    assert sim.event_grid.subscribers == {}
    await sim.subscribe(hook.url, schema=schema, validate=False)
    assert list(sim.event_grid.subscribers) == ["subscriber"]


async def test_the_handshake_is_the_documented_event(sim, hook):
    await sim.subscribe(hook.url)
    ((event,),) = hook.handshakes
    assert event["eventType"] == "Microsoft.EventGrid.SubscriptionValidationEvent"
    assert set(event["data"]) == {"validationCode"}


async def test_an_absent_endpoint_fails_the_handshake(sim):
    with pytest.raises(HandshakeError):
        await sim.subscribe("http://127.0.0.1:1/hook")


async def test_lost_events(arm, sim, names, hook, until):
    await sim.subscribe(hook.url)
    sim.event_mode(lose=2)
    for _ in range(3):
        await arm("PATCH", names.hub, {"tags": {}})
    await until(lambda: hook.deliveries)
    assert [entry["fate"] for entry in sim.events()] == ["lost", "lost", "sent"]
    sim.event_mode(lose=None)
    await arm("PATCH", names.hub, {"tags": {}})
    assert sim.events()[-1]["fate"] == "lost"
    assert len(hook.deliveries) == 1


async def test_duplicated_events_share_their_id(arm, sim, names, hook, until):
    await sim.subscribe(hook.url)
    sim.event_mode(duplicate=2)
    await arm("PATCH", names.hub, {"tags": {}})
    await until(lambda: len(hook.deliveries) == 3)
    assert len({body[0]["id"] for _, body in hook.deliveries}) == 1


async def test_held_events_come_reversed_or_shuffled(arm, sim, names, hook, until):
    await sim.subscribe(hook.url)
    sim.event_mode(hold=True)
    for number in range(6):
        await arm("PATCH", names.hub, {"tags": {"n": str(number)}})
    assert [entry["fate"] for entry in sim.events()] == ["held"] * 6
    published = [entry["event"]["id"] for entry in sim.events()]
    sent = []
    sim.event_grid._send = lambda event: sent.append(event["id"])
    assert sim.release_events("reversed") == 6
    assert sent == published[::-1]
    assert sim.release_events() == 0


async def test_shuffling_depends_on_the_seed(arm, sim, names):
    orders = []
    for seed in (1, 1, 2):
        sent = []
        sim.event_grid._send = lambda event, sent=sent: sent.append(event["subject"])
        sim.event_mode(hold=True)
        for number in range(6):
            sim.event_grid.publish({"subject": number})
        sim.release_events("shuffled", seed=seed)
        orders.append(sent)
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[2]) == list(range(6))


async def test_delayed_events(arm, sim, names, hook, until):
    await sim.subscribe(hook.url)
    sim.event_mode(delay=30)
    await arm("PATCH", names.hub, {"tags": {}})
    sim.event_mode(delay=0.02)
    await arm("PATCH", names.hub, {"tags": {}})
    await until(lambda: hook.deliveries)
    assert hook.deliveries[0][1][0]["id"] == sim.events()[1]["event"]["id"]
    assert len(hook.deliveries) == 1


async def test_a_failed_delivery_is_tried_again(arm, sim, names, hook, until):
    await sim.subscribe(hook.url)
    hook.statuses = [503, 500, 404, 200]
    await arm("PATCH", names.hub, {"tags": {}})
    await until(lambda: len(sim.deliveries()) == 4)
    assert [entry["outcome"] for entry in sim.deliveries()] == [503, 500, 404, 200]
    assert [headers["aeg-delivery-count"] for headers, _ in hook.deliveries] == ["1", "2", "3", "4"]
    assert sim.dead_letters() == []


@pytest.mark.parametrize("status", [400, 401, 403, 413])
async def test_some_answers_are_final(*, arm, sim, names, hook, until, status):
    await sim.subscribe(hook.url)
    hook.statuses = [status]
    await arm("PATCH", names.hub, {"tags": {}})
    await until(sim.dead_letters)
    (letter,) = sim.dead_letters()
    assert (letter["outcome"], letter["attempts"]) == (status, 1)
    assert letter["event"] == sim.events()[0]["event"]


async def test_an_endpoint_that_never_answers_ends_in_dead_letters(arm, sim, names, until):
    sim.configure(retry_delays=[1, 1])
    await sim.subscribe("http://127.0.0.1:1/hook", validate=False)
    await arm("PATCH", names.hub, {"tags": {}})
    await until(sim.dead_letters)
    assert sim.dead_letters()[0]["attempts"] == 3
    assert "Connect" in sim.dead_letters()[0]["outcome"]


async def test_the_delays_are_event_grids(sim):
    assert sim.state.config.retry_delays[:5] == (10, 30, 60, 300, 600)


async def test_unsubscribed_endpoints_get_nothing(arm, sim, names, hook):
    await sim.subscribe(hook.url)
    sim.unsubscribe()
    await arm("PATCH", names.hub, {"tags": {}})
    assert sim.events()[0]["fate"] == "sent"
    assert sim.event_grid._tasks == set()


async def test_our_events_have_the_members_of_the_documented_ones(arm, sim, names, data):
    await arm("PATCH", names.hub, {"tags": {}})
    ours = sim.events()[0]["event"]
    path = data / "events/rest-api-specs/eventgrid/Microsoft.Resources_resource_write_success.json"
    theirs = json.loads(path.read_text())
    assert set(ours) == set(theirs)
    assert set(theirs["data"]) <= set(ours["data"])
    assert set(ours["data"]) - set(theirs["data"]) == {"httpRequest"}
    assert set(theirs["data"]["claims"]) >= set(ours["data"]["claims"]) - {"uti"}
