"""The Adaptive Card in a real Chromium, as Microsoft's own library parses, checks and shows it."""

from __future__ import annotations

import json

from dataclasses import replace
from pathlib import Path

import pytest

from hubwarden.adapters.notify.teams import envelope
from hubwarden.domain.message import Kind, group
from tests.notify.cases import HOSTILE as SENT
from tests.notify.cases import message_of
from tests.ui.samples import HOSTILE


LIBRARY = Path(__file__).parents[2] / "node_modules" / "adaptivecards" / "dist" / "adaptivecards.min.js"
LINK = "https://app.example/decide?t=1"
FRAME = "<!doctype html><title>Card</title><main></main>"
SHOW = """card => {
    const marked = [], opened = [];
    AdaptiveCards.AdaptiveCard.onProcessMarkdown = (text, result) => {
        marked.push(text);
        result.outputHtml = "<b id=marked></b>";
        result.didProcess = true;
    };
    const context = new AdaptiveCards.SerializationContext(AdaptiveCards.Versions.v1_4);
    const shown = new AdaptiveCards.AdaptiveCard();
    shown.onExecuteAction = action => opened.push([action.getJsonTypeName(), action.url]);
    shown.parse(card, context);
    const faults = [...Array(context.eventCount).keys()].map(index => context.getEventAt(index).message);
    faults.push(...shown.validateProperties().validationEvents.map(event => event.message));
    const element = shown.render();
    document.querySelector("main").replaceChildren(element);
    element.querySelectorAll("button").forEach(button => button.click());
    return {faults, marked, opened, lines: element.innerText.split("\\n")};
}"""
"""Nothing newer than 1.4 is known to the context, and whatever is taken for Markdown is marked."""

MESSAGES = {
    **{f"{count} hubs": message_of(count=count) for count in (1, 10, 11, 40)},
    **{kind.value: message_of(kind=kind) for kind in Kind},
    "250 hubs, the most": message_of("ü" * 5000, count=250, url=f"https://app.example/{'u' * 1900}"),
    "without a page": message_of(count=3, url=None),
    "large": message_of("ü" * 5000, count=40, url=f"https://app.example/{'u' * 1900}"),
}


def of_nobody_known():
    (one,) = message_of().about
    (message,) = group([replace(one, actor=None)])
    return message


def hostile(text):
    """A message with the text wherever Azure can have it."""
    message = message_of(text, count=3)
    told = [replace(one, hub=replace(one.hub, name=f"{index} {text}")) for index, one in enumerate(message.about)]
    (message,) = group(told, lambda _: LINK)
    return message


@pytest.fixture
def shown(browser):
    """What becomes of a card; the page's elements are in ``page``, what it complained about in ``complaints``."""
    if not LIBRARY.exists():
        pytest.skip("adaptivecards is missing: npm ci")
    page = browser.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: complaints.append(request.url))
    page.set_content(FRAME)
    page.add_script_tag(content=LIBRARY.read_text())

    def show(card):
        seen = page.evaluate(SHOW, card)
        seen["elements"] = set(page.evaluate("[...document.querySelectorAll('main *')].map(e => e.localName)"))
        return seen

    show.complaints = complaints
    yield show
    page.close()


def card_of(message):
    body = envelope(message)
    assert len(json.dumps(body).encode()) < 20_000
    return body["attachments"][0]["content"]


def is_sound(seen, complaints):
    assert seen["faults"] == seen["marked"] == complaints == []
    assert seen["elements"] <= {"div", "span", "button"}
    assert all(opened == ["Action.OpenUrl", LINK] for opened in seen["opened"])


def squeezed(lines):
    """Without what a browser does not show, and without the space that parts the braces of a date."""
    return [line for line in (" ".join(line.split()).replace("{ ", "{") for line in lines) if line]


@pytest.mark.parametrize("message", [*MESSAGES.values(), of_nobody_known()], ids=[*MESSAGES, "nobody known"])
def test_the_official_library_finds_no_fault_in_a_card(shown, message):
    seen = shown(card_of(message))
    links = [*(url for _, url in message.together), *(item.url for item in message.items if item.url)][:5]
    assert [url for _, url in seen["opened"]] == links[: len(seen["opened"])]
    assert bool(seen["opened"]) == bool(links)
    assert all(url.startswith("https://app.example/") for _, url in seen["opened"])
    assert seen["faults"] == seen["marked"] == shown.complaints == []
    assert seen["lines"][0] == message.title


@pytest.mark.parametrize("text", [*HOSTILE.values(), *SENT.values()], ids=[*HOSTILE, *(f"sent {k}" for k in SENT)])
def test_what_came_from_azure_is_shown_as_the_text_that_it_is(shown, text):
    message = hostile(text)
    seen = shown(card_of(message))
    is_sound(seen, shown.complaints)
    assert len(seen["opened"]) == 4
    said = [message.title, *(f"{name}: {value}" for name, value in message.facts)]
    said += [item.text for item in message.items] + [label for label, _ in message.together]
    said += [f"Decide on {item.hub}" for item in message.items]
    assert squeezed(seen["lines"]) == squeezed(said)


TEXT_BLOCK = {"type": "TextBlock", "text": "**bold** [a](https://evil.example)"}


@pytest.mark.parametrize(
    ("element", "sees"),
    [
        (TEXT_BLOCK, "marked"),
        ({"type": "Pigeon"}, "faults"),
        ({"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "a", "size": "Huge"}]}, "faults"),
        ({"type": "Table", "columns": [{"width": 1}], "rows": []}, "faults"),
        ({"type": "Input.Text"}, "faults"),
    ],
    ids=["Markdown", "unknown element", "unknown value", "newer than 1.4", "incomplete"],
)
def test_the_check_sees_a_card_that_is_not_sound(shown, element, sees):
    card = card_of(message_of())
    assert shown(card | {"body": [*card["body"], element]})[sees]
