"""The control API from another process, under the names of `AzureSimulator`."""

import ssl

from collections.abc import Mapping
from typing import Any, Self

import aiohttp

from local.azure_simulator.client_providers import ProvidersClient


class ControlError(Exception):
    """The control API refused; the text is its reason."""


class SimulatorClient(ProvidersClient):
    """`async with SimulatorClient(control, ca_file) as sim: await sim.add_hub({...})`.

    Arguments are those of the methods of `AzureSimulator`, and results are JSON.
    """

    def __init__(self, control_url: str, ca_file: str) -> None:
        self._url = control_url.rstrip("/")
        self._tls = ssl.create_default_context(cafile=ca_file)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    async def configure(self, **changes: Any) -> Any:
        """Change settings; all settings as they are then."""
        return await self._send("POST", "settings", changes)

    async def reset(self) -> None:
        """Forget all but settings and principals."""
        await self._send("POST", "reset")

    async def seed(self, content: Mapping[str, Any]) -> None:
        """Add principals, hubs, locks, denials and resource groups in one go."""
        await self._send("POST", "seed", dict(content))

    async def add_hub(self, body: Mapping[str, Any], *, policies: list[dict[str, Any]] | None = None) -> Any:
        """Store a hub; its id."""
        return await self._send("POST", "hubs", {"body": dict(body), "policies": policies})

    async def hub(self, hub_id: str) -> Any:
        """A hub as stored, keys in clear."""
        return await self._send("GET", "hub", query={"id": hub_id})

    async def hub_ids(self) -> Any:
        """The ids of all hubs."""
        return await self._send("GET", "hubs")

    async def remove_hub(self, hub_id: str) -> None:
        """Forget a hub at once."""
        await self._send("DELETE", "hubs", query={"id": hub_id})

    async def add_resource_group(self, subscription: str, name: str) -> None:
        """Make a resource group exist."""
        await self._send("POST", "resource-groups", {"subscription": subscription, "name": name})

    async def set_subscription(self, subscription: str, state: str = "Enabled") -> None:
        """Make a subscription exist, in this state."""
        await self._send("POST", "subscriptions", {"subscription": subscription, "state": state})

    async def finish_transitions(self) -> None:
        """Let all running operations be done now."""
        await self._send("POST", "finish-transitions")

    async def add_principal(self, client_id: str, secret: str, **options: Any) -> Any:
        """Register who may get tokens."""
        return await self._send("POST", "principals", {"client_id": client_id, "secret": secret, **options})

    async def issue_token(self, client_id: str, **options: Any) -> Any:
        """A token of a registered principal."""
        return await self._send("POST", "tokens", {"client_id": client_id, **options})

    async def add_lock(self, scope: str, level: str, **options: Any) -> None:
        """Lock a scope."""
        await self._send("POST", "locks", {"scope": scope, "level": level, **options})

    async def remove_lock(self, scope: str, **options: Any) -> Any:
        """Take a lock off."""
        return await self._send("DELETE", "locks", {"scope": scope, **options})

    async def deny(self, action: str, scope: str, **options: Any) -> None:
        """Forbid an action on a scope."""
        await self._send("POST", "denials", {"action": action, "scope": scope, **options})

    async def allow(self, action: str | None = None) -> None:
        """Lift the denials of an action, or all."""
        await self._send("DELETE", "denials", {"action": action})

    async def grant(self, principal: str, scope: str, **options: Any) -> None:
        """Give a client or object id a role on a scope."""
        await self._send("POST", "grants", {"principal": principal, "scope": scope, **options})

    async def revoke(self, principal: str) -> None:
        """Take all its roles away."""
        await self._send("DELETE", "grants", {"principal": principal})

    async def fail(self, method: str = "*", path: str = "", **options: Any) -> Any:
        """Put a fault in force; its number."""
        return await self._send("POST", "faults", {"method": method, "path": path, **options})

    async def faults(self) -> Any:
        """All faults."""
        return await self._send("GET", "faults")

    async def clear_faults(self, fault_id: int | None = None) -> None:
        """Lift one fault, or all."""
        await self._send("DELETE", "faults", {} if fault_id is None else {"fault_id": fault_id})

    async def requests(self, *, bodies: bool = False) -> Any:
        """The request log."""
        return await self._send("GET", "requests", query={"bodies": "1"} if bodies else None)

    async def clear_requests(self) -> None:
        """Empty the request log."""
        await self._send("DELETE", "requests")

    async def subscribe(self, url: str, **options: Any) -> None:
        """Send events to a webhook."""
        await self._send("POST", "subscribers", {"url": url, **options})

    async def unsubscribe(self, name: str = "subscriber") -> None:
        """End a subscription."""
        await self._send("DELETE", "subscribers", {"name": name})

    async def event_mode(self, **options: Any) -> None:
        """Set what happens to events from now on."""
        await self._send("POST", "event-mode", options)

    async def release_events(self, order: str = "as_published", **options: Any) -> Any:
        """Send the held events; how many there were."""
        return await self._send("POST", "release-events", {"order": order, **options})

    async def events(self) -> Any:
        """All published events."""
        return await self._send("GET", "events")

    async def deliveries(self) -> Any:
        """All delivery attempts."""
        return await self._send("GET", "deliveries")

    async def dead_letters(self) -> Any:
        """Events that were given up."""
        return await self._send("GET", "dead-letters")

    async def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        query: dict[str, str] | None = None,
    ) -> Any:
        if self._session is None:
            raise RuntimeError("SimulatorClient must be entered with `async with`")
        async with self._session.request(method, f"{self._url}/{path}", json=body, params=query) as answer:
            result = await answer.json()
            if answer.status != 200:  # noqa: PLR2004
                raise ControlError(result["error"])
            return result
