"""Refused decisions of the command line leave a line in the audit trail, as those of pages and programs do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from hubwarden.service.approve import NoSuchFindingError, NotAskedError, NotYoursError
from hubwarden.service.ports import Ports


_STATUS: Final[Mapping[type[Exception], int]] = {NoSuchFindingError: 404, NotAskedError: 409, NotYoursError: 403}


@asynccontextmanager
async def refusals_told(ports: Ports, finding_id: str) -> AsyncIterator[None]:
    """Write the line and let the refusal go on, with the status that a page would answer."""
    try:
        yield
    except tuple(_STATUS) as refusal:
        status, why = _STATUS[type(refusal)], str(refusal)
        await ports.audit.append(
            "approval_refused", {"finding": finding_id, "via": "command line", "status": status, "why": why}
        )
        raise
