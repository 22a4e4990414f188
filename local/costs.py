"""``python -m local.costs``: what a month costs, worked out from what the service does, for docs/costs.md.

Counts come from the benchmark (docs/benchmark.md) and from the code; what is only assumed says so. Prices are list
prices in US dollars that change and differ by region: put in your own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


_SECONDS_A_MONTH: Final = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Prices:
    """List prices, pay as you go, East US, in US dollars, as known in November 2026; not asked of Azure."""

    gb_second: float = 0.000026
    """Flex Consumption, on demand: memory of an instance while it works."""
    ready_gb_second: float = 0.000004
    """Flex Consumption, always ready: memory of an instance, working or not."""
    million_executions: float = 0.40
    table_10k: float = 0.00036
    queue_10k: float = 0.004
    blob_write_10k: float = 0.055
    event_grid_million: float = 0.60
    log_gb: float = 2.30
    quick_alert: float = 1.50
    """A log search alert that is evaluated every 5 minutes."""
    alert: float = 0.50
    """One that is evaluated every 15 minutes, or less often."""
    private_endpoint: float = 7.30
    dns_zone: float = 0.50


@dataclass(frozen=True, slots=True)
class Free:
    """What a subscription has free each month. Always-ready instances have no such grant."""

    gb_seconds: float = 100_000
    executions: float = 250_000
    event_grid_operations: float = 100_000
    log_gb: float = 5


NOTHING_FREE: Final = Free(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Use:
    """What a deployment does in a month.

    ``changes`` are writes to one hub that Azure tells of; assumed. ``ready_instances`` are kept of each function
    that ``warm`` in ``infra/modules/app.bicep`` names.
    """

    hubs: int
    sweep_minutes: int = 15
    changes: int = 30
    quick_alerts: int = 1
    alerts: int = 8
    ready_instances: int = 0
    warm_functions: int = 2
    private_endpoints: int = 0
    memory_gb: float = 2

    @property
    def sweeps(self) -> float:
        """How often every hub is looked at."""
        return _SECONDS_A_MONTH / 60 / self.sweep_minutes

    @property
    def events(self) -> float:
        """Events that reach the app."""
        return float(self.hubs * self.changes)

    @property
    def sweep_seconds(self) -> float:
        """Of one sweep: 4.5 s for 1,000 hubs on a workstation with Azurite, doubled, for Azure is farther."""
        return max(1, 2 + self.hubs * 0.009)

    @property
    def busy_seconds(self) -> float:
        """Seconds of work: each sweep and reading of dead letters; each event, its look, what follows."""
        shortest = 1  # the platform bills at least a second for each execution
        return self.sweeps * (self.sweep_seconds + shortest) + self.events * 3 * shortest

    @property
    def executions(self) -> float:
        """Function executions: two timers, and for an event its function, its look, and what follows from it."""
        return self.sweeps * 2 + self.events * 3

    @property
    def table_calls(self) -> float:
        """3.15 a hub and sweep (benchmark), six for a look after an event."""
        return self.sweeps * self.hubs * 3.15 + self.events * 6

    @property
    def queue_calls(self) -> float:
        """Four for each message, and the platform's polling of twelve queues, twice a minute; that is assumed."""
        return self.events * 3 * 4 + 12 * 2 * _SECONDS_A_MONTH / 60

    @property
    def blob_writes(self) -> float:
        """Each run of a timer writes its status and renews its lock (assumed: eight); each event is a line."""
        return self.sweeps * 2 * 8 + self.events

    @property
    def log_gb(self) -> float:
        """16 KB a sweep, 16 KB an event, 6 KB a minute of an instance (docs/telemetry.md); the host's: as much."""
        minutes = _SECONDS_A_MONTH / 60  # assumed: one instance is awake all the time
        return 2 * (self.sweeps * 16 + self.events * 16 + minutes * 6) / 1e6


def lines(use: Use, prices: Prices = Prices(), free: Free = Free()) -> Iterator[tuple[str, float]]:
    """The lines of the bill: what for, and US dollars a month."""
    work = use.busy_seconds * use.memory_gb
    yield "work of the functions", _over(work, free.gb_seconds) * prices.gb_second
    yield "function executions", _over(use.executions, free.executions) / 1e6 * prices.million_executions
    yield "tables", use.table_calls / 1e4 * prices.table_10k
    yield "queues", use.queue_calls / 1e4 * prices.queue_10k
    yield "blobs", use.blob_writes / 1e4 * prices.blob_write_10k
    operations = _over(use.events * 3, free.event_grid_operations)
    yield "Event Grid", operations / 1e6 * prices.event_grid_million
    yield "logs and metrics", _over(use.log_gb, free.log_gb) * prices.log_gb
    yield "alerts", use.quick_alerts * prices.quick_alert + use.alerts * prices.alert
    ready = use.ready_instances * use.warm_functions * use.memory_gb * _SECONDS_A_MONTH
    yield "always-ready instances", ready * prices.ready_gb_second
    yield "private endpoints and DNS zones", use.private_endpoints * (prices.private_endpoint + prices.dns_zone)


def _over(used: float, free: float) -> float:
    return max(0.0, used - free)


def table() -> str:
    """The table of docs/costs.md, as Markdown: nothing is taken off for what is free, but in the last row."""
    uses = (Use(10), Use(100), Use(1000), Use(1000, ready_instances=1, private_endpoints=4))
    names = ("10 hubs", "100 hubs", "1,000 hubs", "1,000 hubs, private, one always ready")
    bills = [dict(lines(use, free=NOTHING_FREE)) for use in uses]
    rows = [(item, *(f"{bill[item]:.2f}" for bill in bills)) for item in bills[0]]
    whole = ("**all**", *(f"**{sum(bill.values()):.0f}**" for bill in bills))
    less = ("after what is free each month", *(f"{sum(dict(lines(use)).values()):.0f}" for use in uses))
    head = ("US dollars a month", *names), ("---", *["---:"] * len(uses))
    return "\n".join("| " + " | ".join(row) + " |" for row in (*head, *rows, whole, less))


if __name__ == "__main__":
    print(table())
