"""Azure as it may be read and not changed: the last wall while policy says that nothing is changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NoReturn

from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.receipt import Receipt
from hubwarden.service.errors import DeniedError
from hubwarden.service.ports import HubPort, Page, PolicyEdit


class ReadOnlyHubs:
    """A HubPort that reads through another one and sends no write. To ask it for one is a bug, and told."""

    def __init__(self, hubs: HubPort) -> None:
        self.hubs = hubs

    def list_hubs(self, subscription: str) -> AsyncIterator[JsonObject]:
        """See HubPort."""
        return self.hubs.list_hubs(subscription)

    async def get_hub(self, hub: HubId) -> JsonObject:
        """See HubPort."""
        return await self.hubs.get_hub(hub)

    async def sas_policies(self, hub: HubId) -> JsonObject:
        """See HubPort."""
        return await self.hubs.sas_policies(hub)

    async def diagnostics(self, hub: HubId) -> JsonObject:
        """See HubPort."""
        return await self.hubs.diagnostics(hub)

    async def subscriptions(self) -> Sequence[str]:
        """See HubPort."""
        return await self.hubs.subscriptions()

    async def read_only_scopes(self, subscription: str) -> Sequence[str]:
        """See HubPort."""
        return await self.hubs.read_only_scopes(subscription)

    async def security_solutions(self, subscription: str, *, since: datetime) -> JsonObject:
        """See HubPort."""
        return await self.hubs.security_solutions(subscription, since=since)

    async def query_devices(self, host: str, query: str, continuation: str | None = None) -> Page:
        """See HubPort."""
        return await self.hubs.query_devices(host, query, continuation)

    async def put_hub(
        self, hub: HubId, body: JsonObject, *, etag: str, policies: Sequence[PolicyEdit] = ()
    ) -> Receipt:
        """Refuse."""
        _refuse(f"{hub}", body, etag, policies)

    async def put_diagnostic_setting(self, hub: HubId, name: str, properties: JsonObject) -> Receipt:
        """Refuse."""
        _refuse(f"the diagnostic setting {name} of {hub}", properties)

    async def put_security_solution(self, solution: str, before: JsonObject | None, after: JsonObject) -> Receipt:
        """Refuse."""
        _refuse(solution, before, after)


def _refuse(what: str, *_not_sent: object) -> NoReturn:
    raise DeniedError(f"writing {what}: not sent, for policy enforcement is observe; this is a bug in hubwarden")
