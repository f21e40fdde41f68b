"""Fixtures: a store that is written in the test's thread, and flushers in their own threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flusher_rig import Rig
from store_book import (
    Book,
)
from support import Proxy, RedisServer

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
