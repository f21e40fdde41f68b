"""Which devices the latest flushes changed: what ``/events`` is told by the writer, and resumes from.

The writer's thread only notes and wakes: nothing is read and nobody is waited for. Knows no HTTP.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

_KEPT_FLUSHES = 240  # an hour of the default interval
_KEPT_NAMES = 100_000  # in all of them: some 10 MB


@dataclass(frozen=True)
class Span:
    """What changed after one flush, up to another.

    :ivar sequence: of the last flush in it.
    :ivar since_ms: when the flush before it was taken, our clock; None where that is not known.
    :ivar at_ms: when its last flush was taken.
    :ivar devices: the names of those that changed.
    """

    sequence: int
    since_ms: int | None
    at_ms: int
    devices: frozenset[str]


class FlushLog:
    """The latest flushes, and whoever waits for the next one. Thread-safe."""

    def __init__(self) -> None:
        self._moved = threading.Condition()
        self._kept: deque[Span] = deque()  # each of one flush
        self._names = 0
        self._moving: frozenset[str] = frozenset()
        self._known_from = 0
        self._rounds = 0
        self._closed = False
        self._followers = 0

    def applied(self, sequence: int, at_ms: int, changed: Iterable[str], moving: Iterable[str]) -> None:
        """Redis took a flush.

        :param at_ms: when it was taken, our clock, milliseconds since the epoch.
        :param changed: devices whose counters or addresses it changed.
        :param moving: devices that have a rate other than 0 after it.
        """
        with self._moved:
            cached = self._kept
            last = cached[-1] if cached else None
            if last is None or sequence != last.sequence + 1:
                # A start; or Redis lost flushes, and gives their numbers to others: no number up to the
                # last one means anything to us any more.
                self._known_from = max(self._known_from, sequence, last.sequence + 1 if last else 0)
                self._rounds += last is not None
                cached.clear()
                self._names = 0
                last = None
            now = frozenset(moving)
            devices = (
                frozenset(changed) | now | self._moving
            )  # those that have come to rest have another rate
            self._moving = now
            cached.append(Span(sequence, last.at_ms if last else None, at_ms, devices))
            self._names += len(devices)
            while len(cached) > 1 and (len(cached) > _KEPT_FLUSHES or self._names > _KEPT_NAMES):
                self._names -= len(cached.popleft().devices)
            self._moved.notify_all()

    @property
    def latest(self) -> Span | None:
        """The last flush; None before the first."""
        with self._moved:
            return self._kept[-1] if self._kept else None

    def is_ours(self, sequence: int) -> bool:
        """Whether who knows of flush ``sequence`` has it from us, and not from before Redis lost it."""
        with self._moved:
            return bool(self._kept) and self._known_from <= sequence <= self._kept[-1].sequence

    def since(self, sequence: int) -> Span | None:
        """All that changed after flush ``sequence``; None where that one is not known (any more)."""
        with self._moved:
            if not self._kept or not self._kept[0].sequence <= sequence <= self._kept[-1].sequence:
                return None
            services = [part for part in self._kept if part.sequence > sequence]
            if not services:
                last = self._kept[-1]
                return Span(sequence, last.at_ms, last.at_ms, frozenset())
            if len(services) == 1:
                return services[0]
            devices = frozenset().union(*(part.devices for part in services))
            return Span(services[-1].sequence, services[0].since_ms, services[-1].at_ms, devices)

    # -- those who follow --------------------------------------------------------------------------

    def enter(self, limit: int) -> bool:
        """Whether one more may follow, so that at most ``limit`` do; then :meth:`leave` is to be called."""
        with self._moved:
            if self._followers >= limit:
                return False
            self._followers += 1
            return True

    def leave(self) -> None:
        """One follows no more."""
        with self._moved:
            self._followers -= 1

    @property
    def followers(self) -> int:
        """How many follow now."""
        with self._moved:
            return self._followers

    @property
    def rounds(self) -> int:
        """How often those who follow were sent away so far; see :meth:`wait`."""
        with self._moved:
            return self._rounds

    def send_away(self) -> None:
        """End all that follow now, since who may has changed; they may come back."""
        with self._moved:
            self._rounds += 1
            self._moved.notify_all()

    def close(self) -> None:
        """End all that follow, now and from now on: the server stops."""
        with self._moved:
            self._closed = True
            self._moved.notify_all()

    def wait(self, sequence: int | None, rounds: int, timeout_s: float) -> bool:
        """Wait until the last flush is not number ``sequence``, for at most ``timeout_s`` seconds.

        :param sequence: None: until there is any.
        :param rounds: as it was when the caller came.
        :returns: False when it was sent away since, which it learns at once.
        """

        def away() -> bool:
            return self._closed or self._rounds != rounds

        def moved() -> bool:
            return (self._kept[-1].sequence if self._kept else None) != sequence

        with self._moved:
            self._moved.wait_for(lambda: away() or moved(), timeout_s)
            return not away()
