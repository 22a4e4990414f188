"""IoT security solutions of Defender for IoT through azure-mgmt-security, as raw JSON."""

from __future__ import annotations

import asyncio
import json
import re

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

from hubwarden.adapters.azure.arm import GROUP, MISSING, OK, SEGMENT, WRITTEN, Arm, failure
from hubwarden.adapters.azure.calls import (
    attempt_elsewhere,
    attempt_first,
    content_of,
    deadline,
    one_object,
    only_once,
    raw_items,
)
from hubwarden.adapters.azure.errors import code_of
from hubwarden.adapters.azure.receipts import receipt_of
from hubwarden.adapters.azure.redaction import redacted, safe_text
from hubwarden.domain.jsons import Json, JsonObject, same
from hubwarden.domain.receipt import Receipt
from hubwarden.service.errors import ConflictError, PermanentError


if TYPE_CHECKING:
    from azure.mgmt.security.v2019_08_01.aio import SecurityCenter


_VERSION: Final = "2019-08-01"
_ID: Final = re.compile(rf"{GROUP}/microsoft\.security/iotsecuritysolutions/{SEGMENT}")
_AZURES: Final = frozenset({"id", "name", "type", "systemData"})
_AZURES_PROPERTIES: Final = frozenset({"autoDiscoveredResources"})


@dataclass(frozen=True, slots=True)
class _Asked:
    """A reading of a subscription, under way or done, and when it began (UTC)."""

    at: datetime
    answer: asyncio.Task[str]

    def serves(self, since: datetime) -> bool:
        """Whether who wants to know how things are since then can have its answer."""
        return self.at >= since and not self._failed

    @property
    def _failed(self) -> bool:
        done = self.answer.done()
        return done and (self.answer.cancelled() or self.answer.exception() is not None)


class SecuritySolutions:
    """IoT security solutions of every subscription: one client each, made on first use.

    The last answer of each subscription is remembered; who comes while it is asked for shares it, failures too.
    """

    def __init__(self, arm: Arm, now: Callable[[], datetime]) -> None:
        self._arm = arm
        self._now = now
        self._clients: dict[str, SecurityCenter] = {}
        self._asked: dict[str, _Asked] = {}

    async def read(self, subscription: str, since: datetime) -> JsonObject:
        """See HubPort.security_solutions."""
        asked = self._asked.get(subscription.lower())
        if asked is None or not asked.serves(since):
            asked = _Asked(self._now(), asyncio.create_task(self._ask(subscription)))
            self._asked[subscription.lower()] = asked
        answer = await asyncio.shield(asked.answer)  # one who goes away takes it from nobody else
        return cast("JsonObject", json.loads(answer))  # each look has its own, whatever becomes of it

    async def put(self, solution: str, before: JsonObject | None, after: JsonObject) -> Receipt:
        """See HubPort.put_security_solution."""
        doing = f"writing the security solution {safe_text(solution, 300)}"
        if not _ID.fullmatch(solution.lower()):
            raise PermanentError(f"{doing}: that is no id of one")
        if str(after.get("id", solution)).lower() != solution.lower():
            raise PermanentError(f"{doing}: the body is of another one")
        content = content_of(_settable(after, doing), doing)
        try:
            return await attempt_elsewhere(doing, self._put(solution, before, content))
        finally:
            self._asked.pop(solution.lower().split("/")[2], None)

    async def _ask(self, subscription: str) -> str:
        doing = f"listing the security solutions of subscription {subscription}"
        return await attempt_elsewhere(doing, self._list(subscription, doing))

    async def _list(self, subscription: str, doing: str) -> str:
        listing = self._client(subscription).iot_security_solution.list_by_subscription
        async with asyncio.timeout_at(deadline()):
            found = await raw_items(listing, doing=doing)
        return json.dumps({"solutions": redacted(cast("Json", found))})

    async def _put(self, solution: str, before: JsonObject | None, content: bytes) -> Receipt:
        ends, doing = deadline(), f"reading the security solution {solution}"
        found = await attempt_first(doing, self._get(solution, doing, ends))
        _check_unchanged(before, found, doing)
        async with asyncio.timeout_at(ends):
            response = await self._arm.send("PUT", solution, _VERSION, content=content, middlewares=(only_once,))
        if response.status_code not in WRITTEN:
            raise failure(response)
        return receipt_of(response.headers)

    async def _get(self, solution: str, doing: str, ends: float) -> JsonObject | None:
        """The solution as ARM shows it, None where there is none. A missing resource group is a failure."""
        async with asyncio.timeout_at(ends):
            response = await self._arm.send("GET", solution, _VERSION)
        if response.status_code == MISSING and code_of(response) == "ResourceNotFound":
            return None
        if response.status_code != OK:
            raise failure(response)
        return cast("JsonObject", redacted(one_object(response.text(), doing)))

    def _client(self, subscription: str) -> SecurityCenter:
        if subscription not in self._clients:
            from azure.mgmt.security.v2019_08_01.aio import SecurityCenter  # noqa: PLC0415 - cold start

            self._clients[subscription] = self._arm.client(SecurityCenter, subscription)
        return self._clients[subscription]


def _check_unchanged(before: JsonObject | None, found: JsonObject | None, doing: str) -> None:
    if before is None and found is not None:
        raise ConflictError(f"{doing}: it exists already")
    if before is not None and found is None:
        raise ConflictError(f"{doing}: it is gone")
    if before is not None and found is not None and not same(_compared(before, doing), _compared(found, doing)):
        raise ConflictError(f"{doing}: it is not as it was")


def _settable(body: JsonObject, doing: str) -> JsonObject:
    """The body without what only Azure sets."""
    properties = body.get("properties")
    if not isinstance(properties, dict):
        raise PermanentError(f"{doing}: the body has no properties")
    kept: dict[str, Any] = {name: value for name, value in properties.items() if name not in _AZURES_PROPERTIES}
    if isinstance(entries := kept.get("recommendationsConfiguration"), list):
        kept["recommendationsConfiguration"] = [_unnamed(entry) for entry in entries]
    return {name: value for name, value in body.items() if name not in _AZURES} | {"properties": kept}


def _unnamed(entry: Any) -> Any:
    """A recommendation without the name that Azure gives it."""
    return {name: value for name, value in entry.items() if name != "name"} if isinstance(entry, dict) else entry


def _compared(body: JsonObject, doing: str) -> JsonObject:
    """What has to be the same before a write: what can be set, and of ids only what they mean."""
    settable = _settable(body, doing)
    properties = cast("JsonObject", settable["properties"])
    ids: JsonObject = {
        name: _lowered(value) for name, value in properties.items() if name in {"iotHubs", "workspace"}
    }
    return {**settable, "id": _lowered(body.get("id")), "properties": properties | ids}


def _lowered(value: Any) -> Any:
    """Resource ids in lower case."""
    if isinstance(value, list):
        return [_lowered(item) for item in value]
    return value.lower() if isinstance(value, str) else value
