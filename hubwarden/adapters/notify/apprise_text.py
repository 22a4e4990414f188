"""The message as text that is text wherever it is shown: in HTML, Markdown, mrkdwn, and whatever reads mentions.

Nobody can know how each of apprise's targets, and each client of theirs, reads a text. So what came from Azure
loses the characters by which markup, mentions and links begin: others that look like them take their place.
"""

from __future__ import annotations

import re

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from hubwarden.domain.message import Item, Message


_LOOKS_LIKE: Final = str.maketrans({
    "<": "\u2039", ">": "\u203a", "&": "\uff06", "*": "\u2217", "_": "\uff3f", "~": "\u223c", "`": "\u02cb",
    "[": "\uff3b", "]": "\uff3d", "{": "\uff5b", "}": "\uff5d", "|": "\u2223", "\\": "\u2216", "#": "\u266f",
    "$": "\uff04", "^": "\u02c6", "@": "(at)",
})  # fmt: skip
# https://…, :smile:, mailto:…; not "hub: text".
_COLON: Final = re.compile(r":(?=\S)")
# evil.example; not "1.0".
_DOT: Final = re.compile(r"(?<=\w)\.(?=[^\W\d_])")


def neutral(text: str) -> str:
    """The text without anything that is more than text, in whatever markup."""
    return _DOT.sub("\u2024", _COLON.sub("\u2236", text.translate(_LOOKS_LIKE)))


def body(message: Message, fits: Callable[[str], bool]) -> str:
    """As much of the message as fits: fewer hubs, but each with its link, and how many are left out.

    A page for several requests at once has a long address: where that does not fit at all, it goes first.
    """
    last = ""
    for last in _shorter_and_shorter(message):
        if fits(last):
            break
    return last


def _shorter_and_shorter(message: Message) -> Iterator[str]:
    for pages in (message.together, ()):
        for shown in range(len(message.items), 0, -1):
            yield _with(message, message.items[:shown], pages)
    yield from (url for _, url in message.together[:1])
    yield from (item.url for item in message.items[:1] if item.url)
    yield f"Severity: {message.severity.value}"


def _with(message: Message, items: Sequence[Item], pages: Sequence[tuple[str, str]]) -> str:
    rest = message.count - len(items)
    facts = (f"{name}: {neutral(value)}" for name, value in message.facts)
    hubs = (f"- {neutral(item.text)}" + (f"\n{item.url}" if item.url else "") for item in items)
    more = [f"and {rest} more"] if rest else []
    return "\n".join([*facts, "", *hubs, *more, *(f"{label}: {url}" for label, url in pages)])
