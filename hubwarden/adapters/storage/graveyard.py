"""Where messages end that nobody can use."""

from __future__ import annotations

import uuid

from datetime import UTC
from typing import Final

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.failures import creating, reported
from hubwarden.service.messages import Queue
from hubwarden.service.ports import Clock


CONTAINER: Final = "hubwarden-poison"
_LONGEST_REASON: Final = 1024


class BlobGraveyard:
    """Graveyard in blobs named ``YYYY/MM/DD/<queue>/<uuid>.txt`` (UTC), the reason in their metadata."""

    def __init__(self, account: StorageAccount, clock: Clock) -> None:
        self._account = account
        self._clock = clock

    async def bury(self, queue: Queue, text: str, reason: str) -> str:
        """Keep the text as UTF-8 with its reason, and return ``container/name``.

        Raises:
            StorageUnavailableError: it could not be kept.
        """
        container = self._account.container(CONTAINER)
        name = f"{self._clock.now().astimezone(UTC):%Y/%m/%d}/{queue}/{uuid.uuid4()}.txt"
        metadata = {"queue": queue.value, "reason": in_a_header(reason)}
        data = text.encode("utf-8", "surrogatepass")
        with reported(f"container {CONTAINER}"):
            # Nobody else has this name: what is overwritten is one's own first try.
            await creating(
                container.create_container,
                lambda: container.upload_blob(name, data, metadata=metadata, overwrite=True),
            )
        return f"{CONTAINER}/{name}"


def in_a_header(text: str) -> str:
    """Printable ASCII, the rest escaped as Python does: metadata travels in HTTP headers."""
    return text.encode("unicode_escape").decode("ascii")[:_LONGEST_REASON].strip()
