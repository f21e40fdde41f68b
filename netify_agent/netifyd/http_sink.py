"""Receives the POSTs of netifyd v5's HTTP sink and passes their records to the accounting.

A small WSGI application on waitress. A single worker processes the POSTs, so records keep the order in which
their POSTs were completed. The response is sent after the accounting has the records. A repeated POST adds
nothing, because a flow counts only what its total grew by.
"""

from __future__ import annotations

import http
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from waitress import create_server, wasyncore

from netify_agent.config import secrets
from netify_agent.config.settings import Endpoint
from netify_agent.netifyd.framing import RecordReader, describe_foreign_type
from netify_agent.netifyd.listener import (
    CHUNK_BYTES,
    Intake,
    ListenerLimits,
    ListenerStatus,
    RecordSink,
    pause,
)
from netify_agent.netifyd.records import AGGREGATOR_ADVICE, Unreadable

log = logging.getLogger(__name__)

_MAX_BODY = 16 << 20  # bytes of a POST as sent; at least twice the longest record
_MAX_HEADER = 16 << 10
_MAX_CONNECTIONS = 32
_IDLE_S = 60  # an idle connection is closed after this time
_RETRY_S = 5.0  # between attempts to listen
_TICK_S = 0.5
_ENCODINGS = frozenset(("", "identity", "gzip", "x-gzip"))
_NO_POST = "no POST so far: configure netify-sink-http of netifyd v5 to send them here (docs/netifyd.md)"


@dataclass(frozen=True)
class HttpSinkLimits:
    """Time limits in seconds."""

    request_s: float = 60.0  # processing a POST never waits; one that takes longer is stuck
    silence_s: float = ListenerLimits.silence_s  # without a POST; then netifyd counts as disconnected


_DEFAULT_LIMITS = HttpSinkLimits()


class Refused(Exception):
    """The request is refused with an HTTP status, a reason and headers."""

    def __init__(self, status: http.HTTPStatus, reason: str, *headers: tuple[str, str]) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


