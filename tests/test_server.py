"""Promises of the web server: no client holds up the others, whatever it does not do."""

from __future__ import annotations

import http.client
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from support import eventually, free_port

from netify_agent.api import server as module
from netify_agent.api.server import WebServer
from netify_agent.config import Endpoint, WebSettings

THREADS = 2
BIG = b"x" * (64 << 20)  # more than waitress and the kernel take in before a worker has to wait


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [BIG] if environ["PATH_INFO"] == "/big" else [b"small"]


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a server that is patient for one second."""
    monkeypatch.setattr(module, "_IDLE_S", 1)
    monkeypatch.setattr(module, "EVENT_CLIENTS", 0)
    number = free_port()
    server = WebServer(
        app, WebSettings(listen=Endpoint("tcp", host="127.0.0.1", port=number), threads=THREADS)
    )
    stop = threading.Event()
    thread = threading.Thread(target=server.run, args=(stop, lambda: None))
    thread.start()
    yield number
    stop.set()
    thread.join()


def small(port: int) -> bool:
    """Whether the server answers somebody else."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        client.request("GET", "/")
        return client.getresponse().read() == b"small"
    except OSError:
        return False
    finally:
        client.close()


def test_clients_that_take_no_answer_do_not_keep_the_workers(port: int) -> None:
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(THREADS)]
    try:
        for client in clients:
            client.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
        eventually(lambda: not small(port), "all workers are held")
        eventually(lambda: small(port), "they are free again")
    finally:
        for client in clients:
            client.close()


def test_a_request_that_drips_is_ended(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        client.settimeout(0.2)

        def ended() -> bool:
            try:
                client.sendall(b"X: y\r\n")
                return client.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        begun = time.monotonic()
        eventually(ended, "the server hangs up")
        assert time.monotonic() - begun >= 1


def test_connections_leave_files_for_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {200: (136, 45), 65: (4, 4), 1 << 20: (500, 500), resource.RLIM_INFINITY: (500, 500)}
    for soft, connections in limits.items():
        monkeypatch.setattr(resource, "getrlimit", lambda which, soft=soft: (soft, soft))
        assert (module._connection_limit(1), module._connection_limit(3)) == connections
