"""PUT of a hub: what it answers, what it replaces, and what it refuses."""

import json

import pytest

from azure.core.exceptions import HttpResponseError

from local.azure_simulator import CANARY_BASE64


def raw(response, _deserialized, _headers):
    return json.loads(response.http_response.text())


async def test_the_sdk_raises_tls_and_polls_to_the_end(sdk, sim, arm, names):
    sim.configure(transition_seconds=0.05)
    body = await sdk.iot_hub_resource.get("plant", "press", cls=raw)
    body["properties"]["minTlsVersion"] = "1.2"
    poller = await sdk.iot_hub_resource.begin_create_or_update(
        "plant",
        "press",
        json.dumps(body).encode(),
        if_match=body["etag"],
        polling_interval=0.01,
    )
    hub = await poller.result()
    assert hub.properties.min_tls_version == "1.2"
    assert hub.etag != body["etag"]
    after = (await arm("GET", names.hub)).body
    assert {**after, "etag": body["etag"]} == body


async def test_put_is_201_with_one_operation_header(arm, names):
    answer = await arm.changed(minTlsVersion="1.2")
    assert answer.status == 201
    assert answer.body["properties"]["provisioningState"] == "Accepted"
    assert "state" not in answer.body["properties"]
    assert int(answer.headers["x-ms-ratelimit-remaining-subscription-resource-requests"]) == 4999
    assert answer.headers.keys().isdisjoint(
        {"Location", "Retry-After", "x-ms-ratelimit-remaining-subscription-writes"},
    )
    path, _, query = answer.headers["Azure-AsyncOperation"].partition("?")
    assert (
        f"/subscriptions/{names.subscription}/providers/Microsoft.Devices/locations/westeurope/operationResults/"
        in path
    )
    assert "asyncinfo" in query.split("&")


async def test_new_values_show_at_the_end_under_a_new_etag(arm, sim, names):
    before = (await arm("GET", names.hub)).body
    answer = await arm.changed(minTlsVersion="1.2")
    assert answer.body["etag"] == before["etag"]
    during = await arm("GET", names.hub)
    assert during.status == 200
    assert during.body["properties"]["state"] == "Transitioning"
    assert during.body["properties"]["provisioningState"] == "Transitioning"
    assert "minTlsVersion" not in during.body["properties"]
    operation = answer.headers["Azure-AsyncOperation"]
    assert (await arm("GET", operation)).body == {"status": "Running"}
    sim.finish_transitions()
    assert (await arm("GET", operation)).body == {"status": "Succeeded"}
    after = (await arm("GET", names.hub)).body
    assert after["properties"]["minTlsVersion"] == "1.2"
    assert (after["properties"]["state"], after["properties"]["provisioningState"]) == ("Active", "Succeeded")
    assert after["etag"] != before["etag"]


async def test_the_transition_ends_by_itself(arm, sim, names, until):
    sim.configure(transition_seconds=0.01)
    await arm.changed(minTlsVersion="1.2")
    await until(lambda: sim.hub(names.hub)["state"] == "Active")
    assert sim.hub(names.hub)["body"]["properties"]["minTlsVersion"] == "1.2"


async def test_a_write_in_transition_is_409002(arm, names):
    await arm.changed(minTlsVersion="1.2")
    put = await arm.changed(minTlsVersion="1.0")
    assert (put.status, put.body["code"], put.body["httpStatusCode"]) == (409, 409002, "Conflict")
    assert "is not currently in Active state. Try the request again" in put.body["message"]
    assert (await arm("PATCH", names.hub, {"tags": {}})).body["code"] == 409002
    assert (await arm("DELETE", names.hub)).body["code"] == 409002


@pytest.mark.parametrize("version", ["2.5", "1.1", "1.3", 1.2])
async def test_tls_versions_that_do_not_exist_are_400089(arm, version):
    answer = await arm.changed(minTlsVersion=version)
    assert (answer.status, answer.body["code"], answer.body["httpStatusCode"]) == (400, 400089, "BadRequest")
    assert answer.body["message"].startswith(f"{version} is not a valid MinTlsVersion value. If you contact")


