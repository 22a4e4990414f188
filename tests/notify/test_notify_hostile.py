"""Whatever a hub, a tag or a person is called: it is text, on one line, and the message fits."""

from __future__ import annotations

import json

import pytest

from hubwarden.adapters.notify.slack import blocks, escaped
from hubwarden.adapters.notify.teams import envelope
from hubwarden.adapters.notify.webhook import cloud_event
from tests.notify.cases import HOSTILE, message_of


def nodes(value):
    """Every object of a JSON document."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from nodes(inner)


def strings(value):
    return [text for node in nodes(value) for text in node.values() if isinstance(text, str)]


def card_of(message):
    return envelope(message)["attachments"][0]["content"]


hostile = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)


@hostile
def test_every_string_is_one_line_that_reads_in_one_direction(text):
    message = message_of(text, count=12)
    for body in (card_of(message), blocks(message), cloud_event(message)):
        assert all(string.isprintable() for string in strings(body))
        json.dumps(body).encode()
    for line in message.lines:
        assert all(part.isprintable() for part in line.split("\n  "))


@hostile
def test_a_card_has_no_element_that_knows_markup(text):
    card = card_of(message_of(text))
    kinds = {node["type"] for node in nodes(card) if "type" in node}
    assert kinds == {"AdaptiveCard", "RichTextBlock", "TextRun", "Action.OpenUrl"}
    assert all("{{" not in string for string in strings(card))
    assert [node["url"] for node in nodes(card) if "url" in node] == ["https://app.example/decide?t=1"]


@hostile
def test_in_slack_only_text_elements_carry_what_others_wrote(text):
    body = blocks(message_of(text))
    assert not any(node.get("type") == "mrkdwn" for node in nodes(body))
    assert {node["type"] for node in nodes(body["blocks"][0]) if "type" in node} == {
        "rich_text", "rich_text_section", "rich_text_list", "text"
    }  # fmt: skip
    assert not {"<", ">"} & set(body["text"])


@pytest.mark.parametrize(
    ("text", "shown"),
    [("<!channel>", "&lt;!channel&gt;"), ("a & b", "a &amp; b"), ("&lt;", "&amp;lt;"), ("*bold*", "*bold*")],
)
def test_slack_escapes_its_three_characters(text, shown):
    assert escaped(text) == shown


@pytest.mark.parametrize("text", ["x" * 5000, "ü" * 5000, "😀" * 5000, '"\\' * 5000])
@pytest.mark.parametrize("url", ["https://app.example/decide?t=1", f"https://app.example/{'u' * 1900}"])
def test_a_card_is_never_too_large_and_says_what_it_leaves_out(text, url):
    message = message_of(text, count=40, url=url)
    body = envelope(message)
    assert len(json.dumps(body).encode()) <= 20_000
    runs = [run["text"] for block in card_of(message)["body"] for run in block["inlines"]]
    shown = sum(run.startswith("hub-") for run in runs)
    assert f"and {40 - shown} more" in runs


CARD = {
    "type": "object",
    "required": ["$schema", "type", "version", "body", "actions"],
    "properties": {
        "type": {"const": "AdaptiveCard"},
        "version": {"const": "1.4"},
        "fallbackText": {"type": "string"},
        "body": {"type": "array", "items": {"$ref": "#/$defs/block"}},
        "actions": {"type": "array", "maxItems": 6, "items": {"$ref": "#/$defs/open"}},
    },
    "$defs": {
        "block": {
            "type": "object",
            "additionalProperties": False,
            "required": ["type", "inlines"],
            "properties": {
                "type": {"const": "RichTextBlock"},
                "inlines": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/run"}},
            },
        },
        "run": {
            "type": "object",
            "additionalProperties": False,
            "required": ["type", "text"],
            "properties": {
                "type": {"const": "TextRun"},
                "text": {"type": "string"},
                "size": {"enum": ["Default", "Small", "Medium", "Large", "ExtraLarge"]},
                "weight": {"enum": ["Default", "Lighter", "Bolder"]},
            },
        },
        "open": {
            "type": "object",
            "additionalProperties": False,
            "required": ["type", "title", "url"],
            "properties": {
                "type": {"const": "Action.OpenUrl"},
                "title": {"type": "string"},
                "url": {"type": "string", "pattern": "^https://"},
            },
        },
    },
}


@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize("url", [None, "https://app.example/decide?t=1"])
def test_a_card_is_as_the_published_schema_has_its_elements(count, url):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(card_of(message_of(count=count, url=url)), CARD)
