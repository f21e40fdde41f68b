"""Everybody can use it: no finding of axe-core in either colour scheme, at any width; keyboard; reflow."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page
from support import Daemon

Look = Callable[..., Page]

VIEWS = {
    "overview": "",
    "devices": "devices",
    "device": "devices/e8:5b:5b:31:7a:02",
    "applications": "applications",
    "flows": "flows",
    "risks": "risks",
}
#: What shows that a view has got its figures, and is in no other.
READY = {
    "overview": ".ranking li",
    "devices": "td.curve svg",
    "device": ".identity ~ .page-content .flows data",
    "applications": "td.users .links",
    "flows": ".page > .sheet .flows data",
    "risks": ".note ~ .page-content .risks li",
}


def settled(page: Page, name: str) -> None:
    page.locator(READY[name]).first.wait_for(state="attached")
    page.locator("#health[data-state=ok]").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_axe_finds_no_violation(home: Daemon, look: Look, width: int, scheme: str) -> None:
    page = look(home, "", width, scheme)
    for name, path in VIEWS.items():
        page.goto(f"{home.base}/ui/#/{path}")
        settled(page, name)
        found = Axe().run(page).response["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found] == [], name


@pytest.mark.parametrize("width", [320, 375, 768])
def test_nothing_is_wider_than_the_screen(home: Daemon, look: Look, width: int) -> None:
    page = look(home, "", width)
    for name, path in VIEWS.items():
        page.goto(f"{home.base}/ui/#/{path}")
        settled(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_the_keyboard_alone_leads_to_a_device(home: Daemon, look: Look) -> None:
    page = look(home)
    settled(page, "overview")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.get_by_role("link", name="Devices", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name="Devices").wait_for()
    # A new view is told to screen readers by its heading, and by the title of the tab.
    assert page.evaluate("document.activeElement.tagName") == "H1"
    assert page.title() == "Devices · home"
    page.get_by_role("link", name="nas", exact=True).press("Enter")
    page.get_by_role("heading", level=1, name="nas").wait_for()


def test_the_focus_stays_where_it_is_when_figures_change(home: Daemon, look: Look) -> None:
    page = look(home, "devices")
    settled(page, "devices")
    page.get_by_role("link", name="anna-laptop").focus()
    before = page.locator("tbody data").all_inner_texts()
    page.wait_for_function(
        "(old) => [...document.querySelectorAll('tbody data')].some((one, at) => one.innerText !== old[at])",
        arg=before,
    )
    assert page.evaluate("document.activeElement.textContent") == "anna-laptop"


def test_what_is_focused_is_seen(home: Daemon, look: Look) -> None:
    page = look(home, "devices")
    settled(page, "devices")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert style != "none"
