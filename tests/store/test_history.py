"""History equals the truth in every step, while buckets close and chunks are summed up."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator

import pytest
from history_gateway import BEGIN, KEEP_S, KEYS, Gateway, Moved
from real_store import LAPTOP, NETFLIX, PHONE, YOUTUBE, everything
from support import Proxy, RedisServer

from netify_agent.config.calendar import DAY_S, HOUR_S, MONTH_S
from netify_agent.store import history_decoders
from netify_agent.store.client import StoreError, connect, undecoded
from netify_agent.store.flush import Flush
from netify_agent.store.history_record import NO_VOLUME, Share, Volume, add_volumes, decode
from netify_agent.store.layout import FORGOTTEN, GATEWAY, INTERFACE, SCHEMA
from netify_agent.store.query import Query
from netify_agent.store.transaction import Sent


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> Iterator[str]:
    connect(shared_redis.url, None).flushall()
    yield shared_redis.url


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_every_step_has_each_byte_once(redis_url: str, zone: str) -> None:
    gateway, chance = Gateway(redis_url, zone), random.Random(1)
    at = BEGIN
    for number in range(900):
        at += chance.choice([75, 150, 300, 900])
        gateway.flush(
            at,
            *((LAPTOP, chance.choice([NETFLIX, YOUTUBE]), chance.randint(0, 9), chance.randint(0, 10**9)),),
            *((PHONE, NETFLIX, 1, 1),) * (number % 3 == 0),
        )
        if number % 90 == 0:
            gateway.check(BEGIN, at + 1)
    gateway.check(BEGIN, at + 1, names=(GATEWAY, LAPTOP, PHONE, INTERFACE + "eth0"))
    open_hashes = [key for key in everything(gateway.client) if ":history:open:" in key]
    assert len(open_hashes) <= 2 * 4  # of this bucket, and of the one before while it is packed
    assert gateway.reader.other_series() == [INTERFACE + "eth0"]


def test_a_change_of_the_zone_and_a_clock_that_goes_back_lose_nothing(redis_url: str) -> None:
    gateway = Gateway(redis_url)
    at = BEGIN
    for zone in ("UTC", "America/St_Johns", "Europe/Berlin", "Europe/Berlin"):
        gateway.start(zone)
        for number in range(200):
            at += 600
            gateway.flush(at, (LAPTOP, NETFLIX, 1, number))
        at -= 40_000  # the clock is set back, over days that were summed up
    total = sum(down for *_, down in gateway.moved)
    for step in (HOUR_S, DAY_S, MONTH_S):
        stored = gateway.stored(LAPTOP, step, BEGIN - 40 * DAY_S, at + 40 * DAY_S)
        assert sum(volume.bytes_down for volume in stored.values()) == total
        assert sum(volume.bytes_up for volume in stored.values()) == 800


def test_the_sums_of_a_range_are_those_of_its_buckets(redis_url: str) -> None:
    gateway, chance = Gateway(redis_url, "Europe/Berlin"), random.Random(2)
    at = BEGIN
    for _ in range(600):
        at += 600
        gateway.flush(at, (LAPTOP, chance.choice([NETFLIX, YOUTUBE]), chance.randint(1, 99), 5))
    now = at
    for _ in range(60):
        since = chance.randint(now - DAY_S, now)
        until = chance.randint(since, now + 100)
        found = gateway.reader.volumes([LAPTOP, PHONE], since, until)
        begin, end = found.period
        assert begin <= since
        assert begin > since - 300
        assert end >= min(until, now)
        expected, by_application = NO_VOLUME, defaultdict[str, int](int)
        for bucket, _, application, up, down in gateway.moved:
            if begin <= bucket < end:
                expected = add_volumes(expected, Volume(up, down))
                by_application[application] += up
        assert found.volumes.get(LAPTOP, NO_VOLUME) == expected
        shares = gateway.reader.shares([LAPTOP, PHONE], since, until).shares.get(LAPTOP, {})
        assert {name: share.bytes_up for name, share in shares.items()} == by_application
        for name in (NETFLIX, YOUTUBE, "netify.unknown"):
            share = gateway.reader.share(name, [LAPTOP, PHONE], since, until).shares.get(LAPTOP)
            assert share == shares.get(name)
    everything_moved = gateway.reader.volumes([LAPTOP], 0, now + 1)
    assert everything_moved.volumes[LAPTOP].bytes_down == 3000


def test_a_month_that_is_over_is_read_from_one_key_of_each_series(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the running month has not summed up yet is not read for it."""
    gateway = Gateway(redis_url)
    at = BEGIN
    for _ in range(45):
        at += DAY_S
        gateway.flush(at, (LAPTOP, NETFLIX, 1, 2))
    gateway.flush(at + 300)
    asked: list[str] = []
    read = Query.mget
    monkeypatch.setattr(Query, "mget", lambda query, keys: asked.extend(keys) or read(query, keys))
    month = gateway.steps.calendar.month(gateway.steps.calendar.month(at).start - 1)
    found = gateway.reader.volumes([LAPTOP], *month).volumes[LAPTOP]
    assert len(asked) == 1
    assert found == gateway.truth(LAPTOP, MONTH_S)[month.start]
    gateway.reader.volumes([LAPTOP], *gateway.steps.calendar.month(at))
    assert len(asked) > 3
    monkeypatch.setattr(history_decoders, "decode", None)  # all applications of a record
    share = gateway.reader.share(NETFLIX, [LAPTOP], *month).shares[LAPTOP]
    assert (share.bytes_up, share.bytes_down) == found[:2]


