"""The Usage page: calendar periods, the period before, rankings, CSV, and how lists add up."""

from __future__ import annotations

import csv
import io
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from figures import get, wait_for_equal
from pages import OpenView, address, wait_until_loaded
from playwright.sync_api import Page
from support import Daemon, eventually

STATS = """() => [...document.querySelectorAll('.stat data')].slice(0, 3)
    .map((figure) => Number(figure.value))"""
ROWS = """() => [...document.querySelectorAll('.usage .sheet tbody tr:not(.space)')].map((row) => [
    row.querySelector('.name').textContent, row.querySelector('.share span').textContent,
    row.querySelector('.change').textContent,
    ...[...row.querySelectorAll('data')].filter((figure) => figure.offsetParent)
        .map((figure) => Number(figure.value))])"""
BARS = """() => [...document.querySelectorAll('.as-table tbody tr')].reverse().map((row) =>
    [...row.querySelectorAll('data')].map((figure) => Number(figure.value)))"""
BALANCE = """() => [...document.querySelectorAll('.balance dl > div:not([hidden])')].map((line) => [
    line.querySelector('dt').firstChild.textContent,
    ...[...line.querySelectorAll('data')].map((figure) => Number(figure.value))])"""


def without_local(row: dict[str, Any]) -> tuple[int, int]:
    """Bytes down and up of a row of ``/usage`` that passed the link."""
    return row["bytes_down"] - row["local_down"], row["bytes_up"] - row["local_up"]


def earlier(daemon: Daemon, period: str) -> str:
    """The parameters that select the period before the current one, which grows no more."""
    start = get(daemon, f"/usage?period={period}&limit=1")["period"]["start"]
    at = get(daemon, f"/usage?period={period}&previous=true&limit=1")["previous_period"]["start"]
    assert at < start
    return f"period={period}&at={seconds(at)}"


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def change(row: dict[str, Any]) -> str:
    used, before = sum(without_local(row)), sum(without_local(row["previous"]))
    if not before:
        return "New" if used else "–"
    if used / before >= 10:
        return f"{int(used / before + 0.5)}×" if used / before < 100 else "> 100×"
    percent = int(100 * (used / before - 1) + (0.5 if used >= before else -0.5))
    return f"{percent:+}%".replace("-", "−") if percent else "±0%"


def shown_row(row: dict[str, Any], none: str | None) -> list[Any]:
    percent = 100 * row["share"]
    name = none if row["key"] is None else row["name"] or row["key"]
    return [
        name.replace("-", " ") if none == "Without a category" and name else name,
        "< 1%" if percent < 1 and sum(without_local(row)) else f"{int(percent + 0.5)}%",
        change(row),
        *without_local(row),
        row["local_up"] + row["local_down"],
        sum(without_local(row["previous"])),
    ]


def open_table(page: Page) -> None:
    page.locator(".plot path[d^=M]").first.wait_for(state="attached")
    page.get_by_text("Show as table").click()


@pytest.mark.parametrize(
    ("by", "none"),
    [
        ("device", None),
        ("group", "In no group"),
        ("application", None),
        ("category", "Without a category"),
        ("interface", "Before interfaces were counted"),
    ],
)
def test_a_ranking_has_the_figures_of_the_api(
    home: Daemon, open_view: OpenView, by: str, none: str | None
) -> None:
    period = earlier(home, "week")
    page = open_view(home, f"usage?{period}&by={by}", 1440)
    document = get(home, f"/usage?by={by}&{period}&previous=true&limit=1000")
    assert document["usage"]
    wait_for_equal(
        lambda: sorted(page.evaluate(ROWS)),
        lambda: sorted(shown_row(row, none) for row in document["usage"]),
        f"the rows by {by}",
    )
    totals = document["totals"]
    assert page.evaluate(STATS) == [*without_local(totals), totals["local_up"] + totals["local_down"]]
    assert page.locator(".stat").last.inner_text().endswith(change(totals))


def test_bars_stand_beside_those_of_the_period_before(home: Daemon, open_view: OpenView) -> None:
    period = earlier(home, "week")
    page = open_view(home, f"usage?{period}")
    open_table(page)
    used = get(home, f"/usage?{period}&previous=true&limit=1")

    def buckets(period: dict[str, str]) -> list[dict[str, int]]:
        query = f"resolution=1d&from={period['start']}&to={seconds(period['end']) - 1}"
        found: list[dict[str, int]] = get(home, f"/history?{query}")["buckets"]
        assert len(found) == 7
        return found

    expected = [
        [one["bytes_down"], one["bytes_up"], before["bytes_down"] + before["bytes_up"]]
        for one, before in zip(buckets(used["period"]), buckets(used["previous_period"]), strict=True)
    ]
    wait_for_equal(lambda: page.evaluate(BARS), lambda: expected, "seven days and the seven days before")
    page.locator("path.before").wait_for(state="attached")


