"""Promises of the store, kept by a real Redis: what was fed is what is read, once, whole, and bounded."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from store_book import (
    LAPTOP,
    NETFLIX,
    NO_COUNTS,
    PHONE,
    SOURCE,
    TUNNEL,
    YOUTUBE,
    Book,
    check_entries,
    counts,
    digests,
    everything,
    flow_id,
)
from support import RedisServer, eventually, free_port

from netify_agent.accounting.batch import MAX_IPV4, MAX_IPV6
from netify_agent.simulator.simulation import Simulation
from netify_agent.store.audit import SumAudit
from netify_agent.store.changes_reader import ChangesReader
from netify_agent.store.client import StoreError, StoreRefused, connect
from netify_agent.store.encoding import decode_details
from netify_agent.store.flow_reader import FlowFilter
from netify_agent.store.layout import SCHEMA, Keys
from netify_agent.store.metrics_reader import MetricsReader
from netify_agent.store.reader import StoreReader
from netify_agent.store.retention import Due, Retention, WallClock
from netify_agent.store.writer import Rewound, StoreWriter

HOSTILE = [
    "colon:bu:in:it",
    "{brace}",
    "new\nline\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    "nul\x00 esc\x1b[2J del\x7f",
    "x" * 253,
    '"quote\'s" \\ <script>',
    "日本語 \U0001f4a9",
    "ls:",
    " ",
]


@pytest.fixture
def book(shared_redis: RedisServer) -> Iterator[Book]:
    connect(shared_redis.url, None).flushall()
    yield Book(shared_redis.url, "gw1")


def device_counts(book: Book) -> dict[str, dict[str, int]]:
    return {row.name: row.counters for row in book.reader.snapshot().devices}


# -- what was fed is what is read ------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 5])
def test_a_simulated_network_is_read_back_to_the_byte(shared_redis: RedisServer, version: int) -> None:
    connect(shared_redis.url, None).flushall()
    start_s = int(time.time()) - 5400
    simulation = Simulation(5, 15, 0.5, version=version, profile="office", start_ms=start_s * 1000)
    book = Book(shared_redis.url, "gw1")
    book.accountant.feed([json.loads(payload) for payload in simulation.opening()], SOURCE)
    book.bucket = start_s // 300 * 300
    book.take()
    book.sequence -= 1
    for index, (at_ms, payload) in enumerate(simulation.records()):
        book.feed(json.loads(payload))
        if index % 500 == 499:
            book.bucket = at_ms // 300_000 * 300
            book.flush(at_ms=at_ms)
    book.flush()
    truth: dict[str, Any] = simulation.truth.as_dict()
    snapshot = book.snapshot()
    assert snapshot.gateway.counters == truth["gateway"]
    assert snapshot.unattributed == truth["unattributed"]
    assert {row.name: row.counters for row in snapshot.devices} == truth["devices"]
    assert len(snapshot.devices) > 5
    applications = {
        f"{row.name} {tag}": counted.counters
        for row in snapshot.devices
        for tag, counted in row.applications.items()
    }
    assert applications == truth["applications"]
    protocols: dict[str, dict[str, int]] = {}
    for row in snapshot.devices:
        found = book.reader.device(row.name)
        assert found is not None
        assert found.device.applications == row.applications
        protocols |= {
            f"{row.name} {name}": counted.counters for name, counted in found.device.protocols.items()
        }
    assert protocols == truth["protocols"]
    rows = book.applications(100)
    for counter, count in truth["unattributed"].items():  # whose application netifyd never told
        truth["gateway_applications"]["Unknown"][counter] += count
    assert {row.name: row.counters for row in rows} == truth["gateway_applications"]
    used = {f"{device} {row.name}": amount for row in rows for device, amount in row.users}
    assert used == {
        name: row["bytes_up"] + row["bytes_down"]
        for name, row in truth["applications"].items()
        if row["bytes_up"] + row["bytes_down"]
    }
    for step in (300, 3600, 86400):
        starts = range(start_s // step * step, start_s + 7200, step)
        buckets = book.reader.history("", step, starts)
        for counter in ("bytes_up", "bytes_down", "packets_up", "packets_down"):
            assert sum(rows[""].get(counter, 0) for _, rows in buckets) == truth["gateway"][counter]


def test_sides_of_a_local_flow_mirror_each_other_and_stand_once_in_the_gateway(book: Book) -> None:
    local = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}
    book.flush(book.netifyd.flow("a", **local), book.netifyd.stats("a", 10, 300))
    assert device_counts(book) == {LAPTOP: counts(10, 300, 1, 1, 1), PHONE: counts(300, 10, 1, 1, 1)}
    snapshot = book.reader.snapshot()
    assert snapshot.gateway.counters == counts(10, 300, 1, 1, 1)
    assert snapshot.mirrored == counts(300, 10, 1, 1, 1)


def test_bytes_of_a_flow_never_described_belong_to_the_gateway_alone(book: Book) -> None:
    book.flush(book.netifyd.stats("a", 10, 300))
    snapshot = book.reader.snapshot()
    assert snapshot.gateway.counters == snapshot.unattributed == counts(10, 300, 1, 1, 1)
    assert snapshot.devices == []


def test_a_device_without_a_mac_is_named_by_its_address(book: Book) -> None:
    book.flush(book.netifyd.flow("a", TUNNEL), book.netifyd.stats("a", 1, 2))
    found = book.reader.device(TUNNEL)
    assert found is not None
    assert (found.device.name, found.device.addresses, found.device.interface) == (TUNNEL, [TUNNEL], "br0")


def test_a_new_store_is_empty_and_knows_nobody(book: Book) -> None:
    snapshot = book.reader.snapshot()
    assert (snapshot.flush, snapshot.devices) == ((0, 0), [])
    assert snapshot.gateway.counters == NO_COUNTS
    assert book.reader.device(LAPTOP) is None
    assert not book.reader.knows(LAPTOP)
    assert book.applications(10) == []
    assert book.reader.history(LAPTOP, 300, []) == []
    assert book.reader.history(LAPTOP, 300, [book.bucket]) == []


def test_counters_of_the_accounting_add_up(book: Book) -> None:
    for total in (5000, 9000):  # 2 x 2000 bytes that no interval told of
        book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 1000, 1000, total_bytes=total))
    assert book.reader.counters()["bytes_missed"] == 2000
    assert book.reader.meta()["seq"] == "2"


def test_gateways_in_one_redis_do_not_meet(book: Book, shared_redis: RedisServer) -> None:
    other = Book(shared_redis.url, "gw2")
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 1, 2))
    other.flush(other.netifyd.flow("a", PHONE), other.netifyd.stats("a", 3, 4))
    assert set(device_counts(book)) == {LAPTOP}
    assert set(device_counts(other)) == {PHONE}


def test_every_key_of_a_gateway_has_its_hash_tag(book: Book) -> None:
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 1, 2))
    assert all(key.startswith("netify:{gw1}:") for key in everything(book.client))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_go_in_and_come_out_as_they_are(book: Book, text: str) -> None:
    flush = book.take()
    book.sequence -= 1
    # Past the accounting, which would have cleaned them: the store must not rely on it.
    book.feed(book.netifyd.flow("a"), book.netifyd.stats("a", 7, 9))
    flush = book.take()
    for key in list(flush.batch.counted):
        flush.batch.counted[key._replace(application=text, protocol=text)] = flush.batch.counted.pop(key)
    flush.batch.devices[LAPTOP].hint = text
    flush.batch.categories[text] = 9
    flush.batch.flows[flow_id("a")] = flush.batch.flows[flow_id("a")]._replace(  # type: ignore[union-attr]
        source=text,
        key=flush.batch.flows[flow_id("a")].key._replace(application=text),  # type: ignore[union-attr]
    )
    book.writer.apply(flush)
    found = book.reader.device(LAPTOP)
    assert found is not None
    row = found.device
    assert row.hint == text
    assert {name: counted.counters for name, counted in row.applications.items()} == {
        text: counts(7, 9, 1, 1, 1)
    }
    assert row.applications[text].rates == (56, 72)
    assert {name: counted.counters for name, counted in row.protocols.items()} == {
        text: counts(7, 9, 1, 1, 1)
    }
    assert found.categories[text] == 9
    rows = book.applications(3)
    assert [(row.name, row.category, row.users) for row in rows] == [(text, 9, [(LAPTOP, 16)])]
    assert book.reader.history(LAPTOP, 300, [book.bucket])[0][1][text] == {"bytes_up": 7, "bytes_down": 9}
    assert book.writer.claim().flows[flow_id("a")].key.application == text


def test_bytes_that_are_no_text_are_replaced_not_fatal(book: Book) -> None:
    book.client.connection_pool.connection_kwargs["decode_responses"] = False
    book.flush(book.netifyd.flow("a", application="cut\ud800off"), book.netifyd.stats("a", 7, 9))
    raw = redis.Redis(unix_socket_path=book.client.connection_pool.connection_kwargs["path"])
    raw.hset(Keys("gw1").totals(LAPTOP), "hint", b"\xff\xfe")
    found = book.reader.device(LAPTOP)
    assert found is not None
    assert found.device.hint == "\ufffd\ufffd"
    assert len(found.device.applications) == 1


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


def test_a_rival_takes_the_store_over_and_the_older_writer_is_refused(
    book: Book, shared_redis: RedisServer
) -> None:
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


def test_a_rival_that_claims_between_check_and_commit_wins(book: Book, shared_redis: RedisServer) -> None:
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20))

    class Slow(Retention):
        def read(self, pipe: Any, clock: WallClock) -> Due:
            Book(shared_redis.url, "gw1")
            return super().read(pipe, clock)

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


def test_a_store_of_schema_1_learns_who_uses_a_protocol(book: Book, shared_redis: RedisServer) -> None:
    said = book.netifyd
    dns: dict[str, Any] = {"detected_protocol_name": "DNS"}
    book.flush(
        *(said.flow("a"), said.stats("a", 10, 20), said.flow("b", PHONE), said.stats("b", 1, 2)),
        *(said.flow("c", PHONE, **dns), said.stats("c", 5, 5), said.flow("d", TUNNEL, **dns)),
    )
    expected = everything(book.client)
    for protocol in ("HTTP/S", "DNS"):
        book.client.delete(Keys("gw1").protocol_users(protocol))
    book.client.hset(Keys("gw1").meta, "schema", 1)
    writer = Book(shared_redis.url, "gw1").writer
    found = everything(book.client)
    expected[Keys("gw1").meta] |= {
        "writer": writer.lease.writer,
        "renewed": found[Keys("gw1").meta]["renewed"],
    }
    assert found == expected
    assert expected[Keys("gw1").protocol_users("DNS")] == [(PHONE, 10)]


def test_a_redis_that_goes_back_to_schema_1_is_taken_over_again(book: Book) -> None:
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


def test_flows_of_schema_2_are_renamed_and_go_on(book: Book, shared_redis: RedisServer) -> None:
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
def test_data_of_somebody_else_is_refused_with_advice(
    shared_redis: RedisServer, spoil: Callable[[Any, Keys], Any]
) -> None:
    client = connect(shared_redis.url, None)
    client.flushall()
    spoil(client, Keys("gw1"))
    with pytest.raises(StoreRefused, match="use another database"):
        Book(shared_redis.url, "gw1")


def test_somebody_who_spoils_a_key_later_is_told_of(book: Book) -> None:
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20))
    book.client.delete(Keys("gw1").applications(LAPTOP))
    book.client.set(Keys("gw1").applications(LAPTOP), "mine")
    with pytest.raises(StoreRefused, match=r"took flush 2 but refused .* of its commands.*: somebody else"):
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
def test_a_redis_that_refuses_to_write_takes_nothing_at_all_and_all_of_it_later(
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


def test_a_read_only_replica_takes_nothing_and_can_be_promoted(redis_server: RedisServer) -> None:
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


# -- what a restart finds --------------------------------------------------------------------------


def test_a_claim_gives_back_every_live_flow_exactly(book: Book, shared_redis: RedisServer) -> None:
    local = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}
    status = {"type": "agent_status", "uptime": 50, "timestamp": 1_700_000_000, "flow_count": 0}
    flush = book.flush(
        status,
        book.netifyd.flow("a"),
        book.netifyd.stats("a", 10, 20),
        book.netifyd.flow("b", **local),
        book.netifyd.stats("c", 5, 6),
        book.netifyd.flow("d"),
        book.netifyd.stats("e", 7, 8, total_bytes=1000),
    )
    restored = StoreWriter(book.client, "gw1", {300: 600}, 86400).claim()
    assert restored.flows == flush.batch.flows
    assert digests(restored.flows) == set("abcde")
    start = 1_699_999_950_000
    assert restored.sources == flush.batch.sources == {SOURCE: (start, 0, start, 50)}
    assert restored.sequence == 1
    again = Book(shared_redis.url, "gw1")
    again.flush(book.netifyd.purge("a"))
    assert digests(again.writer.claim().flows) == set("bcde")


def test_a_store_that_fell_behind_to_before_the_claim_is_still_ours(
    book: Book, shared_redis: RedisServer
) -> None:
    """Redis loses a second or so of commands when its machine dies: perhaps our claim among them."""
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20))
    before = book.client.hgetall(Keys("gw1").meta)
    restarted = Book(shared_redis.url, "gw1")
    restarted.writer.claim()  # as after a reply that was lost
    book.client.hset(Keys("gw1").meta, mapping=before)
    restarted.flush(book.netifyd.stats("a", 10, 20))
    assert device_counts(restarted) == {LAPTOP: counts(20, 40, 2, 2, 1)}


# -- rows that move, rates, retention --------------------------------------------------------------


def test_a_reclassified_flow_takes_its_totals_and_users_along(book: Book) -> None:
    book.flush(book.netifyd.flow("a", application="Unknown"), book.netifyd.stats("a", 10, 20))
    book.bucket += 300
    book.flush()  # the next bucket opens
    book.flush(book.netifyd.flow("a", application=YOUTUBE, detected_protocol_name="QUIC"), elapsed_ms=15_000)
    found = book.reader.device(LAPTOP)
    assert found is not None
    row = found.device
    assert {tag: one.counters for tag, one in row.applications.items()} == {YOUTUBE: counts(10, 20, 1, 1, 1)}
    assert {name: one.counters for name, one in row.protocols.items()} == {"QUIC": counts(10, 20, 1, 1, 1)}
    assert row.counters == counts(10, 20, 1, 1, 1)
    rows = book.applications(10)
    assert [(row.name, row.users) for row in rows] == [(YOUTUBE, [(LAPTOP, 30)])]
    assert not book.client.exists(Keys("gw1").users("Unknown"))
    # History stays what it was.
    closed = book.reader.history(LAPTOP, 300, [book.bucket - 300])
    assert closed[0][1]["Unknown"] == {"bytes_up": 10, "bytes_down": 20}
    assert (book.reader.snapshot().gateway.rates, row.rates) == ((0, 0), (0, 0))


def test_a_part_that_moves_leaves_the_rest_where_it_was(book: Book) -> None:
    book.flush(
        *(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20)),
        *(book.netifyd.flow("b"), book.netifyd.stats("b", 1, 2)),
        *(book.netifyd.flow("c", PHONE), book.netifyd.stats("c", 500, 500)),
    )
    book.flush(book.netifyd.flow("a", application=YOUTUBE))
    rows = book.applications(10)
    assert [(row.name, row.users) for row in rows] == [
        (NETFLIX, [(PHONE, 1000), (LAPTOP, 3)]),
        (YOUTUBE, [(LAPTOP, 30)]),
    ]
    assert book.applications(1)[0].users == [(PHONE, 1000)]


def test_a_flow_that_turns_out_to_be_anothers_leaves_no_empty_device(book: Book) -> None:
    book.flush(book.netifyd.flow("a", TUNNEL), book.netifyd.stats("a", 10, 20))
    book.flush(book.netifyd.flow("a", LAPTOP))
    assert device_counts(book) == {LAPTOP: counts(10, 20, 1, 1, 1)}
    assert book.reader.device(TUNNEL) is None


def test_an_application_is_not_seen_by_what_moves_away_from_it(book: Book) -> None:
    early, late = 1_700_000_000_000, 1_700_000_900_000
    first = book.netifyd.flow("a", first_seen_at=early, last_seen_at=early)
    book.flush(first, book.netifyd.stats("a", 10, 20, last_seen_at=early))
    rest = book.netifyd.flow("b", first_seen_at=early, last_seen_at=early)
    book.flush(rest, book.netifyd.stats("b", 1, 2, last_seen_at=early))
    book.flush(book.netifyd.flow("a", application=YOUTUBE, first_seen_at=early, last_seen_at=late))
    found = book.reader.device(LAPTOP)
    assert found is not None
    seen = {tag: (one.first_seen, one.last_seen) for tag, one in found.device.applications.items()}
    assert seen == {NETFLIX: (early, early), YOUTUBE: (early, late)}


def test_seen_is_from_the_first_to_the_last_of_all_rows_whatever_their_order(book: Book) -> None:
    times = {"a": (2000, 9000, "HTTP/S"), "b": (1000, 5000, "QUIC")}
    for digest, (first, last, protocol) in times.items():
        fields: dict[str, Any] = {
            "first_seen_at": first,
            "last_seen_at": last,
            "detected_protocol_name": protocol,
        }
        book.feed(book.netifyd.flow(digest, **fields), book.netifyd.stats(digest, 1, 1, last_seen_at=last))
    book.flush()
    found = book.reader.device(LAPTOP)
    assert found is not None
    row = found.device
    assert (row.first_seen, row.last_seen) == (1000, 9000)
    assert (row.applications[NETFLIX].first_seen, row.applications[NETFLIX].last_seen) == (1000, 9000)


def test_what_a_flow_record_tells_of_a_quiet_device_is_kept(book: Book) -> None:
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 1, 2), at_ms=1_800_000_000_000)
    refined = book.netifyd.flow("a", dhcp={}, host_server_name="laptop", local_port=68)
    book.flush(refined, at_ms=1_800_000_015_000)
    found = book.reader.device(LAPTOP)
    assert found is not None
    assert (found.device.hint, found.device.arrived) == ("laptop", 1_800_000_015_000)


def test_the_latest_addresses_of_each_family_stay(book: Book) -> None:
    """One IPv4 address, to which the name is bound, and twenty temporary IPv6 addresses after it."""
    addresses = [f"192.168.2.{number}" for number in range(MAX_IPV4 + 2)]
    addresses += [f"2001:db8::{number:x}" for number in range(1, 21)]
    for second, ip in enumerate(addresses):
        book.flush(book.netifyd.flow("a", local_ip=ip, last_seen_at=1_700_000_000_000 + second * 1000))
    book.flush({"type": "endpoints", LAPTOP: ["192.168.2.1", "192.168.2.9"]})  # not when they were seen
    found = book.reader.device(LAPTOP)
    assert found is not None
    latest = [ip for ip in reversed(addresses) if ":" in ip][:MAX_IPV6]
    assert found.device.addresses == latest + [f"192.168.2.{number}" for number in range(MAX_IPV4 + 1, 1, -1)]


def test_addresses_that_netifyd_lists_without_a_time_do_not_displace_the_latest(book: Book) -> None:
    listed: dict[str, Any] = {"type": "agent_status", "uptime": 15, "timestamp": 1_700_000_000}
    book.flush(book.netifyd.flow("a"))
    before = book.reader.device(LAPTOP)
    assert before is not None
    listed["devices"] = {LAPTOP: [*before.device.addresses, "fe80::1"]}
    book.flush(listed, book.netifyd.stats("a", 1, 1))
    after = book.reader.device(LAPTOP)
    assert after is not None
    assert after.device.addresses == [*before.device.addresses, "fe80::1"]


def test_history_is_kept_by_its_resolution_and_ends_by_itself(book: Book) -> None:
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20))
    now = time.time()
    keys = [key for key in everything(book.client) if ":history:" in key]
    assert len(keys) == 2 * 3  # the device's and the gateway's, for each resolution
    for key in keys:
        step, start = (int(part) for part in key.split(":")[3:5])
        assert start % step == 0
        assert start <= now < start + step + 300
        keep = {300: 2 * 86400, 3600: 31 * 86400, 86400: 400 * 86400}[step]
        assert book.client.ttl(key) == pytest.approx(start + step + keep - now, abs=3)
    for step in (300, 3600, 86400):
        start = book.bucket // step * step
        assert book.reader.history(LAPTOP, step, [start - step, start]) == [
            (
                start,
                {
                    "": {"bytes_up": 10, "bytes_down": 20, "packets_up": 1, "packets_down": 1},
                    NETFLIX: {"bytes_up": 10, "bytes_down": 20},
                },
            )
        ]


def test_only_history_expires_and_an_idle_flush_makes_none(book: Book) -> None:
    book.flush(book.netifyd.flow("a"))
    assert not [key for key in everything(book.client) if ":history:" in key]
    book.flush(book.netifyd.stats("a", 1, 2))
    for key in everything(book.client):
        assert (book.client.ttl(key) > 0) == (":history:" in key), key


def test_a_device_is_forgotten_with_all_its_keys_when_it_was_silent_for_long(
    shared_redis: RedisServer,
) -> None:
    connect(shared_redis.url, None).flushall()
    book = Book(shared_redis.url, "gw1", forget_after_s=86400)
    now = int(time.time() * 1000)
    book.flush(
        *(book.netifyd.flow("a", first_seen_at=0, last_seen_at=0), book.netifyd.stats("a", 10, 20)),
        *(book.netifyd.flow("b", PHONE), book.netifyd.stats("b", 1, 2)),
        at_ms=now,
    )
    book.flush(book.netifyd.stats("b", 1, 2), at_ms=now + 43_200_000)
    assert set(device_counts(book)) == {LAPTOP, PHONE}
    book.flush(at_ms=now + 86_400_000)
    assert set(device_counts(book)) == {PHONE}
    assert book.reader.device(LAPTOP) is None
    assert book.applications(5)[0].users == [(PHONE, 6)]
    assert not [key for key in everything(book.client) if LAPTOP in key and ":history:" not in key]
    assert book.reader.snapshot().gateway.counters == counts(12, 24, 3, 3, 2)  # that was, and stays
    assert book.reader.snapshot().forgotten == counts(10, 20, 1, 1, 1)


def test_a_device_that_comes_back_in_the_flush_that_would_forget_it_stays(shared_redis: RedisServer) -> None:
    connect(shared_redis.url, None).flushall()
    book = Book(shared_redis.url, "gw1", forget_after_s=86400)
    now = int(time.time() * 1000)
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20), at_ms=now)
    book.flush(book.netifyd.stats("a", 1, 2), at_ms=now + 90_000_000)
    assert device_counts(book) == {LAPTOP: counts(11, 22, 2, 2, 1)}


# -- what it costs ---------------------------------------------------------------------------------


def test_only_commands_of_redis_6_0_are_used_and_none_that_walks_the_keys(
    redis_server: RedisServer,
) -> None:
    book = Book(redis_server.url, "gw1", forget_after_s=86400)
    before = book.client.info("commandstats")
    book.flush(book.netifyd.flow("a", PHONE), book.netifyd.stats("a", 1, 2), at_ms=1_000)
    risks = {"risks": {"ndpi_risk_score": 10, "risks": [46]}}
    now = int(time.time() * 1000)
    book.flush(book.netifyd.flow("b", **risks), book.netifyd.stats("b", 1, 2), at_ms=now)
    book.writer.apply(
        book.flush(book.netifyd.flow("b", application=YOUTUBE, **risks), book.netifyd.purge("a"))
    )
    book.writer.claim()
    assert SumAudit(book.client, "gw1").step(book.sequence)
    book.writer.release()
    reader = book.reader
    reader.ping()
    assert all((reader.meta(), reader.counters() == {}, book.snapshot(), reader.knows(LAPTOP)))
    assert all(
        (
            reader.device(LAPTOP),
            reader.last_flush(),
            book.applications(10),
            book.usage.application(YOUTUBE),
            book.protocols(10),
            reader.history(LAPTOP, 300, [book.bucket]),
            book.flows.page(FlowFilter(min_risk=1), 10).rows,
            book.risks(LAPTOP),
            MetricsReader(reader).traffic(10, 60_000).devices,
            ChangesReader(reader).changes([LAPTOP], 1, 2, 60_000).devices,
        )
    )
    after = book.client.info("commandstats")
    used = {name for name in after if after[name]["calls"] > before.get(name, {"calls": 0})["calls"]}
    # Redis 7.0 counts each sub-command in a row of its own ("client|id"), older versions do not ("client").
    names = {name.removeprefix("cmdstat_").partition("|")[0] for name in used}
    assert names - {"info", "exists"} == {  # INFO is this test's own
        *("ping", "time", "watch", "unwatch", "multi", "exec"),
        *("hget", "hgetall", "hkeys", "hmget", "hset", "hsetnx", "hincrby", "hdel", "del", "expire"),
        *("zadd", "zcard", "zcount", "zincrby", "zrange", "zrangebyscore", "zrem"),
        *("zremrangebyscore", "zrevrange", "zrevrangebyscore", "zscore", "sadd", "smembers"),
    }


def test_what_a_flush_sends_does_not_depend_on_what_is_stored(redis_server: RedisServer) -> None:
    book = Book(redis_server.url, "gw1")

    def commands(*records: dict[str, Any]) -> int:
        before = book.client.info("stats")["total_commands_processed"]
        book.flush(*records)
        return int(book.client.info("stats")["total_commands_processed"]) - int(before)

    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 1, 2))
    alone = commands(book.netifyd.stats("a", 1, 2))
    for number in range(300):
        digest, mac = f"d{number}", f"02:00:00:00:{number // 256 + 1:02x}:{number % 256:02x}"
        book.feed(book.netifyd.flow(digest, mac), book.netifyd.stats(digest, 1, 2))
    book.flush()
    assert commands(book.netifyd.stats("a", 1, 2)) == alone


# -- connections -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Redis that wants a password, and knows a user ``ann``."""
    from support import short_directory

    port = free_port()
    with short_directory() as directory:
        server = RedisServer(directory, "--port", str(port), "--bind", "127.0.0.1")
        server.start()
        client = connect(server.url, None)
        client.execute_command("ACL", "SETUSER", "ann", "on", ">p@ss:w/rd%", "~*", "+@all")
        client.config_set("requirepass", "s3cret p@ss/%23")
        yield port
        server.kill()


