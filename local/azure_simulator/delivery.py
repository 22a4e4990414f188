"""Event Grid: delivery at least once, to webhooks, with retries, and trouble on demand."""

import asyncio
import random
import uuid

from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp

from azure.core.exceptions import AzureError

from local.azure_simulator.clock import utc_now
from local.azure_simulator.config import SimulatorConfig
from local.azure_simulator.dead_letters import Undelivered, as_dead_letter, blob_name, write
from local.azure_simulator.events import (
    SCHEMAS,
    TOPICS,
    Schema,
    Topic,
    as_cloud_event,
    as_strings,
    topic_of,
    validation_event,
)
from local.azure_simulator.wire import Json


NOT_RETRIED = (400, 401, 403, 413)
"""Answers after which a webhook is not tried again (AZURE §5)."""

DEAD_LETTER_TRIES = 48
"""Where the storage account does not answer for four hours, what was given up is dropped (AZURE §5)."""

SUCCESS = (200, 201, 202, 203, 204)
ORIGIN = "eventgrid.azure.net"

type Order = Literal["as_published", "reversed", "shuffled"]


class HandshakeError(Exception):
    """The endpoint did not prove that it wants events."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """An event subscription with a webhook.

    Attributes:
        url: Where to POST.
        name: Of the subscription; in the header `aeg-subscription-name`.
        schema: `EventGridSchema` or `CloudEventSchemaV1_0`.
        as_strings: Send authorization, claims and httpRequest as JSON text, as events of old did.
        headers: Sent with each delivery.
        event_types: Only these; empty for all.
        topic: `arm` or `hub`; in Azure each hub has a topic of its own, here one subscription has them all.
        dead_letter_storage: Connection string of the account that gets what was given up; empty: it is dropped.
        dead_letter_container: In that account.
    """

    url: str
    name: str
    schema: Schema = "EventGridSchema"
    as_strings: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    event_types: tuple[str, ...] = ()
    topic: Topic = "arm"
    dead_letter_storage: str = ""
    dead_letter_container: str = "deadletters"

    def wants(self, event: Json) -> bool:
        """Whether it is an event of the subscription's topic that its filter lets through."""
        if topic_of(event) != self.topic:
            return False
        return not self.event_types or event["eventType"] in self.event_types

    def rendered(self, event: Json) -> Any:
        """The body of a delivery."""
        shown = as_strings(event) if self.as_strings else event
        return [shown] if self.schema == "EventGridSchema" else as_cloud_event(shown)

    def delivery_headers(self, attempt: int) -> dict[str, str]:
        """The headers of a delivery, Event Grid's own ones included."""
        cloud = self.schema == "CloudEventSchemaV1_0"
        kind = "application/cloudevents+json" if cloud else "application/json"
        return {
            "aeg-event-type": "Notification",
            "aeg-subscription-name": self.name.upper(),
            "aeg-delivery-count": str(attempt),
            "aeg-data-version": "2",
            "aeg-metadata-version": "1",
            "Content-Type": f"{kind}; charset=utf-8",
            **self.headers,
        }


@dataclass(slots=True)
class EventMode:
    """Trouble for the events to come.

    Attributes:
        lose: How many to lose; None for all.
        duplicate: How many more times to send each one.
        hold: Keep them until `release_events()`.
        delay: Seconds before each is sent.
    """

    lose: int | None = 0
    duplicate: int = 0
    hold: bool = False
    delay: float = 0.0

    def loses_one(self) -> bool:
        """Whether the next event is lost; counts it."""
        if self.lose is None:
            return True
        lost = self.lose > 0
        self.lose -= lost
        return lost


