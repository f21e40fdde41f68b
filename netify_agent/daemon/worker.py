"""A thread that is looked after: it shows signs of progress, can be asked to end, and says how it ended."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from netify_agent.daemon.liveness import Liveness
from netify_agent.store.client import StoreRefused

log = logging.getLogger(__name__)

#: What runs in it, until the event is set; it calls the function as a sign of progress.
Body = Callable[[threading.Event, Callable[[], None]], None]


class Worker:
    """A thread with a name, a way to stop it, and a record of how it ended."""

    def __init__(self, name: str, body: Body, liveness: Liveness, limit_s: float) -> None:
        """Start ``body``, which promises a beat every ``limit_s`` seconds."""
        self.name = name
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._body = body
        self._liveness = liveness
        liveness.register(name, limit_s)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._body(self._stop, lambda: self._liveness.beat(self.name))
        except BaseException as error:
            self.error = error
            if not isinstance(error, StoreRefused):
                log.exception("thread %s died", self.name)

    @property
    def died(self) -> bool:
        """Whether it ended without being asked to."""
        return not self._thread.is_alive() and (self.error is not None or not self._stop.is_set())

    def ask_to_stop(self) -> None:
        """Ask it to end, without waiting."""
        self._stop.set()

    def stop(self, timeout_s: float) -> bool:
        """Ask it to end and wait; False, and a line in the log, if it did not in ``timeout_s`` seconds."""
        self._stop.set()
        self._thread.join(timeout_s)
        self._liveness.forget(self.name)
        if self._thread.is_alive():
            log.error("thread %s did not end within %d s", self.name, timeout_s)
        return not self._thread.is_alive()
