"""``/events`` of a fleet: the gateways that changed, as server-sent events.

The id of an event is the digest of all that its reader sees (:class:`~netify_agent.fleet.overview.View`), so
a client may resume at another collector. A client that knows an older state must read the list again: a
collector keeps no earlier states. Each stream holds a thread of the web server. Readers with the same
patterns get at most half of the streams.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

from netify_agent.api import event_stream
from netify_agent.api.documents import rfc3339
from netify_agent.api.event_stream import Stream
from netify_agent.api.http.limits import EVENT_CLIENTS
from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import OtherResponse, Reply, Request, Route, encode
from netify_agent.api.services import EventLimits
from netify_agent.api.spec import schemas
from netify_agent.enrich import Directory
from netify_agent.fleet.gateway_list import GATEWAY, SUMS, element, totals
from netify_agent.fleet.overview import Row, View
from netify_agent.store.client import StoreError
from netify_agent.store.query import FlushStamp

POLL_S = 2.0  # between two looks at the summaries, of all streams together
_EACH = EVENT_CLIENTS // 2  # streams of readers with the same patterns
_FULL_S = 30  # Retry-After when all streams are taken

EVENT = event_stream.schema(
    ["gateways", "reset"],
    schemas.record(
        "GatewayChanges",
        {
            "generated_at": schemas.TIME_OR_NULL,
            "totals": schemas.record(None, SUMS),
            "gateways": schemas.listing(schemas.any_fields(GATEWAY)),
        },
    ),
)


class FleetEvents:
    """The event streams of a collector. Thread-safe."""

    def __init__(self, directory: Directory, closing: threading.Event, limits: EventLimits) -> None:
        """No stream is open yet. ``closing``: set when the collector stops; all streams end then."""
        self._directory = directory
        self._closing = closing
        self._limits = limits
        self._free = threading.BoundedSemaphore(EVENT_CLIENTS)

    def route(self, view: View) -> Route:
        """The route of readers with one view."""
        free = threading.BoundedSemaphore(_EACH)

        def answer(request: Request) -> Reply:
            known = event_stream.event_id(request.environ)
            return event_stream.reply(request.environ, lambda: self._open(view, free, known))

        return Route(
            "/events",
            "events",
            "The gateways that changed, as server-sent events. After `reset`, read `/gateways`.",
            answer,
            media_type=event_stream.MEDIA_TYPE,
            schema=EVENT,
            others={503: OtherResponse("All streams are taken; `Retry-After` says when to retry.")},
        )

    def _open(self, view: View, free: threading.BoundedSemaphore, known: int | None) -> Stream:
        """Open a stream; the web server closes it. Raises Problem: 503 if all are taken."""
        full = Problem(
            503,
            f"{EVENT_CLIENTS} clients, or {_EACH} with the patterns of this token, follow already",
            {"Retry-After": str(_FULL_S)},
        )
        if not free.acquire(blocking=False):
            raise full
        if not self._free.acquire(blocking=False):
            free.release()
            raise full

        def leave() -> None:
            self._free.release()
            free.release()

        return Stream(self._follow(view, known), leave)

    def _follow(self, view: View, known: int | None) -> Iterator[bytes]:
        """The body of one stream. ``known``: the number of the state that the client knows."""
        end = time.monotonic() + self._limits.stream_s
        shown: dict[str, Row] | None = None  # the rows of that state; None: not known
        written = time.monotonic()
        yield event_stream.RETRY
        while time.monotonic() < end and view.valid():
            part = b""
            try:
                stamp, rows = view.latest(POLL_S)
            except StoreError as error:
                part = f": Redis: {error}\n\n".encode("utf-8", "replace")
            else:
                if stamp.sequence != known:
                    part = self._event(stamp, rows, shown)
                if part or shown is None:
                    shown, known = {row.gateway: row for row in rows}, stamp.sequence
            if not part and time.monotonic() - written >= self._limits.heartbeat_s:
                part = event_stream.HEARTBEAT
            if part:
                yield part
                written = time.monotonic()
            if self._closing.wait(POLL_S):
                return

    def _event(self, stamp: FlushStamp, rows: Sequence[Row], shown: dict[str, Row] | None) -> bytes:
        """The event that leads from the rows ``shown`` to ``rows``."""
        changed = [] if shown is None else [row for row in rows if not row.is_same(shown.get(row.gateway))]
        document = {
            "generated_at": rfc3339(stamp.at_ms) if stamp.at_ms else None,
            "totals": totals(rows),
            "gateways": [element(row, self._directory) for row in changed],
        }
        name = "reset" if shown is None else "gateways"
        return event_stream.event(name, encode(document), stamp.sequence)
