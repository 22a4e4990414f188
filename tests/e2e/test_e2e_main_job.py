"""The main job on the real parts: drift is seen, put right with one small PUT, and proven."""

from __future__ import annotations

import asyncio
import json

import pytest

from hubwarden.domain.jsons import differences
from local.scene import lower_tls, read


pytestmark = pytest.mark.asyncio(loop_scope="session")

NEWER_THAN_THE_SDK = {
    "mqttV5Settings": {"sessionExpiry": 3600, "nested": {"list": [1, {"deep": None}], "text": "Größe ✓"}},
    "aRatio": 0.1,
    "aLargeNumber": 9007199254740993,
}


async def test_the_put_differs_from_the_get_in_one_path_and_everything_else_survives(scene):
    await scene.new_hub("one-path", **NEWER_THAN_THE_SDK)
    before = await read(scene.auditor, "one-path")
    await lower_tls(scene.somebody, "one-path")
    lowered = await read(scene.auditor, "one-path")

    finding = await scene.reaches("one-path", "resolved")

    [put] = await scene.requests("one-path", "PUT", bodies=True)
    assert list(differences(lowered, put["body"])) == [("properties", "minTlsVersion")]
    after = await read(scene.auditor, "one-path")
    assert list(differences(before, after)) == [("etag",)]
    assert after["properties"].items() >= NEWER_THAN_THE_SDK.items()
    assert [step.state for step in finding.history] == ["open", "approved", "executing", "verifying", "resolved"]
    assert finding.actor.name == "Robin Example"


async def test_it_costs_at_most_four_calls_until_the_put_leaves(scene):
    await scene.new_hub("few-calls")
    await lower_tls(scene.somebody, "few-calls")
    await scene.reaches("few-calls", "resolved")

    calls = [request["method"] for request in await scene.requests("few-calls")]
    assert calls.index("PUT") < 4


async def test_a_hundred_duplicated_and_shuffled_events_give_one_put_and_one_finding(scene):
    await scene.new_hub("stormy")
    await scene.sim.event_mode(hold=True)
    await lower_tls(scene.somebody, "stormy")
    [event] = [e["event"] for e in await scene.sim.events() if e["event"]["subject"].endswith("/stormy")]
    copies = [{**event, "id": f"{event['id']}-{number % 20}"} for number in range(100)]
    await scene.sim.event_mode()

    await _post_events(scene.stack, copies[::-1])
    finding = await scene.reaches("stormy", "resolved")
    await _until_queues_are_empty(scene.stack)

    assert finding.occurrences == 1
    assert await scene.effective_puts("stormy") == 1
    reads = await scene.requests("stormy", "GET")
    assert len(reads) <= 8, "a burst of events must not become a burst of reads"


async def test_a_lost_event_is_made_good_by_the_sweep(scene):
    await scene.new_hub("unheard")
    await scene.sim.event_mode(lose=None)
    await lower_tls(scene.somebody, "unheard")
    await scene.sim.event_mode()
    assert await scene.finding("unheard") is None

    await scene.stack.sweep()
    await scene.reaches("unheard", "resolved")
    assert await scene.effective_puts("unheard") == 1


async def test_an_absent_minimum_is_drift_and_is_set(scene):
    body_id = await scene.new_hub("never-set", minimum="")
    hub = await scene.sim.hub(body_id)
    del hub["body"]["properties"]["minTlsVersion"]
    await scene.sim.remove_hub(body_id)
    await scene.sim.add_hub(hub["body"])

    await scene.stack.sweep()
    finding = await scene.reaches("never-set", "resolved")
    assert finding.attempt.changes[0] == {
        "path": ["properties", "minTlsVersion"],
        "after": "1.2",
        "rule": "tls-minimum",
    }


async def test_a_higher_value_that_nobody_knows_yet_is_never_lowered(scene):
    await scene.new_hub("ahead", minimum="1.3")
    await scene.stack.sweep()
    assert await scene.finding("ahead") is None
    assert await scene.requests("ahead", "PUT") == []


