"""Hubs through azure-mgmt-iothub, as raw JSON: its models drop what they do not know (AZURE.md §0.5)."""

from __future__ import annotations

import asyncio
import time

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from hubwarden.adapters.azure.arm import Arm
from hubwarden.adapters.azure.calls import (
    attempt,
    attempt_first,
    content_of,
    deadline,
    one_object,
    only_once,
)
from hubwarden.adapters.azure.cloud import Cloud
from hubwarden.adapters.azure.dataplane import HubDataPlane
from hubwarden.adapters.azure.defender import SecuritySolutions
from hubwarden.adapters.azure.diagnostics import HubDiagnostics
from hubwarden.adapters.azure.locks import read_only_scopes
from hubwarden.adapters.azure.policies import edited, without_keys
from hubwarden.adapters.azure.receipts import Receipts
from hubwarden.adapters.azure.redaction import redacted_hub, safe_text
from hubwarden.adapters.azure.subscriptions import enabled_subscriptions
from hubwarden.domain.hub_id import HubId, NotAHubError
from hubwarden.domain.jsons import Json, JsonObject
from hubwarden.domain.receipt import Receipt
from hubwarden.service.errors import PermanentError
from hubwarden.service.ports import Page, PolicyEdit
from hubwarden.service.telemetry import SILENT, Telemetry


if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AsyncHttpTransport
    from azure.mgmt.iothub.aio import IotHubClient


