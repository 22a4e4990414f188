"""The work queues and their poison queues."""

from __future__ import annotations

import asyncio
import math

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from azure.core.exceptions import ResourceNotFoundError

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.failures import creating, reported
from hubwarden.service.messages import Message, Queue, queue_of
from hubwarden.service.telemetry import SILENT, Telemetry


LONGEST_DELAY: Final = timedelta(days=7)
_NEVER_EXPIRES: Final = -1


class QueueWork:
    """WorkQueue on Azure Queue storage. A queue is created by the first message that misses it.

    Sending is repeated where its answer was lost, so that a message may come twice. A message carries the trace
    in which it is sent; where there is none, that of the message which it repeats.
    """

    def __init__(self, account: StorageAccount, telemetry: Telemetry = SILENT) -> None:
        self._account = account
        self._telemetry = telemetry

    async def send(self, message: Message, *, delay: timedelta = timedelta(0)) -> None:
        """Put the message on its queue. A delay below nothing is none, one above 7 days is 7 days."""
        message = message.model_copy(update={"trace": self._telemetry.traceparent or message.trace})
        await self.put_back(queue_of(message), message.model_dump_json(), delay=delay)

    async def put_back(self, queue: Queue, text: str, *, delay: timedelta) -> None:
        """See WorkQueue; a delay as for send."""
        await self._put(queue.value, text, min(max(delay, timedelta(0)), LONGEST_DELAY))

    async def send_to_poison(self, queue: Queue, text: str) -> None:
        """Put a text that is no message onto the queue's poison queue, unchanged."""
        await self._put(_poison(queue), text, timedelta(0))

    async def depths(self) -> Mapping[str, int]:
        """Roughly how many messages each queue and poison queue holds; one that does not exist holds none."""
        names = [name for queue in Queue for name in (queue.value, _poison(queue))]
        return dict(zip(names, await asyncio.gather(*map(self._depth, names)), strict=True))

    async def _put(self, name: str, text: str, delay: timedelta) -> None:
        queue = self._account.queue(name)
        with reported(f"queue {name}"):
            await creating(
                queue.create_queue,
                lambda: queue.send_message(
                    text,
                    visibility_timeout=math.ceil(delay.total_seconds()),
                    time_to_live=_NEVER_EXPIRES,
                ),
            )

    async def _depth(self, name: str) -> int:
        with reported(f"queue {name}"):
            try:
                properties = await self._account.queue(name).get_queue_properties()
            except ResourceNotFoundError:
                return 0
        return properties.approximate_message_count or 0


def _poison(queue: Queue) -> str:
    return f"{queue}-poison"
