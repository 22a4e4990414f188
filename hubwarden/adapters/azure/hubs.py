"""Hubs through azure-mgmt-iothub, as raw JSON: its models drop what they do not know (AZURE.md §0.5)."""

from __future__ import annotations

import asyncio
import json
import time

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from hubwarden.adapters.azure.calls import attempt, objects, one_object, only_once, pipeline, raw_items
from hubwarden.adapters.azure.cloud import Cloud
from hubwarden.adapters.azure.diagnostics import HubDiagnostics
from hubwarden.adapters.azure.errors import translated
from hubwarden.adapters.azure.policies import edited, without_keys
from hubwarden.adapters.azure.redaction import KEPT_BACK, redacted_hub, safe_text
from hubwarden.domain.hub_id import HubId, NotAHubError
from hubwarden.domain.jsons import Json, JsonObject
from hubwarden.service.errors import PermanentError, TransientError
from hubwarden.service.ports import PolicyEdit


if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AsyncHttpTransport
    from azure.mgmt.iothub.aio import IotHubClient


_SECONDS: Final = 30
"""Longest read or write request; a worker's claim on a fix outlasts it."""


class ArmHubs:
    """HubPort on Azure Resource Manager: one transport, one client a subscription, made on first use."""

    def __init__(
        self,
        cloud: Cloud,
        credential: AsyncTokenCredential,
        transport: AsyncHttpTransport[Any, Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cloud = cloud
        self._credential = credential
        self._transport = transport
        self._clients: dict[str, IotHubClient] = {}
        self._diagnostics = HubDiagnostics(cloud, credential, transport, clock)

    async def list_hubs(self, subscription: str) -> AsyncIterator[JsonObject]:
        """See HubPort."""
        pages: list[Any] = []
        pager = self._client(subscription).iot_hub_resource.list_by_subscription(
            raw_response_hook=lambda response: pages.append(response.http_response)
        )
        doing = f"listing the hubs of subscription {subscription}"
        try:
            async with asyncio.timeout(_SECONDS * 10):
                async for _ in pager.by_page():
                    for body in objects(pages.pop().text(), doing):
                        yield cast("JsonObject", redacted_hub(body))
        except PermanentError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, a port raises its own errors only
            raise translated(error, doing) from None  # the SDK's texts quote whole bodies

    async def get_hub(self, hub: HubId) -> JsonObject:
        """See HubPort."""
        doing = f"reading {hub}"
        try:
            async with asyncio.timeout(_SECONDS):
                text = await self._client(hub.subscription).iot_hub_resource.get(
                    hub.resource_group,
                    hub.name,
                    cls=lambda response, _model, _headers: response.http_response.text(),
                )
            return cast("JsonObject", redacted_hub(one_object(cast("str", text), doing)))
        except PermanentError:
            raise
        except Exception as error:  # noqa: BLE001 - see list_hubs
            raise translated(error, doing) from None

    async def put_hub(
        self, hub: HubId, body: JsonObject, *, etag: str, policies: Sequence[PolicyEdit] = ()
    ) -> None:
        """See HubPort.

        The answer holds keys that nobody sent, so nothing but its status is looked at (RECORDINGS §3.4).
        """
        place = _as_azure_spells_it(hub, body)
        _refuse_keys(hub, body)
        await attempt(f"writing {hub}", self._put(hub, place, body, etag, policies))

    async def sas_policies(self, hub: HubId) -> JsonObject:
        """See HubPort."""
        doing = _reading_policies(hub)
        return await attempt(doing, self._policies_without_keys(hub, doing))

    async def diagnostics(self, hub: HubId) -> JsonObject:
        """See HubPort."""
        return await self._diagnostics.read(hub)

    async def put_diagnostic_setting(self, hub: HubId, name: str, properties: JsonObject) -> None:
        """See HubPort."""
        await self._diagnostics.put(hub, name, properties)

    # What has keys in its hands is below, and called through attempt() only: an error leaves without its frames.

    async def _put(
        self, hub: HubId, place: tuple[str, str], body: JsonObject, etag: str, edits: Sequence[PolicyEdit]
    ) -> None:
        deadline = asyncio.get_running_loop().time() + _SECONDS
        if edits:
            body = await self._with_policies(hub, body, edits, deadline)
        async with asyncio.timeout_at(deadline):
            await self._client(hub.subscription).iot_hub_resource.begin_create_or_update(
                *place, json.dumps(body).encode(), if_match=etag, polling=False, middlewares=(only_once,)
            )

    async def _with_policies(
        self, hub: HubId, body: JsonObject, edits: Sequence[PolicyEdit], deadline: float
    ) -> JsonObject:
        """A copy of the body that holds every policy with its keys, edited."""
        doing, properties = _reading_policies(hub), body.get("properties")
        if not isinstance(properties, dict):
            raise PermanentError(f"writing {hub}: the body has no properties")
        try:
            listed = await attempt(doing, self._policies_with_keys(hub, doing, deadline))
        except TransientError as error:
            raise TransientError(str(error), retry_after=error.retry_after) from None  # the PUT was not sent
        after = edited(listed, edits, f"editing the shared access policies of {hub}")
        return {**body, "properties": {**properties, "authorizationPolicies": cast("Json", after)}}

    async def _policies_without_keys(self, hub: HubId, doing: str) -> JsonObject:
        deadline = asyncio.get_running_loop().time() + _SECONDS
        return without_keys(await self._policies_with_keys(hub, doing, deadline), doing)

    async def _policies_with_keys(self, hub: HubId, doing: str, deadline: float) -> list[JsonObject]:
        async with asyncio.timeout_at(deadline):
            listing = self._client(hub.subscription).iot_hub_resource.list_keys
            return await raw_items(listing, hub.resource_group, hub.name, doing=doing)

    async def close(self) -> None:
        """Close the transport, which is all that the clients hold open."""
        await self._transport.close()

    def _client(self, subscription: str) -> IotHubClient:
        if subscription not in self._clients:
            from azure.mgmt.iothub.aio import IotHubClient  # noqa: PLC0415 - cold start: 0.2 s on first use only

            self._clients[subscription] = IotHubClient(
                self._credential,
                subscription,
                base_url=self._cloud.arm,
                policies=pipeline(self._credential, self._cloud.scope),
                transport=self._transport,
            )
        return self._clients[subscription]


def _reading_policies(hub: HubId) -> str:
    return f"reading the shared access policies of {hub}"


def _refuse_keys(hub: HubId, body: JsonObject) -> None:
    """A body that goes out is as a GET shows hubs: keys masked, policies absent."""
    try:
        content = json.dumps(body, allow_nan=False)
    except ValueError:
        raise PermanentError(f"writing {hub}: its body holds a number that JSON cannot carry") from None
    if KEPT_BACK in content:
        raise PermanentError(f"writing {hub}: Azure showed a key of it in clear; a write would lose that")
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
