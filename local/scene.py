"""What the demo is played with: three plants' hubs, a policy file, and the acts of somebody else."""

from __future__ import annotations

import json

from typing import Any, Final, cast

from azure.mgmt.iothub.aio import IotHubClient
from azure.mgmt.monitor.aio import MonitorManagementClient

from hubwarden.domain.jsons import JsonObject, with_value
from local.azure_simulator.client import SimulatorClient
from local.stack import SUBSCRIPTION, TENANT


RESOURCE_GROUP: Final = "Plants"
_WATCH: Final = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/Watch/providers"
WORKSPACE: Final = f"{_WATCH}/Microsoft.OperationalInsights/workspaces/central"
SOLUTION: Final = f"{_WATCH}/Microsoft.Security/iotSecuritySolutions/plants"
SETTING: Final = "to-central"
"""The diagnostic setting that the plants' own people made."""
ROGUE: Final = "rogue"
"""The shared access policy that nobody allowed."""

UNLIMITED: Final = """\
limits:
  per_hour: {in_all: 500, per_rule: 500, per_subscription: 500}
  per_sweep: {in_all: 500, per_rule: 500, per_subscription: 500}
  share: {percent: 100}
  breaker: {fixes: 50}
"""
"""Lines of a policy file under which no limit holds anything back: for what is about something else."""

POLICY: Final = f"""\
version: 1
subscriptions:
  - {SUBSCRIPTION}
rules:
  tls-minimum:
    mode: auto
  diagnostics:
    mode: auto
    settings:
      destination: {WORKSPACE}
  sas-policies:
    mode: approve
  defender-hub:
    mode: ticket
  defender-devices:
    mode: ticket
"""


def hub_body(name: str, minimum: str = "1.2") -> dict[str, Any]:
    """A hub as Azure returns it, with what a fix must not lose: routes, tags, properties newer than the SDK."""
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}"
    return {
        "id": f"{group}/providers/Microsoft.Devices/IotHubs/{name}",
        "location": "westeurope",
        "tags": {"plant": name, "owner": "operations"},
        "sku": {"name": "S1", "tier": "Standard", "capacity": 1},
        "identity": {
            "type": "SystemAssigned",
            "principalId": "dddddddd-0000-4000-8000-000000000004",
            "tenantId": TENANT,
        },
        "properties": {
            "minTlsVersion": minimum,
            "ipVersion": "ipv4ipv6",
            "rootCertificate": {"enableRootCertificateV2": True},
            "routing": {
                "endpoints": {
                    "serviceBusQueues": [],
                    "serviceBusTopics": [],
                    "eventHubs": [],
                    "storageContainers": [],
                },
                "fallbackRoute": {
                    "name": "$fallback",
                    "source": "DeviceMessages",
                    "condition": "true",
                    "endpointNames": ["events"],
                    "isEnabled": True,
                },
                "routes": [
                    {
                        "name": "alarms",
                        "source": "DeviceMessages",
                        "condition": "level = 'alarm'",
                        "endpointNames": ["events"],
                        "isEnabled": True,
                    }
                ],
            },
        },
    }


HUBS: Final = [hub_body("factory-north"), hub_body("factory-south"), hub_body("harbour")]


async def furnish(sim: SimulatorClient) -> None:
    """What makes the hubs compliant: logs that go somewhere, Defender, devices with agents."""
    await sim.configure(query_lag_seconds=0.5)
    await sim.add_destination(WORKSPACE)
    names = [str(hub["id"]) for hub in HUBS]
    solution = {"status": "Enabled", "workspace": WORKSPACE, "iotHubs": names}
    await sim.add_security_solution({"id": SOLUTION, "properties": solution})
    for hub in names:
        await send_logs(sim, hub)
        await sim.add_devices(hub, 40, modules=[_AGENT])


async def send_logs(sim: SimulatorClient, hub: str) -> None:
    """Give the hub of this id a diagnostic setting by which all its logs go to the workspace, which exists."""
    await sim.add_diagnostic_setting(
        hub, SETTING, {"workspaceId": WORKSPACE, "logs": [{"categoryGroup": "allLogs", "enabled": True}]}
    )


_AGENT: Final = {"id": "DefenderIotMicroAgent", "connection_state": "Connected"}


async def read(arm: IotHubClient, name: str) -> JsonObject:
    """The hub as Azure returns it, as raw JSON."""
    text = await arm.iot_hub_resource.get(
        RESOURCE_GROUP, name, cls=lambda response, _model, _headers: response.http_response.text()
    )
    return cast("JsonObject", json.loads(cast("str", text)))


async def lower_tls(arm: IotHubClient, name: str, version: str = "1.0") -> None:
    """Set minTlsVersion with an ordinary PUT, as a person with the Azure SDK would; returns when it is done."""
    body = await read(arm, name)
    await _put(arm, name, with_value(body, ("properties", "minTlsVersion"), version))


async def add_policy(arm: IotHubClient, name: str, policy: str = ROGUE) -> None:
    """Add a broad shared access policy, with listkeys and a PUT of the whole hub; returns when it is done."""
    present: list[Any] = [
        {"keyName": p.key_name, "primaryKey": p.primary_key, "secondaryKey": p.secondary_key, "rights": p.rights}
        async for p in arm.iot_hub_resource.list_keys(RESOURCE_GROUP, name)
    ]
    new: Any = {"keyName": policy, "rights": "RegistryWrite, ServiceConnect, DeviceConnect"}
    body = await read(arm, name)
    await _put(arm, name, with_value(body, ("properties", "authorizationPolicies"), [*present, new]))


async def remove_diagnostics(monitor: MonitorManagementClient, name: str, setting: str = SETTING) -> None:
    """Delete a diagnostic setting with an ordinary DELETE."""
    await monitor.diagnostic_settings.delete(hub_body(name)["id"], setting)


async def add_bare_device(sim: SimulatorClient, name: str, device: str) -> None:
    """Somebody registers a device that has no security agent; the hub's own topic tells of it."""
    await sim.add_devices(hub_body(name)["id"], [device], created_now=True)


async def _put(arm: IotHubClient, name: str, body: JsonObject) -> None:
    poller = await arm.iot_hub_resource.begin_create_or_update(
        RESOURCE_GROUP, name, json.dumps(body).encode(), if_match=str(body["etag"])
    )
    await poller.result()
