"""Promises of the web server: no client holds up the others, whatever it does not do."""

from __future__ import annotations

import http.client
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest
from support import certificate, eventually
from webserver import Server, hung_up, running

from netify_agent.api.http.limits import EVENT_CLIENTS, WebLimits
from netify_agent.api.http.server import Wsgi, connection_limit
from netify_agent.config.settings import TlsSettings

THREADS = 2
BIG = b"x" * (32 << 20)  # more than waitress by itself and the kernel take in before a worker has to wait
PATIENT = 10_000.0
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
GET_BIG = GET.replace(b"/ ", b"/big ", 1)

Serve = Callable[..., AbstractContextManager[Server]]


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [BIG] if environ["PATH_INFO"] == "/big" else [b"small"]


@pytest.fixture(scope="module", params=["http", "https"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TlsSettings | None:
    return certificate(tmp_path_factory.mktemp("tls")) if request.param == "https" else None


@pytest.fixture
def serve(files: TlsSettings | None) -> Serve:
    """Starts a server, over HTTP and over HTTPS in turn."""

    def start(application: Wsgi = app, **limits: Any) -> AbstractContextManager[Server]:
        return running(Server(application, files, threads=THREADS, limits=WebLimits(**limits)))

    return start


def taken(client: socket.socket, most: int) -> int:
    """How many bytes there are to take, until the server hangs up or it is enough."""
    size = 0
    try:
        while size < most and (data := client.recv(1 << 20)):
            size += len(data)
    except OSError:
        pass
    return size


def takes_all(server: Server) -> bool:
    try:
        return server.get("/big") == BIG
    except (OSError, http.client.HTTPException):
        return False


# -- floods and drips ------------------------------------------------------------------------------


def test_clients_that_take_no_answer_keep_no_worker_and_soon_make_room(serve: Serve) -> None:
    limits = {"idle_s": PATIENT, "stalled_s": PATIENT, "event_clients": 0, "untaken_bytes": 2 * len(BIG)}
    with serve(**limits) as server, ExitStack() as clients:
        taking_nothing = [clients.enter_context(server.connect()) for _ in range(3 * THREADS)]
        for client in taking_nothing:
            client.sendall(GET_BIG * 4)
        eventually(server.answers, "somebody else is answered")
        eventually(lambda: takes_all(server), "a client that takes its answer gets all of it")
        whole = 4 * len(BIG)
        assert sum(taken(client, whole) < whole for client in taking_nothing) >= THREADS


def test_one_client_that_asks_for_more_than_may_wait_is_given_no_more(serve: Serve) -> None:
    # Not a whole number of answers: the kernel takes some MiB of them, before or after they are counted.
    most = len(BIG) * 3 // 2
    with serve(idle_s=PATIENT, stalled_s=PATIENT, untaken_bytes=most) as server, server.connect() as client:
        client.sendall(GET_BIG * 20)
        eventually(lambda: server.web.untaken_bytes > most, "more waits than may")
        eventually(server.answers, "somebody else is answered")
        assert taken(client, 20 * len(BIG)) < 20 * len(BIG)


def test_a_client_that_takes_nothing_is_dropped(serve: Serve) -> None:
    with serve(idle_s=1, stalled_s=1) as server, server.connect() as client:
        client.sendall(GET_BIG * 4)
        eventually(lambda: server.web.untaken_bytes, "an answer waits")
        eventually(lambda: server.web.connections == 0, "it is dropped")
        assert taken(client, 4 * len(BIG)) < 4 * len(BIG)


def test_a_request_that_drips_is_ended(serve: Serve) -> None:
    with serve(idle_s=1) as server, server.connect() as client:
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

        eventually(ended, "the server hangs up")


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nX: ", b"\r\n"])
def test_silence_is_ended(serve: Serve, begun: bytes) -> None:
    with serve(idle_s=1) as server, server.connect() as client:
        client.sendall(begun)
        assert hung_up(client)


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nX: "])
def test_silence_is_ended_when_the_clock_was_set_back(
    serve: Serve, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    with serve(idle_s=1) as server, server.connect() as client:
        client.sendall(begun)
        assert server.get() == b"small"
        monkeypatch.setattr(time, "time", lambda: real() - 3600)
        assert hung_up(client)


def test_a_clock_that_is_set_forward_ends_no_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    with serve(idle_s=600) as server, server.connect() as client:
        client.sendall(GET)
        assert taken(client, 1)
        monkeypatch.setattr(time, "time", lambda: real() + 3600)
        for _ in range(3):
            assert server.get() == b"small"
        client.sendall(GET)
        assert taken(client, 1)


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nX: ", b"\r\n"])
def test_a_flood_of_connections_shuts_out_only_itself(serve: Serve, begun: bytes) -> None:
    """Of plain connections, in whatever state: with HTTPS they do not even begin a handshake."""
    with serve(idle_s=PATIENT, handshake_s=PATIENT, connections=10) as server, ExitStack() as clients:
        flood = [
            clients.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            for _ in range(60)
        ]
        for client in flood:
            client.sendall(begun)
        eventually(server.answers, "somebody else is answered")
        assert all(hung_up(client) for client in flood[:40])


def test_a_client_that_is_being_answered_makes_no_room_for_a_flood(serve: Serve) -> None:
    leave = threading.Event()

    def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        leave.wait()
        return app(environ, start_response)

    with serve(slow, idle_s=PATIENT, connections=4) as server, ExitStack() as clients:
        asking = clients.enter_context(server.connect())
        asking.sendall(b"GET / HTTP/1.0\r\n\r\n")
        for _ in range(20):
            flood = clients.enter_context(server.connect())
        flood.sendall(b"GET / HTTP/1.0\r\n\r\n")
        leave.set()
        for client in (flood, asking):
            assert b"".join(iter(lambda client=client: client.recv(4096), b"")).endswith(b"small")


# -- threads and streams ---------------------------------------------------------------------------


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

    with running(Server(counting, threads=3)) as server, ExitStack() as clients:
        asking = [clients.enter_context(server.connect()) for _ in range(3 + EVENT_CLIENTS)]
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


def streaming(
    clients: ExitStack, server: Server, version: bytes = b"1.1", headers: bytes = b""
) -> socket.socket:
    client = clients.enter_context(server.connect())
    client.sendall(b"GET /events HTTP/%s\r\nHost: localhost\r\n%s\r\n" % (version, headers))
    return client


def test_streams_have_threads_of_their_own_and_are_not_stuck() -> None:
    reports: list[int] = []
    application = Streaming()
    limits = WebLimits(request_s=0)  # whatever is worked on at all is stuck
    server = Server(application, threads=1, limits=limits, progress=lambda: reports.append(1))
    with running(server), ExitStack() as clients:
        for _ in range(EVENT_CLIENTS):
            streaming(clients, server)
        eventually(lambda: application.open == EVENT_CLIENTS, "all of them are open")
        before = len(reports)
        eventually(lambda: len(reports) > before, "the server gets on")
        assert server.answers()


def test_progress_is_reported_while_requests_are_quick_and_not_while_one_is_stuck() -> None:
    entered, leave = threading.Event(), threading.Event()
    reports: list[bool] = []

    def sticking(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/stuck":
            entered.set()
            leave.wait()
        return app(environ, start_response)

    limits = WebLimits(request_s=0.05)
    server = Server(sticking, limits=limits, progress=lambda: reports.append(entered.is_set()))
    with running(server), server.connect() as client:
        eventually(lambda: reports, "it reports while nothing is asked")
        client.sendall(GET.replace(b"/ ", b"/stuck ", 1))
        assert entered.wait(60)

        def silent() -> bool:
            before = len(reports)
            return server.answers() and len(reports) == before  # the loop has turned

        eventually(silent, "no more reports")
        leave.set()
        before = len(reports)
        eventually(lambda: len(reports) > before, "it reports again")


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
    with running(Server(Streaming())) as server, ExitStack() as clients:
        client = streaming(clients, server, version, headers)
        got = b""
        while got.count(b"piece") < 3:
            got += client.recv(4096)
        head, _, body = got.partition(b"\r\n\r\n")
        assert body.startswith(first * 2)
        assert b"\r\nConnection: close" in head
        assert b"Content-Length" not in head
        assert (b"Transfer-Encoding: chunked" in head) == (version == b"1.1")


@pytest.mark.parametrize("gone", [True, False], ids=["has gone", "takes nothing"])
def test_the_thread_of_a_stream_whose_client_is_of_no_use_is_free_again(gone: bool) -> None:
    application = Streaming(b"piece\n" if gone else bytes(1 << 20))
    limits = WebLimits() if gone else WebLimits(idle_s=1)
    with running(Server(application, limits=limits)) as server, ExitStack() as clients:
        client = streaming(clients, server)
        eventually(lambda: application.open, "it is open")
        if gone:
            client.close()
        eventually(lambda: not application.open, "it is closed")


def test_connections_leave_files_for_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {200: (136, 34), 65: (4, 4), 1 << 20: (500, 500), resource.RLIM_INFINITY: (500, 500)}
    for soft, connections in limits.items():
        monkeypatch.setattr(resource, "getrlimit", lambda which, soft=soft: (soft, soft))
        assert (connection_limit(500, 1), connection_limit(500, 4)) == connections
