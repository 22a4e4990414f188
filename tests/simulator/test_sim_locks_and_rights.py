"""Locks and denials: what they block, where, and in which words."""

import pytest

from azure.core.exceptions import HttpResponseError, ResourceExistsError


def lock_of(scope, name="keep"):
    return f"{scope}/providers/Microsoft.Authorization/locks/{name}"


SCOPES = ["subscription", "group", "hub"]


def scope_named(kind, names):
    return {"subscription": f"/subscriptions/{names.subscription}", "group": names.group, "hub": names.hub}[kind]


async def test_the_life_of_a_lock(arm, names):
    path = lock_of(names.hub)
    read_only = {"properties": {"level": "ReadOnly"}}
    created = await arm("PUT", path, read_only, version="2020-05-01")
    assert created.status == 201
    assert created.body == {
        "properties": {"level": "ReadOnly"},
        "id": path,
        "type": "Microsoft.Authorization/locks",
        "name": "keep",
    }
    softer = {"properties": {"level": "CanNotDelete", "notes": "why"}}
    updated = await arm("PUT", path, softer, version="2020-05-01")
    assert (updated.status, updated.body["properties"]) == (200, softer["properties"])
    assert (await arm("GET", path.upper(), version="2020-05-01")).body == updated.body
    below = await arm("GET", f"/subscriptions/{names.subscription}/providers/Microsoft.Authorization/locks")
    assert below.body == {"value": [updated.body]}
    assert (await arm("DELETE", path)).status == 200
    assert (await arm("DELETE", path)).status == 204
    gone = await arm("GET", path)
    assert (gone.status, gone.body["error"]) == (
        404,
        {"code": "LockNotFound", "message": "The lock 'keep' could not be found."},
    )


async def test_an_unknown_lock_level_is_refused(arm, names):
    assert (await arm("PUT", lock_of(names.hub), {"properties": {"level": "Soft"}})).status == 400


@pytest.mark.parametrize("kind", SCOPES)
async def test_read_only_blocks_writes_deletes_and_listkeys(arm, sim, names, kind):
    scope = scope_named(kind, names)
    sim.add_lock(scope, "ReadOnly")
    body = (await arm("GET", names.hub)).body
    for method, path, operation in [
        ("PUT", names.hub, "write"),
        ("PATCH", names.hub, "write"),
        ("DELETE", names.hub, "delete"),
        ("POST", f"{names.hub}/listkeys", "write"),
    ]:
        answer = await arm(method, path, body if method != "POST" else None)
        assert (answer.status, answer.code) == (409, "ScopeLocked")
        assert answer.body["error"]["message"] == (
            f"The scope '{names.hub}' cannot perform {operation} operation because following scope(s) are locked: "
            f"'{scope}'. Please remove the lock and try again."
        )
        assert answer.headers["x-ms-failure-cause"] == "gateway"
    sim.remove_lock(scope)
    assert (await arm("POST", f"{names.hub}/listkeys")).status == 200


async def test_can_not_delete_blocks_only_deletion(arm, sim, sdk, names):
    sim.add_lock(names.group, "CanNotDelete")
    assert (await arm("POST", f"{names.hub}/listkeys")).status == 200
    assert (await arm.changed(minTlsVersion="1.2")).status == 201
    sim.finish_transitions()
    with pytest.raises(ResourceExistsError) as caught:
        await sdk.iot_hub_resource.begin_delete("plant", "press")
    assert caught.value.error.code == "ScopeLocked"


async def test_a_lock_on_one_hub_leaves_others_alone(arm, sim, names):
    other = sim.add_hub({"id": f"{names.hub}2"})
    sim.add_lock(names.hub, "ReadOnly")
    assert (await arm("POST", f"{other}/listkeys")).status == 200


async def test_a_denied_read_is_403_in_arms_words(sdk, sim, names):
    sim.deny("Microsoft.Devices/iothubs/read", names.hub, principal=names.app)
    with pytest.raises(HttpResponseError) as caught:
        await sdk.iot_hub_resource.get("plant", "press")
    assert (caught.value.status_code, caught.value.error.code) == (403, "AuthorizationFailed")
    oid = sim.state.entra.principals[names.app].oid
    assert caught.value.error.message == (
        f"The client '{names.app}' with object id '{oid}' does not have authorization to perform action "
        f"'Microsoft.Devices/IotHubs/read' over scope '{names.hub}' or the scope is invalid. If access was "
        "recently granted, please refresh your credentials."
    )
    sim.allow("Microsoft.Devices/IotHubs/read")
    assert (await sdk.iot_hub_resource.get("plant", "press")).name == "press"


