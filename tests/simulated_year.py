"""A gateway's traffic over months, which is known, written into a store as fast as Redis takes it.

The truth shares with the store only its plain types and their sums. What a device moves in a bucket follows
from the two alone, and the periods of a time zone are found by a look at its clock every five minutes.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_right
from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

from real_store import RealStore

from netify_agent.accounting.batch import Batch, Row
from netify_agent.netifyd.flow_record import Key
from netify_agent.store.client import connect
from netify_agent.store.flush import Flush
from netify_agent.store.history_record import NO_SHARE, NO_VOLUME, Share, Volume, add_shares, add_volumes
from netify_agent.store.layout import Keys

BUCKET_S, HOUR_S, DAY_S, WEEK_S, MONTH_S = 300, 3600, 86_400, 604_800, 2_629_746
KEEP_S = {BUCKET_S: 2 * DAY_S, HOUR_S: 31 * DAY_S, DAY_S: 400 * DAY_S, MONTH_S: 5 * 365 * DAY_S}
ENDS = 1_767_225_600, 1_798_761_600  # of 2026 in UTC
#: For :func:`schedule`: what only days and months still have comes in few flushes, what shorter steps have in
#: as many as they have periods.
A_YEAR = [(0, 6 * HOUR_S), (ENDS[1] - 33 * DAY_S, HOUR_S), (ENDS[1] - 3 * DAY_S, BUCKET_S)]

Amount = tuple[Volume, dict[str, Share]]


def periods_of(zone: str, since: int, until: int, month_starts_on: int) -> dict[int, list[int]]:
    """Starts of the periods of each step, and of weeks, that begin from ``since`` until before ``until``."""
    found: dict[int, list[int]] = {step: [] for step in (BUCKET_S, HOUR_S, DAY_S, WEEK_S, MONTH_S)}
    tz = ZoneInfo(zone)
    before = datetime.fromtimestamp(since - 1, tz)
    for at in range(since, until, BUCKET_S):
        shown = datetime.fromtimestamp(at, tz)
        found[BUCKET_S].append(at)
        if shown.minute == 0 or (shown.date(), shown.hour) > (before.date(), before.hour):
            found[HOUR_S].append(at)
        if shown.date() != before.date():
            found[DAY_S].append(at)
            if shown.weekday() == 0:
                found[WEEK_S].append(at)
            if shown.day == min(month_starts_on, monthrange(shown.year, shown.month)[1]):
                found[MONTH_S].append(at)
        before = shown
    return found


def clock_changes(zone: str, since: int, until: int) -> list[int]:
    """The moments at which the zone's clock is set."""
    tz = ZoneInfo(zone)
    offsets = [(at, datetime.fromtimestamp(at, tz).utcoffset()) for at in range(since, until, BUCKET_S)]
    return [at for (_, one), (at, other) in pairwise(offsets) if one != other]


