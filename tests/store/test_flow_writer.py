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
from real_store import (
    LAPTOP,
    NETFLIX,
    PHONE,
    SOURCE,
    YOUTUBE,
    RealStore,
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


def limited(store: RealStore, limits: FlowWriterLimits) -> RealStore:
    """The store of ``store``, written within other limits."""
    return RealStore(store.url, "gw1", flow_limits=limits)


def shown(client: Any) -> dict[str, Any]:
    """All that the store holds of flows."""
    return {key: value for key, value in everything(client).items() if ":flows" in key or ":index:" in key}


def test_a_flow_stands_in_the_indexes_of_both_its_devices_and_of_its_application(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a", **local(), **risky(60, 16)), store.netifyd.stats("a", 10, 300))
    assert indexed(store.client, "gw1") == {
        name: {"a"}
        for name in (
            "live",
            f"live:application:{NETFLIX}",
            f"live:device:{LAPTOP}",
            f"live:device:{PHONE}",
            "live:risk:60",
        )
    }
    check_entries(store.client, "gw1")


def test_a_flow_that_moves_or_ends_leaves_nothing_behind(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a", **local(), **risky(60, 16)), store.netifyd.stats("a", 10, 300))
    store.flush(store.netifyd.flow("a", application=YOUTUBE))
    assert set(indexes(store.client, "gw1")) == {
        "live",
        f"live:application:{YOUTUBE}",
        f"live:device:{LAPTOP}",
    }
    check_entries(store.client, "gw1")
    store.flush(store.netifyd.purge("a"))
    assert set(indexes(store.client, "gw1")) == {
        "ended",
        f"ended:application:{YOUTUBE}",
        f"ended:device:{LAPTOP}",
    }
    check_entries(store.client, "gw1")
    store.flush(store.netifyd.flow("a", first_seen_at=1_700_000_900_000), store.netifyd.stats("a", 1, 2))
    assert set(indexes(store.client, "gw1")) == {
        "live",
        f"live:application:{NETFLIX}",
        f"live:device:{LAPTOP}",
    }
    check_entries(store.client, "gw1")


def test_a_flow_is_seen_at_its_last_packet_by_netifyds_clock(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20))
    for wild in (4_000_000_000_000, 1_000, 1_700_000_010_000):
        store.flush(store.netifyd.stats("a", 1, 2, last_seen_at=wild))
        assert indexes(store.client, "gw1")["live"] == {flow_id("a"): wild}
        check_entries(store.client, "gw1")


def test_an_ended_flow_is_kept_for_an_hour_of_our_clock(store: RealStore) -> None:
    now = int(time.time() * 1000)
    wild = 4_000_000_000_000
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 1, 2, last_seen_at=wild), at_ms=now - 1)
    store.flush(store.netifyd.purge("a"), store.netifyd.flow("b", PHONE), at_ms=now)
    store.flush(at_ms=now + ENDED_MS - 1)
    assert (indexed(store.client, "gw1")["live"], indexed(store.client, "gw1")["ended"]) == (
        {"b"},
        {"a"},
    )
    store.flush(at_ms=now + ENDED_MS)
    check_entries(store.client, "gw1")
    assert set(indexes(store.client, "gw1")) == {
        "live",
        f"live:application:{NETFLIX}",
        f"live:device:{PHONE}",
    }
    assert digests(store.client.hkeys(KEYS.details)) == {"b"}
    assert not store.client.exists(KEYS.ended, KEYS.ends)


def test_of_too_many_ended_flows_the_latest_stay(store: RealStore) -> None:
    store = limited(store, FlowWriterLimits(ended=10))
    for turn in range(4):
        for number in range(4):
            digest = f"{turn}-{number}"
            store.feed(
                store.netifyd.flow(digest), store.netifyd.stats(digest, 1, 2), store.netifyd.purge(digest)
            )
        store.flush()
        check_entries(store.client, "gw1")
    latest = [f"{turn}-{n}" for turn in (2, 3) for n in range(4)]
    assert sorted(digests(store.client.hkeys(KEYS.ended)))[-8:] == latest
    assert len(store.client.hkeys(KEYS.ended)) == 10


