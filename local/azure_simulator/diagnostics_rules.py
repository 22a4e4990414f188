"""What Azure Monitor refuses of a diagnostic setting; the texts are those of public reports of these refusals.

Recorded is only the refusal of a missing marketplace resource; that of any other missing destination is made up.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from local.azure_simulator.destinations import PARTNER, WORKSPACE, Destination
from local.azure_simulator.diagnostics_body import CATEGORIES, GROUPS, LOG_CATEGORIES, METRIC_CATEGORIES, SINKS
from local.azure_simulator.errors import AzureError, monitor_error
from local.azure_simulator.hub import Hub
from local.azure_simulator.put_body import plain_location
from local.azure_simulator.wire import Json


MOST_SETTINGS = 5

LINKED_ACTIONS = {
    "workspaceId": "Microsoft.OperationalInsights/workspaces/sharedKeys/action",
    "storageAccountId": "Microsoft.Storage/storageAccounts/listKeys/action",
    "eventHubAuthorizationRuleId": "Microsoft.EventHub/namespaces/authorizationRules/listkeys/action",
}
"""The right on the destination that a setting takes."""


def sinks(properties: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each destination: member and id."""
    for member in (*SINKS, "marketplacePartnerId"):
        if properties.get(member):
            yield member, str(properties[member])


def check_categories(properties: Json) -> None:
    """Categories or groups, not both, and only those of a hub."""
    logs = properties["logs"]
    if any(entry["category"] for entry in logs) and any(entry["categoryGroup"] for entry in logs):
        raise bad_request("Diagnostic setting does not support mix of log category and log category group.")
    for entry in logs:
        if entry["categoryGroup"]:
            if entry["categoryGroup"].lower() not in GROUPS:
                raise bad_request(f"Category group '{entry['categoryGroup']}' is not supported.")
        else:
            check_category(entry["category"], LOG_CATEGORIES)
    for entry in properties["metrics"]:
        if entry["category"]:
            check_category(entry["category"], METRIC_CATEGORIES)


def check_category(name: str | None, known: tuple[str, ...]) -> None:
    """The name is one of the known ones, in any casing."""
    if (name or "").lower() not in (category.lower() for category in known):
        raise bad_request(f"Category '{name or ''}' is not supported.")


def check_sinks(hub: Hub, properties: Json, known: Mapping[str, Destination]) -> None:
    """There is a destination, each exists, and those that are bound to a region are in the hub's."""
    found = list(sinks(properties))
    if not found:
        raise bad_request("At least one data sink needs to be specified.")
    here = plain_location(str(hub.body["location"]))
    for member, sink in found:
        target = known.get(sink.rstrip("/").lower())
        if target is None:
            raise missing(member, sink)
        if target.kind not in (WORKSPACE, PARTNER) and plain_location(target.location) != here:
            raise bad_request(
                f"Resources should be in the same region. Resource '{hub.path.id}' is in region '{here}' and "
                f"resource '{target.regional_id}' is in region '{plain_location(target.location)}'.",
            )


def missing(member: str, sink: str) -> AzureError:
    """The refusal of a destination that does not exist."""
    if member == "marketplacePartnerId":
        text = f"The marketplace partner resource: {sink.lower()} was not found or does not support the required"
        return bad_request(f"{text} functionality.")
    return monitor_error(404, "ResourceNotFound", f"Resource '{sink}' was not found.")


def check_limit(name: str, properties: Json, known: Mapping[str, Json]) -> None:
    """No category goes twice to one destination, and a hub has no more than five settings."""
    others = [setting for key, setting in known.items() if key != name.lower()]
    for other in others:
        taken = streams(other["properties"])
        for stream in streams(properties):
            if stream in taken:
                raise in_use(stream, other["name"], properties)
    if len(others) >= MOST_SETTINGS:
        raise monitor_error(
            409,
            "Conflict",
            f"The limit of {MOST_SETTINGS} diagnostic settings was reached. To create new setting '{name}', "
            "delete an existing one.",
        )


def streams(properties: Json) -> dict[tuple[str, str], None]:
    """What goes where: lower-case destination and category, in order; groups stand for their members."""
    hub_name = f"|{properties.get('eventHubName') or ''}".lower()
    places = [
        sink.rstrip("/").lower() + (hub_name if member == "eventHubAuthorizationRuleId" else "")
        for member, sink in sinks(properties)
    ]
    sent = [entry for entry in properties["logs"] + properties["metrics"] if entry["enabled"]]
    names = [name for entry in sent for name in named(entry)]
    return {(place, name.lower()): None for place in places for name in names}


def named(entry: Json) -> tuple[str, ...]:
    """The categories that an entry stands for."""
    group = entry.get("categoryGroup")
    return GROUPS.get(str(group).lower(), ()) if group else (str(entry["category"]),)


def in_use(stream: tuple[str, str], other: str, properties: Json) -> AzureError:
    """The refusal of a second stream of one category to one place."""
    place = stream[0].partition("|")[0]
    sink = next(sink for _, sink in sinks(properties) if sink.rstrip("/").lower() == place)
    category = next((name for name in CATEGORIES if name.lower() == stream[1]), stream[1])
    return monitor_error(
        409,
        "Conflict",
        f"Data sink '{sink}' is already used in diagnostic setting '{other}' for category '{category}'. Data "
        "sinks can't be reused in different settings on the same category for the same resource.",
    )


def bad_request(message: str) -> AzureError:
    """Azure Monitor's 400."""
    return monitor_error(400, "BadRequest", message)
