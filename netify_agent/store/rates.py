"""Rates: the bytes of the latest flushes, divided by the time that they cover.

netifyd reports a live flow every 15 seconds (its ``update_interval``). With a shorter flush interval most
flushes see none of a flow's bytes and one sees all of them. Rates are therefore averaged over a window: the
last flush, or as many as are needed to cover one report of each flow.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from json.encoder import encode_basestring as quoted
from typing import NamedTuple

from netify_agent.store.deltas import Fresh

WINDOW_MS = 14_000  # netifyd 4.4.5 reports every 15 s; one second less, as timers are inexact


class _Packed(NamedTuple):
    """A :data:`Fresh` in a fifth of the memory.

    :ivar tags: applications.
    :ivar bytes: bytes up and down of each, in the order of ``tags``. Doubles are exact up to 2**53.
    """

    tags: tuple[str, ...]
    bytes: array[float]


class _Interval(NamedTuple):
    sequence: int
    elapsed_ms: int
    bytes: dict[str, _Packed]


class RateWindow:
    """The bytes of the latest flushes. Kept in memory only; after a restart the window starts empty."""

    def __init__(self) -> None:
        self._intervals: deque[_Interval] = deque()  # the last one belongs to the flush in progress
        self._elapsed_ms = 0

    def begin(self, sequence: int, elapsed_ms: int) -> None:
        """Start flush ``sequence``; starting it again replaces the earlier attempt.

        :param elapsed_ms: time that the flush covers, milliseconds.
        """
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
        """Add the bytes of one device, or of the gateway, in the flush in progress.

        :returns: its rates in bits per second as stored in Redis, in JSON: ``[[up, down], {application: [up,
            down]}]``; empty if all rates are 0.
        """
        current = self._intervals[-1]
        if fresh and current.elapsed_ms < WINDOW_MS:  # otherwise no later window includes this flush
            current.bytes[name] = _Packed(tuple(fresh), array("d", chain.from_iterable(fresh.values())))
        sums: Mapping[str, Sequence[int]] = fresh
        earlier = [interval for interval in self._intervals if interval is not current]
        if earlier:
            sums = added = {tag: list(pair) for tag, pair in fresh.items()}
        for interval in earlier:
            if (packed := interval.bytes.get(name)) is not None:
                amounts = map(int, packed.bytes)
                for tag, up, down in zip(packed.tags, amounts, amounts, strict=True):
                    pair = added.setdefault(tag, [0, 0])
                    pair[0] += up
                    pair[1] += down
        if not sums:
            return ""
        ms = self._elapsed_ms
        ups, downs = zip(*sums.values(), strict=True)
        rows = [f"{quoted(tag)}:[{up * 8000 // ms},{down * 8000 // ms}]" for tag, (up, down) in sums.items()]
        return f"[[{sum(ups) * 8000 // ms},{sum(downs) * 8000 // ms}],{{{','.join(rows)}}}]"

    def rest(self, added: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Rates of devices that moved bytes in the window but were not added to this flush.

        :param added: names passed to :meth:`add` for this flush.
        """
        in_window = {name for interval in self._intervals for name in interval.bytes}
        for name in in_window.difference(added):
            yield name, self.add(name, {})
