"""Microsoft.Insights/diagnosticSettings and their categories, as an extension of IoT hubs (RECORDINGS §6)."""

from local.azure_simulator.diagnostics_body import CATEGORIES, category_view, stored_setting
from local.azure_simulator.diagnostics_rules import (
    LINKED_ACTIONS,
    check_categories,
    check_limit,
    check_sinks,
    sinks,
)
from local.azure_simulator.errors import AzureError, arm_error, monitor_error, resource_not_found
from local.azure_simulator.hub import Hub, HubPath
from local.azure_simulator.state import State
from local.azure_simulator.wire import Call, Json, Reply


ACTION = "microsoft.insights/diagnosticSettings"
CATEGORY_ACTION = "microsoft.insights/diagnosticSettingsCategories"


class DiagnosticSettings:
    """The provider's operations on the hubs of a `State`. The gateway has checked rights and locks before."""

    def __init__(self, state: State) -> None:
        self._state = state

    def list(self, call: Call) -> Reply:
        """GET all settings of the hub: one page, always."""
        return Reply(200, {"value": [*self._settings(call).values()]})

    def get(self, call: Call) -> Reply:
        """GET one setting."""
        setting = self._settings(call).get(call.params["setting"].lower())
        if setting is None:
            name = call.params["setting"]
            raise monitor_error(404, "ResourceNotFound", f"The diagnostic setting '{name}' doesn't exist.")
        return Reply(200, setting)

    def put(self, call: Call) -> Reply:
        """PUT replaces the whole setting: 200 at once for a new one as for a known one, and no etag."""
        hub, known, request = self._hub(call), self._settings(call), call.body_object()
        name = call.params["setting"]
        self._check_linked_rights(call, hub, request)
        setting = stored_setting(hub.path.id, name, request, call.api_version)
        check_categories(setting["properties"])
        check_sinks(hub, setting["properties"], self._state.destinations)
        check_limit(name, setting["properties"], known)
        self._state.settings.setdefault(hub.path.key, {})[name.lower()] = setting
        return Reply(200, setting)

    def delete(self, call: Call) -> Reply:
        """DELETE one setting: 200, or 204 if there was none."""
        found = self._settings(call).pop(call.params["setting"].lower(), None)
        return Reply(204 if found is None else 200)

    def list_categories(self, call: Call) -> Reply:
        """GET what a hub can send."""
        hub = self._hub(call)
        return Reply(200, {"value": [category_view(hub.path.id, name) for name in CATEGORIES]})

    def get_category(self, call: Call) -> Reply:
        """GET one category."""
        hub, asked = self._hub(call), call.params["category"]
        name = next((name for name in CATEGORIES if name.lower() == asked.lower()), None)
        if name is None:
            text = f"The diagnostic setting category '{asked}' doesn't exist."
            raise monitor_error(404, "ResourceNotFound", text)
        return Reply(200, category_view(hub.path.id, name))

    def _hub(self, call: Call) -> Hub:
        path = HubPath(call.params["sub"], call.params["rg"], call.params["hub"])
        hub = self._state.hubs.get(path.key)
        if hub is None:
            raise resource_not_found(path.name, path.resource_group)
        return hub

    def _settings(self, call: Call) -> dict[str, Json]:
        return self._state.settings.get(self._hub(call).path.key, {})

    def _check_linked_rights(self, call: Call, hub: Hub, request: Json) -> None:
        """ARM asks for the keys of each destination on the caller's behalf (AZURE §7)."""
        for member, sink in sinks(request.get("properties") or {}):
            action = LINKED_ACTIONS.get(member)
            if action and not self._state.access.allows(call.caller, action, sink):
                raise linked_authorization_failed(call, hub, action, sink)


def linked_authorization_failed(call: Call, hub: Hub, action: str, sink: str) -> AzureError:
    """The gateway's 403, worded as in public reports of it."""
    scope = f"{hub.path.id}/providers/microsoft.insights/diagnosticSettings/{call.params['setting']}"
    return arm_error(
        403,
        "LinkedAuthorizationFailed",
        f"The client '{call.caller.display}' with object id '{call.caller.principal.oid}' has permission to "
        f"perform action '{ACTION}/write' on scope '{scope}'; however, it does not have permission to perform "
        f"action '{action}' on the linked scope(s) '{sink}' or the linked scope(s) are invalid.",
    )
