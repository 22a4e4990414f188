"""How commands print data."""

from __future__ import annotations

from enum import StrEnum


class Output(StrEnum):
    """How something is printed."""

    TABLE = "table"
    JSON = "json"
