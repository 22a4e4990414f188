"""A ticket's text in each system's markup. Whatever a hub, a tag or a person is called stays plain text."""

from __future__ import annotations

import html
import re

from typing import Any, Final

from hubwarden.domain.jsons import JsonObject


_LABEL: Final = re.compile(r"([A-Z][A-Za-z ]{1,40}): (.+)")
# Joins words without being seen: it breaks what would be a command, and changes nothing for the eye.
_JOINER: Final = "\N{WORD JOINER}"


def one_line(text: str, longest: int) -> str:
    """A title: one line without control characters, and no longer than that."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def clean(text: str) -> str:
    """The text with nothing in it that cannot be seen, but for its line ends."""
    return "\n".join("".join(c if c.isprintable() else " " for c in line) for line in text.split("\n"))


def markdown(text: str) -> str:
    """GitHub's Markdown. In code, nothing is a mention, a reference, a link or HTML."""
    return "\n".join(_markdown_line(line) for line in clean(text).split("\n"))


def _markdown_line(line: str) -> str:
    label, value = _split(line)
    head = f"**{label}:** " if label else ""
    return f"- {head}{_code(value)}" if value.strip() else ""


def _code(value: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", value)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {value.strip()} {fence}"


def adf(text: str) -> JsonObject:
    """Atlassian's document format, in which text is only ever text."""
    content: list[Any] = []
    for line in clean(text).split("\n"):
        label, value = _split(line)
        parts: list[Any] = []
        if label:
            parts.append({"type": "text", "text": f"{label}: ", "marks": [{"type": "strong"}]})
        if value.strip():
            parts.append({"type": "text", "text": value})
        if parts:
            content.append({"type": "paragraph", "content": parts})
    return {"type": "doc", "version": 1, "content": content}


def wiki(text: str) -> str:
    """Jira's wiki markup: all of it within {noformat}, which nothing inside can end."""
    inside = re.sub(r"\{(?=\s*noformat)", "{" + _JOINER, clean(text), flags=re.IGNORECASE)
    return f"{{noformat}}\n{inside}\n{{noformat}}"


def html_text(text: str) -> str:
    """HTML, as Azure DevOps has it."""
    return "".join(_html_line(line) for line in clean(text).split("\n"))


def _html_line(line: str) -> str:
    label, value = _split(line)
    head = f"<b>{html.escape(label)}:</b> " if label else ""
    return f"<div>{head}{html.escape(value)}</div>"


def plain(text: str) -> str:
    """Plain text; ServiceNow takes ``[code]`` for the beginning of HTML in some of its fields."""
    return re.sub(r"\[(?=/?code\])", "[" + _JOINER, clean(text), flags=re.IGNORECASE)


def _split(line: str) -> tuple[str, str]:
    """The line's label, if it has one, and the rest."""
    found = _LABEL.fullmatch(line)
    return (found[1], found[2]) if found else ("", line)
