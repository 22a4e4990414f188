"""What is measured, and the port through which it is told. Pure: who collects it is an adapter's business.

Every attribute has few values and names no hub, no person and nothing of a plan (docs/telemetry.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol


class Kind(StrEnum):
    """How a metric's values are put together."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name, kind and unit, the attributes that each value must have, and what it says."""

    name: str
    kind: Kind
    unit: str
    attributes: tuple[str, ...]
    about: str


FINDINGS: Final = Metric(
    "hubwarden.findings", Kind.GAUGE, "{finding}", ("rule", "severity", "state", "age"), "Unresolved findings"
)
FIXES: Final = Metric("hubwarden.fixes", Kind.COUNTER, "{finding}", ("rule", "outcome"), "Fixes that ended")
TIME_TO_DETECT: Final = Metric(
    "hubwarden.time_to_detect", Kind.HISTOGRAM, "s", ("rule",), "From the change to its drift being found"
)
TIME_TO_FIX: Final = Metric(
    "hubwarden.time_to_fix", Kind.HISTOGRAM, "s", ("rule",), "From a drift being found to its fix being proven"
)
ARM_CALLS: Final = Metric(
    "hubwarden.arm_calls", Kind.COUNTER, "{call}", ("kind", "outcome"), "Calls to Azure Resource Manager"
)
ARM_BUDGET: Final = Metric(
    "hubwarden.arm_budget", Kind.GAUGE, "{call}", ("kind",), "The lowest remaining calls that Azure told"
)
SWEEPS: Final = Metric("hubwarden.sweeps", Kind.COUNTER, "{sweep}", ("complete",), "Sweeps, also broken ones")
SWEEP_HUBS: Final = Metric("hubwarden.sweep.hubs", Kind.GAUGE, "{hub}", ("outcome",), "Hubs of the last sweep")
SWEEP_DURATION: Final = Metric("hubwarden.sweep.duration", Kind.HISTOGRAM, "s", (), "How long a sweep took")
APPROVALS: Final = Metric(
    "hubwarden.approvals", Kind.GAUGE, "{finding}", ("rule", "due"), "Requests that wait for somebody's decision"
)
BREAKERS: Final = Metric("hubwarden.breakers", Kind.GAUGE, "{breaker}", ("kind",), "Breakers that are open")
POISON: Final = Metric("hubwarden.poison", Kind.COUNTER, "{message}", ("queue",), "Messages that were buried")
AUDIT_UNWRITABLE: Final = Metric(
    "hubwarden.audit_unwritable", Kind.COUNTER, "{line}", (), "Audit lines that could not be written"
)
FAILURES: Final = Metric(
    "hubwarden.failures", Kind.COUNTER, "{invocation}", ("function",), "Invocations that ended with an exception"
)
EVENTS: Final = Metric("hubwarden.events", Kind.COUNTER, "{event}", ("outcome",), "Events that arrived")

METRICS: Final = (
    FINDINGS,
    FIXES,
    TIME_TO_DETECT,
    TIME_TO_FIX,
    ARM_CALLS,
    ARM_BUDGET,
    SWEEPS,
    SWEEP_HUBS,
    SWEEP_DURATION,
    APPROVALS,
    BREAKERS,
    POISON,
    AUDIT_UNWRITABLE,
    FAILURES,
    EVENTS,
)

type Values = Mapping[tuple[str, ...], float]
"""A gauge's values, by their attributes in the order of ``Metric.attributes``."""


class Telemetry(Protocol):
    """Who is told. Nothing here ever fails or waits: no work hangs on being watched."""

    def count(self, metric: Metric, **attributes: str) -> None:
        """It happened once more."""
        ...

    def measure(self, metric: Metric, value: float, **attributes: str) -> None:
        """One more value of a histogram."""
        ...

    def lowest(self, metric: Metric, value: float, **attributes: str) -> None:
        """One more value of a gauge of which the lowest since the last report counts."""
        ...

    def report(self, metric: Metric, values: Values) -> None:
        """All values that a gauge has now. They are reported once; those of before are forgotten."""
        ...

    @contextmanager
    def span(
        self, name: str, attributes: Mapping[str, str], *, parent: str | None = None, queued: bool = False
    ) -> Iterator[None]:
        """What is done inside is one span.

        Args:
            name: what it is called.
            attributes: what is known of it.
            parent: the W3C ``traceparent`` of what asked for it, which is not what called us now.
            queued: whether it is the work of a message.
        """
        ...

    def mark(self, name: str, value: str) -> None:
        """One more thing that is known of the span that we are in."""
        ...

    @property
    def traceparent(self) -> str | None:
        """The W3C ``traceparent`` of the span that we are in, to be handed on; None where there is none."""
        ...

    @property
    def trace_id(self) -> str | None:
        """The id of the trace that we are in, 32 hexadecimal digits; None where there is none."""
        ...


class Silent:
    """Telemetry that tells nobody."""

    traceparent: str | None = None
    trace_id: str | None = None

    def count(self, metric: Metric, **attributes: str) -> None:
        """See Telemetry."""

    def measure(self, metric: Metric, value: float, **attributes: str) -> None:
        """See Telemetry."""

    def lowest(self, metric: Metric, value: float, **attributes: str) -> None:
        """See Telemetry."""

    def report(self, metric: Metric, values: Values) -> None:
        """See Telemetry."""

    @contextmanager
    def span(
        self,
        name: str,  # noqa: ARG002 - the port's
        attributes: Mapping[str, str],  # noqa: ARG002 - the port's
        *,
        parent: str | None = None,  # noqa: ARG002 - the port's
        queued: bool = False,  # noqa: ARG002 - the port's
    ) -> Iterator[None]:
        """See Telemetry."""
        yield

    def mark(self, name: str, value: str) -> None:
        """See Telemetry."""


SILENT: Final[Telemetry] = Silent()
