"""The lists of devices and applications are of the period in the address, and can be downloaded as CSV."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from figures import ROWS, get, sizes, wait_for_equal
from pages import OpenView, address, wait_until_loaded
from playwright.sync_api import Page
from support import Daemon, eventually
from test_usage_view import BALANCE, earlier


def downloaded(page: Page, link: str) -> list[dict[str, str]]:
    """The rows of the CSV file behind a link."""
    with page.expect_download() as download:
        page.get_by_role("link", name=link, exact=True).click()
    return list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))


def shown(page: Page) -> dict[str, list[int]]:
    """Download and upload of each row."""
    return {row["name"]: row["figures"][2:] for row in page.evaluate(ROWS, "main")}


@pytest.mark.parametrize(("view", "by"), [("devices", "device"), ("applications", "application")])
def test_a_list_has_the_sums_of_an_earlier_period(
    home: Daemon, open_view: OpenView, view: str, by: str
) -> None:
    period = earlier(home, "week")
    page = open_view(home, f"{view}?{period}")
    used = get(home, f"/usage?by={by}&{period}&limit=1000")["usage"]
    expected = {row["name"] or row["key"]: sizes(row) for row in used}
    wait_for_equal(
        lambda: {name: figures for name, figures in shown(page).items() if any(figures)},
        lambda: expected,
        "the sums of the week",
    )
    assert re.match(r"Download and upload: Mon .* – Sun .*, with local traffic", note(page))
    page.get_by_role("link", name="Hour", exact=True).click()
    eventually(lambda: shown(page) != expected and "Last hour" in note(page), "the sums of the last hour")


def note(page: Page) -> str:
    return page.locator(".sums").inner_text()


def test_a_list_is_sorted_by_the_bytes_of_the_period(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, f"devices?{earlier(home, 'week')}&sort=-bytes_down")
    page.locator("tbody th").first.wait_for()
    used = get(home, f"/usage?{earlier(home, 'week')}&limit=1000")["usage"]
    heaviest = sorted(used, key=lambda row: -row["bytes_down"])
    assert list(shown(page))[:8] == [row["name"] or row["key"] for row in heaviest[:8]]


def test_the_list_of_an_earlier_period_adds_up(home: Daemon, open_view: OpenView) -> None:
    period = earlier(home, "week")
    page = open_view(home, f"devices?{period}")
    page.locator(".balance:not([hidden])").wait_for()
    used = get(home, f"/usage?{period}&limit=1000")
    lines = {name: figures for name, *figures in page.evaluate(BALANCE)}
    assert lines["= Gateway"] == sizes(used["totals"])
    assert lines["Devices in this list"] == [
        sum(row[side] for row in used["usage"]) for side in ("bytes_down", "bytes_up")
    ]


def test_hours_of_a_custom_time_are_those_of_the_chart(home: Daemon, open_view: OpenView) -> None:
    """A list and the pages behind it count the same bytes, also if the time is given to the minute."""
    begin = int(re.findall(r"at=(\d+)", earlier(home, "week"))[0]) + 1234
    page = open_view(home, f"devices?from={begin}&to={begin + 3 * 86400}")
    page.locator("tbody th").first.wait_for()
    listed = shown(page)["nas"]
    page.get_by_role("link", name="nas", exact=True).click()
    sums = "() => [...document.querySelectorAll('.readout data')].map((figure) => Number(figure.value))"
    page.get_by_text("Data per hour", exact=True).wait_for()
    wait_for_equal(lambda: page.evaluate(sums), lambda: listed, "the device's page has the same sums")


def test_a_row_and_the_way_back_keep_the_period(home: Daemon, open_view: OpenView) -> None:
    period = earlier(home, "week")
    for view, name in (("devices", "nas"), ("applications", "Netflix")):
        page = open_view(home, f"{view}?{period}")
        page.locator("tbody th").get_by_role("link", name=name, exact=True).click()
        page.get_by_role("heading", level=1, name=name).wait_for()
        assert address(page).endswith(period)
        page.locator(".crumb a").click()
        page.get_by_role("heading", level=1, name=view.capitalize()).wait_for()
        assert address(page).endswith(f"/{view}?{period}")


@pytest.mark.parametrize(("view", "by"), [("devices", "device"), ("applications", "application")])
def test_a_list_can_be_downloaded_as_csv(home: Daemon, open_view: OpenView, view: str, by: str) -> None:
    period = earlier(home, "week")
    page = open_view(home, f"{view}?{period}&sort=name")
    page.locator("tbody th").first.wait_for()
    rows = downloaded(page, "Download CSV")
    figures = {row["name"] or row["key"]: [int(row["bytes_down"]), int(row["bytes_up"])] for row in rows}
    assert figures == {name: sums for name, sums in shown(page).items() if any(sums)}
    names = [row["name"].casefold() for row in rows if row["name"]]
    assert names == sorted(names)
    page.get_by_role("searchbox").fill("net")
    assert len(downloaded(page, f"Download CSV of all {view}")) == len(rows)


def test_the_csv_of_a_group_has_its_devices(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, f"devices?{earlier(home, 'week')}&group=kids")
    page.locator("tbody th").first.wait_for()
    assert {row["name"] for row in downloaded(page, "Download CSV")} == set(shown(page))


def test_a_download_that_fails_says_why(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "usage")
    wait_until_loaded(page, "usage")
    problem: dict[str, Any] = {"status": 503, "detail": "Redis is unreachable"}
    page.route("**/usage?*format=csv", lambda route: route.fulfill(status=503, json=problem))
    page.get_by_role("link", name="Download CSV").click()
    page.get_by_role("alert").get_by_text("The download failed. Redis is unreachable").wait_for()
    page.unroute_all(behavior="wait")
    open_view.expect_errors(page)