class Network:
    """Devices and what they move: bytes of 5 minutes are log-normal by application, with a median of 160 kB.

    :ivar buckets: start of each bucket with traffic to the number of buckets that its bytes stand for.
    """

    def __init__(self, devices: int, applications: int, buckets: dict[int, int], active: float = 1.0) -> None:
        """``active``: the part of the buckets in which a device uses an application."""
        self.devices = [f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}" for number in range(devices)]
        self.applications = [f"netify.application-{number:03d}" for number in range(applications)]
        self.buckets = buckets
        self._active = active

    def rows(self, device: int, bucket: int) -> Iterator[tuple[str, bool, Volume]]:
        """What a device moved in a bucket: application, whether with the next device, and how much."""
        chance, weight = random.Random(device << 40 | bucket), self.buckets[bucket]
        local = len(self.applications) - 1 if device % 5 == 0 and len(self.devices) > 1 else -1
        for number, application in enumerate(self.applications):
            if self._active < 1 and chance.random() >= self._active:
                continue
            down = int(chance.lognormvariate(12, 1.5) * weight)
            up = int(down * (0.02 + 0.3 * chance.random()))
            yield application, number == local, Volume(up, down, up // 90 + 1, down // 1200 + 1)

    def amounts(self, device: int, until: int) -> Iterator[tuple[int, Amount]]:
        """The truth: each bucket with traffic of a device that begins before ``until`` (s)."""
        for bucket in self.buckets:
            if bucket >= until:
                return
            volume, shares = NO_VOLUME, dict[str, Share]()
            for owner in (device, (device - 1) % len(self.devices)):
                for application, local, moved in self.rows(owner, bucket):
                    up, down, packets_up, packets_down, *_ = moved
                    if owner != device:
                        if not local:
                            continue
                        up, down, packets_up, packets_down = down, up, packets_down, packets_up
                    part = (up, down) if local else (0, 0)
                    volume = add_volumes(volume, Volume(up, down, packets_up, packets_down, *part))
                    add_shares(shares, {application: Share(up, down, *part)})
                if len(self.devices) == 1:
                    break
            if shares:
                yield bucket, (volume, shares)

    def batch(self, bucket: int) -> Batch:
        """The batch of a flush that has all of a bucket."""
        batch = Batch(bucket)
        for number, device in enumerate(self.devices):
            for application, local, moved in self.rows(number, bucket):
                batch.counted[Key(device, application, "HTTP/S", "br0", local)] = _row(moved)
                if local:
                    peer = self.devices[(number + 1) % len(self.devices)]
                    other = Volume(moved[1], moved[0], moved[3], moved[2])
                    batch.mirrored[Key(peer, application, "HTTP/S", "br0", True)] = _row(other)
        return batch


def _row(moved: Volume) -> Row:
    row = Row()
    row.bytes_up, row.bytes_down, row.packets_up, row.packets_down = moved[:4]
    return row


def by_period(amounts: Iterable[tuple[int, Amount]], starts: Sequence[int]) -> dict[int, Amount]:
    """Sum buckets up to the periods that begin at ``starts``."""
    found: defaultdict[int, Amount] = defaultdict(lambda: (NO_VOLUME, {}))
    for bucket, (volume, shares) in amounts:
        index = bisect_right(starts, bucket)
        if index:
            had, of_period = found[starts[index - 1]]
            add_shares(of_period, shares)
            found[starts[index - 1]] = add_volumes(had, volume), of_period
    return dict(found)


def used(amounts: Iterable[tuple[int, Amount]], since: int, until: int) -> Share:
    """The bytes of the buckets from ``since`` until before ``until``."""
    total = NO_SHARE
    for bucket, (volume, _) in amounts:
        if since <= bucket < until:
            up, down, _, _, local_up, local_down = volume
            total = Share(total[0] + up, total[1] + down, total[2] + local_up, total[3] + local_down)
    return total


class Expiry:
    """Redis' expiry by the clock of the simulation, which is faster than that of Redis.

    Redis tells which keys get a time to live. Keys are deleted once it is over by the simulation's clock.
    """

    def __init__(self, url: str) -> None:
        """``url``: of a Redis that nobody else uses."""
        self._client = connect(url, None)
        self._client.config_set("notify-keyspace-events", "Eg")
        self._told = self._client.pubsub(ignore_subscribe_messages=True)
        self._told.subscribe("__keyevent@0__:expire")
        self._told.get_message(timeout=1)
        self._ends: dict[str, float] = {}
        self._next: list[tuple[float, str]] = []

    def advance(self, now: int) -> None:
        """Note what got a time to live at ``now`` (s), and delete what has expired."""
        marker = str(now)
        self._told.ping(marker)
        keys = set()
        while (message := self._told.get_message(timeout=30)) is not None and message["type"] != "pong":
            keys.add(message["data"])
        assert message is not None
        with self._client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.pttl(key)
            for key, ttl_ms in zip(keys, pipe.execute(), strict=True):
                self._ends[key] = now + ttl_ms / 1000
                heapq.heappush(self._next, (self._ends[key], key))
            over = []
            while self._next and self._next[0][0] <= now:
                end, key = heapq.heappop(self._next)
                if self._ends.get(key) == end:
                    del self._ends[key]
                    over.append(key)
            for key in over:
                pipe.ttl(key)
            gone = [key for key, ttl in zip(over, pipe.execute(), strict=True) if ttl >= 0]
            if gone:
                self._client.delete(*gone)

    def close(self) -> None:
        self._told.close()
        self._client.config_set("notify-keyspace-events", "")


def write(store: RealStore, network: Network, expiry: Expiry, stops: Sequence[int] = ()) -> Iterator[int]:
    """Flush each bucket at its end; yield the time of the last flush, s, at ``stops`` and at the end."""
    last, left = 0, sorted(stops, reverse=True)
    for bucket in network.buckets:
        if left and bucket >= left[-1]:
            left.pop()
            yield last
        at = bucket + BUCKET_S
        store.sequence += 1
        elapsed_ms = (at - last) * 1000 if last else BUCKET_S * 1000
        store.writer.apply(Flush(store.sequence, network.batch(bucket), at * 1000, elapsed_ms))
        expiry.advance(at)
        last = at
    yield last


def schedule(since: int, until: int, gap_s: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Buckets from ``since`` until ``until``: one every so many seconds.

    :param gap_s: from which moment on how many seconds are between two buckets, in order.
    :returns: bucket to the number of buckets that it stands for.
    """
    found, at = {}, since - since % BUCKET_S
    begins = [begin for begin, _ in gap_s]
    while at < until:
        gap = gap_s[max(bisect_right(begins, at) - 1, 0)][1]
        found[at] = gap // BUCKET_S
        at += gap
    return found


def memory(url: str, gateway: str) -> int:
    """MEMORY USAGE of all that a gateway's store has of its history, bytes."""
    client = connect(url, None)
    names = list(client.scan_iter(f"netify:{{{gateway}}}:history*", count=1000))
    total = 0
    for first in range(0, len(names), 1000):
        with client.pipeline(transaction=False) as pipe:
            for name in names[first : first + 1000]:
                pipe.execute_command("MEMORY", "USAGE", name, "SAMPLES", 0)
            total += sum(size or 0 for size in pipe.execute())
    return total


def write_schema_2(url: str, gateway: str, network: Network, now: int) -> None:
    """Write what schema 2 had at ``now`` (s) of the same traffic: a hash for each bucket of each step.

    Its buckets began at multiples of their step in UTC, and expired ``KEEP_S`` after their last flush.
    """
    client, keys = connect(url, None), Keys(gateway)

    def store(series: str, step: int, buckets: dict[int, Amount]) -> None:
        with client.pipeline(transaction=False) as pipe:
            for start, (volume, shares) in buckets.items():
                fields = dict(zip(("bu", "bd", "pu", "pd"), volume, strict=False))
                for application, share in shares.items():
                    fields |= {f"bu:{application}": share[0], f"bd:{application}": share[1]}
                pipe.hset(keys.old_bucket(step, start, series), mapping=fields)
                pipe.expire(keys.old_bucket(step, start, series), KEEP_S[step])
            pipe.execute()

    gateway_too: dict[int, list[tuple[int, Amount]]] = {BUCKET_S: [], HOUR_S: [], DAY_S: []}
    for number, device in enumerate(network.devices):
        amounts = list(network.amounts(number, now))
        for step, parts in gateway_too.items():
            first = (now - KEEP_S[step]) // step * step
            buckets = by_period(amounts, range(first, now, step))
            store(device, step, buckets)
            parts += buckets.items()
    for step, parts in gateway_too.items():
        store("", step, by_period(parts, sorted({start for start, _ in parts})))
