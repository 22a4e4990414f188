"""Which subscriptions there are to look at."""

from __future__ import annotations

import asyncio
import re

from collections.abc import Sequence
from typing import Final

from hubwarden.adapters.azure.arm import Arm
from hubwarden.adapters.azure.calls import attempt_elsewhere, deadline
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
    async with asyncio.timeout_at(deadline()):
        listed = await arm.items("GET", "/subscriptions", _VERSION, _DOING)
    return sorted({_id(item) for item in listed if _in_use(item)})


def _in_use(item: JsonObject) -> bool:
    return str(item.get("state")).lower() in _IN_USE


def _id(item: JsonObject) -> str:
    found = item.get("subscriptionId")
    if not isinstance(found, str) or not _ID.fullmatch(found.lower()):
        raise PermanentError(f"{_DOING}: Azure listed a subscription without an id")
    return found.lower()