class EventGrid:
    """Takes events and brings them to all subscribers."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self.mode = EventMode()
        self.subscribers: dict[str, Subscriber] = {}
        self.published: list[Json] = []
        self.dead_letters: list[Json] = []
        self.deliveries: list[Json] = []
        self._held: list[Json] = []
        self._given_up: dict[str, list[Json]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    async def subscribe(self, subscriber: Subscriber, *, validate: bool = True) -> None:
        """Add a subscription, after the handshake with its endpoint unless that is skipped."""
        if subscriber.schema not in SCHEMAS:
            raise ValueError(f"unknown schema: {subscriber.schema!r}, allowed: {SCHEMAS}")
        if subscriber.topic not in TOPICS:
            raise ValueError(f"unknown topic: {subscriber.topic!r}, allowed: {TOPICS}")
        if validate:
            await self._shake_hands(subscriber)
        self.subscribers[subscriber.name] = subscriber

    def publish(self, event: Json) -> None:
        """Take one event: lose it, hold it or send it, as the mode says."""
        fate = "lost" if self.mode.loses_one() else "held" if self.mode.hold else "sent"
        self.published.append({"event": event, "fate": fate})
        if fate == "held":
            self._held.append(event)
        if fate == "sent":
            self._send(event)

    def release(self, order: Order = "as_published", seed: int = 1) -> int:
        """Send all held events in this order; how many there were."""
        events, self._held = self._held, []
        if order == "reversed":
            events.reverse()
        if order == "shuffled":
            random.Random(seed).shuffle(events)
        for event in events:
            self._send(event)
        return len(events)

    async def close(self) -> None:
        """Stop all deliveries."""
        self.reset()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session:
            await self._session.close()

    def reset(self) -> None:
        """Forget subscribers, events and modes, and stop all deliveries."""
        for task in self._tasks:
            task.cancel()
        self.mode = EventMode()
        self.subscribers.clear()
        self.published.clear()
        self.dead_letters.clear()
        self.deliveries.clear()
        self._held.clear()
        self._given_up.clear()

    def _send(self, event: Json) -> None:
        for subscriber in self.subscribers.values():
            if subscriber.wants(event):
                for _ in range(1 + self.mode.duplicate):
                    self._start(subscriber, event)

    def _start(self, subscriber: Subscriber, event: Json) -> None:
        self._go(self._deliver(subscriber, event, self.mode.delay))

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, subscriber: Subscriber, event: Json, delay: float) -> None:
        published_at = tried_at = utc_now()
        waits = (delay, *(seconds * self.config.retry_scale for seconds in self.config.retry_delays))
        for attempt, wait in enumerate(waits, start=1):
            await asyncio.sleep(wait)
            tried_at = utc_now()
            outcome = await self._attempt(subscriber, event, attempt)
            self.deliveries.append(
                {"id": event["id"], "subscriber": subscriber.name, "attempt": attempt, "outcome": outcome},
            )
            if outcome in SUCCESS:
                return
            if outcome in NOT_RETRIED:
                break
        self.dead_letters.append(
            {"event": event, "subscriber": subscriber.name, "outcome": outcome, "attempts": attempt},
        )
        if subscriber.dead_letter_storage:
            why = Undelivered(attempt, outcome, outcome in NOT_RETRIED, published_at, tried_at)
            self._give_up(subscriber, event, why)

    def _give_up(self, subscriber: Subscriber, event: Json, why: Undelivered) -> None:
        """Lay it with what else was given up lately: one blob holds all of it."""
        rendered = subscriber.rendered(event)
        letter = as_dead_letter(rendered[0] if isinstance(rendered, list) else rendered, why)
        waiting = self._given_up.setdefault(subscriber.name, [])
        waiting.append(letter)
        if len(waiting) == 1:
            self._go(self._write_dead_letters(subscriber))

    async def _write_dead_letters(self, subscriber: Subscriber) -> None:
        delay = self.config.dead_letter_delay * self.config.retry_scale
        await asyncio.sleep(delay)
        letters = self._given_up.pop(subscriber.name)
        name = blob_name(subscriber.name, utc_now())
        for _ in range(DEAD_LETTER_TRIES):
            try:
                await write(subscriber.dead_letter_storage, subscriber.dead_letter_container, name, letters)
            except AzureError:
                await asyncio.sleep(delay)
            else:
                return

    async def _attempt(self, subscriber: Subscriber, event: Json, attempt: int) -> int | str:
        """The status of the endpoint's answer, or why there was none."""
        try:
            async with self._http().post(
                subscriber.url,
                json=subscriber.rendered(event),
                headers=subscriber.delivery_headers(attempt),
                ssl=False,
            ) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__

    async def _shake_hands(self, subscriber: Subscriber) -> None:
        try:
            if subscriber.schema == "EventGridSchema":
                await self._validate(subscriber)
            else:
                await self._ask_origin(subscriber)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise HandshakeError(f"{subscriber.url} gave no usable answer: {error!r}") from error

    async def _validate(self, subscriber: Subscriber) -> None:
        code = str(uuid.uuid4()).upper()
        headers = {"aeg-event-type": "SubscriptionValidation", "aeg-subscription-name": subscriber.name.upper()}
        async with self._http().post(
            subscriber.url,
            json=validation_event("/subscriptions", code),
            headers={**headers, **subscriber.headers},
            ssl=False,
        ) as answer:
            body = await answer.json(content_type=None) if answer.status == 200 else {}  # noqa: PLR2004
        if not isinstance(body, dict) or body.get("validationResponse") != code:
            raise HandshakeError(f"{subscriber.url} answered {answer.status} without the validation code")

    async def _ask_origin(self, subscriber: Subscriber) -> None:
        headers = {"WebHook-Request-Origin": ORIGIN, **subscriber.headers}
        async with self._http().options(subscriber.url, headers=headers, ssl=False) as answer:
            allowed = answer.headers.get("WebHook-Allowed-Origin")
        if allowed not in ("*", ORIGIN):
            raise HandshakeError(
                f"{subscriber.url} answered {answer.status} and does not allow the origin {ORIGIN}"
            )

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self.config.delivery_timeout)
            self._session = aiohttp.ClientSession(timeout=timeout)
        return self._session
