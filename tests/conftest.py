"""Fixtures: every server a test talks to is real and its own."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, settings
from support import Daemon, RedisServer, StandIn, short_directory

# A busy machine makes slow examples of any: how long one takes says nothing about what it proves.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_report_header() -> str:
    """Which of redis-py's parsers the tests use."""
    found = importlib.util.find_spec("hiredis")
    return f"redis-py {redis.__version__}, {'with' if found else 'without'} hiredis"


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        yield path


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One server for tests that do no harm to it; each takes a gateway name of its own, or flushes."""
    with short_directory() as path, RedisServer(path) as server:
        yield server


@pytest.fixture
def redis_server(directory: Path) -> Iterator[RedisServer]:
    """A server that the test may kill."""
    with RedisServer(directory) as server:
        yield server


@pytest.fixture
def netifyd(directory: Path) -> Iterator[StandIn]:
    stand_in = StandIn(directory / "netifyd.sock")
    yield stand_in
    stand_in.close()


@pytest.fixture
def daemon(directory: Path, redis_server: RedisServer, netifyd: StandIn) -> Iterator[Daemon]:
    """Configured for the other fixtures; the test starts it."""
    agent = Daemon(directory, redis_server.url, f"unix://{netifyd.path}")
    yield agent
    if agent.process is not None and agent.process.poll() is None:
        agent.kill()