def test_the_current_period_is_compared_with_as_much_of_the_one_before(
    home: Daemon, open_view: OpenView
) -> None:
    """The figures grow with each flush. They are compared with the answer that the page received."""
    page = open_view(home, "overview")
    with page.expect_response(lambda response: "to_date=true" in response.url) as answered:
        page.goto(f"{home.base}/ui/#/usage")
    document = answered.value.json()
    assert document["period"] == get(home, "/usage?period=month&limit=1")["period"] | {
        "covered_end": document["period"]["covered_end"]
    }
    assert document["previous_period"]["end"] < document["period"]["start"]
    page.get_by_text("This month, so far").wait_for()
    label = page.locator(".stat").last.locator("dt")
    eventually(lambda: label.inner_text().startswith("vs. "), "it says what it is compared with")
    # Days ahead are empty: they are not zero, and not without data.
    page.get_by_role("slider").press("End")
    assert "No data" not in page.locator(".readout").inner_text()


def test_what_is_ahead_is_not_shown_in_detail(home: Daemon, open_view: OpenView) -> None:
    """Enter on the last bar, which has not begun, changes nothing; on the first one it shows that one."""
    for period, bar_s in (("week", 3600), ("month", 86_400)):
        times = get(home, f"/usage?period={period}&limit=1")["period"]
        if seconds(times["end"]) - bar_s > time.time() + 60:
            break
    else:
        pytest.skip("the last hour of a week that ends with its month has no bar ahead")
    page = open_view(home, f"?period={period}")
    page.locator(".plot path[d^=M]").first.wait_for(state="attached")
    whole = address(page)
    slider, figures = page.get_by_role("slider"), page.locator(".readout data")
    slider.press("End")
    assert figures.count() == 0  # not even zero: nothing is known of it
    slider.press("Enter")
    assert address(page) == whole
    slider.press("Home")
    assert figures.count() == 2
    slider.press("Enter")
    assert re.findall(r"from=(\d+)", address(page)) == [str(seconds(times["start"]))]


def test_nothing_is_compared_with_a_period_without_data(network: Daemon, open_view: OpenView) -> None:
    """The agent has two hours of history. What was used before them is not known."""
    page = open_view(network, "usage", 1440)
    wait_until_loaded(page, "usage")
    assert {row[2] for row in page.evaluate(ROWS)} == {"–"}
    assert page.locator(".stat").last.locator("data").inner_text() == "–"
    note = page.locator(".usage .panel .note").inner_text()
    assert "There is no data for that time." in note or "so nothing is compared." in note


def test_lists_add_up(office: Daemon, open_view: OpenView) -> None:
    page = open_view(office, "usage", 1440)
    page.locator(".balance:not([hidden])").wait_for()

    def adds_up() -> bool:
        lines = {name: sizes for name, *sizes in page.evaluate(BALANCE)}
        rows, gateway = lines["Rows of this list"], lines["= Gateway"]
        others = [lines["+ Forgotten devices"], lines["+ Without a device"]]
        assert lines["+ Without a device"] == [900, 700]
        return gateway == [sum(parts) for parts in zip(rows, *others, strict=True)]

    assert adds_up()
    local = page.locator(".stat").nth(2).locator("data")
    assert int(local.get_attribute("value") or 0) >= 579_000  # a flow between two devices, counted once


def test_groups_that_overlap_add_up(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, f"usage?{earlier(home, 'week')}&by=group")
    page.locator(".balance:not([hidden])").wait_for()
    lines = {name: sizes for name, *sizes in page.evaluate(BALANCE)}
    signs = {"−": -1, "=": 0}
    parts = [[signs.get(name[0], 1) * size for size in sizes] for name, sizes in lines.items()]
    assert [sum(part) for part in zip(*parts, strict=True)] == lines["= Gateway"]
    assert sum(lines["− In several groups"]) > 0  # the nas is in two groups


def test_what_is_shown_can_be_downloaded_as_csv(home: Daemon, open_view: OpenView) -> None:
    period = earlier(home, "week")
    page = open_view(home, f"usage?{period}&by=application")
    page.locator(".usage .sheet tbody th").first.wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))
    document = get(home, f"/usage?by=application&{period}&previous=true&limit=1000")
    assert [(row["key"], int(row["bytes_down"]), int(row["previous.bytes_up"])) for row in rows] == [
        (row["key"], row["bytes_down"], row["previous"]["bytes_up"]) for row in document["usage"]
    ]


