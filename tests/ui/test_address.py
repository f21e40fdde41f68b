"""The address holds what a page shows: search, sort order, filters, period. The back button restores it."""

from __future__ import annotations

from pages import OpenView, address, wait_until_loaded
from playwright.sync_api import Page
from support import Daemon, eventually


def query(page: Page) -> dict[str, str]:
    return dict(part.split("=", 1) for part in address(page).partition("?")[2].split("&") if part)


def rows(page: Page) -> list[str]:
    return page.locator("main > .page > .sheet tbody .name").all_inner_texts()


def test_search_sort_and_filters_are_in_the_address(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "devices")
    wait_until_loaded(page, "devices")
    page.get_by_role("searchbox").fill("a")
    page.get_by_role("button", name="Device", exact=True).click()
    page.get_by_label("Active only").check()
    assert query(page) == {"q": "a", "sort": "name", "active": "true"}
    page.mouse.move(0, 0)
    shown = rows(page)
    assert "anna-laptop" in shown
    page.reload()
    eventually(lambda: rows(page) == shown, "a reload shows the same")
    assert page.get_by_role("searchbox").input_value() == "a"
    assert page.get_by_role("columnheader", name="Device").get_attribute("aria-sort") == "ascending"
    assert page.get_by_label("Active only").is_checked()


def test_they_survive_a_change_of_the_period_and_the_back_button(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "devices")
    wait_until_loaded(page, "devices")
    page.get_by_role("searchbox").fill("anna")
    page.get_by_role("button", name="Device", exact=True).click()
    page.evaluate("document.querySelector('[type=search]').marked = true")
    page.get_by_role("link", name="Week", exact=True).click()
    page.get_by_text("This week").wait_for()
    assert query(page) == {"q": "anna", "sort": "name", "period": "week"}
    assert rows(page) == ["anna-laptop", "annas-iPhone"]
    # The page was not built anew.
    assert page.evaluate("document.querySelector('[type=search]').marked")
    page.get_by_role("link", name="anna-laptop").click()
    page.get_by_role("heading", level=1, name="anna-laptop").wait_for()
    page.go_back()
    page.get_by_role("heading", level=1, name="Devices").wait_for()
    eventually(lambda: rows(page) == ["anna-laptop", "annas-iPhone"], "the search is restored")
    assert query(page) == {"q": "anna", "sort": "name", "period": "week"}
    page.go_back()
    page.get_by_text("Last 24 hours").wait_for()
    assert query(page) == {"q": "anna", "sort": "name"}


def test_the_back_button_restores_the_scroll_position(office: Daemon, open_view: OpenView) -> None:
    page = open_view(office, "devices?sort=name")
    page.get_by_text("300 devices").wait_for()
    page.mouse.move(640, 600)
    page.mouse.wheel(0, 5000)
    page.wait_for_function("() => history.state?.scroll > 4000")
    position = page.evaluate("scrollY")
    page.locator("tbody a:visible").nth(10).click()
    page.locator(".identity").wait_for()
    assert page.evaluate("scrollY") == 0
    page.go_back()
    page.wait_for_function("(y) => Math.abs(scrollY - y) < 3", arg=position)


def test_an_arrow_key_in_a_filter_keeps_focus_and_page(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "activity")
    page.get_by_role("option", name="nas", exact=True).wait_for(state="attached")
    entries = page.evaluate("history.length")
    select = page.get_by_label("Device")
    select.focus()
    select.evaluate("(select) => { select.marked = true; }")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    eventually(lambda: "device" in query(page), "the filter is in the address")
    assert page.evaluate("document.activeElement.marked")
    assert page.evaluate("document.activeElement.selectedIndex") == 2
    assert page.evaluate("history.length") == entries


def test_earlier_addresses_still_work(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "flows?active=true")
    page.get_by_role("heading", level=1, name="Flows").wait_for()
    assert page.get_by_label("State").input_value() == "true"
    page.goto(f"{home.base}/ui/#/risks")
    page.get_by_role("heading", level=1, name="Risks").wait_for()
