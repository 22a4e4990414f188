"""Tickets as Jira issues: Cloud (REST API 3) where a user is given, else Data Center (REST API 2).

The key is a label of the issue. What opens and closes an issue is its workflow's, so transitions are asked for.
"""

from __future__ import annotations

from typing import Any, Final

from hubwarden.adapters.tickets.foreign import Standing
from hubwarden.adapters.tickets.http import Http, Reply, Secret, rows, wanted
from hubwarden.adapters.tickets.markup import adf, one_line, wiki
from hubwarden.domain.jsons import Json, JsonObject
from hubwarden.domain.targets import Jira
from hubwarden.service.errors import PermanentError
from hubwarden.service.ports import Ticket, TicketRef


_NOT_FOUND: Final = 404
_DONE: Final = "done"
_LONGEST: Final = 30_000


class JiraIssues:
    """Tracker."""

    def __init__(self, settings: Jira, http: Http, secret: Secret) -> None:
        self._settings = settings
        self._http = http
        self._secret = secret
        self._cloud = settings.user is not None
        self._api = "/rest/api/3" if self._cloud else "/rest/api/2"
        self.system = f"jira {settings.url} {settings.project}"

    async def find(self, key: str) -> TicketRef | None:
        """See Tracker."""
        jql = f'project = "{self._settings.project}" AND labels = "{_label(key)}" ORDER BY created DESC'
        path = f"{self._api}/search/jql" if self._cloud else f"{self._api}/search"
        reply = await self._call("GET", path, query={"jql": jql, "fields": "status", "maxResults": "1"})
        issues = rows(reply.body, "issues")
        return self._ref(issues[0]) if issues else None

    async def standing(self, ref: TicketRef) -> Standing | None:
        """See Tracker. Where the workflow leads nowhere out of a done status, the issue is over."""
        reply = await self._call(
            "GET", self._issue(ref), query={"fields": "status", "expand": "transitions"}, also=(_NOT_FOUND,)
        )
        if reply.status == _NOT_FOUND:
            return Standing.GONE
        if _category(wanted(reply.body, "fields", "status")) != _DONE:
            return Standing.OPEN
        ways = rows(reply.body, "transitions")
        return Standing.CLOSED if any(_leads(way, done=False) for way in ways) else Standing.FINAL

    async def create(self, ticket: Ticket) -> TicketRef:
        """See Tracker."""
        fields: JsonObject = {
            **self._content(ticket),
            "project": {"key": self._settings.project},
            "issuetype": {"name": self._settings.issue_type},
            "labels": ["hubwarden", _label(ticket.key)],
        }
        return self._ref((await self._call("POST", f"{self._api}/issue", {"fields": fields})).body)

    async def update(self, ref: TicketRef, ticket: Ticket, *, reopen: bool) -> None:
        """See Tracker."""
        if reopen:
            await self._move(ref, done=False)
        await self._call("PUT", self._issue(ref), {"fields": self._content(ticket)})

    async def close(self, ref: TicketRef, note: str) -> None:  # noqa: ARG002 - a comment has it
        """See Tracker. The evidence comes later: a workflow that does not let go must not collect comments.

        A transition would take a comment, but one without a screen drops it without a word.
        """
        await self._move(ref, done=True)

    async def explain(self, ref: TicketRef, note: str) -> None:
        """See Tracker."""
        await self._call("POST", f"{self._issue(ref)}/comment", {"body": self._text(f"Closed: {note}")})

    async def _move(self, ref: TicketRef, *, done: bool) -> None:
        path = f"{self._issue(ref)}/transitions"
        ways = rows((await self._call("GET", path)).body, "transitions")
        way = next((way for way in ways if _leads(way, done=done)), None)
        if way is None:
            where = "a done status" if done else "an open status"
            raise PermanentError(f"Jira {ref.id}: its workflow has no transition to {where} for this account")
        await self._call("POST", path, {"transition": {"id": wanted(way, "id")}})

    def _content(self, ticket: Ticket) -> JsonObject:
        follows = f"\nFollows: {ticket.previous.url}" if ticket.previous else ""
        fields: dict[str, Json] = {
            "summary": one_line(ticket.title, 255),
            "description": self._text(ticket.text[:_LONGEST] + follows),
        }
        priority = self._settings.priorities.get(ticket.severity)
        if priority is not None:
            fields["priority"] = {"name": priority}
        return fields

    def _text(self, text: str) -> Json:
        return adf(text) if self._cloud else wiki(text)

    def _issue(self, ref: TicketRef) -> str:
        return f"{self._api}/issue/{ref.id}"

    def _ref(self, issue: Any) -> TicketRef:
        key = str(wanted(issue, "key"))
        return TicketRef(self.system, key, f"{self._settings.url}/browse/{key}")

    async def _call(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        query: dict[str, str] | None = None,
        also: tuple[int, ...] = (),
    ) -> Reply:
        user = self._settings.user
        headers = self._secret.bearer() if user is None else self._secret.basic(user)
        return await self._http.call(method, path, headers=headers, json_body=body, query=query, also=also)


def _label(key: str) -> str:
    return f"hubwarden-{key}"


def _category(status: Any) -> str:
    return str(wanted(status, "statusCategory", "key"))


def _leads(way: Any, *, done: bool) -> bool:
    return (_category(wanted(way, "to")) == _DONE) == done
