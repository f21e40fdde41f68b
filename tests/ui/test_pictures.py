"""Pictures of each view, to be looked at: dist/screenshots/. The one of docs/ is among them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import SCREENSHOTS
from playwright.sync_api import Page
from support import Daemon
from test_access import VIEWS, settled

Look = Callable[..., Page]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280, 1920])
def test_pictures_are_taken(home: Daemon, look: Look, width: int, scheme: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = look(home, "", width, scheme)
    for name, path in VIEWS.items():
        page.goto(f"{home.base}/ui/#/{path}")
        settled(page, name)
        if name == "devices" and width > 375:
            page.locator(".spark[d*=L]").nth(9).wait_for(state="attached")
        page.screenshot(
            path=SCREENSHOTS / f"{name}-{width}-{scheme}.png",
            # Rows out of sight are not in the page; on a phone, the bar of views stands at the bottom.
            full_page=name not in ("devices", "flows") and width > 375,
            animations="disabled",
        )
