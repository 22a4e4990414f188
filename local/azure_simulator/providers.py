"""The part of `AzureSimulator` that puts diagnostic settings, security solutions and devices in place."""

from collections.abc import Iterable, Mapping
from typing import Any

from local.azure_simulator.delivery import EventGrid
from local.azure_simulator.destinations import destination
from local.azure_simulator.devices import Registry
from local.azure_simulator.diagnostics_body import FIRST_VERSION_WITH_GRAIN, stored_setting
from local.azure_simulator.hub import Hub, HubPath
from local.azure_simulator.security import solution
from local.azure_simulator.security_body import new_properties
from local.azure_simulator.state import State
from local.azure_simulator.twins import device_created
from local.azure_simulator.wire import Json


class Providers:
    """Everything is put in place as if it had always been there: no checks, no events.

    KeyError where there is no such hub.
    """

    state: State
    event_grid: EventGrid

    def add_destination(self, id: str, location: str = "westeurope") -> None:  # noqa: A002
        """Make a workspace, a storage account, an Event Hubs authorization rule or a partner's resource exist."""
        made = destination(id, location)
        self.state.destinations[made.id.lower()] = made

    def remove_destination(self, id: str) -> bool:  # noqa: A002
        """Forget a destination; settings that send there stay. False if there was none."""
        return self.state.destinations.pop(id.rstrip("/").lower(), None) is not None

    def destinations(self) -> list[Json]:
        """All destinations, oldest first."""
        return [{"id": known.id, "location": known.location} for known in self.state.destinations.values()]

    def add_diagnostic_setting(self, hub_id: str, name: str, properties: Mapping[str, Any]) -> None:
        """Give a hub a diagnostic setting with these properties, in place of one of that name."""
        hub = self._hub(hub_id)
        body = stored_setting(hub.path.id, name, {"properties": dict(properties)}, FIRST_VERSION_WITH_GRAIN)
        self.state.settings.setdefault(hub.path.key, {})[name.lower()] = body

    def remove_diagnostic_setting(self, hub_id: str, name: str) -> bool:
        """Take a diagnostic setting off, without an event; False if there was none."""
        return self.state.settings.get(self._hub(hub_id).path.key, {}).pop(name.lower(), None) is not None

    def diagnostic_settings(self, hub_id: str) -> list[Json]:
        """The settings of a hub as GET shows them."""
        return [*self.state.settings.get(self._hub(hub_id).path.key, {}).values()]

    def add_security_solution(self, body: Mapping[str, Any]) -> str:
        """Store an IoT security solution; its id.

        Needed are `id` and `properties.iotHubs`. A body with `recommendationsConfiguration` is taken as it is, in
        whatever shape; anything less is laid over the defaults.
        """
        solution_id, properties = str(body["id"]), dict(body["properties"])
        if "recommendationsConfiguration" not in properties:
            named = {"displayName": solution_id.rsplit("/", 1)[1], **properties}
            properties = new_properties(named) | properties
        made = solution(solution_id, {"location": "westeurope", **body}, properties)
        self.state.solutions[solution_id.lower()] = made | dict(body) | {"properties": properties}
        _, _, subscription, _, group, *_ = solution_id.split("/")
        self.state.add_group(subscription, group)
        return solution_id

    def remove_security_solution(self, solution_id: str) -> bool:
        """Forget a solution, without an event; False if there was none."""
        return self.state.solutions.pop(solution_id.lower(), None) is not None

    def security_solutions(self) -> list[Json]:
        """All solutions as GET shows them."""
        return [*self.state.solutions.values()]

    def add_devices(
        self,
        hub_id: str,
        devices: int | Iterable[str | Mapping[str, Any]],
        *,
        modules: Iterable[str | Mapping[str, Any]] = (),
        prefix: str = "device-",
        created_now: bool = False,
    ) -> int:
        """Give a hub so many devices, or these; how many it has then.

        A device is its id or the members of `devices.Device` (`id`, `status`, `connection_state`, `last_activity`,
        `authentication`, `edge`, `tags`, `modules`), a module its id or those of `devices.Module`. With
        `created_now` queries miss them for a while, and the hub's topic publishes a DeviceCreated for each.
        """
        hub = self._hub(hub_id)
        registry = self._registry(hub)
        new = registry.add(devices, modules=modules, prefix=prefix, created_now=created_now)
        if created_now:
            for device in new:
                self.event_grid.publish(device_created(hub, device))
        return len(registry)

    def change_device(self, hub_id: str, device_id: str, **changes: Any) -> None:
        """Change members of a device; `modules` are the new, whole list. KeyError if there is none."""
        self._registry(self._hub(hub_id)).change(device_id, changes)

    def remove_device(self, hub_id: str, device_id: str) -> bool:
        """Forget a device; False if there was none."""
        return self._registry(self._hub(hub_id)).remove(device_id)

    def add_module(
        self,
        hub_id: str,
        device_id: str,
        module: str | Mapping[str, Any],
        *,
        created_now: bool = False,
    ) -> None:
        """Give a device a module, in place of one with its id. There is no event for that in Azure either."""
        self._registry(self._hub(hub_id)).add_module(device_id, module, created_now=created_now)

    def remove_module(self, hub_id: str, device_id: str, module_id: str) -> bool:
        """Forget a module; False if there was none."""
        return self._registry(self._hub(hub_id)).remove_module(device_id, module_id)

    def device_count(self, hub_id: str) -> int:
        """How many devices a hub has."""
        return len(self._registry(self._hub(hub_id)))

    def _hub(self, hub_id: str) -> Hub:
        return self.state.hubs[HubPath.of(hub_id).key]

    def _registry(self, hub: Hub) -> Registry:
        return self.state.registries.setdefault(hub.path.key, Registry())
