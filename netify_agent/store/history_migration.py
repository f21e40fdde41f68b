"""The history of schema 1 to 3: one hash for each bucket of each step, at multiples of the step in UTC.

A few devices in each flush get their buckets packed. Until then, readers read the hashes. The hashes of a
step already contain those of shorter steps, so nothing is summed up, except to months, which that schema did
not have. Devices that were forgotten before are not known any more; their buckets expire.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from netify_agent.config.calendar import MONTH_S
from netify_agent.store.client import Client
from netify_agent.store.history_blocks import Damaged
from netify_agent.store.history_changes import ChunkChanges
from netify_agent.store.history_record import Record
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import Keys, Unit
from netify_agent.store.open_bucket import Numbers, record_of


@dataclass
class Migrated:
    """The old buckets of one series: their keys, and their records by step."""

    series: str
    keys: list[str]
    records: dict[int, list[Record]]


def old_step(steps: HistorySteps, step: int) -> int | None:
    """The step of schema 3 that has what belongs to ``step``; None if none has."""
    return max((other for other in steps.keep_s if other <= step and other != MONTH_S), default=None)


def old_starts(step: int, since: int, until: int) -> range:
    """Starts of the old buckets of ``step`` that may touch the time from ``since`` to ``until``."""
    return range((since - step) // step * step, until, step)


class Migration:
    """Packs the old buckets of one gateway's store."""

    def __init__(self, client: Client, keys: Keys, steps: HistorySteps, budget_s: float) -> None:
        """``budget_s``: time for reading in one flush, seconds; one series is always read."""
        self._client = client
        self._keys = keys
        self._steps = steps
        self._budget_s = budget_s

    def read(
        self, now: int, series: Iterable[str], least: int, numbers: Numbers, warn: Callable[[str], object]
    ) -> list[Migrated]:
        """Read the old buckets of the first of ``series``, as many as the budget allows.

        :param now: our clock, seconds since the epoch.
        :param least: how many are read in any case; one or more.
        :param warn: called with each key that holds no bucket.
        """
        end = time.monotonic() + self._budget_s
        found = []
        for name in series:
            found.append(self._read(now, name, numbers, warn))
            if len(found) >= least and time.monotonic() >= end:
                break
        return found

    def _read(self, now: int, series: str, numbers: Numbers, warn: Callable[[str], object]) -> Migrated:
        places = [
            (step, start)
            for step, keep in self._steps.keep_s.items()
            if step != MONTH_S
            for start in old_starts(step, now - keep, now + step)
        ]
        names = [self._keys.old_bucket(step, start, series) for step, start in places]
        with self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hgetall(name)
            hashes = pipe.execute()
        migrated = Migrated(series, [], {})
        for (step, start), name, fields in zip(places, names, hashes, strict=True):
            if fields:
                migrated.keys.append(name)
                try:
                    migrated.records.setdefault(step, []).append(record_of(start, fields, numbers))
                except Damaged:
                    warn(name)
        return migrated

    def change(
        self, migrated: Migrated, series: str, changes: ChunkChanges, current: Collection[Unit]
    ) -> None:
        """Note that the old buckets become history of ``series``.

        :param current: the units that records of now belong to.
        """
        steps = self._steps
        for step, records in migrated.records.items():
            units: dict[Unit, list[Record]] = {}
            for record in records:
                units.setdefault((step, steps.chunk(step, record.start)), []).append(record)
            longer = steps.longer(step)
            for unit, part in units.items():
                if longer in (None, MONTH_S) and unit in current:
                    for record in part:
                        changes.append(step, series, record)
                    continue
                changes.append_summed(unit, series, part)
                if longer == MONTH_S:
                    for record in steps.summed_up(step, MONTH_S, part):
                        changes.append(MONTH_S, series, record)
