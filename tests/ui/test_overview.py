"""The overview shows the figures of the API, and its headline and tiles are true."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any

import pytest
from figures import RANKING, ROWS, STATS, SUMS, get, label, rates, wait_for_equal
from pages import OpenView
from playwright.sync_api import Route
from support import Daemon, eventually


def test_the_overview_shows_the_figures_of_the_api(network: Daemon, open_view: OpenView) -> None:
    page = open_view(network)

    def stats() -> dict[str, list[int]]:
        totals = get(network, "/?limit=1")["totals"]
        return {
            "Download now": [totals["rate_down"]],
            "Upload now": [totals["rate_up"]],
            "Active devices": [get(network, f"/?{one}limit=1")["total"] for one in ("active=true&", "")],
            "High-risk connections (live)": [
                get(network, "/flows?active=true&min_risk=100&limit=1")["total"]
            ],
        }

    wait_for_equal(lambda: page.evaluate(STATS), stats, "the key figures")
    wait_for_equal(
        lambda: page.evaluate(RANKING, 0),
        lambda: [[label(one), *rates(one)] for one in get(network, "/?sort=rate&limit=6")["devices"]],
        "the top devices",
    )
    wait_for_equal(
        lambda: page.evaluate(RANKING, 1),
        lambda: [
            [one["name"], *rates(one)]
            for one in get(network, "/applications?sort=rate&limit=6")["applications"]
        ],
        "the top applications",
    )


def test_what_stands_together_is_of_the_same_time(network: Daemon, open_view: OpenView) -> None:
    """Beside a rate of now stand the devices that use the application now, not those of all time."""
    page = open_view(network)
    shown = """() => [...document.querySelectorAll('.ranking')[1].children].map((item) => [
        item.querySelector('.name').textContent, item.querySelector('.below').textContent])"""

    def expected(limit: int, sort: str) -> list[list[str]]:
        path = f"/applications?sort={sort}&limit={limit}&devices_by=rate"
        return [
            [one["name"], ", ".join(user["name"] or user["device"] for user in one["devices"][:3])]
            for one in get(network, path)["applications"]
        ]

    wait_for_equal(lambda: page.evaluate(shown), lambda: expected(6, "rate"), "the users of now")
    page.goto(f"{network.base}/ui/#/applications?sort=name")
    users = """() => [...document.querySelectorAll('tbody tr:not(.space)')].map((row) => [
        row.querySelector('.name').textContent,
        [...row.querySelectorAll('.links a:not([hidden])')].map((link) => link.textContent).join(', ')])"""
    wait_for_equal(
        lambda: sorted(page.evaluate(users)), lambda: sorted(expected(1000, "name")), "the users of now"
    )


@pytest.mark.parametrize("tile", ["Active devices", "High-risk connections (live)"])
def test_a_tile_leads_to_what_it_counts(home: Daemon, open_view: OpenView, tile: str) -> None:
    page = open_view(home)
    stat = page.locator(".stat").filter(has_text=tile)
    stat.locator("data[value]").first.wait_for()
    counted = int(stat.locator("data").first.get_attribute("value") or 0)
    assert counted > 0
    stat.get_by_role("link").click()
    eventually(
        lambda: len(page.evaluate(ROWS, "main")) == counted, f"{counted} rows are listed behind '{tile}'"
    )


@pytest.mark.parametrize(("name", "resolution"), [("day", "5m"), ("week", "1h"), ("month", "1d")])
def test_a_calendar_period_shows_the_sums_of_its_history(
    home: Daemon, open_view: OpenView, name: str, resolution: str
) -> None:
    page = open_view(home, f"?period={name}")

    def expected() -> list[int]:
        begin = get(home, f"/usage?period={name}&limit=1")["period"]["start"]
        buckets = get(home, f"/history?resolution={resolution}&from={begin}")["buckets"]
        return [sum(bucket[side] for bucket in buckets) for side in ("bytes_down", "bytes_up")]

    wait_for_equal(lambda: page.evaluate(SUMS), expected, f"the sums of the {name}")


@pytest.mark.parametrize(
    ("name", "resolution", "step", "bars"),
    [("hour", "5m", 300, 12), ("day", "5m", 900, 96)],
)
def test_a_range_shows_the_sums_of_its_history(
    home: Daemon, open_view: OpenView, name: str, resolution: str, step: int, bars: int
) -> None:
    page = open_view(home, f"?range={name}")

    def expected() -> list[int]:
        begin = (int(page.evaluate("Date.now()")) // 1000 // step - bars + 1) * step
        buckets = get(home, f"/history?resolution={resolution}&from={begin}")["buckets"]
        return [sum(bucket[side] for bucket in buckets) for side in ("bytes_down", "bytes_up")]

    wait_for_equal(lambda: page.evaluate(SUMS), expected, f"the sums of the {name}")


def test_the_headline_names_the_busiest_device_and_its_application(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home)
    page.get_by_role("heading", level=1, name="living-room-tv is using").wait_for()
    [flow] = get(home, "/flows?application=netify.netflix&active=true")["flows"]
    age_s = time.time() - datetime.fromisoformat(flow["first_seen"].replace("Z", "+00:00")).timestamp()
    shown = re.search(r": Netflix for (\d+) min$", page.get_by_role("heading", level=1).inner_text())
    assert shown
    assert int(shown[1]) == pytest.approx(age_s / 60, abs=1)


@pytest.mark.parametrize(
    ("share", "headline"),
    [
        (0.2, "active devices share 50.0 Mbit/s"),
        (0.4, "is using 40% of the current traffic"),
        (0.8, "is using most of"),
    ],
)
def test_the_headline_claims_most_only_above_half(
    home: Daemon, open_view: OpenView, share: float, headline: str
) -> None:
    def with_share(route: Route) -> None:
        response = route.fetch()
        document: dict[str, Any] = response.json()
        document["totals"].update(rate_down=50_000_000, rate_up=0)
        device = document["devices"][0]
        device.update(rate_down=int(50_000_000 * share), rate_up=0)
        route.fulfill(response=response, json=document)

    page = open_view(home, "activity")
    page.route(lambda url: "since=true" in url, with_share)
    page.goto(f"{home.base}/ui/#/")
    page.get_by_role("heading", level=1, name=headline).wait_for()
    page.unroute_all(behavior="wait")
