"""A service of one's own: CloudEvents 1.0, signed with HMAC-SHA-256 over the time and the body."""

from __future__ import annotations

import json

from collections.abc import Callable
from datetime import UTC, datetime

from hubwarden.adapters.tickets.http import Http, Secret
from hubwarden.adapters.tickets.webhook import SIGNATURE, signature
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.message import Message, Notice, visible


class WebhookChannel:
    """Channel. The event names every finding, not only the first ten."""

    def __init__(
        self, http: Http, secret: Secret, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._http = http
        self._secret = secret
        self._now = now

    async def send(self, message: Message) -> None:
        """See Channel."""
        body = json.dumps(cloud_event(message)).encode()
        headers = {
            "Content-Type": "application/cloudevents+json",
            SIGNATURE: signature(self._secret.value, body, self._now()),
        }
        await self._http.call("POST", "", headers=headers, body=body)

    async def close(self) -> None:
        """See Channel."""
        await self._http.close()


def cloud_event(message: Message) -> JsonObject:
    """The message as an event in structured mode; a receiver knows one that comes again by its ``id``."""
    urls = {item.hub: item.url for item in message.items if item.url}
    return {
        "specversion": "1.0",
        "id": message.id,
        "source": "/hubwarden",
        "type": f"hubwarden.{message.kind}",
        "time": message.at.isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "title": message.title,
            "severity": message.severity.value,
            "rule": message.rule_id,
            "count": message.count,
            "decide_together": [{"title": label, "url": url} for label, url in message.together],
            "findings": [_finding(one, urls) for one in message.about],
        },
    }


def _finding(one: Notice, urls: dict[str, str]) -> JsonObject:
    return {
        "id": one.finding,
        "hub": one.hub.path,
        "summary": visible(one.summary),
        "reason": visible(one.reason),
        "actor": visible(one.actor) if one.actor else None,
        "at": one.at.isoformat(),
        "occurrences": one.occurrences,
        "verified_after_seconds": one.verified_after,
        "plan_digest": one.digest,
        "url": urls.get(one.hub.name),
    }
