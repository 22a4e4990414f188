"""Diagnostic settings: what Azure Monitor accepts, refuses and shows."""

import pytest

from azure.core.exceptions import HttpResponseError
from azure.identity.aio import ClientSecretCredential
from azure.mgmt.monitor.aio import MonitorManagementClient


VERSION = "2021-05-01-preview"
RULE = "/subscriptions/s/resourceGroups/logs/providers/Microsoft.EventHub/namespaces/ns/authorizationRules/send"
STORAGE = "/subscriptions/s/resourceGroups/logs/providers/Microsoft.Storage/storageAccounts/archive"
WORKSPACE = "/subscriptions/s/resourceGroups/Logs/providers/Microsoft.OperationalInsights/workspaces/all"
PARTNER = "/subscriptions/s/resourceGroups/Logs/providers/Microsoft.Datadog/monitors/dd1"
NO_PARTNER = "was not found or does not support the required functionality."
ALL = {"categoryGroup": "allLogs", "enabled": True}


@pytest.fixture
async def monitor(sim, names):
    """Microsoft's own client of Azure Monitor, without retries of its own."""
    tls = {"connection_verify": sim.ca_file}
    known = {"authority": sim.authority, "disable_instance_discovery": True}
    credential = ClientSecretCredential(names.tenant, names.app, names.secret, **known, **tls)
    client = MonitorManagementClient(credential, names.subscription, base_url=sim.url, retry_total=0, **tls)
    async with credential, client:
        yield client


@pytest.fixture
def places(sim):
    for place in (WORKSPACE, STORAGE, RULE):
        sim.add_destination(place)


@pytest.fixture
def url(names):
    return f"{names.hub}/providers/Microsoft.Insights/diagnosticSettings"


@pytest.fixture
def put(arm, url, places):
    """PUT a setting with these properties; to the workspace unless they say otherwise."""

    async def send(name="one", *, logs=(ALL,), hub=None, client=None, **properties):
        to = properties or {"workspaceId": WORKSPACE}
        path = f"{hub}/providers/Microsoft.Insights/diagnosticSettings" if hub else url
        body = {"properties": {"logs": list(logs), **to}}
        return await arm("PUT", f"{path}/{name}", body, version=VERSION, **({"client": client} if client else {}))

    return send


@pytest.mark.parametrize("slash", ["/", ""])
async def test_the_life_of_a_setting_with_the_sdk(monitor, names, places, slash):
    uri, operations = slash + names.hub.lstrip("/"), monitor.diagnostic_settings
    made = await operations.create_or_update(
        uri, "One", {"properties": {"workspaceId": WORKSPACE, "logs": [ALL], "metrics": []}}
    )
    assert (made.name, made.workspace_id, made.logs[0].category_group) == ("One", WORKSPACE, "allLogs")
    assert [setting.id async for setting in operations.list(uri)] == [
        f"{names.hub.lower()}/providers/microsoft.insights/diagnosticSettings/One"
    ]
    await operations.create_or_update(uri, "ONE", {"properties": {"workspaceId": WORKSPACE}})
    assert (await operations.get(uri, "one")).logs == []
    await operations.delete(uri, "one")
    await operations.delete(uri, "one")
    assert [setting async for setting in operations.list(uri)] == []
    with pytest.raises(HttpResponseError) as missing:
        await operations.get(uri, "one")
    assert (missing.value.status_code, missing.value.error.code) == (404, "ResourceNotFound")
    assert missing.value.error.message == "The diagnostic setting 'one' doesn't exist."


async def test_the_categories_of_a_hub_with_the_sdk(monitor, names):
    operations = monitor.diagnostic_settings_category
    found = [category async for category in operations.list(names.hub)]
    logs = [category for category in found if category.category_type == "Logs"]
    assert len(logs) == 14
    assert [category.name for category in found if category.category_type == "Metrics"] == ["AllMetrics"]
    assert all("allLogs" in category.category_groups for category in logs)
    audit = [category for category in logs if "audit" in category.category_groups]
    assert 0 < len(audit) < 14
    assert (await operations.get(names.hub, "connections")).name == "Connections"
    with pytest.raises(HttpResponseError):
        await operations.get(names.hub, "E2E")


