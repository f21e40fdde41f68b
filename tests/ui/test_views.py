"""Each view shows the numbers that the API gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page
from support import Daemon, eventually

Look = Callable[..., Page]

ROWS = """(scope) => [...document.querySelectorAll(`${scope} tbody tr:not(.space)`)].map((row) => ({
    name: row.querySelector('.name').textContent,
    figures: [...row.querySelectorAll('data')].map((figure) => Number(figure.value)),
    times: [...row.querySelectorAll('time')].map((time) => time.getAttribute('datetime'))}))"""
RANKING = """(place) => [...document.querySelectorAll('.ranking')[place].children].map((item) => [
    item.querySelector('.name').textContent,
    ...[...item.querySelectorAll('data')].map((figure) => Number(figure.value))])"""
STATS = """() => Object.fromEntries([...document.querySelectorAll('.stat')].map((stat) => [
    stat.querySelector('dt').textContent,
    [...stat.querySelectorAll('data')].map((figure) => Number(figure.value))]))"""
SUMS = "() => [...document.querySelectorAll('.readout data')].map((figure) => Number(figure.value))"


def agree(shown: Callable[[], Any], told: Callable[[], Any], what: str) -> Any:
    """What the API told, as soon as the page shows the same. The network moves on while we look."""
    last: list[Any] = [None, None]

    def same() -> bool:
        last[:] = [told(), shown()]
        return bool(last[0] == last[1] and last[0])

    try:
        eventually(same, what)
    except AssertionError:
        assert last[1] == last[0], what
        raise
    return last[0]


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


def test_the_overview(network: Daemon, look: Look) -> None:
    page = look(network)

    def stats() -> dict[str, list[int]]:
        totals = get(network, "/?limit=1")["totals"]
        return {
            "Download now": [totals["rate_down"]],
            "Upload now": [totals["rate_up"]],
            "Active devices": [get(network, f"/?{one}limit=1")["total"] for one in ("active=true&", "")],
            "Connections at high risk": [get(network, "/flows?active=true&min_risk=100&limit=1")["total"]],
        }

    agree(lambda: page.evaluate(STATS), stats, "the figures at the top")
    agree(
        lambda: page.evaluate(RANKING, 0),
        lambda: [[label(one), *rates(one)] for one in get(network, "/?sort=rate&limit=6")["devices"]],
        "who uses the connection",
    )
    agree(
        lambda: page.evaluate(RANKING, 1),
        lambda: [
            [one["name"], *rates(one)]
            for one in get(network, "/applications?sort=rate&limit=6")["applications"]
        ],
        "for what",
    )


@pytest.mark.parametrize(
    ("name", "resolution", "seconds"),
    [("hour", "5m", 3600), ("day", "5m", 86400), ("week", "1h", 7 * 86400), ("month", "1d", 31 * 86400)],
)
def test_the_sums_of_a_range(home: Daemon, look: Look, name: str, resolution: str, seconds: int) -> None:
    page = look(home, f"?range={name}")
    step = {"hour": 300, "day": 900, "week": 3600, "month": 86400}[name]

    def told() -> list[int]:
        now = int(page.evaluate("Date.now()")) // 1000
        begin = now // step * step - (seconds // step - 1) * step
        buckets = get(home, f"/history?resolution={resolution}&from={begin}")["buckets"]
        return [sum(bucket[side] for bucket in buckets) for side in ("bytes_down", "bytes_up")]

    agree(lambda: page.evaluate(SUMS), told, f"the sums of the {name}")


def test_the_headline_says_who_for_what_and_since_when(home: Daemon, look: Look) -> None:
    page = look(home)
    page.get_by_role("heading", level=1, name="living-room-tv uses").wait_for()
    text = page.get_by_role("heading", level=1).inner_text()
    assert text.startswith("living-room-tv uses ")
    assert ": Netflix, for 4" in text  # minutes: it began 42 minutes before the test did
    assert text.endswith(" min.")


def test_the_devices(network: Daemon, look: Look) -> None:
    page = look(network, "devices")

    def told() -> list[dict[str, Any]]:
        return by_name(
            [
                {
                    "name": label(device),
                    "figures": [*rates(device), *sizes(device)],
                    "times": [device["first_seen"], device["last_seen"]],
                }
                for device in get(network, "/")["devices"]
            ]
        )

    agree(lambda: by_name(page.evaluate(ROWS, "main")), told, "all devices with their figures")


def test_a_search_finds_by_name_vendor_mac_and_ip(home: Daemon, look: Look) -> None:
    page = look(home, "devices")
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
    box.fill("no such thing")
    assert page.get_by_text("No device is like that.").is_visible()


def test_the_order_is_chosen_by_the_heads_of_columns(home: Daemon, look: Look) -> None:
    page = look(home, "devices")
    names = [label(device) for device in get(home, "/")["devices"]]
    head = page.get_by_role("columnheader", name="Device")
    page.get_by_role("button", name="Device").click()
    page.mouse.move(0, 0)
    assert head.get_attribute("aria-sort") == "ascending"
    shown = [row["name"] for row in page.evaluate(ROWS, "main")]
    assert sorted(shown) == sorted(names)
    assert shown == sorted(shown, key=lambda name: [name[0].isalpha(), name.lower()])
    page.get_by_role("button", name="Device").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert [row["name"] for row in page.evaluate(ROWS, "main")] == shown[::-1]


def test_a_device(network: Daemon, look: Look) -> None:
    busiest = get(network, "/?limit=1")["devices"][0]
    path = busiest["mac"] or busiest["ip"]
    page = look(network, f"devices/{path}")

    def stats() -> dict[str, list[int]]:
        device = get(network, f"/{path}")
        return {
            "Download now": [device["rate_down"]],
            "Upload now": [device["rate_up"]],
            "Downloaded": [device["bytes_down"]],
            "Uploaded": [device["bytes_up"]],
        }

    agree(lambda: page.evaluate(STATS), stats, "the device's figures")
    assert page.get_by_role("heading", level=1).inner_text() == label(busiest)
    agree(
        lambda: [
            [row["name"], *row["figures"]] for row in by_name(page.evaluate(ROWS, ".panel:nth-child(3)"))
        ],
        lambda: sorted(
            [one["name"], *rates(one), *sizes(one)] for one in get(network, f"/{path}")["applications"]
        ),
        "its applications",
    )
    agree(
        lambda: sorted([row["name"], *row["figures"]] for row in page.evaluate(ROWS, ".columns")),
        lambda: sorted([one["name"], *sizes(one)] for one in get(network, f"/{path}")["protocols"]),
        "its protocols",
    )
    agree(
        lambda: sorted(row["figures"] for row in page.evaluate(ROWS, ".panel:nth-child(5)")),
        lambda: sorted(
            sizes(flow) for flow in get(network, f"/flows?device={path}&active=true&limit=50")["flows"]
        ),
        "its live flows",
    )


def test_the_timeline_of_a_device_tells_its_applications(home: Daemon, look: Look) -> None:
    mac = "e8:5b:5b:31:7a:02"
    page = look(home, f"devices/{mac}?range=week")

    def told() -> dict[str, int]:
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
    agree(lambda: page.evaluate(shown), told, "the sums by application")
    # Each step can be visited by keyboard, and is told in words.
    slider = page.get_by_role("slider")
    slider.press("End")
    assert " – " in str(slider.get_attribute("aria-valuetext"))
    slider.press("ArrowLeft")
    assert slider.get_attribute("aria-valuenow") == "166"
    slider.press("Escape")
    assert str(slider.get_attribute("aria-valuetext")).startswith("In the last week")


def test_a_device_that_was_never_seen(network: Daemon, look: Look) -> None:
    page = look(network, "devices/02:00:00:00:99:99")
    page.get_by_text("No such device has been seen.").wait_for()
    page.watched.forgive()  # type: ignore[attr-defined]  # the browser tells of the API's 404


def test_the_applications(network: Daemon, look: Look) -> None:
    page = look(network, "applications")

    def told() -> list[dict[str, Any]]:
        return by_name(
            [
                {"name": one["name"], "figures": [*rates(one), *sizes(one)], "times": [one["last_seen"]]}
                for one in get(network, "/applications?limit=1000")["applications"]
            ]
        )

    agree(lambda: by_name(page.evaluate(ROWS, "main")), told, "all applications with their figures")


def flows(daemon: Daemon, query: str) -> list[list[Any]]:
    return sorted(
        [flow["host"] or flow["other_ip"] or "–", *sizes(flow)]
        for flow in get(daemon, f"/flows?limit=40&{query}")["flows"]
    )


def shown_flows(page: Page, scope: str = "main") -> list[list[Any]]:
    return sorted([row["name"], *row["figures"]] for row in page.evaluate(ROWS, scope))


def test_the_flows_and_their_filters(home: Daemon, look: Look) -> None:
    page = look(home, "flows")
    page.get_by_label("Live only").check()
    agree(lambda: shown_flows(page), lambda: flows(home, "active=true"), "the live flows")
    page.get_by_label("Device").select_option(label="anna-laptop")
    mac = "a8:7c:f8:10:42:d1"
    agree(lambda: shown_flows(page), lambda: flows(home, f"active=true&device={mac}"), "those of a device")
    page.get_by_label("Application").select_option(label="Zoom")
    query = f"active=true&device={mac}&application=netify.zoom"
    agree(lambda: shown_flows(page), lambda: flows(home, query), "those of an application")
    page.get_by_label("With a risk only").check()
    page.get_by_text("No flow is like that.").wait_for()
    assert f"device={mac.replace(':', '%3A')}" in page.url


def test_the_risks_in_words(home: Daemon, look: Look) -> None:
    page = look(home, "risks")
    agree(lambda: shown_flows(page), lambda: flows(home, "min_risk=1"), "the flows with a risk")
    names = {risk["name"] for flow in get(home, "/flows?min_risk=1")["flows"] for risk in flow["risks"]}
    assert len(names) >= 3
    assert set(page.locator(".risk-name").all_inner_texts()) == names
    assert page.locator("td .risk").first.inner_text().startswith("High 1")
    assert page.locator(".risks").get_by_role("link", name="axis-door-1").first.is_visible()


def test_figures_have_their_exact_value_on_hover(network: Daemon, look: Look) -> None:
    page = look(network, "devices")
    page.locator("tbody data").first.wait_for()
    titles = page.evaluate(
        "() => [...document.querySelectorAll('tbody data')].map((figure) => [figure.value, figure.title])"
    )
    for value, title in titles:
        assert title in (f"{int(value):,} bytes", f"{int(value):,} bits per second")
    time = page.locator("tbody time").first
    assert "GMT+" in str(time.get_attribute("title")) or "CE" in str(time.get_attribute("title"))
