"""The pages in a real Chromium: on a phone, from the keyboard, in the dark, on paper, and without a script."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.ui.samples import (
    APPROVED,
    HOSTILE,
    OUTCOMES,
    PAGES,
    REFUSED,
    SEVERAL,
    SEVERAL_REFUSED,
    WAITING,
    filled,
    several_filled,
)


AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"width": 320, "height": 640}
DESK = {"width": 1280, "height": 900}
TALL_ENOUGH = 44
SMALLER_THAN_ITS_BOX = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest.fixture
def open_page(browser, site):
    """Open a view's page; what the browser complained about is in ``page.complaints``."""
    contexts = []

    def opened(view, **how):
        context = browser.new_context(**{"viewport": DESK, **how})
        contexts.append(context)
        page = context.new_page()
        page.complaints = []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
        page.goto(site.show(view))
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(open_page, name, viewport, scheme):
    if not AXE.exists():
        pytest.skip("axe-core is missing: npm ci")
    page = open_page(PAGES[name], viewport=viewport, color_scheme=scheme)
    page.evaluate("() => document.querySelectorAll('details').forEach(d => { d.name = ''; d.open = true; })")
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")
    assert [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in found["violations"]] == []
    assert len(found["passes"]) > 10


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_one_answer_and_the_browser_has_nothing_to_complain_about(open_page, site, name):
    expected = [f"of {PAGES[name].status}"] if hasattr(PAGES[name], "status") else []
    page = open_page(PAGES[name])
    assert site.gets == ["/page"]
    assert [c for c in page.complaints if not any(e in c for e in expected)] == []


@pytest.mark.parametrize(("scheme", "colour"), [("light", "rgb(244, 245, 247)"), ("dark", "rgb(17, 20, 24)")])
def test_the_style_is_let_in_and_follows_the_light(open_page, scheme, colour):
    page = open_page(WAITING, color_scheme=scheme)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == colour


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_narrow_phone(open_page, name):
    assert open_page(PAGES[name], viewport=PHONE).evaluate(SMALLER_THAN_ITS_BOX)


@pytest.mark.parametrize("state", ["awaiting_approval", "approved"])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_text_breaks_no_layout_and_runs_nothing(open_page, case, state):
    page = open_page(replace(filled(HOSTILE[case]), state=state), viewport=PHONE)
    assert page.evaluate(SMALLER_THAN_ITS_BOX)
    assert page.complaints == []
    assert page.locator("main").count() == page.locator("h1").count() == 1


@pytest.mark.parametrize("decided", [False, True])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_text_breaks_no_page_of_several(open_page, case, decided):
    page = open_page(replace(several_filled(HOSTILE[case]), decided=decided), viewport=PHONE)
    assert page.evaluate(SMALLER_THAN_ITS_BOX)
    assert page.complaints == []
    assert page.locator("main").count() == page.locator("h1").count() == 1


def test_a_name_that_reads_from_the_right_does_not_move_what_follows_it(open_page):
    page = open_page(replace(WAITING, hub_name=HOSTILE["right to left"]))
    name, rest = page.evaluate("""() => {
        const h1 = document.querySelector("h1"), range = document.createRange();
        range.selectNodeContents(h1.lastChild);
        return [h1.querySelector("bdi").getBoundingClientRect().right, range.getBoundingClientRect().left];
    }""")
    assert name <= rest + 1


@pytest.mark.parametrize(("decision", "presses"), [("approve", 1), ("reject", 2)])
def test_a_decision_is_made_from_the_keyboard_and_without_a_script(open_page, site, decision, presses):
    site.show(APPROVED, "/after")
    page = open_page(WAITING, java_script_enabled=False)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    for _ in range(presses):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("Seen, said Zoë & Co. <ok>")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/after")
    assert dict(site.posts) == {
        WAITING.action_url: [{"csrf": ["c5rf"], "decision": [decision], "reason": ["Seen, said Zoë & Co. <ok>"]}]
    }


