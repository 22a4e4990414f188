"""What the IoT Hub service makes of the body of a PUT.

A PUT replaces the hub: what is omitted goes back to its default, except for what only the service writes and for
the SAS policies (RECORDINGS §3.6, §3.7). What is not known is kept as sent.
"""

import copy
import uuid

from collections.abc import Mapping
from typing import Any

from local.azure_simulator.errors import AzureError, rp_error
from local.azure_simulator.hub import (
    Hub,
    HubFactory,
    HubPath,
    built_in_events,
    default_cloud_to_device,
    default_messaging,
    default_routing,
    default_storage,
)
from local.azure_simulator.keys import unmasked


type Json = dict[str, Any]

TLS_VERSIONS = ("1.0", "1.2")
TIERS = {"F": "Free", "B": "Basic", "S": "Standard"}

SERVICE_OWNED = (
    "locations",
    "state",
    "provisioningState",
    "hostName",
    "privateEndpointConnections",
    "generationNumber",
)
"""Properties that only the service writes: a PUT neither sets nor removes them."""

STICKY_FLAGS = ("disableLocalAuth", "disableDeviceSAS", "disableModuleSAS")
"""Once used they stay present, as false (RECORDINGS §3.10)."""

KNOWN_PROPERTIES = {
    name.lower(): name
    for name in (
        "minTlsVersion",
        "publicNetworkAccess",
        "networkRuleSets",
        "ipFilterRules",
        "authorizationPolicies",
        "disableLocalAuth",
        "disableDeviceSAS",
        "disableModuleSAS",
        "restrictOutboundNetworkAccess",
        "allowedFqdnList",
        "eventHubEndpoints",
        "routing",
        "storageEndpoints",
        "messagingEndpoints",
        "enableFileUploadNotifications",
        "cloudToDevice",
        "features",
        "comments",
    )
}
"""Names are read in any casing (Microsoft's own AzTS script sends `MinTLSVersion`, AZURE §1)."""

ENUM_SPELLINGS = {
    word.lower(): word
    for word in ("DeviceMessages", "TwinChangeEvents", "DeviceLifecycleEvents", "identityBased", "keyBased")
}

IDENTITY_SINCE = "2020-03-01"
FQDN_LIST_SINCE = "2021-07-01"
ROUTING_SINCE = "2017-07-01"


def validate(body: Json, api_version: str, tls_refused_locations: tuple[str, ...]) -> None:
    """Raise the provider's 400 for a body that it would not take."""
    properties = named_properties(body)
    version = properties.get("minTlsVersion")
    if version is None:
        return
    if version not in TLS_VERSIONS:
        raise rp_error(400089, f"{version} is not a valid MinTlsVersion value.", api_version)
    location = plain_location(str(body.get("location", "")))
    if location in {plain_location(name) for name in tls_refused_locations}:
        raise rp_error(
            400059,
            f"Requested IoT Hub features '\"MinTlsVersion\"' not available in '{location}' region.",
            api_version,
        )


def stale_etag(api_version: str) -> AzureError:
    """The provider's 412 (RECORDINGS §3.8)."""
    return rp_error(412001, "Invalid ETag supplied.", api_version)


def replaced(hub: Hub, request: Json, api_version: str) -> Json:
    """The stored body after a PUT of `request` on `hub`; the etag is still the old one."""
    before = hub.body
    properties = unmasked(named_properties(request), before["properties"])
    body = outer_members(request, before)
    body["properties"] = with_defaults(properties, before["properties"], hub.path, api_version)
    if api_version >= IDENTITY_SINCE and (request.get("identity") or "identity" in before):
        body["identity"] = identity_of(request.get("identity"), before.get("identity"), str(before["id"]))
    elif "identity" in before:
        body["identity"] = before["identity"]
    return body


def created(path: HubPath, request: Json, api_version: str, factory: HubFactory) -> Hub:
    """A new hub as it will be when its creation is done."""
    envelope = factory.envelope(path, str(request["location"]))
    if api_version < IDENTITY_SINCE:
        del envelope["identity"]
    policies = named_properties(request).get("authorizationPolicies")
    hub = Hub(path, envelope, factory.policies(policies), factory.monitoring_endpoint(path.name))
    if "routing" not in named_properties(request):
        request = request | {
            "properties": (request.get("properties") or {}) | {"routing": default_routing(fallback=True)},
        }
    hub.body = replaced(hub, request, api_version)
    return hub


def named_properties(request: Json) -> Json:
    """The properties of the request under the service's own names, nulls left out (absent means absent)."""
    given = request.get("properties") or {}
    return {
        KNOWN_PROPERTIES.get(name.lower(), name): copy.deepcopy(value)
        for name, value in given.items()
        if value is not None
    }


def outer_members(request: Json, before: Json) -> Json:
    """All members around `properties` and `identity`."""
    sku = request.get("sku") or before["sku"]
    kept = ("id", "name", "type", "location", "subscriptionid", "resourcegroup", "etag", "systemData")
    unknown = {
        name: value
        for name, value in request.items()
        if name not in (*kept, "tags", "sku", "properties", "identity") and value is not None
    }
    return {
        **{name: before[name] for name in kept if name in before},
        **unknown,
        "tags": dict(request.get("tags") or {}),
        "sku": {**sku, "tier": TIERS.get(str(sku.get("name", "S"))[0].upper(), "Standard")},
    }


