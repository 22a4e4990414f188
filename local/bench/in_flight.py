"""How many requests a process has on their way at once, counted where azure-core hands them to aiohttp."""

from __future__ import annotations

from typing import Any

from azure.core.pipeline import transport


class InFlight:
    """``watch()`` before any client is made; ``peak`` afterwards."""

    def __init__(self) -> None:
        self.peak = 0
        self._now = 0

    def watch(self) -> None:
        """Count in every transport that is made from now on."""
        counter = self

        class Counting(transport.AioHttpTransport):  # type: ignore[misc]
            async def send(self, request: Any, **config: Any) -> Any:
                with counter:
                    return await super().send(request, **config)

        transport.AioHttpTransport = Counting

    def __enter__(self) -> None:
        self._now += 1
        self.peak = max(self.peak, self._now)

    def __exit__(self, *_: object) -> None:
        self._now -= 1
