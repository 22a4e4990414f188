"""Microsoft.Security/iotSecuritySolutions, api-version 2019-08-01 (RECORDINGS §7).

As recorded since 2021: 200 for creates and updates, ids of hubs as they were sent, no etag, no operations.
"""

import re

from collections.abc import Iterable
from typing import Any

from local.azure_simulator.clock import utc_now
from local.azure_simulator.errors import (
    AzureError,
    arm_error,
    resource_group_not_found,
    resource_not_found,
    security_error,
)
from local.azure_simulator.principals import Caller
from local.azure_simulator.security_body import merged_recommendations, new_properties
from local.azure_simulator.state import State
from local.azure_simulator.wire import Call, Json, Reply


TYPE = "Microsoft.Security/iotSecuritySolutions"
READ, WRITE, DELETE = f"{TYPE}/read", f"{TYPE}/write", f"{TYPE}/delete"

BY_HUB = re.compile(r"properties\.iotHubs/any\(\s*(\w+)\s*eq\s*(['\"])(?P<hub>[^'\"]+)\2\s*\)", re.IGNORECASE)
"""The only filter that is documented."""


class SecuritySolutions:
    """The provider's operations on the solutions of a `State`. The gateway has checked rights and locks before."""

    def __init__(self, state: State) -> None:
        self._state = state

    def list(self, call: Call) -> Reply:
        """GET the solutions of a subscription or resource group that the caller may read, in one page."""
        group = call.params.get("rg")
        if group is not None and not self._state.has_group(call.params["sub"], group):
            raise resource_group_not_found(group)
        parent = f"/subscriptions/{call.params['sub']}/" + (f"resourceGroups/{group}/" if group else "")
        within = [body for key, body in self._state.solutions.items() if key.startswith(parent.lower())]
        visible = [body for body in within if self._state.access.allows(call.caller, READ, body["id"])]
        return Reply(200, {"value": filtered(visible, call.query.get("$filter"))})

    def get(self, call: Call) -> Reply:
        """GET one solution."""
        return Reply(200, self._existing(call))

    def put(self, call: Call) -> Reply:
        """PUT replaces the whole solution: 200, for a new one too."""
        request, group = call.body_object(), call.params["rg"]
        if not self._state.has_group(call.params["sub"], group):
            raise resource_group_not_found(group)
        if not request.get("location"):
            raise arm_error(400, "LocationRequired", "The location property is required for this definition.")
        properties = checked(request)
        self._check_hubs(properties["iotHubs"])
        solution_id = id_of(call)
        before = self._state.solutions.get(solution_id.lower())
        body = solution(solution_id, request, new_properties(properties))
        body["systemData"] = system_data(call.caller, before)
        self._state.solutions[solution_id.lower()] = body
        return Reply(200, body)

    def patch(self, call: Call) -> Reply:
        """PATCH: only tags, user defined resources and recommendations can change."""
        before, request = self._existing(call), call.body_object()
        sent: Json = request.get("properties") or {}
        properties = dict(before["properties"])
        if sent.get("userDefinedResources") is not None:
            properties["userDefinedResources"] = dict(sent["userDefinedResources"])
        properties["recommendationsConfiguration"] = merged_recommendations(
            properties["recommendationsConfiguration"],
            sent.get("recommendationsConfiguration") or (),
        )
        tags = before["tags"] if request.get("tags") is None else dict(request["tags"])
        body = before | {"properties": properties, "tags": tags, "systemData": system_data(call.caller, before)}
        self._state.solutions[id_of(call).lower()] = body
        return Reply(200, body)

    def delete(self, call: Call) -> Reply:
        """DELETE: 200, or 204 if there was none."""
        return Reply(204 if self._state.solutions.pop(id_of(call).lower(), None) is None else 200)

    def _existing(self, call: Call) -> Json:
        body = self._state.solutions.get(id_of(call).lower())
        if body is None:
            raise resource_not_found(call.params["solution"], call.params["rg"], TYPE)
        return body

    def _check_hubs(self, hub_ids: Iterable[Any]) -> None:
        """Each hub exists. No recording shows the refusal: status and text are made up by analogy."""
        for hub_id in hub_ids:
            if str(hub_id).rstrip("/").lower() not in self._state.hubs:
                raise bad_request(f"IoT hub '{hub_id}' was not found.")


def solution(solution_id: str, request: Json, properties: Json) -> Json:
    """A solution as ARM shows it, but for who made it and when."""
    return {
        "id": solution_id,
        "type": TYPE,
        "name": solution_id.rsplit("/", 1)[1],
        "location": request["location"],
        "properties": properties,
        "tags": dict(request.get("tags") or {}),
    }


def id_of(call: Call) -> str:
    """The resource id that the call is about."""
    names = call.params
    return f"/subscriptions/{names['sub']}/resourceGroups/{names['rg']}/providers/{TYPE}/{names['solution']}"


def checked(request: Json) -> Json:
    """The properties of a request, with the two members that the definition requires."""
    properties = request.get("properties")
    if not isinstance(properties, dict):
        raise bad_request("The property 'properties' is required.")
    for member in ("displayName", "iotHubs"):
        if properties.get(member) is None:
            raise bad_request(f"The property '{member}' is required.")
    if not isinstance(properties["iotHubs"], list):
        raise bad_request("The property 'iotHubs' must be an array.")
    return properties


def filtered(solutions: list[Json], text: str | None) -> list[Json]:
    """The solutions that pass an OData filter by hub; 400 for a filter of another form."""
    if not text:
        return solutions
    found = BY_HUB.fullmatch(text.strip())
    if found is None:
        raise bad_request(f"The filter '{text}' is not supported.")
    hub = found["hub"].lower()
    return [body for body in solutions if hub in (str(other).lower() for other in body["properties"]["iotHubs"])]


def system_data(caller: Caller, before: Json | None) -> Json:
    """Who made it and who changed it last; moments have three digits at most, without zeros at the end."""
    now = f"{utc_now():%Y-%m-%dT%H:%M:%S.%f}"[:-3].rstrip("0").rstrip(".") + "Z"
    kind = "User" if caller.principal.upn else "Application"
    known: Json = (before or {}).get("systemData") or {}
    return {
        "createdBy": known.get("createdBy", caller.display),
        "createdByType": known.get("createdByType", kind),
        "createdAt": known.get("createdAt", now),
        "lastModifiedBy": caller.display,
        "lastModifiedByType": kind,
        "lastModifiedAt": now,
    }


def bad_request(message: str) -> AzureError:
    """The provider's 400."""
    return security_error(400, "BadRequest", message)