def with_defaults(given: Json, before: Json, path: HubPath, api_version: str) -> Json:
    """The properties after a PUT: what was given, what the service owns, and defaults for the rest."""
    given.pop("authorizationPolicies", None)
    result: Json = {
        "ipFilterRules": [],
        "eventHubEndpoints": {},
        "storageEndpoints": default_storage(),
        "messagingEndpoints": default_messaging(),
        "enableFileUploadNotifications": False,
        "cloudToDevice": default_cloud_to_device(),
        "features": "None",
        **routing_default(before, api_version),
    }
    if api_version >= FQDN_LIST_SINCE:
        result["allowedFqdnList"] = []
    result = {name: value for name, value in result.items() if value != [] or name in before}
    result |= {flag: False for flag in STICKY_FLAGS if flag in before}
    result |= given
    for name in SERVICE_OWNED:
        result.pop(name, None)
        if name in before:
            result[name] = copy.deepcopy(before[name])
    result["messagingEndpoints"] = {**default_messaging(), **result["messagingEndpoints"]}
    fill_notification_defaults(result["messagingEndpoints"])
    result["eventHubEndpoints"] = event_hub_endpoints(result["eventHubEndpoints"], before, path)
    if "routing" in result:
        result["routing"] = routing_of(result["routing"], before.get("routing") or {})
    fill_certificate_date(result, before)
    return result


def routing_default(before: Json, api_version: str) -> Json:
    """Omitted routing switches the fallback off (RECORDINGS §3.7), unless the api-version knew no routing."""
    if api_version >= ROUTING_SINCE:
        return {"routing": default_routing(fallback=False)}
    return {name: copy.deepcopy(value) for name, value in before.items() if name == "routing"}


def fill_notification_defaults(messaging: Json) -> None:
    """A `fileNotifications` without a lock duration gets the default one."""
    defaults = default_messaging()["fileNotifications"]
    messaging["fileNotifications"] = {**defaults, **messaging["fileNotifications"]}


def event_hub_endpoints(given: Json, before: Json, path: HubPath) -> Json:
    """The endpoints with the members that the service adds; monitoring endpoints of old hubs stay."""
    old = before.get("eventHubEndpoints") or {}
    sent = given.get("events") or {}
    default = built_in_events(
        path.name,
        int(sent.get("partitionCount", 4)),
        int(sent.get("retentionTimeInDays", 1)),
    )
    owned = {
        name: value
        for name, value in (old.get("events") or {}).items()
        if name in ("path", "endpoint", "partitionIds", "partitionCount")
    }
    result = {**given, "events": {**default, **sent, **owned}}
    if "operationsMonitoringEvents" in old:
        result["operationsMonitoringEvents"] = old["operationsMonitoringEvents"]
    return result


def routing_of(given: Json, before: Json) -> Json:
    """Routing in the service's spelling: four endpoint lists, ids, ports, enum casing, the fallback's name."""
    blank = default_routing(fallback=False)
    old_endpoints = before.get("endpoints") or {}
    kept: Json = {kind: [] for kind in blank["endpoints"] if kind in old_endpoints}
    endpoints: Json = {**kept, **(given.get("endpoints") or {})}
    routes = [with_spelling(route, "source") for route in given.get("routes") or []]
    result = {
        **given,
        "endpoints": {
            kind: [endpoint_of(item, old_endpoints.get(kind) or []) for item in items]
            for kind, items in endpoints.items()
        },
        "routes": routes,
    }
    result["fallbackRoute"] = {**blank["fallbackRoute"], **(given.get("fallbackRoute") or {}), "name": "$fallback"}
    return result


def endpoint_of(given: Any, before: list[Json]) -> Any:
    """One routing endpoint; it keeps the id of the endpoint of that name."""
    if not isinstance(given, dict):
        return given
    old: Mapping[str, Any] = next((item for item in before if item.get("name") == given.get("name")), {})
    result = {
        **with_spelling(given, "authenticationType"),
        "id": old.get("id") or given.get("id") or str(uuid.uuid4()),
    }
    if result.get("identity") == {}:
        result["identity"] = {"userAssignedIdentity": None}
    if "connectionString" in result:
        text = str(result["connectionString"])
        result["connectionString"] = text.replace(".servicebus.windows.net/", ".servicebus.windows.net:5671/")
    return result


def with_spelling(item: Json, member: str) -> Json:
    """The object with one enum member in the service's casing."""
    if member not in item:
        return item
    return {**item, member: ENUM_SPELLINGS.get(str(item[member]).lower(), item[member])}


def fill_certificate_date(result: Json, before: Json) -> None:
    """`rootCertificate.lastUpdatedTimeUtc` is the service's."""
    date = (before.get("rootCertificate") or {}).get("lastUpdatedTimeUtc")
    if "rootCertificate" in result and date:
        result["rootCertificate"]["lastUpdatedTimeUtc"] = date


def identity_of(given: Json | None, before: Json | None, hub_id: str) -> Json:
    """The identity with the ids that Entra ID gives it; the same hub and name keep the same ids."""
    old = before or {}
    kind = str((given or {}).get("type", "None"))
    result: Json = {"type": kind}
    if "SystemAssigned" in kind:
        result["principalId"] = old.get("principalId") or stable_id(hub_id, "principal")
        result["tenantId"] = old.get("tenantId") or stable_id("", "tenant")
    if "UserAssigned" in kind:
        known = {name.lower(): value for name, value in (old.get("userAssignedIdentities") or {}).items()}
        result["userAssignedIdentities"] = {
            name: known.get(name.lower())
            or {"clientId": stable_id(name, "client"), "principalId": stable_id(name, "principal")}
            for name in (given or {}).get("userAssignedIdentities") or {}
        }
        if old.get("tenantId"):
            result["tenantId"] = old["tenantId"]
    return result


def stable_id(of: str, kind: str) -> str:
    """A GUID that depends on its arguments alone."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}:{of.lower()}"))


def plain_location(name: str) -> str:
    """`West US 2` and `westus2` are one region."""
    return name.replace(" ", "").lower()
