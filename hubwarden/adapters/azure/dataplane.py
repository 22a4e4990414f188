"""Queries on the data planes of hubs, over REST: Azure's own SDK for that cannot be installed (AZURE.md §0.9)."""

from __future__ import annotations

import asyncio
import json
import re

from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from hubwarden.adapters.azure.arm import OK
from hubwarden.adapters.azure.calls import all_objects, attempt, deadline, parsed
from hubwarden.adapters.azure.cloud import Cloud
from hubwarden.adapters.azure.errors import code_and_message, is_outage, retry_after
from hubwarden.adapters.azure.redaction import safe_text
from hubwarden.service.errors import AzureError, DeniedError, PermanentError, TransientError
from hubwarden.service.ports import Page


if TYPE_CHECKING:
    from azure.core import AsyncPipelineClient
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AsyncHttpTransport
    from azure.core.rest import AsyncHttpResponse, HttpRequest


_PATH: Final = "/devices/query?api-version=2021-04-12"
_LARGEST_PAGE: Final = 1000
_THROTTLED_FOR: Final = timedelta(seconds=10)
"""How long the data plane asks to wait; it sends no Retry-After."""
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){2,6}[a-z]{2,63}", re.ASCII | re.IGNORECASE)
_ERROR: Final = re.compile(r"ErrorCode:(?P<code>[A-Za-z0-9]{1,100});(?P<text>.*)", re.DOTALL)
_READ_TWINS: Final = "Microsoft.Devices/IotHubs/twins/read"
_MISSING: Final = (
    f"what is missing may be the data-plane role IoT Hub Data Reader on the hub (it takes {_READ_TWINS}), or the "
    "hub's network rules keep us out"
)


class HubDataPlane:
    """The data planes of all hubs: one client, made on first use."""

    def __init__(
        self, cloud: Cloud, credential: AsyncTokenCredential, transport: AsyncHttpTransport[Any, Any]
    ) -> None:
        self._cloud = cloud
        self._credential = credential
        self._transport = transport

    async def query(self, host: str, query: str, continuation: str | None) -> Page:
        """See HubPort.query_devices."""
        doing = f"querying the devices of {safe_text(host, 300)}"
        if not (_HOST.fullmatch(host) and host.lower().endswith(self._cloud.hub_suffix)):
            raise PermanentError(f"{doing}: that is no host name of a hub of this cloud")
        return await attempt(doing, self._query(host, query, continuation, doing))

    async def _query(self, host: str, query: str, continuation: str | None, doing: str) -> Page:
        async with asyncio.timeout_at(deadline()):
            response = await self._client.send_request(self._request(host, query, continuation))
        if response.status_code != OK:
            raise _refusal(response, doing)
        rows = all_objects(parsed(response.text()), doing)
        return Page(rows, response.headers.get("x-ms-continuation") or None)

    def _request(self, host: str, query: str, continuation: str | None) -> HttpRequest:
        from azure.core.rest import HttpRequest  # noqa: PLC0415 - cold start

        headers = {"Content-Type": "application/json", "x-ms-max-item-count": str(_LARGEST_PAGE)}
        if continuation is not None:
            headers["x-ms-continuation"] = continuation
        url = self._cloud.data_plane.replace("{hostName}", host) + _PATH
        return HttpRequest("POST", url, headers=headers, content=json.dumps({"query": query}).encode())

    @cached_property
    def _client(self) -> AsyncPipelineClient[HttpRequest, AsyncHttpResponse]:
        from azure.core import AsyncPipelineClient  # noqa: PLC0415 - cold start

        from hubwarden.adapters.azure.pipeline import hub_pipeline  # noqa: PLC0415

        policies = hub_pipeline(self._credential, self._cloud.hubs_scope)
        return AsyncPipelineClient(self._cloud.hubs, policies=policies, transport=self._transport)


def _refusal(response: AsyncHttpResponse, doing: str) -> AzureError:
    """The port's error for an answer that is no page. The code stands in a header, and again in the text."""
    _, message = code_and_message(response)
    coded = _ERROR.fullmatch(message)
    code, text = (coded["code"], coded["text"]) if coded else ("", message)
    status = int(response.status_code)
    said = ": ".join(part for part in (doing, f"{status} {code}".rstrip(), safe_text(text)) if part)
    return _of_status(status, code, text, said, response.headers)


def _of_status(status: int, code: str, text: str, said: str, headers: Mapping[str, str]) -> AzureError:
    match status:
        case 403 if code == "OperationNotAvailableInCurrentTier":
            return PermanentError(f"{said} (hubs of the Basic tiers have no queries)")
        case 403 if code == "IotHubQuotaExceeded":
            return TransientError(said)  # until the day is over, in UTC
        case 401 | 403:
            action = _READ_TWINS if "not authorized" in text.lower() else None
            return DeniedError(f"{said} ({_MISSING})", missing_action=action)
        case 429:
            wait = retry_after(headers, text)
            return TransientError(said, retry_after=_THROTTLED_FOR if wait is None else wait)
        case _ if is_outage(status):
            return TransientError(said, retry_after=retry_after(headers, text))
        case _:
            return PermanentError(said)
