"""Take the pictures for the documentation: ``python -m tests.ui.pictures`` writes docs/pictures."""

from __future__ import annotations

from pathlib import Path

from tests.ui.conftest import chromium, serving
from tests.ui.samples import APPROVED, EXPIRED, OUTCOMES, REFUSED, SEVERAL, WAITING


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


if __name__ == "__main__":
    main()
