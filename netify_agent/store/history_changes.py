"""Gathers the changes of one flush to packed history, and queues them in the right order.

Contents that replace a chunk come first, then records that are appended. The sets of due series follow the
same order.
"""

from __future__ import annotations

from collections import defaultdict

from netify_agent.store.history_record import Record, encode, encode_summed
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import Keys, Unit
from netify_agent.store.transaction import Transaction


class ChunkChanges:
    """The changes of one flush to chunks, and to which series are due in them.

    :ivar due: the units that have due series once the changes are applied.
    """

    def __init__(self, keys: Keys, steps: HistorySteps, due: set[Unit], at: int | None) -> None:
        """``due``: the units that have due series now; ``at``: see :meth:`HistorySteps.ttl`."""
        self.due = set(due)
        self._keys = keys
        self._steps = steps
        self._at = at
        self._held: dict[tuple[Unit, str], bytes] = {}  # known contents
        self._replaced: set[tuple[Unit, str]] = set()
        self._appended: defaultdict[tuple[Unit, str], bytes] = defaultdict(bytes)
        self._expiring: list[tuple[Unit, str]] = []
        self._no_longer_due: defaultdict[Unit, list[str]] = defaultdict(list)
        self._due: defaultdict[Unit, set[str]] = defaultdict(set)

    def hold(self, unit: Unit, series: str, data: bytes) -> None:
        """Note that the chunk holds ``data``. Records appended afterwards are written together with it."""
        self._held[unit, series] = data

    def held(self, unit: Unit, series: str) -> bytes:
        """Return the content, after the changes so far, of a chunk for which :meth:`hold` was called."""
        return self._held.get((unit, series), b"")

    def replace(self, unit: Unit, series: str, data: bytes) -> None:
        """Replace the content of a chunk. It expires unless it is marked due too."""
        self._held[unit, series] = data
        self._replaced.add((unit, series))

    def append(self, step: int, series: str, record: Record) -> None:
        """Append a fresh record to its chunk and mark that due."""
        unit = step, self._steps.chunk(step, record.start)
        self._append(unit, series, encode(record, unit[1]))
        self.mark_due(unit, series)

    def append_summed(self, unit: Unit, series: str, records: list[Record]) -> None:
        """Append records to a chunk that a longer step holds too."""
        self._append(unit, series, encode_summed(records, unit[1]))

    def _append(self, unit: Unit, series: str, data: bytes) -> None:
        place = unit, series
        if place in self._held:
            self._held[place] += data
            self._replaced.add(place)
        else:
            self._appended[place] += data

    def mark_due(self, unit: Unit, series: str) -> None:
        """Mark the series as having fresh records in the chunk, or an open bucket."""
        self._due[unit].add(series)

    def expire(self, unit: Unit, series: str) -> None:
        """Let the chunk expire, unchanged."""
        self._expiring.append((unit, series))

    def clear_due(self, unit: Unit, series: str) -> None:
        """Mark the series as no longer due in ``unit``, unless it is marked due too."""
        self._no_longer_due[unit].append(series)

    def finish(self, unit: Unit) -> None:
        """Mark all series as no longer due in ``unit``, except those that are marked due."""
        self.due.discard(unit)

    def queue(self, pipe: Transaction) -> None:
        """Queue all changes. Call it once."""
        keys = self._keys
        for unit, series in self._replaced:
            key = keys.chunk(unit, series)
            pipe.set(key, self._held[unit, series])
            if series not in self._due[unit]:
                self._expire(pipe, unit, key)
        for (unit, series), data in self._appended.items():
            key = keys.chunk(unit, series)
            pipe.append(key, data)
            if series in self._due[unit]:
                pipe.persist(key)
            else:
                self._expire(pipe, unit, key)
        for unit, series in self._expiring:
            self._expire(pipe, unit, keys.chunk(unit, series))
        for unit, cleared in self._no_longer_due.items():
            pipe.srem(keys.due(unit), *cleared)
        for unit, names in self._due.items():
            if names:
                pipe.sadd(keys.due(unit), *sorted(names))
                self.due.add(unit)
        for step, start in sorted({unit for unit, _ in (*self._replaced, *self._appended)}):
            pipe.zadd(keys.chunks(step), {str(start): start})
            if self._at is not None:  # their series have expired
                latest = self._at - self._steps.keep_s.get(step, 0) - 3 * self._steps.chunk_length(step)
                pipe.zremrangebyscore(keys.chunks(step), "-inf", min(latest, start - 1))

    def _expire(self, pipe: Transaction, unit: Unit, key: str) -> None:
        pipe.expire(key, self._steps.ttl(*unit, self._at))
