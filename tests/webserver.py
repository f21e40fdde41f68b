"""A web server in threads of the test's process, over HTTP or HTTPS, and clients of it."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from support import free_port

from netify_agent.api.http.limits import WebLimits
from netify_agent.api.http.server import WebServer, Wsgi
from netify_agent.api.http.tls import server_context
from netify_agent.config.settings import Endpoint, TlsSettings, WebSettings


class Server:
    """A running server; with the files of a certificate it speaks HTTPS."""

    def __init__(
        self,
        app: Wsgi,
        files: TlsSettings | None = None,
        *,
        threads: int = 2,
        limits: WebLimits | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        self.port = free_port()
        self._files = files
        settings = WebSettings(listen=Endpoint("tcp", host="127.0.0.1", port=self.port), threads=threads)
        context = server_context(files) if files else None
        self.web = WebServer(app, settings, context, limits or WebLimits())
        self._stop = threading.Event()
        bodies = [self.web.run, *([self.relay.run] if files else [])]
        self._threads = [
            threading.Thread(target=body, args=(self._stop, progress), daemon=True) for body in bodies
        ]
        for thread in self._threads:
            thread.start()

    @property
    def relay(self):  # type: ignore[no-untyped-def]
        assert self.web.relay is not None
        return self.web.relay

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def connect(self) -> socket.socket:
        """A client's connection, with TLS if that is spoken here."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        return trusting(self._files).wrap_socket(raw, server_hostname="localhost") if self._files else raw

    def get(self, path: str = "/", timeout: float = 60) -> bytes:
        client: http.client.HTTPConnection
        if self._files:
            client = http.client.HTTPSConnection(
                "localhost", self.port, timeout=timeout, context=trusting(self._files)
            )
        else:
            client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            client.request("GET", path)
            return client.getresponse().read()
        finally:
            client.close()

    def answers(self) -> bool:
        """Whether another client gets an answer now."""
        try:
            return bool(self.get(timeout=2))
        except OSError:
            return False


@contextmanager
def running(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.stop()


def trusting(files: TlsSettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=files.certificate)


def hung_up(client: socket.socket) -> bool:
    """Whether the server ends the connection, however it does that."""
    try:
        while client.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True