async def test_a_region_that_refuses_the_setting_ends_in_a_ticket(scene):
    await scene.sim.configure(tls_refused_locations=["westeurope"])
    await scene.new_hub("faraway", minimum="1.0")
    await scene.stack.sweep()
    finding = await scene.reaches("faraway", "ticketed")
    await scene.sim.configure(tls_refused_locations=[])

    ticket = await _ticket(scene, finding.id)
    assert "400" in ticket.text
    assert "nothing was changed" in ticket.text
    assert [step.state for step in finding.history][-2:] == ["failed", "ticketed"]
    await scene.stack.sweep()
    assert len(await scene.requests("faraway", "PUT")) == 1, "what cannot work is not tried again"


async def test_a_lock_ends_in_a_ticket_that_closes_by_itself_once_it_is_put_right_by_hand(scene):
    hub = await scene.new_hub("locked", minimum="1.0")
    await scene.sim.add_lock(hub, "ReadOnly")
    await scene.stack.sweep()
    finding = await scene.reaches("locked", "ticketed")
    assert (await _ticket(scene, finding.id)).is_open
    assert (await read(scene.auditor, "locked"))["properties"]["minTlsVersion"] == "1.0"

    await scene.sim.remove_lock(hub)
    await lower_tls(scene.somebody, "locked", "1.2")
    await scene.reaches("locked", "resolved")
    ticket = await _closed_ticket(scene, finding.id)
    assert "no longer shows it" in ticket.closing_note


async def test_a_hub_that_nobody_can_use_is_left_alone(scene):
    dead = await scene.new_hub("dead", minimum="1.0")
    hub = await scene.sim.hub(dead)
    hub["body"]["properties"] |= {"state": "ActivationFailed", "provisioningState": "Failed"}
    del hub["body"]["properties"]["hostName"]
    await scene.sim.remove_hub(dead)
    await scene.sim.add_hub(hub["body"])

    await scene.stack.sweep()
    assert await scene.finding("dead") is None
    last = await scene.stack.records.last_sweep()
    assert [path.rsplit("/", 1)[1] for path in last.dead] == ["dead"]
    await scene.sim.remove_hub(dead)


async def _ticket(scene, key):
    ticket = await scene.stack.tickets.find_by_key(key)
    assert ticket is not None
    return ticket


async def _closed_ticket(scene, key):
    """The finding's row is saved first, its ticket settled after."""
    async with asyncio.timeout(20):
        while (ticket := await _ticket(scene, key)).is_open:
            await asyncio.sleep(0.1)
    return ticket


async def _post_events(stack, events) -> None:
    url = f"{stack.events_url}&code={stack.host['eventgrid_key']}"

    async def post(event) -> None:
        headers = {"aeg-event-type": "Notification"}
        async with stack.http.post(url, data=json.dumps([event]), headers=headers) as answer:
            assert answer.status in {200, 202}, await answer.text()

    await asyncio.gather(*map(post, events))


async def _until_queues_are_empty(stack) -> None:
    async with asyncio.timeout(60):
        while True:
            _, health = await stack.health()
            if health["queues"]["hubwarden-evaluate"] == health["queues"]["hubwarden-remediate"] == 0:
                return
            await asyncio.sleep(0.5)


@pytest.mark.parametrize("schema", ["EventGridSchema", "CloudEventSchemaV1_0"])
@pytest.mark.parametrize("as_strings", [False, True])
async def test_events_of_both_schemas_are_understood(scene, schema, as_strings):
    name = f"speaks-{schema[:5].lower()}-{as_strings}".lower()
    await scene.new_hub(name)
    url = f"{scene.stack.events_url}&code={scene.stack.host['eventgrid_key']}"
    await scene.sim.unsubscribe("hubwarden")
    await scene.sim.subscribe(url, name="hubwarden", schema=schema, as_strings=as_strings)

    await lower_tls(scene.somebody, name)
    finding = await scene.reaches(name, "resolved")

    await scene.sim.unsubscribe("hubwarden")
    await scene.sim.subscribe(url, name="hubwarden")
    assert finding.actor.name == "Robin Example"
    assert finding.history[0].reason.startswith("event Microsoft.Devices/IotHubs/write")