async def test_what_is_shown_of_a_setting(put, names):
    answer = await put(logs=[{"category": "Routes", "enabled": True}], workspaceId=WORKSPACE)
    assert answer.status == 200
    assert answer.body == {
        "id": f"{names.hub.lower()}/providers/microsoft.insights/diagnosticSettings/one",
        "type": "Microsoft.Insights/diagnosticSettings",
        "name": "one",
        "location": None,
        "kind": None,
        "tags": None,
        "properties": {
            "storageAccountId": None,
            "serviceBusRuleId": None,
            "workspaceId": WORKSPACE,
            "eventHubAuthorizationRuleId": None,
            "eventHubName": None,
            "metrics": [],
            "logs": [
                {
                    "category": "Routes",
                    "categoryGroup": None,
                    "enabled": True,
                    "retentionPolicy": {"enabled": False, "days": 0},
                }
            ],
            "logAnalyticsDestinationType": None,
        },
        "identity": None,
    }
    assert "etag" not in {name.lower() for name in answer.headers}
    assert answer.headers["x-ms-ratelimit-remaining-subscription-resource-requests"] == "149"


async def test_an_update_is_200_and_replaces_everything(put, arm, url):
    assert (await put(storageAccountId=STORAGE, workspaceId=WORKSPACE)).status == 200
    again = await put(logs=(), storageAccountId=STORAGE)
    assert (again.status, again.body["properties"]["logs"]) == (200, [])
    assert again.body["properties"]["workspaceId"] is None
    listed = await arm("GET", url, version="2017-05-01-preview")
    assert listed.body == {"value": [again.body]}


async def test_slashes_of_old_clients(arm, url):
    """Doubled, or encoded as in the recording of an old client: both are the same address to ARM."""
    resource, _, tail = url.partition("/providers/Microsoft.Insights")
    encoded = resource.replace("/", "%2F")
    for path in (f"/{url}", f"/{encoded}/providers/Microsoft.Insights{tail}"):
        assert (await arm("GET", path, version=VERSION)).body == {"value": []}


async def test_delete_is_200_then_204(put, arm, url):
    await put()
    assert [(await arm("DELETE", f"{url}/ONE", version=VERSION)).status for _ in range(2)] == [200, 204]


