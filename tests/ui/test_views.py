"""The pages of devices and applications show the figures of the API, and search and sorting work."""

from __future__ import annotations

from typing import Any

import pytest
from figures import ROWS, STATS, SUMS, by_name, get, label, rates, sizes, wait_for_equal
from pages import OpenView, wait_until_loaded
from playwright.sync_api import Route
from support import Daemon, eventually


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

    def users() -> list[list[Any]]:
        begin = (int(page.evaluate("Date.now()")) // 1000 // 900 - 95) * 900
        usage = get(network, f"/usage?application={tag}&from={begin}&limit=1000")["usage"]
        used = {row["key"]: sizes(row) for row in usage}
        return sorted(
            [one["name"] or one["device"], *rates(one), *used.get(one["device"], [0, 0])]
            for one in get(network, f"/applications/{tag}?limit=1000")["devices"]
            if one["device"] in used or any(rates(one))
        )

    wait_for_equal(
        lambda: sorted([row["name"], *row["figures"]] for row in page.evaluate(ROWS, "main")),
        users,
        "the devices of the last 24 hours",
    )

    def of_the_day() -> list[int]:
        begin = (int(page.evaluate("Date.now()")) // 1000 // 900 - 95) * 900
        history = get(network, f"/history?resolution=5m&applications=true&from={begin}")
        parts = [one for bucket in history["buckets"] for one in bucket["applications"] if one["tag"] == tag]
        return [sum(part[side] for part in parts) for side in ("bytes_down", "bytes_up")]

    wait_for_equal(lambda: page.evaluate(SUMS), of_the_day, "its last 24 hours")


def key(row: dict[str, Any]) -> str:
    """What ``/usage`` calls a device or an application."""
    return str(row.get("tag") or row.get("mac") or row["ip"])


@pytest.mark.parametrize(
    ("view", "path", "by", "times"),
    [
        ("devices", "/", "device", ("first_seen", "last_seen")),
        ("applications", "/applications?limit=1000", "application", ("last_seen",)),
    ],
)
@pytest.mark.parametrize("period", ["hour", "day"])
def test_a_page_lists_every_device_or_application_with_the_sums_of_the_period(
    network: Daemon, open_view: OpenView, view: str, path: str, by: str, times: tuple[str, ...], period: str
) -> None:
    """The network has two hours of history, so that an hour is not all of it."""
    page = open_view(network, f"{view}?range={period}")
    step, bars = {"hour": (300, 12), "day": (900, 96)}[period]

    def expected() -> list[dict[str, Any]]:
        begin = (int(page.evaluate("Date.now()")) // 1000 // step - bars + 1) * step
        usage = get(network, f"/usage?by={by}&from={begin}&limit=1000")["usage"]
        used = {row["key"]: sizes(row) for row in usage}
        return by_name(
            [
                {
                    "name": label(row) if view == "devices" else row["name"],
                    "figures": [
                        *rates(row),
                        *used.get(row.get("tag") or row.get("mac") or row["ip"], [0, 0]),
                    ],
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
    wait_until_loaded(page, "devices")
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
            sizes(flow)[:: -1 if flow["peer"] == path else 1]  # seen from the side of the device
            for flow in get(network, f"/flows?device={path}&active=true&limit=50")["flows"]
        ),
        "the live flows",
    )


def test_the_chart_of_a_device_shows_its_applications(home: Daemon, open_view: OpenView) -> None:
    mac = "e8:5b:5b:31:7a:02"
    page = open_view(home, f"devices/{mac}?period=week")

    def expected() -> dict[str, int]:
        begin = get(home, "/usage?period=week&limit=1")["period"]["start"]
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
    assert str(slider.get_attribute("aria-valuetext")).startswith("This week")


def test_an_unknown_device_is_not_found(network: Daemon, open_view: OpenView) -> None:
    page = open_view(network, "devices/02:00:00:00:99:99")
    page.get_by_text("Device not found").wait_for()
    open_view.expect_errors(page)  # the API answers 404


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
        if "devices" in document:
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
