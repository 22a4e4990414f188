"""Event Grid writes what it could not deliver as blobs: named, shaped and gathered as Azure does."""

import json
import re
import uuid

import pytest

from azure.storage.blob import ContainerClient

from local.azure_simulator.dead_letters import Undelivered
from local.azurite import Azurite, why_azurite_cannot_run


@pytest.fixture(scope="module")
def azurite():
    if reason := why_azurite_cannot_run():
        pytest.skip(reason)
    with Azurite() as azurite:
        yield azurite


@pytest.fixture
def blobs(azurite):
    """The blobs of a container that the simulator makes, by name."""
    name = f"dead-{uuid.uuid4()}"
    container = ContainerClient.from_connection_string(azurite.connection_string, name)

    def read():
        if not container.exists():
            return {}
        return {
            blob.name: json.loads(container.download_blob(blob.name).readall()) for blob in container.list_blobs()
        }

    read.options = {"dead_letter_storage": azurite.connection_string, "dead_letter_container": name}
    yield read
    container.close()


OWN = {"deadLetterReason", "deliveryAttempts", "lastDeliveryOutcome", "publishTime", "lastDeliveryAttemptTime"}


async def test_what_was_tried_too_often_is_written_with_the_reason(arm, sim, names, blobs, until):
    sim.configure(retry_delays=[1, 1])
    await sim.subscribe("http://127.0.0.1:1/hook", name="my-Sub", validate=False, **blobs.options)
    await arm("PATCH", names.hub, {"tags": {}})
    await until(blobs)
    [(name, [letter])] = blobs().items()
    assert re.fullmatch(r"MY-SUB/20\d\d/[1-9]\d?/[1-9]\d?/(0|[1-9]\d?)/[0-9a-f-]{36}\.json", name)
    assert letter.items() >= sim.events()[0]["event"].items()
    assert letter.keys() - sim.events()[0]["event"].keys() == OWN
    assert (letter["deadLetterReason"], letter["deliveryAttempts"]) == ("MaxDeliveryAttemptsExceeded", 3)
    assert letter["publishTime"] <= letter["lastDeliveryAttemptTime"]


async def test_a_cloud_event_has_its_own_spelling(arm, sim, names, hook, blobs, until):
    await sim.subscribe(hook.url, schema="CloudEventSchemaV1_0", **blobs.options)
    hook.statuses = [400]
    await arm("PATCH", names.hub, {"tags": {}})
    await until(blobs)
    [[letter]] = blobs().values()
    assert letter["specversion"] == "1.0"
    assert letter["source"] == f"/subscriptions/{names.subscription}"
    assert letter["deadletterreason"] == "UndeliverableDueToHttpBadRequest"
    assert letter["lastdeliveryoutcome"] == "BadRequest"
    assert letter["deliveryattempts"] == 1
    assert {name for name in letter if name != name.lower()} == set()


async def test_what_is_given_up_within_the_delay_is_one_blob(arm, sim, names, blobs, until):
    sim.configure(retry_delays=[], retry_scale=1, dead_letter_delay=0.5)
    await sim.subscribe("http://127.0.0.1:1/hook", validate=False, **blobs.options)
    for _ in range(3):
        await arm("PATCH", names.hub, {"tags": {}})
    await until(blobs)
    [letters] = blobs().values()
    assert {letter["id"] for letter in letters} == {entry["event"]["id"] for entry in sim.events()}
    await arm("PATCH", names.hub, {"tags": {}})
    await until(lambda: len(blobs()) == 2)


async def test_without_a_place_they_are_dropped(arm, sim, names, hook, until):
    await sim.subscribe(hook.url)
    hook.statuses = [400]
    await arm("PATCH", names.hub, {"tags": {}})
    await until(sim.dead_letters)
    await until(lambda: not sim.event_grid._tasks)


async def test_the_delay_is_event_grids(sim):
    assert sim.state.config.dead_letter_delay == 300


@pytest.mark.parametrize(
    ("outcome", "word"),
    [(404, "NotFound"), (503, "Busy"), (500, "GenericError"), ("TimeoutError", "TimedOut"), ("X", "SocketError")],
)
def test_outcomes_are_words(outcome, word):
    assert Undelivered(1, outcome, final=False, published_at=None, tried_at=None).last == word
