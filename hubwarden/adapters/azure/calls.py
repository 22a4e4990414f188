"""What every call to Azure goes through: one time limit, one way to fail, and the shapes of bodies."""

from __future__ import annotations

import asyncio
import json

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, cast

from hubwarden.adapters.azure.errors import translated
from hubwarden.adapters.azure.redaction import KEPT_BACK
from hubwarden.domain.jsons import JsonObject
from hubwarden.service.errors import AzureError, HubGoneError, PermanentError, TransientError


if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse


_SECONDS: Final = 30
"""Longest reading or writing; a worker's claim on a fix outlasts it."""


def deadline() -> float:
    """When a reading or writing that begins now must have ended, on the event loop's clock."""
    return asyncio.get_running_loop().time() + _SECONDS


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


async def attempt_elsewhere[T](doing: str, call: Awaitable[T]) -> T:
    """As attempt, but of a call that is about no hub: what is missing is none."""
    try:
        return await attempt(doing, call)
    except HubGoneError as error:
        raise PermanentError(str(error)).with_receipt(error.receipt) from None


async def attempt_first[T](doing: str, call: Awaitable[T]) -> T:
    """As attempt, but of a reading before a write: whatever happens to it, nothing was written."""
    try:
        return await attempt(doing, call)
    except TransientError as error:
        raise TransientError(str(error), retry_after=error.retry_after).with_receipt(error.receipt) from None


async def raw_items(listing: Callable[..., Any], *args: str, doing: str) -> list[JsonObject]:
    """All items of one of the SDK's lists, as the server sent them: its models drop what they do not know."""
    pages: list[str] = []
    items: list[JsonObject] = []
    pager = listing(*args, raw_response_hook=lambda response: pages.append(response.http_response.text()))
    async for _ in pager.by_page():
        items += objects(pages.pop(), doing)
    return items


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


def content_of(body: JsonObject, doing: str) -> bytes:
    """The body as it is sent.

    Raises:
        PermanentError: a key of it was kept back, or it holds what JSON does not know.
    """
    try:
        content = json.dumps(body, allow_nan=False)
    except ValueError:
        raise PermanentError(f"{doing}: its body holds a number that JSON cannot carry") from None
    if KEPT_BACK in content:
        raise PermanentError(f"{doing}: Azure showed a key of it in clear; a write would lose that")
    return content.encode()


def objects(text: str, doing: str) -> list[JsonObject]:
    """The items of one page of a list.

    Raises:
        PermanentError: the text is no such page.
    """
    return all_objects(one_object(text, doing).get("value"), doing)


def all_objects(items: Any, doing: str) -> list[JsonObject]:
    """The items, which are JSON objects.

    Raises:
        PermanentError: they are not, or there is no list of them.
    """
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise PermanentError(f"{doing}: the answer is no list of JSON objects")
    return cast("list[JsonObject]", items)


def one_object(text: str, doing: str) -> JsonObject:
    """The JSON object that the text is.

    Raises:
        PermanentError: it is none.
    """
    body = parsed(text)
    if not isinstance(body, dict):
        raise PermanentError(f"{doing}: the answer is no JSON object")
    return cast("JsonObject", body)


def parsed(text: str) -> Any:
    """The JSON that the text is, or None."""
    try:
        return json.loads(text)
    except ValueError:
        return None