def test_periods_are_left_and_entered_with_links(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "usage")
    page.get_by_text("This month, so far").wait_for()
    page.get_by_role("link", name="Day", exact=True).click()
    page.get_by_text("Today, so far").wait_for()
    assert "period=day" in address(page)
    assert page.get_by_label("Next period").get_attribute("href") is None
    page.get_by_label("Previous period").click()
    page.wait_for_url(re.compile(r"period=day&at=\d+"))
    eventually(lambda: "Today" not in page.locator(".lead").inner_text(), "the day before is shown")
    page.get_by_label("Next period").click()
    page.get_by_text("Today, so far").wait_for()
    page.go_back()
    eventually(lambda: "Today" not in page.locator(".lead").inner_text(), "the day before is shown again")


def test_days_are_shown_in_hours_and_hours_in_minutes(home: Daemon, open_view: OpenView) -> None:
    """With the keyboard: Shift and an arrow key select bars, Enter shows these in detail."""
    page = open_view(home, f"usage?{earlier(home, 'week')}")
    page.get_by_text("Data per day", exact=True).wait_for()
    slider = page.get_by_role("slider")
    slider.press("End")
    slider.press("Enter")
    page.get_by_text("Data per hour", exact=True).wait_for()
    begin, end = (int(text) for text in re.findall(r"=(\d{9,})", address(page)))
    assert end - begin == 86400
    rows = page.evaluate(ROWS)
    wait_for_equal(
        lambda: page.evaluate(STATS)[0],
        lambda: without_local(get(home, f"/usage?from={begin}&to={end}&limit=1")["totals"])[0],
        "the figures of one day",
    )
    assert rows
    page.goto(f"{home.base}/ui/#/usage?period=day")
    page.get_by_text("Today, so far").wait_for()
    page.get_by_text("Data per hour", exact=True).wait_for()
    slider.press("Home")
    slider.press("Enter")
    page.get_by_text("Data per 5 minutes", exact=True).wait_for()


def test_a_row_leads_to_its_page_with_the_same_period(home: Daemon, open_view: OpenView) -> None:
    period = earlier(home, "week")
    page = open_view(home, f"usage?{period}")
    page.locator(".usage .sheet").get_by_role("link", name="living-room-tv").click()
    page.get_by_role("heading", level=1, name="living-room-tv").wait_for()
    assert address(page).endswith(period)
    title = page.locator(".readout .when")
    eventually(lambda: re.search(r"Mon .* – Sun ", title.inner_text()), "the chart shows the same week")


def test_the_ranking_is_sorted_as_the_address_says(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, f"usage?{earlier(home, 'week')}&sort=name")
    wait_until_loaded(page, "usage")
    names = [row[0] for row in page.evaluate(ROWS)]
    assert names == sorted(names, key=lambda name: [name[0].isalpha(), name.lower()])
    page.get_by_role("button", name="Download", exact=True).click()
    assert "sort=-bytes_down" in address(page)


def test_an_earlier_address_of_a_week_or_month_still_works(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "?range=month")
    page.locator(".readout").get_by_text("This month", exact=True).wait_for()
    assert page.locator(".ranges [aria-current]").inner_text() == "Month"


def test_plans_have_the_figures_of_the_api(home: Daemon, open_view: OpenView) -> None:
    """They grow with each flush. They are compared with the answer that the page received last."""
    page = open_view(home, "overview")
    answers: list[dict[str, Any]] = []
    page.on("response", lambda one: answers.append(one.json()) if "/plans" in one.url else None)
    page.goto(f"{home.base}/ui/#/usage")
    page.locator(".plans li").nth(1).wait_for()
    read = """() => [...document.querySelectorAll('.plans li')].map((plan) => [
        plan.querySelector('.name').textContent, plan.querySelector('.outlook').textContent,
        ...[...plan.querySelectorAll('data')].map((figure) => Number(figure.value))])"""

    def is_shown() -> bool:
        shown = page.evaluate(read)
        return any(
            [[name, used, limit] for name, _, used, limit in shown]
            == [[plan["plan"], plan["used"], plan["limit"]] for plan in answer["plans"]]
            for answer in answers
        )

    eventually(is_shown, "the plans as the API has them")
    for _, outlook, _, _ in page.evaluate(read):
        assert re.search(
            r"^(< 1|\d+)% used, (< 1|\d+)% of the period over · .* left · (forecast|too early)", outlook
        )
    assert page.locator(".level-label").inner_html() == "uplink: limit per day"
    page.get_by_role("link", name="Week", exact=True).click()
    page.get_by_text("This week, so far").wait_for()
    eventually(lambda: page.locator(".level-label").count() == 0, "a week has no plan")


def test_without_plans_there_is_no_list_of_plans(office: Daemon, open_view: OpenView) -> None:
    page = open_view(office, "usage")
    wait_until_loaded(page, "usage")
    assert page.get_by_role("heading", name="Plans, current period").is_hidden()
