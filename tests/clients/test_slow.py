"""Clients that mean harm, against the real daemon: whoever else asks still gets an answer within a second."""

from __future__ import annotations

import resource
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from gateway import Gateway, output

ATTACKERS = 600  # more connections than the server takes at all
ASKED = 11
BOUND_S = 1.0  # for the median of several, as one may have to wait for the machine
LONGEST_S = "10"  # for each; the server is patient with the slow for longer than that


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Leave to open as many connections as the attack needs."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limits[1]), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def median_s(gateway: Gateway, path: str) -> float:
    """How long somebody else waits, each time over a new connection."""
    times = []
    for _ in range(ASKED):
        words = (
            "curl",
            "-sS",
            "--fail",
            "--max-time",
            LONGEST_S,
            "--output",
            "/dev/null",
            "-w",
            "%{time_total}",
        )
        times.append(float(output(*words, f"{gateway.base}{path}")))
    return statistics.median(times)


@contextmanager
def drip(port: int, opening: bytes, piece: bytes) -> Iterator[None]:
    """Many connections that say ``opening``, then ``piece`` over and over; who is hung up on comes back."""
    ending = threading.Event()

    def connect() -> socket.socket:
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
        return client

    def attack() -> None:
        clients = [connect() for _ in range(ATTACKERS)]
        opened = [False] * ATTACKERS
        while not ending.wait(0.2):
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
        time.sleep(2)  # let the attack unfold
        yield
    finally:
        ending.set()
        thread.join()


@pytest.mark.parametrize(
    ("opening", "piece"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n"),
        (b"GET /", b"a"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n", b"b"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nb\r\n"),
    ],
    ids=["headers", "a path", "a body", "chunks"],
)
def test_slow_loris_leaves_others_their_answers(gateway: Gateway, opening: bytes, piece: bytes) -> None:
    with drip(gateway.daemon.port, opening, piece):
        assert median_s(gateway, "/healthz") < BOUND_S
        assert median_s(gateway, "/applications") < BOUND_S


def test_silent_connections_leave_others_their_answers(gateway: Gateway) -> None:
    with drip(gateway.daemon.port, b"\r", b""):
        assert median_s(gateway, "/healthz") < BOUND_S


def test_oversized_headers_are_refused_and_leave_others_their_answers(gateway: Gateway) -> None:
    header = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * (1 << 20) + b"\r\n\r\n"
    ending = threading.Event()
    answers: set[bytes] = set()

    def attack() -> None:
        while not ending.is_set():
            with socket.create_connection(("127.0.0.1", gateway.daemon.port)) as client:
                client.settimeout(30)
                with suppress(OSError):  # it hangs up when it has heard enough
                    client.sendall(header)
                with suppress(OSError):
                    answers.add(client.recv(12))

    attackers = [threading.Thread(target=attack) for _ in range(4)]
    for attacker in attackers:
        attacker.start()
    try:
        assert median_s(gateway, "/healthz") < BOUND_S
        assert median_s(gateway, "/applications") < BOUND_S
    finally:
        ending.set()
        for attacker in attackers:
            attacker.join()
    assert answers <= {b"HTTP/1.1 431", b"HTTP/1.0 431", b""}
