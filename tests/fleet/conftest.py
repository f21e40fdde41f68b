"""Fixtures: a collector on a Redis of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from collector_run import CollectorRun
from support import RedisServer, short_directory


@pytest.fixture
def collector_redis() -> Iterator[RedisServer]:
    with short_directory() as path, RedisServer(path) as server:
        yield server


@pytest.fixture
def collector(directory: Path, collector_redis: RedisServer) -> Iterator[CollectorRun]:
    run = CollectorRun(directory, collector_redis.url)
    run.start()
    yield run
    if run.exited() is None:
        run.stop()
