"""Diagnostic settings of hubs through azure-mgmt-monitor, as raw JSON, and where they send to."""

from __future__ import annotations

import asyncio
import json
import re
import time

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote

from hubwarden.adapters.azure.arm import GROUP, MISSING, OK, SEGMENT, WRITTEN, Arm, failure
from hubwarden.adapters.azure.calls import attempt, content_of, deadline, only_once, raw_items
from hubwarden.adapters.azure.errors import code_of
from hubwarden.adapters.azure.receipts import receipt_of
from hubwarden.adapters.azure.redaction import redacted, safe_text
from hubwarden.adapters.azure.remembered import Remembered
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import Json, JsonObject
from hubwarden.domain.receipt import Receipt
from hubwarden.service.errors import AzureError, HubGoneError, PermanentError


if TYPE_CHECKING:
    from azure.core.rest import AsyncHttpResponse
    from azure.mgmt.monitor.v2021_05_01_preview.aio import MonitorManagementClient


_SECONDS_PER_DESTINATION: Final = 10
_VERSION: Final = "2021-05-01-preview"
_SETTINGS: Final = "providers/microsoft.insights/diagnosticSettings"
_CATEGORIES_KEEP: Final = timedelta(hours=24)
_DESTINATIONS_KEEP: Final = timedelta(minutes=10)

_DENIED: Final = 403
_MISSING_CODES: Final = frozenset({"ResourceNotFound", "ResourceGroupNotFound"})
_NAME: Final = re.compile(r"(?!\.{1,2}\Z)[^\x00-\x1f\x7f/\\?#%&<>:*+]{1,260}")
_SINKS: Final = {
    "workspaceId": (rf"{GROUP}/microsoft\.operationalinsights/workspaces/{SEGMENT}", "2023-09-01"),
    "storageAccountId": (rf"{GROUP}/microsoft\.storage/storageaccounts/{SEGMENT}", "2023-05-01"),
    "eventHubAuthorizationRuleId": (
        rf"{GROUP}/microsoft\.eventhub/namespaces/{SEGMENT}/authorizationrules/{SEGMENT}",
        "2024-01-01",
    ),
}
"""The destinations that can be looked at: the form of their ids in lower case, and their api-version."""