def test_several_are_decided_from_the_keyboard_and_what_is_not_ticked_is_left_out(open_page, site):
    site.show(OUTCOMES, "/after")
    page = open_page(SEVERAL, java_script_enabled=False)
    page.get_by_role("checkbox").nth(1).focus()
    page.keyboard.press("Space")
    page.get_by_label("Reason (needed to reject)").focus()
    page.keyboard.type("Seen, said Zoë & Co. <ok>")
    for key in ("Tab", "Enter", "Tab", "Enter"):
        page.keyboard.press(key)
    page.wait_for_url("**/after")
    chosen = [SEVERAL.requests[0].finding_id, SEVERAL.requests[2].finding_id]
    assert dict(site.posts) == {
        SEVERAL.action_url: [
            {
                "csrf": ["c5rf"],
                "request": chosen,
                "reason": ["Seen, said Zoë & Co. <ok>"],
                "decision": ["approve"],
            }
        ]
    }


def test_several_are_not_decided_by_one_key_or_click(open_page, site):
    page = open_page(SEVERAL)
    assert page.locator("button:visible").count() == 0
    page.get_by_text("Approve…").click()
    assert page.locator("button:visible").all_text_contents() == ["Approve and fix what is ticked"]
    page.get_by_text("Reject…").click()
    assert page.locator("button:visible").all_text_contents() == ["Reject what is ticked"]
    assert dict(site.posts) == {}


def test_enter_in_a_box_sends_a_form_that_decides_nothing(open_page, site):
    site.show(SEVERAL_REFUSED, "/after")
    page = open_page(SEVERAL)
    page.get_by_role("checkbox").nth(1).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/after")
    (sent,) = site.posts[SEVERAL.action_url]
    assert sent["decision"] == [""]


def test_what_the_server_refused_of_several_is_said_and_what_was_ticked_stays(open_page):
    page = open_page(SEVERAL_REFUSED)
    assert [box.is_checked() for box in page.get_by_role("checkbox").all()] == [True, False, False]
    field = page.get_by_label("Reason (needed to reject)")
    assert page.evaluate("document.activeElement.id") == "reason"
    assert page.locator(f"#{field.get_attribute('aria-describedby')}").inner_text() == SEVERAL_REFUSED.error


def test_nothing_is_decided_by_one_click(open_page, site):
    page = open_page(WAITING)
    assert page.locator("button:visible").count() == 0
    page.get_by_text("Approve…").click()
    assert page.locator("button:visible").all_text_contents() == ["Approve and fix"]
    page.get_by_text("Reject…").click()
    assert page.locator("button:visible").all_text_contents() == ["Reject"]
    assert dict(site.posts) == {}


def test_a_rejection_without_a_reason_does_not_leave_the_page(open_page, site):
    page = open_page(WAITING)
    page.get_by_text("Reject…").click()
    page.get_by_role("button", name="Reject").click()
    assert page.evaluate("document.activeElement.id") == "reject"
    assert dict(site.posts) == {}


def test_what_the_server_refused_is_said_where_it_belongs_and_nothing_is_lost(open_page):
    page = open_page(replace(REFUSED, reason="Two\nlines"))
    field = page.get_by_label("Reason", exact=True)
    assert field.input_value() == "Two\nlines"
    assert page.evaluate("document.activeElement.id") == "reject"
    assert field.get_attribute("aria-invalid") == "true"
    assert page.locator(f"#{field.get_attribute('aria-describedby')}").inner_text() == REFUSED.error
    assert REFUSED.error in page.get_by_role("alert").inner_text()


@pytest.mark.parametrize("view", [REFUSED, SEVERAL_REFUSED, PAGES["asked anew"]])
def test_what_is_pressed_is_large_enough_for_a_thumb(open_page, view):
    page = open_page(view, viewport=PHONE, has_touch=True, is_mobile=True)
    for pressed in page.locator("summary, button:visible, textarea:visible, h2:has(input), .links a").all():
        assert pressed.bounding_box()["height"] >= TALL_ENOUGH


def test_the_focus_is_seen(open_page):
    page = open_page(WAITING)
    for _ in range(2):
        page.keyboard.press("Tab")
        outline = "getComputedStyle(document.activeElement).outlineWidth"
        assert page.evaluate(outline) == "3px"


@pytest.mark.parametrize(("wish", "behaviour"), [("reduce", "auto"), ("no-preference", "smooth")])
def test_nothing_moves_for_those_who_asked_for_it(open_page, wish, behaviour):
    page = open_page(WAITING, reduced_motion=wish)
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == behaviour


def test_on_paper_there_is_what_is_asked_and_no_button(open_page):
    page = open_page(WAITING, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.locator("summary:visible, .skip:visible").count() == 0
    assert page.get_by_text("Decide on the page").is_visible()
    assert page.get_by_text("['ServiceConnect']").is_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
