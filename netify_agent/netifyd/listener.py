"""Reads a netifyd's socket, for as long as the daemon lives, and hands records to the accounting.

Connects, reads, reconnects with capped back-off and jitter. It never waits for Redis or HTTP: netifyd's
backlog is bounded, and what overflows it is lost (netifyd 4.4.5, ``max_backlog_kb``).
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
from netify_agent.netifyd.framing import RecordReader, describe_foreign
from netify_agent.netifyd.health import SELF_TYPES, NetifydStatus, gone, hear
from netify_agent.netifyd.records import AGGREGATOR_ADVICE, FLOW_TYPES, Record, Unreadable

log = logging.getLogger(__name__)

CHUNK_BYTES = 65536
_IDLE_S = 1.0
_CONNECT_S = 5.0
_MAX_UNKNOWN_TYPES = 8
#: What to think of a peer that accepts a connection and says nothing.
SILENT_ADVICE = (
    "nothing (netifyd v5 streams to the socket of its sink-socket plugin; its own netifyd.sock is an API that"
    " sends nothing: run 'netify-agent check', or see docs/netifyd.md)"
)


@dataclass(frozen=True)
class ListenerLimits:
    """How long a listener waits, in seconds."""

    # v4 sends at once, v5 each 15 s at least: a peer without a record for so long is no netifyd.
    patience_s: float = 30.0
    short_patience_s: float = 5.0  # the same, while there is another socket to try
    patience_bytes: int = 65536  # a peer that sends so much without a record is no netifyd either
    # netifyd sends an agent_status every 15 s. After so long a silence the peer has vanished without closing
    # the connection, or its channel has nothing to send and loses nothing by a new connection.
    silence_s: float = 120.0
    backoff_s: tuple[float, float] = (0.25, 15.0)  # first and longest wait between attempts


_DEFAULT_LIMITS = ListenerLimits()


@dataclass
class ListenerStatus:
    """What is known of one endpoint's stream. Times are our clock, seconds since the epoch.

    :ivar error: why no records come, in one line; None once one came, and before the first attempt failed.
    :ivar last_record: arrival of the latest record; 0 before the first.
    :ivar drops: what the stream dropped, by reason, over all connections.
    :ivar agent: netifyd's ``agent_version``, as it said itself.
    :ivar netifyd: what else it says of itself; replaced, never changed.
    :ivar unknown_types: types of record that begin with ``flow`` and that the agent does not know; at most
        8 names.
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


class RecordSink(Protocol):
    """What takes the records of a stream. The listener calls it under its lock."""

    def connected(self, source: str) -> None:
        """A connection to ``source`` (an endpoint's URL) begins."""

    def feed(self, records: Iterable[Record], source: str) -> None:
        """Take records in the order of their arrival."""


class NotNetifyd(Exception):
    """The peer answered, but not with netifyd's records."""


class Intake:
    """Takes what one endpoint delivers: records to the accounting, all else to the endpoint's status."""

    def __init__(self, status: ListenerStatus, sink: RecordSink, lock: threading.Lock) -> None:
        """``lock`` guards ``sink``; it is held while the records of one chunk (at most 64 KiB) are taken."""
        self._status = status
        self._sink = sink
        self._lock = lock
        self._drops: Counter[str] = Counter()  # of the streams before this one
        self._repaired = 0
        self._aggregated = False  # whether the log was told of aggregator reports

    def connected(self) -> None:
        """A netifyd that may be another process begins to speak."""
        with self._lock:
            self._sink.connected(self._status.endpoint)

    def begin(self) -> None:
        """A new stream begins, with a reader of its own."""
        self._drops, self._repaired = Counter(self._status.drops), self._status.repaired

    def feed(self, reader: RecordReader, data: bytes, beat: Callable[[], None]) -> None:
        """Read ``data`` and hand over its records. Raises Unreadable."""
        self._status.bytes += len(data)
        self._take(reader.feed(data))
        while reader.pending:
            beat()
            self._take(reader.feed(b""))
        if reader.drops or reader.repaired:
            self._note(reader)

    def end(self, reader: RecordReader) -> None:
        """The stream ended."""
        self._take(reader.close())
        self._note(reader)

    def _note(self, reader: RecordReader) -> None:
        # Replaced, not changed: the web's threads may be reading it.
        self._status.drops = dict(self._drops + reader.drops)
        self._status.repaired = self._repaired + reader.repaired
        # Where nothing else arrives, the reason why there is no stream says it.
        if reader.drops["aggregated"] and self._status.records and not self._aggregated:
            self._aggregated = True
            log.warning("%s: dropped %s", self._status.endpoint, AGGREGATOR_ADVICE)

    def _take(self, records: list[Record]) -> None:
        if not records:
            return
        status = self._status
        status.records += len(records)
        status.last_record = time.time()
        for record in records:
            kind = record["type"]
            if kind in SELF_TYPES or kind == "agent_hello":
                self._hear(record)
            elif kind.startswith("flow") and kind not in FLOW_TYPES:
                self._unknown(kind)
        with self._lock:
            self._sink.feed(records, status.endpoint)

    def _hear(self, record: Record) -> None:
        """What netifyd says of itself."""
        status = self._status
        version = record.get("agent_version")
        if type(version) in (int, float):  # v3 sends a number
            version = str(version)
        if isinstance(version, str) and version.isprintable():
            status.agent = version[:64]
        if record["type"] in SELF_TYPES:
            status.netifyd = hear(status.netifyd, record)

    def _unknown(self, kind: str) -> None:
        """Tell once of a type that may be about flows; what it says is not accounted."""
        name, known = (clean(kind) or "")[:64], self._status.unknown_types
        if name not in known and len(known) < _MAX_UNKNOWN_TYPES:
            self._status.unknown_types = (*known, name)
            log.warning("%s: records of the unknown type %s are ignored", self._status.endpoint, name)


