"""What is kept of each write: enough to say what it did, and to make a plan that undoes it. Never a key."""

from __future__ import annotations

import hashlib

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.plan import Target


KEPT: Final = timedelta(days=90)
"""How long a remediation can be looked up; the audit trail tells of it for longer."""


class Outcome(StrEnum):
    """What became of a write, as far as is known."""

    BEGUN = "begun"
    """It was about to be sent. Where it stays so, the worker died, and the next fix tells how it went on."""
    NOT_WRITTEN = "not_written"
    """Azure did not take it, or it did not arrive."""
    UNCERTAIN = "uncertain"
    """It may have arrived; the hub is looked at."""
    PROVEN = "proven"
    NOT_PROVEN = "not_proven"
    """Azure took it, and what it was for is not what was found afterwards."""
    ROLLED_BACK = "rolled_back"
    """It was proven, and so is the rollback of it."""


@dataclass(frozen=True, slots=True)
class Remediation:
    """One write of ours, kept before it is sent. ``at`` is UTC.

    ``changes`` hold exactly the declared paths, before and after; ``etag`` is the hub's before the write.
    ``decided`` says, finding by finding, what allowed it. ``undo`` is set once it is proven: the changes that
    lead from what the hub was found to hold back to what it held before. ``rolls_back`` names the remediation
    that this one undoes.
    """

    id: str
    hub: HubId
    rules: tuple[str, ...]
    findings: tuple[str, ...]
    target: Target
    plan: str
    etag: str
    changes: tuple[JsonObject, ...]
    decided: tuple[str, ...]
    at: datetime
    outcome: Outcome = Outcome.BEGUN
    undo: tuple[JsonObject, ...] = ()
    rolls_back: str | None = None


def remediation_id(plan: str, at: datetime) -> str:
    """Names the carrying out of this plan (a digest) at this moment (UTC)."""
    return f"r-{hashlib.sha256(f'{plan}\n{at.isoformat()}'.encode()).hexdigest()[:16]}"
