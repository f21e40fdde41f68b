"""Each flush is applied exactly once or refused: rivals, older schemas, foreign data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from store_book import (
    LAPTOP,
    PHONE,
    SOURCE,
    TUNNEL,
    Book,
    check_entries,
    counts,
    device_counts,
    everything,
    flow_id,
)
from support import RedisServer, free_port

from netify_agent.store.client import StoreError, StoreRefused, connect
from netify_agent.store.encoding import decode_details
from netify_agent.store.layout import SCHEMA, Keys
from netify_agent.store.retention import Due, Retention, WallClock
from netify_agent.store.writer import Rewound, StoreWriter

# -- one flush, exactly once -----------------------------------------------------------------------


def test_a_flush_applied_again_changes_nothing(book: Book) -> None:
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20))
    flush = book.flush(
        book.netifyd.stats("a", 1, 2), book.netifyd.flow("b", PHONE), book.netifyd.stats("b", 5, 6)
    )
    before = everything(book.client)
    for _ in range(3):
        book.writer.apply(flush)
    assert everything(book.client) == before
    assert book.reader.snapshot().flush.sequence == 2


def test_flushes_are_numbered_without_gaps(book: Book) -> None:
    first = book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20))
    book.flush(book.netifyd.stats("a", 10, 20))
    skipped = book.take()
    before = everything(book.client)
    with pytest.raises(Rewound) as rewound:
        book.writer.apply(book.take())
    assert rewound.value.sequence == 2
    with pytest.raises(StoreRefused, match="flush 2 in Redis is another agent's"):
        book.writer.apply(first)
    assert everything(book.client) == before
    book.writer.apply(skipped)


def test_a_second_writer_takes_over_and_the_first_is_refused(book: Book, shared_redis: RedisServer) -> None:
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20))
    rival = Book(shared_redis.url, "gw1")
    before = everything(book.client)
    with pytest.raises(StoreRefused, match="another netify-agent writes to gateway 'gw1'"):
        book.flush(book.netifyd.stats("a", 10, 20))
    assert everything(book.client) == before
    rival.flush(rival.netifyd.flow("b"), rival.netifyd.stats("b", 1, 1))
    with pytest.raises(StoreRefused):
        book.flush()
    assert device_counts(rival)[LAPTOP] == counts(11, 21, 2, 2, 2)


def test_a_claim_between_check_and_commit_wins(book: Book, shared_redis: RedisServer) -> None:
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20))

    class Slow(Retention):
        def read(self, pipe: Any, clock: WallClock, requested: Iterable[str] = ()) -> Due:
            Book(shared_redis.url, "gw1")
            return super().read(pipe, clock, requested)

    slow = StoreWriter(book.client, "gw1", {300: 600}, 86400)
    slow.retention = Slow(book.client, Keys("gw1"), 86400, 10_000)
    slow.claim()
    before = book.reader.snapshot()
    with pytest.raises(StoreError, match="the next attempt finds out"):
        slow.apply(book.take())
    assert book.reader.snapshot().gateway == before.gateway


def test_a_store_of_a_newer_schema_is_refused_untouched(book: Book, shared_redis: RedisServer) -> None:
    book.client.hset(Keys("gw1").meta, "schema", SCHEMA + 1)
    before = everything(book.client)
    told = f"of schema {SCHEMA + 1}; this netify-agent knows schemas up to {SCHEMA}: upgrade"
    with pytest.raises(StoreRefused, match=told):
        Book(shared_redis.url, "gw1")
    assert everything(book.client) == before


def test_a_store_of_schema_1_gets_the_users_of_protocols(book: Book, shared_redis: RedisServer) -> None:
    said = book.netifyd
    dns: dict[str, Any] = {"detected_protocol_name": "DNS"}
    book.flush(
        *(said.flow("a"), said.stats("a", 10, 20), said.flow("b", PHONE), said.stats("b", 1, 2)),
        *(said.flow("c", PHONE, **dns), said.stats("c", 5, 5), said.flow("d", TUNNEL, **dns)),
    )
    expected = everything(book.client)
    for protocol in ("HTTP/S", "DNS"):
        book.client.delete(Keys("gw1").protocol_users(protocol))
    of_schema_1 = {"schema": 1, "epoch": 1_700_000_002_000, "instances": '{"unix:///run/n.sock": [5, 6]}'}
    book.client.hset(Keys("gw1").meta, mapping=of_schema_1)
    writer = Book(shared_redis.url, "gw1").writer
    found = everything(book.client)
    expected[Keys("gw1").meta] |= {
        "writer": writer.lease.writer,
        "renewed": found[Keys("gw1").meta]["renewed"],
        "epoch": "1700000002000",
        "instances": of_schema_1["instances"],
        "sources": '{"unix:///run/n.sock": [1700000002000, 0, 5, 6]}',
    }
    assert found == expected
    assert expected[Keys("gw1").protocol_users("DNS")] == [(PHONE, 10)]


def test_a_redis_restored_to_schema_1_is_migrated_again(book: Book) -> None:
    """Its next flush called the old data schema 2, and nobody ever learned who had used a protocol."""
    said, keys = book.netifyd, Keys("gw1")
    book.flush(said.flow("a"), said.stats("a", 10, 20))
    book.client.delete(keys.protocol_users("HTTP/S"))
    book.client.hset(keys.meta, "schema", 1)
    book.feed(said.stats("a", 1, 2))
    flush = book.take()
    with pytest.raises(StoreError, match="older schema"):
        book.writer.apply(flush)
    book.writer.apply(flush)
    assert book.client.zrange(keys.protocol_users("HTTP/S"), 0, -1, withscores=True) == [(LAPTOP, 33)]
    assert book.client.hget(keys.meta, "schema") == str(SCHEMA)


def test_flows_of_schema_2_get_new_names_and_go_on(book: Book, shared_redis: RedisServer) -> None:
    """It named them by digest alone, and had one baseline for all sources."""
    keys, said = Keys("gw1"), book.netifyd
    source = {"type": "agent_status", "timestamp": 1_700_000_000, "uptime": 50, "flow_count": 0}
    book.flush(source, said.flow("a", host_server_name="x.example"), said.stats("a", 10, 20))
    book.flush(said.flow("b"), said.purge("b"))
    for key in (keys.flows, keys.ended, keys.details):
        for name, text in book.client.hgetall(key).items():
            book.client.hdel(key, name)
            text = json.dumps(json.loads(text)[:-1]) if key != keys.details else text
            book.client.hset(key, name.partition("@")[0], text)
    for key in (keys.ends, *book.client.scan_iter("*:index:*")):
        for name, seen in book.client.zrange(key, 0, -1, withscores=True):
            book.client.zrem(key, name)
            book.client.zadd(key, {name.partition("@")[0]: seen})
    old = {"schema": 2, "epoch": 1_699_999_950_000, "evicted": 0}
    book.client.hset(keys.meta, mapping={**old, "instances": json.dumps({SOURCE: [1_699_999_950_000, 50]})})
    book.client.hdel(keys.meta, "sources")

    again = Book(shared_redis.url, "gw1")
    assert again.restored.sources == {SOURCE: (1_699_999_950_000, 0, 1_699_999_950_000, 50)}
    again.netifyd = said
    again.flush(said.stats("a", 1, 2))
    check_entries(book.client, "gw1")
    assert book.client.hkeys(keys.flows) == [flow_id("a")]
    assert set(book.client.hkeys(keys.details)) == {flow_id("a"), "b"}  # b has ended: it is shown for an hour
    assert decode_details(book.client.hget(keys.details, flow_id("a"))).host == "x.example"
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
        Book(shared_redis.url, "gw1")


def test_a_key_overwritten_by_another_program_is_reported(book: Book) -> None:
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20))
    book.client.delete(Keys("gw1").applications(LAPTOP))
    book.client.set(Keys("gw1").applications(LAPTOP), "mine")
    with pytest.raises(StoreRefused, match=r"took flush 2 but refused .* of its commands.*: another program"):
        book.flush(book.netifyd.stats("a", 10, 20))
    book.client.delete(Keys("gw1").meta)
    book.client.set(Keys("gw1").meta, "mine")
    with pytest.raises(StoreRefused, match="'gw1' in Redis are not netify-agent's"):
        book.flush()


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
    book = Book(redis_server.url, "gw1")
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20))
    before = everything(book.client)
    book.client.config_set(*refuse)
    book.feed(book.netifyd.stats("a", 10, 20))
    flush = book.take()
    for _ in range(2):
        with pytest.raises(StoreError, match=told) as refused:
            book.writer.apply(flush)
        assert not isinstance(refused.value, StoreRefused)
        assert "\n" not in str(refused.value)
        assert "HSET" not in str(refused.value)
        with pytest.raises(StoreError, match=told):
            book.writer.claim()
    assert everything(book.client) == before
    assert book.reader.snapshot().flush.sequence == 1
    book.client.config_set(*relent)
    book.writer.apply(flush)
    assert device_counts(book) == {LAPTOP: counts(20, 40, 2, 2, 1)}


def test_a_read_only_replica_refuses_flushes_until_it_is_promoted(redis_server: RedisServer) -> None:
    book = Book(redis_server.url, "gw1")
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20))
    book.client.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
    book.feed(book.netifyd.stats("a", 10, 20))
    flush = book.take()
    with pytest.raises(StoreError, match=r"read-only replica \(READONLY\)"):
        book.writer.apply(flush)
    assert device_counts(book) == {LAPTOP: counts(10, 20, 1, 1, 1)}
    book.client.execute_command("REPLICAOF", "NO", "ONE")
    book.writer.apply(flush)
    assert device_counts(book) == {LAPTOP: counts(20, 40, 2, 2, 1)}
