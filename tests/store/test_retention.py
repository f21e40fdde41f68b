"""What a flush drops, and that no single reading of a clock decides it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest
from real_store import LAPTOP, PHONE, RealStore, check_entries, counts, digests
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

MakeStore = Callable[..., RealStore]


@pytest.fixture
def make(shared_redis: RedisServer) -> MakeStore:
    """A store on an empty store; made again, it is the next run of the agent."""
    connect(shared_redis.url, None).flushall()
    return lambda **options: RealStore(shared_redis.url, "gw1", **options)


def names(store: RealStore) -> set[str]:
    return set(store.client.zrange(KEYS.devices, 0, -1))


def fill(store: RealStore, *sizes: int, at_ms: int = NOW) -> list[str]:
    """Devices that moved so many bytes each, in this order."""
    devices = [f"02:00:00:00:01:{number:02x}" for number in range(len(sizes))]
    for second, (device, size) in enumerate(zip(devices, sizes, strict=True)):
        store.feed(store.netifyd.flow(device, device), store.netifyd.stats(device, 0, size))
        store.flush(at_ms=at_ms + second)
    return devices


def agrees(store: RealStore) -> None:
    snapshot = store.reader.snapshot()
    for counter, total in snapshot.gateway.counters.items():
        rows = [*(row.counters for row in snapshot.devices), snapshot.unattributed, snapshot.forgotten]
        assert sum(row[counter] for row in rows) - snapshot.mirrored[counter] == total


# -- clocks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("minutes", [1, 20 * 60])
def test_a_clock_far_ahead_drops_no_device(make: MakeStore, minutes: int, restarted: bool) -> None:
    """A dead battery, a wrong NTP server: 500 days ahead, also from the start of the agent on."""
    store = make()
    devices = fill(store, 10, 20, 30)
    if restarted:
        store = make()
    for minute in range(0, minutes, max(minutes // 10, 1)):
        store.flush(at_ms=NOW + YEARS_MS + minute * 60_000, elapsed_ms=1 if minute == 0 else None)
    store.flush(at_ms=NOW + minutes * 60_000, elapsed_ms=60_000)
    store.flush(at_ms=NOW + 2 * DAY_MS)
    assert names(store) == set(devices)
    agrees(store)


def test_a_device_that_was_silent_for_long_is_dropped_by_a_steady_clock_and_named_in_the_log(
    make: MakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    store = make(forget_after_s=86400)
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20), at_ms=NOW)
    store.flush(at_ms=NOW + 2 * DAY_MS, elapsed_ms=1000)  # the agent did not run
    assert names(store) == {LAPTOP}
    with caplog.at_level(logging.INFO):
        for hours in (12, 24):
            store.flush(at_ms=NOW + 2 * DAY_MS + hours * 3_600_000)
    assert names(store) == set()
    assert f"dropped 1 silent devices: {LAPTOP}" in caplog.text
    assert store.reader.snapshot().forgotten == counts(10, 20, 1, 1, 1)


def test_a_restart_without_a_pause_leaves_the_clock_steady(make: MakeStore) -> None:
    """An agent that is restarted each night must drop silent devices all the same."""
    store = make(forget_after_s=86400)
    store.flush(store.netifyd.flow("a"), at_ms=NOW)
    for hour in range(1, 26):
        store = make(forget_after_s=86400)
        store.at_ms = NOW + (hour - 1) * 3_600_000 + 60_000
        store.flush(at_ms=NOW + hour * 3_600_000)
    assert names(store) == set()


def test_a_device_seen_in_the_future_does_not_stay_active(make: MakeStore) -> None:
    store = make()
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 1, 2), at_ms=NOW + YEARS_MS)
    store.flush(at_ms=NOW, elapsed_ms=1000)
    assert store.client.zscore(KEYS.devices, LAPTOP) == NOW
    store.flush(at_ms=NOW + 60_001)
    assert store.client.zscore(KEYS.devices, LAPTOP) == NOW


def test_ended_flows_are_neither_lost_to_a_clock_ahead_nor_kept_by_one_that_went_back(
    make: MakeStore,
) -> None:
    store = make()
    store.flush(store.netifyd.flow("a"), store.netifyd.purge("a"), at_ms=NOW)
    store.flush(*(store.netifyd.flow("b"), store.netifyd.purge("b")), at_ms=NOW + YEARS_MS, elapsed_ms=1000)
    assert digests(store.client.hkeys(KEYS.ended)) == {"a", "b"}
    store.flush(at_ms=NOW + 60_000, elapsed_ms=60_000)
    store.flush(at_ms=NOW + 60_000 + FlowWriterLimits().ended_ms)
    assert store.client.hkeys(KEYS.ended) == []
    check_entries(store.client, "gw1")


# -- room --------------------------------------------------------------------------------------------------


def test_devices_with_the_fewest_bytes_among_those_inactive_for_a_day_make_room(
    make: MakeStore,
) -> None:
    store = make(max_devices=6, retention_limits=RetentionLimits(drops=2, candidates=4))
    devices = fill(store, 500, 10, 20, 400, 1, 2)
    said = store.netifyd
    store.flush(said.flow("x", PHONE), said.stats("x", 3, 4), at_ms=NOW + 10)
    assert names(store) == {*devices, OTHER_DEVICE}
    store.flush(at_ms=NOW + DAY_MS - 1)
    assert names(store) == {*devices, OTHER_DEVICE}
    store.flush(at_ms=NOW + DAY_MS + 20)
    assert names(store) == {*devices, OTHER_DEVICE} - {devices[1], devices[2]}
    agrees(store)
    store.flush(said.flow("y", PHONE), said.stats("y", 5, 6), at_ms=NOW + DAY_MS + 30)
    assert PHONE in names(store)
    assert store.reader.device(OTHER_DEVICE) is not None
    agrees(store)


def test_a_flood_of_devices_is_dropped_after_a_day(make: MakeStore) -> None:
    store = make(max_devices=60)
    said = store.netifyd
    for number in range(300):
        device = f"06:00:00:00:{number >> 8:02x}:{number & 255:02x}"
        store.feed(said.flow(device, device), said.stats(device, 1, 2), said.purge(device))
    store.flush(said.flow("a"), said.stats("a", 100, 200), at_ms=NOW)
    assert len(names(store)) == 61
    for hour in range(26):
        store.flush(said.stats("a", 1, 1), at_ms=NOW + hour * 3_600_000)
    store.flush(said.flow("b"), said.stats("b", 7, 8), at_ms=NOW + 26 * 3_600_000)
    assert store.reader.device(LAPTOP) is not None
    assert OTHER_DEVICE in names(store)
    agrees(store)


def test_a_store_with_more_devices_than_the_bound_is_reduced_to_it(make: MakeStore) -> None:
    devices = fill(make(), *range(1, 9))
    store = make(max_devices=4)
    assert store.accountant.devices.full
    store.at_ms = NOW + 60_000
    store.flush(at_ms=NOW + 60_000)
    store.flush(at_ms=NOW + DAY_MS + 70_000)
    assert not names(store) & set(devices)
    agrees(store)
