"""Sends what functions put into their output bindings."""

from collections.abc import Mapping

from azure.functions.meta import Datum

from .connections import Connection
from .functions import Binding, Function, queue_name
from .queue_messages import Encoding, encode, output_texts
from .runtime import Outcome
from .settings import Settings
from .storage import Storage


class Outputs:
    """The queue outputs of all functions; the HTTP return value is the HTTP front's."""

    def __init__(self, storage: Storage, settings: Settings, encoding: Encoding) -> None:
        self._storage = storage
        self._settings = settings
        self._encoding = encoding

    def check(self, function: Function) -> None:
        """Fail at start, not at the first message, when an output's connection or queue is no good."""
        for binding in _queues(function):
            self._connection(function, binding)
            queue_name(function, binding)

    async def send(self, function: Function, outcome: Outcome) -> None:
        """Send the messages of one successful invocation."""
        values: Mapping[str, Datum] = outcome.outputs or {}
        for binding in _queues(function):
            value = outcome.returned if binding.name == "$return" else values.get(binding.name)
            if value is None or value.type is None:
                continue
            queue = await self._storage.queue(self._connection(function, binding), queue_name(function, binding))
            for text in output_texts(value):
                await self._storage.send(queue, encode(text, self._encoding))

    def _connection(self, function: Function, binding: Binding) -> Connection:
        used_by = f"Function {function.name}, output {binding.name}"
        return self._settings.connection(binding.fields.get("connection"), "queue", used_by=used_by)


def _queues(function: Function) -> list[Binding]:
    return [binding for binding in function.outputs if binding.type == "queue"]
