"""Bytes between two devices in Redis: they are a part of all bytes, and add up as these do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from store_book import LAPTOP, NETFLIX, PHONE, YOUTUBE, Book

from netify_agent.store.client import connect
from netify_agent.store.layout import Keys

KEYS = Keys("gw1")
NOW = 1_800_000_000_000
DAY_MS = 86_400_000
PEER = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}

MakeBook = Callable[..., Book]


@pytest.fixture
def make(shared_redis: Any) -> MakeBook:
    connect(shared_redis.url, None).flushall()
    return lambda **options: Book(shared_redis.url, "gw1", **options)


def local(book: Book, key: str, suffix: str = "") -> tuple[int, int]:
    """Local bytes up and down in a hash."""
    up, down = book.client.hmget(key, [f"lu{suffix}", f"ld{suffix}"])
    return int(up or 0), int(down or 0)


def test_every_row_has_its_local_bytes(make: MakeBook) -> None:
    book = make()
    book.feed(book.netifyd.flow("a", **PEER), book.netifyd.stats("a", 10, 300))
    book.flush(book.netifyd.flow("b"), book.netifyd.stats("b", 1, 2))

    for owner, amount in ((LAPTOP, (10, 300)), (PHONE, (300, 10)), ("", (10, 300))):
        assert local(book, KEYS.totals(owner)) == amount
        assert local(book, KEYS.applications(owner), f":{NETFLIX}") == amount
        assert local(book, KEYS.protocols(owner), ":HTTP/S") == amount
    assert local(book, KEYS.mirrored) == (300, 10)


def test_a_reclassified_flow_takes_its_local_bytes_along(make: MakeBook) -> None:
    book = make()
    book.flush(book.netifyd.flow("a", **PEER), book.netifyd.stats("a", 10, 300))
    book.bucket += 300
    book.flush(book.netifyd.flow("a", application=YOUTUBE, **PEER))

    assert local(book, KEYS.applications(LAPTOP), f":{NETFLIX}") == (0, 0)
    assert local(book, KEYS.applications(LAPTOP), f":{YOUTUBE}") == (10, 300)


def test_a_network_without_local_flows_has_no_local_counters(make: MakeBook) -> None:
    book = make()
    book.flush(book.netifyd.flow("b"), book.netifyd.stats("b", 1, 2))

    assert not book.client.hgetall(KEYS.totals(LAPTOP)).keys() & {"lu", "ld"}


def test_local_bytes_of_a_dropped_device_go_to_forgotten(make: MakeBook) -> None:
    book = make(forget_after_s=86400)
    book.flush(book.netifyd.flow("a", **PEER), book.netifyd.stats("a", 10, 300), at_ms=NOW)
    book.flush(book.netifyd.purge("a"), at_ms=NOW + 1000)
    book.flush(at_ms=NOW + 2 * DAY_MS, elapsed_ms=1000)  # the agent did not run
    book.flush(at_ms=NOW + 4 * DAY_MS)

    assert book.reader.snapshot().devices == []
    assert local(book, KEYS.forgotten) == (310, 310)
    assert local(book, KEYS.totals("")) == (10, 300), "less what counts twice"
    assert local(book, KEYS.mirrored) == (300, 10)
