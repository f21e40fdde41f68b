"""The web server: waitress on one socket, in a loop that reports progress.

``connections`` applies the limits of single connections, ``tls`` adds TLS.
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
from functools import partial
from typing import Any

from waitress import create_server, wasyncore

from netify_agent.api.http.connections import (
    MAX_HEADER,
    Admit,
    ClockSteps,
    Connection,
    RequestParser,
    SlowClients,
)
from netify_agent.api.http.limits import DEFAULT_LIMITS, WebLimits
from netify_agent.api.http.tls import TlsRelay
from netify_agent.config.settings import Endpoint, WebSettings

log = logging.getLogger(__name__)

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_OTHER_FILES = 64  # left for Redis, netifyd and lease files
# On top of our limit, until waitress itself stops accepting: it counts its own two files, and we close the
# connection that is one too many.
_MARGIN = 4
_FILES_OF_TLS = 4  # of one connection: the client's socket, the pair behind it, a buffer for an answer
_SOCKET_MODE = 0o660


class WebError(Exception):
    """The server can't listen on the configured address."""


def listen(endpoint: Endpoint) -> socket.socket:
    """Bind ``endpoint``. Raises :class:`WebError` that names it and says why not."""
    try:
        if endpoint.scheme == "unix":
            return _listen_unix(endpoint.path)
        return socket.create_server((endpoint.host, endpoint.port), family=endpoint.family, backlog=1024)
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            reason = "something else listens there already"
        raise WebError(f"web.listen: can't listen on {endpoint}: {reason}") from error


def _listen_unix(path: str) -> socket.socket:
    """A Unix socket; replaces a stale one, but never one in use, nor another kind of file."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "there is a file of another kind")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            # Anything but a refusal (a full backlog, for example) shows that somebody listens.
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


def connection_limit(most: int, files_each: int) -> int:
    """How many connections there may be: at most ``most``, with ``files_each`` open files (RLIMIT_NOFILE)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(min(most, (soft - _OTHER_FILES) // files_each), 4) if soft > 0 else most


class WebServer:
    """A WSGI application on one socket; :meth:`run` is the body of its thread.

    Besides the ``web.threads`` that make answers there is a thread for each client of ``/events``: making the
    first piece of a stream counts as an answer, sending the rest does not.

    :ivar app: the application; may be replaced while it serves.
    :ivar limits: as they were given.
    :ivar relay: terminates TLS, to be run in a thread of its own; None for plain HTTP.
    """

    def __init__(
        self,
        app: Wsgi,
        settings: WebSettings,
        context: ssl.SSLContext | None = None,
        limits: WebLimits = DEFAULT_LIMITS,
        admit: Admit | None = None,
    ) -> None:
        """Bind the socket and start the pool's threads. Raises :class:`WebError`.

        :param context: of TLS, if the server is to speak it.
        :param admit: decides which bodies are read; None: all up to the limit.
        """
        logging.getLogger("waitress").setLevel(logging.ERROR)  # mistakes of clients are not logged
        self.app = app
        self.limits = limits
        self._admit = admit
        self._answering = threading.BoundedSemaphore(settings.threads)
        self._waiting: set[int] = set()  # threads that have a request and may not answer it yet
        self._running: dict[int, float] = {}  # by thread: since when it has been making an answer
        self._socket = listen(settings.listen)
        self._path = settings.listen.path
        self._map: dict[int, Any] = {}
        self.relay = TlsRelay(context, limits) if context else None
        most = connection_limit(limits.connections, _FILES_OF_TLS if context else 1)
        self._slow_clients = SlowClients(limits, most)
        self._server = create_server(
            self._timed,
            sockets=[self._socket],
            map=self._map,
            threads=settings.threads + limits.event_clients,
            ident="netify-agent",
            url_scheme="https" if context else "http",
            connection_limit=most + _MARGIN,
            cleanup_interval=max(int(limits.idle_s), 1),
            channel_timeout=max(int(limits.idle_s), 1),
            # Answers wait in buffers, which untaken_bytes bounds, and not in workers, which are few.
            outbuf_high_watermark=8 * limits.untaken_bytes,
            max_request_header_size=MAX_HEADER,
            max_request_body_size=limits.body_bytes,
            clear_untrusted_proxy_headers=True,
        )
        self._server.channel_class = self._connection

    def run(self, stop: threading.Event, progress: Callable[[], None]) -> None:
        """Serve until ``stop`` is set. Reports progress while the loop turns and no request is stuck."""
        checked = 0.0
        connections = self._server.active_channels
        clock = ClockSteps()
        while not stop.is_set():
            wasyncore.loop(timeout=0.5, use_poll=True, map=self._map, count=1)
            if step_s := clock.step_s():
                self._server.next_channel_cleanup += step_s
                self._slow_clients.follow_clock(connections, step_s, time.time())
            if abs(time.time() - checked) >= 1:
                checked = time.time()
                self._slow_clients.drop_slow(connections, checked)
            self._slow_clients.make_room(connections)
            oldest = min(self._running.copy().values(), default=None)
            if oldest is None or time.monotonic() - oldest < self.limits.request_s:
                progress()
        self.close()

    @property
    def queue_length(self) -> int:
        """Requests that wait for a thread."""
        return len(self._server.task_dispatcher.queue) + len(self._waiting)

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._server.active_channels)

    @property
    def untaken_bytes(self) -> int:
        """Bytes of answers that clients have not taken yet."""
        return sum(each.total_outbufs_len for each in list(self._server.active_channels.values()))

    def close(self) -> None:
        """Close the socket and end the pool's threads."""
        self._server.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._map)
        self._socket.close()
        if self._path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def _connection(
        self, server: Any, client: socket.socket, address: Any, adjustments: Any, map: dict[int, Any]
    ) -> None:
        """Serve ``client``, which waitress has accepted."""
        if self.relay:
            try:
                client = self.relay.take(client)
            except OSError:
                client.close()
                return
        connection = Connection(server, client, address, adjustments, map=map)
        connection.limits = self.limits
        sender = None if self._path else address[0]
        connection.parser_class = partial(RequestParser, admit=self._admit, client=sender)

    def _timed(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Call the application, and record since when it runs."""
        thread = threading.get_ident()
        self._waiting.add(thread)
        with self._answering:
            self._waiting.discard(thread)
            self._running[thread] = time.monotonic()
            try:
                return self.app(environ, start_response)
            finally:
                del self._running[thread]