def test_a_dropped_device_goes_on_in_forgotten(redis_url: str) -> None:
    gateway = Gateway(redis_url)
    at = BEGIN
    for number in range(100):
        at += 600
        moved = [(PHONE, NETFLIX, 2, 3)]
        gateway.flush(at, *moved, *([(LAPTOP, YOUTUBE, 5, 7)] if number < 60 else []))
    gateway.writer.retention.forget_after_s = 4 * HOUR_S
    gateway.client.hset(KEYS.meta, "steady", 0)
    gateway.client.zadd(KEYS.devices, {LAPTOP: (BEGIN + 36_000) * 1000, PHONE: at * 1000})
    gateway.flush(at + 75, (PHONE, NETFLIX, 1, 1))
    assert gateway.writer.dropped_devices() == [LAPTOP]
    assert not [key for key in everything(gateway.client) if ":history:" in key and key.endswith(LAPTOP)]
    for _ in range(2):
        for step in (HOUR_S, DAY_S, MONTH_S):
            assert gateway.stored(FORGOTTEN, step, BEGIN, at + 1) == gateway.truth(LAPTOP, step)
        for _ in range(300):  # what was fresh is summed up later
            at += 900
            gateway.flush(at, (PHONE, NETFLIX, 1, 1))
    assert gateway.reader.shares([FORGOTTEN], BEGIN, at).shares == {FORGOTTEN: {YOUTUBE: Share(300, 420)}}


