"""Tickets told to a service of one's own: a POST for each, signed with HMAC-SHA-256 over its time and its body."""

from __future__ import annotations

import hashlib
import hmac
import json

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from hubwarden.adapters.tickets.foreign import Standing
from hubwarden.adapters.tickets.http import Http, Secret
from hubwarden.adapters.tickets.markup import clean, one_line
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.targets import Webhook
from hubwarden.service.ports import Ticket, TicketRef


SIGNATURE: Final = "X-Hubwarden-Signature"


class SignedWebhook:
    """Tracker. The receiver keeps one ticket a key, and opens or closes it as the event says."""

    def __init__(
        self,
        settings: Webhook,
        http: Http,
        secret: Secret,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._http = http
        self._secret = secret
        self._now = now
        self.system = f"webhook {settings.url}"

    async def find(self, key: str) -> TicketRef | None:
        """See Tracker."""
        return TicketRef(self.system, key)

    async def standing(self, ref: TicketRef) -> Standing | None:  # noqa: ARG002 - it only listens
        """See Tracker."""
        return None

    async def create(self, ticket: Ticket) -> TicketRef:
        """See Tracker."""
        ref = TicketRef(self.system, ticket.key)
        await self.update(ref, ticket, reopen=False)
        return ref

    async def update(self, ref: TicketRef, ticket: Ticket, *, reopen: bool) -> None:  # noqa: ARG002 - all the same
        """See Tracker."""
        await self._send({
            "event": "open",
            "key": ref.id,
            "title": one_line(ticket.title, 500),
            "text": clean(ticket.text),
            "severity": ticket.severity.value,
            "rule": ticket.rule_id,
            "hub": ticket.hub.path,
        })  # fmt: skip

    async def close(self, ref: TicketRef, note: str) -> None:
        """See Tracker."""
        await self._send({"event": "close", "key": ref.id, "note": clean(note)})

    async def explain(self, ref: TicketRef, note: str) -> None:
        """See Tracker. Nothing is left to say: closing took it."""

    async def _send(self, event: JsonObject) -> None:
        body = json.dumps({"version": 1, **event}).encode()
        headers = {SIGNATURE: signature(self._secret.value, body, self._now())}
        await self._http.call("POST", "", headers=headers, body=body)


def signature(secret: str, body: bytes, at: datetime) -> str:
    """``t`` is the time in seconds, ``v1`` the HMAC over time, a dot and the body as it is sent."""
    seconds = str(int(at.timestamp()))
    mac = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={mac}"
