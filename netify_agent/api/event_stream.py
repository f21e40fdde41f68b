"""Responses with server-sent events (WHATWG HTML, "Server-sent events")."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

from netify_agent.api.http.negotiation import takes_gzip
from netify_agent.api.http.response_cache import GZIP_LEVEL
from netify_agent.api.http.route import VARY, Environ, Reply, Schema
from netify_agent.api.spec import schemas

MEDIA_TYPE = "text/event-stream"
RETRY = b"retry: 2000\n\n"  #: the client waits so long before it reconnects, milliseconds
HEARTBEAT = b":\n\n"  #: a comment

_HEADERS = {
    "Content-Type": MEDIA_TYPE,
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx passes each event on at once
    "Vary": VARY,
}
_GZIP = 16 + zlib.MAX_WBITS


def schema(names: list[str], data: Schema, *, optional: tuple[str, ...] = ()) -> Schema:
    """The JSON Schema of the events of a stream.

    :param names: of the events.
    :param data: schema of the JSON in their data.
    :param optional: fields that an event may lack.
    """
    return schemas.record(
        "Event",
        {
            "id": {"type": "string", "pattern": "^[0-9]+$"},
            "event": {"enum": names},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
        },
        optional=optional,
    )


def reply(environ: Environ, open_stream: Callable[[], Stream]) -> Reply:
    """Answer with a stream, compressed if the client takes gzip. HEAD opens none."""
    compress = takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", ""))
    headers = {**_HEADERS, **({"Content-Encoding": "gzip"} if compress else {})}
    if environ["REQUEST_METHOD"] == "HEAD":
        return Reply(b"", headers=headers)
    stream = open_stream()
    return Reply(stream.compressed() if compress else stream, headers=headers)


def event(name: str, data: bytes, number: int | None = None) -> bytes:
    """Encode an event.

    :param data: one line that ends with a newline.
    :param number: id of the event; None: it has none.
    """
    head = b"" if number is None else b"id: %d\n" % number
    return head + b"event: %s\ndata: %s\n" % (name.encode(), data)


def event_id(environ: Environ) -> int | None:
    """The id of the last event that the client received: header ``Last-Event-ID``.

    :returns: None without the header; 0, which no event has, if it holds anything but an id.
    """
    text: str = environ.get("HTTP_LAST_EVENT_ID", "")
    if not text:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0


class Stream:
    """The body of an event stream.

    Not a generator: closing a generator that was never started does not run its ``finally`` clauses.
    """

    def __init__(self, body: Iterator[bytes], on_close: Callable[[], None]) -> None:
        """``on_close`` is called once, at the end."""
        self._body = body
        self._on_close = on_close
        self._open = True

    def compressed(self) -> Stream:
        """Return the same stream as one gzip member. Each part can be decompressed as soon as it arrives."""
        return Stream(_compressed(self._body), self.close)

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
    compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    for part in body:
        yield compressor.compress(part) + compressor.flush(zlib.Z_SYNC_FLUSH)
    yield compressor.flush()
