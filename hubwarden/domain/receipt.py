"""What Azure calls a request that it has answered."""

from __future__ import annotations

from dataclasses import dataclass

from hubwarden.domain.jsons import JsonObject


@dataclass(frozen=True, slots=True)
class Receipt:
    """The ids under which Azure's logs and its support know a request; None where the answer had none.

    The correlation id is also that of the Activity Log's entries and of Event Grid's event.
    """

    request_id: str | None
    correlation_id: str | None

    def as_json(self) -> JsonObject:
        """As an audit line has it."""
        return {"request_id": self.request_id, "correlation_id": self.correlation_id}
