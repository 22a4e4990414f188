"""The 201 body of a PUT: an echo of the request with more keys than anyone asked for (RECORDINGS §3.1, §3.4)."""

import copy

from typing import Any

from local.azure_simulator.hub import Hub
from local.azure_simulator.keys import masked
from local.azure_simulator.put_body import named_properties


type Json = dict[str, Any]

LAST_TALKATIVE_VERSION = "2021-07-02"
"""Up to this api-version the answer also holds all SAS policies and unmasked connection strings."""

QUIET_VERSIONS = ("2019-03-22",)
"""An older one that was recorded in 2023 only, without them."""

MONITORING = dict.fromkeys(
    (
        "None",
        "Connections",
        "DeviceTelemetry",
        "C2DCommands",
        "DeviceIdentityOperations",
        "FileUploadOperations",
        "Routes",
    ),
    "None",
)


def put_answer(
    hub: Hub,
    stored: Json,
    policies: list[Json],
    request: Json,
    api_version: str,
    *,
    creating: bool,
) -> Json:
    """What the service answers to the PUT that will turn `hub` into `stored`.

    The etag is the one of the request; there is none on a create, which shows `state: Activating` instead.
    """
    talkative = api_version <= LAST_TALKATIVE_VERSION and api_version not in QUIET_VERSIONS
    answer = copy.deepcopy(stored)
    answer.pop("systemData", None)
    answer.pop("etag", None)
    if "etag" in request and not creating:
        answer["etag"] = request["etag"]
    properties = answer["properties"] if talkative else masked(answer["properties"])
    for name in ("locations", "state", "hostName", "privateEndpointConnections"):
        properties.pop(name, None)
    properties["operationsMonitoringProperties"] = {"events": dict(MONITORING)}
    properties["provisioningState"] = "Accepted"
    asked = named_properties(request)
    if creating:
        properties["state"] = "Activating"
        for name in {"routing", "ipFilterRules"} - asked.keys():
            del properties[name]
    sent = asked.get("authorizationPolicies")
    if not creating and (sent is not None or talkative):
        properties["authorizationPolicies"] = copy.deepcopy(policies)
    properties["eventHubEndpoints"] = endpoints(hub, properties["eventHubEndpoints"], creating=creating)
    answer["properties"] = properties
    return answer


def endpoints(hub: Hub, stored: Json, *, creating: bool) -> Json:
    """What was asked for of the endpoints, and the monitoring endpoint with its internal keys."""
    asked = {name: stored["events"][name] for name in ("retentionTimeInDays", "partitionCount")}
    monitoring = hub.monitoring_keys
    if creating:
        monitoring = {name: monitoring[name] for name in ("retentionTimeInDays", "partitionCount")}
    return {"events": asked, "operationsMonitoringEvents": copy.deepcopy(monitoring)}
