"""Rates: what the latest flushes grew by, over the time that they cover.

netifyd reports a live flow every 15 seconds (its ``update_interval``), so a shorter flush interval sees
nothing for a while and then three intervals' bytes at once. The window evens that out: it covers the last
flush, or as many as it takes to cover one report of each flow.
"""

from __future__ import annotations

import json
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from netify_agent.store.deltas import Fresh

WINDOW_MS = 14_000  # netifyd 4.4.5 reports each 15 s; a second for timers that are not exact

Pair = tuple[int, int]  # bits per second up, down


class DeviceRates(NamedTuple):
    """Rates of a device and of those of its applications that moved anything."""

    total: Pair
    applications: dict[str, Pair]


class _Packed(NamedTuple):
    """A :data:`Fresh` in a fifth of the memory: tags, and in their order bytes up and down of each."""

    tags: tuple[str, ...]
    bytes: array[float]  # exact up to 2**53: nobody moves more in 14 s


class _Interval(NamedTuple):
    sequence: int
    elapsed_ms: int
    bytes: dict[str, _Packed]


class RateWindow:
    """The latest flushes, in memory only: after a restart it fills anew."""

    def __init__(self) -> None:
        self._intervals: deque[_Interval] = deque()  # the last one is that of the flush under way
        self._elapsed_ms = 0

    def begin(self, sequence: int, elapsed_ms: int) -> None:
        """Flush ``sequence``, of ``elapsed_ms``, is under way; it counts once, however often it is tried."""
        intervals = self._intervals
        while intervals and intervals[-1].sequence >= sequence:
            intervals.pop()
        intervals.append(_Interval(sequence, max(elapsed_ms, 1), {}))
        while self._covered() - intervals[0].elapsed_ms >= WINDOW_MS:
            intervals.popleft()
        self._elapsed_ms = self._covered()

    def _covered(self) -> int:
        return sum(interval.elapsed_ms for interval in self._intervals)

    def add(self, name: str, fresh: Fresh) -> str:
        """Take in the bytes of one device, or of the gateway.

        :returns: its rates as the store keeps them: JSON of a :class:`DeviceRates`; empty if it is at rest.
        """
        now = self._intervals[-1]
        if fresh and now.elapsed_ms < WINDOW_MS:  # else no later flush will look back at it
            now.bytes[name] = _Packed(tuple(fresh), array("d", chain.from_iterable(fresh.values())))
        sums = {tag: list(pair) for tag, pair in fresh.items()}
        for interval in self._intervals:
            if interval is not now and (known := interval.bytes.get(name)) is not None:
                amounts = map(int, known.bytes)
                for tag, up, down in zip(known.tags, amounts, amounts, strict=True):
                    pair = sums.setdefault(tag, [0, 0])
                    pair[0] += up
                    pair[1] += down
        if not sums:
            return ""
        return json.dumps(
            DeviceRates(self._rate(sums.values()), {tag: self._rate([pair]) for tag, pair in sums.items()})
        )

    def rest(self, told: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Rates of those that are not ``told`` of in this flush, but moved something in the window."""
        moved = {name for interval in self._intervals for name in interval.bytes}
        for name in moved.difference(told):
            yield name, self.add(name, {})

    def _rate(self, pairs: Iterable[list[int]]) -> Pair:
        ups, downs = zip(*pairs, strict=True)
        return sum(ups) * 8000 // self._elapsed_ms, sum(downs) * 8000 // self._elapsed_ms
