"""Tickets as ServiceNow incidents (Table API). The key is the incident's correlation_id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hubwarden.adapters.tickets.foreign import Standing
from hubwarden.adapters.tickets.http import Http, Reply, Secret, rows, wanted
from hubwarden.adapters.tickets.markup import one_line, plain
from hubwarden.domain.jsons import Json, JsonObject
from hubwarden.domain.severity import Severity
from hubwarden.domain.targets import ServiceNow
from hubwarden.service.ports import Ticket, TicketRef


_TABLE: Final = "/api/now/table/incident"
_FIELDS: Final = "sys_id,number,state"
_NOT_FOUND: Final = 404
_IN_PROGRESS: Final = "2"
_RESOLVED: Final = "6"
_LONGEST: Final = 3_900
# Impact and urgency; ServiceNow computes the priority from both.
_GRADES: Final[Mapping[Severity, tuple[str, str]]] = {
    Severity.CRITICAL: ("1", "1"),
    Severity.HIGH: ("2", "1"),
    Severity.MEDIUM: ("2", "2"),
    Severity.LOW: ("3", "3"),
}


class ServiceNowIncidents:
    """Tracker."""

    def __init__(self, settings: ServiceNow, http: Http, secret: Secret) -> None:
        self._settings = settings
        self._http = http
        self._secret = secret
        self.system = f"servicenow {settings.url}"

    async def find(self, key: str) -> TicketRef | None:
        """See Tracker."""
        query = {
            "sysparm_query": f"correlation_id={key}^ORDERBYDESCsys_created_on",
            "sysparm_limit": "1",
            "sysparm_fields": _FIELDS,
        }
        found = rows((await self._call("GET", _TABLE, query=query)).body, "result")
        return self._ref(found[0]) if found else None

    async def standing(self, ref: TicketRef) -> Standing | None:
        """See Tracker. Resolved incidents can be opened again, closed and canceled ones cannot."""
        reply = await self._call(
            "GET", f"{_TABLE}/{ref.id}", query={"sysparm_fields": _FIELDS}, also=(_NOT_FOUND,)
        )
        if reply.status == _NOT_FOUND:
            return Standing.GONE
        match str(wanted(reply.body, "result", "state")):
            case "6":
                return Standing.CLOSED
            case "7" | "8":
                return Standing.FINAL
            case _:
                return Standing.OPEN

    async def create(self, ticket: Ticket) -> TicketRef:
        """See Tracker."""
        group = self._settings.assignment_group
        more: JsonObject = {"assignment_group": group} if group else {}
        body = {**_content(ticket), "correlation_id": ticket.key, "correlation_display": "hubwarden", **more}
        return self._ref(wanted((await self._call("POST", _TABLE, body)).body, "result"))

    async def update(self, ref: TicketRef, ticket: Ticket, *, reopen: bool) -> None:
        """See Tracker."""
        state: JsonObject = {"state": _IN_PROGRESS} if reopen else {}
        await self._call("PATCH", f"{_TABLE}/{ref.id}", {**_content(ticket), **state})

    async def close(self, ref: TicketRef, note: str) -> None:
        """See Tracker."""
        resolved: JsonObject = {
            "state": _RESOLVED, "close_code": self._settings.close_code, "close_notes": plain(note)[:_LONGEST],
        }  # fmt: skip
        await self._call("PATCH", f"{_TABLE}/{ref.id}", resolved)

    async def explain(self, ref: TicketRef, note: str) -> None:
        """See Tracker. Nothing is left to say: closing took it."""

    def _ref(self, row: Any) -> TicketRef:
        sys_id = str(wanted(row, "sys_id"))
        url = f"{self._settings.url}/nav_to.do?uri=incident.do?sys_id={sys_id}"
        return TicketRef(self.system, sys_id, url)

    async def _call(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        query: dict[str, str] | None = None,
        also: tuple[int, ...] = (),
    ) -> Reply:
        headers = self._secret.basic(self._settings.user)
        return await self._http.call(method, path, headers=headers, json_body=body, query=query, also=also)


def _content(ticket: Ticket) -> JsonObject:
    follows = f"\nFollows: {ticket.previous.url}" if ticket.previous else ""
    impact, urgency = _GRADES[ticket.severity]
    return {
        "short_description": one_line(plain(ticket.title), 160),
        "description": plain(ticket.text)[:_LONGEST] + follows,
        "impact": impact,
        "urgency": urgency,
    }
