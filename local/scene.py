"""What the demo is played with: three plants' hubs, a policy file, and the acts of somebody else."""

from __future__ import annotations

import json

from typing import Any, Final, cast

from azure.mgmt.iothub.aio import IotHubClient

from hubwarden.domain.jsons import JsonObject, with_value
from local.stack import SUBSCRIPTION, TENANT


RESOURCE_GROUP: Final = "Plants"

POLICY: Final = f"""\
version: 1
subscriptions:
  - {SUBSCRIPTION}
rules:
  tls-minimum:
    mode: auto
  diagnostics:
    mode: "off"
  sas-policies:
    mode: "off"
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


async def read(arm: IotHubClient, name: str) -> JsonObject:
    """The hub as Azure returns it, as raw JSON."""
    text = await arm.iot_hub_resource.get(
        RESOURCE_GROUP, name, cls=lambda response, _model, _headers: response.http_response.text()
    )
    return cast("JsonObject", json.loads(cast("str", text)))


async def lower_tls(arm: IotHubClient, name: str, version: str = "1.0") -> None:
    """Set minTlsVersion with an ordinary PUT, as a person with the Azure SDK would; returns when it is done."""
    body = with_value(await read(arm, name), ("properties", "minTlsVersion"), version)
    poller = await arm.iot_hub_resource.begin_create_or_update(
        RESOURCE_GROUP, name, json.dumps(body).encode(), if_match=str(body["etag"])
    )
    await poller.result()
