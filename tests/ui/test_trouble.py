"""Whoever looks at old figures, or at none, is told so, and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from playwright.sync_api import Page
from store_book import LAPTOP, Netifyd
from support import Daemon, RedisServer, StandIn, eventually, framed

Look = Callable[..., Page]


def told(netifyd: StandIn, *records: dict[str, object]) -> None:
    netifyd.send(framed(*(json.dumps(record).encode() + b"\n" for record in records)))


def test_a_flush_is_seen_before_the_next(daemon: Daemon, netifyd: StandIn, look: Look) -> None:
    daemon.settings["interval"] = 4
    daemon.write_config()
    daemon.start()
    netifyd.accept()
    says = Netifyd()
    told(netifyd, says.flow("a"), says.stats("a", 1000, 5000))
    daemon.flushed()
    page = look(daemon, "devices")
    down = page.locator("td data.down").last
    eventually(lambda: down.get_attribute("value") == "5000", "the page shows the first figures")
    for more in (5100, 5300, 5600):
        told(netifyd, says.stats("a", 0, more - int(down.get_attribute("value") or 0)))

        def counted(more: int = more) -> int:
            """The number of the flush that brought it."""
            devices = daemon.get("/")[1]["devices"]
            sequence = daemon.get("/status")[1]["flushes"]["sequence"]
            return int(sequence) if devices[0]["bytes_down"] == more else 0

        flush = eventually(counted, "the API shows what was sent")
        eventually(lambda more=more: down.get_attribute("value") == str(more), "the page shows it")
        assert daemon.get("/status")[1]["flushes"]["sequence"] <= flush + 1
    assert "Updated by each flush" in page.locator("#foot").inner_text()


def test_where_nobody_may_follow_the_page_asks_each_interval(
    daemon: Daemon, netifyd: StandIn, look: Look
) -> None:
    daemon.start()
    netifyd.accept()
    says = Netifyd()
    told(netifyd, says.flow("a"), says.stats("a", 1000, 5000))
    with followers(daemon, 16):
        page = look(daemon, "devices")
        down = page.locator("td data.down").last
        eventually(lambda: down.get_attribute("value") == "5000", "the first figures")
        told(netifyd, says.stats("a", 0, 7000))
        eventually(lambda: down.get_attribute("value") == "12000", "polling brings more")
        eventually(lambda: "Updated every" in page.locator("#foot").inner_text(), "the page says how")
        page.watched.forgive()  # type: ignore[attr-defined]  # the browser tells of the 503


@contextmanager
def followers(daemon: Daemon, count: int) -> Iterator[None]:
    """As many clients of /events as there may be."""
    connections, streams = [], []  # a stream that is let go is closed
    for _ in range(count):
        connection = HTTPConnection("127.0.0.1", daemon.port, timeout=60)
        connection.request("GET", "/events", headers={"Accept": "text/event-stream"})
        streams.append(connection.getresponse())
        assert streams[-1].status == 200
        connections.append(connection)
    yield
    for connection in connections:
        connection.close()


def test_a_network_without_traffic_is_told_what_to_check(
    directory: Path, redis_server: RedisServer, look: Look
) -> None:
    daemon = Daemon(directory, redis_server.url, f"unix://{directory}/none.sock")
    daemon.start()
    try:
        page = look(daemon)
        page.get_by_text("No device has been seen yet.").wait_for()
        alert = page.get_by_role("alert").filter(has_text="No records come from netifyd")
        alert.wait_for()
        assert "none.sock" in alert.inner_text()
        assert page.locator("#health").inner_text() == "netifyd is away"
        alert.get_by_text("What to check").click()
        assert alert.get_by_text("systemctl status netifyd").is_visible()
        for view in ("devices", "applications", "flows", "risks"):
            page.goto(f"{daemon.base}/ui/#/{view}")
            page.locator(".empty:visible").first.wait_for()
    finally:
        daemon.stop()


def test_an_agent_that_went_away_is_told_and_its_return_is_seen(
    daemon: Daemon, netifyd: StandIn, look: Look
) -> None:
    daemon.start()
    netifyd.accept()
    says = Netifyd()
    told(netifyd, says.flow("a"), says.stats("a", 1000, 5000))
    page = look(daemon, "devices")
    down = page.locator("td data.down").last
    eventually(lambda: down.get_attribute("value") == "5000", "the first figures")
    daemon.stop()
    alert = page.get_by_role("alert").filter(has_text="The agent does not answer.")
    alert.wait_for()
    assert "What is shown is from" in alert.inner_text()
    assert down.get_attribute("value") == "5000"  # what was known is still there
    daemon.start()
    netifyd.accept()
    told(netifyd, says.stats("a", 0, 1000))
    eventually(lambda: down.get_attribute("value") == "6000", "the figures of the new agent")
    alert.wait_for(state="hidden")
    assert LAPTOP in page.locator("tbody a").first.get_attribute("href").replace("%3A", ":")  # type: ignore[union-attr]
    page.watched.forgive()  # type: ignore[attr-defined]  # the browser tells of each failed request


def test_a_redis_that_went_away_is_told(
    daemon: Daemon, netifyd: StandIn, redis_server: RedisServer, look: Look
) -> None:
    daemon.start()
    netifyd.accept()
    page = look(daemon)
    page.locator("#health[data-state=ok]").wait_for()
    redis_server.kill()
    page.get_by_role("alert").filter(has_text="Redis takes nothing").wait_for()
    redis_server.start()
    page.locator("#health[data-state=ok]").wait_for()
    page.watched.forgive()  # type: ignore[attr-defined]  # the browser tells of each 503


def test_a_range_that_is_not_kept_says_so_and_the_rest_is_shown(
    directory: Path, redis_server: RedisServer, netifyd: StandIn, look: Look
) -> None:
    daemon = Daemon(directory, redis_server.url, f"unix://{netifyd.path}", history={"5m": "2d"})
    daemon.start()
    try:
        netifyd.accept()
        says = Netifyd()
        told(netifyd, says.flow("a"), says.stats("a", 1000, 5000))
        for view, words in (
            ("?range=month", "Active devices"),
            (f"devices/{LAPTOP}?range=week", "Downloaded"),
        ):
            daemon.flushed()
            page = look(daemon, view)
            page.locator(".readout").get_by_text("resolution: expected one of 5m").wait_for()
            figure = page.locator(".stat").filter(has_text=words).locator("data").first
            eventually(lambda figure=figure: figure.get_attribute("value"), "the figures are there")
            assert page.locator("#banner").is_hidden()
            page.watched.forgive()  # type: ignore[attr-defined]  # the browser tells of each 400
    finally:
        daemon.stop()
