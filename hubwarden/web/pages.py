"""The pages on which people decide: HTML from views, with no script, that shows whatever it is given as text.

The style sheet stands in the page, and the Content-Security-Policy lets in this one and no other by its hash. So
there is no route for files that anybody may call, a page is one answer, and page and style are of one version.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from hubwarden.domain.finding import State
from hubwarden.web.view import MessageView, RequestView, SeveralView


if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_HERE: Final = Path(__file__).parent
_CSS: Final = (_HERE / "static" / "pages.css").read_text(encoding="utf-8")
_CSS_HASH: Final = base64.b64encode(hashlib.sha256(_CSS.encode()).digest()).decode()

HEADERS: Final[Mapping[str, str]] = MappingProxyType({
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_CSS_HASH}'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
})  # fmt: skip
"""What every page is sent with. The link is a secret: it goes into no referrer, no cache and no index."""

# How a request stands → a headline, what it means, and how good that is.
_STANDING: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType({
    State.AWAITING_APPROVAL: ("Waiting", "Nothing was decided so far, and nothing was changed.", "warn"),
    State.APPROVED: ("Approved", "The plan is carried out now, if the hub is still as it was.", "good"),
    State.EXECUTING: ("Approved", "The fix is being written to the hub.", "good"),
    State.VERIFYING: ("Approved", "The fix was written. The hub is read again to see whether it holds.", "good"),
    State.AMBIGUOUS: ("Approved", "The fix was sent; whether it arrived is being looked at.", "warn"),
    State.RESOLVED: ("Resolved", "The hub was read again: the drift is gone.", "good"),
    State.REJECTED: ("Rejected", "Nothing is changed, unless the drift changes or comes back.", "stop"),
    State.EXPIRED: ("No longer valid", "Nobody decided in time. Nothing was changed; there is a ticket.", "warn"),
    State.STALE: (
        "Out of date",
        "The hub was changed after this was asked, so this plan does not run. A new request says what would.",
        "warn",
    ),
    State.FAILED: ("Failed", "The fix did not work. There is a ticket.", "stop"),
})  # fmt: skip
_ELSEWHERE: Final = ("No longer asked", "This does not wait for a decision any more.", "warn")

# Printable as far as Python is concerned, and seen by nobody.
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {
    chr(c) for c in range(0xFE00, 0xFE10)
}
# What is written onto the letter before it; no language needs as many as are piled up to hide the lines around.
_MARKS: Final = frozenset({"Mn", "Me"})
_MOST_MARKS: Final = 4


def render(view: RequestView | SeveralView | MessageView) -> str:
    """The view's page, complete; send it with HEADERS."""
    return _environment().get_template(_template(view)).render(view=view)


def _template(view: RequestView | SeveralView | MessageView) -> str:
    match view:
        case MessageView():
            return "message.html"
        case SeveralView():
            return "outcomes.html" if view.decided or not any(map(_waits, view.requests)) else "several.html"
        case _:
            return "request.html" if _waits(view) else "decided.html"


def _waits(view: RequestView) -> bool:
    return view.state == State.AWAITING_APPROVAL


def _standing(state: str) -> tuple[str, str, str]:
    return _STANDING.get(state, _ELSEWHERE)


def visible(text: str) -> str:
    """The text with everything that does not show made visible, so that it can neither hide nor move anything."""
    shown, marks = [], 0
    for c in text:
        marks = marks + 1 if unicodedata.category(c) in _MARKS else 0
        plain = c.isprintable() and c not in _BLANK and marks <= _MOST_MARKS
        shown.append(c if plain else c.encode("unicode_escape").decode())
    return "".join(shown)


@cache
def _environment() -> Environment:
    """Made with the first page: nothing else needs Jinja2."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["css"] = _CSS
    environment.filters.update(moment=_moment, iso=_iso, lines=_lines, typed=_typed, standing=_standing)
    environment.tests["waiting"] = _waits
    return environment


def _shown(value: Any) -> Any:
    """Whatever a template puts out passes through here, so that none can forget to."""
    return visible(value) if type(value) is str else value


def _lines(text: str) -> list[str]:
    return re.split(r"\r?\n", text)


def _typed(text: str) -> Markup:
    """What somebody wrote into a form, with its line breaks, to be put into the form again."""
    from markupsafe import Markup  # noqa: PLC0415

    return Markup("\n").join(visible(line) for line in _lines(text))


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%-d %B %Y, %H:%M} UTC"


def _iso(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
