"""Storage in memory behind our own ports: then what is measured is Azure Resource Manager and our own work."""

from __future__ import annotations

import itertools

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hubwarden.domain.finding import Finding
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import Json
from hubwarden.domain.limits import Kill, Ledger, Standing
from hubwarden.domain.remediation import Remediation
from hubwarden.domain.where import Tags
from hubwarden.service.errors import StaleWriteError
from hubwarden.service.messages import Message, Queue
from hubwarden.service.ports import Clock, HubRecord, StateRecord, Stored, SweepRecord, Ticket


class Meter:
    """How often storage was asked, by all stores of a process; each time would be a round trip in Azure."""

    def __init__(self) -> None:
        self.round_trips = 0

    def count(self) -> None:
        """One more."""
        self.round_trips += 1


class Rows[K, V]:
    """Values by key. Each write gives a new etag, and is refused unless it names the one that is there."""

    def __init__(self) -> None:
        self._rows: dict[K, Stored[V]] = {}
        self._numbers = itertools.count(1)

    def get(self, key: K) -> Stored[V] | None:
        """The value with its etag."""
        return self._rows.get(key)

    def write(self, key: K, value: V, etag: str | None) -> str:
        """Write a value read at this etag, or a new one (None), and return the new etag.

        Raises:
            StaleWriteError: the row is not as it was.
        """
        before = self._rows.get(key)
        if (before.etag if before else None) != etag:
            raise StaleWriteError(str(key))
        written = Stored(value, f'W/"{next(self._numbers)}"')
        self._rows[key] = written
        return written.etag

    def delete(self, key: K) -> None:
        """Forget the row; nothing happens where there is none."""
        self._rows.pop(key, None)

    def values(self) -> list[Stored[V]]:
        """Every row as it is now."""
        return list(self._rows.values())


class MemoryFindings:
    """FindingStore."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._hubs: dict[HubId, Rows[str, Finding]] = {}

    async def of_hub(self, hub: HubId) -> Sequence[Stored[Finding]]:
        """See FindingStore."""
        self._meter.count()
        rows = self._hubs.get(hub)
        return rows.values() if rows else []

    async def find(self, finding_id: str) -> Stored[Finding] | None:
        """See FindingStore."""
        self._meter.count()
        found = (rows.get(finding_id) for rows in self._hubs.values())
        return next((stored for stored in found if stored is not None), None)

    async def save(self, finding: Finding, etag: str | None) -> str:
        """See FindingStore."""
        self._meter.count()
        return self._hubs.setdefault(finding.hub, Rows()).write(finding.id, finding, etag)

    async def everything(self) -> AsyncIterator[Finding]:
        """See FindingStore."""
        self._meter.count()
        for rows in list(self._hubs.values()):
            for stored in rows.values():
                yield stored.value

    async def limited(self) -> AsyncIterator[Finding]:
        """See FindingStore."""
        async for finding in self.everything():
            if finding.limit:
                yield finding

    async def waiting(self) -> AsyncIterator[Finding]:
        """See FindingStore."""
        async for finding in self.everything():
            if finding.ticket_due and finding.ticket_trouble:
                yield finding


class MemoryHubs:
    """HubStore."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._subscriptions: dict[str, Rows[HubId, HubRecord]] = {}
        self._sweeps: list[SweepRecord] = []

    async def get(self, hub: HubId) -> Stored[HubRecord] | None:
        """See HubStore."""
        self._meter.count()
        return self._of(hub.subscription).get(hub)

    async def save(self, record: HubRecord, etag: str | None) -> str:
        """See HubStore."""
        self._meter.count()
        return self._of(record.hub.subscription).write(record.hub, record, etag)

    async def forget(self, hub: HubId) -> None:
        """See HubStore."""
        self._meter.count()
        self._of(hub.subscription).delete(hub)

    async def of_subscription(self, subscription: str) -> AsyncIterator[HubRecord]:
        """See HubStore."""
        self._meter.count()
        for stored in self._of(subscription).values():
            yield stored.value

    async def subscriptions(self) -> Sequence[str]:
        """See HubStore."""
        self._meter.count()
        return sorted(subscription for subscription, rows in self._subscriptions.items() if rows.values())

    async def standing(self, rule_id: str, counts: Callable[[HubId, Tags | None], bool]) -> Standing:
        """See HubStore."""
        self._meter.count()
        rows = (row.value for rows in self._subscriptions.values() for row in rows.values())
        known = [record for record in rows if record.looked_at is not None and counts(record.hub, record.tags)]
        drifting = (record.hub for record in known if record.verdicts.get(rule_id) == "drift")
        return Standing(len(known), frozenset(drifting))

    async def add_sweep(self, sweep: SweepRecord) -> None:
        """See HubStore."""
        self._meter.count()
        self._sweeps.append(sweep)

    async def last_sweep(self) -> SweepRecord | None:
        """See HubStore."""
        self._meter.count()
        return max(self._sweeps, key=lambda sweep: sweep.started_at, default=None)

    def _of(self, subscription: str) -> Rows[HubId, HubRecord]:
        return self._subscriptions.setdefault(subscription, Rows())


