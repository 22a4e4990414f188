"""What every call to Azure Resource Manager goes through: one pipeline, one sending, one way to fail."""

from __future__ import annotations

import json

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from hubwarden.adapters.azure.errors import translated
from hubwarden.domain.jsons import JsonObject
from hubwarden.service.errors import AzureError, PermanentError


if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
    from azure.core.credentials_async import AsyncTokenCredential


async def attempt[T](doing: str, call: Awaitable[T]) -> T:
    """What the call gives, or the port's error, cut off from everything that the call had in its hands.

    The SDK's errors and the frames of the call lead to whole bodies, keys among them. So the error is raised
    without them: no cause, no context, and a traceback that begins here.

    Args:
        doing: what is tried, as in "reading <hub>"; every message begins with it.
        call: does it.

    Raises:
        AzureError: one of its kinds.
    """
    try:
        return await call
    except AzureError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - whatever it is, a port raises its own errors only
        failure = translated(error, doing)
    failure.__context__ = None
    raise failure.with_traceback(None) from None


async def raw_items(listing: Callable[..., Any], *args: str, doing: str) -> list[JsonObject]:
    """All items of one of the SDK's lists, as the server sent them: its models drop what they do not know."""
    pages: list[str] = []
    items: list[JsonObject] = []
    pager = listing(*args, raw_response_hook=lambda response: pages.append(response.http_response.text()))
    async for _ in pager.by_page():
        items += objects(pages.pop(), doing)
    return items


def pipeline(credential: AsyncTokenCredential, scope: str, *, decode: bool = True) -> list[Any]:
    """A pipeline without retries (a delayed message comes back instead) and without redirects.

    Nor does it register resource providers, as the SDK's own does, in subscriptions that are not ours to change.
    The SDK's clients need ``decode``; without it, the body of an answer can be anything.
    """
    from azure.core.pipeline import policies  # noqa: PLC0415 - cold start
    from azure.mgmt.core.policies import AsyncARMChallengeAuthenticationPolicy  # noqa: PLC0415

    return [
        policies.RequestIdPolicy(),
        policies.HeadersPolicy(),
        policies.UserAgentPolicy("hubwarden"),
        *([policies.ContentDecodePolicy()] if decode else []),
        AsyncARMChallengeAuthenticationPolicy(credential, scope),
        policies.CustomHookPolicy(),
    ]


async def only_once(request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
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


def objects(text: str, doing: str) -> list[JsonObject]:
    """The items of one page of a list.

    Raises:
        PermanentError: the text is no such page.
    """
    items = one_object(text, doing).get("value")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise PermanentError(f"{doing}: the answer is no list of JSON objects")
    return cast("list[JsonObject]", items)


def one_object(text: str, doing: str) -> JsonObject:
    """The JSON object that the text is.

    Raises:
        PermanentError: it is none.
    """
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise PermanentError(f"{doing}: the answer is no JSON object")
    return cast("JsonObject", body)
