"""One invocation of a function: its span, the fields of its log records, and that it is counted if it fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from hubwarden.domain.finding import Finding
from hubwarden.domain.hub_id import HubId
from hubwarden.service.correlation import about
from hubwarden.service.messages import (
    CensusMessage,
    EvaluateMessage,
    Message,
    NotifyMessage,
    Queue,
    RemediateMessage,
    SweepMessage,
    TicketMessage,
    TurnMessage,
    VerifyMessage,
)
from hubwarden.service.telemetry import FAILURES, Telemetry


HUB: Final = "cloud.resource_id"
"""The span's attribute that names the hub, as OpenTelemetry calls it."""
RULES: Final = "hubwarden.rules"
_ATTEMPT: Final = "hubwarden.attempt"

_FUNCTIONS: Final[Mapping[Queue, str]] = MappingProxyType({
    Queue.EVALUATE: "evaluate",
    Queue.REMEDIATE: "remediate",
    Queue.VERIFY: "verify",
    Queue.CENSUS: "census",
    Queue.TICKETS: "settle",
    Queue.NOTIFY: "notify",
})  # fmt: skip
_USE_CASES: Final[Mapping[type, str]] = MappingProxyType({
    EvaluateMessage: "evaluate",
    SweepMessage: "sweep",
    TurnMessage: "turns",
    RemediateMessage: "remediate",
    VerifyMessage: "verify",
    CensusMessage: "census",
    TicketMessage: "settle",
    NotifyMessage: "notify",
})  # fmt: skip


@contextmanager
def invoked(telemetry: Telemetry, function: str, id_: str, *, span: str | None = None) -> Iterator[None]:
    """The invocation with this id of this function, as function_app.py names it.

    Args:
        telemetry: who is told.
        function: its name.
        id_: the id that the host gave the invocation; empty where it gave none.
        span: the use case, where the function has another name.
    """
    known = {"faas.name": function, "faas.invocation_id": id_}
    with about(invocation=id_), telemetry.span(span or function, known), _counted(telemetry, function):
        yield


@contextmanager
def invoked_by(telemetry: Telemetry, message: Message, queue: Queue, id_: str) -> Iterator[None]:
    """As invoked, for the work of a message: the span belongs to the trace that the message carries."""
    function = function_of(queue)
    hub: HubId | None = getattr(message, "hub_id", None)
    known = {"faas.name": function, "faas.invocation_id": id_, _ATTEMPT: str(message.attempt)}
    if hub is not None:
        known[HUB] = hub.path
    actor = message.actor if isinstance(message, EvaluateMessage) else None
    with (
        about(invocation=id_, hub=hub, attempt=message.attempt, actor=actor),
        telemetry.span(_USE_CASES[type(message)], known, parent=message.trace, queued=True),
        _counted(telemetry, function),
    ):
        yield


def function_of(queue: Queue, *, poison: bool = False) -> str:
    """The function that takes the messages of the queue, or of its poison queue."""
    return f"{_FUNCTIONS[queue]}_poison" if poison else _FUNCTIONS[queue]


def told_rules(findings: Iterable[Finding]) -> str:
    """The rules of these findings, for a span."""
    return ",".join(sorted({finding.rule_id for finding in findings}))


@contextmanager
def _counted(telemetry: Telemetry, function: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        telemetry.count(FAILURES, function=function)
        raise
