"""Every view shows the figures of the API, and its search, filters and sorting work."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from pages import OpenView
from playwright.sync_api import Page, Route
from support import Daemon, eventually

ROWS = """(scope) => [...document.querySelectorAll(`${scope} tbody tr:not(.space)`)].map((row) => ({
    name: row.querySelector('.name').textContent,
    figures: [...row.querySelectorAll('data')]
        .filter((figure) => figure.offsetParent).map((figure) => Number(figure.value)),
    times: [...row.querySelectorAll('time')].map((time) => time.getAttribute('datetime'))}))"""
RANKING = """(place) => [...document.querySelectorAll('.ranking')[place].children].map((item) => [
    item.querySelector('.name').textContent,
    ...[...item.querySelectorAll('data')].map((figure) => Number(figure.value))])"""
STATS = """() => Object.fromEntries([...document.querySelectorAll('.stat')].map((stat) => [
    stat.querySelector('dt').innerText.replace(/(since) .+/, '$1'),
    [...stat.querySelectorAll('data')].map((figure) => Number(figure.value))]))"""
SUMS = "() => [...document.querySelectorAll('.readout data')].map((figure) => Number(figure.value))"


def wait_for_equal(shown: Callable[[], Any], expected: Callable[[], Any], what: str) -> None:
    """Wait until the page shows what the API answers; both change with every flush."""
    last: list[Any] = [None, None]

    def is_equal() -> bool:
        last[:] = [expected(), shown()]
        return bool(last[0] == last[1] and last[0])

    try:
        eventually(is_equal, what)
    except AssertionError:
        assert last[1] == last[0], what
        raise


def get(daemon: Daemon, path: str) -> Any:
    status, document = daemon.get(path)
    assert status == 200, document
    return document


def label(device: dict[str, Any]) -> str:
    return str(device["name"] or device["ip"] or device["mac"])


def rates(row: dict[str, Any]) -> list[int]:
    return [row["rate_down"], row["rate_up"]]


def sizes(row: dict[str, Any]) -> list[int]:
    return [row["bytes_down"], row["bytes_up"]]


def by_name(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["name"], row["figures"]))


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


def test_an_application_page_shows_the_figures_of_the_api(network: Daemon, open_view: OpenView) -> None:
    tag = get(network, "/applications?limit=1")["applications"][0]["tag"]
    page = open_view(network, f"applications/{tag}")

    def stats() -> dict[str, list[int]]:
        application = get(network, f"/applications/{tag}")["application"]
        return {
            "Download now": [application["rate_down"]],
            "Upload now": [application["rate_up"]],
            "Download since": [application["bytes_down"]],
            "Upload since": [application["bytes_up"]],
        }

    wait_for_equal(lambda: page.evaluate(STATS), stats, "the application's figures")
    wait_for_equal(
        lambda: sorted([row["name"], *row["figures"]] for row in page.evaluate(ROWS, "main")),
        lambda: sorted(
            [one["name"] or one["device"], *rates(one), *sizes(one)]
            for one in get(network, f"/applications/{tag}?limit=1000")["devices"]
        ),
        "its devices",
    )

    def of_the_day() -> list[int]:
        begin = (int(page.evaluate("Date.now()")) // 1000 // 900 - 95) * 900
        history = get(network, f"/history?resolution=5m&applications=true&from={begin}")
        parts = [one for bucket in history["buckets"] for one in bucket["applications"] if one["tag"] == tag]
        return [sum(part[side] for part in parts) for side in ("bytes_down", "bytes_up")]

    wait_for_equal(lambda: page.evaluate(SUMS), of_the_day, "its last 24 hours")


@pytest.mark.parametrize(
    ("name", "resolution", "step", "bars"),
    [("hour", "5m", 300, 12), ("day", "5m", 900, 96), ("week", "1h", 3600, 168), ("month", "1d", 86400, 31)],
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
    ("view", "path", "times"),
    [
        ("devices", "/", ("first_seen", "last_seen")),
        ("applications", "/applications?limit=1000", ("last_seen",)),
    ],
)
def test_a_page_lists_every_device_or_application(
    network: Daemon, open_view: OpenView, view: str, path: str, times: tuple[str, ...]
) -> None:
    page = open_view(network, view)

    def expected() -> list[dict[str, Any]]:
        return by_name(
            [
                {
                    "name": label(row),
                    "figures": [*rates(row), *sizes(row)],
                    "times": [row[name] for name in times],
                }
                for row in get(network, path)[view]
            ]
        )

    wait_for_equal(lambda: by_name(page.evaluate(ROWS, "main")), expected, f"all {view}")


def test_devices_are_found_by_name_vendor_mac_and_ip(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "devices")
    box = page.get_by_role("searchbox", name="Search devices")
    for text, names in (
        ("ANNA", ["anna-laptop", "annas-iPhone"]),
        ("synology", ["nas"]),
        ("b8:a4:4f", ["axis-door-1"]),
        ("10.8.0.2", ["10.8.0.2"]),
    ):
        box.fill(text)
        eventually(
            lambda names=names: sorted(row["name"] for row in page.evaluate(ROWS, "main")) == names,
            f"'{text}' finds {names}",
        )
    box.fill("no such device")
    assert page.get_by_text("No devices match these filters").is_visible()


def test_a_column_header_sorts_the_table(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "devices")
    names = [label(device) for device in get(home, "/")["devices"]]
    header = page.get_by_role("columnheader", name="Device")
    page.get_by_role("button", name="Device").click()
    page.mouse.move(0, 0)
    assert header.get_attribute("aria-sort") == "ascending"
    shown = [row["name"] for row in page.evaluate(ROWS, "main")]
    assert sorted(shown) == sorted(names)
    assert shown == sorted(shown, key=lambda name: [name[0].isalpha(), name.lower()])
    page.get_by_role("button", name="Device").press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert [row["name"] for row in page.evaluate(ROWS, "main")] == shown[::-1]


def test_a_device_page_shows_the_figures_of_the_api(network: Daemon, open_view: OpenView) -> None:
    busiest = get(network, "/?limit=1")["devices"][0]
    path = busiest["mac"] or busiest["ip"]
    page = open_view(network, f"devices/{path}")

    def stats() -> dict[str, list[int]]:
        device = get(network, f"/{path}")
        return {
            "Download now": [device["rate_down"]],
            "Upload now": [device["rate_up"]],
            "Download since": [device["bytes_down"]],
            "Upload since": [device["bytes_up"]],
        }

    wait_for_equal(lambda: page.evaluate(STATS), stats, "the device's figures")
    assert page.get_by_role("heading", level=1).inner_text() == label(busiest)

    def of_the_day() -> list[list[Any]]:
        begin = (int(page.evaluate("Date.now()")) // 1000 // 900 - 95) * 900
        history = get(network, f"/{path}/history?resolution=5m&applications=true&from={begin}")
        used = {
            one["tag"]: [one["name"], *rates(one), 0, 0] for one in get(network, f"/{path}")["applications"]
        }
        for bucket in history["buckets"]:
            for one in bucket["applications"]:
                used[one["tag"]][3] += one["bytes_down"]
                used[one["tag"]][4] += one["bytes_up"]
        return sorted(row for row in used.values() if any(row[1:]))

    wait_for_equal(
        lambda: [
            [row["name"], *row["figures"]] for row in by_name(page.evaluate(ROWS, ".panel:nth-child(3)"))
        ],
        of_the_day,
        "the applications of the last 24 hours",
    )
    wait_for_equal(
        lambda: sorted([row["name"], *row["figures"]] for row in page.evaluate(ROWS, ".columns")),
        lambda: sorted([one["name"], *sizes(one)] for one in get(network, f"/{path}")["protocols"]),
        "the protocols",
    )
    wait_for_equal(
        lambda: sorted(row["figures"] for row in page.evaluate(ROWS, ".panel:nth-child(5)")),
        lambda: sorted(
            sizes(flow) for flow in get(network, f"/flows?device={path}&active=true&limit=50")["flows"]
        ),
        "the live flows",
    )


def test_the_chart_of_a_device_shows_its_applications(home: Daemon, open_view: OpenView) -> None:
    mac = "e8:5b:5b:31:7a:02"
    page = open_view(home, f"devices/{mac}?range=week")

    def expected() -> dict[str, int]:
        now = int(page.evaluate("Date.now()")) // 1000
        begin = now // 3600 * 3600 - 167 * 3600
        names = {one["tag"]: one["name"] for one in get(home, f"/{mac}")["applications"]}
        history = get(home, f"/{mac}/history?resolution=1h&from={begin}&applications=true")
        sums: dict[str, int] = {}
        for bucket in history["buckets"]:
            for one in bucket["applications"]:
                name = names[one["tag"]]
                sums[name] = sums.get(name, 0) + one["bytes_up"] + one["bytes_down"]
        return sums

    shown = """() => Object.fromEntries([...document.querySelectorAll('.legend li')].map((item) =>
        [item.querySelector('bdi').textContent, Number(item.querySelector('data').value)]))"""
    wait_for_equal(lambda: page.evaluate(shown), expected, "the sums by application")
    # Every step can be selected by keyboard and is described to screen readers.
    slider = page.get_by_role("slider")
    slider.press("End")
    assert " – " in str(slider.get_attribute("aria-valuetext"))
    slider.press("ArrowLeft")
    assert slider.get_attribute("aria-valuenow") == "166"
    slider.press("Escape")
    assert str(slider.get_attribute("aria-valuetext")).startswith("Last 7 days")


def test_an_unknown_device_is_not_found(network: Daemon, open_view: OpenView) -> None:
    page = open_view(network, "devices/02:00:00:00:99:99")
    page.get_by_text("Device not found").wait_for()
    open_view.expect_errors(page)  # the API answers 404


def flows(daemon: Daemon, query: str) -> list[list[Any]]:
    return sorted(
        [flow["host"] or flow["other_ip"] or "–", *sizes(flow)]
        for flow in get(daemon, f"/flows?limit=40&{query}")["flows"]
    )


def shown_flows(page: Page, scope: str = "main") -> list[list[Any]]:
    return sorted([row["name"], *row["figures"]] for row in page.evaluate(ROWS, scope))


def test_flows_are_filtered_by_device_application_state_and_risk(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "activity")
    page.get_by_label("State").select_option(label="Live")
    wait_for_equal(lambda: shown_flows(page), lambda: flows(home, "active=true"), "the live flows")
    page.get_by_label("Device").select_option(label="anna-laptop")
    mac = "a8:7c:f8:10:42:d1"
    wait_for_equal(
        lambda: shown_flows(page), lambda: flows(home, f"active=true&device={mac}"), "the flows of a device"
    )
    page.get_by_label("Application").select_option(label="Zoom")
    query = f"active=true&device={mac}&application=netify.zoom"
    wait_for_equal(lambda: shown_flows(page), lambda: flows(home, query), "the flows of an application")
    page.get_by_label("Risk").select_option(label="Any risk")
    page.get_by_text("No flows match these filters").wait_for()
    assert f"device={mac.replace(':', '%3A')}" in page.url


def test_the_risks_page_names_every_risk(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "risks")
    wait_for_equal(lambda: shown_flows(page), lambda: flows(home, "min_risk=1"), "the flows with a risk")
    names = {risk["name"] for flow in get(home, "/flows?min_risk=1")["flows"] for risk in flow["risks"]}
    assert len(names) >= 3
    assert set(page.locator(".risk-name").all_inner_texts()) == names
    # Each type has its own severity, not the sum that its flows have.
    severities = {
        risk["name"]: risk["severity"].capitalize()
        for flow in get(home, "/flows?min_risk=1")["flows"]
        for risk in flow["risks"]
    }
    assert severities["Unsafe protocol"] == "Low"
    levels = page.locator(".risks .level").all_inner_texts()
    assert dict(zip(page.locator(".risk-name").all_inner_texts(), levels, strict=True)) == severities
    # Names are text: they are read without a mouse.
    assert "Self-signed certificate" in page.locator("td .risk-cell").first.inner_text()
    assert page.locator("td [title*=certificate]").count() == 0
    assert page.locator("td .risk").first.inner_text().startswith("High 1")
    assert page.locator(".risks").get_by_role("link", name="axis-door-1").first.is_visible()


def test_tooltips_show_exact_values(network: Daemon, open_view: OpenView) -> None:
    page = open_view(network, "devices")
    page.locator("tbody data").first.wait_for()
    titles = page.evaluate(
        "() => [...document.querySelectorAll('tbody data')].map((figure) => [figure.value, figure.title])"
    )
    for value, title in titles:
        assert title in (f"{int(value):,} bytes", f"{int(value):,} bits per second")
    time = page.locator("tbody time").first
    assert "GMT+" in str(time.get_attribute("title")) or "CE" in str(time.get_attribute("title"))


def test_a_device_without_any_address_is_shown_like_others(network: Daemon, open_view: OpenView) -> None:
    busiest = get(network, "/?limit=1")["devices"][0]
    group = {"mac": None, "ip": None, "ips": [], "name": "other", "vendor": None, "interface": None}

    def add_group(route: Route) -> None:
        """Answer as an agent does that counts some devices as the group `other`."""
        response = route.fetch(url=route.request.url.replace("other", busiest["mac"]))
        document = response.json()
        if "totals" in document:
            document["devices"] = [{**busiest, **group}, *document["devices"]]
        elif "mac" in document:
            document |= group
        route.fulfill(response=response, json=document)

    page = open_view(network, "risks")
    page.route(lambda url: not any(part in url for part in ("/ui/", "/events", "/status")), add_group)
    page.goto(f"{network.base}/ui/#/")
    page.locator(".ranking").get_by_role("link", name="other", exact=True).wait_for()
    page.goto(f"{network.base}/ui/#/devices")
    page.locator("tbody").get_by_role("link", name="other", exact=True).click()
    page.get_by_role("heading", level=1, name="other").wait_for()
    page.locator(".stat").filter(has_text="Download since").locator("data[value]").wait_for()
    page.goto(f"{network.base}/ui/#/flows?device=other")
    page.get_by_role("option", name="other").wait_for(state="attached")
    page.locator("tbody data").first.wait_for()
    assert open_view.log(page).problems == []
    page.unroute_all(behavior="ignoreErrors")
    open_view.expect_errors(page)  # from here on, the agent itself answers 404 for `other`
