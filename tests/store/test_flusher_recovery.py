"""A Redis that lost flushes, and one that is down: everything is written again, in bounded memory."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flusher_rig import HISTORY, IMPATIENT, KEPT_FLUSHES, Rig
from real_store import (
    LAPTOP,
    NETFLIX,
    PHONE,
    SOURCE,
    YOUTUBE,
    check_entries,
    counts,
    digests,
    past,
)
from support import RedisServer, eventually

from netify_agent.store.client import StoreError, connect
from netify_agent.store.layout import Keys
from netify_agent.store.reader import StoreReader
from netify_agent.store.transaction import Sent
from netify_agent.store.writer import Flush, StoreWriter

# -- a Redis that forgets --------------------------------------------------------------------------


@pytest.fixture
def forgetful(directory: Path) -> Iterator[RedisServer]:
    """Keeps only the snapshots that it is told to make."""
    with RedisServer(directory, "--appendonly", "no") as server:
        yield server


def snapshot(rig: Rig) -> None:
    before = rig.client.lastsave()
    eventually(lambda: int(time.time()) > before.timestamp(), "a second that LASTSAVE can tell apart")
    rig.client.bgsave()
    eventually(lambda: rig.client.lastsave() > before, "the snapshot is written")


def rows_below_zero(rig: Rig) -> list[str]:
    """Fields of counters below zero, anywhere."""
    return [
        f"{key} {name}={value}"
        for key in rig.client.scan_iter(match="*", count=1000)
        if rig.client.type(key) == "hash" and not key.endswith((":flows", ":rates", ":meta"))
        for name, value in rig.client.hgetall(key).items()
        if value.startswith("-")
    ]


def test_a_redis_restored_from_an_older_snapshot_gets_the_missing_flushes(
    forgetful: RedisServer, rigs: Callable[..., Rig]
) -> None:
    rig = rigs(forgetful.url, interval_s=0.2).start()
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.stats("a", 1, 1000))
    rig.flush()
    snapshot(rig)
    for _ in range(3):
        rig.feed(rig.netifyd.stats("a", 1, 1000), rig.netifyd.flow("b"), rig.netifyd.stats("b", 1, 1))
        rig.flush()
    forgetful.kill()
    rig.feed(rig.netifyd.stats("a", 1, 1000), rig.netifyd.purge("b"))
    forgetful.start()
    eventually(lambda: rig.writer.status.error is None and rig.writer.status.repeated, "it is given back")
    rig.flush()
    assert rig.bytes_down() == {LAPTOP: 5003, "gateway": 5003}
    assert rig.writer.status.lost == 0
    assert digests(rig.client.hgetall(Keys("gw1").flows)) == {"a"}


def test_a_redis_killed_during_repeated_flushes_gets_them_all(
    forgetful: RedisServer, rigs: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = rigs(forgetful.url, interval_s=0.2).start()
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.stats("a", 1, 1000))
    rig.flush()
    snapshot(rig)
    for _ in range(3):
        rig.feed(rig.netifyd.stats("a", 1, 1000))
        rig.flush()
    calls = 0
    repeat = StoreWriter.repeat

    def dying(store: StoreWriter, sequence: int, sent: Sent) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:  # the third flush that is given back
            forgetful.kill()
            forgetful.start()
        repeat(store, sequence, sent)

    forgetful.kill()
    monkeypatch.setattr(StoreWriter, "repeat", dying)
    forgetful.start()
    eventually(lambda: calls > 3 and rig.writer.status.error is None, "it is given back")
    rig.flush()
    assert rig.bytes_down() == {LAPTOP: 4000, "gateway": 4000}
    assert rig.writer.status.lost == 0


def test_a_redis_that_lost_all_kept_flushes_gets_them_all(
    redis_server: RedisServer, rigs: Callable[..., Rig]
) -> None:
    rig = rigs(redis_server.url, interval_s=0.2).start()
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.stats("a", 1, 1000))
    rig.feed(rig.netifyd.flow("b", PHONE), rig.netifyd.flow("c", PHONE))
    rig.flush()
    rig.feed(rig.netifyd.flow("a", application=YOUTUBE), rig.netifyd.purge("b"))
    rig.flush()
    rig.client.flushall()
    rig.feed(rig.netifyd.stats("a", 1, 1000))
    eventually(lambda: rig.writer.status.repeated, "it is given back")
    rig.flush()
    assert rig.bytes_down() == {LAPTOP: 2000, PHONE: 0, "gateway": 2000}
    check_entries(rig.client, "gw1")
    keys = Keys("gw1")
    held = {key: digests(rig.client.hkeys(key)) for key in (keys.flows, keys.ended, keys.details)}
    assert held == {keys.flows: {"a", "c"}, keys.ended: {"b"}, keys.details: {"a", "b", "c"}}


def test_devices_lost_by_redis_make_room(redis_server: RedisServer, rigs: Callable[..., Rig]) -> None:
    rig = rigs(redis_server.url, interval_s=0.01)
    rig.accountant.devices.max = 2
    rig.start()
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.stats("a", 500, 1000))
    rig.feed(rig.netifyd.flow("b", "02:00:00:00:00:09"), rig.netifyd.purge("b"))
    before = rig.writer.status.flushes
    eventually(lambda: rig.writer.status.flushes > before + KEPT_FLUSHES + 2, "more flushes than are kept")
    assert rig.accountant.devices.full
    rig.client.flushall()
    eventually(lambda: rig.writer.status.lost, "the loss is noticed")
    rig.flush()
    rig.feed(rig.netifyd.flow("c", PHONE), rig.netifyd.stats("c", 1, 2000))
    rig.flush()
    assert rig.bytes_down() == {LAPTOP: 0, PHONE: 2000, "gateway": 2000}


def test_lost_flushes_are_counted_and_no_row_falls_below_zero(
    redis_server: RedisServer, rigs: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    rig = rigs(redis_server.url, interval_s=0.01).start()
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.stats("a", 500, 1000))
    rig.feed(rig.netifyd.flow("b", PHONE), rig.netifyd.stats("b", 500, 1000))
    rig.feed(rig.netifyd.flow("c"), rig.netifyd.stats("c", 500, 1000), rig.netifyd.purge("c"))
    before = rig.writer.status.flushes
    eventually(lambda: rig.writer.status.flushes > before + KEPT_FLUSHES + 2, "more flushes than are kept")
    with rig.lock:  # so that corrections of lost rows wait in the accountant, too
        rig.client.flushall()
        rig.accountant.feed(
            [rig.netifyd.flow("a", application=YOUTUBE), rig.netifyd.stats("a", 1, 7)], SOURCE
        )
    eventually(lambda: rig.writer.status.lost, "the loss is noticed")
    rig.feed(rig.netifyd.flow("b", PHONE, YOUTUBE), rig.netifyd.flow("c", application=YOUTUBE))
    rig.feed(rig.netifyd.stats("b", 1, 7))
    rig.flush()
    assert rows_below_zero(rig) == []
    check_entries(rig.client, "gw1")
    assert "Turn on persistence" in caplog.text
    assert rig.writer.status.lost >= KEPT_FLUSHES
    snapshot = rig.snapshot()
    counted = {row.name: row.counters for row in snapshot.devices}
    assert counted[PHONE] == counts(1, 7, 1, 1, 1)
    assert counted[LAPTOP]["flows"] == 1
    assert counted[LAPTOP]["bytes_down"] in (7, 1007)  # what moved within the open bucket may be kept
    assert snapshot.gateway.counters["bytes_down"] == 7 + counted[LAPTOP]["bytes_down"]
    assert digests(rig.client.hgetall(Keys("gw1").flows)) == {"a", "b"}


def test_an_applied_batch_is_released(redis_server: RedisServer, rigs: Callable[..., Rig]) -> None:
    rig = rigs(redis_server.url).start()
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.stats("a", 1, 1000))
    rig.feed(rig.netifyd.flow("b"), rig.netifyd.purge("b"))
    rig.flush()
    rig.flush()
    assert any(flush.batch.size for flush in rig.flushed)
    assert [batch.size for batch in rig.taken[:-1]] == [0] * (len(rig.taken) - 1)


@pytest.mark.parametrize(
    "limits",
    [{"kept_flushes": 5, "kept_bytes": 1 << 30}, {"kept_flushes": 1_000_000, "kept_bytes": 8000}],
    ids=["in number", "in bytes"],
)
def test_kept_flushes_are_bounded(
    redis_server: RedisServer, rigs: Callable[..., Rig], limits: dict[str, int]
) -> None:
    rig = rigs(redis_server.url, limits=replace(IMPATIENT, **limits)).start()
    for turn in range(5):
        for number in range(50):
            rig.feed(rig.netifyd.flow(f"{turn}-{number}"))
        rig.flush()
    rig.client.flushall()
    eventually(lambda: rig.writer.status.lost, "the first flush is not kept any more")
    assert rig.writer.status.repeated == 0


# -- a Redis that is away --------------------------------------------------------------------------


def _outage(rig: Rig, server: RedisServer, turns: int) -> Flush:
    """Kill Redis, let ``turns`` intervals of the same traffic go by, and return the flush that had them."""
    server.kill()
    failures = rig.writer.status.failures
    rig.feed(rig.netifyd.stats("live", 1, 10))
    eventually(lambda: rig.writer.status.failures > failures + 1, "a flush that fails")
    pending = rig.writer.status.sequence + 1
    for turn in range(turns):
        for device in (LAPTOP, PHONE):
            for application in (NETFLIX, YOUTUBE):
                digest = f"{device}{application}{turns}{turn}"
                rig.feed(rig.netifyd.flow(digest, device, application), rig.netifyd.stats(digest, 1, 10))
                rig.feed(rig.netifyd.purge(digest))
        rig.feed(rig.netifyd.stats("live", 1, 10))
    assert rig.accountant.pending_changes > 0
    server.start()
    eventually(lambda: rig.flushed[-1].sequence > pending, "the flush after the one that waited")
    eventually(lambda: rig.writer.status.pending == rig.accountant.pending_changes == 0, "nothing waits")
    return next(flush for flush in rig.flushed if flush.sequence == pending + 1)


def test_memory_in_an_outage_depends_on_devices_and_applications_not_on_time(
    redis_server: RedisServer, rigs: Callable[..., Rig]
) -> None:
    """And by a bounded number of the flows that ended meanwhile, which are to be shown."""
    # As many ended flows are shown as end in the short outage.
    rig = rigs(redis_server.url, interval_s=0.01, max_shown=12).start()
    rig.feed(rig.netifyd.flow("live"))
    rig.flush()
    short, long = _outage(rig, redis_server, 3), _outage(rig, redis_server, 1000)
    assert long.batch.size == short.batch.size
    rig.flush()
    sent = 2 * 1003 * 10
    live = 2 * 10 + 1003 * 10
    assert rig.bytes_down() == {LAPTOP: sent + live, PHONE: sent, "gateway": 2 * sent + live}
    assert rig.writer.status.lost == 0
    assert digests(rig.client.hgetall(Keys("gw1").flows)) == {"live"}


def test_the_flusher_waits_for_a_redis_that_is_down_at_the_start(
    redis_server: RedisServer, rigs: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.kill()
    rig = rigs(redis_server.url).start()
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.stats("a", 10, 20))
    eventually(lambda: rig.writer.status.failures > 3, "attempts")
    assert not rig.writer.status.restored
    assert rig.writer.status.error
    assert len([record for record in caplog.records if "retrying" in record.message]) == 1
    redis_server.start()
    rig.flush()
    assert rig.writer.status.error is None
    assert rig.bytes_down() == {LAPTOP: 20, "gateway": 20}
    bucket = rig.flushed[0].batch.bucket
    assert past(rig.history, LAPTOP, 300, [bucket])[0][1][""]["bytes_down"] == 20


def test_a_flush_that_times_out_but_is_applied_late_counts_once(
    redis_server: RedisServer, rigs: Callable[..., Rig]
) -> None:
    rig = rigs(redis_server.url, interval_s=0.001, timeout_s=0.1).start()
    rig.feed(rig.netifyd.flow("a"))
    sent = 0
    for _ in range(5):
        redis_server.signal(signal.SIGSTOP)
        failures = rig.writer.status.failures
        while rig.writer.status.failures < failures + 2:
            rig.feed(rig.netifyd.stats("a", 1, 10))
            sent += 10
            time.sleep(0.01)
        redis_server.signal(signal.SIGCONT)
        eventually(lambda: rig.writer.status.error is None, "flushes go on")
    rig.reader = StoreReader(connect(redis_server.url, None), "gw1")
    rig.flush()
    assert rig.bytes_down() == {LAPTOP: sent, "gateway": sent}


def test_a_restarted_writer_continues_the_sequence_and_the_flows(
    redis_server: RedisServer, rigs: Callable[..., Rig]
) -> None:
    first = rigs(redis_server.url).start()
    first.feed(first.netifyd.flow("a"), first.netifyd.stats("a", 10, 20))
    first.stop()
    second = rigs(redis_server.url)
    second.netifyd = first.netifyd
    second.start()
    eventually(lambda: second.writer.status.restored, "the store is opened")
    assert second.accountant.live_flows == 1
    second.feed(second.netifyd.stats("a", 10, 20))
    second.flush()
    assert second.bytes_down() == {LAPTOP: 40, "gateway": 40}
    assert second.writer.status.sequence == first.writer.status.sequence + second.writer.status.flushes


def test_a_store_without_an_answer_raises_store_error(directory: Path) -> None:
    store = StoreWriter(connect(f"unix://{directory}/none?db=0", None), "gw1", HISTORY, 86400)
    with pytest.raises(StoreError):
        store.claim()
