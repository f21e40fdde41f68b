"""Live updates and outages: the page follows every flush, reports old or missing data, and what to check."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from pages import OpenView
from playwright.sync_api import Locator, Page
from real_store import LAPTOP, Netifyd
from scene import send
from support import Daemon, RedisServer, StandIn, eventually


@pytest.fixture
def records() -> Netifyd:
    return Netifyd()


@pytest.fixture
def counting(daemon: Daemon, netifyd: StandIn, records: Netifyd) -> Daemon:
    """The running agent, which has received one flow with 5,000 bytes of download."""
    daemon.start()
    netifyd.accept()
    send(netifyd, records.flow("a"), records.stats("a", 1000, 5000))
    daemon.flushed()
    return daemon


def download(page: Page) -> Locator:
    """The download figure of the last device on the Devices page."""
    return page.locator("td data.down").last


def wait_for_download(page: Page, value: int) -> None:
    eventually(lambda: download(page).get_attribute("value") == str(value), f"the page shows {value} bytes")


def test_each_flush_is_shown_by_its_event(
    counting: Daemon, netifyd: StandIn, records: Netifyd, open_view: OpenView
) -> None:
    """While the page follows the event stream, no timer makes it read devices."""
    page = open_view(counting, "devices")
    wait_for_download(page, 5000)
    for total, more in ((5100, 100), (5300, 200), (5600, 300)):
        send(netifyd, records.stats("a", 0, more))
        wait_for_download(page, total)
    assert "Live" in page.locator("#foot").inner_text()
    assert sum(url.endswith("/events") for url in open_view.log(page).urls) == 1


def test_the_page_polls_while_all_event_streams_are_taken(
    counting: Daemon, netifyd: StandIn, records: Netifyd, open_view: OpenView
) -> None:
    with event_streams(counting, 16):
        page = open_view(counting, "devices")
        wait_for_download(page, 5000)
        send(netifyd, records.stats("a", 0, 7000))
        wait_for_download(page, 12000)
        eventually(lambda: "Updates every" in page.locator("#foot").inner_text(), "the footer says so")
        open_view.expect_errors(page)  # /events answers 503


@contextmanager
def event_streams(daemon: Daemon, count: int) -> Iterator[None]:
    """Open clients of /events."""
    connections, streams = [], []  # a response that is garbage collected closes its stream
    for _ in range(count):
        connection = HTTPConnection("127.0.0.1", daemon.port, timeout=60)
        connection.request("GET", "/events", headers={"Accept": "text/event-stream"})
        streams.append(connection.getresponse())
        assert streams[-1].status == 200
        connections.append(connection)
    yield
    for connection in connections:
        connection.close()


def test_an_empty_network_shows_what_to_check(daemon: Daemon, netifyd: StandIn, open_view: OpenView) -> None:
    netifyd.close()
    daemon.start()
    page = open_view(daemon)
    page.get_by_text("No devices yet").wait_for()
    alert = page.get_by_role("alert").filter(has_text="No data from netifyd")
    alert.wait_for()
    assert page.locator("#health").inner_text() == "No data from netifyd"
    alert.get_by_text("Troubleshooting").click()
    assert alert.get_by_text("systemctl status netifyd").is_visible()
    assert str(netifyd.path) in alert.inner_text()
    for view in ("devices", "applications", "activity", "activity/risks"):
        page.goto(f"{daemon.base}/ui/#/{view}")
        page.locator(".empty:visible").first.wait_for()


def test_an_agent_outage_is_reported_and_the_page_recovers(
    counting: Daemon, netifyd: StandIn, records: Netifyd, open_view: OpenView
) -> None:
    page = open_view(counting, "devices")
    wait_for_download(page, 5000)
    counting.stop()
    alert = page.get_by_role("alert").filter(has_text="The agent is unreachable.")
    alert.wait_for()
    assert "Latest data:" in alert.inner_text()
    assert download(page).get_attribute("value") == "5000"  # the last known data stays visible
    counting.start()
    netifyd.accept()
    send(netifyd, records.stats("a", 0, 1000))
    wait_for_download(page, 6000)
    alert.wait_for(state="hidden")
    open_view.expect_errors(page)  # requests fail during the outage


def test_a_redis_outage_is_reported_and_the_page_recovers(
    counting: Daemon, redis_server: RedisServer, open_view: OpenView
) -> None:
    page = open_view(counting)
    page.locator("#health[data-state=ok]").wait_for()
    redis_server.kill()
    page.get_by_role("alert").filter(has_text="Redis is unreachable").wait_for()
    heading = page.get_by_role("heading", level=1)
    eventually(lambda: heading.inner_text() == "Redis unreachable", "the headline says so")
    assert page.locator("#health").inner_text() == "Redis unreachable"
    # The last figures stay, marked with their age.
    eventually(lambda: page.locator(".stat").first.inner_text().startswith("Download now, "), "and their age")
    assert re.match(r"Download now, (just now|\d+ s ago)", page.locator(".stat").first.inner_text())
    assert (
        page.locator(".stat data.down").first.evaluate("(node) => getComputedStyle(node).fontStyle")
        == "italic"
    )
    # A page that is opened now says what is wrong.
    for view in ("", "usage", "devices", f"devices/{LAPTOP}", "applications", "activity", "activity/risks"):
        late = open_view(counting, view)
        late.get_by_role("heading", level=1, name="Redis unreachable").wait_for()
        assert late.get_by_role("main").get_by_text("systemctl status redis-server").is_visible()
        assert late.get_by_text("Loading").is_hidden()
        open_view.expect_errors(late)
    redis_server.start()
    page.locator("#health[data-state=ok]").wait_for()
    assert page.locator("#health").inner_text() == "Monitoring OK"
    eventually(
        lambda: page.locator(".stat").first.inner_text().startswith("Download now\n"), "no age any more"
    )
    open_view.expect_errors(page)  # the API answers 503 during the outage


def test_without_netifyd_current_rates_are_unknown_not_zero(
    counting: Daemon, netifyd: StandIn, open_view: OpenView
) -> None:
    page = open_view(counting)
    page.locator("#health[data-state=ok]").wait_for()
    netifyd.close()
    page.get_by_role("heading", level=1, name="No data from netifyd").wait_for()
    rate = page.locator(".stat data.down").first
    eventually(lambda: rate.inner_text() == "–", "the rate is unknown")
    assert page.locator(".stat").first.inner_text().startswith("Download now, ")
    bar = page.locator(".ranking .bar .down").first
    eventually(lambda: bar.evaluate("(node) => node.style.width") == "0px", "it has no bar either")
    page.get_by_role("link", name="Devices", exact=True).click()
    page.locator("tbody tr:not(.space)").first.wait_for()
    assert set(page.locator("td.figure .down-up:visible data").first.all_inner_texts()) == {"–"}
    wait_for_download(page, 5000)  # totals are known


@pytest.mark.parametrize(
    ("view", "figure"),
    [("?range=month", "Active devices"), (f"devices/{LAPTOP}?range=week", "Download since")],
)
def test_a_range_without_history_says_so_and_the_rest_is_shown(
    directory: Path,
    redis_server: RedisServer,
    netifyd: StandIn,
    records: Netifyd,
    open_view: OpenView,
    view: str,
    figure: str,
) -> None:
    daemon = Daemon(directory, redis_server.url, f"unix://{netifyd.path}", history={"5m": "2d"})
    daemon.start()
    try:
        netifyd.accept()
        send(netifyd, records.flow("a"), records.stats("a", 1000, 5000))
        daemon.flushed()
        page = open_view(daemon, view)
        page.locator(".readout").get_by_text(
            "No history for this range: resolution: expected one of 5m"
        ).wait_for()
        data = page.locator(".stat").filter(has_text=figure).locator("data").first
        eventually(lambda: data.get_attribute("value"), "the figures are shown")
        assert page.locator("#banner").is_hidden()
        open_view.expect_errors(page)  # /history answers 400
    finally:
        daemon.stop()
