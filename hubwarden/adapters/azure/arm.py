"""What all calls to Azure Resource Manager share."""

from __future__ import annotations

import time

from collections.abc import AsyncGenerator, Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from hubwarden.adapters.azure.budget import Budget
from hubwarden.adapters.azure.calls import all_objects, one_object
from hubwarden.adapters.azure.cloud import Cloud
from hubwarden.domain.jsons import JsonObject
from hubwarden.service.errors import PermanentError
from hubwarden.service.telemetry import SILENT, Telemetry


if TYPE_CHECKING:
    from azure.core import AsyncPipelineClient
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AsyncHttpTransport
    from azure.core.rest import AsyncHttpResponse, HttpRequest


SEGMENT: Final = r"(?!\.{1,2}(?:/|\Z))[\w.()-]{1,260}"
"""One name in a resource id; none that climbs."""
GROUP: Final = rf"/subscriptions/[0-9a-z-]{{1,64}}/resourcegroups/{SEGMENT}/providers"
"""How the id of a resource begins, in lower case."""

OK: Final = 200
WRITTEN: Final = (200, 201)
MISSING: Final = 404


class Arm:
    """One endpoint, one credential, one transport and one budget."""

    def __init__(
        self,
        cloud: Cloud,
        credential: AsyncTokenCredential,
        transport: AsyncHttpTransport[Any, Any],
        clock: Callable[[], float] = time.monotonic,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._telemetry = telemetry
        self._cloud = cloud
        self._credential = credential
        self._transport = transport
        self._budget = Budget(clock)

    def client[T](self, kind: Callable[..., T], subscription: str) -> T:
        """One of the SDK's clients, of this class."""
        return kind(
            self._credential,
            subscription,
            base_url=self._cloud.arm,
            policies=self._policies(decode=True),
            transport=self._transport,
        )

    async def send(
        self, method: str, path: str, version: str, *, content: bytes | None = None, **options: Any
    ) -> AsyncHttpResponse:
        """One request; what its answer means is for the caller to say."""
        from azure.core.rest import HttpRequest  # noqa: PLC0415 - cold start

        headers = {"Content-Type": "application/json"} if content else {}
        params = {"api-version": version}
        request = HttpRequest(method, quote(path), params=params, headers=headers, content=content)
        request.url = self._client.format_url(request.url)
        return await self._client.send_request(request, **options)

    async def pages(self, method: str, path: str, version: str, doing: str) -> AsyncGenerator[list[JsonObject]]:
        """The pages of a list as the server sent them.

        The SDK's own lists make models of every item, which drop what they do not know and take as much time as
        the request itself: so lists that are read for every hub are read here.

        Raises:
            PermanentError: an answer is no page of a list, or its link leads elsewhere.
        """
        response = await self.send(method, path, version)
        while True:
            if response.status_code != OK:
                raise failure(response)
            page = one_object(response.text(), doing)
            yield all_objects(page.get("value"), doing)
            link = page.get("nextLink")
            if not link:
                return
            response = await self._follow(str(link), doing)

    async def items(self, method: str, path: str, version: str, doing: str) -> list[JsonObject]:
        """All items of such a list."""
        return [item async for page in self.pages(method, path, version, doing) for item in page]

    async def _follow(self, link: str, doing: str) -> AsyncHttpResponse:
        """GET the next page of a list.

        Raises:
            PermanentError: the link leads elsewhere, where our token has no business.
        """
        from azure.core.rest import HttpRequest  # noqa: PLC0415 - cold start

        if urlsplit(link)[:2] != urlsplit(self._cloud.arm)[:2]:
            raise PermanentError(f"{doing}: the link to the next page leads away from Azure Resource Manager")
        return await self._client.send_request(HttpRequest("GET", link))

    @cached_property
    def _client(self) -> AsyncPipelineClient[HttpRequest, AsyncHttpResponse]:
        from azure.core import AsyncPipelineClient  # noqa: PLC0415 - cold start

        policies = self._policies(decode=False)
        return AsyncPipelineClient(self._cloud.arm, policies=policies, transport=self._transport)

    def _policies(self, *, decode: bool) -> list[Any]:
        from hubwarden.adapters.azure.pipeline import arm_pipeline  # noqa: PLC0415 - cold start

        return arm_pipeline(
            self._credential, self._cloud.scope, self._budget, decode=decode, telemetry=self._telemetry
        )


def failure(response: AsyncHttpResponse) -> Exception:
    """The SDK's error for an answer that is none of the good ones."""
    from azure.core.exceptions import HttpResponseError  # noqa: PLC0415 - cold start

    return HttpResponseError(response=response)
