"""What Event Grid could not deliver is read back once the functions run again, and is gone when it is queued."""

from __future__ import annotations

import asyncio
import json
import ssl

import pytest
import pytest_asyncio

from hubwarden.adapters.storage.dead_letters import CONTAINER, BlobDeadLetters
from local.scene import hub_body, lower_tls
from local.stack import SOMEBODY, SUBSCRIPTION


pytestmark = pytest.mark.asyncio(loop_scope="session")

AS_AZURE = {"retry_delays": (10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 43200), "dead_letter_delay": 300.0}
AT_ONCE = {"retry_delays": [], "dead_letter_delay": 1.0}


@pytest_asyncio.fixture(loop_scope="session")
async def impatient(scene):
    """Event Grid gives up at the first refusal."""
    await scene.sim.configure(**AT_ONCE)
    yield scene
    await scene.sim.configure(**AS_AZURE)


@pytest_asyncio.fixture(loop_scope="session")
async def letters(scene):
    return BlobDeadLetters(scene.stack.account)


async def until(condition, within=30):
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("schema", ["EventGridSchema", "CloudEventSchemaV1_0"])
async def test_an_event_that_came_while_the_host_was_down_is_read_back(impatient, letters, schema):
    scene, stack = impatient, impatient.stack
    name = f"while-down-{schema[:5].lower()}"
    await scene.new_hub(name)
    url = f"{stack.events_url}&code={stack.host['eventgrid_key']}"
    await stack.subscribe(url, name="hubwarden", schema=schema)
    await stack.kill_host()
    try:
        await lower_tls(scene.somebody, name)
        await until(letters_wait(letters))
        [letter] = await letters.waiting(5)
        [event] = json.loads(await letters.read(letter))
        assert letter.name.startswith("HUBWARDEN/20")
        assert event.get("deadLetterReason", event.get("deadletterreason")) == "MaxDeliveryAttemptsExceeded"
        assert ("specversion" in event) == (schema == "CloudEventSchemaV1_0")
    finally:
        await stack.start_host()
    assert await scene.finding(name) is None

    _, health = await stack.health()
    assert any("events that Event Grid could not deliver" in warning for warning in health["warnings"])
    await stack.run("dead_letters")
    finding = await scene.reaches(name, "resolved")

    assert finding.actor.name == "Robin Example"
    assert finding.history[0].reason.startswith("event Microsoft.Devices/IotHubs/write")
    assert await scene.effective_puts(name) == 1
    await until(no_letters(letters))
    _, health = await stack.health()
    assert not [warning for warning in health["warnings"] if "Event Grid" in warning]
    assert "Robin" not in await lines_of_the_trail(stack, "dead_letter")


async def test_an_event_of_a_device_goes_its_own_way(impatient, letters):
    scene, stack = impatient, impatient.stack
    hub = await scene.new_hub("device-while-down")
    await stack.kill_host()
    try:
        await scene.sim.add_devices(hub, ["newcomer"], created_now=True)
        await until(letters_wait(letters))
    finally:
        await stack.start_host()
    await stack.run("dead_letters")
    await until(no_letters(letters))
    # No rule that is on asks for devices here: the event is dropped as a live one is, by the function of devices.
    assert "no rule that is on asks for devices" in (stack.folder / "host.log").read_text(encoding="utf-8")


async def test_what_is_no_event_is_left_lying_and_stands_in_nobodys_way(scene, letters):
    container = scene.stack.account.container(CONTAINER)
    await container.upload_blob("HUBWARDEN/2026/11/23/9/odd.json", b"robin@example.com", overwrite=True)
    await scene.stack.run("dead_letters")

    async def told():
        return (await letters.count()).set_aside == 1

    await until(told)
    _, health = await scene.stack.health()
    assert any("1 dead letter(s) cannot be read" in warning for warning in health["warnings"])
    assert "robin@example.com" not in (scene.stack.folder / "host.log").read_text(encoding="utf-8")
    await container.delete_blob("HUBWARDEN/2026/11/23/9/odd.json")


async def test_a_lock_that_is_taken_off_a_group_lets_the_fix_go_on(scene):
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/under-lock"
    body = hub_body("under-lock", "1.0")
    await scene.sim.add_hub(body | {"id": f"{group}/providers/Microsoft.Devices/IotHubs/under-lock"})
    await scene.sim.add_lock(group, "ReadOnly", name="no-changes")
    await scene.stack.sweep()
    await scene.reaches("under-lock", "ticketed")

    await delete(scene.stack, f"{group}/providers/Microsoft.Authorization/locks/no-changes")
    finding = await scene.reaches("under-lock", "resolved")
    assert finding.actor is None, "who took the lock off did not lower TLS"


async def delete(stack, resource_id):
    """As somebody does it in the portal: an ordinary request to ARM."""
    token = await stack.sim.issue_token(SOMEBODY.client_id)
    async with stack.http.delete(
        f"{stack.arm}{resource_id}?api-version=2016-09-01",
        headers={"Authorization": f"Bearer {token}"},
        ssl=ssl.create_default_context(cafile=stack.ca_file),
    ) as answer:
        assert answer.status == 200, await answer.text()


def letters_wait(letters):
    async def condition():
        return bool(await letters.waiting(1))

    return condition


def no_letters(letters):
    async def condition():
        return not await letters.waiting(1)

    return condition


async def lines_of_the_trail(stack, kind):
    container = stack.account.container("hubwarden-audit")
    names = [name async for name in container.list_blob_names()]
    texts = [(await (await container.download_blob(name)).readall()).decode() for name in names]
    found = [line for text in texts for line in text.splitlines() if json.loads(line)["kind"] == kind]
    assert found
    return "\n".join(found)
