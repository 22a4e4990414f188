"""What the pages show: plain values, made by whoever knows, shown by hubwarden.web.pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final


NOT_DONE: Final = "not_done"
"""A standing besides the states of a finding: approved, and it did not come to a fix."""


@dataclass(frozen=True, slots=True)
class ChangeView:
    """One place of the hub, before and after, as people read it."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class LinkView:
    """Another page, and what it is for."""

    text: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """One request for an approval, waiting or decided; ``state`` is the finding's, or NOT_DONE.

    ``differences`` say what is different from the plan that was asked about before, if one was; ``agreed`` who has
    said yes so far, where several must. After a form that could not be taken, ``error`` says why, ``decision`` and
    ``reason`` are what was sent.
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
    rollback: bool
    """Whether the plan undoes a fix; then ``actor`` is who asks for that, and ``risk`` what comes back."""
    expires_at: datetime
    csrf: str
    action_url: str
    state: str
    differences: tuple[str, ...] = ()
    agreed: str = ""
    wider: tuple[LinkView, ...] = ()
    """Pages on which more than this can be decided."""
    because: str = ""
    """Why it stands as it does, where that is no decision of a person."""
    decided_by: str = ""
    decided_at: datetime | None = None
    decided_reason: str = ""
    error: str = ""
    decision: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralView:
    """Several requests, each waiting or decided, on one page.

    ``ticked`` are the ids of the findings that are chosen; None: all. After a decision, ``decided`` is true and
    ``refused`` maps ids of findings to why the word on them was not taken.
    """

    requests: tuple[RequestView, ...]
    expires_at: datetime
    csrf: str
    action_url: str
    page_url: str
    ticked: frozenset[str] | None = None
    decided: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    decision: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MessageView:
    """A page that only says something, sent with ``status``; it tells nothing about any hub."""

    status: int
    title: str
    text: str
