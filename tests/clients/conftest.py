"""Fixtures for tests with real monitoring clients. Collected only by `make test-clients`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hostile
import pytest
from gateway import ALERTS, GROUPS, PLANS, Gateway, need
from prometheus import Prometheus, config_for
from support import Daemon, RedisServer, StandIn, certificate, eventually, framed, short_directory

collect_ignore_glob = [] if os.environ.get("NETIFY_AGENT_CLIENTS") else ["test_*.py"]


@pytest.fixture(scope="session")
def gateway() -> Iterator[Gateway]:
    """A gateway shared by all tests that only read from it."""
    with short_directory() as path, RedisServer(path) as redis:
        metrics = {"devices": 8, "applications": 10}
        settings = {"groups": GROUPS, "alerts": ALERTS, "plans": PLANS}
        gateway = Gateway(path, redis, devices=12, metrics=metrics, **settings)
        try:
            gateway.start()
            yield gateway
        finally:
            gateway.stop()


@pytest.fixture(scope="session")
def scraper(gateway: Gateway) -> Iterator[Prometheus]:
    """A Prometheus server that scrapes the gateway."""
    need("prometheus")
    with short_directory() as path:
        server = Prometheus(path, config_for(gateway.daemon.port))
        try:
            server.start()
            yield server
        finally:
            server.stop()


@dataclass
class Secured:
    """An agent that requires a token and serves HTTPS.

    :ivar certificate: file with the certificate to trust.
    :ivar token_file: file that contains ``token``.
    """

    base: str
    port: int
    certificate: str
    token_file: str
    token: str


@pytest.fixture
def secured(
    directory: Path, redis_server: RedisServer, netifyd: StandIn, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Secured]:
    files = certificate(directory)
    assert files.certificate is not None
    monkeypatch.setenv("SSL_CERT_FILE", files.certificate)  # for requests made by the test
    token_file, token = directory / "token", "6f1c2d3e4b5a69788796a5b4c3d2e1f0"
    token_file.write_text(f"{token}\n")
    tokens_file = directory / "tokens"
    tokens_file.write_text(f"# another client\n{token[::-1]}\n# the tests\n{token}\n")
    agent = Daemon(directory, redis_server.url, f"unix://{netifyd.path}")
    agent.settings["web"] |= {
        "tokens_file": str(tokens_file),
        "tls": {"certificate": files.certificate, "key": files.key},
    }
    agent.settings["groups"] = GROUPS
    agent.base = agent.base.replace("http:", "https:")
    agent.write_config()
    agent.start()
    netifyd.accept()
    netifyd.send(framed(b'{"type":"agent_status"}\n'))
    headers = {"Authorization": f"Bearer {token}"}
    eventually(lambda: agent.get("/readyz", headers)[0] == 200, "the agent is ready")
    yield Secured(agent.base, agent.port, files.certificate, str(token_file), token)
    agent.kill()


@pytest.fixture
def idle_gateway(directory: Path, redis_server: RedisServer) -> Iterator[Gateway]:
    """A gateway whose data does not change: the next flush is in an hour."""
    gateway = Gateway(directory, redis_server, devices=12)
    try:
        gateway.start()
        gateway.daemon.stop()
        gateway.daemon.settings["interval"] = 3600
        gateway.daemon.write_config()
        gateway.daemon.start()
        eventually(lambda: gateway.daemon.flushes() == 1, "the first flush, which opens the store")
        yield gateway
    finally:
        gateway.stop()


@pytest.fixture
def hostile_daemon(daemon: Daemon, netifyd: StandIn) -> Daemon:
    """An agent that has counted a network with hostile names."""
    daemon.settings["groups"] = GROUPS
    daemon.write_config()
    daemon.start()
    netifyd.accept()
    payloads = hostile.payloads()
    netifyd.send(framed(*payloads))

    def taken() -> int:
        """Records by type, also of types that no netifyd sends."""
        return sum(daemon.get("/status")[1]["accounting"]["records"].values())

    eventually(lambda: taken() == len(payloads), "every record is read")
    daemon.flushed()
    return daemon