async def test_lists_leave_out_what_may_not_be_read(arm, sim, names):
    office = f"/subscriptions/{names.subscription}/resourceGroups/office"
    sim.add_hub({"id": f"{office}/providers/Microsoft.Devices/IotHubs/desk"})
    sim.deny("Microsoft.Devices/*", office, principal=names.app)
    assert [hub["name"] for hub in (await arm("GET", names.hubs)).body["value"]] == ["press"]
    everything = await arm("GET", names.hubs, client=names.person)
    assert len(everything.body["value"]) == 2
    group = await arm("GET", f"{office}/providers/Microsoft.Devices/IotHubs")
    assert (group.status, group.code) == (403, "AuthorizationFailed")


async def test_a_whole_subscription_denied_is_403(arm, sim, names):
    sim.deny("*/read", f"/subscriptions/{names.subscription}")
    answer = await arm("GET", names.hubs, client=names.person)
    assert (answer.status, answer.code) == (403, "AuthorizationFailed")
    assert "The client 'eve@example.com' with object id" in answer.body["error"]["message"]


@pytest.mark.parametrize(
    ("method", "tail", "action"),
    [
        ("PUT", "", "Microsoft.Devices/IotHubs/write"),
        ("PATCH", "", "Microsoft.Devices/IotHubs/write"),
        ("DELETE", "", "Microsoft.Devices/IotHubs/delete"),
        ("POST", "/listkeys", "Microsoft.Devices/IotHubs/listkeys/action"),
        ("POST", "/IotHubKeys/device/listkeys", "Microsoft.Devices/IotHubs/iotHubKeys/listkeys/action"),
        ("PUT", "/providers/Microsoft.Authorization/locks/x", "Microsoft.Authorization/locks/write"),
        ("GET", "/providers/Microsoft.Authorization/locks", "Microsoft.Authorization/locks/read"),
    ],
)
async def test_each_operation_takes_its_own_right(*, arm, sim, names, method, tail, action):
    sim.deny(action, names.group)
    answer = await arm(method, f"{names.hub}{tail}", {} if method in ("PUT", "PATCH") else None)
    assert (answer.status, answer.code) == (403, "AuthorizationFailed")
    assert f"perform action '{action}'" in answer.body["error"]["message"]


async def test_polling_takes_a_right_on_the_subscription(arm, sim, names):
    operation = (await arm.changed(minTlsVersion="1.2")).headers["Azure-AsyncOperation"]
    sim.deny("Microsoft.Devices/locations/operationresults/read", f"/subscriptions/{names.subscription}")
    assert (await arm("GET", operation)).status == 403


# --- roles


async def test_whoever_was_given_a_role_may_do_only_what_it_allows(arm, sim, names):
    sim.grant(names.app, names.hub, actions=["Microsoft.Devices/IotHubs/READ"])
    assert (await arm("GET", names.hub)).status == 200
    refused = await arm("POST", f"{names.hub}/listkeys")
    assert (refused.status, refused.code) == (403, "AuthorizationFailed")
    assert "Microsoft.Devices/IotHubs/listkeys/action" in refused.body["error"]["message"]
    assert (await arm("POST", f"{names.hub}/listkeys", client=names.person)).status == 200


async def test_roles_add_up(arm, sim, names):
    sim.grant(names.app, names.group, actions=["Microsoft.Devices/IotHubs/read"])
    sim.grant(names.app, names.group, actions=["Microsoft.Devices/IotHubs/listkeys/action"])
    assert (await arm("GET", names.hub)).status == 200
    assert (await arm("POST", f"{names.hub}/listkeys")).status == 200
    sim.deny("*/listkeys/action", names.hub)
    assert (await arm("POST", f"{names.hub}/listkeys")).status == 403, "a denial goes before a role"


async def test_a_role_holds_on_its_scope_and_below(arm, sim, names):
    sim.grant(names.app, names.hub, actions=["*"])
    assert (await arm("GET", names.hub)).status == 200
    assert (await arm("GET", names.hubs)).status == 403


async def test_an_action_of_arm_is_none_of_a_data_plane(sim, session, names):
    """And the other way round."""
    token = sim.issue_token(names.app, audience="https://iothubs.azure.net")
    address = f"{sim.data_plane.format(hostName='press.azure-devices.net')}/devices/query?api-version=2021-04-12"

    async def asked():
        headers = {"Authorization": f"Bearer {token}"}
        async with session.post(address, json={"query": "SELECT * FROM devices"}, headers=headers) as answer:
            return answer.status

    sim.grant(names.app, names.hub, actions=["*"])
    assert await asked() == 401
    sim.grant(names.app, names.hub, data_actions=["*"])
    assert await asked() == 200
    sim.revoke(names.app)
    assert await asked() == 200
