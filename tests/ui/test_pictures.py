"""Takes screenshots of every view into dist/screenshots; the ones in docs/ are among them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import VIEWS, OpenView, wait_until_loaded
from support import Daemon

SCREENSHOTS = Path(__file__).parents[2] / "dist" / "screenshots"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1440])
def test_every_view_has_a_screenshot(home: Daemon, open_view: OpenView, width: int, scheme: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = open_view(home, "", width, scheme)
    for name, path in VIEWS.items():
        page.set_viewport_size({"width": width, "height": 812 if width < 600 else 900})
        page.goto(f"{home.base}/ui/#/{path}")
        wait_until_loaded(page, name)
        if name == "devices" and width > 390:
            # The curves of the rows in the viewport are read.
            page.set_viewport_size({"width": width, "height": 1700})
            page.locator(".spark[d*=L]").nth(13).wait_for(state="attached")
        page.screenshot(
            path=SCREENSHOTS / f"{name}-{width}-{scheme}.png",
            full_page=name != "flows",  # a long table only holds the rows in the viewport
            animations="disabled",
        )
