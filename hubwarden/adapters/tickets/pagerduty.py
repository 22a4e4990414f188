"""Tickets as PagerDuty alerts (Events API v2). The key is the dedup_key, by which it finds the alert.

A trigger opens an alert, brings an open one up to date, or opens a new one where the last is resolved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hubwarden.adapters.tickets.foreign import Standing
from hubwarden.adapters.tickets.http import Http, Secret
from hubwarden.adapters.tickets.markup import one_line, plain
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.severity import Severity
from hubwarden.domain.targets import PagerDuty
from hubwarden.service.ports import Ticket, TicketRef


_LONGEST: Final = 100_000
_SEVERITY: Final[Mapping[Severity, str]] = {
    Severity.CRITICAL: "critical",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "info",
}


class PagerDutyAlerts:
    """Tracker."""

    def __init__(self, settings: PagerDuty, http: Http, secret: Secret) -> None:
        self._http = http
        self._secret = secret
        self.system = f"pagerduty {settings.url}"

    async def find(self, key: str) -> TicketRef | None:
        """See Tracker."""
        return TicketRef(self.system, key)

    async def standing(self, ref: TicketRef) -> Standing | None:  # noqa: ARG002 - the events API only listens
        """See Tracker."""
        return None

    async def create(self, ticket: Ticket) -> TicketRef:
        """See Tracker."""
        ref = TicketRef(self.system, ticket.key)
        await self.update(ref, ticket, reopen=False)
        return ref

    async def update(self, ref: TicketRef, ticket: Ticket, *, reopen: bool) -> None:  # noqa: ARG002 - all the same
        """See Tracker."""
        await self._send(ref, "trigger", {
            "summary": one_line(ticket.title, 1024),
            "source": ticket.hub.name,
            "severity": _SEVERITY[ticket.severity],
            "component": ticket.hub.path,
            "group": ticket.hub.resource_group,
            "class": ticket.rule_id,
            "custom_details": {"text": plain(ticket.text)[:_LONGEST]},
        })  # fmt: skip

    async def close(self, ref: TicketRef, note: str) -> None:  # noqa: ARG002 - a resolve event has no text
        """See Tracker."""
        await self._send(ref, "resolve", None)

    async def explain(self, ref: TicketRef, note: str) -> None:
        """See Tracker. Nothing is left to say: an alert takes no text."""

    async def _send(self, ref: TicketRef, action: str, payload: JsonObject | None) -> None:
        event: JsonObject = {"routing_key": self._secret.value, "event_action": action, "dedup_key": ref.id}
        body = event if payload is None else {**event, "client": "hubwarden", "payload": payload}
        await self._http.call("POST", "/v2/enqueue", headers={}, json_body=body)
