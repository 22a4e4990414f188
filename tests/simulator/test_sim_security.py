"""IoT security solutions: what Defender for Cloud accepts, refuses and shows."""

import re

import pytest

from azure.core.exceptions import HttpResponseError
from azure.identity.aio import ClientSecretCredential
from azure.mgmt.security.aio import SecurityCenter


VERSION = "2019-08-01"


@pytest.fixture
async def defender(sim, names):
    """Microsoft's own client of Defender for Cloud, without retries of its own."""
    tls = {"connection_verify": sim.ca_file}
    known = {"authority": sim.authority, "disable_instance_discovery": True}
    credential = ClientSecretCredential(names.tenant, names.app, names.secret, **known, **tls)
    client = SecurityCenter(credential, names.subscription, base_url=sim.url, retry_total=0, **tls)
    async with credential, client:
        yield client.iot_security_solution


@pytest.fixture
def url(names):
    return f"{names.group}/providers/Microsoft.Security/iotSecuritySolutions/one"


@pytest.fixture
def put(arm, url, names):
    async def send(path=url, *, location="westeurope", tags=None, client=names.app, **properties):
        properties = {"displayName": "One", "iotHubs": [names.hub]} | properties
        body = {"location": location, "tags": tags, "properties": properties}
        return await arm("PUT", path, body, version=VERSION, client=client)

    return send


async def test_the_life_of_a_solution_with_the_sdk(defender, names):
    model = {"location": "westeurope", "properties": {"displayName": "One", "iotHubs": [names.hub]}}
    made = await defender.create_or_update("plant", "one", model)
    assert (made.status, made.display_name, made.iot_hubs) == ("Enabled", "One", [names.hub])
    assert (await defender.get("PLANT", "ONE")).name == "one"
    changed = await defender.update("plant", "one", {"tags": {"a": "b"}})
    assert (changed.tags, changed.iot_hubs) == ({"a": "b"}, [names.hub])
    assert [one.id async for one in defender.list_by_subscription()] == [made.id]
    assert [one.id async for one in defender.list_by_resource_group("Plant")] == [made.id]
    await defender.delete("plant", "one")
    await defender.delete("plant", "one")
    assert [one async for one in defender.list_by_subscription()] == []
    with pytest.raises(HttpResponseError) as missing:
        await defender.get("plant", "one")
    assert (missing.value.status_code, missing.value.error.code) == (404, "ResourceNotFound")
    assert "The Resource 'Microsoft.Security/iotSecuritySolutions/one'" in missing.value.error.message


async def test_the_defaults_of_a_solution(put, url, names):
    answer = await put()
    assert answer.status == 200
    configured = answer.body["properties"].pop("recommendationsConfiguration")
    system = answer.body.pop("systemData")
    assert answer.body == {
        "id": url,
        "type": "Microsoft.Security/iotSecuritySolutions",
        "name": "one",
        "location": "westeurope",
        "properties": {
            "displayName": "One",
            "status": "Enabled",
            "export": [],
            "disabledDataSources": [],
            "workspace": None,
            "additionalWorkspaces": [],
            "iotHubs": [names.hub],
            "userDefinedResources": {"query": None, "querySubscriptions": None},
            "autoDiscoveredResources": [],
            "unmaskedIpLoggingStatus": "Disabled",
        },
        "tags": {},
    }
    assert len(configured) == 19
    assert {entry["status"] for entry in configured} == {"Enabled"}
    assert "IoT_InstallAgent" in [entry["recommendationType"] for entry in configured]
    assert (system["createdBy"], system["createdByType"]) == (names.app, "Application")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z", system["createdAt"])
    assert answer.headers["x-ms-ratelimit-remaining-subscription-resource-requests"] == "249"
    assert "Azure-AsyncOperation" not in answer.headers


async def test_put_replaces_the_whole_solution(put, names):
    off = [{"recommendationType": "IoT_OpenPorts", "status": "Disabled"}]
    first = await put(status="Disabled", workspace="/w", recommendationsConfiguration=off, tags={"a": "b"})
    statuses = {
        entry["recommendationType"]: entry["status"]
        for entry in first.body["properties"]["recommendationsConfiguration"]
    }
    assert (statuses["IoT_OpenPorts"], statuses["IoT_Baseline"], len(statuses)) == ("Disabled", "Enabled", 19)
    again = await put(client=names.person)
    assert (again.status, again.body["tags"], again.body["properties"]["workspace"]) == (200, {}, None)
    assert {entry["status"] for entry in again.body["properties"]["recommendationsConfiguration"]} == {"Enabled"}
    assert again.body["systemData"]["createdAt"] == first.body["systemData"]["createdAt"]
    assert again.body["systemData"]["createdBy"] == names.app
    assert again.body["systemData"]["lastModifiedBy"] == "eve@example.com"
    assert again.body["systemData"]["lastModifiedByType"] == "User"


async def test_patch_changes_three_things_only(put, arm, url):
    before = (await put()).body
    resources = {"query": "where true", "querySubscriptions": ["s"]}
    sent = {
        "tags": {"a": "b"},
        "properties": {
            "status": "Disabled",
            "iotHubs": [],
            "userDefinedResources": resources,
            "recommendationsConfiguration": [{"recommendationType": "IoT_OpenPorts", "status": "Disabled"}],
        },
    }
    after = (await arm("PATCH", url, sent, version=VERSION)).body
    assert after["tags"] == {"a": "b"}
    assert after["properties"]["userDefinedResources"] == resources
    assert (after["properties"]["status"], after["properties"]["iotHubs"]) == (
        "Enabled",
        before["properties"]["iotHubs"],
    )
    changed = [
        entry["recommendationType"]
        for entry, other in zip(
            after["properties"]["recommendationsConfiguration"],
            before["properties"]["recommendationsConfiguration"],
            strict=True,
        )
        if entry != other
    ]
    assert changed == ["IoT_OpenPorts"]
    untouched = (await arm("PATCH", url, {}, version=VERSION)).body
    assert {**untouched, "systemData": None} == {**after, "systemData": None}


