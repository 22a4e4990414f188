"""Teams: an Adaptive Card 1.4 for a Workflows webhook.

What came from Azure is only ever a TextRun, which knows no markup.
"""

from __future__ import annotations

import json
import re

from typing import Any, Final

from hubwarden.adapters.notify.hook import SecretHook
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.message import Item, Message


LARGEST: Final = 20_000
"""Bytes of a whole request; Teams takes some 28 KB."""

_BUTTONS: Final = 5


class TeamsChannel:
    """Channel. Teams answers before it posts, so a success says that the workflow has taken the card."""

    def __init__(self, hook: SecretHook) -> None:
        self._hook = hook

    async def send(self, message: Message) -> None:
        """See Channel."""
        await self._hook.post(envelope(message))

    async def close(self) -> None:
        """See Channel."""
        await self._hook.close()


def envelope(message: Message) -> JsonObject:
    """The request's body: with as many items and buttons as fit."""
    for shown in range(len(message.items), -1, -1):
        body = _envelope(message, message.items[:shown])
        if len(json.dumps(body).encode()) <= LARGEST:
            break
    return body


def _envelope(message: Message, items: tuple[Item, ...]) -> JsonObject:
    return {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": _card(message, items),
            }
        ],
    }


def _card(message: Message, items: tuple[Item, ...]) -> JsonObject:
    rest = message.count - len(items)
    lines = [*(item.text for item in items), *([f"and {rest} more"] if rest else [])]
    of_items = ((f"Decide on {_text(item.hub)}", item.url) for item in items if item.url)
    body: list[Any] = [
        _rich([_run(message.title, size="Large", weight="Bolder")]),
        *(_rich([_run(f"{name}: ", weight="Bolder"), _run(value)]) for name, value in message.facts),
        *(_rich([_run(line)]) for line in lines),
    ]  # fmt: skip
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "fallbackText": _text(message.title),
        "body": body,
        "actions": [
            {"type": "Action.OpenUrl", "title": label, "url": url}
            for label, url in [*message.together, *of_items][:_BUTTONS]
        ],
    }


def _rich(runs: list[Any]) -> JsonObject:
    return {"type": "RichTextBlock", "inlines": runs}


def _run(text: str, **more: str) -> JsonObject:
    return {"type": "TextRun", "text": _text(text), **more}


def _text(text: str) -> str:
    """Card texts know one thing more: {{DATE(…)}}."""
    return re.sub(r"\{(?=\{)", "{ ", text)
