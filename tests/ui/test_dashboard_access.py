"""Accessibility: axe-core finds no violation, the keyboard is enough, nothing overflows a narrow screen."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from pages import VIEWS, OpenView, wait_until_loaded
from support import Daemon


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_axe_finds_no_violation(home: Daemon, open_view: OpenView, width: int, scheme: str) -> None:
    page = open_view(home, "", width, scheme)
    for name, path in VIEWS.items():
        page.goto(f"{home.base}/ui/#/{path}")
        wait_until_loaded(page, name)
        found = Axe().run(page).response["violations"]
        assert [(rule["id"], [node["html"] for node in rule["nodes"]][:3]) for rule in found] == [], name


@pytest.mark.parametrize("width", [320, 375, 640, 768])
def test_no_view_scrolls_sideways(home: Daemon, open_view: OpenView, width: int) -> None:
    page = open_view(home, "", width)
    for name, path in VIEWS.items():
        page.goto(f"{home.base}/ui/#/{path}")
        wait_until_loaded(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_a_device_is_reached_by_keyboard_alone(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home)
    wait_until_loaded(page, "overview")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.get_by_role("link", name="Devices", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name="Devices").wait_for()
    # Screen readers announce a new view by its focused heading and the page title.
    assert page.evaluate("document.activeElement.tagName") == "H1"
    assert page.title() == "Devices · home"
    page.get_by_role("link", name="nas", exact=True).press("Enter")
    page.get_by_role("heading", level=1, name="nas").wait_for()


def test_the_theme_can_be_chosen_and_is_kept(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_label("Theme").select_option(label="Dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark
    page.emulate_media(color_scheme="dark")
    page.get_by_label("Theme").select_option(label="Light")
    assert page.evaluate(ground) == light
    page.get_by_label("Theme").select_option(label="Automatic")
    assert page.evaluate(ground) == dark
    assert page.evaluate("localStorage.length") == 0


def test_an_update_keeps_the_focus(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "devices")
    wait_until_loaded(page, "devices")
    page.get_by_role("link", name="anna-laptop").focus()
    before = page.locator("tbody data").all_inner_texts()
    page.wait_for_function(
        "(old) => [...document.querySelectorAll('tbody data')].some((data, i) => data.innerText !== old[i])",
        arg=before,
    )
    assert page.evaluate("document.activeElement.textContent") == "anna-laptop"


def test_the_focused_element_has_an_outline(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "devices")
    wait_until_loaded(page, "devices")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
