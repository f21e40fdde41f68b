"""Fixtures for the dashboard's tests: Chromium and running agents. Collected only by `make test-ui`."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alert_receivers import hook
from real_store import RealStore
from support import Daemon, RedisServer, StandIn, eventually, free_port, short_directory

BROWSER = os.environ.get("NETIFY_AGENT_BROWSER")
collect_ignore_glob = [] if BROWSER else ["test_*.py"]

if BROWSER:
    import scene
    from pages import OpenView
    from playwright.sync_api import Browser, sync_playwright


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured (``record_property``)."""
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
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
def open_view(browser: Browser) -> Iterator[OpenView]:
    """Opens views of the dashboard. Problems in any page fail the test, unless it expects them."""
    views = OpenView(browser)
    yield views
    views.check()


@contextmanager
def simulator(directory: Path, devices: int) -> Iterator[Path]:
    """Run ``netify-agent simulate``; yields its socket."""
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
def own_redis() -> Iterator[tuple[Path, RedisServer]]:
    """A Redis server in a directory of its own."""
    with short_directory() as directory, RedisServer(directory) as redis:
        yield directory, redis


@contextmanager
def running(
    directory: Path, redis: RedisServer, socket: Path, min_rate: int = 0, **settings: Any
) -> Iterator[Daemon]:
    """A running agent that has counted a download rate above ``min_rate``, in bits per second."""
    daemon = Daemon(directory, redis.url, f"unix://{socket}", **settings)
    daemon.start()
    try:
        eventually(lambda: daemon.get("/?limit=1")[1]["totals"]["rate_down"] > min_rate, "traffic is counted")
        yield daemon
    finally:
        daemon.stop()


@contextmanager
def live(
    directory: Path,
    redis: RedisServer,
    traffic: Callable[[StandIn], scene.LiveTraffic],
    min_rate: int = 0,
    **settings: Any,
) -> Iterator[Daemon]:
    """A running agent whose netifyd sends ``traffic``."""
    netifyd = StandIn(directory / "netifyd.sock")
    sender = traffic(netifyd)
    sender.start()
    try:
        with running(directory, redis, netifyd.path, min_rate, **settings) as daemon:
            yield daemon
            sender.stop()
    finally:
        netifyd.close()


def alerts(daemon: Daemon, query: str) -> list[Any]:
    """The alerts of ``/alerts``."""
    found: list[Any] = daemon.get(f"/alerts?{query}")[1]["alerts"]
    return found


def told(alert: dict[str, Any]) -> Any:
    """What became of the latest notification of an alert for ``phone``."""
    (phone,) = [one for one in alert["notifications"] if one["receiver"] == "phone"]
    return phone[alert["status"]]


@pytest.fixture(scope="session")
def network() -> Iterator[Daemon]:
    """Twenty simulated devices with two hours of history. The name of one is HTML."""
    with own_redis() as (directory, redis):
        store = RealStore(redis.url, "gw1")
        scene.simulate(store, devices=20, hours=2)
        scene.name_device(store, "02:00:00:00:66:06", scene.HTML_NAME)
        store.writer.release()
        with simulator(directory, 20) as socket, running(directory, redis, socket) as daemon:
            yield daemon


@pytest.fixture(scope="session")
def office() -> Iterator[Daemon]:
    """300 devices with 900 ended flows, and a flow of no device."""
    with own_redis() as (directory, redis):
        store = RealStore(redis.url, "office")
        scene.fill_large_network(store, 300, 900)
        scene.fill_unattributed(store)
        store.writer.release()
        traffic = functools.partial(scene.LargeNetworkTraffic, devices=300)
        with live(directory, redis, traffic, gateway="office", interval=2) as daemon:
            yield daemon


@pytest.fixture(scope="session")
def home() -> Iterator[Daemon]:
    """A home with a month of history, live traffic, groups, plans, two active alerts and a resolved one.

    The receiver ``phone`` takes notifications, the receiver ``away`` refuses connections.
    """
    with own_redis() as (directory, redis), hook() as phone:
        store = RealStore(redis.url, "home")
        scene.fill_month(store, time.time())
        store.writer.release()
        settings = {
            "groups": scene.GROUPS,
            "plans": scene.PLANS,
            "alerts": dict(scene.ALERTS),
            "notify": {
                "phone": {"type": "webhook", "url": phone.url},
                "away": {"type": "webhook", "url": f"http://127.0.0.1:{free_port()}/"},
            },
        }
        with live(
            directory, redis, scene.HomeTraffic, 10_000_000, gateway="home", interval=2, **settings
        ) as daemon:
            eventually(lambda: len(alerts(daemon, "active=true")) == 3, "alerts fire")
            del daemon.settings["alerts"]["busy"]
            daemon.write_config()
            daemon.signal(signal.SIGHUP)
            eventually(lambda: alerts(daemon, "active=false"), "one is resolved")
            eventually(lambda: {told(one) for one in alerts(daemon, "")} == {"sent"}, "the phone knows")
            yield daemon
