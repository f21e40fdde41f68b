"""Promises of the web server: no client holds up the others, whatever it does not do."""

from __future__ import annotations

import http.client
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from support import eventually, free_port

from netify_agent.api.http import connections as patience
from netify_agent.api.http import server as module
from netify_agent.api.http.server import EVENT_CLIENTS as STREAMS
from netify_agent.api.http.server import WebServer, Wsgi
from netify_agent.config.settings import Endpoint, WebSettings

THREADS = 2
BIG = b"x" * (32 << 20)  # more than waitress by itself and the kernel take in before a worker has to wait


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


def taken(client: socket.socket, most: int) -> int:
    """How many bytes there are to take, until the server hangs up or it is enough."""
    size = 0
    try:
        while size < most and (data := client.recv(1 << 20)):
            size += len(data)
    except ConnectionResetError:
        pass
    return size


def test_clients_that_take_no_answer_keep_no_worker_and_soon_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_IDLE_S", 10_000)
    monkeypatch.setattr(module, "EVENT_CLIENTS", 0)
    monkeypatch.setattr(patience, "MAX_UNTAKEN", 2 * len(BIG))
    with running(app) as port, ExitStack() as clients:
        taking_nothing = [
            clients.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(3 * THREADS)
        ]
        for client in taking_nothing:
            client.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4)
        eventually(lambda: small(port), "somebody else is answered")
        patient = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        patient.request("GET", "/big")
        assert patient.getresponse().read() == BIG
        patient.close()
        whole = 4 * len(BIG)
        assert sum(taken(client, whole) < whole for client in taking_nothing) >= THREADS


def test_one_client_that_asks_for_more_than_may_wait_is_given_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_IDLE_S", 10_000)
    monkeypatch.setattr(patience, "MAX_UNTAKEN", 2 * len(BIG))
    with running(app) as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
        eventually(lambda: small(port), "somebody else is answered")
        time.sleep(2)  # so that all that is made for it waits
        assert taken(client, 20 * len(BIG)) < 20 * len(BIG)


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


@contextmanager
def running(
    application: Wsgi, threads: int = THREADS, beat: Callable[[], None] = lambda: None
) -> Iterator[int]:
    """The port of a server."""
    number = free_port()
    settings = WebSettings(listen=Endpoint("tcp", host="127.0.0.1", port=number), threads=threads)
    server = WebServer(application, settings)
    stop = threading.Event()
    thread = threading.Thread(target=server.run, args=(stop, beat))
    thread.start()
    yield number
    stop.set()
    thread.join()


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nX: ", b"\r\n"])
def test_a_flood_of_connections_shuts_out_only_itself(monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(module, "_IDLE_S", 10_000)
    monkeypatch.setattr(module, "_MAX_CONNECTIONS", 10)
    with running(app) as port, ExitStack() as clients:
        for _ in range(60):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(begun)
        eventually(lambda: small(port), "somebody else is answered")


def test_a_client_that_is_being_answered_makes_no_room_for_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_S", 10_000)
    monkeypatch.setattr(module, "_MAX_CONNECTIONS", 4)
    leave = threading.Event()

    def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        leave.wait()
        return app(environ, start_response)

    with running(slow) as port, ExitStack() as clients:
        asking = clients.enter_context(socket.create_connection(("127.0.0.1", port)))
        asking.sendall(b"GET / HTTP/1.0\r\n\r\n")
        for _ in range(20):
            flood = clients.enter_context(socket.create_connection(("127.0.0.1", port)))
        flood.sendall(b"GET / HTTP/1.0\r\n\r\n")
        leave.set()
        for client in (flood, asking):
            assert b"".join(iter(lambda client=client: client.recv(4096), b"")).endswith(b"small")


def test_no_more_answers_are_worked_on_at_once_than_there_are_threads() -> None:
    lock, leave = threading.Lock(), threading.Event()
    at_once: list[int] = [0]

    def counting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with lock:
            at_once.append(at_once[-1] + 1)
        leave.wait()
        with lock:
            at_once.append(at_once[-1] - 1)
        return app(environ, start_response)

    with running(counting, threads=3) as port, ExitStack() as clients:
        asking = [
            clients.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(3 + STREAMS)
        ]
        for client in asking:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        eventually(lambda: at_once[-1] == 3, "all of them are worked on")
        leave.set()
        for client in asking:
            assert b"".join(iter(lambda client=client: client.recv(4096), b"")).endswith(b"small")
    assert max(at_once) == 3


class Streaming:
    """An application whose answers never end, but at ``/``."""

    def __init__(self, piece: bytes = b"piece\n") -> None:
        self.piece = piece
        self.open = 0
        self.go_on = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/":
            return app(environ, start_response)
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        self.open += 1
        try:
            while True:
                yield self.piece
                self.go_on.wait(0.05)
        finally:
            self.open -= 1


def streaming(clients: ExitStack, port: int, version: bytes = b"1.1", headers: bytes = b"") -> socket.socket:
    client = clients.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
    client.sendall(b"GET /events HTTP/%s\r\nHost: localhost\r\n%s\r\n" % (version, headers))
    return client


def test_streams_have_threads_of_their_own_and_are_not_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_LIMIT_S", 0)  # whatever is worked on at all is stuck
    beats: list[int] = []
    application = Streaming()
    with running(application, threads=1, beat=lambda: beats.append(1)) as port, ExitStack() as clients:
        for _ in range(STREAMS):
            streaming(clients, port)
        eventually(lambda: application.open == STREAMS, "all of them are open")
        before = len(beats)
        eventually(lambda: len(beats) > before, "the server gets on")
        assert small(port)


@pytest.mark.parametrize(
    ("version", "headers", "first"),
    [
        (b"1.1", b"", b"6\r\npiece\n\r\n"),
        (b"1.1", b"Connection: close\r\n", b"6\r\npiece\n\r\n"),
        (b"1.0", b"", b"piece\n"),
        (b"1.0", b"Connection: keep-alive\r\n", b"piece\n"),
    ],
)
def test_a_stream_arrives_piece_by_piece_in_every_version_of_http(
    version: bytes, headers: bytes, first: bytes
) -> None:
    with running(Streaming()) as port, ExitStack() as clients:
        client = streaming(clients, port, version, headers)
        got = b""
        while got.count(b"piece") < 3:
            got += client.recv(4096)
        head, _, body = got.partition(b"\r\n\r\n")
        assert body.startswith(first * 2)
        assert b"\r\nConnection: close" in head
        assert b"Content-Length" not in head
        assert (b"Transfer-Encoding: chunked" in head) == (version == b"1.1")


def test_the_thread_of_a_stream_whose_client_has_gone_is_free_again() -> None:
    application = Streaming()
    with running(application) as port, ExitStack() as clients:
        client = streaming(clients, port)
        eventually(lambda: application.open, "it is open")
        client.close()
        eventually(lambda: not application.open, "it is closed")


def test_the_thread_of_a_stream_whose_client_takes_nothing_is_free_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_IDLE_S", 1)
    application = Streaming(bytes(1 << 20))
    with running(application) as port, ExitStack() as clients:
        streaming(clients, port)
        eventually(lambda: application.open, "it is open")
        eventually(lambda: not application.open, "it is closed")


def test_connections_leave_files_for_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {200: (136, 34), 65: (4, 4), 1 << 20: (500, 500), resource.RLIM_INFINITY: (500, 500)}
    for soft, connections in limits.items():
        monkeypatch.setattr(resource, "getrlimit", lambda which, soft=soft: (soft, soft))
        assert (module._connection_limit(1), module._connection_limit(4)) == connections
