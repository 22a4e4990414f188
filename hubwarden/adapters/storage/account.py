"""From settings to the async clients of one storage account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.request import getproxies


if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AioHttpTransport
    from azure.data.tables.aio import TableClient, TableServiceClient
    from azure.storage.blob.aio import BlobServiceClient, ContainerClient
    from azure.storage.queue.aio import QueueClient, QueueServiceClient

# One repeat and short waits: an outage is known after 15 seconds at worst, and the host repeats the work anyway.
# Tables call the pause between two tries a backoff factor, queues and blobs an initial backoff.
_OPTIONS: Final[Mapping[str, Any]] = {
    "connection_timeout": 4,
    "read_timeout": 6,
    "retry_total": 1,
    "retry_backoff_factor": 1,
    "initial_backoff": 1,
    "random_jitter_range": 0,
}


class StorageAccount:
    """The clients of one storage account, made on first use and sharing one connection pool.

    ``connection`` names the settings as the Functions host reads them: either ``<connection>`` is a connection
    string, for local use, or ``<connection>__accountName`` or all of ``<connection>__tableServiceUri``,
    ``__queueServiceUri`` and ``__blobServiceUri`` say where the account is. Then ``credential`` makes the
    credential, which stays the caller's to close. ``options`` go to the Azure clients as they are.

    Raises:
        ValueError: the settings name no account.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        credential: Callable[[], AsyncTokenCredential] | None = None,
        *,
        connection: str = "AzureWebJobsStorage",
        suffix: str = "core.windows.net",
        **options: Any,
    ) -> None:
        self._connection_string = settings.get(connection, "").strip("; ")
        self._make_credential = credential
        self._options = {**_OPTIONS, **options}
        self._made: dict[tuple[str, str], Any] = {}
        if not self._connection_string:
            self._urls = _urls(settings, connection, suffix)
            if credential is None:
                raise ValueError(f"{connection}__… needs a credential; only a connection string goes without")

    def table(self, name: str) -> TableClient:
        """The client of one table."""
        return self._once(("table", name), lambda: self._tables.get_table_client(name))

    def queue(self, name: str) -> QueueClient:
        """The client of one queue, whose texts stand on the wire as they are (host.json: messageEncoding none).

        So any text gets as far as to be judged; one that is not base64 the host itself would refuse, unread.
        """
        return self._once(("queue", name), lambda: self._queues.get_queue_client(name))

    def container(self, name: str) -> ContainerClient:
        """The client of one blob container."""
        return self._once(("container", name), lambda: self._blobs.get_container_client(name))

    def _once[C](self, key: tuple[str, str], make: Callable[[], C]) -> C:
        """The client that was made before; to make one takes as long as a request."""
        if key not in self._made:
            self._made[key] = make()
        return cast("C", self._made[key])

    async def close(self) -> None:
        """Close the connections; the account cannot be used afterwards."""
        await self._transport.close()

    @cached_property
    def _transport(self) -> AioHttpTransport:
        from azure.core.pipeline.transport import AioHttpTransport  # noqa: PLC0415 - cold start

        # With use_env_settings, aiohttp reads the environment and .netrc again for every request.
        return AioHttpTransport(use_env_settings=bool({"http", "https"} & getproxies().keys()), **self._options)

    @cached_property
    def _tables(self) -> TableServiceClient:
        from azure.data.tables.aio import TableServiceClient  # noqa: PLC0415 - cold start

        return self._client(TableServiceClient, "table")

    @cached_property
    def _queues(self) -> QueueServiceClient:
        from azure.storage.queue.aio import QueueServiceClient  # noqa: PLC0415 - cold start

        return self._client(QueueServiceClient, "queue")

    @cached_property
    def _blobs(self) -> BlobServiceClient:
        from azure.storage.blob.aio import BlobServiceClient  # noqa: PLC0415 - cold start

        return self._client(BlobServiceClient, "blob")

    def _client[C](self, type_: type[C], service: str) -> C:
        make: Any = type_
        options = {**self._options, "transport": self._transport}
        client: C = (
            make.from_connection_string(self._connection_string, **options)
            if self._connection_string
            else make(self._urls[service], credential=self._credential, **options)
        )
        return client

    @cached_property
    def _credential(self) -> AsyncTokenCredential:
        assert self._make_credential is not None
        return self._make_credential()


def _urls(settings: Mapping[str, str], connection: str, suffix: str) -> Mapping[str, str]:
    services = ("table", "queue", "blob")
    urls = {service: settings.get(f"{connection}__{service}ServiceUri", "") for service in services}
    if account := settings.get(f"{connection}__accountName"):
        urls = {service: url or f"https://{account}.{service}.{suffix}" for service, url in urls.items()}
    if not all(urls.values()):
        raise ValueError(
            f"no storage account: set {connection}__accountName, or {connection}__tableServiceUri, "
            f"{connection}__queueServiceUri and {connection}__blobServiceUri, "
            f"or (locally) {connection} to a connection string"
        )
    return urls
