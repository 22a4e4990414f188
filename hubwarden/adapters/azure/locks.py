"""The locks of a subscription."""

from __future__ import annotations

import asyncio

from collections.abc import Sequence
from typing import Final

from hubwarden.adapters.azure.arm import Arm
from hubwarden.adapters.azure.calls import attempt_elsewhere, deadline
from hubwarden.domain.jsons import JsonObject


_VERSION: Final = "2016-09-01"
_LOCKS: Final = "/providers/microsoft.authorization/locks/"


async def read_only_scopes(arm: Arm, subscription: str) -> Sequence[str]:
    """See HubPort."""
    doing = f"reading the locks of subscription {subscription}"
    return await attempt_elsewhere(doing, _list(arm, subscription, doing))


async def _list(arm: Arm, subscription: str, doing: str) -> Sequence[str]:
    path = f"/subscriptions/{subscription}/providers/Microsoft.Authorization/locks"
    async with asyncio.timeout_at(deadline()):
        listed = await arm.items("GET", path, _VERSION, doing)
    return sorted({_scope(item) for item in listed if _is_read_only(item)} - {""})


def _is_read_only(item: JsonObject) -> bool:
    properties = item.get("properties")
    return isinstance(properties, dict) and str(properties.get("level")).lower() == "readonly"


def _scope(item: JsonObject) -> str:
    """What the lock is on: its own id says it."""
    return str(item.get("id")).lower().rpartition(_LOCKS)[0]
