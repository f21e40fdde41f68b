"""Reads a netifyd's socket, for as long as the daemon lives, and hands records to the accounting.

Connects, reads, reconnects with capped back-off and jitter. It never waits for Redis or HTTP: netifyd's
backlog is bounded, and what overflows it is lost (netifyd 4.4.5, ``max_backlog_kb``).
"""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from netify_agent.config.settings import Endpoint
from netify_agent.netifyd.framing import RecordReader, describe_foreign
from netify_agent.netifyd.health import SELF_TYPES, NetifydStatus, gone, hear

log = logging.getLogger(__name__)

CHUNK_BYTES = 65536
PATIENCE_S = 30.0  # a netifyd speaks at once: a peer that sends no record for so long is none
PATIENCE_BYTES = 65536  # nor is one that sends so much without a record
# netifyd 4.4.5 sends an agent_status every 15 s: so long a silence is a peer that vanished without a word,
# or a channel with nothing to say, which loses nothing by a new connection.
SILENCE_S = 120.0
_BACKOFF_S = (0.25, 15.0)  # first and longest wait between attempts
_IDLE_S = 1.0
_CONNECT_S = 5.0


@dataclass
class ListenerStatus:
    """What is known of one endpoint's stream. Times are our clock, seconds since the epoch.

    :ivar error: why there is no connection, in one line; None while there is one, and before the first.
    :ivar last_record: arrival of the latest record; 0 before the first.
    :ivar drops: what the stream dropped, by reason, over all connections.
    :ivar agent: netifyd's ``agent_version``, as it said itself.
    :ivar netifyd: what else it says of itself; replaced, never changed.
    """

    endpoint: str
    connected: bool = False
    connections: int = 0
    connected_since: float = 0.0
    error: str | None = None
    last_record: float = 0.0
    records: int = 0
    bytes: int = 0
    repaired: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    agent: str | None = None
    netifyd: NetifydStatus = field(default_factory=NetifydStatus)


class RecordSink(Protocol):
    """What takes the records of a stream. The listener calls it under its lock."""

    def connected(self, source: str) -> None:
        """A connection to ``source`` (an endpoint's URL) begins."""

    def feed(self, records: Iterable[Record], source: str) -> None:
        """Take records in the order of their arrival."""


class NotNetifyd(Exception):
    """The peer answered, but not with netifyd's JSON."""


class Listener:
    """One endpoint's reader; :meth:`run` is the body of its thread."""

    def __init__(
        self,
        endpoint: Endpoint,
        sink: RecordSink,
        lock: threading.Lock,
        max_record_bytes: int,
    ) -> None:
        """``lock`` guards ``sink``; it is held while the records of one chunk (at most 64 KiB) are taken."""
        self.status = ListenerStatus(str(endpoint))
        self._endpoint = endpoint
        self._sink = sink
        self._lock = lock
        self._max_record_bytes = max_record_bytes

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Read until ``stop`` is set; ``beat`` is called at least every second while all is well."""
        wait = _BACKOFF_S[0]
        while not stop.is_set():
            records = self.status.records
            try:
                with self._connect() as connection:
                    log.info("connected to netifyd at %s", self._endpoint)
                    self._read(connection, stop, beat)
            except (OSError, NotNetifyd) as error:
                self._failed(error)
            finally:
                self.status.connected = False
                self.status.netifyd = gone(self.status.netifyd)
            if self.status.records > records:
                wait = _BACKOFF_S[0]  # it was a netifyd: each second without it may cost its last words
            _pause(wait * random.uniform(0.5, 1.0), stop, beat)
            wait = min(wait * 2, _BACKOFF_S[1])

    def _connect(self) -> socket.socket:
        endpoint = self._endpoint
        if endpoint.scheme == "tcp":
            return socket.create_connection((endpoint.host, endpoint.port), timeout=_CONNECT_S)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_CONNECT_S)
            connection.connect(endpoint.path)
        except OSError:
            connection.close()
            raise
        return connection

    def _failed(self, error: Exception) -> None:
        """Say why there is no stream: once, until the reason changes."""
        reason = _explain(error, self._endpoint)
        if reason != self.status.error:
            log.warning("%s: %s", self._endpoint, reason)
        self.status.error = reason

    def _read(self, connection: socket.socket, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Read one connection to its end. Raises OSError, or :class:`NotNetifyd`."""
        status = self.status
        reader = RecordReader(self._max_record_bytes)
        drops, repaired = Counter(status.drops), status.repaired  # of the connections before
        received = 0
        connection.settimeout(_IDLE_S)
        opened = heard = time.monotonic()
        status.connected, status.connected_since = True, time.time()
        status.connections += 1
        status.error = None
        with self._lock:
            self._sink.connected(status.endpoint)
        try:
            while not stop.is_set():
                beat()
                if not reader.records and (
                    received > PATIENCE_BYTES or time.monotonic() - opened > PATIENCE_S
                ):
                    raise NotNetifyd(_found(reader, received))
                try:
                    data = connection.recv(CHUNK_BYTES)
                except TimeoutError:
                    if time.monotonic() - heard > SILENCE_S:
                        raise ConnectionResetError(f"nothing was heard for {SILENCE_S:.0f} s") from None
                    continue
                heard = time.monotonic()
                if not data:
                    if not reader.records:
                        raise NotNetifyd(_found(reader, received))
                    raise ConnectionResetError("netifyd closed the connection")
                received += len(data)
                status.bytes += len(data)
                self._take(reader.feed(data))
                if reader.drops or reader.repaired:
                    # Replaced, not changed: the web's threads may be reading it.
                    status.drops, status.repaired = dict(drops + reader.drops), repaired + reader.repaired
                if reader.garbage and not reader.records:
                    raise NotNetifyd(_found(reader, received))
        finally:
            reader.close()
            status.drops, status.repaired = dict(drops + reader.drops), repaired + reader.repaired

    def _take(self, records: list[Record]) -> None:
        if not records:
            return
        status = self.status
        status.records += len(records)
        status.last_record = time.time()
        for record in records:
            version = record.get("agent_version")
            if isinstance(version, str) and version.isprintable():
                status.agent = version[:64]
            if record["type"] in SELF_TYPES:
                status.netifyd = hear(status.netifyd, record)
        with self._lock:
            self._sink.feed(records, status.endpoint)


def _found(reader: RecordReader, received: int) -> str:
    if reader.garbage:
        return describe_foreign(reader.garbage)
    return f"{received} bytes that hold no record" if received else "nothing"


def _explain(error: Exception, endpoint: Endpoint) -> str:
    """One line: what was expected, what was found."""
    if isinstance(error, NotNetifyd):
        return f'expected netifyd\'s JSON records ({{"length": N}} or an object), found {error}'
    if isinstance(error, FileNotFoundError):
        return "no such socket: is netifyd running?"
    if isinstance(error, PermissionError):
        return "permission denied: this user may not write to netifyd's socket"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nobody listens there (a socket left by a netifyd that is gone?)"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _pause(seconds: float, stop: threading.Event, beat: Callable[[], None]) -> None:
    """Wait, without being late with a sign of life."""
    end = time.monotonic() + seconds
    while not stop.is_set():
        beat()
        left = end - time.monotonic()
        if left <= 0 or stop.wait(min(left, _IDLE_S)):
            return
