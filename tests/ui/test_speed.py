"""Performance: the first view is small and quick, and large tables scroll and sort without long tasks."""

from __future__ import annotations

import functools
import os
import statistics
from collections.abc import Callable, Iterator

import pytest
import scene
from conftest import live, own_redis
from pages import OpenView, wait_until_loaded
from playwright.sync_api import Browser, Page
from real_store import RealStore
from support import Daemon, eventually

MAX_KB = 70
MAX_REQUESTS = 5  # a flush, on the overview
MAX_FIRST_PAINT_MS = 300
MAX_TASK_MS = 200
DEVICES, FLOWS = 1000, 5000
ATTEMPTS = 3  # slow code is slow each time; a busy machine is not

RECORD_LONG_TASKS = """() => {
    window.longTasks = [];
    new PerformanceObserver((list) => {
        for (const task of list.getEntries()) window.longTasks.push(Math.round(task.duration));
    }).observe({ type: 'longtask', buffered: true });
}"""
AT_END = "() => innerHeight + scrollY >= document.documentElement.scrollHeight - 1"

Record = Callable[[str, object], None]


def check_duration(measure: Callable[[], float], limit: float, name: str, record_property: Record) -> None:
    """Fail if every attempt takes longer than the limit, in ms. Skip if the machine is overloaded."""
    for _ in range(ATTEMPTS):
        measured = measure()
        if measured < limit:
            break
    record_property(name, f"{measured:.0f} ms")
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if limit <= measured < 5 * limit and load > 2 * processors:
        pytest.skip(f"{measured:.0f} ms with a load of {load:.0f} on {processors} processors: no measurement")
    assert measured < limit


def first_view(url: str, browser: Browser) -> list[float]:
    """Open the overview with an empty cache. Returns the bytes of each response, with its headers."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto(url)
    wait_until_loaded(page, "overview")
    context.close()
    return sizes


def test_the_first_view_transfers_little(home: Daemon, browser: Browser, record_property: Record) -> None:
    # A flush in this second changes the figures, and they are transferred again.
    sizes = min((first_view(f"{home.base}/ui/", browser) for _ in range(ATTEMPTS)), key=sum)
    record_property("first view", f"{sum(sizes) / 1000:.0f} kB in {len(sizes)} responses")
    assert sum(sizes) < MAX_KB * 1000


def test_the_overview_makes_few_requests_a_flush(
    home: Daemon, open_view: OpenView, record_property: Record
) -> None:
    """One of them is of the status, which a timer requests too while a flush is overdue."""
    page = open_view(home)
    wait_until_loaded(page, "overview")

    def reads() -> list[str]:
        return [url for url in open_view.log(page).urls if not url.endswith(("/status", "/events"))]

    def refreshes() -> list[int]:
        """Where in ``reads`` each refresh begins."""
        return [place for place, url in enumerate(reads()) if url.startswith(f"{home.base}/?sort=rate")]

    before = len(refreshes())
    eventually(lambda: page.title() and len(refreshes()) > before + 6, "six more refreshes")
    begin, *between, end = refreshes()[before:]
    requests = (end - begin) / (len(between) + 1) + 1
    record_property("requests a flush", f"{requests:.1f}")
    assert requests <= MAX_REQUESTS


def test_the_first_paint_is_quick(home: Daemon, browser: Browser, record_property: Record) -> None:
    def first_paint() -> float:
        """The browser's own measurement, with an empty cache."""
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.goto(f"{home.base}/ui/")
        page.locator(".ranking li").first.wait_for()
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint').at(0).startTime")
        context.close()
        return float(paint)

    def median() -> float:
        return statistics.median(first_paint() for _ in range(5))

    check_duration(median, MAX_FIRST_PAINT_MS, "first contentful paint, median of 5", record_property)


@pytest.fixture(scope="module")
def large() -> Iterator[Daemon]:
    """A network of 1,000 devices with live traffic."""
    with own_redis() as (directory, redis):
        store = RealStore(redis.url, "large")
        scene.fill_large_network(store, DEVICES, FLOWS)
        store.writer.release()
        traffic = functools.partial(scene.LargeNetworkTraffic, devices=DEVICES)
        with live(directory, redis, traffic, gateway="large", interval=3) as daemon:
            yield daemon


def scroll_to_end(page: Page) -> None:
    """Scroll with the mouse wheel, faster than a person would."""
    page.mouse.move(640, 600)

    def is_at_end() -> bool:
        page.mouse.wheel(0, 4000)
        return bool(page.evaluate(AT_END))

    eventually(is_at_end, "the page ends")


def longest_task_ms(page: Page) -> float:
    """Duration of the longest task since RECORD_LONG_TASKS ran. Closes the page."""
    longest = float(max(page.evaluate("window.longTasks"), default=0))
    page.close()
    return longest


def test_a_thousand_devices_cause_no_long_task(
    large: Daemon, open_view: OpenView, record_property: Record
) -> None:
    def browse() -> float:
        page = open_view(large)
        page.evaluate(RECORD_LONG_TASKS)
        page.locator(".ranking li").first.wait_for()
        page.get_by_role("link", name="Devices", exact=True).click()
        page.get_by_role("heading", level=1, name="Devices").wait_for()  # the overview has such a text too
        page.get_by_text("1,000 devices").wait_for()
        assert page.locator("tbody tr").count() < 100  # only the rows in the viewport
        flushes = large.flushes()
        scroll_to_end(page)
        page.locator(f'tbody tr[aria-rowindex="{DEVICES + 1}"]').wait_for()
        page.evaluate("scrollTo(0, 0)")
        for column in ("Device", "Download", "Upload", "Last seen", "Now"):
            page.get_by_role("button", name=column, exact=True).click()
        page.get_by_role("searchbox").press_sequentially("device-77")
        page.get_by_text("11 of 1,000 devices").wait_for()
        page.get_by_role("searchbox").fill("")
        eventually(lambda: large.flushes() >= flushes + 4, "the page has received some flushes")
        return longest_task_ms(page)

    check_duration(browse, MAX_TASK_MS, "longest task, 1,000 devices", record_property)


def test_five_thousand_flows_cause_no_long_task(
    large: Daemon, open_view: OpenView, record_property: Record
) -> None:
    assert large.get("/flows?limit=1")[1]["total"] >= FLOWS

    def browse() -> float:
        page = open_view(large, "flows")
        page.evaluate(RECORD_LONG_TASKS)
        page.get_by_text("(latest 500 shown)").wait_for()

        def has_all_rows() -> bool:
            scroll_to_end(page)
            return int(page.locator("table").get_attribute("aria-rowcount") or 0) > FLOWS

        eventually(has_all_rows, "scrolling loads the last flow")
        assert page.locator("tbody tr").count() < 100  # only the rows in the viewport
        flushes = large.flushes()
        page.evaluate("scrollTo(0, 0)")
        for column in ("Remote host", "Download", "Risk"):
            page.get_by_role("button", name=column, exact=True).click()
        eventually(lambda: large.flushes() >= flushes + 5, "the page has received some flushes")
        return longest_task_ms(page)

    check_duration(browse, MAX_TASK_MS, "longest task, 5,000 flows", record_property)