@pytest.mark.parametrize(
    ("credentials", "password"),
    [
        ("", "s3cret p@ss/%23"),
        (":s3cret%20p%40ss%2F%2523@", None),
        ("default:s3cret%20p%40ss%2F%2523@", None),
        ("ann:p%40ss%3Aw%2Frd%25@", None),
        ("ann@", "p@ss:w/rd%"),
        (":wrong@", "s3cret p@ss/%23"),
    ],
)
def test_a_password_is_taken_from_a_file_or_from_the_url(
    guarded: int, credentials: str, password: str | None
) -> None:
    StoreReader(connect(f"redis://{credentials}127.0.0.1:{guarded}/0", password), "gw1").ping()


@pytest.mark.parametrize(
    ("credentials", "password", "told"),
    [
        ("", None, "requires a password .NOAUTH."),
        ("", "hunter2", "refuses the user or the password .WRONGPASS."),
        (":hunter2@", None, "refuses the user or the password .WRONGPASS."),
        ("ann:hunter2@", None, "refuses the user or the password .WRONGPASS."),
    ],
)
def test_a_wrong_password_is_one_clear_line_without_it(
    guarded: int, credentials: str, password: str | None, told: str
) -> None:
    client = connect(f"redis://{credentials}127.0.0.1:{guarded}/0", password)
    for call in (StoreReader(client, "gw1").ping, StoreWriter(client, "gw1", {300: 600}, 86400).claim):
        with pytest.raises(StoreError, match=told) as error:
            call()
        assert "\n" not in str(error.value)
        assert "hunter2" not in str(error.value)


