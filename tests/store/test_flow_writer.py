"""Entries of flows in a real Redis: each stands where its state says, once, and for an hour after its end."""

from __future__ import annotations

import json
import time
from random import Random
from typing import Any

import pytest
from gateway_model import Network, host
from hypothesis import given, settings
from hypothesis import strategies as st
from store_book import (
    LAPTOP,
    NETFLIX,
    PHONE,
    SOURCE,
    YOUTUBE,
    Book,
    check_entries,
    digests,
    everything,
    flow_id,
    indexed,
    indexes,
    risky,
)
from support import RedisServer

from netify_agent.store.client import StoreRefused, connect
from netify_agent.store.encoding import decode_details
from netify_agent.store.flow_writer import FlowWriterLimits
from netify_agent.store.flush import Rewound
from netify_agent.store.layout import Keys

ENDED_MS = FlowWriterLimits().ended_ms
KEYS = Keys("gw1")


def local(host_name: str = "nas") -> dict[str, Any]:
    return {
        "other_type": "local",
        "other_mac": PHONE,
        "other_ip": "192.168.1.11",
        "host_server_name": host_name,
    }


def limited(book: Book, limits: FlowWriterLimits) -> Book:
    """The store of ``book``, written within other limits."""
    return Book(book.url, "gw1", flow_limits=limits)


def shown(client: Any) -> dict[str, Any]:
    """All that the store holds of flows."""
    return {key: value for key, value in everything(client).items() if ":flows" in key or ":index:" in key}


def test_a_flow_stands_in_the_indexes_of_both_its_devices_and_of_its_application(book: Book) -> None:
    book.flush(book.netifyd.flow("a", **local(), **risky(60, 16)), book.netifyd.stats("a", 10, 300))
    assert indexed(book.client, "gw1") == {
        name: {"a"}
        for name in (
            "live",
            f"live:application:{NETFLIX}",
            f"live:device:{LAPTOP}",
            f"live:device:{PHONE}",
            "live:risk:60",
        )
    }
    check_entries(book.client, "gw1")


def test_a_flow_that_moves_or_ends_leaves_nothing_behind(book: Book) -> None:
    book.flush(book.netifyd.flow("a", **local(), **risky(60, 16)), book.netifyd.stats("a", 10, 300))
    book.flush(book.netifyd.flow("a", application=YOUTUBE))
    assert set(indexes(book.client, "gw1")) == {
        "live",
        f"live:application:{YOUTUBE}",
        f"live:device:{LAPTOP}",
    }
    check_entries(book.client, "gw1")
    book.flush(book.netifyd.purge("a"))
    assert set(indexes(book.client, "gw1")) == {
        "ended",
        f"ended:application:{YOUTUBE}",
        f"ended:device:{LAPTOP}",
    }
    check_entries(book.client, "gw1")
    book.flush(book.netifyd.flow("a", first_seen_at=1_700_000_900_000), book.netifyd.stats("a", 1, 2))
    assert set(indexes(book.client, "gw1")) == {
        "live",
        f"live:application:{NETFLIX}",
        f"live:device:{LAPTOP}",
    }
    check_entries(book.client, "gw1")


def test_a_flow_is_seen_at_its_last_packet_by_netifyds_clock(book: Book) -> None:
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20))
    for wild in (4_000_000_000_000, 1_000, 1_700_000_010_000):
        book.flush(book.netifyd.stats("a", 1, 2, last_seen_at=wild))
        assert indexes(book.client, "gw1")["live"] == {flow_id("a"): wild}
        check_entries(book.client, "gw1")


def test_an_ended_flow_is_kept_for_an_hour_of_our_clock(book: Book) -> None:
    now = int(time.time() * 1000)
    wild = 4_000_000_000_000
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 1, 2, last_seen_at=wild), at_ms=now - 1)
    book.flush(book.netifyd.purge("a"), book.netifyd.flow("b", PHONE), at_ms=now)
    book.flush(at_ms=now + ENDED_MS - 1)
    assert (indexed(book.client, "gw1")["live"], indexed(book.client, "gw1")["ended"]) == (
        {"b"},
        {"a"},
    )
    book.flush(at_ms=now + ENDED_MS)
    check_entries(book.client, "gw1")
    assert set(indexes(book.client, "gw1")) == {"live", f"live:application:{NETFLIX}", f"live:device:{PHONE}"}
    assert digests(book.client.hkeys(KEYS.details)) == {"b"}
    assert not book.client.exists(KEYS.ended, KEYS.ends)


