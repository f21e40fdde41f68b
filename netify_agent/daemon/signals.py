"""Queues signals for the main loop, because a signal handler must not do any work itself."""

from __future__ import annotations

import signal
from queue import Empty, SimpleQueue


class SignalQueue:
    """Queues SIGTERM, SIGINT and SIGHUP once :meth:`install` was called."""

    def __init__(self) -> None:
        self._signals: SimpleQueue[int] = SimpleQueue()  # safe to use in a signal handler

    def install(self) -> None:
        """Handle the signals. Call it in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda received, _frame: self._signals.put(received))

    def wait(self, timeout_s: float) -> set[int]:
        """Wait up to ``timeout_s`` seconds for a signal; return all queued signals."""
        received: set[int] = set()
        try:
            received.add(self._signals.get(timeout=timeout_s))
            while True:
                received.add(self._signals.get_nowait())
        except Empty:
            return received
