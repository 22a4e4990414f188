"""Event Grid: what could not be delivered, as blobs in a storage account.

The names are those of https://learn.microsoft.com/azure/event-grid/manage-event-delivery#set-dead-letter-location,
the members those of https://learn.microsoft.com/azure/event-grid/delivery-and-retry#delivery-event-formats.
"""

import contextlib
import json
import uuid

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob.aio import ContainerClient

from local.azure_simulator.clock import seven_digits
from local.azure_simulator.wire import Json


OUTCOMES: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    408: "TimedOut",
    413: "RequestEntityTooLarge",
    503: "Busy",
}
"""Event Grid's word for an answer. A guess but for BadRequest, NotFound and TimedOut."""

TIMED_OUT: Final = "TimeoutError"


@dataclass(frozen=True, slots=True)
class Undelivered:
    """How one event came to be given up. `outcome` is a status, or the name of an error; times are UTC."""

    attempts: int
    outcome: int | str
    final: bool
    published_at: datetime
    tried_at: datetime

    @property
    def reason(self) -> str:
        """In Event Grid's words."""
        return f"UndeliverableDueToHttp{self.last}" if self.final else "MaxDeliveryAttemptsExceeded"

    @property
    def last(self) -> str:
        """The outcome in Event Grid's words."""
        if self.outcome == TIMED_OUT:
            return "TimedOut"
        return OUTCOMES.get(self.outcome, "GenericError") if isinstance(self.outcome, int) else "SocketError"


def as_dead_letter(event: Json, why: Undelivered) -> Json:
    """The event as its subscriber would have got it, and why it did not; members as its schema spells them."""
    told = {
        "deadLetterReason": why.reason,
        "deliveryAttempts": why.attempts,
        "lastDeliveryOutcome": why.last,
        "publishTime": seven_digits(why.published_at),
        "lastDeliveryAttemptTime": seven_digits(why.tried_at),
    }
    if "specversion" not in event:
        return event | told
    return event | {name.lower(): value for name, value in told.items() if name != "lastDeliveryAttemptTime"}


def blob_name(subscription: str, at: datetime) -> str:
    """Where Event Grid writes at that moment; day and hour have no zeros in front."""
    return f"{subscription.upper()}/{at.year}/{at.month}/{at.day}/{at.hour}/{uuid.uuid4()}.json"


async def write(connection_string: str, container: str, name: str, events: list[Json]) -> None:
    """Write one blob; the container is made where it is missing, as the deployment does."""
    client = ContainerClient.from_connection_string(connection_string, container)
    async with client:
        with contextlib.suppress(ResourceExistsError):
            await client.create_container()
        await client.upload_blob(name, json.dumps(events).encode())
