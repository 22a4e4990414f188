"""The part of `SimulatorClient` for diagnostic settings, security solutions and devices."""

from collections.abc import Mapping, Sequence
from typing import Any


class ProvidersClient:
    """Under the names of `providers.Providers`."""

    async def add_destination(self, id: str, location: str = "westeurope") -> None:  # noqa: A002
        """Make a destination of diagnostic settings exist."""
        await self._send("POST", "destinations", {"id": id, "location": location})

    async def remove_destination(self, id: str) -> Any:  # noqa: A002
        """Forget a destination."""
        return await self._send("DELETE", "destinations", {"id": id})

    async def destinations(self) -> Any:
        """All destinations."""
        return await self._send("GET", "destinations")

    async def add_diagnostic_setting(self, hub_id: str, name: str, properties: Mapping[str, Any]) -> None:
        """Give a hub a diagnostic setting."""
        body = {"hub_id": hub_id, "name": name, "properties": dict(properties)}
        await self._send("POST", "diagnostic-settings", body)

    async def remove_diagnostic_setting(self, hub_id: str, name: str) -> Any:
        """Take a diagnostic setting off."""
        return await self._send("DELETE", "diagnostic-settings", {"hub_id": hub_id, "name": name})

    async def diagnostic_settings(self, hub_id: str) -> Any:
        """The settings of a hub."""
        return await self._send("GET", "diagnostic-settings", query={"hub_id": hub_id})

    async def add_security_solution(self, body: Mapping[str, Any]) -> Any:
        """Store an IoT security solution; its id."""
        return await self._send("POST", "security-solutions", {"body": dict(body)})

    async def remove_security_solution(self, solution_id: str) -> Any:
        """Forget a solution."""
        return await self._send("DELETE", "security-solutions", {"id": solution_id})

    async def security_solutions(self) -> Any:
        """All solutions."""
        return await self._send("GET", "security-solutions")

    async def add_devices(self, hub_id: str, devices: int | Sequence[Any], **options: Any) -> Any:
        """Give a hub so many devices, or these; how many it has then."""
        content = devices if isinstance(devices, int) else list(devices)
        return await self._send("POST", "devices", {"hub_id": hub_id, "devices": content, **options})

    async def change_device(self, hub_id: str, device_id: str, **changes: Any) -> None:
        """Change members of a device."""
        await self._send("PATCH", "devices", {"hub_id": hub_id, "device_id": device_id, **changes})

    async def remove_device(self, hub_id: str, device_id: str) -> Any:
        """Forget a device."""
        return await self._send("DELETE", "devices", {"hub_id": hub_id, "device_id": device_id})

    async def add_module(self, hub_id: str, device_id: str, module: Any, **options: Any) -> None:
        """Give a device a module."""
        body = {"hub_id": hub_id, "device_id": device_id, "module": module, **options}
        await self._send("POST", "modules", body)

    async def remove_module(self, hub_id: str, device_id: str, module_id: str) -> Any:
        """Forget a module."""
        body = {"hub_id": hub_id, "device_id": device_id, "module_id": module_id}
        return await self._send("DELETE", "modules", body)

    async def device_count(self, hub_id: str) -> Any:
        """How many devices a hub has."""
        return await self._send("GET", "devices", query={"hub_id": hub_id})

    async def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        query: dict[str, str] | None = None,
    ) -> Any:
        raise NotImplementedError
