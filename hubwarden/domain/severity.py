"""How bad a drift is."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """How bad the drift is if nothing is done."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"
