"""Rates: what the latest flushes grew by, over the time that they cover.

netifyd reports a live flow every 15 seconds (its ``update_interval``), so a shorter flush interval sees
nothing for a while and then three intervals' bytes at once. The window evens that out: it covers the last
flush, or as many as it takes to cover one report of each flow.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import NamedTuple

from netify_agent.store.changes import Fresh

WINDOW_MS = 14_000  # netifyd 4.4.5 reports each 15 s; a second for timers that are not exact

Pair = tuple[int, int]  # bits per second up, down


class DeviceRates(NamedTuple):
    """Rates of a device and of those of its applications that moved anything."""

    total: Pair
    applications: dict[str, Pair]


class _Interval(NamedTuple):
    sequence: int
    elapsed_ms: int
    bytes: Fresh


class RateWindow:
    """The latest flushes, in memory only: after a restart it fills anew."""

    def __init__(self) -> None:
        self._intervals: deque[_Interval] = deque()

    def add(self, sequence: int, elapsed_ms: int, fresh: Fresh) -> None:
        """Take in the bytes of flush ``sequence``, of ``elapsed_ms``; once, however often it is tried."""
        while self._intervals and self._intervals[-1].sequence >= sequence:
            self._intervals.pop()
        self._intervals.append(_Interval(sequence, max(elapsed_ms, 1), fresh))
        while self._covered() - self._intervals[0].elapsed_ms >= WINDOW_MS:
            self._intervals.popleft()

    def _covered(self) -> int:
        return sum(interval.elapsed_ms for interval in self._intervals)

    def rates(self) -> dict[str, DeviceRates]:
        """Rates by device (the gateway among them); what is not named is at rest."""
        elapsed_ms = self._covered()
        sums: Fresh = defaultdict(lambda: defaultdict(lambda: [0, 0]))
        for interval in self._intervals:
            for name, rows in interval.bytes.items():
                for tag, (up, down) in rows.items():
                    sums[name][tag][0] += up
                    sums[name][tag][1] += down

        def rate(pairs: Iterable[list[int]]) -> Pair:
            ups, downs = zip(*pairs, strict=True)
            return sum(ups) * 8000 // elapsed_ms, sum(downs) * 8000 // elapsed_ms

        return {
            name: DeviceRates(rate(rows.values()), {tag: rate([pair]) for tag, pair in rows.items()})
            for name, rows in sums.items()
        }