class MemoryWork:
    """WorkQueue whose messages nobody takes; what a sweep leaves to do is counted, not done."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._sent: dict[str, int] = {}

    async def send(self, message: Message, *, delay: timedelta = timedelta(0)) -> None:  # noqa: ARG002
        """See WorkQueue."""
        self._meter.count()
        self._count(type(message).__name__)

    async def send_to_poison(self, queue: Queue, text: str) -> None:  # noqa: ARG002
        """See WorkQueue."""
        self._meter.count()
        self._count(f"{queue}-poison")

    async def put_back(self, queue: Queue, text: str, *, delay: timedelta) -> None:  # noqa: ARG002
        """See WorkQueue."""
        self._meter.count()
        self._count(queue.value)

    async def depths(self) -> Mapping[str, int]:
        """See WorkQueue."""
        self._meter.count()
        return dict(self._sent)

    def _count(self, name: str) -> None:
        self._sent[name] = self._sent.get(name, 0) + 1


class MemoryAudit:
    """AuditTrail."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.lines: list[tuple[str, dict[str, Json]]] = []

    async def append(self, kind: str, details: Mapping[str, Json]) -> None:
        """See AuditTrail."""
        self._meter.count()
        self.lines.append((kind, dict(details)))


class MemoryTickets:
    """TicketSystem."""

    system = "memory"

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._tickets: dict[str, Ticket] = {}

    async def open(self, ticket: Ticket) -> None:
        """See TicketSystem."""
        self._meter.count()
        old = self._tickets.get(ticket.key)
        again = old.occurrences + (not old.is_open) if old else 1
        self._tickets[ticket.key] = replace(ticket, is_open=True, occurrences=again)

    async def close(self, key: str, note: str, at: datetime) -> bool:
        """See TicketSystem."""
        self._meter.count()
        old = self._tickets.get(key)
        if old is None or not old.is_open:
            return False
        self._tickets[key] = replace(old, is_open=False, closing_note=note, changed_at=at)
        return True

    async def find_by_key(self, key: str) -> Ticket | None:
        """See TicketSystem."""
        self._meter.count()
        return self._tickets.get(key)


class MemorySafety:
    """SafetyStore."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._kill: Rows[str, Kill] = Rows()
        self._ledger: Rows[str, Ledger] = Rows()

    async def kill(self) -> Stored[Kill] | None:
        """See SafetyStore."""
        self._meter.count()
        return self._kill.get("")

    async def save_kill(self, kill: Kill, etag: str | None) -> str:
        """See SafetyStore."""
        self._meter.count()
        return self._kill.write("", kill, etag)

    async def stop(self, kill: Kill) -> None:
        """See SafetyStore."""
        self._meter.count()
        stored = self._kill.get("")
        self._kill.write("", kill, stored.etag if stored else None)

    async def ledger(self) -> Stored[Ledger] | None:
        """See SafetyStore."""
        self._meter.count()
        return self._ledger.get("")

    async def save_ledger(self, ledger: Ledger, etag: str | None) -> str:
        """See SafetyStore."""
        self._meter.count()
        return self._ledger.write("", ledger, etag)


class MemoryRemediations:
    """Remediations. A sweep writes none, and forgets the old ones."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._kept: dict[str, Remediation] = {}

    async def keep(self, remediation: Remediation) -> None:
        """See Remediations."""
        self._meter.count()
        self._kept[remediation.id] = remediation

    async def find(self, hub: HubId, remediation_id: str) -> Remediation | None:  # noqa: ARG002
        """See Remediations."""
        self._meter.count()
        return self._kept.get(remediation_id)

    async def everything(self) -> AsyncIterator[Remediation]:
        """See Remediations."""
        self._meter.count()
        for remediation in [*self._kept.values()]:
            yield remediation

    async def forget(self, before: datetime) -> None:
        """See Remediations."""
        self._meter.count()
        self._kept = {id_: kept for id_, kept in self._kept.items() if kept.at >= before}


class MemorySchema:
    """StateSchema of a state that is as this app writes it."""

    newest = first = 1

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._rows = Rows[str, StateRecord]()

    async def record(self) -> Stored[StateRecord] | None:
        """See StateSchema."""
        self._meter.count()
        return self._rows.get("")

    async def save(self, record: StateRecord, etag: str | None) -> str:
        """See StateSchema."""
        self._meter.count()
        return self._rows.write("", record, etag)

    async def upgrade(self, clock: Clock, until: datetime) -> bool:
        """See StateSchema; it never gets here."""
        raise NotImplementedError(f"{clock} {until}")
