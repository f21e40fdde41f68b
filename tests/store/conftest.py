"""Fixtures: a store that is written in the test's thread, and flushers in their own threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
from flusher_rig import Rig
from real_store import (
    RealStore,
)
from redis_topologies import RedisCluster, SentinelService
from support import Proxy, RedisServer, short_directory

from netify_agent.store.client import connect

Topology = TypeVar("Topology", RedisCluster, SentinelService)


@pytest.fixture
def store(shared_redis: RedisServer) -> Iterator[RealStore]:
    connect(shared_redis.url, None).flushall()
    yield RealStore(shared_redis.url, "gw1")


@pytest.fixture
def rigs() -> Iterator[Callable[..., Rig]]:
    """Makes rigs and ends them."""
    made: list[Rig] = []

    def make(*arguments: Any, **options: Any) -> Rig:
        made.append(Rig(*arguments, **options))
        return made[-1]

    yield make
    for rig in made:
        if rig.runs:
            rig.stop()


@pytest.fixture
def proxy(directory: Path, redis_server: RedisServer) -> Iterator[Proxy]:
    between = Proxy(directory / "proxy.sock", redis_server.socket)
    yield between
    between.close()


class Kept(Generic[Topology]):
    """A topology that tests share as long as none of them fails."""

    def __init__(self, make: Callable[[Path], Topology]) -> None:
        self._make = make
        self._stack = ExitStack()
        self._made: Topology | None = None

    def get(self) -> Topology:
        """The topology, settled and empty: an earlier test may have restarted a node, and written."""
        if self._made is None:
            made = self._make(self._stack.enter_context(short_directory()))
            self._stack.callback(made.kill)
            made.start()
            self._made = made
        self._made.settle()
        for node in self._made.nodes:
            if node.role() == "master":
                node.ask("FLUSHALL")
                assert node.ask("WAIT", 1, 60_000), "the replica is empty too"
        return self._made

    def drop(self) -> None:
        """End it. The next test gets a new one."""
        self._made = None
        self._stack.close()

    def lend(self, session: pytest.Session) -> Iterator[Topology]:
        """For a fixture of one test: what a failed test leaves behind breaks no other."""
        failed = session.testsfailed
        try:
            made = self.get()
        except BaseException:
            self.drop()
            raise
        yield made
        if session.testsfailed != failed:
            self.drop()


@pytest.fixture(scope="session")
def kept_cluster() -> Iterator[Kept[RedisCluster]]:
    kept = Kept(RedisCluster)
    yield kept
    kept.drop()


@pytest.fixture(scope="session")
def kept_service() -> Iterator[Kept[SentinelService]]:
    kept = Kept(SentinelService)
    yield kept
    kept.drop()


@pytest.fixture
def cluster(kept_cluster: Kept[RedisCluster], request: pytest.FixtureRequest) -> Iterator[RedisCluster]:
    """A Redis Cluster of three masters. A test that changes it leaves it working."""
    yield from kept_cluster.lend(request.session)


@pytest.fixture
def service(kept_service: Kept[SentinelService], request: pytest.FixtureRequest) -> Iterator[SentinelService]:
    """A master with a replica and three Sentinels. A test that changes it leaves it working."""
    yield from kept_service.lend(request.session)
