"""What Azure and the world do wrong: the fix still happens, or it is said why not, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from azure.core.exceptions import ResourceExistsError
from azure.storage.queue.aio import QueueClient

from local.scene import lower_tls
from local.stack import HUBWARDEN, SUBSCRIPTION, Options, Stack, StackError
from tests.e2e.conftest import ONLY_TLS


pytestmark = pytest.mark.asyncio(loop_scope="session")

FAULTS = {
    "429-with-wait-on-get": {"method": "GET", "status": 429, "retry_after": 2, "times": 2},
    "429-no-wait-on-get": {"method": "GET", "status": 429, "times": 2},
    "429-with-wait-on-put": {"method": "PUT", "status": 429, "retry_after": 2, "times": 1},
    "429-no-wait-on-put": {"method": "PUT", "status": 429, "times": 1},
    "500-on-get": {"method": "GET", "status": 500, "times": 3},
    "500-on-put": {"method": "PUT", "status": 500, "times": 1},
    "503-html-on-put": {"method": "PUT", "status": 503, "html": True, "times": 1},
    "cut-on-get": {"method": "GET", "kind": "cut", "times": 2},
    "cut-before-put": {"method": "PUT", "kind": "cut", "times": 1},
    "cut-after-put": {"method": "PUT", "kind": "cut_after", "times": 1},
    "409-busy-on-put": {"method": "PUT", "status": 409, "times": 1},
    "412-on-put": {"method": "PUT", "status": 412, "times": 1},
}


async def test_every_fault_is_outlived_and_costs_one_effective_put(scene):
    names = {fault: f"f-{fault}" for fault in FAULTS}
    for name in names.values():
        await scene.new_hub(name)
    for fault, name in names.items():
        await scene.sim.fail(path=f"/IotHubs/{name}$", principal=HUBWARDEN.client_id, **FAULTS[fault])
    for name in names.values():
        await lower_tls(scene.somebody, name)

    await asyncio.gather(*(scene.reaches(name, "resolved", within=100) for name in names.values()))

    puts = {fault: await scene.effective_puts(name) for fault, name in names.items()}
    assert puts == dict.fromkeys(FAULTS, 1)
    hit = {fault["path"]: fault["hits"] for fault in await scene.sim.faults()}
    assert all(hit[f"/IotHubs/{name}$"] > 0 for name in names.values()), hit
    await scene.sim.clear_faults()


async def test_a_list_that_is_throttled_is_asked_for_again(scene):
    await scene.new_hub("behind-the-list", minimum="1.0")
    await scene.sim.fail("GET", path="/providers/Microsoft.Devices/IotHubs$", status=429, retry_after=2)
    await scene.stack.sweep()
    last = await scene.stack.records.last_sweep()
    assert not last.complete
    assert "429" in last.unknown[f"/subscriptions/{SUBSCRIPTION}"]
    await scene.reaches("behind-the-list", "resolved")


async def test_a_missing_right_is_unknown_with_the_action_named_and_hides_no_other_hub(scene):
    await scene.stack.sim.clear_faults()
    hidden = await scene.new_hub("hidden")
    await scene.stack.sweep()
    everything = await scene.stack.records.last_sweep()
    assert everything.complete, everything.unknown

    await scene.sim.deny("Microsoft.Devices/IotHubs/read", hidden, principal=HUBWARDEN.client_id)
    await scene.stack.sweep()
    _, health = await scene.stack.health()
    await scene.sim.allow()

    last = await scene.stack.records.last_sweep()
    assert last.summary.startswith(
        f"evaluated {everything.hubs - 1} of {everything.hubs} facets on {everything.hubs - 1} of "
        f"{everything.hubs} hubs, "
    )
    [(path, reason)] = last.unknown.items()
    assert path.endswith("/hidden")
    assert "403 AuthorizationFailed" in reason
    assert "Microsoft.Devices/IotHubs/read" in reason
    assert health["last_sweep"]["complete"] is False
    assert health["last_sweep"]["unknown"] == {path: reason}
    assert await scene.finding("hidden") is None, "what is unknown is no drift"


async def test_a_right_that_goes_missing_closes_no_finding(scene):
    hub = await scene.new_hub("hidden-drift", minimum="1.0")
    await scene.sim.deny("Microsoft.Devices/IotHubs/write", hub, principal=HUBWARDEN.client_id)
    await scene.stack.sweep()
    finding = await scene.reaches("hidden-drift", "ticketed")
    ticket = await scene.stack.tickets.find_by_key(finding.id)
    assert "Microsoft.Devices/IotHubs/write" in ticket.text

    await scene.sim.deny("Microsoft.Devices/IotHubs/read", hub, principal=HUBWARDEN.client_id)
    await scene.stack.sweep()
    assert (await scene.finding("hidden-drift")).state == "ticketed"
    await scene.sim.allow()
    await scene.sim.remove_hub(hub)


@pytest.mark.parametrize("garbage", ["{ this is no message: ✗" + "x" * 5000, "%%%", "//4=", " "])
async def test_a_garbage_message_is_kept_whole_with_its_reason(scene, garbage):
    await _send(scene.stack, "hubwarden-remediate", garbage)
    blob = await _buried(scene.stack, garbage)
    assert blob["queue"] == "hubwarden-remediate"
    assert "no message of hubwarden-remediate" in blob["reason"]


async def test_a_message_about_something_else_than_a_hub_is_kept_too(scene):
    message = json.dumps({"v": 1, "hub": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/x"})
    await _send(scene.stack, "hubwarden-remediate", message)
    assert "names no IoT Hub" in (await _buried(scene.stack, message))["reason"]


async def test_an_event_for_a_deleted_hub_ends_its_finding(scene):
    hub = await scene.new_hub("short-lived", minimum="1.0")
    await scene.sim.add_lock(hub, "ReadOnly")
    await scene.stack.sweep()
    await scene.reaches("short-lived", "ticketed")
    await scene.sim.remove_hub(hub)

    await _post(scene.stack, _event(hub, "Microsoft.Resources.ResourceDeleteSuccess"))
    finding = await scene.reaches("short-lived", "resolved")
    assert finding.history[-1].reason == "the hub is gone"


async def test_events_that_are_not_about_a_hub_are_taken_and_ignored(scene):
    other = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/x"
    await scene.sim.clear_requests()
    for event in (
        _event(other),
        _event("/subscriptions/x/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/iothubs"),
        _event("nonsense", "Some.Other.Type"),
        {"id": "1", "eventType": "Microsoft.Resources.ResourceWriteSuccess"},
    ):
        await _post(scene.stack, event)
    assert await scene.sim.requests() == []


async def test_an_event_of_a_megabyte_is_routed_like_any_other(scene):
    hub = await scene.new_hub("wordy")
    await scene.sim.event_mode(lose=None)
    await lower_tls(scene.somebody, "wordy")
    await scene.sim.event_mode()
    event = _event(hub)
    event["data"]["padding"] = "x" * 1_000_000
    await _post(scene.stack, event)
    await scene.reaches("wordy", "resolved")


async def test_an_event_about_a_subscription_that_policy_does_not_name_touches_nothing(scene):
    foreign = "99999999-0000-4000-8000-000000000009"
    hub = f"/subscriptions/{foreign}/resourceGroups/g/providers/Microsoft.Devices/IotHubs/foreign"
    await scene.sim.add_hub({"id": hub, "location": "westeurope", "properties": {"minTlsVersion": "1.0"}})
    await scene.sim.clear_requests()
    await _post(scene.stack, _event(hub))
    await _send(scene.stack, "hubwarden-remediate", json.dumps({"v": 1, "hub": hub}))
    await asyncio.sleep(3)
    assert [r for r in await scene.sim.requests() if "foreign" in r["path"]] == []


async def test_a_broken_policy_file_is_said_clearly_and_no_event_is_lost(tmp_path):
    broken = ONLY_TLS.replace("mode: auto", "mode: fast")
    hubs = [{"id": f"{HUB}/quiet", "location": "westeurope", "properties": {"minTlsVersion": "1.0"}}]
    async with Stack(tmp_path, broken, hubs, Options(transition=0.2)) as stack:
        status, health = await stack.health()
        assert status == 503
        assert "line 6, rules.tls-minimum.mode" in health["reason"]
        assert "'fast'" in health["reason"]

        await _post(stack, _event(f"{HUB}/quiet"))
        await stack.sweep()
        await asyncio.sleep(2)
        _, health = await stack.health()
        assert health["queues"]["hubwarden-evaluate"] == 1, "the event waits for a policy file that can be used"
        assert health["last_sweep"]["complete"] is False
        assert not [r for r in await stack.sim.requests() if r["method"] == "PUT"]


async def test_a_setting_that_is_wrong_ends_the_start_and_is_named(tmp_path):
    with pytest.raises(StackError, match="HUBWARDEN_CLAIM_SECONDS is '5'; allowed is 45 to 3600"):
        async with Stack(tmp_path, ONLY_TLS, [], Options(claim=5)):
            pass


HUB = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/Plants/providers/Microsoft.Devices/IotHubs"


def _event(resource: str, kind: str = "Microsoft.Resources.ResourceWriteSuccess") -> dict:
    return {
        "id": "5f6f5a2e-0000-4000-8000-00000000e000",
        "topic": f"/subscriptions/{SUBSCRIPTION}",
        "subject": resource,
        "eventType": kind,
        "eventTime": "2026-11-23T20:00:00.1234567Z",
        "dataVersion": "2",
        "metadataVersion": "1",
        "data": {"resourceUri": resource, "operationName": "Microsoft.Devices/IotHubs/write"},
    }


async def _post(stack, event) -> None:
    url = f"{stack.events_url}&code={stack.host['eventgrid_key']}"
    headers = {"aeg-event-type": "Notification"}
    async with stack.http.post(url, data=json.dumps([event]), headers=headers) as answer:
        assert answer.status in {200, 202}, await answer.text()


async def _send(stack, queue: str, text: str) -> None:
    async with QueueClient.from_connection_string(stack.connection_string, queue) as client:
        with contextlib.suppress(ResourceExistsError):
            await client.create_queue()
        await client.send_message(text)


async def _buried(stack, text: str) -> dict:
    container = stack.account.container("hubwarden-poison")
    async with asyncio.timeout(30):
        while True:
            if await container.exists():
                async for blob in container.list_blobs():
                    content = await (await container.download_blob(blob.name)).readall()
                    if content.decode() == text:
                        properties = await container.get_blob_client(blob.name).get_blob_properties()
                        return {"queue": blob.name.split("/")[-2], **properties.metadata}
            await asyncio.sleep(0.2)
