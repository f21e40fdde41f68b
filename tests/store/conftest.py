"""Fixtures: a store that is written in the test's thread, and flushers in their own threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flusher_rig import Rig
from redis_topologies import RedisCluster, SentinelService
from store_book import (
    Book,
)
from support import Proxy, RedisServer, short_directory

from netify_agent.store.client import connect


@pytest.fixture
def book(shared_redis: RedisServer) -> Iterator[Book]:
    connect(shared_redis.url, None).flushall()
    yield Book(shared_redis.url, "gw1")


@pytest.fixture
def rigs() -> Iterator[Callable[..., Rig]]:
    """Makes rigs and ends them."""
    made: list[Rig] = []

    def make(*arguments: Any, **options: Any) -> Rig:
        made.append(Rig(*arguments, **options))
        return made[-1]

    yield make
    for rig in made:
        if rig._thread.is_alive():
            rig.stop()


@pytest.fixture
def proxy(directory: Path, redis_server: RedisServer) -> Iterator[Proxy]:
    between = Proxy(directory / "proxy.sock", redis_server.socket)
    yield between
    between.close()


@pytest.fixture(scope="session")
def cluster() -> Iterator[RedisCluster]:
    """A Redis Cluster of three masters. A test that changes it leaves it working."""
    with short_directory() as path:
        made = RedisCluster(path)
        try:
            made.start()
            yield made
        finally:
            made.kill()


@pytest.fixture(scope="session")
def service() -> Iterator[SentinelService]:
    """A master with a replica and three Sentinels. A test that changes it leaves it working."""
    with short_directory() as path:
        made = SentinelService(path)
        try:
            made.start()
            yield made
        finally:
            made.kill()
