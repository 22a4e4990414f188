"""Whatever a hub, a tag or a person is called stays text in every system's markup."""

from __future__ import annotations

import re

from html.parser import HTMLParser

import pytest

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hubwarden.adapters.tickets.markup import adf, clean, html_text, markdown, one_line, plain, wiki
from hubwarden.domain.finding import Actor, Finding, State, Step
from hubwarden.domain.finding import Event as Happened
from hubwarden.domain.severity import Severity
from hubwarden.service.desk import _ticket
from tests.unit.fakes import HUB, START, World


HOSTILE = {
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "html end": "</code></div>--><!-- hubwarden:f-1 -->",
    "entity": "&lt;b&gt; &amp; &#64;all",
    "markdown": "**bold** _it_ ~~no~~ [x](javascript:alert(1)) ![i](https://evil.example/p.png)",
    "heading": "# heading",
    "list": "1. one - two + three > four",
    "table": "| a | b |",
    "code": "`a` ``b`` ```c``` \\` `",
    "only backticks": "````",
    "fence": "~~~ ``` ~~~",
    "mention": "@octocat @org/team @all @here",
    "reference": "#123 GH-123 example/ops#1 0123456789012345678901234567890123456789 OPS-1 !5 AB#7",
    "link": "https://evil.example/ www.evil.example mailto:a@b.example",
    "wiki": "{noformat} {color:red}x{color} [~admin] {html}<b>{html} !i.png! h1. x {  noformat}",
    "wiki end": "{NoFormat}\\{noformat:borderStyle=x}",
    "servicenow": "[code]<script>alert(1)</script>[/code] [CODE]<b>x</b>[/Code]",
    "label": "Risk: none at all",
    "quotes": '"\' onmouseover="alert(1)',
    "emoji": ":rocket: 🚀 (y) :)",
    "hebrew": "שלום עולם",
}
ONE_LINE = {
    "newline": "a\nRisk: none\r\n# b",
    "separators": "a\u2028b\u2029c\x85d\x0be",
    "turned": "a\u202etxt.exe\u202c \u2066x\u2069 \u200f",
    "nothing": "a\x00b\x1b[31mc\ufeff\u200bd",
}
EVERY = HOSTILE | ONE_LINE


def ticket(name):
    """The ticket of a finding in which everything that Azure tells is hostile."""
    world = World("ticket")
    step = Step(START, Happened.TICKET, State.TICKETED, name)
    finding = Finding(
        HUB, "tls-minimum", "minTlsVersion", Severity.HIGH, f"tag {name}", START, START,
        state=State.TICKETED, actor=Actor(name=name), history=(step,),
    )  # fmt: skip
    return _ticket(world.ports, finding)


class Seen(HTMLParser):
    """What a browser makes of HTML: its text, and the elements that are no mere layout."""

    def __init__(self, html):
        super().__init__()
        self.said, self.elements = [], set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        assert not attrs, (tag, attrs)

    def handle_comment(self, data):
        self.elements.add("comment")

    def handle_data(self, data):
        self.said.append(data)

    @property
    def words(self):
        return "".join("".join(self.said).split())


def words(text):
    return "".join(text.split())


@pytest.mark.parametrize("name", EVERY.values(), ids=EVERY)
def test_what_azure_tells_begins_no_line_of_its_own(name):
    made = ticket(name)
    labels = ["What", "Where", "Since", "Who changed it", "Why no machine fixed it", "Risk", "By command line"]
    assert [line.split(":")[0] for line in made.text.split("\n")][:7] == labels
    assert made.title.isprintable()


@pytest.mark.parametrize("name", EVERY.values(), ids=EVERY)
def test_markdown_shows_it_as_it_is(name):
    made = ticket(name).text
    renderer = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    seen = Seen(renderer.render(markdown(made)))
    assert seen.words == words(clean(made))
    assert seen.elements <= {"ul", "li", "strong", "code", "p"}


@pytest.mark.parametrize("name", EVERY.values(), ids=EVERY)
def test_on_github_all_that_azure_told_is_code_where_nothing_is_a_mention_or_a_reference(name):
    made = ticket(name).text
    renderer = MarkdownIt("commonmark", {"html": True})
    outside = re.sub(r"<code>.*?</code>", "", renderer.render(markdown(made)), flags=re.DOTALL)
    assert set(Seen(outside).words) <= set(
        "WhatWhereSinceWhochangeditWhynomachinefixeditRiskBycommandlineBicepportalMore:"
    )


@pytest.mark.parametrize("name", EVERY.values(), ids=EVERY)
def test_html_shows_it_as_it_is(name):
    made = ticket(name).text
    seen = Seen(html_text(made))
    assert seen.words == words(clean(made))
    assert seen.elements <= {"div", "b"}


@pytest.mark.parametrize("name", EVERY.values(), ids=EVERY)
def test_atlassians_format_holds_it_as_text(name):
    made = ticket(name).text
    nodes = [part for block in adf(made)["content"] for part in block["content"]]
    assert {node["type"] for node in nodes} == {"text"}
    assert words("".join(node["text"] for node in nodes)) == words(clean(made))


@pytest.mark.parametrize("name", EVERY.values(), ids=EVERY)
def test_wiki_markup_shows_it_as_it_is_and_nothing_ends_the_block_early(name):
    made = ticket(name).text
    rendered = wiki(made)
    assert len(re.findall(r"\{\s*noformat[^}]*\}", rendered, re.IGNORECASE)) == 2
    assert rendered.startswith("{noformat}\n")
    assert rendered.endswith("\n{noformat}")
    assert words(rendered[10:-10]).replace("\u2060", "") == words(clean(made))


@pytest.mark.parametrize("name", EVERY.values(), ids=EVERY)
def test_plain_text_holds_no_html_for_servicenow(name):
    made = ticket(name).text
    assert "[code]" not in plain(made).lower()
    assert plain(made).replace("\u2060", "") == clean(made)


@given(st.text(), st.integers(2, 300))
def test_a_title_is_one_line_and_not_too_long(text, longest):
    made = one_line(text, longest)
    assert made.isprintable()
    assert len(made) <= longest


@given(st.text())
def test_any_text_can_be_written_in_any_markup(text):
    for render in (markdown, adf, wiki, html_text, plain):
        assert render(text) is not None
    assert Seen(html_text(text)).elements <= {"div", "b"}
    seen = Seen(MarkdownIt("commonmark", {"html": True}).render(markdown(text)))
    assert seen.elements <= {"ul", "li", "strong", "code", "p"}
    assert seen.words == words(clean(text))