class Listener:
    """One endpoint's reader; :meth:`run` is the body of its thread."""

    def __init__(
        self,
        endpoint: Endpoint,
        sink: RecordSink,
        lock: threading.Lock,
        max_record_bytes: int,
        others: Sequence[Endpoint] = (),
        limits: ListenerLimits = _DEFAULT_LIMITS,
    ) -> None:
        """Nothing is connected yet.

        :param lock: guards ``sink``.
        :param others: sockets to try, in turn, where ``endpoint`` does not stream. The source of the records
            is always the one that does.
        """
        self.status = ListenerStatus(str(endpoint))
        self._candidates = (endpoint, *others)
        self._intake = Intake(self.status, sink, lock)
        self._max_record_bytes = max_record_bytes
        self._limits = limits
        self._foreign = False  # the peer was no netifyd, and the log says so

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Read until ``stop`` is set; ``beat`` is called at least every second while all is well."""
        first, longest = self._limits.backoff_s
        wait = first
        while not stop.is_set():
            records = self.status.records
            self._attempt(stop, beat)
            if self.status.records > records:
                wait = first  # a netifyd was there: what it sends while nobody is connected is lost
            pause(wait * random.uniform(0.5, 1.0), stop, beat)
            wait = min(wait * 2, longest)

    def _attempt(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Try the endpoints in turn, until one has streamed; that is the first one of the next time."""
        status = self.status
        reasons: list[tuple[Endpoint, str]] = []
        foreign = False
        for endpoint in self._candidates:
            records = status.records
            status.endpoint = str(endpoint)
            try:
                with _connect(endpoint) as connection:
                    self._read(endpoint, connection, stop, beat)
            except (OSError, NotNetifyd, Unreadable) as error:
                foreign = foreign or isinstance(error, NotNetifyd)
                if not (reasons and isinstance(error, FileNotFoundError)):  # the others are usually not there
                    reasons.append((endpoint, _explain(error)))
            finally:
                status.connected = False
                status.netifyd = gone(status.netifyd)
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
        """Record why no records come. It is logged when the reason changes; that of a foreign peer once."""
        if reason != self.status.error and not (foreign and self._foreign):
            log.warning("%s: %s", endpoint, reason)
        self._foreign = foreign
        self.status.error = reason

    def _patience(self, endpoint: Endpoint) -> float:
        """How long to wait for the first record, in seconds: not long while another socket is there."""
        others = (other for other in self._candidates if other != endpoint)
        limits = self._limits
        is_other = any(os.path.exists(other.path) for other in others)
        return limits.short_patience_s if is_other else limits.patience_s

    def _read(
        self, endpoint: Endpoint, connection: socket.socket, stop: threading.Event, beat: Callable[[], None]
    ) -> None:
        """Read one connection to its end. Raises OSError, NotNetifyd or Unreadable."""
        status = self.status
        reader = RecordReader(self._max_record_bytes)
        received, streaming = 0, False
        connection.settimeout(_IDLE_S)
        opened = heard = time.monotonic()
        status.connected, status.connected_since = True, time.time()
        status.connections += 1
        self._intake.begin()
        self._intake.connected()
        try:
            while not stop.is_set():
                beat()
                if not reader.records and (
                    received > self._limits.patience_bytes
                    or time.monotonic() - opened > self._patience(endpoint)
                ):
                    raise NotNetifyd(_found(reader, received))
                try:
                    data = connection.recv(CHUNK_BYTES)
                except TimeoutError:
                    if time.monotonic() - heard > self._limits.silence_s:
                        silence = f"nothing was received for {self._limits.silence_s:.0f} s"
                        raise ConnectionResetError(silence) from None
                    continue
                heard = time.monotonic()
                if not data:
                    break
                received += len(data)
                self._intake.feed(reader, data, beat)
                if reader.records and not streaming:
                    streaming, status.error, self._foreign = True, None, False
                    log.info("connected to netifyd at %s", endpoint)
                if not reader.records and (
                    reader.garbage or (reader.drops["aggregated"] and not status.records)
                ):
                    raise NotNetifyd(_found(reader, received))
                if reader.broken is not None:
                    raise ConnectionResetError(f"{reader.broken}, connecting again")
        finally:
            self._intake.end(reader)
        if not stop.is_set():
            raise (
                ConnectionResetError("netifyd closed the connection")
                if reader.records
                else NotNetifyd(_found(reader, received))
            )


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


def _found(reader: RecordReader, received: int) -> str:
    if reader.drops["aggregated"]:
        return AGGREGATOR_ADVICE
    if reader.garbage:
        return describe_foreign(reader.garbage)
    if reader.untyped is not None:
        return reader.untyped
    return f"{received} bytes that hold no record" if received else SILENT_ADVICE


def _explain(error: Exception) -> str:
    """One line: what was expected, what was found."""
    if isinstance(error, NotNetifyd):
        return f"expected netifyd's records (JSON or msgpack), found {error}"
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "no such socket: is netifyd running?"
    if isinstance(error, PermissionError):
        return "permission denied: this user may not write to netifyd's socket"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nobody listens there (a socket left by a netifyd that is gone?)"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def pause(seconds: float, stop: threading.Event, beat: Callable[[], None]) -> None:
    """Wait for ``seconds`` or until ``stop`` is set, and call ``beat`` every second."""
    end = time.monotonic() + seconds
    while not stop.is_set():
        beat()
        left = end - time.monotonic()
        if left <= 0 or stop.wait(min(left, _IDLE_S)):
            return
