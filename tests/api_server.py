"""The real API on a real socket, with a real Redis behind it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from real_store import LAPTOP, NETFLIX, PHONE, SOURCE, TUNNEL, YOUTUBE, RealStore
from support import free_port, short_directory

from netify_agent.api.flush_log import FlushLog
from netify_agent.api.http.access import Access
from netify_agent.api.http.app import Api
from netify_agent.api.http.limits import WebLimits
from netify_agent.api.http.server import WebServer
from netify_agent.api.routes.route_table import agent_routes
from netify_agent.api.services import EventLimits, Services
from netify_agent.config.calendar import Period
from netify_agent.config.plans import Plans
from netify_agent.config.settings import (
    CalendarSettings,
    Endpoint,
    MetricsSettings,
    Resolution,
    Settings,
    WebSettings,
    parse,
)
from netify_agent.daemon.metrics import expose
from netify_agent.daemon.status import Status
from netify_agent.enrich import Directory
from netify_agent.netifyd.listener import ListenerStatus
from netify_agent.plans.standing import PlanStanding, Standings
from netify_agent.store.client import connect
from netify_agent.store.flush import Flush
from netify_agent.store.flusher import FlusherStatus
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.reader import StoreReader

GATEWAY = "gw-api"
ALIVE = {"status": "ok", "checks": {"web": "ok"}}  # what /healthz says
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
HISTORY = (
    Resolution(60, 400 * 86400, "1m"),
    Resolution(300, 2 * 86400, "5m"),
    Resolution(3600, 31 * 86400, "1h"),
)
UTC = CalendarSettings("UTC")
PLANS = parse(
    """
    groups: {kids: []}
    plans:
      uplink: {limit: 10 kB, per: month}
      kids: {limit: 100 GB, per: day, group: kids, category: streaming-media, local: true, warn_at: []}
      each: {limit: 1 kB, per: week, device: each, direction: up, warn_at: {50%: info, 100%: warning}}
    """,
    "plans.yaml",
).plans
_NOVEMBER, _WEEK = Period(1_793_491_200, 1_796_083_200), Period(1_795_996_800, 1_796_601_600)
#: Of 30 November 2026, 12:00 UTC, a day without traffic of the group.
STANDINGS = Standings(
    7,
    1_796_040_000_000,
    {
        "uplink": PlanStanding(
            *("uplink", PLANS["uplink"], _NOVEMBER, {"": 9_501}),
            {75: {"": 1_795_000_000_000}, 90: {"": 1_796_040_000_000}, 100: {}},
        ),
        "kids": PlanStanding("kids", PLANS["kids"], Period(1_795_996_800, 1_796_083_200), {"kids": 0}, {}),
        "each": PlanStanding(
            *("each", PLANS["each"], _WEEK, {LAPTOP: 1_200, TUNNEL: 300}),
            {50: {LAPTOP: 1_796_000_000_000}, 100: {LAPTOP: 1_796_000_000_001}},
        ),
    },
)


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


@dataclass
class Scene:
    """A store in Redis, and a web server in a thread that serves it.

    Flushes of ``store`` are logged as the daemon does it.
    """

    store: RealStore
    web: WebSettings
    directory: Directory
    listener: ListenerStatus = field(default_factory=lambda: ListenerStatus(SOURCE))
    writing: FlusherStatus = field(default_factory=lambda: FlusherStatus(error=None))
    flushes: FlushLog = field(default_factory=FlushLog)
    alive: dict[str, str | None] = field(default_factory=lambda: {"web": None})
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    event_limits: EventLimits = field(default_factory=EventLimits)
    gateway: str = GATEWAY
    requests: int = 0  # begun so far
    limits: WebLimits = field(default_factory=WebLimits)
    calendar: CalendarSettings = UTC
    plans: Plans = field(default_factory=lambda: PLANS)
    history: tuple[Resolution, ...] = HISTORY

    def start(self) -> None:
        settings = Settings(
            gateway=self.gateway,
            interval_s=15,
            web=self.web,
            metrics=self.metrics,
            history=self.history,
            calendar=self.calendar,
            plans=self.plans,
        )
        reader = StoreReader(self.store.client, self.gateway)
        self.status = Status(settings, self.writing, self.store.accountant, reader)
        self.status.listeners = [self.listener]
        self.status.event_clients = lambda: self.flushes.followers
        self.parts = Services(
            settings,
            reader,
            self.directory,
            lambda: self.status.document(),
            lambda: self.alive,
            lambda: self.status.checks(),
            self.flushes,
            self.writing,
            lambda out, redis_up: expose(self.status, out, redis_up),
            self.event_limits,
            plans=lambda: STANDINGS,
        )
        self.store.on_flush = self.log
        self.api = Api(self.parts, Access(self.web, self.web.tokens()), agent_routes(self.parts))
        self.server = WebServer(self._app, self.web, limits=self.limits)
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.server.run, args=(self.ending, lambda: None))
        self.thread.start()

    def log(self, flush: Flush) -> None:
        """Tell the API of a flush, as the daemon's flusher does."""
        changed = flush.batch.changed_devices().union(self.store.writer.dropped_devices())
        self.flushes.applied(flush.sequence, flush.at_ms, changed, self.store.writer.moving_devices())

    def _app(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.requests += 1
        return self.api.app(environ, start_response)

    def stop(self) -> None:
        self.ending.set()
        self.thread.join(30)
        assert not self.thread.is_alive()

    @property
    def port(self) -> int:
        return self.web.listen.port

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.web.listen.host, self.port, timeout=30)

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        connection = self.connection()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=named)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        answer = self.ask(path)
        assert answer.status == 200, answer.body
        return answer.json

    def raw(self, request: bytes) -> bytes:
        """Send a request and return everything until the server closes the connection."""
        with socket.create_connection((self.web.listen.host, self.port), timeout=30) as client:
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(65536), b""))