class HttpSink:
    """One ``http://`` endpoint. :meth:`run` is the body of its thread.

    Each POST counts as a new connection, because any POST may come from a restarted netifyd: an
    ``agent_status`` with a lower uptime than before means a restart. Each netifyd needs its own endpoint.
    waitress closes the connection after a 204, so there is one POST per connection anyway.

    :ivar tokens: each POST must carry one of these; if empty, no token is required. May be replaced.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        sink: RecordSink,
        lock: threading.Lock,
        max_record_bytes: int,
        tokens: tuple[str, ...] = (),
        limits: HttpSinkLimits = _DEFAULT_LIMITS,
    ) -> None:
        """Does not listen yet. ``lock`` guards ``sink``."""
        self._limits = limits
        self.status = ListenerStatus(str(endpoint))
        self.tokens = tokens
        self._endpoint = endpoint
        self._intake = Intake(self.status, sink, lock)
        self._max_record_bytes = max_record_bytes
        self._last_records = 0.0  # arrival of the latest records, monotonic clock
        self._running = 0.0  # start of the POST that is being processed; 0: none

    def run(self, stop: threading.Event, progress: Callable[[], None]) -> None:
        """Serve POSTs until ``stop`` is set.

        :param progress: called at least once a second unless a POST is stuck.
        """
        while not stop.is_set():
            try:
                listening = self._listen()
            except OSError as error:
                self._failed(f"can't listen: {error.strerror or error}")
                pause(_RETRY_S, stop, progress)
                continue
            with listening:
                log.info("waiting for netifyd's POSTs at %s", self._endpoint)
                self.status.error = _NO_POST
                self._serve(listening, stop, progress)

    def _listen(self) -> socket.socket:
        endpoint = self._endpoint
        return socket.create_server((endpoint.host, endpoint.port), family=endpoint.family)

    def _serve(self, listening: socket.socket, stop: threading.Event, progress: Callable[[], None]) -> None:
        sockets: dict[int, Any] = {}
        server = create_server(
            self._answer,
            sockets=[listening],
            map=sockets,
            threads=1,
            ident="netify-agent",
            connection_limit=_MAX_CONNECTIONS,
            cleanup_interval=_IDLE_S // 2,
            channel_timeout=_IDLE_S,
            max_request_header_size=_MAX_HEADER,
            max_request_body_size=max(_MAX_BODY, 2 * self._max_record_bytes),
            clear_untrusted_proxy_headers=True,
        )
        try:
            while not stop.is_set():
                wasyncore.loop(timeout=_TICK_S, use_poll=True, map=sockets, count=1)
                now = time.monotonic()
                if not self._running or now - self._running < self._limits.request_s:
                    progress()
                if self.status.connected and now - self._last_records > self._limits.silence_s:
                    self._failed(f"no POST for {self._limits.silence_s:.0f} s")
        finally:
            server.task_dispatcher.shutdown(timeout=5)
            wasyncore.close_all(sockets)
            self.status.disconnect()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The WSGI application: answers one POST."""
        self._running = time.monotonic()
        try:
            self._check(environ)
            self._take(environ)
        except Refused as refusal:
            text = f"{refusal}\n".encode()
            headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))]
            status = refusal.status
            start_response(f"{status.value} {status.phrase}", [*headers, *refusal.headers])
            return [text]
        finally:
            self._running = 0.0
        start_response("204 No Content", [])
        return []

    def _check(self, environ: dict[str, Any]) -> None:
        """Raises Refused for anything but a POST from netifyd."""
        given = environ.get("HTTP_AUTHORIZATION", "")
        if self.tokens and not secrets.is_one_of(given, secrets.digests(self.tokens)):
            asked = ("WWW-Authenticate", "Bearer")
            raise Refused(
                http.HTTPStatus.UNAUTHORIZED, "expected a header 'Authorization: Bearer <token>'", asked
            )
        if environ["PATH_INFO"] != self._endpoint.path:
            raise Refused(http.HTTPStatus.NOT_FOUND, f"records are taken at {self._endpoint.path}")
        if environ["REQUEST_METHOD"] != "POST":
            raise Refused(http.HTTPStatus.METHOD_NOT_ALLOWED, "expected POST", ("Allow", "POST"))
        if not environ.get("CONTENT_LENGTH"):
            raise Refused(http.HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length, or a chunked body")
        if (encoding := environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()) not in _ENCODINGS:
            raise Refused(
                http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"expected Content-Encoding gzip or none, found {encoding[:40]!r}",
            )

    def _take(self, environ: dict[str, Any]) -> None:
        """Pass on the records of the body. Raises Refused if it has none or is damaged."""
        status, intake = self.status, self._intake
        reader, body = RecordReader(self._max_record_bytes), environ["wsgi.input"]
        before = status.records
        intake.begin()
        try:
            while reader.broken is None and (data := body.read(CHUNK_BYTES)):
                # The reader detects compression by the first bytes, whatever Content-Encoding says.
                intake.feed(reader, data, self._check_time)
        except Unreadable as error:
            self._failed(str(error))
            raise Refused(http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error)) from None
        finally:
            intake.end(reader)
        if status.records > before:
            self._last_records = time.monotonic()
            if not status.connected:
                status.connected, status.connected_since, status.error = True, time.time(), None
        if reader.broken is not None:
            raise Refused(http.HTTPStatus.BAD_REQUEST, reader.broken)
        if not reader.records:
            found = ", ".join(f"{count} {reason}" for reason, count in sorted(reader.drops.items()) if count)
            reason = (
                AGGREGATOR_ADVICE if reader.drops["aggregated"] else f"no record, found {found or 'nothing'}"
            )
            if not status.connected:
                self._failed(reason)
            raise Refused(http.HTTPStatus.BAD_REQUEST, reason)
        if not status.connected and intake.foreign_type is not None:
            self._failed(f"found {describe_foreign_type(intake.foreign_type)}")

    def _check_time(self) -> None:
        """Refuse a small body that decompresses to more than can be read in time."""
        if time.monotonic() - self._running > self._limits.request_s / 2:
            raise Refused(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the decompressed body is too large")

    def _failed(self, reason: str) -> None:
        """Record why there is no stream. The reason is logged when it changes."""
        self.status.disconnect()
        if reason != self.status.error:
            log.warning("%s: %s", self._endpoint, reason)
        self.status.error = reason
