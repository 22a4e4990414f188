"""Long lists, as block blobs."""

from __future__ import annotations

import re

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from azure.core import MatchConditions
from azure.core.exceptions import ResourceNotFoundError

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.failures import creating, reported


if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobClient


CONTAINER: Final = "hubwarden-lists"
_MOST_PARTS: Final = 50_000
_CHUNK: Final = 4 * 1024 * 1024
_NAME: Final = re.compile(r"(?=.{1,900}\Z)[\w.()-]*[\w()-](/[\w.()-]*[\w()-])*")


class BlobLists:
    """Lists in the container ``hubwarden-lists``. A part is a block, which nobody sees before it is committed.

    Azure forgets blocks that were never committed after a week.
    """

    def __init__(self, account: StorageAccount) -> None:
        self._account = account

    async def stage(self, name: str, part: int, data: bytes) -> None:
        """Keep one part, numbered from 0, not empty; a part that was staged before is replaced.

        Raises:
            StorageUnavailableError: it could not be kept.
            ValueError: the name or the number is none that a list can have.
        """
        blob, block = self._blob(name), _block(part)
        await self._creating(lambda: blob.stage_block(block, data))

    async def commit(self, name: str, parts: int) -> str:
        """Make the list of its first so many parts, in order, and return ``container/name``; may be repeated.

        Raises:
            StorageUnavailableError: a part was never staged, or the list could not be made.
            ValueError: as stage.
        """
        from azure.storage.blob import BlobBlock  # noqa: PLC0415 - cold start

        blob, blocks = self._blob(name), [BlobBlock(_block(part)) for part in range(parts)]
        await self._creating(lambda: blob.commit_block_list(blocks))
        return f"{CONTAINER}/{name}"

    async def lines(self, name: str) -> AsyncIterator[str]:
        """The lines of a list that was committed, without their line feeds.

        Raises:
            StorageUnavailableError: there is no such list, or it could not be read.
            ValueError: as stage.
        """
        blob = self._blob(name)
        rest = b""
        async for chunk in _chunks(blob):
            whole, found, rest = (rest + chunk).rpartition(b"\n")
            if found:
                for line in whole.split(b"\n"):
                    yield line.decode()
        if rest:
            yield rest.decode()

    async def delete(self, name: str) -> None:
        """Forget a list; nothing happens where there is none.

        Raises:
            StorageUnavailableError: whether it is gone is not known.
            ValueError: as stage.
        """
        blob = self._blob(name)
        with reported(f"container {CONTAINER}"), suppress(ResourceNotFoundError):
            await blob.delete_blob()

    def _blob(self, name: str) -> BlobClient:
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"not a name of a list: {name!r}")
        return self._account.container(CONTAINER).get_blob_client(name)

    async def _creating(self, work: Callable[[], Awaitable[object]]) -> None:
        with reported(f"container {CONTAINER}"):
            await creating(self._account.container(CONTAINER).create_container, work)


async def _chunks(blob: BlobClient) -> AsyncIterator[bytes]:
    """The content of a blob, which may not change on the way. Left to itself, the SDK takes 32 MiB at once."""
    with reported(f"container {CONTAINER}"):
        found = await blob.get_blob_properties()
    for at in range(0, found.size, _CHUNK):
        with reported(f"container {CONTAINER}"):
            download = await blob.download_blob(
                offset=at, length=_CHUNK, etag=found.etag, match_condition=MatchConditions.IfNotModified
            )
            chunk = await download.readall()
        yield chunk


def _block(part: int) -> str:
    """All ids of one blob's blocks must be of one length."""
    if not 0 <= part < _MOST_PARTS:
        raise ValueError(f"a list has at most {_MOST_PARTS} parts, and no part {part}")
    return f"{part:05d}"
