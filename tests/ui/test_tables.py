"""Long tables: their width on narrow screens, their order, what they add up to, and their print."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pages import OpenView
from playwright.sync_api import Page
from support import Daemon, eventually

WIDTHS = """() => {
    const visible = (cell) => cell.getClientRects().length > 0;
    const heads = [...document.querySelectorAll('main .sheet th[scope=col]')].filter(visible);
    return {
        table: document.querySelector('main .sheet table').getBoundingClientRect().width,
        columns: heads.map((cell) => cell.getBoundingClientRect().width),
        page: document.documentElement.scrollWidth};
}"""


@pytest.mark.parametrize("view", ["devices", "activity", "usage"])
@pytest.mark.parametrize("width", [390, 768, 1440])
def test_a_long_table_gives_its_width_to_the_columns_that_are_shown(
    office: Daemon, open_view: OpenView, width: int, view: str
) -> None:
    page = open_view(office, view, width)
    page.locator(".sheet .space").last.wait_for(state="attached")
    page.mouse.wheel(0, 3000)
    shown = page.evaluate(WIDTHS)
    assert shown["page"] <= width
    assert sum(shown["columns"]) == pytest.approx(shown["table"], abs=2)
    assert min(shown["columns"]) >= 75
    assert shown["columns"][0] >= 100


def test_phones_show_totals(office: Daemon, open_view: OpenView) -> None:
    page = open_view(office, "devices?q=device-77", 390)
    page.get_by_text("1 of 300 devices").wait_for()
    shown = page.locator("td.narrow data:visible")

    def are_shown() -> bool:
        [device] = office.get("/?search=device-77")[1]["devices"]
        totals = shown.evaluate_all("(figures) => figures.map((one) => Number(one.value))")
        return bool(totals == [device["bytes_down"], device["bytes_up"]])

    eventually(are_shown, "the totals of the device, which grow")


def test_flows_are_sorted_among_all_not_among_the_loaded(office: Daemon, open_view: OpenView) -> None:
    flows = office.get("/flows?active=false&limit=10000")[1]["flows"]
    assert len(flows) > 800
    page = open_view(office, "activity?active=false")
    page.get_by_text("(latest 500 shown)").wait_for()
    page.get_by_role("button", name="Download", exact=True).click()
    page.mouse.move(0, 0)
    page.get_by_text(f"{len(flows):,} flows", exact=True).wait_for()
    heaviest = max(flow["bytes_down"] for flow in flows)
    first = page.locator("tbody tr:not(.space)").first.locator("data.down").first
    eventually(lambda: first.get_attribute("value") == str(heaviest), "the heaviest of all flows is first")


def balance(page: Page) -> list[list[int]]:
    shown: list[list[int]] = page.evaluate(
        """() => [...document.querySelectorAll('.balance dd')].map((line) =>
            [...line.querySelectorAll('data')].map((figure) => Number(figure.value)))"""
    )
    return shown


def test_the_list_of_devices_says_how_it_adds_up(office: Daemon, open_view: OpenView) -> None:
    page = open_view(office, "devices")

    def expected() -> list[list[int]]:
        begin = (int(page.evaluate("Date.now()")) // 1000 // 900 - 95) * 900
        used = office.get(f"/usage?from={begin}&limit=1000")[1]
        sides = ("bytes_down", "bytes_up")
        devices = [sum(device[side] for device in used["usage"]) for side in sides]
        parts = [
            [used[name][side] for side in sides] for name in ("forgotten", "unattributed", "local", "totals")
        ]
        assert parts[2] > [0, 0]  # between two devices
        assert parts[1] == [900, 700]
        return [devices, *parts]

    eventually(lambda: balance(page) == expected(), "the figures are the API's")


def test_a_print_has_every_row(office: Daemon, open_view: OpenView) -> None:
    page = open_view(office, "devices")
    page.get_by_text("300 devices").wait_for()
    rows = page.locator("main > .page > .sheet tbody tr:not(.space)")
    assert rows.count() < 100
    page.evaluate(
        """() => window.addEventListener('beforeprint', () => {
            window.printed = document.querySelectorAll('.sheet tbody tr:not(.space)').length;
        })"""
    )
    sheets = len(re.findall(rb"/Type\s*/Page\b", page.pdf()))
    assert page.evaluate("window.printed") == 300
    assert 5 <= sheets <= 20
    eventually(lambda: rows.count() < 100, "the page is as before")


def test_a_print_is_dark_text_on_white_in_either_theme(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home)
    page.get_by_label("Theme").select_option(label="Dark")
    scheme = "getComputedStyle(document.documentElement).colorScheme"
    assert page.evaluate(scheme) == "dark"
    page.emulate_media(media="print")
    assert page.evaluate(scheme) == "light"


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_the_remote_hosts_of_flows_are_not_cut(home: Daemon, open_view: OpenView, width: int) -> None:
    page = open_view(home, "activity?active=true", width)
    page.locator("tbody th .name").first.wait_for()
    cut = """() => [...document.querySelectorAll('tbody th .name')]
        .filter((name) => name.scrollWidth > name.clientWidth || name.scrollHeight > name.clientHeight + 1)
        .map((name) => name.textContent)"""
    # On a phone two lines hold about 36 characters.
    assert all(len(name) > 24 for name in page.evaluate(cut) if width < 768)
    assert page.evaluate(cut) == [] or width < 768


def flow_row(page: Page) -> dict[str, Any]:
    row: dict[str, Any] = page.evaluate(
        """() => {
            const row = [...document.querySelectorAll('.flows tbody tr:not(.space)')]
                .find((each) => each.textContent.includes('SSH'));
            return row ? {
                host: row.querySelector('.name').textContent,
                below: row.querySelector('.below').textContent,
                figures: [...row.querySelectorAll('data')].filter((figure) => figure.offsetParent)
                    .map((figure) => Number(figure.value))} : {};
        }"""
    )
    return row


@pytest.mark.parametrize(
    ("number", "address", "figures"),
    [(1, "10.0.0.2", [456_000, 123_000]), (2, "10.0.0.1", [123_000, 456_000])],
)
@pytest.mark.parametrize("view", ["devices/{mac}", "activity?application=netify.nfs&device={mac}"])
def test_a_flow_between_devices_is_seen_from_the_device_that_is_viewed(
    office: Daemon, open_view: OpenView, number: int, address: str, figures: list[int], view: str
) -> None:
    page = open_view(office, view.format(mac=f"02:00:00:00:00:0{number}"))
    row = eventually(lambda: flow_row(page), "the flow is listed")
    assert row["figures"] == figures
    assert f"{address}:" in row["below"] + ":"
