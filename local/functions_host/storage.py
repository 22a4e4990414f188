"""The host's own connections to the storage accounts that bindings name."""

import asyncio

from contextlib import AsyncExitStack
from typing import Any

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueClient, QueueServiceClient


# The SDK's default retries go on for minutes; the listeners have a back-off of their own.
_RETRIES: dict[str, Any] = {"retry_total": 2, "initial_backoff": 0, "increment_base": 1, "random_jitter_range": 0}


class Storage:
    """One client a connection string, opened on first use and closed with the host."""

    def __init__(self) -> None:
        self._queues: dict[str, QueueServiceClient] = {}
        self._blobs: dict[str, BlobServiceClient] = {}
        self._watchers: dict[str, list[asyncio.Event]] = {}
        self._open = AsyncExitStack()

    async def queue(self, connection_string: str, name: str) -> QueueClient:
        """Return a client of one queue, which need not exist."""
        if connection_string not in self._queues:
            client = QueueServiceClient.from_connection_string(connection_string, **_RETRIES)
            self._queues[connection_string] = await self._open.enter_async_context(client)
        return self._queues[connection_string].get_queue_client(name)

    async def blobs(self, connection_string: str) -> BlobServiceClient:
        """Return a client of the account's blobs."""
        if connection_string not in self._blobs:
            client = BlobServiceClient.from_connection_string(connection_string, **_RETRIES)
            self._blobs[connection_string] = await self._open.enter_async_context(client)
        return self._blobs[connection_string]

    async def send(self, queue: QueueClient, content: str) -> None:
        """Put an encoded message on a queue, create the queue if it is missing, and wake who listens to it."""
        try:
            await queue.send_message(content)
        except ResourceNotFoundError:
            await _create(queue)
            await queue.send_message(content)
        for wake in self._watchers.get(queue.url, ()):
            wake.set()

    def watch(self, queue: QueueClient, wake: asyncio.Event) -> None:
        """Set the event whenever this host puts a message on the queue (SharedQueueWatcher.cs)."""
        self._watchers.setdefault(queue.url, []).append(wake)

    async def close(self) -> None:
        """Close every connection."""
        await self._open.aclose()


def reason_of(error: AzureError) -> str:
    """Return what went wrong without the request ids and bodies that the SDK appends."""
    return str(error).partition("\n")[0]


async def _create(queue: QueueClient) -> None:
    try:
        await queue.create_queue()
    except ResourceExistsError:
        return
