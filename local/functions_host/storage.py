"""The host's own connections to the storage accounts that bindings name."""

import asyncio

from contextlib import AsyncExitStack
from typing import Any

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from .connections import Connection, ConnectionString, Endpoint


# The SDK's default retries go on for minutes; the listeners have a back-off of their own.
_RETRIES: dict[str, Any] = {"retry_total": 2, "initial_backoff": 0, "increment_base": 1, "random_jitter_range": 0}


class Storage:
    """One client an account and service, opened on first use and closed with the host."""

    def __init__(self) -> None:
        self._queues: dict[Connection, QueueServiceClient] = {}
        self._blobs: dict[Connection, BlobServiceClient] = {}
        self._credentials: dict[tuple[bool, str | None], AsyncTokenCredential] = {}
        self._watchers: dict[str, list[asyncio.Event]] = {}
        self._open = AsyncExitStack()

    async def queue(self, connection: Connection, name: str) -> QueueClient:
        """Return a client of one queue, which need not exist."""
        if connection not in self._queues:
            self._queues[connection] = await self._client(QueueServiceClient, connection)
        return self._queues[connection].get_queue_client(name)

    async def blobs(self, connection: Connection) -> BlobServiceClient:
        """Return a client of the account's blobs."""
        if connection not in self._blobs:
            self._blobs[connection] = await self._client(BlobServiceClient, connection)
        return self._blobs[connection]

    async def _client[C: (QueueServiceClient, BlobServiceClient)](
        self, service: type[C], connection: Connection
    ) -> C:
        match connection:
            case ConnectionString(text):
                client = service.from_connection_string(text, **_RETRIES)
            case Endpoint(url, managed_identity, client_id):
                credential = await self._credential(client_id, managed_identity=managed_identity)
                client = service(url, credential=credential, **_RETRIES)
        return await self._open.enter_async_context(client)

    async def _credential(self, client_id: str | None, *, managed_identity: bool) -> AsyncTokenCredential:
        # Most hosts have a connection string and never need it: 0.3 s of every start.
        from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential  # noqa: PLC0415

        key = managed_identity, client_id
        if key not in self._credentials:
            made = (
                ManagedIdentityCredential(client_id=client_id)
                if managed_identity
                else DefaultAzureCredential(managed_identity_client_id=client_id)
            )
            self._credentials[key] = await self._open.enter_async_context(made)
        return self._credentials[key]

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
