"""``/events``: what flushes changed, and alerts, as server-sent events (WHATWG HTML, "Server-sent events").

The store is read once per flush for all clients. A client that missed flushes gets their changes in one
event. An alert comes before the event of the flush that made it known, without an id, so that a client which
resumes after an earlier flush gets it again. Each stream occupies a thread of the web server, so the number
of streams is limited and each ends after a while; clients reconnect and resume where they were.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator

from netify_agent.alerts.alert import Alert
from netify_agent.api.flush_log import FlushLog, Span
from netify_agent.api.http import parameters
from netify_agent.api.http.limits import EVENT_CLIENTS
from netify_agent.api.http.negotiation import takes_gzip
from netify_agent.api.http.problems import Problem
from netify_agent.api.http.response_cache import GZIP_LEVEL
from netify_agent.api.http.route import VARY, Document, OtherResponse, Reply, Request, Route, encode
from netify_agent.api.services import EventLimits, Services
from netify_agent.api.spec import schemas
from netify_agent.store.changes_reader import ChangesReader
from netify_agent.store.client import StoreError

RETRY_MS = 2000  # how long a client waits before it reconnects
_UNKNOWN = 0  # a sequence number that no flush has
_FULL_S = 30  # Retry-After when all streams are taken

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx passes each event on at once
    "Vary": VARY,
}
_GZIP = 16 + zlib.MAX_WBITS


def routes(services: Services) -> list[Route]:
    """The route of events."""
    reader, documents = ChangesReader(services.reader), services.documents

    def read(span: Span, devices: bool) -> Document:
        changed, since_ms = (span.devices, span.since_ms) if devices else ((), None)
        changes = reader.changes(changed, since_ms, span.at_ms, documents.quiet_ms)
        return documents.changes(changes, devices=devices)

    events = Events(services.flush_log, read, documents.alert, services.event_limits)

    def answer(request: Request) -> Reply:
        environ = request.environ
        compress = takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", ""))
        headers = {**_HEADERS, **({"Content-Encoding": "gzip"} if compress else {})}
        if environ["REQUEST_METHOD"] == "HEAD":
            return Reply(b"", headers=headers)
        last_event_id = environ.get("HTTP_LAST_EVENT_ID")
        return Reply(
            events.open(last_event_id, devices=request["devices"], compress=compress), headers=headers
        )

    return [
        Route(
            "/events",
            "events",
            "The changes of each flush, and alerts that fire or are resolved, as server-sent events.",
            answer,
            parameters=(
                parameters.flag("devices", True, "Whether events list the changed devices, or only totals."),
            ),
            media_type="text/event-stream",
            schema=schemas.EVENT,
            others={503: OtherResponse("All streams are taken; `Retry-After` says when to retry.")},
        )
    ]


class Events:
    """The event streams of one gateway. Thread-safe."""

    def __init__(
        self,
        flush_log: FlushLog,
        read: Callable[[Span, bool], Document],
        describe: Callable[[Alert], Document],
        limits: EventLimits,
    ) -> None:
        """No stream is open yet.

        :param read: builds the document of some flushes, with or without the list of devices. Its
            ``sequence`` is the last flush in the store, which may be later than the span's. Raises
            StoreError.
        :param describe: builds the document of an alert.
        """
        self._flush_log = flush_log
        self._read = read
        self._describe = describe
        self._limits = limits
        self._lock = threading.Lock()  # guards the encoded events; held while the store is read
        # Sequence number, and the data of its events, with and without devices.
        self._encoded: tuple[int, dict[tuple[Span, bool], bytes]] = (0, {})

    def open(self, last_event_id: str | None, *, devices: bool = True, compress: bool = False) -> Stream:
        """Open a stream; the web server closes it.

        :param last_event_id: header ``Last-Event-ID``: id of the last event that the client received.
        :param devices: whether events list the changed devices.
        :param compress: whether the stream is one gzip member; the client can read each event at once.
        :raises Problem: 503 if all streams are taken.
        """
        if not self._flush_log.enter(EVENT_CLIENTS):
            raise Problem(
                503, f"{EVENT_CLIENTS} clients follow already, and no more may", {"Retry-After": str(_FULL_S)}
            )
        position = _sequence(last_event_id)
        if position is not None and not self._flush_log.is_known(position):
            position = _UNKNOWN
        known_alerts = self._flush_log.alerts_before(position or None)
        body = self._follow(position, known_alerts, self._flush_log.generation, devices)
        return Stream(_compressed(body) if compress else body, self._flush_log.leave)

    def _follow(
        self, position: int | None, known_alerts: int, generation: int, devices: bool
    ) -> Iterator[bytes]:
        """The body of one stream, which is not compressed.

        :param position: the last flush that the client knows; None for a new client.
        :param known_alerts: number of the last alert that it knows.
        :param generation: of the flush log when the client connected.
        """
        log = self._flush_log
        end = time.monotonic() + self._limits.stream_s
        examined: int | None = None  # the last flush that was sent, found unchanged or not readable
        yield b"retry: %d\n\n" % RETRY_MS
        while (
            log.wait(examined, known_alerts, generation, self._limits.heartbeat_s) and time.monotonic() < end
        ):
            latest = log.latest
            span = latest if position is None else log.since(position)
            known_alerts, alerts = log.alerts_after(known_alerts)  # after the flushes: all of theirs are here
            for alert in alerts:
                yield b"event: alert\ndata: %s\n" % encode(self._describe(alert))
            if latest is None or latest.sequence == examined:
                if not alerts:
                    yield b":\n\n"
                continue
            examined = latest.sequence
            name = "flush" if span else "reset"
            if span is None:
                span = Span(latest.sequence, None, latest.at_ms, frozenset())
            if span.sequence == position:
                continue
            try:
                event = self._event(name, span, devices)
            except StoreError as error:
                yield f": Redis: {error}\n\n".encode("utf-8", "replace")
                continue
            if event is not None:  # otherwise the next flush is in the store already and will be logged soon
                yield event
                position = examined = span.sequence

    def _event(self, name: str, span: Span, devices: bool) -> bytes | None:
        """The encoded event of some flushes; None if the store has moved on. Raises StoreError."""
        with self._lock:
            sequence, encoded = self._encoded
            if sequence != span.sequence:
                encoded = {}
                self._encoded = (span.sequence, encoded)
            data = encoded.get((span, devices))
            if data is None:
                document = self._read(span, devices)
                if document["sequence"] != span.sequence:
                    return None
                data = encoded[span, devices] = encode(document)
        return b"id: %d\nevent: %s\ndata: %s\n" % (span.sequence, name.encode(), data)


class Stream:
    """The body of an event stream.

    Not a generator: closing a generator that was never started does not run its ``finally`` clauses.
    """

    def __init__(self, body: Iterator[bytes], on_close: Callable[[], None]) -> None:
        """``on_close`` is called once, at the end."""
        self._body = body
        self._on_close = on_close
        self._open = True

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> bytes:
        return next(self._body)

    def close(self) -> None:
        """Called by the web server at the end of the response, whatever ended it (PEP 3333)."""
        if self._open:
            self._open = False
            self._on_close()


def _compressed(body: Iterator[bytes]) -> Iterator[bytes]:
    """``body`` as one gzip member. Each part can be decompressed as soon as it has arrived."""
    compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    for part in body:
        yield compressor.compress(part) + compressor.flush(zlib.Z_SYNC_FLUSH)
    yield compressor.flush()


def _sequence(last_event_id: str | None) -> int | None:
    """The sequence number in an event id; None without an id."""
    if not last_event_id:
        return None
    is_number = last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 19
    return int(last_event_id) if is_number else _UNKNOWN
