"""The latest flushes and alerts of this process; clients of ``/events`` wait here for the next one.

The flusher's thread records each flush that Redis took, and alerts that fire or are resolved. ``/events``
resumes from this log, and cached answers are valid until it has another flush. Reads nothing and knows no
HTTP.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from netify_agent.alerts.alert import Alert

Stamp = tuple[int, int]  #: number of a flush, and our clock when its batch was taken, ms since the epoch


@dataclass(frozen=True)
class Span:
    """Consecutive flushes.

    :ivar sequence: number of the last one.
    :ivar since_ms: our clock at the flush before the first one, milliseconds since the epoch; None if
        unknown.
    :ivar at_ms: our clock at the last one.
    :ivar devices: names of the devices that they changed.
    """

    sequence: int
    since_ms: int | None
    at_ms: int
    devices: frozenset[str]


@dataclass(frozen=True)
class _LoggedAlert:
    """An alert that fired or was resolved.

    :ivar number: counts up from 1 in this process.
    :ivar sequence: the flush that made it known; the next one if there was none.
    """

    number: int
    sequence: int
    alert: Alert


class FlushLog:
    """A bounded log of flushes. Thread-safe."""

    def __init__(self, max_flushes: int = 240, max_names: int = 100_000, max_alerts: int = 1000) -> None:
        """Start with an empty log and no follower.

        :param max_flushes: flushes to remember; the default is an hour at the default interval.
        :param max_names: device names to remember in all flushes together; the default takes about 10 MB.
        :param max_alerts: alerts to remember; the default takes about 0.5 MB.
        """
        self._max_flushes = max_flushes
        self._max_names = max_names
        self._changed = threading.Condition()  # guards all that follows; notified when any of it changes
        self._flushes: deque[Span] = deque()  # spans of one flush each
        self._names = 0  # device names in all of them
        self._max_alerts = max_alerts
        self._alerts: deque[_LoggedAlert] = deque()
        self._alert_number = 0  # of the latest alert
        self._alerts_from = 0  # the alerts of all flushes after this one are in the log
        self._moving: frozenset[str] = frozenset()  # devices with a rate after the last flush
        self._valid_from = 0  # lowest sequence number that identifies a flush
        self._generation = 0
        self._closed = False
        self._followers = 0

    def applied(self, sequence: int, at_ms: int, changed: Iterable[str], moving: Iterable[str]) -> None:
        """Record a flush that Redis took.

        :param at_ms: our clock when its batch was taken, milliseconds since the epoch.
        :param changed: devices whose counters or addresses it changed, and devices that it dropped.
        :param moving: devices with a rate above 0 after it.
        """
        with self._changed:
            last = self._flushes[-1] if self._flushes else None
            if last is not None and sequence != last.sequence + 1:
                # Redis lost flushes, and their numbers are used again: forget all numbers up to the last.
                self._valid_from = max(self._valid_from, last.sequence + 1)
                self._generation += 1
                self._flushes.clear()
                self._names = 0
                self._alerts.clear()
                last = None
            if last is None:
                self._valid_from = max(self._valid_from, sequence)
            moving = frozenset(moving)
            devices = frozenset(changed) | moving | self._moving  # those that stopped: their rate is now 0
            self._moving = moving
            self._flushes.append(Span(sequence, last.at_ms if last else None, at_ms, devices))
            self._names += len(devices)
            while len(self._flushes) > 1 and (
                len(self._flushes) > self._max_flushes or self._names > self._max_names
            ):
                self._names -= len(self._flushes.popleft().devices)
            self._changed.notify_all()

    def announce(self, alerts: Iterable[Alert]) -> None:
        """Record alerts that fired or were resolved, before the flush that made them known."""
        with self._changed:
            sequence = self._flushes[-1].sequence + 1 if self._flushes else 0
            for alert in alerts:
                self._alert_number += 1
                self._alerts.append(_LoggedAlert(self._alert_number, sequence, alert))
            while len(self._alerts) > self._max_alerts:
                self._alerts_from = self._alerts.popleft().sequence
            self._changed.notify_all()

    def alerts_before(self, position: int | None) -> int:
        """Return the number of the last alert that a client which knows flush ``position`` has received.

        :param position: None: the client has received all alerts.
        """
        with self._changed:
            if position is None:
                return self._alert_number
            later = (one.number - 1 for one in self._alerts if one.sequence > position)
            return next(later, self._alert_number)

    def alerts_after(self, number: int) -> tuple[int, list[Alert]]:
        """The alerts after alert ``number``, and the number of the last one."""
        with self._changed:
            return self._alert_number, [one.alert for one in self._alerts if one.number > number]

    @property
    def latest(self) -> Span | None:
        """The last flush; None before the first."""
        with self._changed:
            return self._flushes[-1] if self._flushes else None

    def is_known(self, sequence: int) -> bool:
        """Whether ``sequence`` is the number of a flush of this process that Redis has not lost since."""
        with self._changed:
            return bool(self._flushes) and self._valid_from <= sequence <= self._flushes[-1].sequence

    def since(self, sequence: int) -> Span | None:
        """The flushes after flush ``sequence``; None if that one is no longer, or not yet, in the log."""
        with self._changed:
            first = max(self._flushes[0].sequence, self._alerts_from) if self._flushes else 0
            if not self._flushes or not first <= sequence <= self._flushes[-1].sequence:
                return None
            later = [span for span in self._flushes if span.sequence > sequence]
            if not later:
                last = self._flushes[-1]
                return Span(sequence, last.at_ms, last.at_ms, frozenset())
            if len(later) == 1:
                return later[0]
            devices = frozenset().union(*(span.devices for span in later))
            return Span(later[-1].sequence, later[0].since_ms, later[-1].at_ms, devices)

    def changed_between(self, earlier: Stamp, latest: Stamp) -> frozenset[str] | None:
        """The devices that flushes after ``earlier`` changed, up to ``latest``.

        :param earlier: number and time of a flush; the time shows whether Redis lost it since.
        :param latest: the same of the last flush.
        :returns: None if the log does not hold all of these flushes.
        """
        with self._changed:
            stamps = [(span.sequence, span.at_ms) for span in self._flushes]
            if not stamps or stamps[-1] != latest or earlier not in stamps:
                return None
            later = [span.devices for span in self._flushes if span.sequence > earlier[0]]
            return frozenset().union(*later)

    # -- followers ---------------------------------------------------------------------------------

    def enter(self, limit: int) -> bool:
        """Register a follower.

        :returns: False if ``limit`` are registered already. After True, call :meth:`leave` once.
        """
        with self._changed:
            if self._followers >= limit:
                return False
            self._followers += 1
            return True

    def leave(self) -> None:
        """Unregister a follower."""
        with self._changed:
            self._followers -= 1

    @property
    def followers(self) -> int:
        """Number of registered followers."""
        with self._changed:
            return self._followers

    @property
    def generation(self) -> int:
        """A number that :meth:`send_away` raises, and so does a flush after Redis lost some."""
        with self._changed:
            return self._generation

    def send_away(self) -> None:
        """End all waits of present followers, whose permissions may have changed. They may reconnect."""
        with self._changed:
            self._generation += 1
            self._changed.notify_all()

    def close(self) -> None:
        """End all waits, present and future: the server stops."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, sequence: int | None, alert: int, generation: int, timeout_s: float) -> bool:
        """Wait until the last flush is not number ``sequence``, or the last alert not number ``alert``.

        :param sequence: None: wait for the first flush.
        :param generation: :attr:`generation` when the follower registered.
        :param timeout_s: seconds to wait at most.
        :returns: False at once if the follower must leave; True otherwise, also at the timeout.
        """

        def must_leave() -> bool:
            return self._closed or self._generation != generation

        def news() -> bool:
            last = self._flushes[-1].sequence if self._flushes else None
            return last != sequence or self._alert_number != alert

        with self._changed:
            self._changed.wait_for(lambda: must_leave() or news(), timeout_s)
            return not must_leave()
