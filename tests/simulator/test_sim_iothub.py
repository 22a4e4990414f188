"""Reading hubs, the operations on them, and their errors, as Microsoft's SDK and the wire see them."""

import base64
import json

import pytest

from azure.core.exceptions import ResourceNotFoundError

from local.azure_simulator import CANARY, CANARY_BASE64


def raw(response, _deserialized, _headers):
    return json.loads(response.http_response.text())


async def test_get_in_any_casing_of_the_id(sdk, arm, names):
    hub = await sdk.iot_hub_resource.get("PLANT", "PRESS")
    assert (hub.name, hub.properties.state, hub.sku.tier) == ("press", "Active", "Standard")
    assert (await arm("GET", names.hub.upper().replace("/SUBSCRIPTIONS", "/Subscriptions"))).status == 200


async def test_get_has_the_etag_in_the_body_and_no_policies(arm, names):
    answer = await arm("GET", names.hub)
    assert "ETag" not in answer.headers
    assert len(answer.body["etag"]) == 12
    assert "authorizationPolicies" not in answer.body["properties"]
    assert answer.body["subscriptionid"] == names.subscription
    assert answer.body["resourcegroup"] == "plant"
    assert "minTlsVersion" not in answer.body["properties"]


async def test_secrets_are_masked_in_get_and_list(arm, sim, names):
    one = (await arm("GET", names.hub)).body
    many = (await arm("GET", names.hubs)).body["value"]
    assert many == [one]
    assert one["properties"]["storageEndpoints"]["$default"]["connectionString"].endswith("AccountKey=****")
    assert CANARY_BASE64 in json.dumps(sim.hub(names.hub)["body"])


async def test_arm_headers(arm, names):
    correlation = "11111111-0000-4000-8000-000000000009"
    answer = await arm("GET", names.hub, headers={"x-ms-correlation-request-id": correlation})
    assert answer.headers["x-ms-correlation-request-id"] == correlation
    assert answer.headers["x-ms-request-id"]
    assert int(answer.headers["x-ms-ratelimit-remaining-subscription-reads"]) <= 249


async def test_lists_by_subscription_and_group_in_pages(sdk, sim, names):
    sim.configure(page_size=2)
    for number in range(5):
        sim.add_hub({"id": f"{names.group}/providers/Microsoft.Devices/IotHubs/line{number}"})
    sim.add_hub({"id": names.hub.replace("/plant/", "/office/").replace("press", "desk")})
    sim.add_hub({"id": "/subscriptions/other/resourceGroups/plant/providers/Microsoft.Devices/IotHubs/foreign"})
    everywhere = [hub.name async for hub in sdk.iot_hub_resource.list_by_subscription()]
    assert everywhere == ["press", "line0", "line1", "line2", "line3", "line4", "desk"]
    assert len(sim.requests()) - 1 == 4
    assert "%24skiptoken=" in sim.requests()[-1]["query"] or "$skiptoken=" in sim.requests()[-1]["query"]
    in_group = [hub.name async for hub in sdk.iot_hub_resource.list_by_resource_group("Plant")]
    assert "desk" not in in_group
    assert len(in_group) == 6


async def test_an_invalid_skip_token_is_refused(arm, sim, names):
    answer = await arm("GET", f"{sim.url}{names.hubs}?api-version=2023-06-30&%24skiptoken=nonsense")
    assert (answer.status, answer.code) == (400, "InvalidSkipToken")


async def test_an_unknown_group_is_404_and_an_empty_subscription_is_not(arm, names):
    unknown = await arm(
        "GET", f"/subscriptions/{names.subscription}/resourceGroups/none/providers/Microsoft.Devices/IotHubs"
    )
    assert (unknown.status, unknown.code) == (404, "ResourceGroupNotFound")
    assert (await arm("GET", "/subscriptions/empty/providers/Microsoft.Devices/IotHubs")).body == {"value": []}


async def test_dead_hubs_are_listed_and_take_no_writes(arm, sim, names):
    dead = f"{names.group}/providers/Microsoft.Devices/IotHubs/dead"
    properties = {"state": "ActivationFailed", "provisioningState": "Failed", "ipFilterRules": []}
    sim.add_hub(
        {
            "id": dead,
            "name": "dead",
            "type": "Microsoft.Devices/IotHubs",
            "location": "westus",
            "properties": properties,
            "sku": {"name": "S1", "tier": "Standard", "capacity": 1},
        }
    )
    listed = {hub["name"]: hub for hub in (await arm("GET", names.hubs)).body["value"]}
    assert listed["dead"]["properties"] == properties
    answer = await arm("PUT", dead, listed["dead"])
    assert (answer.status, answer.body["code"]) == (409, 409002)


async def test_the_api_version_is_required(arm, names):
    answer = await arm("GET", names.hub, version=None)
    assert (answer.status, answer.code) == (400, "MissingApiVersionParameter")


async def test_a_body_that_is_no_json_object_is_refused(arm, names):
    answer = await arm("PUT", names.hub, ["no", "object"])
    assert (answer.status, answer.code) == (400, "InvalidRequestContent")


