"""``/events``: what each flush changed, as server-sent events (WHATWG HTML, "Server-sent events").

A flush is read from the store once and sent to all who follow; who missed some gets them in one. A stream
holds a thread of the server, so there are few of them, and each ends by itself after a while: the client
comes back and goes on where it was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from netify_agent.api.flush_log import FlushLog, Span
from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import Document, OtherResponse, Reply, Request, Route, encode
from netify_agent.api.http.server import EVENT_CLIENTS
from netify_agent.api.services import Services
from netify_agent.api.spec import schemas
from netify_agent.store.client import StoreError
from netify_agent.store.network_summary import NetworkSummaryReader

RETRY_MS = 2000  # how long a client waits before it comes back
# A comment as often as this shows proxies that the stream lives, and us which clients are gone.
HEARTBEAT_S = 5.0
LASTING_S = 900.0  # of one stream
_UNKNOWN = 0  # no flush has this number
_FULL_S = 30  # when to ask again where no more may follow: somebody may have left

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # tells a proxy (nginx) to hand on each event at once
}


def routes(services: Services) -> list[Route]:
    """The path that events are followed on."""
    reader, documents = NetworkSummaryReader(services.reader), services.documents

    def read(span: Span) -> Document:
        summary = reader.changed(span.devices, span.since_ms, span.at_ms, documents.quiet_ms)
        return documents.changes(summary)

    events = Events(services.flushes, read)

    def answer(request: Request) -> Reply:
        if request.environ["REQUEST_METHOD"] == "HEAD":
            return Reply(b"", headers=dict(_HEADERS))
        return Reply(events.open(request.environ.get("HTTP_LAST_EVENT_ID")), headers=dict(_HEADERS))

    return [
        Route(
            "/events",
            "events",
            "What each flush changes, as server-sent events.",
            answer,
            media_type="text/event-stream",
            schema=schemas.EVENT,
            others={
                503: OtherResponse("Enough clients follow already; `Retry-After` says when to ask again.")
            },
        )
    ]


class Events:
    """Streams of one gateway's flushes. Thread-safe."""

    def __init__(self, flushes: FlushLog, read: Callable[[Span], Document]) -> None:
        """Nobody follows yet.

        :param read: the document for a span of flushes, with ``sequence`` as the store has it now. Raises
            StoreError.
        """
        self._flush_log = flushes
        self._read = read
        self._reading = threading.Lock()  # held while the store is read: once for all
        self._encoded: tuple[int, dict[Span, bytes]] = (0, {})

    def open(self, last_event_id: str | None) -> Stream:
        """A new stream, to be closed by the server.

        :param last_event_id: of the last event that the client got, as it says itself.
        :raises Problem: 503 where there are enough already.
        """
        if not self._flush_log.enter(EVENT_CLIENTS):
            raise Problem(
                503, f"{EVENT_CLIENTS} clients follow already, and no more may", {"Retry-After": str(_FULL_S)}
            )
        known = _number(last_event_id)
        if known is not None and not self._flush_log.is_ours(known):
            known = _UNKNOWN
        return Stream(self._follow(known, self._flush_log.rounds), self._flush_log.leave)

    def _follow(self, position: int | None, rounds: int) -> Iterator[bytes]:
        """The body of one stream; ``position`` is the last flush that the client knows."""
        flushes = self._flush_log
        end = time.monotonic() + LASTING_S
        tried: int | None = None  # the last flush that we looked at for it
        yield b"retry: %d\n\n" % RETRY_MS
        while flushes.wait(tried, rounds, HEARTBEAT_S) and time.monotonic() < end:
            latest = flushes.latest
            if latest is None or latest.sequence == tried:
                yield b":\n\n"
                continue
            tried = latest.sequence
            span = latest if position is None else flushes.since(position)
            name = "flush" if span else "reset"
            if span is None:
                span = Span(latest.sequence, None, latest.at_ms, frozenset())
            if span.sequence == position:
                continue  # it knows that already
            try:
                event = self._event(name, span)
            except StoreError as error:
                yield f": Redis: {error}\n\n".encode("utf-8", "replace")
                continue
            if event is not None:  # else the store is already at the next flush, which wakes us
                yield event
                position = tried = span.sequence

    def _event(self, name: str, span: Span) -> bytes | None:
        """``span`` encoded, or None where the store does not show it any more. Raises StoreError."""
        with self._reading:
            sequence, encoded = self._encoded
            if sequence != span.sequence:
                encoded = {}
                self._encoded = (span.sequence, encoded)
            data = encoded.get(span)
            if data is None:
                document = self._read(span)
                if document["sequence"] != span.sequence:
                    return None
                data = encoded[span] = encode(document)
        return b"id: %d\nevent: %s\ndata: %s\n" % (span.sequence, name.encode(), data)


class Stream:
    """The body of one answer: bytes as they come.

    A generator would not do: closing one that was never begun runs nothing of it.
    """

    def __init__(self, body: Iterator[bytes], closed: Callable[[], None]) -> None:
        """``closed`` is called once, at the end."""
        self._body = body
        self._closed = closed
        self._open = True

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> bytes:
        return next(self._body)

    def close(self) -> None:
        """Called by the server at the end of the answer, whatever ended it (PEP 3333)."""
        if self._open:
            self._open = False
            self._closed()


def _number(last_event_id: str | None) -> int | None:
    """The flush that an id names."""
    if not last_event_id:
        return None
    plain = last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 19
    return int(last_event_id) if plain else _UNKNOWN
