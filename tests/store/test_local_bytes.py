"""Bytes between two devices in Redis: they are a part of all bytes, and add up as these do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from real_store import LAPTOP, NETFLIX, PHONE, YOUTUBE, RealStore

from netify_agent.store.client import connect
from netify_agent.store.layout import Keys

KEYS = Keys("gw1")
NOW = 1_800_000_000_000
DAY_MS = 86_400_000
PEER = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}

MakeStore = Callable[..., RealStore]


@pytest.fixture
def make(shared_redis: Any) -> MakeStore:
    connect(shared_redis.url, None).flushall()
    return lambda **options: RealStore(shared_redis.url, "gw1", **options)


def local(store: RealStore, key: str, suffix: str = "") -> tuple[int, int]:
    """Local bytes up and down in a hash."""
    up, down = store.client.hmget(key, [f"lu{suffix}", f"ld{suffix}"])
    return int(up or 0), int(down or 0)


def test_every_row_has_its_local_bytes(make: MakeStore) -> None:
    store = make()
    store.feed(store.netifyd.flow("a", **PEER), store.netifyd.stats("a", 10, 300))
    store.flush(store.netifyd.flow("b"), store.netifyd.stats("b", 1, 2))

    for owner, amount in ((LAPTOP, (10, 300)), (PHONE, (300, 10)), ("", (10, 300))):
        assert local(store, KEYS.totals(owner)) == amount
        assert local(store, KEYS.applications(owner), f":{NETFLIX}") == amount
        assert local(store, KEYS.protocols(owner), ":HTTP/S") == amount
    assert local(store, KEYS.mirrored) == (300, 10)


def test_a_reclassified_flow_takes_its_local_bytes_along(make: MakeStore) -> None:
    store = make()
    store.flush(store.netifyd.flow("a", **PEER), store.netifyd.stats("a", 10, 300))
    store.bucket += 300
    store.flush(store.netifyd.flow("a", application=YOUTUBE, **PEER))

    assert local(store, KEYS.applications(LAPTOP), f":{NETFLIX}") == (0, 0)
    assert local(store, KEYS.applications(LAPTOP), f":{YOUTUBE}") == (10, 300)


def test_a_network_without_local_flows_has_no_local_counters(make: MakeStore) -> None:
    store = make()
    store.flush(store.netifyd.flow("b"), store.netifyd.stats("b", 1, 2))

    assert not store.client.hgetall(KEYS.totals(LAPTOP)).keys() & {"lu", "ld"}


def test_local_bytes_of_a_dropped_device_go_to_forgotten(make: MakeStore) -> None:
    store = make(forget_after_s=86400)
    store.flush(store.netifyd.flow("a", **PEER), store.netifyd.stats("a", 10, 300), at_ms=NOW)
    store.flush(store.netifyd.purge("a"), at_ms=NOW + 1000)
    store.flush(at_ms=NOW + 2 * DAY_MS, elapsed_ms=1000)  # the agent did not run
    store.flush(at_ms=NOW + 4 * DAY_MS)

    assert store.reader.snapshot().devices == []
    assert local(store, KEYS.forgotten) == (310, 310)
    assert local(store, KEYS.totals("")) == (10, 300), "less what counts twice"
    assert local(store, KEYS.mirrored) == (300, 10)
