"""A body is sent no faster than it may be. The clock is the test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from netify_agent.config.settings import FleetSettings
from netify_agent.fleet import line as line_module
from netify_agent.fleet.line import Line, NotForwarded, Refused


class Clock:
    """Time passes only while someone waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.stops_at = 1e9

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now = min(self.now + seconds, self.stops_at)
        return self.now >= self.stops_at


class Collector(BaseHTTPRequestHandler):
    status = 200
    bodies: list[bytes]

    def do_POST(self) -> None:
        assert "Transfer-Encoding" not in self.headers
        type(self).bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b'{"detail": "why"}')

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[HTTPServer]:
    handler = type("Handler", (Collector,), {"bodies": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(line_module.time, "monotonic", made.monotonic)
    return made


def new_line(directory: Path, collector: HTTPServer, clock: Clock, rate: int | None) -> Line:
    token = directory / "token"
    token.write_text("a-token-of-the-gateway\n")
    url = f"http://127.0.0.1:{collector.server_port}"
    line = Line(FleetSettings(url, str(token), max_rate=rate), "gw1")
    line.stopping = clock  # type: ignore[assignment]
    return line


def test_bodies_take_their_time(directory: Path, collector: HTTPServer, clock: Clock) -> None:
    line = new_line(directory, collector, clock, 80_000)  # 10,000 bytes/s
    body = bytes(range(250)) * 100
    line.exchange("POST", "", body)
    line.exchange("POST", "", body)
    handler: type[Collector] = collector.RequestHandlerClass  # type: ignore[assignment]
    assert handler.bodies == [body, body]
    # The last piece is sent when those before it have had their time.
    assert clock.now - 1000 == pytest.approx(5.0, abs=0.26)
    assert line.bytes_sent == 50_000


def test_without_a_bound_a_body_is_sent_at_once(directory: Path, collector: HTTPServer, clock: Clock) -> None:
    line = new_line(directory, collector, clock, None)
    line.exchange("POST", "", bytes(1 << 20))
    assert clock.now == 1000 and line.bytes_sent == 1 << 20


def test_a_stop_ends_a_body_that_waits(directory: Path, collector: HTTPServer, clock: Clock) -> None:
    line = new_line(directory, collector, clock, 8_000)
    clock.stops_at = 1002.0
    with pytest.raises(NotForwarded, match="the agent stops"):
        line.exchange("POST", "", bytes(100_000))
    assert 1500 <= line.bytes_sent <= 2500


def test_a_refusal_has_its_status(directory: Path, collector: HTTPServer, clock: Clock) -> None:
    line = new_line(directory, collector, clock, None)
    handler: type[Collector] = collector.RequestHandlerClass  # type: ignore[assignment]
    handler.status = 409
    with pytest.raises(Refused, match="status 409: why") as refused:
        line.exchange("POST", "", b"body")
    assert refused.value.status == 409