async def test_what_is_not_simulated_is_an_unknown_type(arm, names):
    answer = await arm("GET", f"{names.group}/providers/Microsoft.Compute/virtualMachines/vm")
    assert (answer.status, answer.code) == (404, "InvalidResourceType")
    assert answer.headers["x-ms-failure-cause"] == "gateway"


async def test_patch_replaces_tags_at_once(sdk, arm, sim, names):
    before = (await arm("GET", names.hub)).body
    poller = await sdk.iot_hub_resource.begin_update("plant", "press", {"tags": {"owner": "ops"}})
    hub = await poller.result()
    assert hub.tags == {"owner": "ops"}
    after = await arm("GET", names.hub)
    assert after.body["etag"] != before["etag"]
    assert {**after.body, "etag": None, "tags": {}} == {**before, "etag": None}
    patch = next(entry for entry in sim.requests() if entry["method"] == "PATCH")
    assert patch["status"] == 200


async def test_delete_takes_a_while_and_ends_in_both_kinds_of_404(arm, sim, names):
    answer = await arm("DELETE", names.hub)
    assert (answer.status, answer.body) == (202, None)
    assert answer.headers["Retry-After"] == "15"
    assert "asyncinfo" in answer.headers["Azure-AsyncOperation"]
    assert "asyncinfo" not in answer.headers["Location"]
    assert (await arm("GET", names.hub)).body["properties"]["state"] == "Deleting"
    assert (await arm("GET", answer.headers["Location"])).status == 202
    assert (await arm("GET", answer.headers["Azure-AsyncOperation"])).body == {"status": "Running"}

    sim.finish_transitions()
    assert (await arm("GET", answer.headers["Azure-AsyncOperation"])).body == {"status": "Succeeded"}
    done = await arm("GET", answer.headers["Location"])
    assert (done.status, done.body) == (200, "")
    provider = await arm("GET", names.hub)
    assert (provider.status, provider.body["code"]) == (404, 404002)
    assert "x-ms-failure-cause" not in provider.headers
    sim.configure(rp_not_found_seconds=0)
    gateway = await arm("GET", names.hub)
    assert (gateway.status, gateway.code) == (404, "ResourceNotFound")
    assert gateway.headers["x-ms-failure-cause"] == "gateway"
    assert (await arm("DELETE", names.hub)).status == 204
    gone = await arm("DELETE", names.hub.replace("/plant/", "/nowhere/"))
    assert (gone.status, gone.code) == (404, "ResourceGroupNotFound")


async def test_delete_with_the_sdk(sdk, sim):
    sim.configure(transition_seconds=0.02)
    poller = await sdk.iot_hub_resource.begin_delete("plant", "press", polling_interval=0.01)
    await poller.result()
    with pytest.raises(ResourceNotFoundError):
        await sdk.iot_hub_resource.get("plant", "press")


async def test_an_unknown_operation_is_the_providers_404(arm, names):
    path = (
        f"/subscriptions/{names.subscription}/providers/Microsoft.Devices/locations/westus/operationResults/none"
    )
    answer = await arm("GET", path)
    assert (answer.status, answer.body["code"]) == (404, 404011)


async def test_listkeys_gives_the_five_default_policies(sdk):
    keys = [key async for key in sdk.iot_hub_resource.list_keys("plant", "press")]
    assert [(key.key_name, key.rights) for key in keys] == [
        ("iothubowner", "RegistryWrite, ServiceConnect, DeviceConnect"),
        ("service", "ServiceConnect"),
        ("device", "DeviceConnect"),
        ("registryRead", "RegistryRead"),
        ("registryReadWrite", "RegistryWrite"),
    ]
    secrets = [value for key in keys for value in (key.primary_key, key.secondary_key)]
    assert len(set(secrets)) == 10
    assert {len(secret) for secret in secrets} == {44}
    assert all(CANARY.encode() in base64.b64decode(secret) for secret in secrets)
    assert all(secret.startswith(CANARY_BASE64) for secret in secrets)


async def test_one_key_by_name(sdk, arm, names):
    one = await sdk.iot_hub_resource.get_keys_for_key_name("plant", "press", "iotHubOwner")
    assert one.rights == "RegistryWrite, ServiceConnect, DeviceConnect"
    unknown = await arm("POST", f"{names.hub}/IotHubKeys/none/listkeys")
    assert (unknown.status, unknown.body["code"]) == (404, 404001)


@pytest.mark.parametrize(
    ("version", "body"),
    [
        ("2017-07-01", {"Code": "IotHubNotFound", "HttpStatusCode": "NotFound"}),
        ("2021-07-02", {"code": 404002, "httpStatusCode": "NotFound"}),
        ("2023-06-30-preview", {"code": 404002, "httpStatusCode": 404}),
    ],
)
async def test_the_providers_error_in_three_generations(arm, sim, names, version, body):
    await arm("DELETE", names.hub)
    sim.finish_transitions()
    answer = await arm("GET", names.hub, version=version)
    text = answer.body.pop("Message" if "Code" in body else "message")
    assert answer.body == body
    assert text.startswith("IotHub 'press' not found under ResourceGroup 'plant' and Subscription")
    assert text.endswith("errorcode: IH404002.")
