"""Writes the history: adds each flush to the open bucket, packs closed buckets, sums chunks up.

Everything is part of the flush's own transaction, so it happens exactly once. Before MULTI, a flush reads
what is *due*: buckets that are closed but still open hashes, and chunks with fresh records whose period has
ended. It handles a part of them, so that all is done in the first half of the next bucket:

* An open bucket becomes a record, which is appended to its chunk.
* A chunk's fresh records are summed up to a record of the next longer step, which is appended to its own
  chunk. The chunk is written again as a block, and expires.

The hash ``history`` lists the units with due series, and a set for each unit lists the series. The writer
keeps nothing in memory: a Redis that went back to an older state goes on from what it holds.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netify_agent.store.client import Client, undecoded
from netify_agent.store.deltas import Sums
from netify_agent.store.history_blocks import Damaged
from netify_agent.store.history_changes import ChunkChanges
from netify_agent.store.history_migration import Migrated, Migration
from netify_agent.store.history_record import Chunk, decode, encode, encode_summed, merged
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import ALL_COUNTERS, FORGOTTEN, OPEN, SHARE_CODES, VOLUME_CODES, Keys, Unit
from netify_agent.store.open_bucket import Numbers, record_of
from netify_agent.store.retention import DAY_MS, WallClock
from netify_agent.store.transaction import Transaction

log = logging.getLogger(__name__)

_FIELDS = ("due", "since", "numbers")  # of the hash ``history``
# The counters that an open bucket has, in the order of ``ALL_COUNTERS``.
_OF_TOTAL = tuple(code if code in VOLUME_CODES else "" for code in ALL_COUNTERS)
_OF_APPLICATION = tuple(code if code in SHARE_CODES else "" for code in ALL_COUNTERS)
DAMAGED = "history_damaged"  # in the hash ``counters``: chunks that could not be read


@dataclass(frozen=True)
class HistoryLimits:
    """Bounds on the work of one flush."""

    # Buckets packed and chunks summed up, at least; more if not all would be done in half a bucket. One costs
    # about 0.1 ms.
    least: int = 50
    migration_s: float = 0.1  # time for reading history in the form of schema 3; at least one device


_Place = tuple[Unit, str]  # a unit and a series


@dataclass
class Work:
    """What one flush does to history besides counting, as it was read from Redis.

    :ivar bucket: the bucket that the flush belongs to, start, seconds since the epoch.
    :ivar changes: what it changes.
    :ivar since: step to the moment from which on it has records of everything; 0: as long as they are kept.
    :ivar numbers: the applications' numbers.
    :ivar buckets: closed buckets with their fields; :ivar chunks: ended chunks with their contents.
    :ivar dropped: devices whose history goes to ``forgotten``, with their open buckets and chunks.
    :ivar migrated: series whose history of schema 3 becomes chunks.
    :ivar series: those that the flush adds to, besides the gateway's and the devices'.
    :ivar damaged: keys that could not be read.
    """

    bucket: int
    changes: ChunkChanges
    since: dict[int, int]
    numbers: Numbers
    stored: tuple[str | None, ...]
    buckets: dict[_Place, Mapping[str, str]] = field(default_factory=dict)
    chunks: dict[_Place, bytes] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    left_buckets: dict[_Place, Mapping[str, str]] = field(default_factory=dict)
    left_chunks: dict[_Place, bytes] = field(default_factory=dict)
    left_due: set[_Place] = field(default_factory=set)
    migrated: list[Migrated] = field(default_factory=list)
    series: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)


class HistoryWriter:
    """Writes the history of one gateway's store."""

    def __init__(
        self, client: Client, keys: Keys, steps: HistorySteps, limits: HistoryLimits | None = None
    ) -> None:
        """Sends nothing yet."""
        self.steps = steps
        self._client = client
        self._packed = undecoded(client)
        self._keys = keys
        self._limits = limits or HistoryLimits()
        self._migration = Migration(client, keys, steps, self._limits.migration_s)
        self._logged: set[str] = set()  # damaged keys that the log has named

    def read(self, pipe: Any, clock: WallClock, bucket: int, elapsed_ms: int, dropped: Sequence[str]) -> Work:
        """Read what the flush needs.

        :param pipe: executes commands at once: WATCH is set, MULTI is not.
        :param bucket: the flush's, seconds since the epoch.
        :param elapsed_ms: time since the flush before.
        :param dropped: devices to be dropped.
        """
        keys = self._keys
        stored = tuple(pipe.hmget(keys.history, _FIELDS))
        due = {(step, start) for step, start in json.loads(stored[0] or "[]")}
        unmigrated = pipe.smembers(keys.unmigrated)
        at = clock.at_ms // 1000 if clock.steady_ms >= DAY_MS else None
        changes = ChunkChanges(keys, self.steps, due, at)
        since = self._since(json.loads(stored[1]) if stored[1] else None, bucket)
        work = Work(bucket, changes, since, Numbers({}, 0), stored)
        work.dropped = list(dropped)
        if dropped:
            self._read_dropped(work, due)
        self._read_due(work, due, self._budget(clock.at_ms, bucket, elapsed_ms))
        if work.buckets or unmigrated:
            work.numbers = Numbers(pipe.hgetall(keys.history_applications), int(stored[2] or 0))
        if unmigrated:
            first = sorted(unmigrated, key=lambda series: (series not in dropped, series))
            work.migrated = self._migration.read(
                *(clock.at_ms // 1000, first, sum(series in dropped for series in first)),
                *(work.numbers, work.damaged.add),
            )
        return work

    def unmigrated(self, pipe: Any) -> set[str]:
        """The series whose history is still in the form of schema 3; ``pipe`` executes commands at once."""
        names: set[str] = pipe.smembers(self._keys.unmigrated)
        return names

    def queue(self, pipe: Transaction, work: Work) -> None:
        """Queue the changes of closed history. Before them, nothing may be queued for history."""
        keys, changes = self._keys, work.changes
        for (unit, series), data in work.chunks.items():
            self._sum_up(work, unit, series, data)
        for ((_, start), series), fields in work.buckets.items():
            self._close(pipe, work, start, series, fields)
        if work.dropped:
            self._drop(pipe, work)
        current = self.steps.units(self.steps.shortest, work.bucket).values()
        for migrated in work.migrated:
            into = FORGOTTEN if migrated.series in work.dropped else migrated.series
            self._migration.change(migrated, into, changes, current)
            if migrated.keys:
                pipe.delete(*migrated.keys)
            pipe.srem(keys.unmigrated, migrated.series)
        if work.numbers.added:
            pipe.hset(keys.history_applications, mapping=work.numbers.added)
        if work.damaged:
            pipe.hincrby(keys.counters, DAMAGED, len(work.damaged))
            self._tell(work.damaged)

    def grow(
        self, pipe: Transaction, work: Work, series: str, total: Sums, applications: Mapping[str, Sums]
    ) -> None:
        """Add to the open bucket of a series. Flows are not counted in history."""
        if series in work.dropped:
            series = FORGOTTEN
        if not _moves(total) and not any(any(sums[:2]) for sums in applications.values()):
            return
        key = self._keys.open_bucket(work.bucket, series)
        pipe.grow(key, total, _OF_TOTAL)
        pipe.grow_rows(key, applications, _OF_APPLICATION)
        work.changes.mark_due((OPEN, work.bucket), series)

    def grow_other(self, pipe: Transaction, work: Work, series: str, total: Sums) -> None:
        """The same for a series that is neither the gateway's nor a device's. It has no applications."""
        if _moves(total):
            self.grow(pipe, work, series, total, {})
            work.series.add(series)

    def finish(self, pipe: Transaction, work: Work) -> None:
        """Queue what follows from all changes. After it, nothing may be queued for history."""
        work.changes.queue(pipe)
        if work.series:
            pipe.sadd(self._keys.history_series, *sorted(work.series))
        fields = (
            json.dumps(sorted(work.changes.due)),
            json.dumps(work.since),
            str(work.numbers.count) if work.numbers.added else work.stored[2],
        )
        changed = {
            name: value
            for name, value, before in zip(_FIELDS, fields, work.stored, strict=True)
            if value is not None and value != before
        }
        if changed:
            pipe.hset(self._keys.history, mapping=changed)

    # -- what is due -----------------------------------------------------------------------------------------

    def _budget(self, at_ms: int, bucket: int, elapsed_ms: int) -> float:
        """How many flushes are left until all must be done: half a bucket."""
        period = self.steps.calendar.period(self.steps.shortest, bucket)
        half_ms = (period.end - period.start) * 500
        left_ms = min(bucket * 1000 + half_ms - at_ms, half_ms)
        return max(left_ms / max(elapsed_ms, 1), 1.0)

    def _ready(self, due: set[Unit], bucket: int) -> list[Unit]:
        """The units whose due series can be handled, because nothing more is expected in them."""
        steps = self.steps
        ready = sorted(unit for unit in due if unit[0] == OPEN and unit[1] != bucket)
        expecting: set[Unit] = set()
        for start in (bucket, *(steps.bucket(start) for _, start in ready)):
            expecting.update(steps.units(steps.shortest, start).values())
        for step, start in sorted(unit for unit in due if unit[0] != OPEN):
            if (step, start) not in expecting:
                ready.append((step, start))
            # What is due in it goes to the chunks of longer steps.
            expecting.update(unit for unit in steps.units(step, start).values() if unit[0] != step)
        return ready

    def _read_due(self, work: Work, due: set[Unit], flushes: float) -> None:
        """Read a part of what is due, large enough that everything is done after ``flushes`` flushes."""
        keys, ready = self._keys, self._ready(due, work.bucket)
        if not ready:
            return
        with self._client.pipeline(transaction=False) as pipe:
            for unit in ready:
                pipe.scard(keys.due(unit))
            sizes = pipe.execute()
        left = max(self._limits.least, math.ceil(sum(sizes) / flushes))
        parts: list[tuple[Unit, int]] = []
        for unit, size in zip(ready, sizes, strict=True):
            part = min(size, left)
            left -= part
            if part:
                parts.append((unit, part))
            if part == size:
                work.changes.finish(unit)
        with self._client.pipeline(transaction=False) as pipe:
            for unit, part in parts:
                pipe.srandmember(keys.due(unit), part)
            names = pipe.execute() if parts else []
        places = [
            (unit, series)
            for (unit, _), part in zip(parts, names, strict=True)
            for series in sorted(part)
            if series not in work.dropped
        ]
        buckets = [(unit, series) for unit, series in places if unit[0] == OPEN]
        work.buckets = self._buckets(buckets)
        work.chunks = self._chunks([(unit, series) for unit, series in places if unit[0] != OPEN])

    def _buckets(self, places: Sequence[_Place]) -> dict[_Place, Mapping[str, str]]:
        with self._client.pipeline(transaction=False) as pipe:
            for (_, start), series in places:
                pipe.hgetall(self._keys.open_bucket(start, series))
            return dict(zip(places, pipe.execute() if places else [], strict=True))

    def _chunks(self, places: Sequence[_Place]) -> dict[_Place, bytes]:
        if not places:
            return {}
        found = self._packed.mget([self._keys.chunk(unit, series) for unit, series in places])
        return {place: data or b"" for place, data in zip(places, found, strict=True)}

    def _sum_up(self, work: Work, unit: Unit, series: str, data: bytes) -> None:
        """Sum a chunk's fresh records up, and write it again with all its records in one block."""
        changes, (step, chunk) = work.changes, unit
        changes.clear_due(unit, series)
        records = self._decode(work, unit, series, data)
        if records is None:
            changes.expire(unit, series)
            return
        if not data:  # it expired or was lost
            return
        changes.replace(unit, series, encode_summed((*records.summed, *records.fresh), chunk))
        longer = self.steps.longer(step)
        if longer is not None:
            for record in self.steps.summed_up(step, longer, records.fresh):
                changes.append(longer, series, record)

    def _close(
        self, pipe: Transaction, work: Work, start: int, series: str, fields: Mapping[str, str]
    ) -> None:
        """Replace an open bucket by a record."""
        key = self._keys.open_bucket(start, series)
        pipe.delete(key)
        work.changes.clear_due((OPEN, start), series)
        try:
            record = record_of(self.steps.bucket(start), fields, work.numbers)
        except Damaged:
            work.damaged.add(key)
            return
        if any(record.volume) or record.applications:
            work.changes.append(self.steps.shortest, series, record)

    def _decode(self, work: Work, unit: Unit, series: str, data: bytes) -> Chunk | None:
        try:
            return decode(data, unit[1])
        except Damaged:
            work.damaged.add(self._keys.chunk(unit, series))
            return None

    # -- devices that are dropped ----------------------------------------------------------------------------

    def _read_dropped(self, work: Work, due: set[Unit]) -> None:
        """Read all history of the dropped devices, and the chunks of ``forgotten``."""
        keys, known = self._keys, sorted({*self.steps.keep_s, *(step for step, _ in due if step != OPEN)})
        with self._client.pipeline(transaction=False) as pipe:
            for step in known:
                pipe.zrange(keys.chunks(step), 0, -1)
            starts = pipe.execute()
        units = [(step, int(start)) for step, found in zip(known, starts, strict=True) for start in found]
        names = (*work.dropped, FORGOTTEN)
        chunks = self._chunks([(unit, series) for unit in units for series in names])
        for (unit, series), data in chunks.items():
            if series == FORGOTTEN:
                work.changes.hold(unit, series, data)
            elif data:
                work.left_chunks[unit, series] = data
        work.left_buckets = self._buckets(
            [(unit, series) for unit in sorted(due) if unit[0] == OPEN for series in work.dropped]
        )
        work.left_due = {(unit, series) for unit in due for series in work.dropped}

    def _drop(self, pipe: Transaction, work: Work) -> None:
        """Add the history of dropped devices to that of ``forgotten``."""
        changes, keys = work.changes, self._keys
        for (unit, series), fields in work.left_buckets.items():
            if fields:
                pipe.delete(keys.open_bucket(unit[1], series))
                changes.mark_due(unit, FORGOTTEN)
            for name, value in fields.items():
                pipe.hincrby(keys.open_bucket(unit[1], FORGOTTEN), name, int(value))
        moved: dict[Unit, Chunk] = {}
        for (unit, series), data in work.left_chunks.items():
            pipe.delete(keys.chunk(unit, series))
            found = self._decode(work, unit, series, data)
            if found is not None:
                into = moved.setdefault(unit, Chunk())
                into.summed += found.summed
                into.fresh += found.fresh
        for unit, chunk in moved.items():
            held = self._decode(work, unit, FORGOTTEN, changes.held(unit, FORGOTTEN)) or Chunk()
            fresh = merged((*held.fresh, *chunk.fresh))
            data = encode_summed((*held.summed, *chunk.summed), unit[1])
            changes.replace(unit, FORGOTTEN, data + b"".join(encode(record, unit[1]) for record in fresh))
            if fresh:
                changes.mark_due(unit, FORGOTTEN)
        for unit, series in work.left_due:
            changes.clear_due(unit, series)
        work.series.add(FORGOTTEN)

    # ----------------------------------------------------------------------------------------------------

    def _since(self, stored: Mapping[str, int] | None, bucket: int) -> dict[int, int]:
        """From when on each step has records of everything; 0 for steps that the store began with."""
        if stored is None:
            return dict.fromkeys(self.steps.all, 0)
        steps = self.steps
        return {
            step: stored.get(str(step), steps.period(step, steps.shortest, bucket).end) for step in steps.all
        }

    def _tell(self, damaged: set[str]) -> None:
        """Log each key once."""
        for key in sorted(damaged - self._logged):
            log.error("the history in Redis under %s is damaged and is left out", key)
        self._logged |= damaged


def _moves(total: Sums) -> bool:
    """Whether bytes or packets moved."""
    return any(total[:4]) or any(total[5:])