_VERSION: Final = "2023-06-30"
_HUBS: Final = "providers/Microsoft.Devices/IotHubs"


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ArmHubs:
    """HubPort on Azure: one transport, one budget, one client a subscription, made on first use.

    ``clock`` counts seconds, ``now`` is the present moment in UTC.
    """

    def __init__(
        self,
        cloud: Cloud,
        credential: AsyncTokenCredential,
        transport: AsyncHttpTransport[Any, Any],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc_now,
        *,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._transport = transport
        self._arm = Arm(cloud, credential, transport, clock, telemetry)
        self._clients: dict[str, IotHubClient] = {}
        self._diagnostics = HubDiagnostics(self._arm, clock)
        self._solutions = SecuritySolutions(self._arm, now)
        self._data_plane = HubDataPlane(cloud, credential, transport)

    async def list_hubs(self, subscription: str) -> AsyncIterator[JsonObject]:
        """See HubPort."""
        doing = f"listing the hubs of subscription {subscription}"
        path = f"/subscriptions/{subscription}/{_HUBS}"
        async with aclosing(self._arm.pages("GET", path, _VERSION, doing)) as pages:
            while (page := await attempt(doing, _next_hubs(pages))) is not None:
                for body in page:
                    yield body

    async def get_hub(self, hub: HubId) -> JsonObject:
        """See HubPort."""
        doing = f"reading {hub}"
        return await attempt(doing, self._get(hub, doing))

    async def put_hub(
        self, hub: HubId, body: JsonObject, *, etag: str, policies: Sequence[PolicyEdit] = ()
    ) -> Receipt:
        """See HubPort.

        The answer holds keys that nobody sent, so nothing but its status and ids is looked at (RECORDINGS §3.4).
        """
        place = _as_azure_spells_it(hub, body)
        _refuse_keys(hub, body)
        return await attempt(f"writing {hub}", self._put(hub, place, body, etag, policies))

    async def sas_policies(self, hub: HubId) -> JsonObject:
        """See HubPort."""
        doing = _reading_policies(hub)
        return await attempt(doing, self._policies_without_keys(hub, doing))

    async def diagnostics(self, hub: HubId) -> JsonObject:
        """See HubPort."""
        return await self._diagnostics.read(hub)

    async def put_diagnostic_setting(self, hub: HubId, name: str, properties: JsonObject) -> Receipt:
        """See HubPort."""
        return await self._diagnostics.put(hub, name, properties)

    async def subscriptions(self) -> Sequence[str]:
        """See HubPort."""
        return await enabled_subscriptions(self._arm)

    async def read_only_scopes(self, subscription: str) -> Sequence[str]:
        """See HubPort."""
        return await read_only_scopes(self._arm, subscription)

    async def security_solutions(self, subscription: str, *, since: datetime) -> JsonObject:
        """See HubPort."""
        return await self._solutions.read(subscription, since)

    async def put_security_solution(self, solution: str, before: JsonObject | None, after: JsonObject) -> Receipt:
        """See HubPort."""
        return await self._solutions.put(solution, before, after)

    async def query_devices(self, host: str, query: str, continuation: str | None = None) -> Page:
        """See HubPort."""
        return await self._data_plane.query(host, query, continuation)

    # What has keys in its hands is below, and called through attempt() only: an error leaves without its frames.

    async def _get(self, hub: HubId, doing: str) -> JsonObject:
        async with asyncio.timeout_at(deadline()):
            text = await self._client(hub.subscription).iot_hub_resource.get(
                hub.resource_group,
                hub.name,
                cls=lambda response, _model, _headers: response.http_response.text(),
            )
        return cast("JsonObject", redacted_hub(one_object(cast("str", text), doing)))

    async def _put(
        self, hub: HubId, place: tuple[str, str], body: JsonObject, etag: str, edits: Sequence[PolicyEdit]
    ) -> Receipt:
        ends, receipts = deadline(), Receipts()
        if edits:
            body = await self._with_policies(hub, body, edits, ends)
        content = content_of(body, f"writing {hub}")
        async with asyncio.timeout_at(ends):
            await self._client(hub.subscription).iot_hub_resource.begin_create_or_update(
                *place, content, if_match=etag, polling=False, middlewares=(only_once,), raw_response_hook=receipts
            )
        return receipts.last

    async def _with_policies(
        self, hub: HubId, body: JsonObject, edits: Sequence[PolicyEdit], ends: float
    ) -> JsonObject:
        """A copy of the body that holds every policy with its keys, edited."""
        doing, properties = _reading_policies(hub), body.get("properties")
        if not isinstance(properties, dict):
            raise PermanentError(f"writing {hub}: the body has no properties")
        listed = await attempt_first(doing, self._policies_with_keys(hub, doing, ends))
        after = edited(listed, edits, f"editing the shared access policies of {hub}")
        return {**body, "properties": {**properties, "authorizationPolicies": cast("Json", after)}}

    async def _policies_without_keys(self, hub: HubId, doing: str) -> JsonObject:
        return without_keys(await self._policies_with_keys(hub, doing, deadline()), doing)

    async def _policies_with_keys(self, hub: HubId, doing: str, ends: float) -> list[JsonObject]:
        async with asyncio.timeout_at(ends):
            return await self._arm.items("POST", f"{hub.path}/listkeys", _VERSION, doing)

    async def close(self) -> None:
        """Close the transport, which is all that the clients hold open."""
        await self._transport.close()

    def _client(self, subscription: str) -> IotHubClient:
        if subscription not in self._clients:
            from azure.mgmt.iothub.aio import IotHubClient  # noqa: PLC0415 - cold start: 0.2 s on first use only

            self._clients[subscription] = self._arm.client(IotHubClient, subscription)
        return self._clients[subscription]


async def _next_hubs(pages: AsyncGenerator[list[JsonObject]]) -> list[JsonObject] | None:
    """The hubs of the next page without keys, which a list can show; None after the last."""
    async with asyncio.timeout_at(deadline()):
        page = await anext(pages, None)
    return None if page is None else [redacted_hub(body) for body in page]


def _reading_policies(hub: HubId) -> str:
    return f"reading the shared access policies of {hub}"


def _refuse_keys(hub: HubId, body: JsonObject) -> None:
    """A body that goes out is as a GET shows hubs: keys masked, policies absent."""
    content_of(body, f"writing {hub}")
    properties = body.get("properties")
    if isinstance(properties, dict) and any(name.lower() == "authorizationpolicies" for name in properties):
        raise PermanentError(f"writing {hub}: the body holds shared access policies, which no GET shows")


def _as_azure_spells_it(hub: HubId, body: JsonObject) -> tuple[str, str]:
    """Resource group and name in the hub's own casing, so that a write does not change how it is spelled."""
    spelled = str(body.get("id"))
    parts = spelled.strip("/").split("/")
    try:
        ours = len(parts) == 8 and HubId.parse(spelled) == hub  # noqa: PLR2004
    except NotAHubError:
        ours = False
    if not ours:
        raise PermanentError(f"writing {hub}: the body is of another hub: {safe_text(spelled, 200)}")
    return parts[3], parts[7]
