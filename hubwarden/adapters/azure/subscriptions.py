"""Which subscriptions there are to look at."""

from __future__ import annotations

import asyncio
import re

from collections.abc import Sequence
from typing import Final

from hubwarden.adapters.azure.arm import OK, Arm, failure
from hubwarden.adapters.azure.calls import all_objects, attempt_elsewhere, deadline, one_object
from hubwarden.domain.jsons import JsonObject
from hubwarden.service.errors import PermanentError


_VERSION: Final = "2022-12-01"
_DOING: Final = "listing the subscriptions"
_IN_USE: Final = frozenset({"enabled", "warned", "pastdue"})
"""In these states resources run and can be changed; in the others, Disabled and Deleted, they stand still."""
_ID: Final = re.compile(r"[0-9a-z-]{1,64}")


async def enabled_subscriptions(arm: Arm) -> Sequence[str]:
    """See HubPort.subscriptions."""
    return await attempt_elsewhere(_DOING, _list(arm))


async def _list(arm: Arm) -> Sequence[str]:
    found: set[str] = set()
    async with asyncio.timeout_at(deadline()):
        response = await arm.send("GET", "/subscriptions", _VERSION)
        while True:
            if response.status_code != OK:
                raise failure(response)
            page = one_object(response.text(), _DOING)
            found |= {_id(item) for item in all_objects(page.get("value"), _DOING) if _in_use(item)}
            link = page.get("nextLink")
            if not link:
                return sorted(found)
            response = await arm.follow(str(link), _DOING)


def _in_use(item: JsonObject) -> bool:
    return str(item.get("state")).lower() in _IN_USE


def _id(item: JsonObject) -> str:
    found = item.get("subscriptionId")
    if not isinstance(found, str) or not _ID.fullmatch(found.lower()):
        raise PermanentError(f"{_DOING}: Azure listed a subscription without an id")
    return found.lower()
