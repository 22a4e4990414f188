"""Queue triggers, after QueueListener.cs and QueueProcessor.cs of the WebJobs storage extension."""

import asyncio
import contextlib
import logging

from collections.abc import AsyncIterator
from datetime import timedelta

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.functions.meta import Datum
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from .backoff import Backoff
from .connections import Connection
from .functions import Function, queue_name
from .host_json import QueueOptions
from .invoker import Invoker
from .queue_messages import decode, trigger_metadata
from .storage import Storage, reason_of
from .waiting import elapsed


_MINIMUM_POLLING_INTERVAL = timedelta(milliseconds=100)
_POISON = "-poison"
_logger = logging.getLogger(__name__)


class QueueListener:
    """Takes messages of one queue to one function, several at a time as host.json allows.

    A message is leased while its function runs: for `lease` seconds, renewed at half time. It is deleted
    when the function succeeds, comes back after `visibilityTimeout` when it fails, and moves to
    `<queue>-poison` when it failed `maxDequeueCount` times.
    """

    def __init__(
        self,
        function: Function,
        connection: Connection,
        *,
        storage: Storage,
        invoker: Invoker,
        options: QueueOptions,
        lease: int,
    ) -> None:
        self._function = function
        self._name = queue_name(function, function.trigger)
        self._connection = connection
        self._storage = storage
        self._invoker = invoker
        self._options = options
        self._lease = lease
        self._backoff = Backoff(_MINIMUM_POLLING_INTERVAL, options.max_polling_interval)
        self._processing: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._reachable = True

    async def start(self) -> None:
        """Begin to poll."""
        self._queue = await self._storage.queue(self._connection, self._name)
        self._poison = await self._poison_queue()
        self._storage.watch(self._queue, self._wake)
        self._polling = asyncio.create_task(self._poll(), name=f"queue {self._name}")

    async def stop(self) -> None:
        """Take no more messages and wait until those taken are done with."""
        self._stopping = True
        self._wake.set()
        await self._polling
        if self._processing:
            await asyncio.wait(self._processing)

    async def _poison_queue(self) -> QueueClient | None:
        """A poison queue has no poison queue of its own (QueueListenerFactory.cs)."""
        if self._name.endswith(_POISON):
            return None
        return await self._storage.queue(self._connection, self._name + _POISON)

    async def _poll(self) -> None:
        while not self._stopping:
            messages = await self._receive()
            for message in messages:
                task = asyncio.create_task(self._process(message))
                self._processing.add(task)
                task.add_done_callback(self._processing.discard)
            if messages:
                self._backoff.reset()
                await self._room_for_a_batch()
            else:
                self._wake.clear()
                await elapsed(self._backoff.next(), unless=self._wake)

    async def _room_for_a_batch(self) -> None:
        while len(self._processing) > self._options.new_batch_threshold and not self._stopping:
            await asyncio.wait(self._processing, return_when=asyncio.FIRST_COMPLETED)

    async def _receive(self) -> list[QueueMessage]:
        """Lease a batch; a missing queue is an empty one, and storage that is down is mentioned once."""
        size = self._options.batch_size
        try:
            page = self._queue.receive_messages(max_messages=size, visibility_timeout=self._lease)
            messages = [message async for message in page]
        except ResourceNotFoundError:
            messages = []
        except AzureError as error:
            if self._reachable:
                _logger.warning("Queue %s cannot be read, trying again quietly: %s", self._name, reason_of(error))
            self._reachable = False
            return []
        if not self._reachable:
            _logger.warning("Queue %s can be read again", self._name)
        self._reachable = True
        return messages

    async def _process(self, message: QueueMessage) -> None:
        try:
            await self._handle(message)
        except ResourceNotFoundError:
            _logger.info("Message %s of queue %s is gone or was taken over", message.id, self._name)
        except AzureError as error:
            why = reason_of(error)
            _logger.error("Message %s of queue %s stays leased: %s", message.id, self._name, why)  # noqa: TRY400

    async def _handle(self, message: QueueMessage) -> None:
        limit = self._options.max_dequeue_count
        attempt = message.dequeue_count or 0
        if attempt > limit:
            await self._move_to_poison(message, f"it was taken {attempt} times")
            return
        try:
            body = decode(message.content, self._options.encoding)
        except ValueError as error:
            await self._move_to_poison(message, str(error))
            return
        async with self._leased(message):
            outcome = await self._invoker.invoke(
                self._function,
                Datum(body, "string"),
                trigger_metadata(message),
                reason=f"New queue message detected on '{self._name}'.",
            )
        if outcome.error is None:
            await self._queue.delete_message(message.id, message.pop_receipt)
        elif attempt >= limit:
            await self._move_to_poison(message, f"it failed {attempt} times")
        elif self._poison is not None:
            await self._renew(message, self._options.visibility_timeout.total_seconds())

    async def _move_to_poison(self, message: QueueMessage, why: str) -> None:
        """Copy the message as it is, then delete it; without a poison queue it stays leased."""
        if self._poison is None:
            return
        _logger.warning("Message %s moves to queue %s: %s", message.id, self._poison.queue_name, why)
        await self._storage.send(self._poison, message.content)
        await self._queue.delete_message(message.id, message.pop_receipt)

    @contextlib.asynccontextmanager
    async def _leased(self, message: QueueMessage) -> AsyncIterator[None]:
        """Keep the message invisible; on leaving, its pop receipt is the newest one."""
        done = asyncio.Event()
        renewing = asyncio.create_task(self._keep_leased(message, done))
        try:
            yield
        finally:
            done.set()
            await renewing

    async def _keep_leased(self, message: QueueMessage, done: asyncio.Event) -> None:
        while await elapsed(self._lease / 2, unless=done):
            try:
                await self._renew(message, self._lease)
            except AzureError as error:
                _logger.warning("Lease of message %s was not renewed: %s", message.id, reason_of(error))

    async def _renew(self, message: QueueMessage, seconds: float) -> None:
        """Set when the message shows again. By id: given the message itself, the SDK would rewrite its body."""
        updated = await self._queue.update_message(
            message.id, message.pop_receipt, visibility_timeout=round(seconds)
        )
        message.pop_receipt = updated.pop_receipt
