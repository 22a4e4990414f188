"""Requests and answers without a framework, and the view of one request for an approval."""

from __future__ import annotations

import json

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from hubwarden.domain.finding import Finding, State
from hubwarden.domain.plan import change_parts
from hubwarden.service.ports import Ports
from hubwarden.web.links import Link
from hubwarden.web.pages import HEADERS, render
from hubwarden.web.view import ChangeView, MessageView, RequestView


_JSON: Final = MappingProxyType({
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """What came in. Header names are in lower case."""

    finding_id: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def media_type(self) -> str:
        """What the body is said to be, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out."""

    status: int
    body: str
    headers: Mapping[str, str]


def page(status: int, view: RequestView | MessageView) -> Answer:
    """A page."""
    return Answer(status, render(view), HEADERS)


def message(status: int, title: str, text: str) -> Answer:
    """A page that only says something."""
    return page(status, MessageView(status, title, text))


def data(status: int, content: Any) -> Answer:
    """JSON."""
    return Answer(status, json.dumps(content), _JSON)


def view_of(ports: Ports, finding: Finding, link: Link, csrf: str = "") -> RequestView:
    """The request that the link is about, as it stands now."""
    rule = next((rule for rule in ports.rules if rule.id == finding.rule_id), None)
    asked = finding.proposal if finding.proposal and finding.proposal.digest == link.digest else None
    ruling = finding.ruling if finding.ruling and finding.ruling.digest == link.digest else None
    return RequestView(
        finding_id=finding.id,
        hub_name=finding.hub.name,
        hub_path=finding.hub.path,
        rule_id=finding.rule_id,
        rule_title=rule.title if rule else "",
        severity=finding.severity.value,
        summary=finding.summary,
        actor=str(finding.actor) if finding.actor else "",
        changed_at=finding.changed_at,
        changes=tuple(ChangeView(*change_parts(change)) for change in asked.changes) if asked else (),
        warnings=asked.warnings if asked else (),
        risk=rule.risk if rule else "",
        expires_at=link.expires_at,
        csrf=csrf,
        action_url=f"/api/approvals/{finding.id}/decision?{link.query}",
        state=_standing(finding, link),
        decided_by=ruling.by if ruling else "",
        decided_at=ruling.at if ruling and ruling.by else None,
        decided_reason=ruling.reason if ruling and ruling.by else "",
    )


def waits(finding: Finding, link: Link) -> bool:
    """Whether the finding waits for a word on the link's plan."""
    waiting = finding.state is State.AWAITING_APPROVAL and finding.proposal is not None
    return waiting and finding.proposal is not None and finding.proposal.digest == link.digest


def _standing(finding: Finding, link: Link) -> str:
    """Where the link's plan stands, which may not be where the finding stands by now."""
    if waits(finding, link) or finding.state is State.RESOLVED:
        return finding.state
    ruling = finding.ruling
    if ruling is None or ruling.digest != link.digest:
        return State.STALE
    moved_on = finding.proposal is not None and finding.proposal.digest != link.digest
    undecided = finding.state in {State.TICKETED, State.AWAITING_APPROVAL}
    return ruling.state if moved_on or undecided else finding.state
