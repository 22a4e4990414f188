"""Hubs through azure-mgmt-iothub, as raw JSON: its models drop what they do not know (AZURE.md §0.5)."""

from __future__ import annotations

import asyncio
import json

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, cast

from hubwarden.adapters.azure.cloud import Cloud
from hubwarden.adapters.azure.errors import translated
from hubwarden.adapters.azure.redaction import KEPT_BACK, redacted_hub, safe_text
from hubwarden.domain.hub_id import HubId, NotAHubError
from hubwarden.domain.jsons import JsonObject
from hubwarden.service.errors import PermanentError


if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AsyncHttpTransport
    from azure.mgmt.iothub.aio import IotHubClient


_SECONDS: Final = 30
"""Longest read or write request; a worker's claim on a fix outlasts it."""


class ArmHubs:
    """HubPort on Azure Resource Manager: one transport, one client a subscription, made on first use."""

    def __init__(
        self, cloud: Cloud, credential: AsyncTokenCredential, transport: AsyncHttpTransport[Any, Any]
    ) -> None:
        self._cloud = cloud
        self._credential = credential
        self._transport = transport
        self._clients: dict[str, IotHubClient] = {}

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
                    for body in _objects(pages.pop().text(), doing):
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
            return cast("JsonObject", redacted_hub(_object(cast("str", text), doing)))
        except PermanentError:
            raise
        except Exception as error:  # noqa: BLE001 - see list_hubs
            raise translated(error, doing) from None

    async def put_hub(self, hub: HubId, body: JsonObject, *, etag: str) -> None:
        """See HubPort.

        The answer holds keys that nobody sent, so nothing but its status is looked at (RECORDINGS §3.4).
        """
        resource_group, name = _as_azure_spells_it(hub, body)
        try:
            content = json.dumps(body, allow_nan=False)
        except ValueError:
            raise PermanentError(f"writing {hub}: its body holds a number that JSON cannot carry") from None
        if KEPT_BACK in content:
            raise PermanentError(f"writing {hub}: Azure showed a key of it in clear; a write would lose that")
        try:
            async with asyncio.timeout(_SECONDS):
                await self._client(hub.subscription).iot_hub_resource.begin_create_or_update(
                    resource_group,
                    name,
                    content.encode(),
                    if_match=etag,
                    polling=False,
                    middlewares=(_only_once,),
                )
        except Exception as error:  # noqa: BLE001 - see list_hubs
            raise translated(error, f"writing {hub}") from None

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
                policies=_policies(self._credential, self._cloud.scope),
                transport=self._transport,
            )
        return self._clients[subscription]


def _policies(credential: AsyncTokenCredential, scope: str) -> list[Any]:
    """A pipeline without retries (a delayed message comes back instead) and without redirects.

    Nor does it register resource providers, as the SDK's own does, in subscriptions that are not ours to change.
    """
    from azure.core.pipeline import policies  # noqa: PLC0415
    from azure.mgmt.core.policies import AsyncARMChallengeAuthenticationPolicy  # noqa: PLC0415

    return [
        policies.RequestIdPolicy(),
        policies.HeadersPolicy(),
        policies.UserAgentPolicy("hubwarden"),
        policies.ContentDecodePolicy(),
        AsyncARMChallengeAuthenticationPolicy(credential, scope),
        policies.CustomHookPolicy(),
    ]


async def _only_once(request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from sending a PUT again when its connection breaks: the first may have taken effect.

    The second would be refused then, as of a hub that is busy, and nobody would know who changed it.
    """
    import aiohttp  # noqa: PLC0415 - cold start

    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(str(error)) from error


def _objects(text: str, doing: str) -> list[JsonObject]:
    hubs = _object(text, doing).get("value")
    if not isinstance(hubs, list) or not all(isinstance(hub, dict) for hub in hubs):
        raise PermanentError(f"{doing}: the answer is no list of JSON objects")
    return cast("list[JsonObject]", hubs)


def _object(text: str, doing: str) -> JsonObject:
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise PermanentError(f"{doing}: the answer is no JSON object")
    return cast("JsonObject", body)


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
