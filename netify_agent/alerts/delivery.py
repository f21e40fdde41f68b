"""Delivers the notifications of one receiver, in its own thread: at least once, in order, with back-off.

A receiver that is down does not delay other receivers. A waiting notification is in Redis too, until the
flush after its delivery. It is sent twice only if the agent is killed between delivery and that flush.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from netify_agent.alerts.alert import Alert, Notification
from netify_agent.alerts.clock import RunClock
from netify_agent.alerts.quiet import is_held
from netify_agent.alerts.receivers.sender import NotSent, Sender

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeliveryLimits:
    """Times in seconds."""

    backoff_first_s: float = 2.0
    backoff_longest_s: float = 900.0
    idle_s: float = 0.5  # between checks of the queue


_DEFAULT_LIMITS = DeliveryLimits()


@dataclass
class ReceiverStatus:
    """State of the delivery to one receiver, in this process.

    :ivar sent: delivered notifications; :ivar failures: failed attempts; :ivar given_up: dropped undelivered.
    :ivar last_sent: time of the latest delivery, seconds since the epoch; 0: none yet.
    :ivar error: why the latest attempt failed, in one line; None if it did not.
    """

    sent: int = 0
    failures: int = 0
    given_up: int = 0
    last_sent: float = 0.0
    error: str | None = None


class Delivery:
    """The queue of one receiver. :meth:`run` is the body of its thread, all other methods are thread-safe.

    :ivar sender: may be replaced at any time.
    :ivar give_up_after_s: how long a notification is tried, by the run clock.
    """

    def __init__(
        self,
        name: str,
        sender: Sender,
        give_up_after_s: float,
        clock: RunClock,
        *,
        firing: Callable[[], Sequence[Alert]],
        on_done: Callable[[str, bool], None],
        limits: DeliveryLimits = _DEFAULT_LIMITS,
    ) -> None:
        """The queue is empty.

        :param firing: returns the alerts to send again, for receivers that need that.
        :param on_done: called with the name of each notification that was delivered (True) or given up
            (False).
        """
        self.name = name
        self.status = ReceiverStatus()
        self.sender = sender
        self.give_up_after_s = give_up_after_s
        self._clock = clock
        self._firing = firing
        self._on_done = on_done
        self._limits = limits
        self._lock = threading.Lock()  # guards the queue
        self._queue: dict[str, Notification] = {}
        self._backoff_s = 0.0
        self._next_round = 0.0  # monotonic clock
        self._refused: dict[str, tuple[float, float]] = {}  # name to its back-off and its next attempt
        self._refreshed = 0.0

    def put(self, notifications: Iterable[Notification]) -> None:
        """Add notifications at the end of the queue."""
        with self._lock:
            self._queue.update((one.name, one) for one in notifications)

    def cancel(self, names: Collection[str]) -> None:
        """Remove notifications, unless they are being sent."""
        with self._lock:
            for name in names:
                self._queue.pop(name, None)
                self._refused.pop(name, None)

    @property
    def waiting(self) -> int:
        """Number of notifications in the queue."""
        with self._lock:
            return len(self._queue)

    def replace_sender(self, sender: Sender, give_up_after_s: float) -> None:
        """Use another configuration, at once."""
        self.sender = sender
        self.give_up_after_s = give_up_after_s
        with self._lock:
            self._refused.clear()
        self._backoff_s = self._next_round = 0.0

    def run(self, stop: threading.Event, progress: Callable[[], None]) -> None:
        """Deliver until ``stop`` is set."""
        while not stop.is_set():
            progress()
            if time.monotonic() >= self._next_round:
                self._round(stop, progress)
            stop.wait(self._limits.idle_s)

    def _round(self, stop: threading.Event, progress: Callable[[], None]) -> None:
        """Send each notification that is due, until one fails because the receiver is down."""
        now, now_ms = time.monotonic(), time.time() * 1000
        with self._lock:
            due = [
                one
                for one in self._queue.values()
                if not is_held(one.hold_until, now_ms) and self._refused.get(one.name, (0.0, 0.0))[1] <= now
            ]
        failed = False
        for notification in due:
            if stop.is_set():
                return
            progress()
            with self._lock:
                if notification.name not in self._queue:
                    continue  # cancelled
            try:
                self.sender.send(notification, stop)
            except NotSent as error:
                if stop.is_set():
                    return
                self._failed(error)
                if error.only_this:
                    backoff_s = self._longer(self._refused.get(notification.name, (0.0, 0.0))[0])
                    self._refused[notification.name] = backoff_s, time.monotonic() + backoff_s
                self._give_up_if_old(notification, error)
                if not error.only_this:
                    failed = True
                    break
            else:
                self._sent()
                self._done(notification, delivered=True)
        if not failed:
            failed = not self._refresh(stop)
        if failed:
            self._backoff_s = self._longer(self._backoff_s)
            self._next_round = time.monotonic() + self._backoff_s

    def _longer(self, backoff_s: float) -> float:
        """Return the pause that follows one of ``backoff_s`` seconds."""
        limits = self._limits
        return min(max(backoff_s * 2, limits.backoff_first_s), limits.backoff_longest_s)

    def _refresh(self, stop: threading.Event) -> bool:
        """Send firing alerts again if that is due. Returns False if it failed."""
        resend_s = self.sender.resend_s
        if resend_s is None or time.monotonic() - self._refreshed < resend_s:
            return True
        now_ms = time.time() * 1000
        firing = [one for one in self._firing() if not is_held(one.held_until, now_ms)]
        if firing:
            try:
                self.sender.refresh(firing, stop)
            except NotSent as error:
                if not stop.is_set():
                    self._failed(error)
                return False
            self._works()
        self._refreshed = time.monotonic()
        return True

    def _sent(self) -> None:
        self.status.sent += 1
        self.status.last_sent = time.time()
        self._works()

    def _works(self) -> None:
        if self.status.error is not None:
            log.info("receiver %s takes notifications again", self.name)
        self.status.error = None
        self._backoff_s = 0.0

    def _failed(self, error: NotSent) -> None:
        self.status.failures += 1
        if str(error) != self.status.error:
            log.warning("receiver %s took no notification, retrying: %s", self.name, error)
        self.status.error = str(error)

    def _give_up_if_old(self, notification: Notification, error: NotSent) -> None:
        if self._clock.ms - notification.queued < self.give_up_after_s * 1000:
            return
        self.status.given_up += 1
        log.error(
            "receiver %s: no notification that alert %s is %s was delivered, given up: %s",
            self.name,
            notification.alert.name,
            notification.alert.status,
            error,
        )
        self._done(notification, delivered=False)

    def _done(self, notification: Notification, *, delivered: bool) -> None:
        with self._lock:
            self._queue.pop(notification.name, None)
            self._refused.pop(notification.name, None)
        self._on_done(notification.name, delivered)
