"""Asynchronous operations: started by a PUT or DELETE, polled by the client, done after a while."""

import asyncio
import base64
import uuid

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Operation:
    """One operation; `finish` makes it take effect."""

    id: str
    finish: Callable[[], None]
    done: bool = False
    timer: asyncio.TimerHandle | None = None

    @property
    def status(self) -> str:
        """What a poll says (RECORDINGS §3.2)."""
        return "Succeeded" if self.done else "Running"


class Operations:
    """Running and finished operations of all subscriptions."""

    def __init__(self) -> None:
        self._all: dict[str, Operation] = {}

    def start(self, location: str, finish: Callable[[], None], seconds: float | None) -> Operation:
        """Start an operation that is done after `seconds`, or, with None, at `finish_all()`."""
        text = f"id=os_ih_{uuid.uuid4()};region={location}"
        operation = Operation(base64.b64encode(text.encode()).decode(), finish)
        self._all[operation.id] = operation
        if seconds is not None:
            operation.timer = asyncio.get_running_loop().call_later(seconds, self._finish, operation)
        return operation

    def find(self, operation_id: str) -> Operation | None:
        """The operation of this id."""
        return self._all.get(operation_id)

    def finish_all(self) -> None:
        """Let everything that runs be done now."""
        for operation in list(self._all.values()):
            self._finish(operation)

    def cancel_all(self) -> None:
        """Forget all operations; those that run never take effect."""
        for operation in self._all.values():
            if operation.timer:
                operation.timer.cancel()
        self._all.clear()

    @staticmethod
    def _finish(operation: Operation) -> None:
        if operation.timer:
            operation.timer.cancel()
        if not operation.done:
            operation.done = True
            operation.finish()
