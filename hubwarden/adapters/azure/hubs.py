"""Hubs through azure-mgmt-iothub, as raw JSON: its models drop what they do not know (AZURE.md §0.5)."""

from __future__ import annotations

import asyncio
import json

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, cast

from hubwarden.adapters.azure.cloud import Cloud
from hubwarden.adapters.azure.errors import translated
from hubwarden.adapters.azure.redaction import redacted
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import Json, JsonObject
from hubwarden.service.errors import PermanentError


if TYPE_CHECKING:
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
                    for body in cast("list[Json]", _object(pages.pop().text(), doing).get("value") or []):
                        yield cast("JsonObject", redacted(body))
        except PermanentError:
            raise
        except Exception as error:
            raise translated(error, doing) from error

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
        except Exception as error:
            raise translated(error, doing) from error
        return cast("JsonObject", redacted(_object(cast("str", text), doing)))

    async def put_hub(self, hub: HubId, body: JsonObject, *, etag: str) -> None:
        """See HubPort.

        The answer holds keys that nobody sent, so nothing but its status is looked at (RECORDINGS §3.4).
        """
        resource_group, name = _as_azure_spells_it(hub, body)
        try:
            async with asyncio.timeout(_SECONDS):
                await self._client(hub.subscription).iot_hub_resource.begin_create_or_update(
                    resource_group, name, json.dumps(body).encode(), if_match=etag, polling=False
                )
        except Exception as error:
            raise translated(error, f"writing {hub}") from error

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
    parts = str(body.get("id", "")).strip("/").split("/")
    if len(parts) == 8 and HubId.parse(str(body["id"])) == hub:  # noqa: PLR2004
        return parts[3], parts[7]
    raise PermanentError(f"writing {hub}: the body is of another hub: {body.get('id')!r}")
