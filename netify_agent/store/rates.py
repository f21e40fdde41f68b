"""Rates: what the latest flushes grew by, over the time that they cover.

netifyd reports a live flow every 15 seconds (its ``update_interval``), so a shorter flush interval sees
nothing for a while and then three intervals' bytes at once. The window evens that out: it covers the last
flush, or as many as it takes to cover one report of each flow.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import NamedTuple

from netify_agent.store.changes import Changes

WINDOW_MS = 14_000  # netifyd 4.4.5 reports each 15 s; a second for timers that are not exact

Pair = tuple[int, int]  # bits per second up, down


class DeviceRates(NamedTuple):
    """Rates of a device and of those of its applications that moved anything."""

    total: Pair
    applications: dict[str, Pair]


class _Interval(NamedTuple):
    sequence: int
    elapsed_ms: int
    bytes: dict[str, dict[str, Pair]]  # device, application (empty: the total): bytes up, down


class RateWindow:
    """The latest flushes, in memory only: after a restart it fills anew."""

    def __init__(self) -> None:
        self._intervals: deque[_Interval] = deque()

    def add(self, sequence: int, elapsed_ms: int, changes: Changes) -> None:
        """Take in what flush ``sequence`` grew by in ``elapsed_ms``; again, if it is tried again."""
        while self._intervals and self._intervals[-1].sequence >= sequence:
            self._intervals.pop()
        moved = {
            name: {
                "": (change.total[0], change.total[1]),
                **{tag: (sums[0], sums[1]) for tag, sums in change.applications.items()},
            }
            for name, change in changes.items()
        }
        self._intervals.append(_Interval(sequence, max(elapsed_ms, 1), moved))
        while self._covered() - self._intervals[0].elapsed_ms >= WINDOW_MS:
            self._intervals.popleft()

    def _covered(self) -> int:
        return sum(interval.elapsed_ms for interval in self._intervals)

    def rates(self) -> dict[str, DeviceRates]:
        """Rates by device (the gateway among them); what is not named is at rest.

        A reclassification may take more from a row than it grew by in the window: that shows as 0.
        """
        elapsed_ms = self._covered()
        sums: defaultdict[str, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
        for interval in self._intervals:
            for name, rows in interval.bytes.items():
                for tag, (up, down) in rows.items():
                    row = sums[name][tag]
                    row[0] += up
                    row[1] += down
        found = {}
        for name, rows_of in sums.items():
            pairs = {
                tag: (max(up, 0) * 8000 // elapsed_ms, max(down, 0) * 8000 // elapsed_ms)
                for tag, (up, down) in rows_of.items()
            }
            total = pairs.pop("")
            moving = {tag: pair for tag, pair in pairs.items() if any(pair)}
            if any(total) or moving:
                found[name] = DeviceRates(total, moving)
        return found
