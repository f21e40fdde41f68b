"""The listeners of all endpoints, each in its thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from netify_agent.accounting.accountant import Accountant
from netify_agent.accounting.capture_points import CaptureRules
from netify_agent.config.settings import NetifydSettings, Settings
from netify_agent.daemon.worker import Body, Worker
from netify_agent.netifyd.http_sink import HttpSink
from netify_agent.netifyd.listener import Listener, ListenerStatus


class Listeners:
    """Starts and stops the listeners.

    :ivar workers: their threads.
    """

    def __init__(
        self, accountant: Accountant, lock: threading.Lock, start: Callable[[str, Body], Worker]
    ) -> None:
        """Starts nothing yet.

        :param lock: guards ``accountant``.
        :param start: starts a thread with this name and body.
        """
        self.workers: list[Worker] = []
        self._accountant = accountant
        self._lock = lock
        self._start = start
        self._listeners: list[Listener | HttpSink] = []

    def start(self, settings: NetifydSettings, tokens: tuple[str, ...]) -> list[ListenerStatus]:
        """Start a listener for each endpoint; flows of other sources end.

        :param tokens: bearer tokens for the POSTs to ``http://`` endpoints; empty: none is required.
        :returns: the state of each listener, which it keeps up to date.
        """
        accountant, lock, max_bytes = self._accountant, self._lock, settings.max_record_bytes
        self._listeners = [
            HttpSink(endpoint, accountant, lock, max_bytes, tokens)
            if endpoint.scheme == "http"
            else Listener(endpoint, accountant, lock, max_bytes, settings.fallbacks)
            for endpoint in settings.endpoints
        ]
        with lock:
            accountant.keep_sources(map(str, (*settings.endpoints, *settings.fallbacks)))
        self.workers = [
            self._start(f"listener {listener.status.endpoint}", listener.run) for listener in self._listeners
        ]
        return [listener.status for listener in self._listeners]

    def set_tokens(self, tokens: tuple[str, ...]) -> None:
        """Replace the bearer tokens of the ``http://`` endpoints."""
        for listener in self._listeners:
            if isinstance(listener, HttpSink):
                listener.tokens = tokens

    def stop(self, timeout_s: float, while_waiting: Callable[[], None]) -> None:
        """Stop all listeners within ``timeout_s`` seconds.

        All are asked first, because each may be in the middle of connecting.

        :param while_waiting: called about twice a second.
        """
        for worker in self.workers:
            worker.ask_to_stop()
        end = time.monotonic() + timeout_s
        for worker in self.workers:
            worker.stop(max(end - time.monotonic(), 0), while_waiting)


def capture_rules(settings: Settings) -> CaptureRules:
    """Which of netifyd's interfaces count."""
    interfaces = settings.netifyd.interfaces
    return CaptureRules(interfaces.include, interfaces.exclude)
