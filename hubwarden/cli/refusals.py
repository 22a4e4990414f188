"""What the command line refuses leaves a line in the audit trail, as what pages and programs are refused does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from hubwarden.domain.approval import Approver
from hubwarden.service.approve import NoSuchFindingError, NotAskedError, NotYoursError
from hubwarden.service.operate import NotHeldError
from hubwarden.service.ports import Ports
from hubwarden.service.rollback import NoSuchRemediationError, NotRolledBackError


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


@asynccontextmanager
async def refused(ports: Ports, command: str, about: str, by: Approver) -> AsyncIterator[None]:
    """Write the line and let the refusal go on; ``about`` is what was named, empty where nothing is."""
    try:
        yield
    except (NoSuchFindingError, NotHeldError, NoSuchRemediationError, NotRolledBackError) as refusal:
        line = {"command": command, "about": about, "by": str(by), "why": str(refusal)}
        await ports.audit.append("refused", line)
        raise
