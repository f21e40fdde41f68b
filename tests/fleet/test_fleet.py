"""A real agent forwards to a real collector, each with a Redis of its own: figures equal to the byte."""

from __future__ import annotations

import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from collector_run import GATEWAYS, CollectorRun
from records import flow_record, stats_record
from support import WAIT_S, Daemon, RedisServer, StandIn, certificate, eventually, framed, free_port

from netify_agent.store.client import connect

PATHS = (
    *("/", "/?group=living", "/history", "/applications", "/protocols", "/categories"),
    *("/usage?period=day&by=device", "/usage?period=day&by=group", "/plans", "/plans/each"),
)
#: What only the files and the configuration of the gateway know.
KNOWN = {
    "devices": {"names": {"02:00:00:00:00:01": "Ann's laptop"}},
    "groups": {"living": ["02:00:00:00:00:01"], "empty": []},
    "alerts": {"busy": {"kind": "rate", "above": "1 bit/s", "for": "1s", "notify": ["phone"]}},
    "plans": {
        "uplink": {"limit": "1 GB", "per": "month", "direction": "down"},
        "each": {"limit": "2 kB", "per": "month", "device": "each", "group": "living", "warn_at": ["50%"]},
    },
    "notify": {"phone": {"type": "ntfy", "url": "http://127.0.0.1:9/topic", "send_resolved": False}},
}


class Gateway:
    """An agent with a netifyd that says what the test tells it to."""

    def __init__(self, directory: Path, redis_url: str, netifyd: StandIn, url: str, **fleet: Any) -> None:
        token = directory / "token"
        token.write_text(GATEWAYS["gw1"] + "\n")
        fleet = {"url": url, "token_file": str(token), "interval": 1, **fleet}
        self.daemon = Daemon(directory, redis_url, f"unix://{netifyd.path}", fleet=fleet, **KNOWN)
        self.netifyd = netifyd
        self.moved = 0

    def start(self) -> None:
        self.daemon.start()
        self.netifyd.accept()
        self.netifyd.send(framed(flow_record("d1")))

    def move(self) -> None:
        """The flow moves bytes, and they are in the gateway's own Redis."""
        self.moved += 1
        self.netifyd.send(framed(stats_record("d1", 1000, 1000 * self.moved)))
        self.daemon.flushed()

    def fleet(self) -> dict[str, Any]:
        found: dict[str, Any] = self.daemon.get("/status")[1]["fleet"]
        return found

    def forwarded(self) -> None:
        """Wait until the collector has all that is in Redis now."""
        before = self.fleet()["messages"]
        eventually(
            lambda: self.fleet()["messages"] >= before + 2 and self.fleet()["complete"], "two messages"
        )


@pytest.fixture
def gateway(
    directory: Path, redis_server: RedisServer, netifyd: StandIn, collector: CollectorRun
) -> Iterator[Gateway]:
    made = Gateway(directory, redis_server.url, netifyd, collector.url, max_rate="10 Mbit/s")
    yield made
    if made.daemon.process is not None and made.daemon.exited() is None:
        made.daemon.kill()


def without_times(document: Any) -> Any:
    """A document without what the next flush changes, although nothing moved."""
    if isinstance(document, dict):
        changing = ("generated_at", "rate_up", "rate_down", "from", "to", "elapsed", "forecast")
        return {name: without_times(value) for name, value in document.items() if name not in changing}
    return [without_times(value) for value in document] if isinstance(document, list) else document


def check_equal(gateway: Gateway, collector: CollectorRun) -> None:
    """Every answer of the collector is the gateway's own."""
    (device,) = gateway.daemon.get("/")[1]["devices"]
    for path in (*PATHS, f"/{device['mac']}", f"/{device['mac']}/history"):
        status, mine = gateway.daemon.get(path)
        there, copied = collector.get("/gateways/gw1" + path)
        assert (status, there) == (200, 200), path
        assert without_times(copied) == without_times(mine), path
    assert (device["name"], device["groups"]) == ("Ann's laptop", ["living"])
    assert device["bytes_down"] == 1000 * gateway.moved


