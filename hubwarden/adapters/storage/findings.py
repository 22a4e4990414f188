"""Findings in a table: a partition a hub, a row a finding."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.rows import Column, Key, Shape, hub_partition
from hubwarden.adapters.storage.table import Table
from hubwarden.domain.finding import Finding
from hubwarden.domain.hub_id import HubId
from hubwarden.service.ports import Stored


class TableFindings:
    """FindingStore in the table ``hubwardenfindings``."""

    def __init__(self, account: StorageAccount) -> None:
        self._table = Table(account, FINDINGS)

    async def of_hub(self, hub: HubId) -> Sequence[Stored[Finding]]:
        """Every finding that the hub ever had."""
        return [stored async for stored in self._table.values(hub_partition(hub))]

    async def save(self, finding: Finding, etag: str | None) -> str:
        """Write a finding read at this etag, or a new one; see Table.save."""
        return await self._table.save(finding, etag)

    async def find(self, finding_id: str) -> Stored[Finding] | None:
        """The finding of this id, whichever hub's it is; looks through the whole table."""
        async for stored in self._table.named(finding_id):
            return stored
        return None

    async def everything(self) -> AsyncIterator[Finding]:
        """Every finding of every hub."""
        async for stored in self._table.values():
            yield stored.value

    async def waiting(self) -> AsyncIterator[Finding]:
        """The findings whose ticket is due and in trouble."""
        async for stored in self._table.marked("TicketWaits"):
            yield stored.value

    async def limited(self) -> AsyncIterator[Finding]:
        """The findings that a limit holds."""
        async for stored in self._table.marked("Limited"):
            yield stored.value


def _key(finding: Finding) -> Key:
    return hub_partition(finding.hub), finding.id


def _columns(finding: Finding) -> Mapping[str, Column]:
    return {
        "Hub": finding.hub.path,
        "RuleId": finding.rule_id,
        "Subject": finding.subject,
        "Severity": finding.severity.value,
        "State": finding.state.value,
        "Summary": finding.summary,
        "FirstSeen": finding.first_seen,
        "LastSeen": finding.last_seen,
        "Occurrences": finding.occurrences,
        "TicketWaits": True if finding.ticket_due and finding.ticket_trouble else None,
        "Limited": True if finding.limit else None,
    }


FINDINGS: Final = Shape("hubwardenfindings", Finding, _key, _columns)