class HubDiagnostics:
    """Diagnostic settings of every hub: one client for all subscriptions, made on first use.

    The log categories that one hub shows stand for all hubs of its subscription for a day. Whether a destination
    exists is remembered for ten minutes, and so is that we may not know.
    """

    def __init__(self, arm: Arm, clock: Callable[[], float] = time.monotonic) -> None:
        self._arm = arm
        self._categories: Remembered[str] = Remembered(_CATEGORIES_KEEP, clock)
        self._destinations: Remembered[str | None] = Remembered(_DESTINATIONS_KEEP, clock)

    async def read(self, hub: HubId) -> JsonObject:
        """See HubPort.diagnostics."""
        doing = f"reading the diagnostic settings of {hub}"
        return await attempt(doing, self._read(hub, doing))

    async def put(self, hub: HubId, name: str, properties: JsonObject) -> Receipt:
        """See HubPort.put_diagnostic_setting. There are no etags: the last writer wins (RECORDINGS §6)."""
        doing = f"writing the diagnostic setting {safe_text(name, 100)} of {hub}"
        if not _NAME.fullmatch(name):
            raise PermanentError(f"{doing}: that is no name for one")
        content = content_of({"properties": properties}, doing)
        try:
            return await attempt(doing, self._put(hub, name, content))
        except HubGoneError as error:
            if not _means_the_hub(str(error).removeprefix(doing).lower(), hub):
                other = PermanentError(f"{error} (a destination is missing, not the hub)")
                raise other.with_receipt(error.receipt) from None
            raise

    async def _read(self, hub: HubId, doing: str) -> JsonObject:
        async with asyncio.timeout_at(deadline()):
            settings = await self._arm.items("GET", f"{hub.path}/{_SETTINGS}", _VERSION, doing)
            categories = await self._categories.get(hub.subscription, lambda: self._ask_categories(hub))
        destinations = await self._existence(settings)
        return {
            "settings": redacted(cast("Json", settings)),
            "categories": json.loads(categories),  # each hub has its own, whatever becomes of it
            "destinations": destinations,
        }

    async def _ask_categories(self, hub: HubId) -> str:
        doing = f"reading the log categories of {hub}"
        listing = self._monitor.diagnostic_settings_category.list
        items = await attempt(doing, raw_items(listing, _uri(hub), doing=doing))
        return json.dumps(dict(_log_categories(items, doing)))

    async def _existence(self, settings: Sequence[JsonObject]) -> JsonObject:
        named = dict(_sinks(settings))
        answers = await asyncio.gather(*(self._look(path, version) for path, version in named.items()))
        return {path: answer for path, answer in zip(named, answers, strict=True) if answer is not None}

    async def _look(self, path: str, version: str) -> str | None:
        """Whether the destination "exists" or is "gone"; None where that could not be found out."""
        try:
            async with asyncio.timeout(_SECONDS_PER_DESTINATION):
                ask = self._destinations.get(path, lambda: self._ask_destination(path, version))
                return await attempt(f"reading {path}", ask)
        except (AzureError, TimeoutError):
            return None

    async def _ask_destination(self, path: str, version: str) -> str | None:
        response = await self._arm.send("GET", path, version)
        if _says_gone(response):
            response = await self._arm.send("GET", path, version)  # one 404 alone can be a slip of ARM's
        if response.status_code == OK:
            return "exists"
        if _says_gone(response):
            return "gone"
        if response.status_code == _DENIED:
            return None  # it stays like that for a while, so it is worth remembering
        raise failure(response)

    async def _put(self, hub: HubId, name: str, content: bytes) -> Receipt:
        path = f"{hub.path}/{_SETTINGS}/{name}"
        async with asyncio.timeout_at(deadline()):
            response = await self._arm.send("PUT", path, _VERSION, content=content, middlewares=(only_once,))
        if response.status_code not in WRITTEN:
            raise failure(response)
        return receipt_of(response.headers)

    @cached_property
    def _monitor(self) -> MonitorManagementClient:
        from azure.mgmt.monitor.v2021_05_01_preview.aio import MonitorManagementClient  # noqa: PLC0415 - cold start

        return self._arm.client(MonitorManagementClient, "any")  # asked for is by whole resource ids


def _says_gone(response: AsyncHttpResponse) -> bool:
    return response.status_code == MISSING and code_of(response) in _MISSING_CODES


def _uri(hub: HubId) -> str:
    return quote(hub.path.lstrip("/"))  # the SDK puts a slash before it, and does not quote it


def _log_categories(items: Sequence[JsonObject], doing: str) -> Iterator[tuple[str, Json]]:
    for item in items:
        name, properties = item.get("name"), item.get("properties")
        if not isinstance(name, str) or not isinstance(properties, dict):
            raise PermanentError(f"{doing}: Azure listed a category without a name or properties")
        if str(properties.get("categoryType")).lower() == "logs":
            groups = properties.get("categoryGroups") or []
            yield name, [group for group in groups if isinstance(group, str)] if isinstance(groups, list) else []


def _sinks(settings: Sequence[JsonObject]) -> Iterator[tuple[str, str]]:
    """Each destination that can be looked at, in lower case, with its api-version."""
    for setting in settings:
        properties = setting.get("properties")
        for member, (form, version) in _SINKS.items():
            sink = properties.get(member) if isinstance(properties, dict) else None
            if isinstance(sink, str) and re.fullmatch(form, sink.lower()):
                yield sink.lower(), version


def _means_the_hub(said: str, hub: HubId) -> bool:
    """Whether a 404 is about the hub; a missing destination has the same code."""
    group = "resourcegroupnotfound" in said and f"'{hub.resource_group}'" in said
    return group or f"iothubs/{hub.name}'" in said