def test_of_too_many_ended_flows_the_latest_stay(book: Book) -> None:
    book = limited(book, FlowWriterLimits(ended=10))
    for turn in range(4):
        for number in range(4):
            digest = f"{turn}-{number}"
            book.feed(book.netifyd.flow(digest), book.netifyd.stats(digest, 1, 2), book.netifyd.purge(digest))
        book.flush()
        check_entries(book.client, "gw1")
    latest = [f"{turn}-{n}" for turn in (2, 3) for n in range(4)]
    assert sorted(digests(book.client.hkeys(KEYS.ended)))[-8:] == latest
    assert len(book.client.hkeys(KEYS.ended)) == 10


def test_what_one_flush_prunes_is_bounded_but_keeps_up(book: Book) -> None:
    book = limited(book, FlowWriterLimits(pruned_at_once=2))
    now = int(time.time() * 1000)
    for number in range(9):
        book.feed(book.netifyd.flow(f"a{number}"), book.netifyd.purge(f"a{number}"))
    book.flush(at_ms=now)
    left = []
    for turn in range(3):
        book.feed(book.netifyd.flow(f"b{turn}"), book.netifyd.purge(f"b{turn}"))
        book.flush(at_ms=now + ENDED_MS + turn)
        check_entries(book.client, "gw1")
        left.append(sum(digest.startswith("a") for digest in book.client.hkeys(KEYS.ended)))
    assert left == [6, 3, 0]  # two, and one for each that ends


def test_a_digest_that_replaces_another_takes_over_what_the_flow_is(book: Book) -> None:
    chained = {"digest_prev": []}
    book.flush(book.netifyd.flow("a", host_server_name="x.example", **chained), book.netifyd.stats("a", 1, 2))
    book.flush(book.netifyd.stats("b", 0, 0, digest_prev=["a"], total_bytes=3, total_packets=2))
    check_entries(book.client, "gw1")
    assert {
        digest: decode_details(text).host for digest, text in book.client.hgetall(KEYS.details).items()
    } == {flow_id("b"): "x.example"}
    assert indexed(book.client, "gw1")["live"] == {"b"}


def test_a_flush_given_back_to_an_older_redis_leaves_the_same_entries(book: Book) -> None:
    first = book.flush(book.netifyd.flow("a", **risky(60, 16)), book.netifyd.stats("a", 1, 2))
    second = book.flush(
        *(book.netifyd.flow("a", application=YOUTUBE), book.netifyd.flow("b", PHONE)),
        *(book.netifyd.stats("b", 5, 6), book.netifyd.purge("b")),
    )
    third = book.flush(book.netifyd.stats("a", 3, 4), book.netifyd.flow("b", PHONE, first_seen_at=1))
    held = shown(book.client)
    book.client.flushall()
    with pytest.raises(Rewound):
        book.writer.apply(third)
    for flush in (first, second, second, third, third):
        book.writer.apply(flush)
    assert shown(book.client) == held
    check_entries(book.client, "gw1")


def test_entries_of_a_store_that_lost_flushes_for_good_come_right(book: Book) -> None:
    """Redis came back as it was before flows moved, and the agent no longer knows what it had told it."""
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 1, 2), book.netifyd.flow("b"))
    book.flush(book.netifyd.flow("a", application=YOUTUBE), book.netifyd.flow("b", PHONE, **risky(10, 46)))
    older = book.client.hget(KEYS.flows, flow_id("a"))
    book.client.hset(KEYS.flows, flow_id("a"), json.dumps(json.loads(older)).replace(YOUTUBE, NETFLIX))
    book.client.zadd(KEYS.index(True, KEYS.of_application(NETFLIX)), {flow_id("a"): 1})
    book.client.zrem(KEYS.index(True, KEYS.of_application(YOUTUBE)), flow_id("a"))
    book.accountant.forget_counts()
    book.flush()
    check_entries(book.client, "gw1")


def test_flows_that_ended_in_flushes_that_were_lost_for_good_are_live_no_more(book: Book) -> None:
    """They stayed in Redis until the agent was started again and had waited for them for an hour."""
    book.flush(*(book.netifyd.flow(digest) for digest in "abc"), book.netifyd.stats("a", 1, 2))
    book.feed(book.netifyd.purge("b"))
    book.take()
    book.sequence -= 1  # Redis came back as it was before
    book.accountant.forget_counts()
    book.flush(book.netifyd.purge("c"), book.netifyd.flow("d"))
    check_entries(book.client, "gw1")
    assert indexed(book.client, "gw1")["live"] == {"a", "d"}
    assert indexed(book.client, "gw1")["ended"] == {"c"}
    assert digests(book.client.hkeys(KEYS.details)) == {"a", "c", "d"}


