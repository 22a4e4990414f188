"""The audit trail, watched: that a line could not be written calls for somebody."""

from __future__ import annotations

from collections.abc import Mapping

from hubwarden.domain.jsons import Json
from hubwarden.service.errors import StorageUnavailableError
from hubwarden.service.ports import AuditTrail
from hubwarden.service.telemetry import AUDIT_UNWRITABLE, Telemetry


class CountedAudit:
    """AuditTrail that tells of each line that could not be written."""

    def __init__(self, audit: AuditTrail, telemetry: Telemetry) -> None:
        self._audit = audit
        self._telemetry = telemetry

    async def append(self, kind: str, details: Mapping[str, Json]) -> None:
        """See AuditTrail."""
        try:
            await self._audit.append(kind, details)
        except StorageUnavailableError:
            self._telemetry.count(AUDIT_UNWRITABLE)
            raise
