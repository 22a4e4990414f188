"""What is remembered of hubs and of sweeps, in two tables."""

from __future__ import annotations

import json

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.rows import Column, Key, Shape
from hubwarden.adapters.storage.table import Table
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.limits import Standing
from hubwarden.domain.where import Tags
from hubwarden.service.ports import HubRecord, Stored, SweepRecord


_SWEEPS: Final = "sweeps"


class TableHubs:
    """HubStore in the tables ``hubwardenhubs`` and ``hubwardensweeps``."""

    def __init__(self, account: StorageAccount) -> None:
        self._hubs = Table(account, HUBS)
        self._sweeps = Table(account, SWEEPS)

    async def get(self, hub: HubId) -> Stored[HubRecord] | None:
        """The hub's record, or None where it was never looked at."""
        return await self._hubs.get(_hub_key(hub))

    async def save(self, record: HubRecord, etag: str | None) -> str:
        """Write a record read at this etag, or a new one; see Table.save."""
        return await self._hubs.save(record, etag)

    async def forget(self, hub: HubId) -> None:
        """Drop the record of a hub that is gone; nothing happens where there is none."""
        await self._hubs.delete(_hub_key(hub))

    async def subscriptions(self) -> Sequence[str]:
        """The subscriptions that have records, sorted."""
        return await self._hubs.partitions()

    async def of_subscription(self, subscription: str) -> AsyncIterator[HubRecord]:
        """The records of a subscription's hubs."""
        async for stored in self._hubs.values(subscription.lower()):
            yield stored.value

    async def standing(self, rule_id: str, counts: Callable[[HubId, Tags | None], bool]) -> Standing:
        """See HubStore; one query of a few short columns, whatever else the rows hold."""
        looked_at, drifting = 0, set()
        async for row in self._hubs.columns("Hub", "LookedAt", "Drifts", "Tags"):
            hub = HubId.parse(row["Hub"])
            if "LookedAt" not in row or not counts(hub, _tags(row.get("Tags"))):
                continue
            looked_at += 1
            if rule_id in row.get("Drifts", "").split():
                drifting.add(hub)
        return Standing(looked_at, frozenset(drifting))

    async def add_sweep(self, sweep: SweepRecord) -> None:
        """Remember a sweep; its start names it, so that adding it again changes nothing."""
        await self._sweeps.put(sweep)

    async def last_sweep(self) -> SweepRecord | None:
        """The sweep that began last."""
        async for stored in self._sweeps.values(_SWEEPS, page=1):
            return stored.value
        return None


def _tags(column: str | None) -> Tags | None:
    """The tags as the column tells them; a column that was cut, or is older than they are, tells nothing."""
    try:
        return None if column is None else dict(json.loads(column))
    except ValueError:
        return None


def _hub_key(hub: HubId) -> Key:
    return hub.subscription, f"{hub.resource_group}|{hub.name}"


def _hub_columns(record: HubRecord) -> Mapping[str, Column]:
    return {
        "Hub": record.hub.path,
        "LookedAt": record.looked_at,
        "Verdicts": ", ".join(f"{rule}: {verdict}" for rule, verdict in record.verdicts.items()),
        "Drifts": " ".join(rule for rule, verdict in record.verdicts.items() if verdict == "drift"),
        "Tags": None if record.tags is None else json.dumps(dict(record.tags)),
    }


def _sweep_key(sweep: SweepRecord) -> Key:
    """Rows come in the order of their keys: microseconds left until the end of time put the newest first."""
    left = datetime.max.replace(tzinfo=UTC) - sweep.started_at
    return _SWEEPS, f"{left // timedelta(microseconds=1):018d}"


def _sweep_columns(sweep: SweepRecord) -> Mapping[str, Column]:
    return {
        "StartedAt": sweep.started_at,
        "FinishedAt": sweep.finished_at,
        "Complete": sweep.complete,
        "Summary": sweep.summary,
    }


HUBS: Final = Shape("hubwardenhubs", HubRecord, lambda record: _hub_key(record.hub), _hub_columns)
SWEEPS: Final = Shape("hubwardensweeps", SweepRecord, _sweep_key, _sweep_columns)
