"""The web server: one socket, waitress on it, and a loop that shows whether it gets on.

The limits of a single connection are in ``connections``, TLS is in ``tls``.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from waitress import create_server, wasyncore

from netify_agent.api.http.connections import MAX_BODY, MAX_HEADER, MAX_UNTAKEN, Connection, ConnectionLimits
from netify_agent.api.http.tls import TlsRelay
from netify_agent.config.settings import Endpoint, WebSettings

log = logging.getLogger(__name__)

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

REQUEST_LIMIT_S = 60.0  # a handler that takes longer is stuck: every wait in one is far shorter
EVENT_CLIENTS = 16  # streams at once
_MAX_CONNECTIONS = 500
_OTHER_FILES = 64
# Until waitress itself stops accepting: it counts its own two files, and we make room when one is too many.
_BESIDES = 4
_FILES_OF_TLS = 4  # of one connection: the client's socket, a pair behind it, a buffer for an answer
_IDLE_S = 15  # seconds that a silent connection is kept
_SOCKET_MODE = 0o660


class WebError(Exception):
    """The server can't listen where the configuration says."""


def listen(endpoint: Endpoint) -> socket.socket:
    """Bind ``endpoint``. Raises :class:`WebError` that names it and says why not."""
    try:
        if endpoint.scheme == "unix":
            return _listen_unix(endpoint.path)
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        return socket.create_server((endpoint.host, endpoint.port), family=family, backlog=1024)
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            reason = "something else listens there already"
        raise WebError(f"web.listen: can't listen on {endpoint}: {reason}") from error


def _listen_unix(path: str) -> socket.socket:
    """A Unix socket in place of a stale one, but never of a live one or of another kind of file."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "there is a file of another kind")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            # Anything but a refusal, a full backlog for one, shows that somebody listens.
            if probe.connect_ex(path) != errno.ECONNREFUSED:
                raise OSError(errno.EADDRINUSE, "in use")
        os.unlink(path)
    except FileNotFoundError:
        pass
    bound = socket.socket(socket.AF_UNIX)
    try:
        bound.bind(path)
        os.chmod(path, _SOCKET_MODE)
        bound.listen(1024)
    except OSError:
        bound.close()
        raise
    return bound


def _connection_limit(files_each: int) -> int:
    """Connections at once: files are needed for Redis, netifyd and lease files too (RLIMIT_NOFILE)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        max(min(_MAX_CONNECTIONS, (soft - _OTHER_FILES) // files_each), 4) if soft > 0 else _MAX_CONNECTIONS
    )


class WebServer:
    """A WSGI application on one socket; :meth:`run` is the body of its thread.

    Beside the ``web.threads`` that make answers there is a thread for each of :data:`EVENT_CLIENTS` streams:
    making the first piece of a stream counts as an answer, sending the rest does not.

    :ivar app: the application; may be replaced while it serves.
    :ivar relay: what takes TLS off, to be run in a thread of its own; None for plain HTTP.
    """

    def __init__(self, app: Wsgi, settings: WebSettings, context: ssl.SSLContext | None = None) -> None:
        """Bind the socket and start the pool's threads. Raises :class:`WebError`.

        :param context: of TLS, if the server is to speak it.
        """
        logging.getLogger("waitress").setLevel(logging.ERROR)  # what clients do wrong is no line in the log
        self.app = app
        self._answering = threading.BoundedSemaphore(settings.threads)
        self._waiting: set[int] = set()  # threads that have a request and may not answer it yet
        self._running: dict[int, float] = {}
        self._socket = listen(settings.listen)
        self._path = settings.listen.path
        self._map: dict[int, Any] = {}
        self.relay = TlsRelay(context) if context else None
        limit = _connection_limit(_FILES_OF_TLS if context else 1)
        self._patience = ConnectionLimits(_IDLE_S, limit)
        self._server = create_server(
            self._timed,
            sockets=[self._socket],
            map=self._map,
            threads=settings.threads + EVENT_CLIENTS,
            ident="netify-agent",
            url_scheme="https" if context else "http",
            connection_limit=limit + _BESIDES,
            cleanup_interval=_IDLE_S,
            channel_timeout=_IDLE_S,
            # Answers wait in buffers, which MAX_UNTAKEN bounds, and not in workers: these are few.
            outbuf_high_watermark=8 * MAX_UNTAKEN,
            max_request_header_size=MAX_HEADER,
            max_request_body_size=MAX_BODY,
            clear_untrusted_proxy_headers=True,
        )
        self._server.channel_class = self._connection

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Serve until ``stop`` is set. Beats while the loop turns and no request is stuck."""
        looked = 0.0
        connections = self._server.active_channels
        while not stop.is_set():
            wasyncore.loop(timeout=0.5, use_poll=True, map=self._map, count=1)
            now = time.time()
            if now - looked >= 1:
                looked = now
                self._patience.drop_slow(connections, now)
            self._patience.make_room(connections)
            oldest = min(self._running.copy().values(), default=None)
            if oldest is None or time.monotonic() - oldest < REQUEST_LIMIT_S:
                beat()
        self.close()

    @property
    def queue_length(self) -> int:
        """Requests that wait for a thread."""
        return len(self._server.task_dispatcher.queue) + len(self._waiting)

    def close(self) -> None:
        """Give up the socket and end the pool's threads."""
        self._server.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._map)
        self._socket.close()
        if self._path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def _connection(
        self, server: Any, client: socket.socket, address: Any, adjustments: Any, map: dict[int, Any]
    ) -> None:
        """Begin to serve ``client``, which waitress has accepted."""
        if self.relay:
            try:
                client = self.relay.take(client)
            except OSError:
                client.close()
                return
        Connection(server, client, address, adjustments, map=map)

    def _timed(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The application, with a note of when it began."""
        thread = threading.get_ident()
        self._waiting.add(thread)
        with self._answering:
            self._waiting.discard(thread)
            self._running[thread] = time.monotonic()
            try:
                return self.app(environ, start_response)
            finally:
                del self._running[thread]