async def test_regions_can_refuse_tls_enforcement(arm, sim):
    sim.configure(tls_refused_locations=["West Europe"])
    answer = await arm.changed(minTlsVersion="1.2")
    assert (answer.status, answer.body["code"]) == (400, 400059)


@pytest.mark.parametrize("spelling", ['"{}"', "{}"])
async def test_a_current_etag_is_taken_quoted_or_bare(arm, names, spelling):
    body = (await arm("GET", names.hub)).body
    answer = await arm("PUT", names.hub, body, headers={"If-Match": spelling.format(body["etag"])})
    assert answer.status == 201


async def test_a_stale_etag_is_412001(arm, sim, sdk, names):
    body = (await arm("GET", names.hub)).body
    await arm.changed(comments="someone else")
    sim.finish_transitions()
    in_body = await arm("PUT", names.hub, body)
    assert (in_body.status, in_body.body["code"]) == (412, 412001)
    assert in_body.body["httpStatusCode"] == "PreconditionFailed"
    stale = body.pop("etag")
    in_header = await arm("PUT", names.hub, body, headers={"If-Match": stale})
    assert (in_header.status, in_header.body["code"]) == (412, 412001)
    with pytest.raises(HttpResponseError) as caught:
        await sdk.iot_hub_resource.begin_create_or_update("plant", "press", body, if_match=stale)
    assert caught.value.status_code == 412
    sim.configure(enforce_if_match=False)
    assert (await arm("PUT", names.hub, body, headers={"If-Match": stale})).status == 201


async def test_omitted_members_go_back_to_their_defaults(arm, sim, names):
    full = (await arm("GET", names.hub)).body
    full["tags"] = {"owner": "ops"}
    full["identity"] = {"type": "SystemAssigned"}
    full["properties"] |= {
        "minTlsVersion": "1.2",
        "publicNetworkAccess": "Disabled",
        "disableLocalAuth": True,
        "ipFilterRules": [{"filterName": "office", "action": "Accept", "ipMask": "203.0.113.0/24"}],
        "somethingNew": {"kept": True},
    }
    await arm("PUT", names.hub, full)
    sim.finish_transitions()
    rich = (await arm("GET", names.hub)).body
    assert rich["properties"]["somethingNew"] == {"kept": True}
    assert rich["identity"]["principalId"]
    assert rich["tags"] == {"owner": "ops"}

    await arm("PUT", names.hub, {"location": "westeurope", "sku": full["sku"]})
    sim.finish_transitions()
    bare = (await arm("GET", names.hub)).body
    assert bare["tags"] == {}
    assert bare["identity"] == {"type": "None"}
    assert bare["properties"].keys().isdisjoint({"minTlsVersion", "publicNetworkAccess", "somethingNew"})
    assert bare["properties"]["disableLocalAuth"] is False
    assert bare["properties"]["ipFilterRules"] == []
    assert bare["properties"]["routing"]["fallbackRoute"]["isEnabled"] is False
    assert bare["properties"]["hostName"] == rich["properties"]["hostName"]


async def test_member_names_are_read_in_any_casing(arm, sim, names):
    body = {
        "location": "West Europe",
        "sku": {"name": "S1", "capacity": 1},
        "properties": {"MinTLSVersion": "1.2"},
    }
    await arm("PUT", names.hub, body)
    sim.finish_transitions()
    assert (await arm("GET", names.hub)).body["properties"]["minTlsVersion"] == "1.2"


async def test_a_masked_secret_keeps_its_value_and_a_new_one_replaces_it(arm, sim, names):
    def secret():
        return sim.hub(names.hub)["body"]["properties"]["storageEndpoints"]["$default"]["connectionString"]

    before = secret()
    assert CANARY_BASE64 in before
    await arm.changed(comments="round trip")
    sim.finish_transitions()
    assert secret() == before
    other = before.replace("uploads", "elsewhere").split("AccountKey=")[0] + "AccountKey=bmV3"
    await arm.changed(storageEndpoints={"$default": {"connectionString": other, "containerName": "c"}})
    sim.finish_transitions()
    assert secret() == other


