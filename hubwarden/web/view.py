"""What the pages show: plain values, made by whoever knows, shown by hubwarden.web.pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ChangeView:
    """One place of the hub, before and after, as people read it."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """One request for an approval, waiting or decided; ``state`` is the finding's.

    After a form that could not be taken, ``error`` says why, ``decision`` and ``reason`` are what was sent.
    """

    finding_id: str
    hub_name: str
    hub_path: str
    rule_id: str
    rule_title: str
    severity: str
    summary: str
    actor: str
    """Empty where nobody is known."""
    changed_at: datetime | None
    changes: tuple[ChangeView, ...]
    warnings: tuple[str, ...]
    risk: str
    expires_at: datetime
    csrf: str
    action_url: str
    state: str
    decided_by: str = ""
    decided_at: datetime | None = None
    decided_reason: str = ""
    error: str = ""
    decision: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MessageView:
    """A page that only says something, sent with ``status``; it tells nothing about any hub."""

    status: int
    title: str
    text: str
