"""The blobs in which Event Grid leaves the events that it could not deliver."""

from __future__ import annotations

import heapq

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.failures import reported
from hubwarden.adapters.storage.graveyard import in_a_header
from hubwarden.service.ports import DeadLetter, DeadLetterCount


if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties
    from azure.storage.blob.aio import BlobClient


CONTAINER: Final = "hubwarden-deadletters"
MARK: Final = "hubwarden_reason"
"""The metadata of a blob that was set aside; without it, the blob is read back again."""
_MOST_LISTED: Final = 50_000
"""Where more lie there, the oldest of these are taken first."""


class BlobDeadLetters:
    """DeadLetters in the container ``hubwarden-deadletters``, which the infrastructure makes.

    Event Grid names a blob ``SUBSCRIPTION/2026/11/23/9/<guid>.json``, the subscription's name in upper case, the
    hour (UTC) without zeros in front; each holds an array of one event or more.
    https://learn.microsoft.com/azure/event-grid/manage-event-delivery#set-dead-letter-location
    """

    def __init__(self, account: StorageAccount) -> None:
        self._account = account

    async def waiting(self, most: int) -> Sequence[DeadLetter]:
        """See DeadLetters."""
        letters = [_letter(blob) async for blob in self._listed() if not _is_set_aside(blob)]
        return heapq.nsmallest(most, letters, key=lambda letter: (letter.at, letter.name))

    async def count(self) -> DeadLetterCount:
        """See DeadLetters."""
        waiting, set_aside = [], 0
        async for blob in self._listed():
            if _is_set_aside(blob):
                set_aside += 1
            else:
                waiting.append(blob.last_modified)
        return DeadLetterCount(len(waiting), min(waiting, default=None), set_aside)

    async def read(self, letter: DeadLetter) -> bytes | None:
        """See DeadLetters."""
        with reported(f"container {CONTAINER}"):
            try:
                download = await self._blob(letter).download_blob(**_unchanged(letter))
                content: bytes = await download.readall()
            except (ResourceNotFoundError, ResourceModifiedError):
                return None
        return content

    async def remove(self, letter: DeadLetter) -> None:
        """See DeadLetters."""
        with reported(f"container {CONTAINER}"), suppress(ResourceNotFoundError, ResourceModifiedError):
            await self._blob(letter).delete_blob(**_unchanged(letter))

    async def set_aside(self, letter: DeadLetter, reason: str) -> None:
        """See DeadLetters."""
        with reported(f"container {CONTAINER}"), suppress(ResourceNotFoundError, ResourceModifiedError):
            await self._blob(letter).set_blob_metadata({MARK: in_a_header(reason)}, **_unchanged(letter))

    def _blob(self, letter: DeadLetter) -> BlobClient:
        return self._account.container(CONTAINER).get_blob_client(letter.name)

    async def _listed(self) -> AsyncIterator[BlobProperties]:
        listed = 0
        with reported(f"container {CONTAINER}"), suppress(ResourceNotFoundError):
            async for blob in self._account.container(CONTAINER).list_blobs(include=["metadata"]):
                yield blob
                listed += 1
                if listed >= _MOST_LISTED:
                    return


def _letter(blob: BlobProperties) -> DeadLetter:
    return DeadLetter(blob.name, blob.size, blob.last_modified, blob.etag)


def _is_set_aside(blob: BlobProperties) -> bool:
    return MARK in (blob.metadata or {})


def _unchanged(letter: DeadLetter) -> dict[str, Any]:
    return {"etag": letter.etag, "match_condition": MatchConditions.IfNotModified}