def test_nobody_listening_is_one_clear_line(directory: Path) -> None:
    port = free_port()
    for url, told in (
        (f"redis://:hunter2@127.0.0.1:{port}/0", "(?i)connect.*refused"),
        (f"unix://:hunter2@{directory}/none.sock?db=0", "(?i)connect.*no such file"),
    ):
        client = connect(url, None)
        for call in (
            StoreReader(client, "gw1").snapshot,
            StoreWriter(client, "gw1", {300: 600}, 86400).claim,
        ):
            with pytest.raises(StoreError, match=told) as error:
                call()
            assert "\n" not in str(error.value)
            assert "hunter2" not in str(error.value)


def test_a_redis_that_says_nothing_is_given_up(directory: Path) -> None:
    path = directory / "mute.sock"
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        started = time.monotonic()
        with pytest.raises(StoreError, match=r"(?i)timeout"):
            StoreReader(connect(f"unix://{path}?db=0", None, timeout_s=0.2), "gw1").ping()
        assert time.monotonic() - started < 5


def test_the_database_of_the_url_is_used(shared_redis: RedisServer) -> None:
    connect(shared_redis.url, None).flushall()
    book = Book(shared_redis.url.replace("db=0", "db=3"), "gw1")
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 1, 2))
    assert everything(connect(shared_redis.url, None)) == {}
    assert set(device_counts(book)) == {LAPTOP}


def test_a_redis_that_is_killed_and_comes_back_is_found_again(redis_server: RedisServer) -> None:
    book = Book(redis_server.url, "gw1")
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20))
    redis_server.kill()
    book.feed(book.netifyd.stats("a", 10, 20))
    flush = book.take()
    for _ in range(2):
        with pytest.raises(StoreError):
            book.writer.apply(flush)
        with pytest.raises(StoreError):
            book.reader.snapshot()
    redis_server.start()
    eventually(lambda: book.reader.snapshot().flush.sequence == 1, "the data is back")
    book.writer.apply(flush)
    assert device_counts(book) == {LAPTOP: counts(20, 40, 2, 2, 1)}