def test_what_one_flush_prunes_is_bounded_but_keeps_up(store: RealStore) -> None:
    store = limited(store, FlowWriterLimits(pruned_at_once=2))
    now = int(time.time() * 1000)
    for number in range(9):
        store.feed(store.netifyd.flow(f"a{number}"), store.netifyd.purge(f"a{number}"))
    store.flush(at_ms=now)
    left = []
    for turn in range(3):
        store.feed(store.netifyd.flow(f"b{turn}"), store.netifyd.purge(f"b{turn}"))
        store.flush(at_ms=now + ENDED_MS + turn)
        check_entries(store.client, "gw1")
        left.append(sum(digest.startswith("a") for digest in store.client.hkeys(KEYS.ended)))
    assert left == [6, 3, 0]  # two, and one for each that ends


def test_a_digest_that_replaces_another_takes_over_what_the_flow_is(store: RealStore) -> None:
    chained = {"digest_prev": []}
    store.flush(
        store.netifyd.flow("a", host_server_name="x.example", **chained), store.netifyd.stats("a", 1, 2)
    )
    store.flush(store.netifyd.stats("b", 0, 0, digest_prev=["a"], total_bytes=3, total_packets=2))
    check_entries(store.client, "gw1")
    assert {
        digest: decode_details(text).host for digest, text in store.client.hgetall(KEYS.details).items()
    } == {flow_id("b"): "x.example"}
    assert indexed(store.client, "gw1")["live"] == {"b"}


def test_a_flush_given_back_to_an_older_redis_leaves_the_same_entries(store: RealStore) -> None:
    first = store.flush(store.netifyd.flow("a", **risky(60, 16)), store.netifyd.stats("a", 1, 2))
    second = store.flush(
        *(store.netifyd.flow("a", application=YOUTUBE), store.netifyd.flow("b", PHONE)),
        *(store.netifyd.stats("b", 5, 6), store.netifyd.purge("b")),
    )
    third = store.flush(store.netifyd.stats("a", 3, 4), store.netifyd.flow("b", PHONE, first_seen_at=1))
    held = shown(store.client)
    store.client.flushall()
    with pytest.raises(Rewound):
        store.writer.apply(third)
    for flush in (first, second, second, third, third):
        store.writer.apply(flush)
    assert shown(store.client) == held
    check_entries(store.client, "gw1")


def test_entries_of_a_store_that_lost_flushes_for_good_come_right(store: RealStore) -> None:
    """Redis came back as it was before flows moved, and the agent no longer knows what it had told it."""
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 1, 2), store.netifyd.flow("b"))
    store.flush(store.netifyd.flow("a", application=YOUTUBE), store.netifyd.flow("b", PHONE, **risky(10, 46)))
    older = store.client.hget(KEYS.flows, flow_id("a"))
    store.client.hset(KEYS.flows, flow_id("a"), json.dumps(json.loads(older)).replace(YOUTUBE, NETFLIX))
    store.client.zadd(KEYS.index(True, KEYS.of_application(NETFLIX)), {flow_id("a"): 1})
    store.client.zrem(KEYS.index(True, KEYS.of_application(YOUTUBE)), flow_id("a"))
    store.accountant.forget_counts()
    store.flush()
    check_entries(store.client, "gw1")


def test_flows_that_ended_in_flushes_that_were_lost_for_good_are_live_no_more(store: RealStore) -> None:
    """They stayed in Redis until the agent was started again and had waited for them for an hour."""
    store.flush(*(store.netifyd.flow(digest) for digest in "abc"), store.netifyd.stats("a", 1, 2))
    store.feed(store.netifyd.purge("b"))
    store.take()
    store.sequence -= 1  # Redis came back as it was before
    store.accountant.forget_counts()
    store.flush(store.netifyd.purge("c"), store.netifyd.flow("d"))
    check_entries(store.client, "gw1")
    assert indexed(store.client, "gw1")["live"] == {"a", "d"}
    assert indexed(store.client, "gw1")["ended"] == {"c"}
    assert digests(store.client.hkeys(KEYS.details)) == {"a", "c", "d"}