def test_a_forgotten_device_leaves_no_index(shared_redis: RedisServer) -> None:
    connect(shared_redis.url, None).flushall()
    book = Book(shared_redis.url, "gw1", forget_after_s=86400)
    now = int(time.time() * 1000)
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 1, 2), at_ms=now)
    book.flush(at_ms=now + 90_000_000)
    assert not [key for key in everything(book.client) if LAPTOP in key and ":history:" not in key]
    book.flush(book.netifyd.purge("a"), at_ms=now + 90_001_000)
    check_entries(book.client, "gw1")


def test_a_store_without_entries_has_them_after_each_flows_next_report(
    book: Book, shared_redis: RedisServer
) -> None:
    """As one is that was written before there were any: its states had no risk."""
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 1, 2))
    state = json.loads(book.client.hget(KEYS.flows, flow_id("a")))
    for key in book.client.scan_iter("*:index:*"):
        book.client.delete(key)
    book.client.hset(KEYS.flows, flow_id("a"), json.dumps(state[:-2]))
    book.client.delete(KEYS.details)
    again = Book(shared_redis.url, "gw1")
    assert again.restored.flows[flow_id("a")].risk == 0
    again.flush(book.netifyd.stats("a", 1, 2))
    check_entries(book.client, "gw1")


def test_states_that_somebody_spoiled_stop_the_agent_with_a_reason(book: Book) -> None:
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 1, 2))
    book.feed(book.netifyd.flow("a", application=YOUTUBE))
    flush = book.take()
    for spoiled in ("[]", "no json", '{"a": 1}', "[1,2,3]"):
        book.client.hset(KEYS.flows, flow_id("a"), spoiled)
        with pytest.raises(StoreRefused, match="somebody else writes to this gateway's keys"):
            book.writer.apply(flush)


def test_so_many_flows_that_one_command_does_not_do(book: Book) -> None:
    book = limited(book, FlowWriterLimits(fields_at_once=7))
    for number in range(30):
        book.feed(book.netifyd.flow(f"a{number}"), book.netifyd.stats(f"a{number}", 1, 2))
    book.flush()
    check_entries(book.client, "gw1")
    assert len(indexes(book.client, "gw1")[f"live:device:{LAPTOP}"]) == 30
    book.flush(*(book.netifyd.flow(f"a{number}", PHONE, YOUTUBE) for number in range(30)))
    check_entries(book.client, "gw1")
    book.flush(*(book.netifyd.purge(f"a{number}") for number in range(30)))
    check_entries(book.client, "gw1")
    assert len(indexes(book.client, "gw1")[f"ended:device:{PHONE}"]) == 30


def test_a_flush_sends_one_command_for_an_index_however_many_flows_are_in_it(book: Book) -> None:
    def commands(digests: int) -> int:
        for number in range(digests):
            book.feed(book.netifyd.stats(f"a{number}", 1, 2))
        before = book.client.info("stats")["total_commands_processed"]
        book.flush()
        return int(book.client.info("stats")["total_commands_processed"]) - int(before)

    book.flush(*(book.netifyd.flow(f"a{number}") for number in range(300)))
    commands(300)
    assert commands(1) == commands(300)


class Shelf:
    """Stands for the reference store of the accounting's properties, with a real Redis."""

    def __init__(self, url: str, max_flows: int) -> None:
        connect(url, None).flushall()
        self._book = Book(url, "gw1")
        self._book.accountant.max_flows = max_flows
        self.client = self._book.client
        self.bucket = self._book.bucket

    def feed(self, *records: Any) -> None:
        self._book.feed(*records)

    def connect(self, *records: Any) -> None:
        self._book.accountant.connected(SOURCE)
        self._book.feed(*records)

    def flush(self, bucket: int) -> None:
        self._book.bucket = self.bucket = bucket
        self._book.flush()
        check_entries(self.client, "gw1")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), st.booleans(), st.integers(1, 80), st.sampled_from([1, 3, 1000]))
def test_whatever_happens_entries_stand_where_their_states_say(
    shared_redis: RedisServer, seed: int, chains: bool, steps: int, max_flows: int
) -> None:
    shelf = Shelf(shared_redis.url, max_flows)
    network = Network(Random(seed), shelf, chains=chains)  # type: ignore[arg-type]
    for _ in range(steps):
        network.step()
    network.finish()

    details = {digest: decode_details(text) for digest, text in shelf.client.hgetall(KEYS.details).items()}
    known = shelf.client.hkeys(KEYS.flows) + shelf.client.hkeys(KEYS.ended)
    for life in network.latest.values():
        name = flow_id(life.digests[-1])
        assert name in known
        if life.told:
            assert details[name].host == host(life)
