"""The dashboard in a real browser, on a real agent. `make test-ui` runs these; else none is collected."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from store_book import Book
from support import Daemon, RedisServer, StandIn, eventually, short_directory

BROWSER = os.environ.get("NETIFY_AGENT_BROWSER")
collect_ignore_glob = [] if BROWSER else ["test_*.py"]

if BROWSER:
    import scene
    from playwright.sync_api import Browser, Page, sync_playwright
    from watched import Watched

SCREENSHOTS = Path(__file__).parents[2] / "dist" / "screenshots"
FIGURES: dict[str, str] = {}


@pytest.fixture(scope="session")
def figures() -> dict[str, str]:
    """Measurements, printed at the end."""
    return FIGURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, value in FIGURES.items():
        terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER,
            headless=True,
            args=[
                *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
                *("--disable-component-update", "--disable-sync"),
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def look(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a view: ``look(daemon, "devices", width=375, scheme="dark")``. At the end nothing may have gone
    wrong in any page, but for what a test takes out of ``page.watched``."""
    opened: list[Watched] = []

    def look(daemon: Daemon, view: str = "", width: int = 1280, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 812 if width < 600 else 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            timezone_id="Europe/Berlin",
        )
        context.set_default_timeout(20_000)
        page = context.new_page()
        opened.append(Watched(page, daemon.base))
        page.watched = opened[-1]  # type: ignore[attr-defined]
        page.goto(f"{daemon.base}/ui/#/{view}")
        return page

    yield look
    for watched in opened:
        watched.page.context.close()
    for watched in opened:
        assert watched.problems == []
        assert watched.strangers == []


@contextmanager
def simulated(directory: Path, devices: int) -> Iterator[Path]:
    """``netify-agent simulate`` as a process; its socket."""
    path = directory / "netifyd.sock"
    command = [sys.executable, "-m", "netify_agent", "simulate", "--listen", f"unix://{path}"]
    process = subprocess.Popen([*command, "--devices", str(devices), "--seed", "1"])
    try:
        eventually(path.exists, "the simulator listens")
        yield path
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def running(directory: Path, redis: RedisServer, socket: Path, **settings: Any) -> Iterator[Daemon]:
    daemon = Daemon(directory, redis.url, f"unix://{socket}", **settings)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture(scope="session")
def network() -> Iterator[Daemon]:
    """Twenty simulated devices and what they did in the last hours, one with a name that means harm."""
    with short_directory() as directory:
        redis = RedisServer(directory)
        redis.start()
        book = Book(redis.url, "gw1")
        scene.simulate(book, devices=20, hours=2)
        scene.name_device(book, "02:00:00:00:66:06", scene.HARM)
        with simulated(directory, 20) as socket, running(directory, redis, socket) as daemon:
            eventually(
                lambda: daemon.get("/")[1]["totals"]["rate_down"], "the simulator's traffic is counted"
            )
            yield daemon
        redis.kill()


@pytest.fixture(scope="session")
def home() -> Iterator[Daemon]:
    """The home of the pictures, in the evening."""
    with short_directory() as directory:
        redis = RedisServer(directory)
        redis.start()
        book = Book(redis.url, "home")
        scene.fill(book, time.time())
        netifyd = StandIn(directory / "netifyd.sock")
        with running(directory, redis, netifyd.path, gateway="home", interval=2) as daemon:
            present = scene.Present(netifyd)
            present.start()
            eventually(lambda: daemon.get("/")[1]["totals"]["rate_down"] > 10_000_000, "the home's traffic")
            yield daemon
            present.stop()
        netifyd.close()
        redis.kill()
