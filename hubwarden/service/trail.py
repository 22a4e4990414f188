"""Reading the audit trail: is it whole, and its lines for somebody else to keep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

from hubwarden.domain.audit import Head, Place, Verdict, Verification
from hubwarden.service.ports import AuditReader


async def verify_trail(reader: AuditReader, *, since: date | None = None, noted: Head | None = None) -> Verdict:
    """Hold every line against the one before it, while others may append.

    Args:
        reader: the trail.
        since: the first day to look at; of what is before, only the blob right before it is read, if there is
            one, for its last line is what the first line of the day follows.
        noted: a head that was noted earlier.

    Raises:
        StorageUnavailableError: it could not be read.
    """
    verification = Verification(noted=noted, midway=since is not None)
    if since is not None:
        verification = await _begun_before(reader, since, verification)
    last: Place | None = None
    while fresh := [
        place
        for place in await reader.places()
        if (since is None or place.day >= since) and (last is None or place > last)
    ]:
        for place in fresh:
            verification.begin(place.name)
            async for line in reader.lines(place):
                verification.take(line)
            last = place
        if verification.next is None:
            break  # else it went on elsewhere meanwhile
    return verification.end()


async def _begun_before(reader: AuditReader, since: date, verification: Verification) -> Verification:
    before = [place for place in await reader.places() if place.day < since]
    if not before:
        return verification
    async for line in reader.lines(before[-1]):
        verification.take(line)
    return verification.going_on()


async def export_trail(reader: AuditReader, *, since: date, until: date) -> AsyncIterator[bytes]:
    """The lines of these days' blobs, both days included, byte by byte as they stand there.

    Raises:
        StorageUnavailableError: it could not be read.
    """
    for place in await reader.places():
        if since <= place.day <= until:
            async for line in reader.lines(place):
                yield line