def test_the_collector_answers_as_the_gateway_does(gateway: Gateway, collector: CollectorRun) -> None:
    gateway.start()
    for _ in range(3):
        gateway.move()
        gateway.forwarded()
        check_equal(gateway, collector)
    status = gateway.fleet()
    assert status["error"] is None and status["bytes_sent"] > status["message_bytes"] > 0
    assert (status["bytes_left"], status["max_rate"]) == (0, 10_000_000)

    def alerts(asked: Daemon | CollectorRun, prefix: str = "") -> Any:
        return without_times(asked.get(prefix + "/alerts")[1])["alerts"]

    eventually(lambda: alerts(gateway.daemon), "an alert")
    eventually(lambda: alerts(collector, "/gateways/gw1") == alerts(gateway.daemon), "the same alert")
    (row,) = [row for row in collector.get("/gateways")[1]["gateways"] if row["gateway"] == "gw1"]
    assert row["last_contact"] is not None
    with urllib.request.urlopen(gateway.daemon.base + "/metrics", timeout=WAIT_S) as answer:
        metrics = answer.read().decode()
    sent = re.search(r"^netify_agent_fleet_sent_bytes_total ([0-9]+)$", metrics, re.M)
    assert sent is not None and int(sent[1]) >= status["bytes_sent"]
    assert "\nnetify_agent_fleet_complete 1\n" in metrics
    assert gateway.daemon.stop() == 0


def test_an_outage_costs_the_gateway_nothing_and_is_made_up_for(
    gateway: Gateway, collector: CollectorRun
) -> None:
    collector.stop()
    gateway.start()
    gateway.move()
    eventually(lambda: gateway.fleet()["error"], "a failed exchange")
    gateway.move()
    (device,) = gateway.daemon.get("/")[1]["devices"]
    assert device["bytes_down"] == 2000
    assert gateway.daemon.get("/healthz")[0] == 200
    collector.start()
    eventually(lambda: gateway.fleet()["error"] is None, "forwarding again")
    gateway.forwarded()
    check_equal(gateway, collector)


def test_restarts_of_both_and_a_lost_redis_change_no_figure(
    gateway: Gateway, collector: CollectorRun, collector_redis: RedisServer
) -> None:
    gateway.start()
    gateway.move()
    gateway.forwarded()
    collector.stop()
    gateway.daemon.kill()
    collector.start()
    gateway.daemon.start()
    gateway.netifyd.accept()
    gateway.move()
    gateway.forwarded()
    check_equal(gateway, collector)
    connect(collector_redis.url, None).flushall()
    eventually(lambda: collector.get("/gateways/gw1/")[0] == 200, "the copy is back")
    gateway.forwarded()
    check_equal(gateway, collector)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no HTTP at all",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"position":1,"items":2}',
        b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 26\r\n\r\n{"detail":"not your token"}',
        b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{",
    ],
)
def test_no_answer_of_a_collector_ends_the_agent(
    directory: Path, redis_server: RedisServer, netifyd: StandIn, answer: bytes
) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        gateway = Gateway(directory, redis_server.url, netifyd, f"http://127.0.0.1:{server.getsockname()[1]}")
        gateway.start()
        try:
            client, _ = server.accept()
            with client:
                client.recv(65536)
                client.sendall(answer)
            eventually(lambda: gateway.fleet()["error"], "a failed exchange")
            gateway.move()
            assert gateway.daemon.get("/")[1]["devices"][0]["bytes_down"] == 1000
            assert "Traceback" not in gateway.daemon.log.read_text()
            assert gateway.daemon.stop() == 0
        finally:
            if gateway.daemon.exited() is None:
                gateway.daemon.kill()


def test_a_collector_with_https_and_its_own_authority(
    directory: Path, redis_server: RedisServer, collector_redis: RedisServer, netifyd: StandIn
) -> None:
    tls = certificate(directory, "collector")
    files = {"certificate": tls.certificate, "key": tls.key}
    collector = CollectorRun(directory, collector_redis.url, tls=files)
    collector.trusted = tls.certificate
    url = f"https://localhost:{collector.port}"
    gateway = Gateway(directory, redis_server.url, netifyd, url, ca_file=tls.certificate)
    stranger = certificate(directory, "stranger")
    try:
        collector.start()
        gateway.daemon.settings["fleet"]["ca_file"] = stranger.certificate
        gateway.daemon.write_config()
        gateway.start()
        eventually(lambda: "certificate verify failed" in (gateway.fleet()["error"] or ""), "a refusal")
        assert gateway.fleet()["bytes_sent"] == 0
        assert gateway.daemon.stop() == 0
        gateway.daemon.settings["fleet"]["ca_file"] = tls.certificate
        gateway.daemon.write_config()
        gateway.daemon.start()
        gateway.netifyd.accept()
        gateway.move()
        gateway.forwarded()
        check_equal(gateway, collector)
    finally:
        if gateway.daemon.exited() is None:
            gateway.daemon.kill()
        collector.stop()
