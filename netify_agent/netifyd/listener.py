"""Reads netifyd's socket and passes the records to the accounting.

Reconnects with capped back-off and jitter. The listener never waits for Redis or HTTP: netifyd's backlog is
bounded, and records beyond it are lost (netifyd 4.4.5, ``max_backlog_kb``).
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from netify_agent.config.settings import Endpoint
from netify_agent.netifyd.flow_record import clean
from netify_agent.netifyd.framing import RecordReader, describe_foreign, describe_foreign_type
from netify_agent.netifyd.health import STATUS_TYPES, NetifydStatus, disconnected, updated
from netify_agent.netifyd.records import (
    AGGREGATOR_ADVICE,
    FLOW_TYPES,
    NETIFYD_TYPES,
    Record,
    Unreadable,
)

log = logging.getLogger(__name__)

CHUNK_BYTES = 32768  # the records of one read, ten times as large, fit into a core's cache
_IDLE_S = 1.0
_CONNECT_S = 5.0
_MAX_UNKNOWN_TYPES = 8
#: Advice for a peer that accepts the connection and sends nothing.
SILENT_ADVICE = (
    "nothing (netifyd v5 streams to the socket of its sink-socket plugin; its own netifyd.sock is an API that"
    " sends nothing: run 'netify-agent check', or see docs/netifyd.md)"
)


@dataclass(frozen=True)
class ListenerLimits:
    """Time limits of a listener in seconds, and one limit in bytes."""

    # v4 sends at once, v5 at least every 15 s. A peer that sends no record for this long is not a netifyd.
    patience_s: float = 30.0
    short_patience_s: float = 5.0  # the same while another socket can be tried
    patience_bytes: int = 65536  # a peer that sends this much without a record is not a netifyd
    # netifyd sends an agent_status every 15 s. After this silence the peer is lost without a FIN, or its
    # channel has nothing to send. A new connection does no harm in either case.
    silence_s: float = 120.0
    backoff_s: tuple[float, float] = (0.25, 15.0)  # first and longest wait between attempts


_DEFAULT_LIMITS = ListenerLimits()


@dataclass
class ListenerStatus:
    """State of one endpoint's stream. Times are by the agent's clock, in seconds since the epoch.

    :ivar error: why no records arrive, one line; None while they do, and before the first failed attempt.
    :ivar last_record: arrival of the latest record that netifyd sends; 0 before the first.
    :ivar records: such records. Records of types that no netifyd sends are not among them, except those that
        begin with ``flow``.
    :ivar drops: losses in the stream by reason, over all connections.
    :ivar agent: netifyd's ``agent_version``.
    :ivar netifyd: its state; the object is replaced, never modified.
    :ivar unknown_types: unknown record types whose names begin with ``flow``; at most 8.
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
    unknown_types: tuple[str, ...] = ()

    def disconnect(self) -> None:
        """Note that netifyd is not connected any more."""
        self.connected = False
        self.netifyd = disconnected(self.netifyd)


class RecordSink(Protocol):
    """Receives the records of a stream. The listener calls it with its lock held."""

    def connected(self, source: str) -> None:
        """A new connection to ``source`` (an endpoint's URL) was opened."""

    def feed(self, records: Iterable[Record], source: str) -> None:
        """Take records in the order of their arrival."""


class NotNetifyd(Exception):
    """The peer answered, but it sent no netifyd records."""


