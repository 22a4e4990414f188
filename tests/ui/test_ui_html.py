"""The pages' HTML: what each says, and that nothing that comes from outside is ever more than text."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hubwarden.domain.finding import State
from hubwarden.web.pages import HEADERS, render, visible
from hubwarden.web.view import SeveralView
from tests.ui.samples import APPROVED, HOSTILE, PAGES, SEVERAL, WAITING, filled, several_filled


ROOT = Path(__file__).parents[2]


class Reader(HTMLParser):
    """What a browser would make of it: elements with the names of their attributes, and text."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.text = [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("name", PAGES)
def test_the_page_says(name, snapshot):
    before, after = re.split(r"<style>.*</style>", render(PAGES[name]), flags=re.DOTALL)
    assert before + after == snapshot


@pytest.mark.parametrize("state", State)
def test_only_a_request_that_waits_can_be_decided(state):
    page = render(replace(APPROVED, state=state))
    assert ("<form" in page) is ("csrf" in page) is (state is State.AWAITING_APPROVAL)


@pytest.mark.parametrize("state", [state for state in State if state is not State.AWAITING_APPROVAL])
def test_a_standing_decision_says_who_and_why_wherever_the_finding_went_from_there(state):
    text = Reader(render(replace(APPROVED, state=state))).text
    assert "Tomás Okafor" in text
    assert "Agreed with the plant." in text


@pytest.mark.parametrize("state", ["awaiting_approval", "approved"])
@pytest.mark.parametrize("case", HOSTILE)
def test_what_comes_from_outside_is_text_and_makes_no_element(case, state):
    hostile, harmless = (
        Reader(render(replace(filled(text), state=state))) for text in (HOSTILE[case], "harmless")
    )
    assert without_breaks(hostile) == without_breaks(harmless)
    assert hostile.text.count(visible(HOSTILE[case])) >= 12


@pytest.mark.parametrize("decided", [False, True])
@pytest.mark.parametrize("case", HOSTILE)
def test_what_comes_from_outside_is_text_on_a_page_of_several_too(case, decided):
    hostile, harmless = (
        Reader(render(replace(several_filled(text), decided=decided))) for text in (HOSTILE[case], "harmless")
    )
    assert without_breaks(hostile) == without_breaks(harmless)
    assert hostile.text.count(visible(HOSTILE[case])) >= 12


@pytest.mark.parametrize("make", [filled, several_filled])
@pytest.mark.parametrize("case", HOSTILE)
def test_nothing_on_a_page_is_there_and_not_seen(case, make):
    page = render(make(HOSTILE[case]))
    page.encode()
    assert {c for c in page if visible(c) != c} == {"\n"}


def test_once_decided_a_page_of_several_has_no_form():
    for view in (PAGES["outcomes"], PAGES["all decided"]):
        assert isinstance(view, SeveralView)
        assert "<form" not in render(view)
    assert "<form" in render(SEVERAL)


def without_breaks(reader):
    """The breaks of a reason that somebody wrote are its own."""
    return [element for element in reader.elements if element[0] != "br"]


def test_a_message_is_text_as_well():
    page = Reader(render(replace(PAGES["not valid"], title=HOSTILE["html"], text=HOSTILE["html"])))
    assert page.text.count(HOSTILE["html"]) == 3
    assert not {"script", "img"} & {tag for tag, _ in page.elements}


def test_a_page_has_no_script_no_inline_style_and_loads_nothing():
    for view in PAGES.values():
        reader = Reader(render(view))
        assert not {"script", "link", "img", "iframe", "object", "base"} & {tag for tag, _ in reader.elements}
        names = {name for _, attributes in reader.elements for name in attributes}
        assert not [name for name in names if name == "style" or name.startswith("on")]


def test_the_policy_of_the_page_lets_in_its_own_style_and_nothing_else():
    style = re.search(r"<style>(.*?)</style>", render(WAITING), re.DOTALL)[1]
    own = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert HEADERS["Content-Security-Policy"].split("; ") == [
        "default-src 'none'",
        f"style-src 'sha256-{own}'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
        ("X-Robots-Tag", "noindex, nofollow"),
    ],
)
def test_every_page_is_sent_with(name, value):
    assert HEADERS[name] == value


def test_a_message_page_knows_nothing_of_any_request():
    page = Reader(render(PAGES["expired"]))
    assert not {"form", "input", "code"} & {tag for tag, _ in page.elements}


def test_importing_the_pages_does_not_load_jinja():
    code = "import sys, hubwarden.web.pages; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_templates_and_style_are_deployed():
    ignored = [line.rstrip("/") for line in (ROOT / ".funcignore").read_text().split()]
    files = [path for path in (ROOT / "hubwarden" / "web").rglob("*.*") if path.suffix in {".html", ".css"}]
    assert len(files) > 4
    for path in files:
        parts = path.relative_to(ROOT)
        above = {str(parent) for parent in parts.parents} | set(parts.parts)
        assert not [pattern for pattern in ignored if pattern in above or parts.match(pattern)]
