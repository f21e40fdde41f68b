"""A supervised thread: it reports progress, can be stopped, and records how it ended."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from netify_agent.daemon.liveness import Liveness
from netify_agent.store.client import StoreRefused

log = logging.getLogger(__name__)

#: Runs in the thread until the event is set, and calls the function to report progress.
Body = Callable[[threading.Event, Callable[[], None]], None]

_JOIN_S = 0.5  # how long a stop waits before it calls ``while_waiting`` again


class Worker:
    """A named thread that can be stopped, with the error that it ended with.

    :ivar error: the exception of the body; None while it runs or if it returned.
    """

    def __init__(self, name: str, body: Body, liveness: Liveness, limit_s: float) -> None:
        """Start ``body``, which must report progress at least every ``limit_s`` seconds."""
        self.name = name
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._body = body
        self._liveness = liveness
        liveness.register(self, name, limit_s)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._body(self._stop, lambda: self._liveness.progress(self))
        except BaseException as error:
            self.error = error
            if not isinstance(error, StoreRefused):
                log.exception("thread %s died", self.name)

    @property
    def died(self) -> bool:
        """Whether the thread ended without a request to stop."""
        return not self._thread.is_alive() and (self.error is not None or not self._stop.is_set())

    def ask_to_stop(self) -> None:
        """Ask the thread to end, without waiting."""
        self._stop.set()

    def stop(self, timeout_s: float, while_waiting: Callable[[], None] = lambda: None) -> bool:
        """Ask the thread to end, and wait.

        :param timeout_s: longest wait in seconds.
        :param while_waiting: called about twice a second; feeds the watchdog.
        :returns: False, and logs an error, if it did not end in time.
        """
        self._stop.set()
        end = time.monotonic() + timeout_s
        while self._thread.is_alive() and (left := end - time.monotonic()) > 0:
            while_waiting()
            self._thread.join(min(left, _JOIN_S))
        self._liveness.remove(self)
        if self._thread.is_alive():
            log.error("thread %s did not end within %d s", self.name, timeout_s)
        return not self._thread.is_alive()
