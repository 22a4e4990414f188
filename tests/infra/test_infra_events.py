"""The event subscriptions let through what the router acts on, and leave the rest where it is read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubwarden.adapters.storage.dead_letters import CONTAINER
from hubwarden.service import events
from hubwarden.service.route_device_event import CREATED


MODULES = Path(__file__).parents[2] / "infra" / "modules"
AZURE, DEVICES, SUBSCRIPTION = (
    MODULES / f"{name}.bicep" for name in ("azureEvents", "deviceEvents", "eventSubscription")
)
if not AZURE.exists():
    pytest.skip("infra/modules/azureEvents.bicep does not exist yet", allow_module_level=True)
values = pytest.importorskip("tests.infra.bicep_values", reason="reading Bicep needs the infra checker")


def of_subscription(path, *steps):
    return values.value_at(path, "events", "params", *steps)


def test_the_filter_lets_through_what_the_router_acts_on_and_nothing_else():
    [operations] = of_subscription(AZURE, "filters")
    assert (operations["operatorType"], operations["key"]) == ("StringIn", "data.operationName")
    assert sorted(operations["values"], key=str.lower) == sorted(events.OPERATIONS, key=str.lower)


def test_the_event_types_are_those_that_the_router_takes():
    assert set(of_subscription(AZURE, "eventTypes")) == events._TYPES
    assert of_subscription(DEVICES, "eventTypes") == [CREATED]
    assert of_subscription(DEVICES, "filters") == []


@pytest.mark.parametrize(("path", "function"), [(AZURE, "on_azure_event"), (DEVICES, "on_device_event")])
def test_the_functions_are_those_of_the_app(path, function):
    assert of_subscription(path, "functionId").endswith(f"/functions/{function}")
    assert f"async def {function}(" in (MODULES.parents[1] / "function_app.py").read_text(encoding="utf-8")


def test_what_cannot_be_delivered_goes_where_it_is_read_back():
    steps = ("deadLetterWithResourceIdentity", "deadLetterDestination", "properties", "blobContainerName")
    assert values.value_at(SUBSCRIPTION, "events", "properties", *steps) == CONTAINER