async def test_the_answer_holds_keys_that_nobody_sent(arm):
    answer = await arm.changed(minTlsVersion="1.2")
    monitoring = answer.body["properties"]["eventHubEndpoints"]["operationsMonitoringEvents"]
    leaked = [
        p["PrimaryKey"] for p in monitoring["internalAuthorizationPolicies"] + monitoring["authorizationPolicies"]
    ]
    assert len(leaked) == 4
    assert all(key.startswith(CANARY_BASE64) for key in leaked)
    assert "authorizationPolicies" not in answer.body["properties"]
    assert answer.body["properties"]["storageEndpoints"]["$default"]["connectionString"].endswith(
        "AccountKey=****"
    )


async def test_old_versions_answer_with_all_secrets(arm, sim, names):
    body = (await arm("GET", names.hub)).body
    answer = await arm("PUT", names.hub, body, version="2021-07-02")
    stored = sim.hub(names.hub)
    assert answer.body["properties"]["authorizationPolicies"] == stored["policies"]
    assert answer.body["properties"]["storageEndpoints"] == stored["body"]["properties"]["storageEndpoints"]


async def test_policies_stay_when_they_are_not_sent(arm, sim, names):
    before = sim.hub(names.hub)["policies"]
    await arm.changed(minTlsVersion="1.2")
    sim.finish_transitions()
    assert sim.hub(names.hub)["policies"] == before


async def test_sent_policies_replace_all_and_missing_keys_are_made(arm, sim, names):
    before = (await arm("POST", f"{names.hub}/listkeys")).body["value"]
    rogue = {"keyName": "rogue", "rights": "DeviceConnect, RegistryRead, RegistryWrite"}
    answer = await arm.changed(authorizationPolicies=[before[0], {**before[1], "primaryKey": None}, rogue])
    assert [policy["keyName"] for policy in answer.body["properties"]["authorizationPolicies"]] == [
        "iothubowner",
        "service",
        "rogue",
    ]
    assert (await arm("POST", f"{names.hub}/listkeys")).body["value"] == before
    sim.finish_transitions()
    owner, service, added = (await arm("POST", f"{names.hub}/listkeys")).body["value"]
    assert owner == before[0]
    assert service["primaryKey"] != before[1]["primaryKey"]
    assert service["secondaryKey"] == before[1]["secondaryKey"]
    assert added["rights"] == "RegistryWrite, DeviceConnect"
    assert added["primaryKey"].startswith(CANARY_BASE64)


async def test_put_creates_a_hub(arm, sim, sdk, names):
    path = f"{names.group}/providers/Microsoft.Devices/IotHubs/fresh"
    body = {"location": "westus2", "sku": {"name": "B1", "capacity": 1}}
    answer = await arm("PUT", path, body)
    assert answer.status == 201
    assert "etag" not in answer.body
    assert answer.body["properties"]["state"] == "Activating"
    assert answer.body["sku"]["tier"] == "Basic"
    assert CANARY_BASE64 not in json.dumps(answer.body)
    assert (await arm("GET", path)).body["properties"]["state"] == "Activating"
    sim.finish_transitions()
    made = (await arm("GET", path)).body
    assert made["properties"]["state"] == "Active"
    assert made["properties"]["routing"]["fallbackRoute"]["isEnabled"] is True
    assert made["etag"]
    assert "minTlsVersion" not in made["properties"]
    assert len([key async for key in sdk.iot_hub_resource.list_keys("plant", "fresh")]) == 5


@pytest.mark.parametrize(
    ("hub", "body", "headers", "status", "code"),
    [
        ("/plant/{}/fresh", {"sku": {"name": "S1"}}, {}, 400, "LocationRequired"),
        ("/plant/{}/press", {"sku": {"name": "S1"}}, {}, 400, "LocationRequired"),
        ("/plant/{}/press", {"location": "eastus"}, {}, 409, "InvalidResourceLocation"),
        ("/nowhere/{}/fresh", {"location": "eastus"}, {}, 404, "ResourceGroupNotFound"),
        ("/plant/{}/fresh", {"location": "eastus"}, {"If-Match": "AAAAAA8="}, 412, 412001),
    ],
)
async def test_puts_that_are_refused(*, arm, names, hub, body, headers, status, code):
    path = f"/subscriptions/{names.subscription}/resourceGroups" + hub.format(
        "providers/Microsoft.Devices/IotHubs"
    )
    answer = await arm("PUT", path, body, headers=headers)
    assert (answer.status, answer.code) == (status, code)
