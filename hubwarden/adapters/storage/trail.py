"""Reading the audit trail's blobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from azure.core.exceptions import ResourceNotFoundError

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.failures import reported
from hubwarden.domain.audit import LONGEST_BLOCK, Place


if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobClient


CONTAINER: Final = "hubwarden-audit"


class BlobTrail:
    """AuditReader on the container ``hubwarden-audit``."""

    def __init__(self, account: StorageAccount) -> None:
        self._account = account

    async def places(self) -> Sequence[Place]:
        """See AuditReader. What else lies in the container is no part of the trail."""
        with reported(f"container {CONTAINER}"):
            return await places_of(self._account)

    async def lines(self, place: Place) -> AsyncIterator[bytes]:
        """See AuditReader."""
        blob, at, rest = blob_of(self._account, place), 0, b""
        with reported(f"container {CONTAINER}"):
            size = (await blob.get_blob_properties()).size
        while at < size:
            with reported(f"container {CONTAINER}"):
                data = await bytes_of(blob, at, min(LONGEST_BLOCK, size - at))
            at += len(data)
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                yield line + b"\n"
        if rest:
            yield rest


async def places_of(account: StorageAccount) -> Sequence[Place]:
    """The blobs that the trail has, in order; none where there is no container."""
    listed = account.container(CONTAINER).list_blob_names(name_starts_with="audit/")
    try:
        names = [name async for name in listed]
    except ResourceNotFoundError:
        return []
    return sorted(place for name in names if (place := Place.of(name)) is not None)


def blob_of(account: StorageAccount, place: Place) -> BlobClient:
    """The client of one of its blobs."""
    return account.container(CONTAINER).get_blob_client(place.name)


async def bytes_of(blob: BlobClient, at: int, length: int) -> bytes:
    """Some of its bytes, which are the same for ever: a blob of the trail only grows."""
    return await (await blob.download_blob(offset=at, length=length)).readall()
