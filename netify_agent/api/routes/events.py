"""``/events``: what flushes changed, and alerts, as server-sent events (WHATWG HTML, "Server-sent events").

The store is read once per flush for all clients. A client that missed flushes gets their changes in one
event. An alert comes before the event of the flush that made it known, without an id, so that a client which
resumes after an earlier flush gets it again. Each stream occupies a thread of the web server, so the number
of streams is limited and each ends after a while; clients reconnect and resume where they were.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from netify_agent.alerts.alert import Alert
from netify_agent.api import event_stream
from netify_agent.api.event_stream import Stream
from netify_agent.api.flush_log import FlushLog, Span
from netify_agent.api.http import parameters
from netify_agent.api.http.limits import EVENT_CLIENTS
from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import Document, OtherResponse, Reply, Request, Route, encode
from netify_agent.api.services import EventLimits, Services
from netify_agent.api.spec import schemas
from netify_agent.store.changes_reader import ChangesReader
from netify_agent.store.client import StoreError

EVENT = event_stream.schema(
    ["flush", "reset", "alert"],
    {"oneOf": [schemas.CHANGES, schemas.EVENT_ALERT]},
    optional=("id",),
)
_UNKNOWN = 0  # a sequence number that no flush has
_FULL_S = 30  # Retry-After when all streams are taken


def routes(services: Services) -> list[Route]:
    """The route of events."""
    reader, documents = ChangesReader(services.reader), services.documents

    def read(span: Span, devices: bool) -> Document:
        changed, since_ms = (span.devices, span.since_ms) if devices else ((), None)
        changes = reader.changes(changed, since_ms, span.at_ms, documents.quiet_ms)
        return documents.changes(changes, devices=devices)

    events = Events(services.flush_log, read, documents.alert, services.event_limits)

    def answer(request: Request) -> Reply:
        position = event_stream.event_id(request.environ)
        return event_stream.reply(request.environ, lambda: events.open(position, devices=request["devices"]))

    return [
        Route(
            "/events",
            "events",
            "The changes of each flush, and alerts that fire or are resolved, as server-sent events.",
            answer,
            parameters=(
                parameters.flag("devices", True, "Whether events list the changed devices, or only totals."),
            ),
            media_type=event_stream.MEDIA_TYPE,
            schema=EVENT,
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

    def open(self, position: int | None, *, devices: bool = True) -> Stream:
        """Open a stream; the web server closes it.

        :param position: id of the last event that the client received; None for a new client.
        :param devices: whether events list the changed devices.
        :raises Problem: 503 if all streams are taken.
        """
        if not self._flush_log.enter(EVENT_CLIENTS):
            raise Problem(
                503, f"{EVENT_CLIENTS} clients follow already, and no more may", {"Retry-After": str(_FULL_S)}
            )
        if position is not None and not self._flush_log.is_known(position):
            position = _UNKNOWN
        known_alerts = self._flush_log.alerts_before(position or None)
        body = self._follow(position, known_alerts, self._flush_log.generation, devices)
        return Stream(body, self._flush_log.leave)

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
        yield event_stream.RETRY
        while (
            log.wait(examined, known_alerts, generation, self._limits.heartbeat_s) and time.monotonic() < end
        ):
            latest = log.latest
            span = latest if position is None else log.since(position)
            known_alerts, alerts = log.alerts_after(known_alerts)  # after the flushes: all of theirs are here
            for alert in alerts:
                yield event_stream.event("alert", encode(self._describe(alert)))
            if latest is None or latest.sequence == examined:
                if not alerts:
                    yield event_stream.HEARTBEAT
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
        return event_stream.event(name, data, span.sequence)
