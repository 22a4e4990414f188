"""Requests and answers without a framework."""

from __future__ import annotations

import json

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from hubwarden.web.pages import HEADERS, render
from hubwarden.web.view import MessageView, RequestView, SeveralView


_JSON: Final = MappingProxyType({
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """What came in: ``place`` is the finding's id, or what else the address names. Header names: lower case."""

    place: str = ""
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


def page(status: int, view: RequestView | SeveralView | MessageView) -> Answer:
    """A page."""
    return Answer(status, render(view), HEADERS)


def message(status: int, title: str, text: str) -> Answer:
    """A page that only says something."""
    return page(status, MessageView(status, title, text))


def data(status: int, content: Any) -> Answer:
    """JSON."""
    return Answer(status, json.dumps(content), _JSON)
