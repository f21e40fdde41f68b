"""The first view is small and quick, and a large network is as smooth as a small one."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator

import pytest
import scene
from conftest import running
from playwright.sync_api import Browser, Page
from store_book import Book
from support import Daemon, RedisServer, StandIn, eventually, short_directory

Look = Callable[..., Page]

MOST_KB = 150
FIRST_PAINT_MS = 300
LONGEST_TASK_MS = 200
DEVICES, FLOWS = 1000, 5000

LONG_TASKS = """() => {
    window.longTasks = [];
    new PerformanceObserver((list) => {
        for (const task of list.getEntries()) window.longTasks.push(Math.round(task.duration));
    }).observe({ type: 'longtask', buffered: true });
}"""


def judge(measured: float, bound: float) -> None:
    """Fail above the bound: but the clock on the wall says nothing where others take the processors."""
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if bound <= measured < 5 * bound and load > 2 * processors:
        pytest.skip(f"{measured:.0f} ms with a load of {load:.0f} on {processors} processors: no measurement")
    assert measured < bound


def test_the_first_view_is_small(home: Daemon, browser: Browser, figures: dict[str, str]) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto(f"{home.base}/ui/")
    page.locator(".ranking li").first.wait_for()
    page.locator("#health[data-state=ok]").wait_for()
    figures["first view"] = f"{sum(sizes) / 1000:.0f} kB in {len(sizes)} answers"
    context.close()
    assert sum(sizes) < MOST_KB * 1000


def test_the_first_paint_is_quick(home: Daemon, browser: Browser, figures: dict[str, str]) -> None:
    for _ in range(3):  # a machine that is busy with other things gets another chance
        median = statistics.median(first_paint(home, browser) for _ in range(5))
        if median < FIRST_PAINT_MS:
            break
    figures["first contentful paint"] = f"{median:.0f} ms, median of 5"
    judge(median, FIRST_PAINT_MS)


def first_paint(home: Daemon, browser: Browser) -> float:
    """Milliseconds from the start of the navigation, by the browser's own clock, with an empty cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{home.base}/ui/")
    page.locator(".ranking li").first.wait_for()
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint').at(0).startTime")
    context.close()
    return float(paint)


@pytest.fixture(scope="module")
def large() -> Iterator[Daemon]:
    """A network of 1,000 devices that goes on talking."""
    with short_directory() as directory:
        redis = RedisServer(directory)
        redis.start()
        scene.crowd(Book(redis.url, "large"), DEVICES, FLOWS)
        netifyd = StandIn(directory / "netifyd.sock")
        with running(directory, redis, netifyd.path, gateway="large", interval=3) as daemon:
            crowd = scene.Crowd(netifyd, DEVICES)
            crowd.start()
            eventually(lambda: daemon.get("/?limit=1")[1]["totals"]["rate_down"], "the crowd is heard")
            yield daemon
            crowd.stop()
        netifyd.close()
        redis.kill()


def scrolled(page: Page) -> None:
    """From the top to the very end, as somebody in a hurry does it."""
    page.mouse.move(640, 600)
    still = 0
    while still < 3:
        before = page.evaluate("scrollY")
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(50)
        still = still + 1 if page.evaluate("scrollY") == before else 0


def smooth(tour: Callable[[], Page]) -> int:
    """The longest task of a tour, in milliseconds of the clock on the wall.

    What is slow is slow each time: a task that the machine's other work has stretched gets another chance.
    """
    longest = 0
    for _ in range(3):
        page = tour()
        longest = max(page.evaluate("window.longTasks"), default=0)
        page.close()
        if longest < LONGEST_TASK_MS:
            break
    return longest


def test_a_thousand_devices_stay_smooth(large: Daemon, look: Look, figures: dict[str, str]) -> None:
    def tour() -> Page:
        page = look(large)
        page.evaluate(LONG_TASKS)
        page.locator(".ranking li").first.wait_for()
        page.get_by_role("link", name="Devices", exact=True).click()
        page.get_by_text("1,000 devices").wait_for()
        assert page.locator("tbody tr").count() < 100  # only what is in sight is in the page
        flushes = large.flushes()
        scrolled(page)
        last = page.locator("tbody tr:not(.space)").last
        assert last.get_attribute("aria-rowindex") == str(DEVICES + 1)
        page.evaluate("scrollTo(0, 0)")
        for column in ("Device", "Down", "Up", "Last seen", "Now"):
            page.get_by_role("button", name=column, exact=True).click()
        page.get_by_role("searchbox").press_sequentially("device-77")
        page.get_by_text("11 devices of 1000 found").wait_for()
        page.get_by_role("searchbox").fill("")
        eventually(lambda: large.flushes() >= flushes + 4, "some flushes meanwhile")
        return page

    longest = smooth(tour)
    figures["longest task, 1,000 devices"] = f"{longest} ms"
    judge(longest, LONGEST_TASK_MS)


def test_five_thousand_flows_stay_smooth(large: Daemon, look: Look, figures: dict[str, str]) -> None:
    assert large.get("/flows?limit=1")[1]["total"] >= FLOWS

    def tour() -> Page:
        page = look(large, "flows")
        page.evaluate(LONG_TASKS)
        page.get_by_text("flows, the latest 500 are shown").wait_for()

        def all_shown() -> bool:
            scrolled(page)
            return int(page.locator("table").get_attribute("aria-rowcount") or 0) > FLOWS

        eventually(all_shown, "scrolling reads on to the last flow")
        assert page.locator("tbody tr").count() < 100
        flushes = large.flushes()
        page.evaluate("scrollTo(0, 0)")
        for column in ("With", "Down", "Risk"):
            page.get_by_role("button", name=column, exact=True).click()
        eventually(lambda: large.flushes() >= flushes + 5, "some flushes meanwhile")
        return page

    longest = smooth(tour)
    figures["longest task, 5,000 flows"] = f"{longest} ms"
    judge(longest, LONGEST_TASK_MS)
