"""Telemetry through OpenTelemetry's API, where the Functions worker has set up who collects it.

The worker does that before it loads the app, if it is told to: see docs/telemetry.md. Else nothing of
OpenTelemetry is imported, and nobody is told. Nothing is exported here: the worker's exporter does.
"""

from __future__ import annotations

import logging
import sys

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from hubwarden.service.correlation import fields
from hubwarden.service.telemetry import METRICS, SILENT, Kind, Metric, Telemetry, Values


if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Counter, Histogram, MeterProvider, Observation
    from opentelemetry.trace import Span, TracerProvider

_SCOPE: Final = "hubwarden"
_SWITCHES: Final = ("PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY", "PYTHON_ENABLE_OPENTELEMETRY")
_ON: Final = frozenset({"true", "1", "t", "y", "yes"})
"""What counts as true for the worker (azure_functions_runtime 1.3.0, utils/app_setting_manager.py)."""


def make_telemetry(env: Mapping[str, str]) -> Telemetry:
    """Telemetry as the app settings say; on, every log record of this process gets the fields of its work.

    What the worker's distribution of OpenTelemetry watches by itself is switched off first: it would keep the
    addresses of requests, and of a webhook the address is the secret.
    """
    if not any(env.get(switch, "").strip().lower() in _ON for switch in _SWITCHES):
        return SILENT
    keep_addresses_out()
    telemetry = OpenTelemetry()
    carry_fields(telemetry)
    return telemetry


class OpenTelemetry:
    """Telemetry on the given providers, by default the process's own."""

    def __init__(self, *, tracers: TracerProvider | None = None, meters: MeterProvider | None = None) -> None:
        from opentelemetry import metrics, trace  # noqa: PLC0415 - cold start

        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracers)
        meter = metrics.get_meter(_SCOPE, meter_provider=meters)
        self._gauges = {metric: _Gauge(metric) for metric in METRICS if metric.kind is Kind.GAUGE}
        for metric, gauge in self._gauges.items():
            meter.create_observable_gauge(metric.name, [gauge.take], metric.unit, metric.about)
        self._counters: dict[Metric, Counter] = {
            metric: meter.create_counter(metric.name, metric.unit, metric.about)
            for metric in METRICS
            if metric.kind is Kind.COUNTER
        }
        self._histograms: dict[Metric, Histogram] = {
            metric: meter.create_histogram(metric.name, metric.unit, metric.about)
            for metric in METRICS
            if metric.kind is Kind.HISTOGRAM
        }

    def count(self, metric: Metric, **attributes: str) -> None:
        """See Telemetry."""
        with suppress(Exception):
            self._counters[metric].add(1, attributes)

    def measure(self, metric: Metric, value: float, **attributes: str) -> None:
        """See Telemetry."""
        with suppress(Exception):
            self._histograms[metric].record(value, attributes)

    def lowest(self, metric: Metric, value: float, **attributes: str) -> None:
        """See Telemetry."""
        self._gauges[metric].lower(tuple(attributes[name] for name in metric.attributes), value)

    def report(self, metric: Metric, values: Values) -> None:
        """See Telemetry."""
        self._gauges[metric].replace(values)

    @contextmanager
    def span(
        self, name: str, attributes: Mapping[str, str], *, parent: str | None = None, queued: bool = False
    ) -> Iterator[None]:
        """See Telemetry. An exception leaves its class in the span: its text and its frames can hold anything.

        What goes wrong in who collects spans is nobody's business here: the SDK lets a processor's exceptions
        through, and work that is done would be done again.
        """
        from opentelemetry import trace  # noqa: PLC0415 - cold start

        span: Span = trace.INVALID_SPAN
        with suppress(Exception):
            span = self._started(name, attributes, parent, queued=queued)
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            try:
                yield
            except BaseException as error:
                span.set_status(trace.StatusCode.ERROR, type(error).__name__)
                raise
            finally:
                with suppress(Exception):
                    span.end()

    def _started(self, name: str, attributes: Mapping[str, str], parent: str | None, *, queued: bool) -> Span:
        from opentelemetry import trace  # noqa: PLC0415 - cold start

        caller = trace.get_current_span().get_span_context()
        context = _context_of(parent)
        return self._tracer.start_span(
            name,
            context=context,
            kind=trace.SpanKind.CONSUMER if queued else trace.SpanKind.INTERNAL,
            attributes=dict(attributes),
            links=[trace.Link(caller)] if context is not None and caller.is_valid else [],
        )

    def mark(self, name: str, value: str) -> None:
        """See Telemetry."""
        from opentelemetry import trace  # noqa: PLC0415 - cold start

        trace.get_current_span().set_attribute(name, value)

    @property
    def traceparent(self) -> str | None:
        """See Telemetry."""
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - cold start
            TraceContextTextMapPropagator,
        )

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        return carrier.get("traceparent")

    @property
    def trace_id(self) -> str | None:
        """See Telemetry."""
        from opentelemetry import trace  # noqa: PLC0415 - cold start

        context = trace.get_current_span().get_span_context()
        return trace.format_trace_id(context.trace_id) if context.is_valid else None


