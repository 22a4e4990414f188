"""Tickets as GitHub issues (REST API 2022-11-28), on github.com or a GitHub Enterprise Server.

The key stands in a hidden comment at the end of the body. Every issue has the label ``hubwarden``, by which it is
found.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from hubwarden.adapters.tickets.foreign import Standing
from hubwarden.adapters.tickets.http import Http, Reply, Secret, rows, wanted
from hubwarden.adapters.tickets.markup import markdown, one_line
from hubwarden.domain.jsons import Json, JsonObject
from hubwarden.domain.targets import GitHub
from hubwarden.service.ports import Ticket, TicketRef


_LABEL: Final = "hubwarden"
_PAGE: Final = 100
_NOT_FOUND: Final = 404
_MOVED: Final = 301
_GONE: Final = 410
_LONGEST: Final = 50_000


class GitHubIssues:
    """Tracker."""

    def __init__(self, settings: GitHub, http: Http, secret: Secret) -> None:
        self._http = http
        self._secret = secret
        self._issues = f"/repos/{settings.repository}/issues"
        self.system = f"github {settings.url} {settings.repository}"

    async def find(self, key: str) -> TicketRef | None:
        """See Tracker. The list is what GitHub has at this moment; its search lags behind."""
        async for issue in self._all():
            if str(issue.get("body") or "").rstrip().endswith(_marker(key)) and "pull_request" not in issue:
                return self._ref(issue)
        return None

    async def standing(self, ref: TicketRef) -> Standing | None:
        """See Tracker. One that was moved to another repository is followed by a new one here."""
        reply = await self._call("GET", f"{self._issues}/{ref.id}", also=(_NOT_FOUND, _GONE, _MOVED))
        if reply.status in {_NOT_FOUND, _GONE}:
            return Standing.GONE
        if reply.status == _MOVED:
            return Standing.FINAL
        return Standing.OPEN if wanted(reply.body, "state") == "open" else Standing.CLOSED

    async def create(self, ticket: Ticket) -> TicketRef:
        """See Tracker."""
        labels: list[Json] = [_LABEL, f"severity:{ticket.severity}"]
        reply = await self._call("POST", self._issues, {**_content(ticket), "labels": labels})
        return self._ref(reply.body)

    async def update(self, ref: TicketRef, ticket: Ticket, *, reopen: bool) -> None:
        """See Tracker."""
        state: JsonObject = {"state": "open", "state_reason": "reopened"} if reopen else {}
        await self._call("PATCH", f"{self._issues}/{ref.id}", {**_content(ticket), **state})

    async def close(self, ref: TicketRef, note: str) -> None:  # noqa: ARG002 - a comment has it
        """See Tracker. The evidence comes later, so that what cannot be closed does not collect comments."""
        await self._call("PATCH", f"{self._issues}/{ref.id}", {"state": "closed", "state_reason": "completed"})

    async def explain(self, ref: TicketRef, note: str) -> None:
        """See Tracker."""
        await self._call("POST", f"{self._issues}/{ref.id}/comments", {"body": markdown(f"Closed: {note}")})

    async def _all(self) -> AsyncIterator[Any]:
        page, more = 1, True
        while more:
            query = {"labels": _LABEL, "state": "all", "per_page": str(_PAGE), "page": str(page)}
            issues = rows((await self._call("GET", self._issues, query=query)).body)
            for issue in issues:
                yield issue
            page, more = page + 1, len(issues) == _PAGE

    def _ref(self, issue: Any) -> TicketRef:
        return TicketRef(self.system, str(wanted(issue, "number")), wanted(issue, "html_url"))

    async def _call(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        query: dict[str, str] | None = None,
        also: tuple[int, ...] = (),
    ) -> Reply:
        headers = {
            "Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28", **self._secret.bearer(),
        }  # fmt: skip
        return await self._http.call(method, path, headers=headers, json_body=body, query=query, also=also)


def _content(ticket: Ticket) -> JsonObject:
    follows = f"\n\nFollows {ticket.previous.url}" if ticket.previous else ""
    body = f"{markdown(ticket.text[:_LONGEST])}{follows}\n\n{_marker(ticket.key)}"
    return {"title": one_line(ticket.title, 256), "body": body}


def _marker(key: str) -> str:
    return f"<!-- hubwarden:{key} -->"
