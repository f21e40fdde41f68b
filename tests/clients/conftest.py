"""Real clients of monitoring. `make test-clients` runs these; without it they are not even collected."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway import Gateway, need
from prometheus import Prometheus
from support import RedisServer, eventually, short_directory

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
        server = Prometheus(path, gateway.daemon.port)
        try:
            server.start()
            yield server
        finally:
            server.stop()


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
