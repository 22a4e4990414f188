"""What was asked of the simulator, in order."""

import dataclasses
import itertools
import time

from dataclasses import dataclass
from typing import Any

from local.azure_simulator.clock import seven_digits, utc_now


@dataclass(slots=True)
class Entry:
    """One request; `status` is None until it is answered and stays so if the answer was cut.

    `taken` is the status that the service itself gave, answer received or not; None where it saw nothing.
    """

    number: int
    time: str
    monotonic: float
    method: str
    path: str
    query: str
    client_id: str | None = None
    principal: str | None = None
    status: int | None = None
    taken: int | None = None
    fault: str | None = None
    body: Any = None

    def view(self, *, bodies: bool) -> dict[str, Any]:
        """The entry as JSON, with the body of a hub's PUT on demand."""
        shown = dataclasses.asdict(self)
        if not bodies:
            del shown["body"]
        return shown


class RequestLog:
    """All requests but those of the control API."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._entries: list[Entry] = []

    def open(self, method: str, path: str, query: str) -> Entry:
        """Note that a request came."""
        entry = Entry(next(self._numbers), seven_digits(utc_now()), time.monotonic(), method, path, query)
        self._entries.append(entry)
        return entry

    def views(self, *, bodies: bool = False) -> list[dict[str, Any]]:
        """All entries, oldest first."""
        return [entry.view(bodies=bodies) for entry in self._entries]

    def clear(self) -> None:
        """Forget all entries; numbers go on."""
        self._entries.clear()
