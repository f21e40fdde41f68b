"""Queues signals for the main loop, because a signal handler must not do any work itself."""

from __future__ import annotations

import signal
import time
from queue import Empty, SimpleQueue


class SignalQueue:
    """Queues SIGTERM, SIGINT and SIGHUP once :meth:`install` was called."""

    def __init__(self) -> None:
        self._signals: SimpleQueue[int] = SimpleQueue()  # safe to use in a signal handler

    def install(self) -> None:
        """Handle the signals. Call it in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda received, _frame: self._signals.put(received))

    def wait(self, end: float) -> set[int]:
        """Wait for a signal until ``end`` (monotonic clock); return all queued signals."""
        received: set[int] = set()
        try:
            received.add(self._signals.get(timeout=max(end - time.monotonic(), 0)))
            while True:
                received.add(self._signals.get_nowait())
        except Empty:
            return received
