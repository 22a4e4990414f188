"""What is kept of each write, in a table: a partition a hub, a row a remediation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Final

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.rows import Column, Key, Shape, hub_partition
from hubwarden.adapters.storage.table import Table
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.remediation import Remediation


class TableRemediations:
    """Remediations in the table ``hubwardenremediations``."""

    def __init__(self, account: StorageAccount) -> None:
        self._table = Table(account, REMEDIATIONS)

    async def keep(self, remediation: Remediation) -> None:
        """See Remediations."""
        await self._table.put(remediation)

    async def find(self, hub: HubId, remediation_id: str) -> Remediation | None:
        """See Remediations."""
        stored = await self._table.get((hub_partition(hub), remediation_id))
        return None if stored is None else stored.value

    async def everything(self) -> AsyncIterator[Remediation]:
        """See Remediations."""
        async for stored in self._table.values():
            yield stored.value

    async def forget(self, before: datetime) -> None:
        """See Remediations."""
        old = [stored.value async for stored in self._table.values() if stored.value.at < before]
        for remediation in old:
            await self._table.delete(_key(remediation))


def _key(remediation: Remediation) -> Key:
    return hub_partition(remediation.hub), remediation.id


def _columns(remediation: Remediation) -> Mapping[str, Column]:
    return {
        "Hub": remediation.hub.path,
        "Rules": ", ".join(remediation.rules),
        "At": remediation.at,
        "Outcome": remediation.outcome.value,
        "Plan": remediation.plan,
    }


REMEDIATIONS: Final = Shape("hubwardenremediations", Remediation, _key, _columns)
