"""Slack: Block Kit for an incoming webhook. What came from Azure is only ever a rich text element: no mrkdwn."""

from __future__ import annotations

from typing import Any, Final

from hubwarden.adapters.notify.hook import SecretHook
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.message import Message


_BUTTONS: Final = 25
"""Elements of one actions block."""


class SlackChannel:
    """Channel."""

    def __init__(self, hook: SecretHook) -> None:
        self._hook = hook

    async def send(self, message: Message) -> None:
        """See Channel."""
        await self._hook.post(blocks(message))

    async def close(self) -> None:
        """See Channel."""
        await self._hook.close()


def blocks(message: Message) -> JsonObject:
    """The request's body; its ``text`` is what a notification shows, and is mrkdwn."""
    lines = [*(item.text for item in message.items), *filter(None, [message.more])]
    rich: list[Any] = [
        _section([_text(message.title, bold=True)]),
        *(_section([_text(f"{name}: ", bold=True), _text(value)]) for name, value in message.facts),
        {
            "type": "rich_text_list",
            "style": "bullet",
            "elements": [_section([_text(line)]) for line in lines],
        },
    ]
    of_items = ((f"Decide on {item.hub}", item.url) for item in message.items if item.url)
    buttons: list[Any] = [
        {
            "type": "button",
            "text": {"type": "plain_text", "text": escaped(label)[:75], "emoji": False},
            "url": url,
            "action_id": f"decide-{index}",
        }
        for index, (label, url) in enumerate([*message.together, *of_items][:_BUTTONS])
    ]
    shown: list[Any] = [{"type": "rich_text", "elements": rich}]
    if buttons:
        shown.append({"type": "actions", "elements": buttons})
    return {"text": escaped(message.title), "blocks": shown, "unfurl_links": False, "unfurl_media": False}


def escaped(text: str) -> str:
    """Slack's three characters: without them there is no mention, no channel and no link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _section(elements: list[Any]) -> JsonObject:
    return {"type": "rich_text_section", "elements": elements}


def _text(text: str, *, bold: bool = False) -> JsonObject:
    element: JsonObject = {"type": "text", "text": text}
    return element | {"style": {"bold": True}} if bold else element
