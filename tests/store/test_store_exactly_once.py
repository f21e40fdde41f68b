"""Each flush is applied exactly once or refused: rivals, older schemas, foreign data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from real_store import (
    LAPTOP,
    PHONE,
    SOURCE,
    TUNNEL,
    RealStore,
    check_entries,
    counts,
    device_counts,
    everything,
    flow_id,
)
from support import RedisServer, free_port

from netify_agent.store.client import StoreError, StoreRefused, connect
from netify_agent.store.encoding import decode_details
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import SCHEMA, Keys
from netify_agent.store.retention import Due, Retention, WallClock
from netify_agent.store.writer import Rewound, StoreWriter

# -- one flush, exactly once -----------------------------------------------------------------------


def test_a_flush_applied_again_changes_nothing(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20))
    flush = store.flush(
        store.netifyd.stats("a", 1, 2), store.netifyd.flow("b", PHONE), store.netifyd.stats("b", 5, 6)
    )
    before = everything(store.client)
    for _ in range(3):
        store.writer.apply(flush)
    assert everything(store.client) == before
    assert store.reader.snapshot().flush.sequence == 2


def test_flushes_are_numbered_without_gaps(store: RealStore) -> None:
    first = store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20))
    store.flush(store.netifyd.stats("a", 10, 20))
    skipped = store.take()
    before = everything(store.client)
    with pytest.raises(Rewound) as rewound:
        store.writer.apply(store.take())
    assert rewound.value.sequence == 2
    with pytest.raises(StoreRefused, match="flush 2 in Redis is another agent's"):
        store.writer.apply(first)
    assert everything(store.client) == before
    store.writer.apply(skipped)


def test_a_second_writer_takes_over_and_the_first_is_refused(
    store: RealStore, shared_redis: RedisServer
) -> None:
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20))
    rival = RealStore(shared_redis.url, "gw1")
    before = everything(store.client)
    with pytest.raises(StoreRefused, match="another netify-agent writes to gateway 'gw1'"):
        store.flush(store.netifyd.stats("a", 10, 20))
    assert everything(store.client) == before
    rival.flush(rival.netifyd.flow("b"), rival.netifyd.stats("b", 1, 1))
    with pytest.raises(StoreRefused):
        store.flush()
    assert device_counts(rival)[LAPTOP] == counts(11, 21, 2, 2, 2)


def test_a_claim_between_check_and_commit_wins(store: RealStore, shared_redis: RedisServer) -> None:
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20))

    class Slow(Retention):
        def read(self, pipe: Any, clock: WallClock, requested: Iterable[str] = ()) -> Due:
            RealStore(shared_redis.url, "gw1")
            return super().read(pipe, clock, requested)

    slow = StoreWriter(store.client, "gw1", HistorySteps({300: 600}), 86400)
    slow.retention = Slow(store.client, Keys("gw1"), 86400, 10_000)
    slow.claim()
    before = store.reader.snapshot()
    with pytest.raises(StoreError, match="the next attempt finds out"):
        slow.apply(store.take())
    assert store.reader.snapshot().gateway == before.gateway


def test_a_store_of_a_newer_schema_is_refused_untouched(store: RealStore, shared_redis: RedisServer) -> None:
    store.client.hset(Keys("gw1").meta, "schema", SCHEMA + 1)
    before = everything(store.client)
    told = f"of schema {SCHEMA + 1}; this netify-agent knows schemas up to {SCHEMA}: upgrade"
    with pytest.raises(StoreRefused, match=told):
        RealStore(shared_redis.url, "gw1")
    assert everything(store.client) == before


def test_a_store_of_schema_1_gets_the_users_of_protocols(store: RealStore, shared_redis: RedisServer) -> None:
    said = store.netifyd
    dns: dict[str, Any] = {"detected_protocol_name": "DNS"}
    store.flush(
        *(said.flow("a"), said.stats("a", 10, 20), said.flow("b", PHONE), said.stats("b", 1, 2)),
        *(said.flow("c", PHONE, **dns), said.stats("c", 5, 5), said.flow("d", TUNNEL, **dns)),
    )
    expected = everything(store.client)
    for protocol in ("HTTP/S", "DNS"):
        store.client.delete(Keys("gw1").protocol_users(protocol))
    of_schema_1 = {"schema": 1, "epoch": 1_700_000_002_000, "instances": '{"unix:///run/n.sock": [5, 6]}'}
    store.client.hset(Keys("gw1").meta, mapping=of_schema_1)
    writer = RealStore(shared_redis.url, "gw1").writer
    found = everything(store.client)
    expected[Keys("gw1").meta] |= {
        "writer": writer.lease.writer,
        "renewed": found[Keys("gw1").meta]["renewed"],
        "epoch": "1700000002000",
        "instances": of_schema_1["instances"],
        "sources": '{"unix:///run/n.sock": [1700000002000, 0, 5, 6]}',
    }
    assert found.pop(Keys("gw1").unmigrated) == {"", LAPTOP, PHONE, TUNNEL}
    assert found == expected
    assert expected[Keys("gw1").protocol_users("DNS")] == [(PHONE, 10)]


def test_a_redis_restored_to_schema_1_is_migrated_again(store: RealStore) -> None:
    """Its next flush called the old data schema 2, and nobody ever learned who had used a protocol."""
    said, keys = store.netifyd, Keys("gw1")
    store.flush(said.flow("a"), said.stats("a", 10, 20))
    store.client.delete(keys.protocol_users("HTTP/S"))
    store.client.hset(keys.meta, "schema", 1)
    store.feed(said.stats("a", 1, 2))
    flush = store.take()
    with pytest.raises(StoreError, match="older schema"):
        store.writer.apply(flush)
    store.writer.apply(flush)
    assert store.client.zrange(keys.protocol_users("HTTP/S"), 0, -1, withscores=True) == [(LAPTOP, 33)]
    assert store.client.hget(keys.meta, "schema") == str(SCHEMA)


def test_flows_of_schema_2_get_new_names_and_go_on(store: RealStore, shared_redis: RedisServer) -> None:
    """It named them by digest alone, and had one baseline for all sources."""
    keys, said = Keys("gw1"), store.netifyd
    source = {"type": "agent_status", "timestamp": 1_700_000_000, "uptime": 50, "flow_count": 0}
    store.flush(source, said.flow("a", host_server_name="x.example"), said.stats("a", 10, 20))
    store.flush(said.flow("b"), said.purge("b"))
    for key in (keys.flows, keys.ended, keys.details):
        for name, text in store.client.hgetall(key).items():
            store.client.hdel(key, name)
            text = json.dumps(json.loads(text)[:-1]) if key != keys.details else text
            store.client.hset(key, name.partition("@")[0], text)
    for key in (keys.ends, *store.client.scan_iter("*:index:*")):
        for name, seen in store.client.zrange(key, 0, -1, withscores=True):
            store.client.zrem(key, name)
            store.client.zadd(key, {name.partition("@")[0]: seen})
    old = {"schema": 2, "epoch": 1_699_999_950_000, "evicted": 0}
    store.client.hset(keys.meta, mapping={**old, "instances": json.dumps({SOURCE: [1_699_999_950_000, 50]})})
    store.client.hdel(keys.meta, "sources")

    again = RealStore(shared_redis.url, "gw1")
    assert again.restored.sources == {SOURCE: (1_699_999_950_000, 0, 1_699_999_950_000, 50)}
    again.netifyd = said
    again.flush(said.stats("a", 1, 2))
    check_entries(store.client, "gw1")
    assert store.client.hkeys(keys.flows) == [flow_id("a")]
    assert set(store.client.hkeys(keys.details)) == {
        flow_id("a"),
        "b",
    }  # b has ended: it is shown for an hour
    assert decode_details(store.client.hget(keys.details, flow_id("a"))).host == "x.example"
    assert device_counts(again)[LAPTOP] == counts(11, 22, 2, 2, 2)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda client, keys: client.set(keys.meta, "mine"),
        lambda client, keys: client.hset(keys.meta, mapping={"colour": "blue"}),
        lambda client, keys: client.hset(keys.meta, mapping={"schema": "one"}),
        lambda client, keys: client.hset(keys.meta, mapping={"schema": 1, "seq": "x"}),
        lambda client, keys: client.hset(keys.meta, mapping={"schema": 1, "instances": "[1]"}),
        lambda client, keys: client.hset(keys.meta, mapping={"schema": 1, "instances": "{"}),
        lambda client, keys: client.set(keys.flows, "mine"),
        lambda client, keys: client.hset(keys.flows, mapping={"a": "[1, 2]"}),
        lambda client, keys: client.hset(keys.flows, mapping={"a": "null"}),
    ],
)
def test_data_of_another_program_is_refused_with_advice(
    shared_redis: RedisServer, spoil: Callable[[Any, Keys], Any]
) -> None:
    client = connect(shared_redis.url, None)
    client.flushall()
    spoil(client, Keys("gw1"))
    with pytest.raises(StoreRefused, match="use another database"):
        RealStore(shared_redis.url, "gw1")


def test_a_key_overwritten_by_another_program_is_reported(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20))
    store.client.delete(Keys("gw1").applications(LAPTOP))
    store.client.set(Keys("gw1").applications(LAPTOP), "mine")
    with pytest.raises(StoreRefused, match=r"took flush 2 but refused .* of its commands.*: another program"):
        store.flush(store.netifyd.stats("a", 10, 20))
    store.client.delete(Keys("gw1").meta)
    store.client.set(Keys("gw1").meta, "mine")
    with pytest.raises(StoreRefused, match="'gw1' in Redis are not netify-agent's"):
        store.flush()


@pytest.mark.parametrize(
    ("refuse", "relent", "told"),
    [
        (("maxmemory", "1"), ("maxmemory", "0"), r"Redis is full and refuses writes \(OOM\)"),
        (("min-replicas-to-write", "1"), ("min-replicas-to-write", "0"), "NOREPLICAS"),
    ],
)
def test_a_refused_flush_changes_nothing_and_is_applied_later(
    redis_server: RedisServer, refuse: tuple[str, str], relent: tuple[str, str], told: str
) -> None:
    store = RealStore(redis_server.url, "gw1")
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20))
    before = everything(store.client)
    store.client.config_set(*refuse)
    store.feed(store.netifyd.stats("a", 10, 20))
    flush = store.take()
    for _ in range(2):
        with pytest.raises(StoreError, match=told) as refused:
            store.writer.apply(flush)
        assert not isinstance(refused.value, StoreRefused)
        assert "\n" not in str(refused.value)
        assert "HSET" not in str(refused.value)
        with pytest.raises(StoreError, match=told):
            store.writer.claim()
    assert everything(store.client) == before
    assert store.reader.snapshot().flush.sequence == 1
    store.client.config_set(*relent)
    store.writer.apply(flush)
    assert device_counts(store) == {LAPTOP: counts(20, 40, 2, 2, 1)}


def test_a_read_only_replica_refuses_flushes_until_it_is_promoted(redis_server: RedisServer) -> None:
    store = RealStore(redis_server.url, "gw1")
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20))
    store.client.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
    store.feed(store.netifyd.stats("a", 10, 20))
    flush = store.take()
    with pytest.raises(StoreError, match=r"read-only replica \(READONLY\)"):
        store.writer.apply(flush)
    assert device_counts(store) == {LAPTOP: counts(10, 20, 1, 1, 1)}
    store.client.execute_command("REPLICAOF", "NO", "ONE")
    store.writer.apply(flush)
    assert device_counts(store) == {LAPTOP: counts(20, 40, 2, 2, 1)}