class Intake:
    """Processes the data of one endpoint: records go to the accounting, the rest to the endpoint's status.

    :ivar foreign_type: the first type of the current stream that no netifyd sends; None if there was none.
    """

    def __init__(self, status: ListenerStatus, sink: RecordSink, lock: threading.Lock) -> None:
        """``lock`` guards ``sink``. It is held for the records of one chunk (at most 64 KiB)."""
        self._status = status
        self._sink = sink
        self._lock = lock
        self._drops: Counter[str] = Counter()  # of the earlier streams
        self._repaired = 0
        self._aggregated = False  # whether aggregator reports were logged
        self.foreign_type: str | None = None

    def begin(self) -> None:
        """A new connection, with its own reader, was opened. netifyd may have been restarted."""
        self._status.connections += 1
        self.foreign_type = None
        self._drops, self._repaired = Counter(self._status.drops), self._status.repaired
        with self._lock:
            self._sink.connected(self._status.endpoint)

    def feed(
        self,
        reader: RecordReader,
        data: bytes,
        progress: Callable[[], None],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Read ``data`` and pass on its records.

        :param progress: called before each further piece of compressed data.
        :param stopped: whether the rest of the compressed data is not wanted any more.
        :raises Unreadable: for msgpack data without python3-msgpack.
        """
        self._status.bytes += len(data)
        self._take(reader.feed(data))
        while reader.pending and not stopped():
            progress()
            self._take(reader.feed(b""))
        if reader.drops or reader.repaired:
            self._note(reader)

    def end(self, reader: RecordReader) -> None:
        """The stream ended."""
        self._take(reader.close())
        self._note(reader)

    def _note(self, reader: RecordReader) -> None:
        # Replaced, not modified: the web threads may be reading it.
        self._status.drops = dict(self._drops + reader.drops)
        self._status.repaired = self._repaired + reader.repaired
        # If nothing else arrives, the error of the connection already says so.
        if reader.drops["aggregated"] and self._status.records and not self._aggregated:
            self._aggregated = True
            log.warning("%s: dropped %s", self._status.endpoint, AGGREGATOR_ADVICE)

    def _take(self, records: list[Record]) -> None:
        if not records:
            return
        status = self._status
        foreign = 0
        for record in records:
            kind = record["type"]
            if kind in FLOW_TYPES:
                continue  # nearly all records
            if kind in STATUS_TYPES or kind == "agent_hello":
                self._update_status(record)
            elif kind.startswith("flow"):
                self._unknown(kind)
            elif kind not in NETIFYD_TYPES:
                self.foreign_type = self.foreign_type or (clean(kind) or "")[:64]
                foreign += 1
        if foreign < len(records):
            status.records += len(records) - foreign
            status.last_record = time.time()
        with self._lock:
            self._sink.feed(records, status.endpoint)

    def _update_status(self, record: Record) -> None:
        """Update the status of netifyd."""
        status = self._status
        version = record.get("agent_version")
        if type(version) in (int, float):  # v3 sends a number
            version = str(version)
        if isinstance(version, str) and version.isprintable():
            status.agent = version[:64]
        if record["type"] in STATUS_TYPES:
            status.netifyd = updated(status.netifyd, record)

    def _unknown(self, kind: str) -> None:
        """Log an unknown record type once. Such records may be about flows and are not accounted."""
        name, known = (clean(kind) or "")[:64], self._status.unknown_types
        if name not in known and len(known) < _MAX_UNKNOWN_TYPES:
            self._status.unknown_types = (*known, name)
            log.warning("%s: records of the unknown type %s are ignored", self._status.endpoint, name)


class Listener:
    """Reads one endpoint. :meth:`run` is the body of its thread."""

    def __init__(
        self,
        endpoint: Endpoint,
        sink: RecordSink,
        lock: threading.Lock,
        max_record_bytes: int,
        others: Sequence[Endpoint] = (),
        limits: ListenerLimits = _DEFAULT_LIMITS,
    ) -> None:
        """Does not connect yet.

        :param lock: guards ``sink``.
        :param max_record_bytes: longer records are dropped.
        :param others: sockets to try, in this order, if ``endpoint`` does not stream. The source of a record
            is the endpoint that it came from.
        """
        self.status = ListenerStatus(str(endpoint))
        self._candidates = (endpoint, *others)
        self._intake = Intake(self.status, sink, lock)
        self._max_record_bytes = max_record_bytes
        self._limits = limits
        self._foreign = False  # the peer is not a netifyd, and this was logged

    def run(self, stop: threading.Event, progress: Callable[[], None]) -> None:
        """Read until ``stop`` is set.

        :param progress: called at least once a second unless the thread is stuck.
        """
        first, longest = self._limits.backoff_s
        wait = first
        while not stop.is_set():
            records = self.status.records
            self._attempt(stop, progress)
            if self.status.records > records:
                wait = first  # netifyd is there, and what it sends meanwhile is lost
            pause(wait * random.uniform(0.5, 1.0), stop, progress)
            wait = min(wait * 2, longest)

    def _attempt(self, stop: threading.Event, progress: Callable[[], None]) -> None:
        """Try the endpoints in turn until one has streamed. The next attempt begins with that one."""
        status = self.status
        reasons: list[tuple[Endpoint, str]] = []
        foreign = False
        for endpoint in self._candidates:
            records = status.records
            status.endpoint = str(endpoint)
            try:
                with _connect(endpoint) as connection:
                    self._read(endpoint, connection, stop, progress)
            except (OSError, NotNetifyd, Unreadable) as error:
                foreign = foreign or isinstance(error, NotNetifyd)
                if not (reasons and isinstance(error, FileNotFoundError)):  # most fallbacks do not exist
                    reasons.append((endpoint, _explain(error)))
            finally:
                status.disconnect()
            if stop.is_set():
                return
            if status.records > records:
                self._candidates = (endpoint, *(other for other in self._candidates if other != endpoint))
                self._failed(endpoint, reasons[-1][1], foreign=False)
                return
        first = self._candidates[0]
        status.endpoint = str(first)
        if len(reasons) > 1:
            found = "; ".join(f"{place}: {why}" for place, why in reasons)
            self._failed(first, f"no netifyd streams here: {found}", foreign)
        else:
            self._failed(first, reasons[0][1], foreign)

    def _failed(self, endpoint: Endpoint, reason: str, foreign: bool) -> None:
        """Record why no records arrive. Changed reasons are logged, those of a foreign peer only once."""
        if reason != self.status.error and not (foreign and self._foreign):
            log.warning("%s: %s", endpoint, reason)
        self._foreign = foreign
        self.status.error = reason

    def _patience(self, endpoint: Endpoint) -> float:
        """How long to wait for the first record, in seconds. Shorter while another socket exists."""
        others = (other for other in self._candidates if other != endpoint)
        limits = self._limits
        is_other = any(os.path.exists(other.path) for other in others)
        return limits.short_patience_s if is_other else limits.patience_s

    def _read(
        self,
        endpoint: Endpoint,
        connection: socket.socket,
        stop: threading.Event,
        progress: Callable[[], None],
    ) -> None:
        """Read one connection to its end. Raises OSError, NotNetifyd or Unreadable."""
        status = self.status
        reader = RecordReader(self._max_record_bytes)
        received, streaming, before = 0, False, status.records
        connection.settimeout(_IDLE_S)
        opened = last_received = time.monotonic()
        status.connected, status.connected_since = True, time.time()
        self._intake.begin()
        try:
            while not stop.is_set():
                progress()
                if not streaming and (
                    received > self._limits.patience_bytes
                    or time.monotonic() - opened > self._patience(endpoint)
                ):
                    raise NotNetifyd(self._found(reader, received))
                try:
                    data = connection.recv(CHUNK_BYTES)
                except TimeoutError:
                    if time.monotonic() - last_received > self._limits.silence_s:
                        silence = f"nothing was received for {self._limits.silence_s:.0f} s"
                        raise ConnectionResetError(silence) from None
                    continue
                last_received = time.monotonic()
                if not data:
                    break
                received += len(data)
                self._intake.feed(reader, data, progress, stop.is_set)
                if status.records > before and not streaming:
                    streaming, status.error, self._foreign = True, None, False
                    log.info("connected to netifyd at %s", endpoint)
                if not streaming and (reader.garbage or (reader.drops["aggregated"] and not status.records)):
                    raise NotNetifyd(self._found(reader, received))
                if reader.broken is not None:
                    raise ConnectionResetError(f"{reader.broken}, connecting again")
        finally:
            self._intake.end(reader)
        if not stop.is_set():
            raise (
                ConnectionResetError("netifyd closed the connection")
                if status.records > before
                else NotNetifyd(self._found(reader, received))
            )

    def _found(self, reader: RecordReader, received: int) -> str:
        """Describe what was received instead of a record of netifyd."""
        if reader.drops["aggregated"]:
            return AGGREGATOR_ADVICE
        if reader.garbage:
            return describe_foreign(reader.garbage)
        if self._intake.foreign_type is not None:
            return describe_foreign_type(self._intake.foreign_type)
        if reader.untyped is not None:
            return reader.untyped
        return f"{received} bytes without a record" if received else SILENT_ADVICE


def _connect(endpoint: Endpoint) -> socket.socket:
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


def _explain(error: Exception) -> str:
    """Describe ``error`` in one line: what was expected and what was found."""
    if isinstance(error, NotNetifyd):
        return f"expected netifyd's records (JSON or msgpack), found {error}"
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "no such socket: is netifyd running?"
    if isinstance(error, PermissionError):
        return "permission denied: this user may not write to netifyd's socket"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nothing listens there (a socket left by a netifyd that has exited?)"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def pause(seconds: float, stop: threading.Event, progress: Callable[[], None]) -> None:
    """Wait for ``seconds`` or until ``stop`` is set. Calls ``progress`` once a second."""
    end = time.monotonic() + seconds
    while not stop.is_set():
        progress()
        left = end - time.monotonic()
        if left <= 0 or stop.wait(min(left, _IDLE_S)):
            return