def a_directory(path: Path) -> Directory:
    hosts = path / "hosts"
    hosts.write_text("192.168.1.10 laptop\n")
    return Directory(
        vendors=str(path), hosts=[str(hosts)], leases=[], reverse_dns=False, categories=str(path / "none")
    )


def a_scene(
    url: str,
    path: Path,
    web: WebSettings | None = None,
    gateway: str = "gw-of-one-test",
    calendar: CalendarSettings = UTC,
    history: tuple[Resolution, ...] = HISTORY,
) -> Scene:
    store = RealStore(url, gateway, history=HistorySteps.of(history, calendar.calendar))
    directory = a_directory(path)
    directory.refresh()
    listen = Endpoint("tcp", host="127.0.0.1", port=free_port())
    web = web or WebSettings(listen=listen)
    return Scene(store, web, directory, gateway=gateway, calendar=calendar, history=history)


@contextmanager
def emptied(url: str, gateway: str = "gw-of-one-test", **settings: Any) -> Iterator[Scene]:
    """A scene with an empty store. Its server is not started."""
    client = connect(url, None)
    for key in client.scan_iter(f"netify:{{{gateway}}}:*", count=1000):
        client.delete(key)
    with short_directory() as path:
        yield a_scene(url, path, gateway=gateway, **settings)


@contextmanager
def served(scene: Scene) -> Iterator[Scene]:
    """``scene`` with its server running, connected to netifyd, and flushing without errors."""
    scene.listener.connected = True
    scene.listener.error = None
    scene.listener.connected_since = scene.listener.last_record = time.time()
    scene.writing.error = None
    scene.start()
    try:
        for row in scene.parts.reader.snapshot(addresses=True).devices:  # as the daemon does at its start
            scene.directory.note(row.name, row.addresses, row.hint)
        scene.directory.refresh()
        yield scene
    finally:
        scene.stop()


@contextmanager
def a_small_network(url: str) -> Iterator[Scene]:
    """Two devices with a MAC, one without, and bytes that belong to no device."""
    with emptied(url, GATEWAY) as scene:
        said = scene.store.netifyd
        local = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}
        scene.store.flush(
            *(said.flow("a"), said.stats("a", 1500, 30_000)),
            *(said.flow("b", application=YOUTUBE), said.stats("b", 15, 300_000)),
            *(said.flow("c", PHONE, local_ip="192.168.1.11"), said.stats("c", 1, 2)),
            *(said.flow("d", TUNNEL), said.stats("d", 150, 300)),
            *(said.flow("e", application="Unknown", **local), said.stats("e", 10, 20)),
            said.stats("f", 7, 9),
            elapsed_ms=15_000,
        )
        with served(scene):
            yield scene


@contextmanager
def changed(target: Any, **attributes: Any) -> Iterator[None]:
    """``target`` with other values of some attributes; restores all of them at the end."""
    before = vars(target).copy()
    vars(target).update(attributes)
    try:
        yield
    finally:
        vars(target).update(before)


def assert_problem(answer: Answer, status: int) -> None:
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    problem = answer.json
    assert list(problem)[:4] == ["type", "title", "status", "detail"]
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert problem["title"] == http.client.responses[status]
    assert b"Traceback" not in answer.body


LISTS = {
    "/": "devices",
    "/applications": "applications",
    f"/applications/{NETFLIX}": "devices",
    "/protocols": "protocols",
    "/categories": "categories",
}
