import json

import pytest


APP = """
@app.event_grid_trigger("event")
async def typed(event: func.EventGridEvent):
    saw(kind=type(event).__name__, id=event.id, whole=event.to_dict())
    if event.get_json() and event.get_json().get("fail"):
        raise RuntimeError("broken on purpose")

@app.event_grid_trigger("event")
def cloudy(event: func.CloudEvent):
    saw(kind="cloudy", id=event.id)

@app.route("http", auth_level=func.AuthLevel.ANONYMOUS)
def http(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("no event")
"""
PATH = "/runtime/webhooks/eventgrid?functionName=typed"
EVENT = {
    "id": "1",
    "topic": "/subscriptions/s",
    "subject": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Devices/IotHubs/h",
    "eventType": "Microsoft.Resources.ResourceWriteSuccess",
    "eventTime": "2018-07-19T18:38:04.6117357Z",
    "data": {"operationName": "Microsoft.Devices/IotHubs/write"},
    "dataVersion": "2",
    "metadataVersion": "1",
}
CLOUD_EVENT = {
    "specversion": "1.0",
    "id": "c1",
    "source": "/subscriptions/s",
    "type": "Microsoft.Resources.ResourceWriteSuccess",
    "time": "2018-07-19T18:38:04.6117357Z",
    "subject": "/subscriptions/s/x",
    "data": {"a": 1},
    "traceparent": "00-1-2-01",
}


@pytest.fixture(scope="module")
def host(start_host):
    return start_host(APP)


def deliver(host, content, path=PATH, kind="Notification", **headers):
    body = content if isinstance(content, str) else json.dumps(content)
    return host.call("POST", path, body, **({"aeg_event_type": kind} if kind else {}), **headers)


def test_an_event_arrives_with_its_fields(host):
    assert deliver(host, [EVENT]).status == 202
    (note,) = host.wait_for(id="1")
    assert note["kind"] == "EventGridEvent"
    assert note["whole"] == {
        "id": "1",
        "topic": EVENT["topic"],
        "subject": EVENT["subject"],
        "event_type": EVENT["eventType"],
        "event_time": "2018-07-19T18:38:04.611735+00:00",
        "data_version": "2",
        "data": EVENT["data"],
    }


def test_each_event_of_a_batch_is_an_invocation(host):
    assert deliver(host, [EVENT | {"id": "b1"}, EVENT | {"id": "b2"}]).status == 202
    assert host.seen(id="b1")
    assert host.seen(id="b2")


def test_one_failing_event_fails_the_delivery(host):
    batch = [EVENT | {"id": "ok"}, EVENT | {"id": "bad", "data": {"fail": True}}]
    assert deliver(host, batch).status == 500
    assert host.seen(id="ok")
    assert host.seen(id="bad")


def test_the_validation_handshake(host):
    event = EVENT | {"data": {"validationCode": "512d38b6", "validationUrl": "https://x"}}
    answer = deliver(host, [event], kind="SubscriptionValidation")
    assert (answer.status, answer.json()) == (200, {"validationResponse": "512d38b6"})
    assert answer.headers.get_content_type() == "application/json"


def test_the_validation_handshake_of_a_cloud_events_subscription(host):
    event = CLOUD_EVENT | {"data": json.dumps({"validationCode": "c0de"})}
    assert deliver(host, event, kind="SubscriptionValidation").json() == {"validationResponse": "c0de"}


def test_the_cloud_events_handshake(host):
    answer = host.call("OPTIONS", PATH, WebHook_Request_Origin="eventgrid.azure.net")
    assert (answer.status, answer.headers["WebHook-Allowed-Origin"]) == (200, "eventgrid.azure.net")
    assert host.call("OPTIONS", PATH).status == 400


@pytest.mark.parametrize("kind", ["Notification", None])
def test_a_cloud_event_arrives_as_one_even_where_the_trigger_says_event_grid_event(host, kind):
    event = CLOUD_EVENT | {"id": f"single {kind}"}
    assert deliver(host, event, kind=kind, content_type="application/cloudevents+json").status == 202
    (note,) = host.wait_for(id=event["id"])
    assert note["kind"] == "CloudEvent"
    assert note["whole"]["type"] == CLOUD_EVENT["type"]
    assert note["whole"]["extension_attrs"] == {"traceparent": "00-1-2-01"}


def test_a_batch_of_cloud_events(host):
    batch = [CLOUD_EVENT | {"id": "cb1"}, CLOUD_EVENT | {"id": "cb2"}]
    kind = "application/cloudevents-batch+json; charset=utf-8"
    path = PATH.replace("typed", "cloudy")
    assert deliver(host, batch, path, kind=None, content_type=kind).status == 202
    assert host.seen(kind="cloudy", id="cb1")
    assert host.seen(kind="cloudy", id="cb2")


def test_unsubscribe_is_accepted(host):
    assert deliver(host, [], kind="Unsubscribe").status == 202


@pytest.mark.parametrize("name", ["nobody", "http", ""])
def test_a_wrong_function_name_is_not_found(host, name):
    assert deliver(host, [EVENT], PATH.replace("typed", name)).status == 404


@pytest.mark.parametrize("body", ["{", "", "7", "[7]"])
@pytest.mark.parametrize("kind", ["Notification", "SubscriptionValidation"])
def test_a_malformed_body_is_a_bad_request(host, body, kind):
    assert deliver(host, body, kind=kind).status == 400


@pytest.mark.parametrize("content", [[], [{}], [{"data": {}}], [{"data": "{"}]])
def test_a_validation_without_a_code_is_a_bad_request(host, content):
    assert deliver(host, content, kind="SubscriptionValidation").status == 400


def test_a_delivery_of_no_known_kind_is_a_bad_request(host):
    assert deliver(host, [EVENT], kind=None).status == 400
    assert deliver(host, [EVENT], kind="Other").status == 400


def test_only_posts_deliver(host):
    assert host.call("GET", PATH).status == 405
