"""Sentinels and a cluster over TLS alone, with certificates of our own: the settings of redis.tls apply."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_store import HISTORY
from redis_topologies import RedisCluster, SentinelService, SlotMove
from support import certificate, short_directory

from netify_agent.accounting.batch import Batch
from netify_agent.config.settings import RedisTlsSettings
from netify_agent.store.client import StoreError, connect
from netify_agent.store.reader import StoreReader
from netify_agent.store.topology import slot_of
from netify_agent.store.writer import Flush, StoreWriter

SLOT = slot_of("gw1")


class Deployment:
    """A topology whose servers want a certificate of their clients.

    :ivar files: for redis.tls.
    """

    def __init__(self, directory: Path, kind: str) -> None:
        own = certificate(directory, "redis")
        self.files = RedisTlsSettings(own.certificate, own.certificate, own.key)
        self.made: RedisCluster | SentinelService = (
            RedisCluster(directory, masters=2, tls=own)
            if kind == "cluster"
            else SentinelService(directory, tls=own)
        )


@pytest.fixture(params=["sentinel", "cluster"], scope="module")
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    with short_directory() as directory:
        if b"tls-auth-clients" not in Path(shutil.which("redis-server") or "missing").read_bytes():
            pytest.skip("this redis-server was built without TLS")
        deployment = Deployment(directory, request.param)
        try:
            deployment.made.start()
            yield deployment
        finally:
            deployment.made.kill()


def test_a_store_is_written_and_read_also_where_its_slot_moves(deployment: Deployment) -> None:
    url, made = deployment.made.url, deployment.made
    assert url.startswith("rediss+")
    store = StoreWriter(connect(url, None, deployment.files, gateway="gw1"), "gw1", HISTORY, 86400)
    reader = StoreReader(connect(url, None, deployment.files, gateway="gw1"), "gw1")
    assert store.claim().sequence == 0
    store.apply(Flush(1, Batch(0), 1_700_000_000_000, 1000))
    assert reader.last_flush().sequence == 1
    if isinstance(made, RedisCluster):
        source = made.owner(SLOT)
        move = SlotMove(made, SLOT, next(node for node in made.masters() if node is not source))
        move.begin()
        move.move(move.keys())
        assert reader.last_flush().sequence == 1  # ASK
        move.end()
        assert reader.last_flush().sequence == 1  # MOVED
    store.apply(Flush(2, Batch(0), 1_700_000_001_000, 1000))
    assert reader.last_flush().sequence == 2


def test_servers_that_are_not_trusted_are_not_used(deployment: Deployment) -> None:
    for tls, told in (
        (RedisTlsSettings(), "is not trusted: set redis.tls.ca_file to the CA that signed it"),
        (RedisTlsSettings(deployment.files.ca_file), "requires a client certificate|(?i:closed|reset)"),
    ):
        reader = StoreReader(connect(deployment.made.url, None, tls, gateway="gw1"), "gw1")
        with pytest.raises(StoreError, match=told) as error:
            reader.ping()
        assert "\n" not in str(error.value)
