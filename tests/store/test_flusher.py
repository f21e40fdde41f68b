"""Promises of the writer: whatever becomes of Redis or of the way to it, each flush counts once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from flusher_rig import HISTORY, IMPATIENT, Rig
from real_store import (
    LAPTOP,
    NETFLIX,
    PHONE,
    YOUTUBE,
    past,
)
from support import Proxy, RedisServer, eventually

from netify_agent.store.client import StoreError, StoreRefused
from netify_agent.store.layout import Keys
from netify_agent.store.writer import StoreWriter


def test_batches_arrive_each_interval_and_progress_is_reported(
    redis_server: RedisServer, rigs: Callable[..., Rig]
) -> None:
    rig = rigs(redis_server.url).start()
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.stats("a", 10, 20))
    rig.flush()
    assert rig.bytes_down() == {LAPTOP: 20, "gateway": 20}
    status = rig.writer.status
    assert status.restored
    assert status.error is None
    assert (status.failures, status.repeated, status.lost) == (0, 0, 0)
    assert status.last_flush == pytest.approx(time.time(), abs=30)
    assert status.flush_ms > 0
    assert status.sequence == rig.flushed[-1].sequence == len(rig.flushed)
    reports = rig.reports
    eventually(lambda: rig.reports > reports, "it goes on")


def test_the_first_interval_belongs_to_its_own_bucket(
    redis_server: RedisServer, rigs: Callable[..., Rig]
) -> None:
    """The accountant knows no clock: what it gathered before its first flush was lost from history."""
    rig = rigs(redis_server.url)
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.stats("a", 10, 20))
    rig.start().flush()
    bucket = rig.flushed[0].batch.bucket
    assert bucket % 300 == 0
    assert bucket == pytest.approx(time.time(), abs=330)
    assert past(rig.history, LAPTOP, 300, [bucket])[0][1][NETFLIX] == {"bytes_up": 10, "bytes_down": 20}


def test_a_stop_flushes_the_pending_changes(redis_server: RedisServer, rigs: Callable[..., Rig]) -> None:
    rig = rigs(redis_server.url, interval_s=3600).start()
    eventually(lambda: rig.writer.status.flushes == 1, "the first flush, which has nothing")
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.stats("a", 10, 20))
    rig.stop()
    assert rig.bytes_down() == {LAPTOP: 20, "gateway": 20}
    assert rig.writer.status.flushes == 2


def test_a_stop_flushes_the_pending_batch_and_the_changes_since(
    redis_server: RedisServer, rigs: Callable[..., Rig]
) -> None:
    rig = rigs(redis_server.url).start()
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.stats("a", 10, 20))
    rig.flush()
    redis_server.kill()
    rig.feed(rig.netifyd.stats("a", 10, 20))
    failures = rig.writer.status.failures
    eventually(lambda: rig.writer.status.failures > failures + 1, "a flush that fails")
    rig.feed(rig.netifyd.stats("a", 10, 20))
    rig.ask_to_stop()
    redis_server.start()
    rig.stop()
    assert rig.bytes_down() == {LAPTOP: 60, "gateway": 60}


def test_a_stop_without_redis_ends_in_time_and_logs_what_is_lost(
    redis_server: RedisServer,
    rigs: Callable[..., Rig],
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = rigs(redis_server.url, limits=replace(IMPATIENT, final_flush_s=0.1)).start()
    rig.flush()
    redis_server.kill()
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.stats("a", 10, 20))
    rig.stop()
    assert "stopping without the last flush" in caplog.text
    assert rig.error is None


def test_a_second_writer_ends_the_first_at_once(redis_server: RedisServer, rigs: Callable[..., Rig]) -> None:
    rig = rigs(redis_server.url).start()
    rig.flush()
    rival = StoreWriter(rig.client, "gw1", HISTORY, 86400)

    def claimed() -> bool:
        with suppress(StoreError):  # a flush came between
            rival.claim()
            return True
        return False

    eventually(claimed, "the rival has the store")
    eventually(lambda: rig.error, "the writer ends")
    assert isinstance(rig.error, StoreRefused)


def test_redis_killed_at_any_moment_loses_and_repeats_nothing(
    redis_server: RedisServer, rigs: Callable[..., Rig]
) -> None:
    chance = random.Random(3)
    rig = rigs(redis_server.url, interval_s=0.001).start()
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.flow("b", PHONE, YOUTUBE))
    sent = 0
    for _ in range(6):
        flushes = rig.writer.status.flushes + chance.randrange(5, 40)
        while rig.writer.status.flushes < flushes:
            rig.feed(rig.netifyd.stats("a", 1, 1000), rig.netifyd.stats("b", 1, 1000))
            sent += 1000
            assert rig.error is None, rig.error
            time.sleep(0)
        redis_server.kill()
        rig.feed(rig.netifyd.stats("a", 1, 1000), rig.netifyd.stats("b", 1, 1000))
        sent += 1000
        redis_server.start()
        eventually(lambda: rig.writer.status.error is None or rig.error, "flushes go on")
    rig.flush()
    assert rig.bytes_down() == {LAPTOP: sent, PHONE: sent, "gateway": 2 * sent}
    assert rig.writer.status.failures > 0
    # Redis may answer before its append-only file has the flush (it puts the write off for a running
    # fsync, redis.conf: appendfsync everysec): such a flush is given back.
    assert rig.writer.status.lost == 0


def test_lost_replies_and_truncated_requests_change_no_byte(
    redis_server: RedisServer, proxy: Proxy, rigs: Callable[..., Rig]
) -> None:
    rig = rigs(redis_server.url, through=proxy.url, interval_s=0.001)
    proxy.break_next("swallow")  # of the claim, too
    proxy.break_next("cut")
    rig.start()
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.flow("b", PHONE, YOUTUBE))
    chance = random.Random(4)
    sent = 0
    for turn in range(60):
        broken = proxy.broken + 1
        proxy.break_next("swallow" if chance.random() < 0.6 else "cut")
        if turn % 10 == 9:
            proxy.break_next("swallow")  # twice in a row
            broken += 1
        while proxy.broken < broken:
            rig.feed(rig.netifyd.stats("a", 1, 1000), rig.netifyd.stats("b", 1, 1000))
            sent += 1000
            time.sleep(0.001)
            assert rig.error is None, rig.error
    rig.stop()
    assert rig.bytes_down() == {LAPTOP: sent, PHONE: sent, "gateway": 2 * sent}
    status = rig.writer.status
    assert status.failures >= proxy.broken - 2 >= 64
    assert (status.repeated, status.lost) == (0, 0)
    assert rig.snapshot().flush.sequence == status.sequence
    assert int(rig.client.hget(Keys("gw1").applications(LAPTOP), "fl:" + NETFLIX)) == 1
