"""Where diagnostic settings send to: workspaces, storage accounts and Event Hubs, as far as ARM shows them."""

import re

from collections.abc import Mapping
from dataclasses import dataclass

from local.azure_simulator.errors import resource_not_found
from local.azure_simulator.wire import Call, Json, Reply


WORKSPACE = "Microsoft.OperationalInsights/workspaces"
STORAGE = "Microsoft.Storage/storageAccounts"
EVENT_HUB_RULE = "Microsoft.EventHub/namespaces/authorizationRules"
PARTNER = "*"

KINDS = {
    re.compile(rf"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/{pattern}/?", re.IGNORECASE): kind
    for pattern, kind in (
        (r"Microsoft\.OperationalInsights/workspaces/[^/]+", WORKSPACE),
        (r"Microsoft\.Storage/storageAccounts/[^/]+", STORAGE),
        (r"Microsoft\.EventHub/namespaces/[^/]+/authorizationRules/[^/]+", EVENT_HUB_RULE),
    )
}


@dataclass(frozen=True, slots=True)
class Destination:
    """A resource that can receive; `kind` is its type in Azure's casing, `PARTNER` for a marketplace resource."""

    id: str
    kind: str
    location: str

    @property
    def regional_id(self) -> str:
        """The id that has a region: of an authorization rule it is the namespace's, written in lower case."""
        if self.kind == EVENT_HUB_RULE:
            return "/".join(self.id.lower().split("/")[:9])
        return self.id

    def view(self) -> Json:
        """The least that ARM shows of such a resource."""
        return {
            "id": self.id,
            "name": self.id.rstrip("/").rsplit("/", 1)[1],
            "type": self.kind,
            "location": self.location,
            "properties": {"provisioningState": "Succeeded"},
        }


def destination(resource_id: str, location: str) -> Destination:
    """The destination with this id; ValueError if it is no resource id."""
    if not resource_id.lower().startswith("/subscriptions/") or "/providers/" not in resource_id.lower():
        raise ValueError(f"not the id of a resource: {resource_id!r}")
    kind = next((kind for pattern, kind in KINDS.items() if pattern.fullmatch(resource_id)), PARTNER)
    return Destination(resource_id.rstrip("/"), kind, location)


class Destinations:
    """GET of destinations, for clients that look before they point a setting at one."""

    def __init__(self, known: Mapping[str, Destination]) -> None:
        self._known = known

    def get(self, call: Call) -> Reply:
        """GET one: 200, or the gateway's 404."""
        found = self._known.get(call.path.rstrip("/").lower())
        if found is not None:
            return Reply(200, found.view())
        _, _, tail = call.path.rpartition("/providers/")
        parts = tail.rstrip("/").split("/")
        raise resource_not_found("/".join(parts[2::2]), call.params["rg"], "/".join([parts[0], *parts[1::2]]))