def test_a_damaged_chunk_is_left_out_and_counted(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    gateway = Gateway(redis_url)
    for number in range(9):
        gateway.flush(BEGIN + 300 * number, (LAPTOP, NETFLIX, 1, 1))
    damaged = [key for key in everything_of_chunks(gateway) if key.endswith(LAPTOP)]
    for key in damaged:
        gateway.client.set(key, b"\x05\x00")
    for number in range(9, 40):
        gateway.flush(BEGIN + 300 * number, (LAPTOP, NETFLIX, 1, 1))
    assert int(gateway.client.hget(KEYS.counters, "history_damaged")) == len(damaged)
    stored = gateway.stored(LAPTOP, DAY_S, BEGIN, BEGIN + DAY_S)
    assert 0 < sum(volume.bytes_up for volume in stored.values()) < 40
    assert any("is damaged" in record.message for record in caplog.records)


def everything_of_chunks(gateway: Gateway) -> list[str]:
    return sorted(gateway.client.scan_iter("netify:{gw1}:history:chunk:*", count=1000))


# -- the form of schema 3 ----------------------------------------------------------------------------------


def of_schema_3(gateway: Gateway, moved: Moved, steps: tuple[int, ...] = (300, HOUR_S, DAY_S)) -> None:
    """Store what moved in the form of schema 3."""
    for bucket, device, application, up, down in moved:
        for step in steps:
            for series in (GATEWAY, device) if bucket > moved[0][0] - KEEP_S[step] else ():
                key = KEYS.old_bucket(step, bucket - bucket % step, series)
                for suffix in ("", ":" + application):
                    gateway.client.hincrby(key, "bu" + suffix, up)
                    gateway.client.hincrby(key, "bd" + suffix, down)
                gateway.client.expire(key, KEEP_S[step])
    gateway.client.hset(KEYS.meta, "schema", 3)
    gateway.client.delete(KEYS.history)
    gateway.moved += moved


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_history_of_schema_3_becomes_packed_while_it_is_read(redis_url: str, zone: str) -> None:
    gateway = Gateway(redis_url)
    devices = [f"02:00:00:00:01:{number:02x}" for number in range(12)]
    end = BEGIN + 40 * DAY_S
    for device in (LAPTOP, *devices):
        gateway.client.zadd(KEYS.devices, {device: end * 1000})
    moved = [(end - 7 * HOUR_S * n - 300, LAPTOP, NETFLIX, n, 1) for n in range(120)]
    moved = [(bucket - bucket % 300, *rest) for bucket, *rest in moved]  # type: ignore[misc]
    of_schema_3(gateway, [*moved, *((end - end % 300, device, YOUTUBE, 1, 2) for device in devices)])
    gateway.start(zone)
    unmigrated = gateway.client.scard(KEYS.unmigrated)
    assert unmigrated == 14
    total = sum(up for _, device, _, up, _ in gateway.moved if device == LAPTOP)
    at = end
    for _ in range(14):
        for step in (DAY_S, MONTH_S):
            stored = gateway.stored(LAPTOP, step, BEGIN - 40 * DAY_S, at + DAY_S)
            assert sum(volume.bytes_up for volume in stored.values()) == total
            if zone == "UTC":
                assert stored == gateway.truth(LAPTOP, step)
        at += 75
        gateway.flush(at, (LAPTOP, NETFLIX, 1, 0))
        total += 1
    assert not gateway.client.exists(KEYS.unmigrated)
    left = [key for key in everything(gateway.client) if key.split(":history:")[-1][0].isdigit()]
    assert left == []
    for _ in range(40):  # over the end of the month
        at += DAY_S // 3
        gateway.flush(at, (LAPTOP, NETFLIX, 1, 0), every_s=DAY_S // 3)
        total += 1
    for step in (DAY_S, MONTH_S):
        stored = gateway.stored(LAPTOP, step, BEGIN - 40 * DAY_S, at + DAY_S)
        assert sum(volume.bytes_up for volume in stored.values()) == total
    assert gateway.client.hget(KEYS.meta, "schema") == str(SCHEMA)


def test_an_agent_that_restarts_after_each_flush_loses_nothing(redis_url: str) -> None:
    gateway = Gateway(redis_url)
    at = BEGIN
    for number in range(150):
        at += 300
        gateway.flush(at, (LAPTOP, NETFLIX, 1, number))
        gateway.writer.release()
        gateway.start("UTC")
    gateway.check(BEGIN, at + 1)


def test_a_redis_that_lost_flushes_gets_them_again_with_their_history(redis_url: str) -> None:
    gateway = Gateway(redis_url)
    at = BEGIN
    for number in range(30):
        at += 300
        gateway.flush(at, (LAPTOP, NETFLIX, 1, number))
    raw = undecoded(gateway.client)
    saved = {key: raw.dump(key) for key in raw.scan_iter(count=1000)}
    sent = []
    for number in range(30):
        at += 300
        sent.append((gateway.sequence + 1, gateway.flush(at, (LAPTOP, NETFLIX, 1, number))))
    written = everything_packed(gateway)
    raw.flushall()
    for key, data in saved.items():
        raw.restore(key, 0, data)
    for sequence, data in sent:
        gateway.writer.repeat(sequence, data)
    assert everything_packed(gateway) == written
    gateway.check(BEGIN, at + 1)


def everything_packed(gateway: Gateway) -> dict[str, bytes]:
    raw = undecoded(gateway.client)
    return {key: raw.get(key) for key in everything_of_chunks(gateway)}


def test_a_store_that_loses_meta_alone_goes_on_with_its_history(redis_url: str) -> None:
    gateway = Gateway(redis_url)
    at = BEGIN
    for number in range(300):
        at += 300
        if number % 40 == 39:
            gateway.client.delete(KEYS.meta)
        gateway.flush(at, (LAPTOP, NETFLIX, 1, number))
    gateway.check(BEGIN, at + 1)
    assert len([key for key in everything(gateway.client) if ":history:open:" in key]) <= 2 * 3


class Interrupted(Gateway):
    """Each flush fails at first: its reply is lost, or a part of it does not arrive. Many agents die."""

    def __init__(self, url: str, proxy: Proxy) -> None:
        self.proxy = proxy
        self.chance = random.Random(3)
        self.deaths = 0
        super().__init__(url, through=proxy.url)

    def apply(self, flush: Flush) -> Sent:
        self.proxy.break_next(self.chance.choice(["swallow", "cut"]))
        with pytest.raises(StoreError):
            self.writer.apply(flush)
        if self.chance.random() < 0.4:
            self.deaths += 1
            self.start("UTC")
            if self.sequence == flush.sequence:
                return Sent(0, b"")
            self.sequence = flush.sequence
        return self.writer.apply(flush)


def test_closing_summing_up_and_migration_happen_once_however_often_a_flush_fails(
    redis_server: RedisServer, proxy: Proxy
) -> None:
    end = 1_777_500_000  # 29 April 2026
    moved = [(at, LAPTOP, NETFLIX, 1, 2) for at in range(end - 9000 * 300, end, 15_000)]
    moved = [(at - at % 300, *rest) for at, *rest in moved]  # type: ignore[misc]

    def written(gateway: Gateway) -> dict[str, object]:
        gateway.client.zadd(KEYS.devices, {LAPTOP: end * 1000, PHONE: end * 1000})
        of_schema_3(gateway, moved)
        gateway.start("UTC")
        assert gateway.client.scard(KEYS.unmigrated) == 3
        at = end
        for number in range(160):
            at += 1800
            gateway.flush(at, (LAPTOP, NETFLIX, 1, number), (PHONE, YOUTUBE, number, 1), every_s=1800)
        assert not gateway.client.exists(KEYS.unmigrated)
        assert gateway.stored(GATEWAY, MONTH_S, BEGIN, at + 1) == gateway.truth(GATEWAY, MONTH_S)
        packed = everything_packed(gateway)
        others = everything(gateway.client)
        history = {key: value for key, value in others.items() if ":history" in key and ":chunk:" not in key}
        gateway.client.flushall()
        return {**packed, **history}

    undisturbed = written(Gateway(redis_server.url))
    interrupted = Interrupted(redis_server.url, proxy)
    assert written(interrupted) == undisturbed
    assert proxy.broken == 160
    assert interrupted.deaths > 40
    steps = {int(key.split(":")[4]) for key in undisturbed if ":chunk:" in key}
    assert steps == set(KEEP_S)


@pytest.mark.parametrize("off_s", [-500 * DAY_S, 0, 500 * DAY_S])
def test_a_chunk_expires_once_it_is_summed_up_however_wrong_the_clock_is(redis_url: str, off_s: int) -> None:
    gateway = Gateway(redis_url)
    raw = undecoded(gateway.client)
    for begin in (BEGIN, BEGIN + 3 * DAY_S + off_s):
        for number in range(140):
            gateway.flush(begin + 1800 * number, (LAPTOP, NETFLIX, 1, 1), every_s=1800)
        expiring = 0
        for key in everything_of_chunks(gateway):
            step, start = (int(part) for part in key.split(":")[4:6])
            ttl = raw.ttl(key)
            if decode(raw.get(key), start).fresh:
                assert ttl == -1, key
            else:
                length = gateway.steps.chunk_length(step)
                assert length - 600 <= ttl <= length + KEEP_S[step], key
                expiring += 1
        assert expiring > 100


def test_a_step_that_the_configuration_adds_is_not_read_before_it_is_complete(redis_url: str) -> None:
    """Before the first flush, Redis does not say that the new step lacks what came before."""
    gateway = Gateway(redis_url, keep_s={step: kept for step, kept in KEEP_S.items() if step != MONTH_S})
    month = gateway.steps.calendar.month(1_794_000_000)  # November: a chunk of days begins within it
    end = month.start + 29 * DAY_S
    for at in range(month.start - 3 * DAY_S, end, 6 * HOUR_S):
        gateway.flush(at, (LAPTOP, NETFLIX, 1, 1000))
    gateway.start("UTC")
    assert gateway.reader.volumes([GATEWAY], *month).volumes[GATEWAY][:2] == (116, 116_000)
    gateway.flush(end, (LAPTOP, NETFLIX, 1, 1000))
    assert gateway.reader.volumes([GATEWAY], *month).volumes[GATEWAY][:2] == (117, 117_000)


def test_a_chunk_of_a_former_longest_step_that_begins_with_a_month_is_read_to_its_end(redis_url: str) -> None:
    """A chunk of 32 days begins on 1 April 2026. Its last two days belong to May."""
    gateway = Gateway(redis_url)
    gateway.start("UTC", {step: keep_s for step, keep_s in KEEP_S.items() if step != MONTH_S})
    month = gateway.steps.calendar.month(BEGIN + 40 * DAY_S)
    for number in range(100):
        gateway.flush(month.start + number * 6 * HOUR_S, (LAPTOP, NETFLIX, 1, 1000))
    gateway.start("UTC")
    assert gateway.reader.volumes([GATEWAY], *month).volumes[GATEWAY][:2] == (100, 100_000)
