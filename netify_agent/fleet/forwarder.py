"""Forwards the store of this gateway to a collector, in its own thread.

It only reads the store, so the local accounting never waits for it. It asks the collector for its position at
the start, and again after each failed exchange.
"""

from __future__ import annotations

import http.client
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard
from urllib.parse import urlencode

from netify_agent.config.settings import FleetSettings
from netify_agent.fleet.line import Line, NotForwarded, Refused
from netify_agent.store.client import StoreError
from netify_agent.store.replica_source import MAX_HISTORY, Known, NotYet, ReplicaSource

log = logging.getLogger(__name__)

_TICK_S = 0.5
_RETRY_S = 30.0  # after a first failure; twice as long after each further one, up to the interval
_NOT_YET_S = 5.0  # before the first flush of the agent
_HISTORY_S = 30  # how long the closed chunks of a message take at a bounded rate, about
_LEAST_HISTORY = 1 << 14  # bytes


def history_at_once(max_rate: int | None) -> int:
    """Bytes of closed chunks in one message. A message that is cut off is sent again from its beginning."""
    if max_rate is None:
        return MAX_HISTORY
    return min(max(max_rate // 8 * _HISTORY_S, _LEAST_HISTORY), MAX_HISTORY)


@dataclass
class ForwarderStatus:
    """State of the forwarding, in this process.

    :ivar messages: messages that the collector has applied; :ivar failures: failed exchanges.
    :ivar bytes_sent: bytes of bodies, compressed, also of those that were not applied.
    :ivar message_bytes: bytes of the latest message; 0: none yet.
    :ivar max_rate: bit/s that bodies may take, as configured; None: any.
    :ivar last_sent: time of the latest applied message, seconds since the epoch; 0: none yet.
    :ivar complete: whether the collector had everything after it.
    :ivar bytes_left: bytes of history that it did not have then, uncompressed.
    :ivar error: why the latest exchange failed, in one line; None if it did not.
    """

    messages: int = 0
    failures: int = 0
    bytes_sent: int = 0
    message_bytes: int = 0
    max_rate: int | None = None
    last_sent: float = 0.0
    complete: bool = False
    bytes_left: int = 0
    error: str | None = None


class Forwarder:
    """:meth:`run` is the body of its thread."""

    def __init__(self, settings: FleetSettings, gateway: str, source: ReplicaSource) -> None:
        """Sends nothing yet. Raises ConfigError if a file of ``settings`` can't be used."""
        self.status = ForwarderStatus(max_rate=settings.max_rate)
        self._source = source
        self._interval_s = settings.interval_s
        self._line = Line(settings, gateway)
        # What the collector has: as of its latest answer, and if it has applied the message that it has not
        # answered. Only its position shows which.
        self._known = Known()
        self._sent: Known | None = None
        self._is_in_doubt = True

    def run(self, stop: threading.Event, progress: Callable[[], None]) -> None:
        """Forward until ``stop`` is set."""
        self._line.stopping = stop
        due, retry_s = time.monotonic(), _RETRY_S
        while not stop.is_set():
            progress()
            if time.monotonic() >= due:
                wait_s = float(self._interval_s)
                try:
                    while not self.send() and not stop.is_set():
                        progress()
                    self._recovered()
                    retry_s = _RETRY_S
                except NotYet as error:
                    self.status.error = str(error)
                    wait_s = min(wait_s, _NOT_YET_S)
                except Exception as error:  # no answer of a collector may stop the agent
                    self._failed(error)
                    wait_s, retry_s = min(wait_s, retry_s), retry_s * 2
                due = time.monotonic() + wait_s
            stop.wait(_TICK_S)

    def send(self) -> bool:
        """Send one message. Returns whether the collector has everything.

        :raises NotForwarded: if the collector can't be reached or refuses.
        :raises StoreError: if the local store can't be read.
        """
        if self._is_in_doubt:
            self._ask()
        message, self._sent = self._source.message(self._known)
        self._is_in_doubt = True
        try:
            self._exchange("POST", "", message)
        except Refused as error:
            if error.status == http.client.CONFLICT:  # what it has is not what we think
                self._known, self._sent = Known(), None
            raise
        self._known, self._sent = self._sent, None
        self._is_in_doubt = False
        status = self.status
        status.messages += 1
        status.message_bytes = len(message)
        status.last_sent = time.time()
        status.bytes_left = self._known.left or 0
        status.complete = self._known.complete
        return status.complete

    def _ask(self) -> None:
        """Ask the collector what it has, and for digests if that is not what we remember."""
        remembered = [known for known in (self._sent, self._known) if known is not None and known.position]
        query = urlencode([("known", known.position) for known in remembered])
        found = self._exchange("GET", "?" + query if query else "")
        position, items = found.get("position"), found.get("items")
        same = [known for known in remembered if known.position == position]
        if same and items is None:
            self._known = same[0]
        elif isinstance(position, str) and _are_digests(items):
            self._known = Known(position, items)
        else:
            raise NotForwarded("the collector answered with something else than a position")
        self._sent = None

    def _exchange(self, method: str, query: str, body: bytes | None = None) -> dict[str, Any]:
        try:
            return self._line.exchange(method, query, body)
        finally:
            self.status.bytes_sent = self._line.bytes_sent

    def _failed(self, error: Exception) -> None:
        if isinstance(error, (NotForwarded, StoreError)):
            why = str(error)
        else:
            log.error("fleet: the exchange failed", exc_info=error)
            why = f"internal error: {type(error).__name__}"
        if self.status.error is None:
            log.warning("fleet: %s; trying again", why)
        self.status.failures += 1
        self.status.error = why

    def _recovered(self) -> None:
        if self.status.error is not None:
            log.info("fleet: the collector has everything again")
        self.status.error = None


def _are_digests(items: object) -> TypeGuard[dict[str, str]]:
    return isinstance(items, dict) and all(isinstance(digest, str) for digest in items.values())