REFUSALS = {
    "no destination": (
        {"eventHubName": "x"},
        (ALL,),
        (400, "BadRequest", "At least one data sink needs to be specified."),
    ),
    "mixed": (
        {"workspaceId": WORKSPACE},
        (ALL, {"category": "Routes", "enabled": True}),
        (400, "BadRequest", "Diagnostic setting does not support mix of log category and log category group."),
    ),
    "category of something else": (
        {"workspaceId": WORKSPACE},
        ({"category": "AuditEvent", "enabled": True},),
        (400, "BadRequest", "Category 'AuditEvent' is not supported."),
    ),
    "group of something else": (
        {"workspaceId": WORKSPACE},
        ({"categoryGroup": "some", "enabled": True},),
        (400, "BadRequest", "Category group 'some' is not supported."),
    ),
    "metric of something else": (
        {"workspaceId": WORKSPACE, "metrics": [{"category": "Some", "enabled": True}]},
        (),
        (400, "BadRequest", "Category 'Some' is not supported."),
    ),
    "no such workspace": (
        {"workspaceId": f"{WORKSPACE}2"},
        (ALL,),
        (404, "ResourceNotFound", f"Resource '{WORKSPACE}2' was not found."),
    ),
    "no such partner": (
        {"marketplacePartnerId": PARTNER},
        (ALL,),
        (
            400,
            "BadRequest",
            f"The marketplace partner resource: {PARTNER.lower()} {NO_PARTNER}",
        ),
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_what_is_refused(put, sim, names, name):
    properties, logs, (status, code, message) = REFUSALS[name]
    answer = await put(logs=logs, **properties)
    assert (answer.status, answer.body) == (status, {"code": code, "message": message})
    assert sim.diagnostic_settings(names.hub) == []


async def test_a_setting_without_properties_is_refused(arm, url):
    answer = await arm("PUT", f"{url}/one", {}, version=VERSION)
    assert (answer.status, answer.code) == (400, "InvalidRequestContent")
    answer = await arm("PUT", f"{url}/one", {"properties": {"logs": ["x"]}}, version=VERSION)
    assert (answer.status, answer.code) == (400, "InvalidRequestContent")


@pytest.mark.parametrize(
    ("member", "place"), [("storageAccountId", STORAGE), ("eventHubAuthorizationRuleId", RULE)]
)
async def test_only_workspaces_may_be_in_another_region(put, sim, names, member, place):
    sim.add_destination(place, "East US")
    sim.add_destination(WORKSPACE, "eastus")
    assert (await put(workspaceId=WORKSPACE)).status == 200
    answer = await put("two", **{member: place})
    regional = "/".join(place.lower().split("/")[:9]) if "authorizationRules" in place else place
    assert (answer.status, answer.code) == (400, "BadRequest")
    assert answer.body["message"] == (
        f"Resources should be in the same region. Resource '{names.hub}' is in region 'westeurope' and resource "
        f"'{regional}' is in region 'eastus'."
    )
    sim.add_destination(place, "West Europe")
    assert (await put("two", **{member: place})).status == 200


async def test_a_marketplace_resource_is_shown_where_it_was_sent(put, sim):
    sim.add_destination(PARTNER, "eastus")
    assert (await put(marketplacePartnerId=PARTNER)).body["properties"]["marketplacePartnerId"] == PARTNER


async def test_no_category_goes_twice_to_one_place(put):
    connections, routes = ({"category": name, "enabled": True} for name in ("Connections", "Routes"))
    assert (await put("one", logs=[connections])).status == 200
    assert (await put("two", logs=[routes])).status == 200
    answer = await put("three", logs=[{"category": "connections", "enabled": True}], workspaceId=WORKSPACE.upper())
    assert (answer.status, answer.body["code"]) == (409, "Conflict")
    assert answer.body["message"] == (
        f"Data sink '{WORKSPACE.upper()}' is already used in diagnostic setting 'one' for category 'Connections'. "
        "Data sinks can't be reused in different settings on the same category for the same resource."
    )
    assert (await put("three")).status == 409
    assert (await put("three", logs=[{"categoryGroup": "audit", "enabled": True}])).status == 409
    assert (await put("three", logs=[ALL | {"enabled": False}])).status == 200
    assert (await put("four", storageAccountId=STORAGE)).status == 200
    assert (await put("one", logs=[connections])).status == 200


async def test_metrics_do_not_go_twice_to_one_place_either(put):
    metrics = [{"category": "AllMetrics", "enabled": True}]
    assert (await put("one", logs=(), workspaceId=WORKSPACE, metrics=metrics)).status == 200
    assert (await put("two", logs=(), workspaceId=WORKSPACE, metrics=metrics)).status == 409


async def test_another_event_hub_is_another_place(put):
    to = {"eventHubAuthorizationRuleId": RULE}
    assert (await put("one", **to, eventHubName="a")).status == 200
    assert (await put("two", **to, eventHubName="b")).status == 200
    assert (await put("three", **to, eventHubName="A")).status == 409


async def test_a_sixth_setting_is_refused(put):
    assert [(await put(str(number), logs=())).status for number in range(5)] == [200] * 5
    answer = await put("sixth", logs=())
    assert (answer.status, answer.body) == (
        409,
        {
            "code": "Conflict",
            "message": "The limit of 5 diagnostic settings was reached. To create new setting 'sixth', delete an "
            "existing one.",
        },
    )
    assert (await put("4")).status == 200


LINKED = {
    "workspaceId": (WORKSPACE, "Microsoft.OperationalInsights/workspaces/sharedKeys/action"),
    "storageAccountId": (STORAGE, "Microsoft.Storage/storageAccounts/listKeys/action"),
    "eventHubAuthorizationRuleId": (RULE, "Microsoft.EventHub/namespaces/authorizationRules/listkeys/action"),
}


@pytest.mark.parametrize("member", LINKED)
async def test_the_right_to_the_keys_of_the_destination(put, sim, names, member):
    place, action = LINKED[member]
    sim.deny(action.upper(), place.upper().replace("/SUBSCRIPTIONS", "/subscriptions"), principal=names.app)
    answer = await put(**{member: place})
    oid = sim.state.entra.principals[names.app].oid
    assert (answer.status, answer.code) == (403, "LinkedAuthorizationFailed")
    assert answer.body["error"]["message"] == (
        f"The client '{names.app}' with object id '{oid}' has permission to perform action "
        f"'microsoft.insights/diagnosticSettings/write' on scope '{names.hub}/providers/microsoft.insights/"
        f"diagnosticSettings/one'; however, it does not have permission to perform action '{action}' on the "
        f"linked scope(s) '{place}' or the linked scope(s) are invalid."
    )
    assert (await put(client=names.person, **{member: place})).status == 200


@pytest.mark.parametrize(
    ("method", "verb", "tail"),
    [("GET", "read", ""), ("GET", "read", "/one"), ("PUT", "write", "/one"), ("DELETE", "delete", "/one")],
)
async def test_rights(arm, sim, names, url, method, verb, tail):
    sim.deny(f"Microsoft.Insights/diagnosticSettings/{verb}", names.hub)
    answer = await arm(method, f"{url}{tail}", version=VERSION)
    assert (answer.status, answer.code) == (403, "AuthorizationFailed")


async def test_a_read_only_lock_blocks_writes_and_a_delete_lock_only_deletion(put, arm, sim, url, names):
    await put()
    sim.add_lock(names.hub, "CanNotDelete")
    assert (await put()).status == 200
    blocked = await arm("DELETE", f"{url}/one", version=VERSION)
    assert (blocked.status, blocked.code) == (409, "ScopeLocked")
    sim.add_lock(names.hub, "ReadOnly")
    assert (await put()).code == "ScopeLocked"
    assert (await arm("GET", url, version=VERSION)).status == 200


async def test_settings_go_with_their_hub(put, arm, sim, url, names):
    await put()
    await arm("DELETE", names.hub)
    sim.finish_transitions()
    gone = await arm("GET", url, version=VERSION)
    assert (gone.status, gone.code) == (404, "ResourceNotFound")
    assert (await put()).status == 404
    sim.add_hub({"id": names.hub})
    assert (await arm("GET", url, version=VERSION)).body == {"value": []}


async def test_events(put, arm, sim, url, names):
    await put()
    await put()
    await put(eventHubName="refused")
    for _ in range(2):
        await arm("DELETE", f"{url}/one", version=VERSION)
    events = [entry["event"] for entry in sim.events()]
    assert [event["eventType"].rpartition(".")[2] for event in events] == [
        "ResourceWriteSuccess",
        "ResourceWriteSuccess",
        "ResourceDeleteSuccess",
    ]
    uri = f"{names.hub}/providers/microsoft.insights/diagnosticSettings/one"
    assert {(event["subject"], event["data"]["resourceUri"]) for event in events} == {(uri, uri)}
    assert [event["data"]["operationName"] for event in events][1:] == [
        "microsoft.insights/diagnosticSettings/write",
        "microsoft.insights/diagnosticSettings/delete",
    ]
    assert {event["data"]["resourceProvider"] for event in events} == {"microsoft.insights"}


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        (WORKSPACE, "Microsoft.OperationalInsights/workspaces"),
        (STORAGE, "Microsoft.Storage/storageAccounts"),
        (RULE, "Microsoft.EventHub/namespaces/authorizationRules"),
    ],
)
async def test_destinations_can_be_looked_at(arm, sim, places, place, kind):
    found = await arm("GET", place.lower(), version="2022-10-01")
    assert (found.status, found.body["id"], found.body["type"]) == (200, place, kind)
    assert sim.remove_destination(place)
    missing = await arm("GET", place, version="2022-10-01")
    assert (missing.status, missing.code) == (404, "ResourceNotFound")
    assert f"The Resource '{kind.split('/')[0]}/{kind.split('/')[1]}" in missing.body["error"]["message"]
    sim.deny(f"{kind}/read", "/subscriptions/s")
    assert (await arm("GET", place, version="2022-10-01")).status == 403


async def test_faults_and_throttling_apply(put, arm, sim, url, monitor, names):
    sim.fail("GET", "diagnosticsettings$", status=429, retry_after=7)
    answer = await arm("GET", url, version=VERSION)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    sim.configure(writes=(1, 0.001))
    assert [(await put()).status for _ in range(2)] == [200, 429]
    sim.configure(reads=(1, 0.001))
    assert [setting.name async for setting in monitor.diagnostic_settings.list(names.hub)] == ["one"]
    with pytest.raises(HttpResponseError, match="exceeded the backend storage limit"):
        await anext(aiter(monitor.diagnostic_settings.list(names.hub)))


async def test_the_log_keeps_what_was_put(put, sim):
    await put(workspaceId=WORKSPACE)
    assert sim.requests(bodies=True)[-1]["body"]["properties"]["workspaceId"] == WORKSPACE
