"""What Azure Monitor stores and shows of a diagnostic setting (RECORDINGS §6), and the categories of a hub."""

from collections.abc import Mapping
from typing import Any

from local.azure_simulator.errors import arm_error
from local.azure_simulator.wire import Json


LOG_CATEGORIES = (
    "Connections",
    "DeviceTelemetry",
    "C2DCommands",
    "DeviceIdentityOperations",
    "FileUploadOperations",
    "Routes",
    "D2CTwinOperations",
    "C2DTwinOperations",
    "TwinQueries",
    "JobsOperations",
    "DirectMethods",
    "DistributedTracing",
    "Configurations",
    "DeviceStreams",
)
METRIC_CATEGORIES = ("AllMetrics",)
CATEGORIES = LOG_CATEGORIES + METRIC_CATEGORIES

AUDIT = ("Connections", "DeviceIdentityOperations", "JobsOperations", "DirectMethods", "Configurations")
"""Members of the group `audit`. That hubs have the group is documented; which categories are in it is a guess."""

GROUPS: Mapping[str, tuple[str, ...]] = {"audit": AUDIT, "alllogs": LOG_CATEGORIES}
"""Lower-case names of the category groups, and their members."""

FIRST_VERSION_WITH_GRAIN = "2021-05-01-preview"
SINKS = (
    "storageAccountId",
    "serviceBusRuleId",
    "workspaceId",
    "eventHubAuthorizationRuleId",
)


def stored_setting(hub_id: str, name: str, request: Mapping[str, Any], api_version: str) -> Json:
    """The setting as PUT and GET show it: what was not sent is null, and all of the id but the name in lower case.

    `marketplacePartnerId` is shown only where it was sent.
    """
    sent = properties_of(request)
    partner = sent.get("marketplacePartnerId")
    return {
        "id": f"{hub_id.lower()}/providers/microsoft.insights/diagnosticSettings/{name}",
        "type": "Microsoft.Insights/diagnosticSettings",
        "name": name,
        "location": None,
        "kind": None,
        "tags": None,
        "properties": {
            **{sink: sent.get(sink) for sink in SINKS},
            "eventHubName": sent.get("eventHubName"),
            "metrics": [metric(entry, api_version) for entry in entries(sent, "metrics")],
            "logs": [log(entry) for entry in entries(sent, "logs")],
            "logAnalyticsDestinationType": sent.get("logAnalyticsDestinationType"),
            **({} if partner is None else {"marketplacePartnerId": partner}),
        },
        "identity": None,
    }


def category_view(hub_id: str, name: str) -> Json:
    """One category as ARM shows it; only logs are in groups."""
    groups = [group for group, members in (("audit", AUDIT), ("allLogs", LOG_CATEGORIES)) if name in members]
    grouped = {"categoryType": "Logs", "categoryGroups": groups} if groups else {"categoryType": "Metrics"}
    return {
        "id": f"{hub_id.lower()}/providers/microsoft.insights/diagnosticSettingsCategories/{name}",
        "type": "microsoft.insights/diagnosticSettingsCategories",
        "name": name,
        "properties": grouped,
    }


def properties_of(request: Mapping[str, Any]) -> Json:
    """The `properties` of a request, or the gateway's 400."""
    sent = request.get("properties")
    if isinstance(sent, dict):
        return sent
    raise invalid("Required property 'properties' not found in JSON.")


def entries(sent: Json, member: str) -> list[Json]:
    """The objects in `logs` or `metrics`; none for null."""
    value = sent.get(member) or []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise invalid(f"'{member}' must be an array of objects.")
    return value


def log(entry: Json) -> Json:
    """One entry of `logs`."""
    return {
        "category": entry.get("category"),
        "categoryGroup": entry.get("categoryGroup"),
        "enabled": bool(entry.get("enabled")),
        "retentionPolicy": retention(entry),
    }


def metric(entry: Json, api_version: str) -> Json:
    """One entry of `metrics`; only the newer api-version makes up a grain."""
    grain = entry.get("timeGrain") or ("PT1M" if api_version >= FIRST_VERSION_WITH_GRAIN else None)
    return {
        **({"timeGrain": grain} if grain else {}),
        "category": entry.get("category"),
        "enabled": bool(entry.get("enabled")),
        "retentionPolicy": retention(entry),
    }


def retention(entry: Json) -> Json:
    """The retention of an entry: none unless sent."""
    sent = entry.get("retentionPolicy") or {}
    return {"enabled": bool(sent.get("enabled")), "days": int(sent.get("days") or 0)}


def invalid(message: str) -> Exception:
    """The gateway's refusal of a body."""
    text = f"The request content was invalid and could not be deserialized: '{message}'."
    return arm_error(400, "InvalidRequestContent", text)
