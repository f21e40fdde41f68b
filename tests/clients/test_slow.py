"""Slow and oversized requests: other clients still get an answer within a second."""

from __future__ import annotations

import resource
import socket
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from gateway import Gateway, output
from support import WAIT_S

CONNECTIONS = 600  # more than the server accepts
REQUESTS = 11
MAX_MEDIAN_S = 1.0  # of several requests, because the machine may delay a single one
ROUNDS = 10  # of pieces sent on all connections before the measurement
TIMEOUT_S = "10"  # of each request; shorter than the server's own timeouts


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Raise the limit of open files to what the attack needs."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limits[1]), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def median_s(gateway: Gateway, path: str) -> float:
    """Median response time of requests on new connections."""
    times = []
    for _ in range(REQUESTS):
        words = (
            "curl",
            "-sS",
            "--fail",
            "--max-time",
            TIMEOUT_S,
            "--output",
            "/dev/null",
            "-w",
            "%{time_total}",
        )
        times.append(float(output(*words, f"{gateway.base}{path}")))
    return statistics.median(times)


@contextmanager
def slow_requests(port: int, opening: bytes, piece: bytes) -> Iterator[None]:
    """Many connections that send ``opening``, then ``piece`` repeatedly. Closed ones are opened again."""
    stopping, established = threading.Event(), threading.Event()

    def connect() -> socket.socket:
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
        return client

    def attack() -> None:
        clients = [connect() for _ in range(CONNECTIONS)]
        opened = [False] * CONNECTIONS
        rounds = 0
        while not stopping.wait(0.2):
            rounds += 1
            if rounds > ROUNDS:
                established.set()
            for index, client in enumerate(clients):
                try:
                    client.send(piece if opened[index] else opening)
                    opened[index] = True
                except BlockingIOError:
                    pass
                except OSError:
                    client.close()
                    clients[index] = connect()
                    opened[index] = False
        for client in clients:
            client.close()

    thread = threading.Thread(target=attack)
    thread.start()
    try:
        assert established.wait(WAIT_S)
        yield
    finally:
        stopping.set()
        thread.join()


@pytest.mark.parametrize(
    ("opening", "piece"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n"),
        (b"GET /", b"a"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n", b"b"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nb\r\n"),
    ],
    ids=["headers", "path", "body", "chunks"],
)
def test_slow_requests_do_not_delay_others(gateway: Gateway, opening: bytes, piece: bytes) -> None:
    with slow_requests(gateway.daemon.port, opening, piece):
        assert median_s(gateway, "/healthz") < MAX_MEDIAN_S
        assert median_s(gateway, "/applications") < MAX_MEDIAN_S


def test_silent_connections_do_not_delay_others(gateway: Gateway) -> None:
    with slow_requests(gateway.daemon.port, b"\r", b""):
        assert median_s(gateway, "/healthz") < MAX_MEDIAN_S


def test_oversized_headers_are_refused_and_do_not_delay_others(gateway: Gateway) -> None:
    header = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * (1 << 20) + b"\r\n\r\n"
    ending = threading.Event()
    answers: set[bytes] = set()

    def attack() -> None:
        while not ending.is_set():
            with socket.create_connection(("127.0.0.1", gateway.daemon.port)) as client:
                client.settimeout(30)
                with suppress(OSError):  # the server closes the connection early
                    client.sendall(header)
                with suppress(OSError):
                    answers.add(client.recv(12))

    attackers = [threading.Thread(target=attack) for _ in range(4)]
    for attacker in attackers:
        attacker.start()
    try:
        assert median_s(gateway, "/healthz") < MAX_MEDIAN_S
        assert median_s(gateway, "/applications") < MAX_MEDIAN_S
    finally:
        ending.set()
        for attacker in attackers:
            attacker.join()
    assert answers <= {b"HTTP/1.1 431", b"HTTP/1.0 431", b""}
