"""The summaries of gateways at a collector."""

from __future__ import annotations

import pytest
from redis_topologies import RedisCluster
from support import RedisServer

from netify_agent.store.client import StoreError, connect, undecoded
from netify_agent.store.summaries import DIGESTS, SUMMARIES, TAG, Summaries, digest_of


def check(summaries: Summaries) -> None:
    assert summaries.digests() == {} and summaries.read([]) == {}
    many = {f"gw{index}": f"text {index}" for index in range(1200)}  # more than one HMGET
    for gateway, text in many.items():
        summaries.put(gateway, text)
    summaries.put("gw7", "another text")
    many["gw7"] = "another text"
    assert summaries.digests() == {gateway: digest_of(text) for gateway, text in many.items()}
    assert summaries.read([*many, "unknown"]) == many


def test_summaries_are_read_as_they_were_put(redis_server: RedisServer) -> None:
    check(Summaries(connect(redis_server.url, None)))


def test_summaries_in_a_cluster(cluster: RedisCluster) -> None:
    client = connect(cluster.url, None, gateway=TAG)
    client.delete(SUMMARIES, DIGESTS)
    check(Summaries(client))
    client.delete(SUMMARIES, DIGESTS)


def test_a_redis_that_is_away_is_a_store_error(redis_server: RedisServer) -> None:
    summaries = Summaries(connect(redis_server.url, None))
    redis_server.kill()
    for ask in (summaries.digests, lambda: summaries.read(["gw1"]), lambda: summaries.put("gw1", "")):
        with pytest.raises(StoreError):
            ask()


def test_a_collector_needs_two_clients_for_all_histories(redis_server: RedisServer) -> None:
    client = connect(redis_server.url, None)
    assert undecoded(client) is undecoded(client)
    assert undecoded(client) is not undecoded(connect(redis_server.url, None))
