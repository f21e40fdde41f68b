"""What a flush drops, and that no single reading of a clock decides it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest
from store_book import LAPTOP, PHONE, Book, check_entries, counts, digests
from support import RedisServer

from netify_agent.netifyd.flow_record import OTHER_DEVICE
from netify_agent.store.client import connect
from netify_agent.store.flow_writer import FlowWriterLimits
from netify_agent.store.layout import Keys
from netify_agent.store.retention import RetentionLimits

DAY_MS = 86_400_000
YEARS_MS = 500 * DAY_MS
KEYS = Keys("gw1")
NOW = int(time.time() * 1000)

MakeBook = Callable[..., Book]


@pytest.fixture
def make(shared_redis: RedisServer) -> MakeBook:
    """A book on an empty store; made again, it is the next run of the agent."""
    connect(shared_redis.url, None).flushall()
    return lambda **options: Book(shared_redis.url, "gw1", **options)


def names(book: Book) -> set[str]:
    return set(book.client.zrange(KEYS.devices, 0, -1))


def fill(book: Book, *sizes: int, at_ms: int = NOW) -> list[str]:
    """Devices that moved so many bytes each, in this order."""
    devices = [f"02:00:00:00:01:{number:02x}" for number in range(len(sizes))]
    for second, (device, size) in enumerate(zip(devices, sizes, strict=True)):
        book.feed(book.netifyd.flow(device, device), book.netifyd.stats(device, 0, size))
        book.flush(at_ms=at_ms + second)
    return devices


def agrees(book: Book) -> None:
    snapshot = book.reader.snapshot()
    for counter, total in snapshot.gateway.counters.items():
        rows = [*(row.counters for row in snapshot.devices), snapshot.unattributed, snapshot.forgotten]
        assert sum(row[counter] for row in rows) - snapshot.mirrored[counter] == total


# -- clocks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("minutes", [1, 20 * 60])
def test_a_clock_far_ahead_drops_no_device(make: MakeBook, minutes: int, restarted: bool) -> None:
    """A dead battery, a wrong NTP server: 500 days ahead, also from the start of the agent on."""
    book = make()
    devices = fill(book, 10, 20, 30)
    if restarted:
        book = make()
    for minute in range(0, minutes, max(minutes // 10, 1)):
        book.flush(at_ms=NOW + YEARS_MS + minute * 60_000, elapsed_ms=1 if minute == 0 else None)
    book.flush(at_ms=NOW + minutes * 60_000, elapsed_ms=60_000)
    book.flush(at_ms=NOW + 2 * DAY_MS)
    assert names(book) == set(devices)
    agrees(book)


def test_a_device_that_was_silent_for_long_is_dropped_by_a_steady_clock_and_named_in_the_log(
    make: MakeBook, caplog: pytest.LogCaptureFixture
) -> None:
    book = make(forget_after_s=86400)
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20), at_ms=NOW)
    book.flush(at_ms=NOW + 2 * DAY_MS, elapsed_ms=1000)  # the agent did not run
    assert names(book) == {LAPTOP}
    with caplog.at_level(logging.INFO):
        for hours in (12, 24):
            book.flush(at_ms=NOW + 2 * DAY_MS + hours * 3_600_000)
    assert names(book) == set()
    assert f"dropped 1 silent devices: {LAPTOP}" in caplog.text
    assert book.reader.snapshot().forgotten == counts(10, 20, 1, 1, 1)


def test_a_restart_without_a_pause_leaves_the_clock_steady(make: MakeBook) -> None:
    """An agent that is restarted each night must drop silent devices all the same."""
    book = make(forget_after_s=86400)
    book.flush(book.netifyd.flow("a"), at_ms=NOW)
    for hour in range(1, 26):
        book = make(forget_after_s=86400)
        book.at_ms = NOW + (hour - 1) * 3_600_000 + 60_000
        book.flush(at_ms=NOW + hour * 3_600_000)
    assert names(book) == set()


def test_a_device_seen_in_the_future_does_not_stay_active(make: MakeBook) -> None:
    book = make()
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 1, 2), at_ms=NOW + YEARS_MS)
    book.flush(at_ms=NOW, elapsed_ms=1000)
    assert book.client.zscore(KEYS.devices, LAPTOP) == NOW
    book.flush(at_ms=NOW + 60_001)
    assert book.client.zscore(KEYS.devices, LAPTOP) == NOW


def test_ended_flows_are_neither_lost_to_a_clock_ahead_nor_kept_by_one_that_went_back(make: MakeBook) -> None:
    book = make()
    book.flush(book.netifyd.flow("a"), book.netifyd.purge("a"), at_ms=NOW)
    book.flush(*(book.netifyd.flow("b"), book.netifyd.purge("b")), at_ms=NOW + YEARS_MS, elapsed_ms=1000)
    assert digests(book.client.hkeys(KEYS.ended)) == {"a", "b"}
    book.flush(at_ms=NOW + 60_000, elapsed_ms=60_000)
    book.flush(at_ms=NOW + 60_000 + FlowWriterLimits().ended_ms)
    assert book.client.hkeys(KEYS.ended) == []
    check_entries(book.client, "gw1")


# -- room --------------------------------------------------------------------------------------------------


def test_devices_with_the_fewest_bytes_among_those_inactive_for_a_day_make_room(
    make: MakeBook,
) -> None:
    book = make(max_devices=6, retention_limits=RetentionLimits(drops=2, candidates=4))
    devices = fill(book, 500, 10, 20, 400, 1, 2)
    said = book.netifyd
    book.flush(said.flow("x", PHONE), said.stats("x", 3, 4), at_ms=NOW + 10)
    assert names(book) == {*devices, OTHER_DEVICE}
    book.flush(at_ms=NOW + DAY_MS - 1)
    assert names(book) == {*devices, OTHER_DEVICE}
    book.flush(at_ms=NOW + DAY_MS + 20)
    assert names(book) == {*devices, OTHER_DEVICE} - {devices[1], devices[2]}
    agrees(book)
    book.flush(said.flow("y", PHONE), said.stats("y", 5, 6), at_ms=NOW + DAY_MS + 30)
    assert PHONE in names(book)
    assert book.reader.device(OTHER_DEVICE) is not None
    agrees(book)


def test_a_flood_of_devices_is_dropped_after_a_day(make: MakeBook) -> None:
    book = make(max_devices=60)
    said = book.netifyd
    for number in range(300):
        device = f"06:00:00:00:{number >> 8:02x}:{number & 255:02x}"
        book.feed(said.flow(device, device), said.stats(device, 1, 2), said.purge(device))
    book.flush(said.flow("a"), said.stats("a", 100, 200), at_ms=NOW)
    assert len(names(book)) == 61
    for hour in range(26):
        book.flush(said.stats("a", 1, 1), at_ms=NOW + hour * 3_600_000)
    book.flush(said.flow("b"), said.stats("b", 7, 8), at_ms=NOW + 26 * 3_600_000)
    assert book.reader.device(LAPTOP) is not None
    assert OTHER_DEVICE in names(book)
    agrees(book)


def test_a_store_with_more_devices_than_the_bound_is_reduced_to_it(make: MakeBook) -> None:
    devices = fill(make(), *range(1, 9))
    book = make(max_devices=4)
    assert book.accountant.devices.full
    book.at_ms = NOW + 60_000
    book.flush(at_ms=NOW + 60_000)
    book.flush(at_ms=NOW + DAY_MS + 70_000)
    assert not names(book) & set(devices)
    agrees(book)
