"""Real clients of monitoring. `make test-clients` runs these; without it they are not even collected."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gateway import Gateway, need
from prometheus import Prometheus, beside
from support import Daemon, RedisServer, StandIn, certificate, eventually, framed, short_directory

collect_ignore_glob = [] if os.environ.get("NETIFY_AGENT_CLIENTS") else ["test_*.py"]


@pytest.fixture(scope="session")
def gateway() -> Iterator[Gateway]:
    """One for all tests that only ask."""
    with short_directory() as path:
        redis = RedisServer(path)
        redis.start()
        scene = Gateway(path, redis, devices=12, metrics={"devices": 8, "applications": 10})
        try:
            scene.start()
            yield scene
        finally:
            scene.stop()
            redis.kill()


@pytest.fixture(scope="session")
def scraper(gateway: Gateway) -> Iterator[Prometheus]:
    """A Prometheus that scrapes it."""
    need("prometheus")
    with short_directory() as path:
        server = Prometheus(path, beside(gateway.daemon.port))
        try:
            server.start()
            yield server
        finally:
            server.stop()


@dataclass
class Secured:
    """An agent that wants a token and speaks TLS.

    :ivar certificate: file of what to trust; :ivar token_file: file with ``token``.
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
    monkeypatch.setenv("SSL_CERT_FILE", files.certificate)  # for the test's own requests
    token_file, token = directory / "token", "6f1c2d3e4b5a69788796a5b4c3d2e1f0"
    token_file.write_text(f"{token}\n")
    tokens_file = directory / "tokens"
    tokens_file.write_text(f"# of another monitor\n{token[::-1]}\n# of ours\n{token}\n")
    agent = Daemon(directory, redis_server.url, f"unix://{netifyd.path}")
    agent.settings["web"] |= {
        "tokens_file": str(tokens_file),
        "tls": {"certificate": files.certificate, "key": files.key},
    }
    agent.base = agent.base.replace("http:", "https:")
    agent.write_config()
    agent.start()
    netifyd.accept()
    netifyd.send(framed(b'{"type":"agent_status"}\n'))
    headers = {"Authorization": f"Bearer {token}"}
    eventually(lambda: agent.get("/readyz", headers)[0] == 200, "it is ready")
    yield Secured(agent.base, agent.port, files.certificate, str(token_file), token)
    agent.kill()


@pytest.fixture
def resting(directory: Path, redis_server: RedisServer) -> Iterator[Gateway]:
    """One whose answers stay as they are: the next flush is an hour away."""
    scene = Gateway(directory, redis_server, devices=12)
    try:
        scene.start()
        scene.daemon.stop()
        scene.daemon.settings["interval"] = 3600
        scene.daemon.write_config()
        scene.daemon.start()
        eventually(lambda: scene.daemon.flushes() == 1, "the first flush, which opens the store")
        yield scene
    finally:
        scene.stop()
