"""What a collector missed is made up for: books equal on both sides, whatever happened between them."""

from __future__ import annotations

import itertools
import random
import urllib.parse
from pathlib import Path

import pytest
from collector_run import CollectorRun
from forwarder_rig import STEPS, Rig
from real_store import LAPTOP, NETFLIX, PHONE, YOUTUBE, everything
from support import RedisServer

from netify_agent.api.documents import rfc3339
from netify_agent.config.calendar import DAY_S, HOUR_S
from netify_agent.fleet.line import NotForwarded
from netify_agent.store.client import connect, undecoded
from netify_agent.store.layout import Keys
from netify_agent.store.reader import StoreReader

KEYS = Keys("gw1")
ROWS = [(device, name) for device in (LAPTOP, PHONE, "10.8.0.2") for name in (NETFLIX, YOUTUBE)]


def new_rig(directory: Path, redis: RedisServer, collector: CollectorRun, there: RedisServer) -> Rig:
    """One whose messages have a kilobyte of closed history, or one chunk."""
    return Rig(directory, redis.url, collector, connect(there.url, None), max_history=1024)


def live(rig: Rig, chance: random.Random, seconds: int) -> None:
    """The gateway lives for so long, with a flush in each bucket."""
    for _ in range(seconds // 300):
        moved = chance.sample(ROWS, 2)
        rig.move(*((*row, chance.randrange(999), chance.randrange(9999)) for row in moved), seconds=300)


def test_after_48_hours_the_newest_comes_first_and_then_all_of_it(
    directory: Path, redis_server: RedisServer, collector: CollectorRun, collector_redis: RedisServer
) -> None:
    rig, chance = new_rig(directory, redis_server, collector, collector_redis), random.Random(48)
    live(rig, chance, 2 * HOUR_S)
    rig.forward()
    rig.check()
    collector.stop()
    for _ in range(4):
        live(rig, chance, 12 * HOUR_S)
        with pytest.raises(NotForwarded):
            rig.forwarder.send()
    collector.start()

    assert not rig.forwarder.send()
    there, here = StoreReader(rig.client, "gw1").snapshot(), rig.store.reader.snapshot()
    assert (there.gateway, there.devices, there.flush.at_ms) == (here.gateway, here.devices, here.flush.at_ms)
    left = rig.forwarder.status.bytes_left
    assert left > 10_000
    missing = []
    while True:
        have = {int(start) for start in rig.client.zrange(KEYS.chunks(300), 0, -1)}
        want = {int(start) for start in rig.store.client.zrange(KEYS.chunks(300), 0, -1)}
        missing.append(want - have)
        if rig.forwarder.send():
            break
        assert rig.forwarder.status.bytes_left < left
        left = rig.forwarder.status.bytes_left
    # What is missing at any time is older than what came last.
    for before, after in itertools.pairwise(missing):
        assert not before - after or min(before - after) > max(after, default=0)
    assert rig.forwarder.status.bytes_left == 0
    rig.check()
    check_answer(rig, collector)


def check_answer(rig: Rig, collector: CollectorRun) -> None:
    """Two days in steps of five minutes, over HTTP, have what the gateway's own history has."""
    since = rig.at - 2 * DAY_S
    bounds = {"from": rfc3339(since * 1000), "to": rfc3339(rig.at * 1000)}
    query = urllib.parse.urlencode({**bounds, "resolution": "5m"})
    status, answer = collector.get(f"/gateways/gw1/history?{query}")
    assert status == 200
    periods = STEPS.calendar.periods(300, since, rig.at)
    mine = rig.store.history.buckets("", 300, periods, applications=True)
    theirs = {one["start"]: (one["bytes_up"], one["bytes_down"]) for one in answer["buckets"]}
    for bucket in mine:
        volume = bucket.volume.bytes_up, bucket.volume.bytes_down
        assert theirs[rfc3339(bucket.start * 1000)] == volume


def test_a_collector_that_lost_everything_gets_all_that_is_kept(
    directory: Path, redis_server: RedisServer, collector: CollectorRun, collector_redis: RedisServer
) -> None:
    rig, chance = new_rig(directory, redis_server, collector, collector_redis), random.Random(7)
    live(rig, chance, 8 * HOUR_S)
    rig.forward()
    collector_redis.kill()
    with pytest.raises(NotForwarded, match="503"):
        rig.forwarder.send()
    collector_redis.start()
    rig.client.flushall()
    assert rig.forward() > 3
    rig.check()
    check_answer(rig, collector)


@pytest.mark.parametrize("seed", range(3))
def test_no_order_of_faults_changes_a_figure(
    directory: Path,
    redis_server: RedisServer,
    collector: CollectorRun,
    collector_redis: RedisServer,
    seed: int,
) -> None:
    rig, chance = new_rig(directory, redis_server, collector, collector_redis), random.Random(seed)
    older: dict[str, bytes] = {}
    raw = undecoded(rig.client)
    for _ in range(50):
        live(rig, chance, chance.choice((300, 300, 600, HOUR_S, 2 * HOUR_S)))
        fault = chance.choice(("", "request", "answer", "repeat", "restart", "lost", "keep", "back", "other"))
        if fault in ("request", "answer"):
            rig.lost = fault
        elif fault == "repeat" and rig.bodies:
            rig.repeat(chance.choice(rig.bodies[:-1] or rig.bodies))
        elif fault == "restart":
            rig.restart()
        elif fault == "lost":
            rig.client.flushall()
        elif fault == "keep":
            older = {key: raw.dump(key) for key in everything(rig.client)}
        elif fault == "back":
            rig.client.flushall()
            for key, data in older.items():
                raw.restore(key, 0, data)
        elif fault == "other" and rig.client.exists(KEYS.totals(PHONE)):
            rig.client.hincrby(KEYS.totals(PHONE), "bu", 1)
        try:
            rig.forwarder.send()
        except NotForwarded as error:
            assert "lost" in str(error) or "409" in str(error)
    live(rig, chance, HOUR_S)
    rig.forward()
    rig.check()