async def test_refusals(put, arm, names):
    other = f"{names.hub}-none"
    for answer, status, text in (
        (await put(iotHubs=[names.hub.upper(), other]), 400, f"IoT hub '{other}' was not found."),
        (await put(displayName=None), 400, "The property 'displayName' is required."),
        (await put(iotHubs=None), 400, "The property 'iotHubs' is required."),
        (await put(iotHubs="x"), 400, "The property 'iotHubs' must be an array."),
        (await put(location=None), 400, "The location property is required for this definition."),
    ):
        assert (answer.status, answer.body["error"]["message"]) == (status, text)
    group = f"{names.group}-none/providers/Microsoft.Security/iotSecuritySolutions"
    assert (await put(f"{group}/one")).code == "ResourceGroupNotFound"
    assert (await arm("GET", group, version=VERSION)).code == "ResourceGroupNotFound"


async def test_the_documented_filter(defender, sim, names):
    for name, hubs in (("one", [names.hub.lower()]), ("two", [])):
        solution = f"{names.group}/providers/Microsoft.Security/iotSecuritySolutions/{name}"
        sim.add_security_solution({"id": solution, "properties": {"iotHubs": hubs}})
    by_hub = f'properties.iotHubs/any(i eq "{names.hub}")'
    assert [one.name async for one in defender.list_by_subscription(filter=by_hub)] == ["one"]
    assert [one.name async for one in defender.list_by_resource_group("plant", filter=by_hub)] == ["one"]
    with pytest.raises(HttpResponseError, match="is not supported"):
        await anext(aiter(defender.list_by_subscription(filter="name eq 'one'")))


async def test_a_seeded_solution_is_shown_as_it_is(arm, sim, url, names):
    old = {
        "id": url,
        "name": "ONE",
        "type": "Microsoft.Security/IoTSecuritySolutions",
        "location": "East US",
        "properties": {"iotHubs": [names.hub.lower()], "additionalWorkspaces": None, "displayName": "x"},
        "tags": {},
    }
    sim.add_security_solution(old)
    shown = (await arm("GET", url, version=VERSION)).body
    assert {name: shown[name] for name in ("name", "type", "location", "tags")} == {
        name: old[name] for name in ("name", "type", "location", "tags")
    }
    assert shown["properties"] | old["properties"] == shown["properties"]
    assert "systemData" not in shown


async def test_lists_leave_out_what_may_not_be_read(arm, sim, url, names):
    for name in ("one", "two"):
        sim.add_security_solution({"id": f"{url[:-3]}{name}", "properties": {"iotHubs": []}})
    sim.deny("Microsoft.Security/iotSecuritySolutions/read", url)
    listed = await arm("GET", url.rpartition("/")[0], version=VERSION)
    assert [body["name"] for body in listed.body["value"]] == ["two"]
    assert (await arm("GET", url, version=VERSION)).code == "AuthorizationFailed"
    sim.deny("Microsoft.Security/iotSecuritySolutions/read", f"/subscriptions/{names.subscription}")
    everywhere = f"/subscriptions/{names.subscription}/providers/Microsoft.Security/iotSecuritySolutions"
    assert (await arm("GET", everywhere, version=VERSION)).status == 403


async def test_other_subscriptions_have_other_solutions(arm, sim, url):
    sim.add_security_solution({"id": url, "properties": {"iotHubs": []}})
    other = "/subscriptions/aaaaaaaa-0000-4000-8000-00000000000/providers/Microsoft.Security/iotSecuritySolutions"
    assert (await arm("GET", other, version=VERSION)).body == {"value": []}


@pytest.mark.parametrize(
    ("method", "level", "status"),
    [
        ("PUT", "ReadOnly", 409),
        ("PATCH", "ReadOnly", 409),
        ("DELETE", "ReadOnly", 409),
        ("PATCH", "CanNotDelete", 200),
        ("DELETE", "CanNotDelete", 409),
    ],
)
async def test_locks(arm, sim, names, url, method, level, status):
    sim.add_security_solution({"id": url, "properties": {"iotHubs": []}})
    sim.add_lock(names.group, level)
    assert (await arm(method, url, {}, version=VERSION)).status == status


async def test_events(put, arm, sim, url):
    await put()
    await arm("PATCH", url, {}, version=VERSION)
    await put(displayName=None)
    for _ in range(2):
        await arm("DELETE", url, version=VERSION)
    events = [entry["event"] for entry in sim.events()]
    assert [event["data"]["operationName"].rpartition("/")[2] for event in events] == ["write", "write", "delete"]
    assert {event["data"]["operationName"].rpartition("/")[0] for event in events} == {
        "Microsoft.Security/iotSecuritySolutions"
    }
    assert {(event["subject"], event["data"]["resourceUri"]) for event in events} == {(url, url)}
    assert events[2]["eventType"] == "Microsoft.Resources.ResourceDeleteSuccess"


async def test_faults_apply(put, sim, url):
    sim.fail("PUT", "iotsecuritysolutions", status=503)
    assert (await put()).code == "ServerTimeout"
    assert (await put()).status == 200