def _context_of(parent: str | None) -> Any:
    """The context of which the parent is the span, or None: then it is the one that we are in."""
    from opentelemetry import trace  # noqa: PLC0415 - cold start
    from opentelemetry.context import Context  # noqa: PLC0415 - cold start
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - cold start
        TraceContextTextMapPropagator,
    )

    if parent is None:
        return None
    context = TraceContextTextMapPropagator().extract({"traceparent": parent}, Context())
    return context if trace.get_current_span(context).get_span_context().is_valid else None


class _Gauge:
    """Values until they are collected, once: of what is no longer reported nothing old goes on being told.

    The SDK's own synchronous gauge repeats each value for ever where it counts cumulatively, as it does for the
    exporter that is in use; a rule without findings would keep its last number. With more than one reader, the
    first to come gets them.
    """

    def __init__(self, metric: Metric) -> None:
        self._names = metric.attributes
        self._values: dict[tuple[str, ...], float] = {}
        self._lock = Lock()

    def replace(self, values: Values) -> None:
        """These are all values now."""
        with self._lock:
            self._values = dict(values)

    def lower(self, key: tuple[str, ...], value: float) -> None:
        """One more value, of which the lowest counts."""
        with self._lock:
            self._values[key] = min(value, self._values.get(key, value))

    def take(self, _: CallbackOptions) -> Iterator[Observation]:
        """Called by the reader's thread at each collection."""
        from opentelemetry.metrics import Observation  # noqa: PLC0415 - cold start

        with self._lock:
            values, self._values = self._values, {}
        for key, value in values.items():
            yield Observation(value, dict(zip(self._names, key, strict=True)))


def keep_addresses_out() -> None:
    """Switch off what records HTTP requests by itself: it keeps their addresses, secrets and all."""
    instrumentor = sys.modules.get("opentelemetry.instrumentation.instrumentor")
    for kind in instrumentor.BaseInstrumentor.__subclasses__() if instrumentor else ():
        if kind().is_instrumented_by_opentelemetry:
            kind().uninstrument()
    from azure.core.settings import settings  # noqa: PLC0415 - cold start

    settings.tracing_implementation = None
    settings.tracing_enabled = False


def carry_fields(telemetry: Telemetry) -> None:
    """Give every log record of this process the fields of the work in whose midst it is made."""
    before = logging.getLogRecordFactory()
    if isinstance(before, _Factory):
        before = before.before
    logging.setLogRecordFactory(_Factory(before, telemetry))


class _Factory:
    """Makes log records, with the fields as attributes: OpenTelemetry's handler takes those along."""

    def __init__(self, before: Any, telemetry: Telemetry) -> None:
        self.before = before
        self._telemetry = telemetry

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = self.before(*args, **kwargs)
        known = fields()
        if known:
            record.__dict__.update(known)
            trace_id = self._telemetry.trace_id
            if trace_id is not None:
                record.trace_id = trace_id
        return record
