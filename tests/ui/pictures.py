"""Take the pictures for the documentation: ``python -m tests.ui.pictures`` writes docs/pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hubwarden.adapters.notify.teams import envelope
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.message import group
from tests.notify.cases import message_of
from tests.ui.conftest import chromium, serving
from tests.ui.samples import APPROVED, EXPIRED, OUTCOMES, REFUSED, SEVERAL, WAITING
from tests.ui.test_ui_cards import FRAME, LIBRARY, LINK, SHOW


PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
DESK = {"viewport": {"width": 820, "height": 300}}
PHONE = {"viewport": {"width": 390, "height": 300}}
TAKEN = {
    "approval": (WAITING, DESK),
    "approval-dark": (WAITING, {**DESK, "color_scheme": "dark"}),
    "approval-phone": (WAITING, PHONE),
    "rejection-phone": (REFUSED, PHONE),
    "approved": (APPROVED, DESK),
    "expired": (EXPIRED, DESK),
    "several": (SEVERAL, DESK),
    "outcomes": (OUTCOMES, DESK),
}
CARD = {"viewport": {"width": 620, "height": 200}, "device_scale_factor": 2}


def message_of_a_plant():
    (one,) = message_of("minTlsVersion is 1.0, below 1.2").about
    one = replace(one, actor="Mia Lindqvist", reason="the policy file says that it needs an approval")
    hubs = [HubId(one.hub.subscription, "plants", f"plant-{name}-iot") for name in ("north", "south")]
    (message,) = group([replace(one, hub=hub) for hub in hubs], lambda _: LINK)
    return message


def take_card(browser):
    page = browser.new_page(**CARD)
    page.set_content(FRAME)
    page.add_script_tag(content=LIBRARY.read_text())
    page.evaluate(SHOW, envelope(message_of_a_plant())["attachments"][0]["content"])
    page.locator("main").screenshot(path=PICTURES / "card.png")
    page.close()


def main():
    PICTURES.mkdir(exist_ok=True)
    with serving() as site, chromium() as browser:
        for name, (view, how) in TAKEN.items():
            page = browser.new_page(**how)
            page.goto(site.show(view))
            if view is WAITING:
                page.get_by_text("Approve…").click()
                page.mouse.move(0, 0)
            page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
            page.close()
        take_card(browser)


if __name__ == "__main__":
    main()
