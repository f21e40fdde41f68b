"""The web server: one socket, waitress on it, and a loop that shows whether it gets on."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from waitress import create_server, wasyncore

from netify_agent.config import Endpoint, WebSettings

log = logging.getLogger(__name__)

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

REQUEST_LIMIT_S = 60.0  # a handler that takes longer is stuck: every wait in one is far shorter
_MAX_HEADER_BYTES = 16384
_MAX_CONNECTIONS = 500
_OTHER_FILES = 64
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


def _connection_limit() -> int:
    """Connections at once: files are needed for Redis, netifyd and lease files too (RLIMIT_NOFILE)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(min(_MAX_CONNECTIONS, soft - _OTHER_FILES), 4) if soft > 0 else _MAX_CONNECTIONS


class WebServer:
    """A WSGI application on one socket; :meth:`run` is the body of its thread.

    :ivar app: the application; may be replaced while it serves.
    """

    def __init__(self, app: Wsgi, settings: WebSettings) -> None:
        """Bind the socket and start the pool's threads. Raises :class:`WebError`."""
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self.app = app
        self._running: dict[int, float] = {}
        self._unfinished: dict[int, float] = {}  # connections in the middle of a request, and since when
        self._socket = listen(settings.listen)
        self._path = settings.listen.path
        self._map: dict[int, Any] = {}
        self._server = create_server(
            self._timed,
            sockets=[self._socket],
            map=self._map,
            threads=settings.threads,
            ident="netify-agent",
            connection_limit=_connection_limit(),
            cleanup_interval=_IDLE_S,
            channel_timeout=_IDLE_S,
            max_request_header_size=_MAX_HEADER_BYTES,
            max_request_body_size=_MAX_HEADER_BYTES,
            clear_untrusted_proxy_headers=True,
        )

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Serve until ``stop`` is set. Beats while the loop turns and no request is stuck."""
        looked = 0.0
        while not stop.is_set():
            wasyncore.loop(timeout=0.5, use_poll=True, map=self._map, count=1)
            now = time.time()
            if now - looked >= 1:
                looked = now
                self._drop_slow(now)
            oldest = min(self._running.copy().values(), default=None)
            if oldest is None or time.monotonic() - oldest < REQUEST_LIMIT_S:
                beat()
        self.close()

    def _drop_slow(self, now: float) -> None:
        """Close connections whose client neither sends its request nor takes its answer in good time.

        waitress itself only counts the silence between two bytes, and not while an answer is waiting: a
        client that drips holds a connection, and one that takes nothing a worker, for good.
        """
        unfinished: dict[int, float] = {}
        for number, channel in list(self._map.items()):
            if getattr(channel, "total_outbufs_len", 0):
                if channel.last_activity < now - _IDLE_S:
                    channel.handle_close()
            elif getattr(channel, "request", None) is not None:
                since = unfinished[number] = self._unfinished.get(number, now)
                if since < now - _IDLE_S:
                    channel.handle_close()
        self._unfinished = unfinished

    def close(self) -> None:
        """Give up the socket and end the pool's threads."""
        self._server.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._map)
        self._socket.close()
        if self._path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def _timed(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The application, with a note of when it began."""
        thread = threading.get_ident()
        self._running[thread] = time.monotonic()
        try:
            return self.app(environ, start_response)
        finally:
            del self._running[thread]
