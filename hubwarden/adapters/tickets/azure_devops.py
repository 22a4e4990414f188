"""Tickets as Azure DevOps work items (REST API 7.1). The key is a tag of the work item.

Which states there are is the project's process's to say, so they are asked for by their categories, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from hubwarden.adapters.tickets.foreign import Standing
from hubwarden.adapters.tickets.http import Http, Reply, Secret, rows, wanted
from hubwarden.adapters.tickets.markup import html_text, one_line
from hubwarden.domain.jsons import Json
from hubwarden.domain.severity import Severity
from hubwarden.domain.targets import AzureDevOps
from hubwarden.service.errors import DeniedError, PermanentError
from hubwarden.service.ports import Ticket, TicketRef


_VERSION: Final = "7.1"
_NOT_FOUND: Final = 404
_SIGN_IN: Final = 203
_BY_TAG: Final = (
    "SELECT [System.Id] FROM WorkItems WHERE [System.TeamProject] = @project "
    "AND [System.Tags] CONTAINS 'TAG' ORDER BY [System.Id] DESC"
)
_STANDINGS: Final = {"Completed": Standing.CLOSED, "Resolved": Standing.CLOSED, "Removed": Standing.FINAL}
_PRIORITY: Final[Mapping[Severity, int]] = {
    Severity.CRITICAL: 1,
    Severity.HIGH: 2,
    Severity.MEDIUM: 3,
    Severity.LOW: 4,
}


class AzureDevOpsItems:
    """Tracker."""

    def __init__(self, settings: AzureDevOps, http: Http, secret: Secret) -> None:
        self._settings = settings
        self._http = http
        self._secret = secret
        self._project = f"/{settings.organization}/{quote(settings.project, safe='')}"
        self._states: list[Any] | None = None
        self.system = f"azure_devops {settings.url} {settings.organization}/{settings.project}"

    async def find(self, key: str) -> TicketRef | None:
        """See Tracker."""
        query = _BY_TAG.replace("TAG", _tag(key))
        reply = await self._call("POST", "/_apis/wit/wiql", {"query": query}, query={"$top": "1"})
        items = rows(reply.body, "workItems")
        return self._ref(wanted(items[0], "id")) if items else None

    async def standing(self, ref: TicketRef) -> Standing | None:
        """See Tracker."""
        reply = await self._call(
            "GET", f"/_apis/wit/workitems/{ref.id}", query={"fields": "System.State"}, also=(_NOT_FOUND,)
        )
        if reply.status == _NOT_FOUND:
            return Standing.GONE
        state = wanted(reply.body, "fields", "System.State")
        category = next((c for name, c in await self._categories() if name == state), None)
        return _STANDINGS.get(category or "", Standing.OPEN)

    async def create(self, ticket: Ticket) -> TicketRef:
        """See Tracker."""
        fields = {**_content(ticket), "System.Tags": f"hubwarden; {_tag(ticket.key)}"}
        kind = quote(self._settings.type, safe="")
        previous = ticket.previous
        links = [] if previous is None else [self._link(previous)]
        reply = await self._patch("POST", f"/_apis/wit/workitems/${kind}", fields, links)
        return self._ref(wanted(reply.body, "id"))

    async def update(self, ref: TicketRef, ticket: Ticket, *, reopen: bool) -> None:
        """See Tracker."""
        state = {"System.State": await self._state("Proposed")} if reopen else {}
        await self._patch("PATCH", f"/_apis/wit/workitems/{ref.id}", {**_content(ticket), **state})

    async def close(self, ref: TicketRef, note: str) -> None:
        """See Tracker."""
        fields = {"System.State": await self._state("Completed"), "System.History": html_text(f"Closed: {note}")}
        await self._patch("PATCH", f"/_apis/wit/workitems/{ref.id}", fields)

    async def explain(self, ref: TicketRef, note: str) -> None:
        """See Tracker. Nothing is left to say: closing took it."""

    async def _state(self, category: str) -> str:
        for name, known in await self._categories():
            if known == category:
                return name
        raise PermanentError(f"work items of type {self._settings.type} have no state of category {category}")

    async def _categories(self) -> list[tuple[str, str]]:
        """The states of our type of work item, with their categories."""
        if self._states is None:
            kind = quote(self._settings.type, safe="")
            reply = await self._call("GET", f"/_apis/wit/workitemtypes/{kind}/states")
            self._states = rows(reply.body, "value")
        return [(wanted(state, "name"), wanted(state, "category")) for state in self._states]

    def _link(self, previous: TicketRef) -> Json:
        url = f"{self._settings.url}{self._project}/_apis/wit/workItems/{previous.id}"
        return {
            "op": "add", "path": "/relations/-", "value": {"rel": "System.LinkTypes.Related", "url": url},
        }  # fmt: skip

    def _ref(self, number: Any) -> TicketRef:
        url = f"{self._settings.url}{self._project}/_workitems/edit/{number}"
        return TicketRef(self.system, str(number), url)

    async def _patch(
        self, method: str, path: str, fields: Mapping[str, Json], more: list[Json] | None = None
    ) -> Reply:
        changes: list[Json] = [
            {"op": "add", "path": f"/fields/{name}", "value": value} for name, value in fields.items()
        ]
        return await self._call(method, path, changes + (more or []), kind="application/json-patch+json")

    async def _call(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        query: Mapping[str, str] | None = None,
        also: tuple[int, ...] = (),
        kind: str = "application/json",
    ) -> Reply:
        reply = await self._http.call(
            method,
            self._project + path,
            headers={"Content-Type": kind, **self._secret.basic("")},
            json_body=body,
            query={"api-version": _VERSION, **(query or {})},
            also=also,
        )
        if reply.status == _SIGN_IN:  # a sign-in page is how it refuses a token that it does not know
            raise DeniedError(f"{method} {self._settings.url}{self._project}{path}: the token is not accepted")
        return reply


def _content(ticket: Ticket) -> dict[str, Json]:
    return {
        "System.Title": one_line(ticket.title, 255),
        "System.Description": html_text(ticket.text),
        "Microsoft.VSTS.Common.Priority": _PRIORITY[ticket.severity],
    }


def _tag(key: str) -> str:
    return f"hubwarden-{key}"
