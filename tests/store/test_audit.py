"""The audit of the sums in Redis: silent while they agree, loud once keys are lost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_store import LAPTOP, NETFLIX, PHONE, YOUTUBE, RealStore
from support import RedisServer

from netify_agent.store.audit import SumAudit, eviction_warning
from netify_agent.store.client import connect
from netify_agent.store.layout import Keys

DEVICES = [f"02:00:00:00:{number // 256:02x}:{number % 256:02x}" for number in range(120)]
KEYS = Keys("gw1")


class Audited:
    """A store that is audited after each flush, one round trip at a time."""

    def __init__(self, url: str) -> None:
        connect(url, None).flushall()
        self.store = RealStore(url, "gw1", forget_after_s=1000)
        self.audit = SumAudit(connect(url, None), "gw1", budget_s=0)

    def flush(self, *records: Any, at_ms: int | None = None) -> bool:
        """Whether a pass ended with this flush."""
        flush = self.store.flush(*records, at_ms=at_ms)
        self.audit.grow(self.store.writer.growth)
        return self.audit.step(flush.sequence)

    def whole_pass(self) -> None:
        for _ in range(2):  # the one under way, and one more
            while not self.flush():
                pass


@pytest.fixture
def audited(shared_redis: RedisServer) -> Audited:
    return Audited(shared_redis.url)


def fill(audited: Audited, devices: list[str]) -> None:
    said = audited.store.netifyd
    records = [
        record for device in devices for record in (said.flow(device, device), said.stats(device, 10, 1000))
    ]
    audited.flush(*records)


def test_sums_that_agree_are_never_told_of_whatever_moves_between_two_parts(audited: Audited) -> None:
    """Traffic, corrections, new devices, flows of nobody, of two devices, and devices that are forgotten."""
    chance = random.Random(11)
    said = audited.store.netifyd
    fill(audited, DEVICES[:80])
    now_ms = 1_700_000_000_000
    audited.flush(at_ms=now_ms)
    audited.store.client.hset(KEYS.meta, "steady", now_ms - 2 * 86_400_000)  # so that devices are forgotten
    ended = 0
    for turn in range(60):
        now_ms += 100_000  # so that devices that say nothing are forgotten in between
        records = []
        for device in chance.sample(DEVICES, 30):
            other = chance.choice(DEVICES)
            if not said.knows(device) or chance.random() < 0.3:
                local = {"other_type": "local", "other_mac": other} if chance.random() < 0.3 else {}
                application = chance.choice((NETFLIX, YOUTUBE))
                records.append(said.flow(device, device, application, **local))
            records.append(said.stats(device, chance.randrange(99), chance.randrange(9999)))
        records.append(said.stats(f"nobody {turn}", 5, 7))
        ended += audited.flush(*records, at_ms=now_ms)
        assert audited.audit.breach is None
    assert ended >= 5
    assert int(audited.store.client.hget(KEYS.forgotten, "bd") or 0) > 0
    assert int(audited.store.client.hget(KEYS.mirrored, "bd") or 0) > 0


@pytest.mark.parametrize(
    "lost",
    [
        *(KEYS.totals(""), KEYS.applications(""), KEYS.protocols(""), KEYS.devices, KEYS.unattributed),
        *(KEYS.totals(LAPTOP), KEYS.applications(LAPTOP), KEYS.protocols(LAPTOP), KEYS.mirrored),
    ],
)
def test_a_key_that_was_evicted_is_told_of_and_stays_so(audited: Audited, lost: str) -> None:
    said = audited.store.netifyd
    fill(audited, [LAPTOP, *DEVICES[:40]])
    local = {"other_type": "local", "other_mac": PHONE}
    audited.flush(said.flow("l", **local), said.stats("l", 1, 2), said.stats("nobody", 5, 7))
    audited.whole_pass()
    assert audited.audit.breach is None
    assert audited.store.client.delete(lost) == 1
    audited.whole_pass()
    assert str(audited.audit.breach).startswith("keys in Redis were lost or changed: ")
    audited.flush(said.stats(LAPTOP, 10, 1000))
    audited.whole_pass()
    assert audited.audit.breach is not None


def test_a_loss_of_the_gateway_and_of_all_devices_is_told_of(audited: Audited) -> None:
    """What is left agrees: the devices, of which there are none, add up to a gateway of nothing."""
    said = audited.store.netifyd
    fill(audited, [LAPTOP, PHONE])
    audited.whole_pass()
    assert audited.audit.breach is None
    audited.store.client.delete(KEYS.devices, KEYS.totals(""), KEYS.applications(""), KEYS.protocols(""))
    audited.whole_pass()
    told = "keys in Redis were lost or changed: the gateway has 0 bytes up, and had 20"
    assert audited.audit.breach == told
    audited.flush(said.flow("new", DEVICES[0]), said.stats("new", 3, 4))
    audited.whole_pass()
    assert audited.audit.breach == told.replace("has 0", "has 3")


def test_a_meta_that_was_evicted_is_no_older_state(audited: Audited) -> None:
    """Else the latest flushes, which are all there, would be applied once more."""
    said = audited.store.netifyd
    fill(audited, [LAPTOP])
    audited.flush(said.stats(LAPTOP, 10, 1000))
    audited.store.client.delete(KEYS.meta)
    audited.flush(said.stats(LAPTOP, 10, 1000))
    assert audited.store.writer.meta_lost
    assert audited.store.reader.snapshot().gateway.counters["bytes_down"] == 3000
    assert audited.store.reader.last_flush()[0] == 3


@pytest.fixture
def limited(directory: Path) -> Iterator[RedisServer]:
    with RedisServer(directory, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru") as server:
        yield server


def test_only_a_policy_that_can_evict_is_warned_of(limited: RedisServer) -> None:
    client = connect(limited.url, None)
    assert "maxmemory-policy allkeys-lru), which loses counters" in str(eviction_warning(client))
    client.config_set("maxmemory-policy", "volatile-ttl")
    assert "which loses history" in str(eviction_warning(client))
    client.config_set("maxmemory-policy", "noeviction")
    assert eviction_warning(client) is None
    client.config_set("maxmemory-policy", "allkeys-random")
    client.config_set("maxmemory", "0")
    assert eviction_warning(client) is None
