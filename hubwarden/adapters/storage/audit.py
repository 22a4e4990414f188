"""The audit trail: JSON lines in append blobs, a blob a day."""

from __future__ import annotations

import json
import uuid

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError

from hubwarden.adapters.storage.account import StorageAccount
from hubwarden.adapters.storage.failures import creating, error_code, reported
from hubwarden.domain.jsons import Json
from hubwarden.service.errors import StorageUnavailableError
from hubwarden.service.ports import Clock


CONTAINER: Final = "hubwarden-audit"
LONGEST_LINE: Final = 4 * 1024 * 1024
_ENVELOPE: Final = frozenset({"at", "id", "kind"})


class BlobAudit:
    """AuditTrail in ``audit/YYYY/MM/DD.jsonl`` (UTC); a full blob is followed by ``DD.1.jsonl`` and so on.

    A line is one atomic block, so that any number of instances may append. An append whose answer was lost is
    sent again: the line can then stand there twice, with the same ``id``.
    """

    def __init__(self, account: StorageAccount, clock: Clock) -> None:
        self._account = account
        self._clock = clock
        self._full: dict[str, int] = {}

    async def append(self, kind: str, details: Mapping[str, Json]) -> None:
        """Write one line and return once it is stored; ``at``, ``id`` and ``kind`` are added to the details.

        Raises:
            StorageUnavailableError: it could not be written; then nothing may be written to Azure either.
            ValueError: the details have one of the three names that are added.
        """
        now = self._clock.now().astimezone(UTC)
        line = _line(now, kind, details)
        day = f"audit/{now:%Y/%m/%d}"
        with reported(f"container {CONTAINER}"):
            while not await self._fits(_blob_name(day, self._full.get(day, 0)), line):
                self._full[day] = self._full.get(day, 0) + 1

    async def _fits(self, name: str, line: bytes) -> bool:
        """Append to the blob; False where it already has as many blocks as a blob can have."""
        blob = self._account.container(CONTAINER).get_blob_client(name)
        try:
            await creating(lambda: self._create(name), lambda: blob.append_block(line))
        except HttpResponseError as error:
            if error_code(error) != "BlockCountExceedsLimit":
                raise
            return False
        return True

    async def _create(self, name: str) -> None:
        container = self._account.container(CONTAINER)
        blob = container.get_blob_client(name)
        await creating(
            container.create_container,
            lambda: blob.create_append_blob(match_condition=MatchConditions.IfMissing),
        )


def _blob_name(day: str, part: int) -> str:
    return f"{day}.{part}.jsonl" if part else f"{day}.jsonl"


def _line(at: datetime, kind: str, details: Mapping[str, Json]) -> bytes:
    if taken := _ENVELOPE & details.keys():
        raise ValueError(f"an audit line has its own {', '.join(sorted(taken))}")
    entry = {"at": at.isoformat(), "id": str(uuid.uuid4()), "kind": kind, **details}
    line = json.dumps(entry, sort_keys=True).encode() + b"\n"
    if len(line) > LONGEST_LINE:
        raise StorageUnavailableError(
            f"container {CONTAINER}: a line of {len(line)} bytes is more than the {LONGEST_LINE} that fit"
        )
    return line