def test_a_forgotten_device_leaves_no_index(shared_redis: RedisServer) -> None:
    connect(shared_redis.url, None).flushall()
    store = RealStore(shared_redis.url, "gw1", forget_after_s=86400)
    now = int(time.time() * 1000)
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 1, 2), at_ms=now)
    store.flush(at_ms=now + 90_000_000)
    assert not [key for key in everything(store.client) if LAPTOP in key and ":history:" not in key]
    store.flush(store.netifyd.purge("a"), at_ms=now + 90_001_000)
    check_entries(store.client, "gw1")


def test_a_store_without_entries_has_them_after_each_flows_next_report(
    store: RealStore, shared_redis: RedisServer
) -> None:
    """As one is that was written before there were any: its states had no risk."""
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 1, 2))
    state = json.loads(store.client.hget(KEYS.flows, flow_id("a")))
    for key in store.client.scan_iter("*:index:*"):
        store.client.delete(key)
    store.client.hset(KEYS.flows, flow_id("a"), json.dumps(state[:-2]))
    store.client.delete(KEYS.details)
    again = RealStore(shared_redis.url, "gw1")
    assert again.restored.flows[flow_id("a")].risk == 0
    again.flush(store.netifyd.stats("a", 1, 2))
    check_entries(store.client, "gw1")


def test_states_that_somebody_spoiled_stop_the_agent_with_a_reason(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 1, 2))
    store.feed(store.netifyd.flow("a", application=YOUTUBE))
    flush = store.take()
    for spoiled in ("[]", "no json", '{"a": 1}', "[1,2,3]"):
        store.client.hset(KEYS.flows, flow_id("a"), spoiled)
        with pytest.raises(StoreRefused, match="another program writes to this gateway's keys"):
            store.writer.apply(flush)


def test_so_many_flows_that_one_command_does_not_do(store: RealStore) -> None:
    store = limited(store, FlowWriterLimits(fields_at_once=7))
    for number in range(30):
        store.feed(store.netifyd.flow(f"a{number}"), store.netifyd.stats(f"a{number}", 1, 2))
    store.flush()
    check_entries(store.client, "gw1")
    assert len(indexes(store.client, "gw1")[f"live:device:{LAPTOP}"]) == 30
    store.flush(*(store.netifyd.flow(f"a{number}", PHONE, YOUTUBE) for number in range(30)))
    check_entries(store.client, "gw1")
    store.flush(*(store.netifyd.purge(f"a{number}") for number in range(30)))
    check_entries(store.client, "gw1")
    assert len(indexes(store.client, "gw1")[f"ended:device:{PHONE}"]) == 30


def test_a_flush_sends_one_command_for_an_index_however_many_flows_are_in_it(store: RealStore) -> None:
    def commands(digests: int) -> int:
        for number in range(digests):
            store.feed(store.netifyd.stats(f"a{number}", 1, 2))
        before = store.client.info("stats")["total_commands_processed"]
        store.flush()
        return int(store.client.info("stats")["total_commands_processed"]) - int(before)

    store.flush(*(store.netifyd.flow(f"a{number}") for number in range(300)))
    commands(300)
    assert commands(1) == commands(300)


class Shelf:
    """Stands for the reference store of the accounting's properties, with a real Redis."""

    def __init__(self, url: str, max_flows: int) -> None:
        connect(url, None).flushall()
        self._store = RealStore(url, "gw1")
        self._store.accountant.max_flows = max_flows
        self.client = self._store.client
        self.bucket = self._store.bucket

    def feed(self, *records: Any) -> None:
        self._store.feed(*records)

    def connect(self, *records: Any) -> None:
        self._store.accountant.connected(SOURCE)
        self._store.feed(*records)

    def flush(self, bucket: int) -> None:
        self._store.bucket = self.bucket = bucket
        self._store.flush()
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
