"""A store of schema 2 becomes packed history while the daemon serves it, and is killed again and again."""

from __future__ import annotations

import random
import time
from datetime import datetime
from typing import Any

from real_store import RealStore
from simulated_year import DAY_S, HOUR_S, KEEP_S, Network, by_period, schedule, write_schema_2
from support import Daemon, RedisServer

from netify_agent.store.client import connect
from netify_agent.store.flush import Flush
from netify_agent.store.layout import SCHEMA, Keys

KEYS = Keys("gw1")
NAMES = {300: "5m", HOUR_S: "1h", DAY_S: "1d"}


def of_schema_2(redis: RedisServer, network: Network, now: int) -> None:
    """A store whose devices have rows, as this version writes them, and the history of schema 2."""
    store = RealStore(redis.url, "gw1")
    store.writer.apply(Flush(1, network.batch(max(network.buckets)), now * 1000, 300_000))
    store.writer.release()
    for key in store.client.scan_iter("*:history*", count=1000):
        store.client.delete(key)
    old = {"schema": 2, "epoch": (now - 40 * DAY_S) * 1000, "evicted": 0, "instances": "{}"}
    store.client.hset(KEYS.meta, mapping=old)
    store.client.hdel(KEYS.meta, "sources")
    write_schema_2(redis.url, "gw1", network, now)


def shown(daemon: Daemon, device: str, resolution: str) -> dict[int, Any]:
    """The API's history of a device: bytes and packets of each bucket, and bytes by application."""
    code, document = daemon.get(f"/{device}/history?resolution={resolution}&applications=true")
    assert code == 200, document
    found = {}
    for row in document["buckets"]:
        start = int(datetime.fromisoformat(row["start"].replace("Z", "+00:00")).timestamp())
        shares = {part["tag"]: (part["bytes_up"], part["bytes_down"]) for part in row["applications"]}
        counted = (row["bytes_up"], row["bytes_down"], row["packets_up"], row["packets_down"])
        found[start] = counted, shares
    return found


def test_the_history_of_schema_2_is_packed_once_however_often_the_agent_is_killed(
    daemon: Daemon, redis_server: RedisServer
) -> None:
    now = int(time.time())
    gaps = [(0, 6 * HOUR_S), (now - 3 * DAY_S, HOUR_S // 2)]
    network = Network(20, 3, schedule(now - 40 * DAY_S, now - HOUR_S, gaps))
    of_schema_2(redis_server, network, now)
    truth: dict[str, dict[int, dict[int, Any]]] = {}
    for number, device in enumerate(network.devices):
        amounts = list(network.amounts(number, now))
        truth[device] = {
            step: {
                start: (volume[:4], {name: share[:2] for name, share in shares.items()})
                for start, (volume, shares) in by_period(amounts, range(0, now, step)).items()
                if start > now - KEEP_S[step] + DAY_S  # what is older may expire while the test runs
            }
            for step in NAMES
        }
    client, chance = connect(redis_server.url, None), random.Random(1)
    daemon.settings["calendar"] = {"timezone": "UTC"}
    daemon.write_config()

    def check(device: str) -> None:
        for step, name in NAMES.items():
            first = now - KEEP_S[step] + DAY_S
            found = {start: row for start, row in shown(daemon, device, name).items() if start > first}
            assert found == truth[device][step]

    kills, left = 0, set()
    daemon.start()
    while client.hget(KEYS.meta, "schema") == "2" or client.exists(KEYS.unmigrated):
        left.add(client.scard(KEYS.unmigrated))
        check(chance.choice(network.devices))
        time.sleep(chance.random())  # so that the kill meets flushes at any stage
        daemon.kill()
        kills += 1
        daemon.start()
    assert kills > 2 and len(left) > 2, (kills, left)
    assert client.hget(KEYS.meta, "schema") == str(SCHEMA)
    assert not list(client.scan_iter("*:history:[0-9]*", count=1000))
    for device in network.devices:
        check(device)
        months = shown(daemon, device, "1mo")
        whole = by_period(network.amounts(network.devices.index(device), now), [0])[0][0]
        assert sum(row[0][0] for row in months.values()) == whole[0]
    assert daemon.stop() == 0
