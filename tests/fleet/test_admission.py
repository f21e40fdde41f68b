"""Who may make a collector read a body: a gateway with its token, and nobody else."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from collector_run import ADMIN, GATEWAYS, CollectorRun
from support import RedisServer, certificate
from webserver import trusting

from netify_agent.fleet.ingest import MAX_SENT

HUGE = MAX_SENT - 1
SMALL = 16_000


def head(path: str, token: str, length: int, *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *more]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode()


def answer(client: socket.socket) -> bytes:
    """Everything until the collector closes the connection."""
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/ingest/gw1", "", b"401"),
        ("/ingest/gw1", "a-token-that-nobody-has", b"401"),
        ("/ingest/gw1", GATEWAYS["gw2"], b"401"),
        ("/ingest/gw1", ADMIN, b"401"),
        ("/ingest/gw9", GATEWAYS["gw1"], b"401"),
        ("/ingest/%67w1", GATEWAYS["gw2"], b"401"),
        ("//ingest/gw1", GATEWAYS["gw1"], b"413"),
        ("/gateways", ADMIN, b"413"),
        ("/gateways/gw1/", GATEWAYS["gw1"], b"413"),
        ("/healthz", "", b"413"),
        ("/", "", b"413"),
    ],
)
def test_a_body_is_refused_before_a_byte_of_it_is_there(
    collector: CollectorRun, path: str, token: str, status: bytes
) -> None:
    for more in ((), ("Expect: 100-continue",)):
        with socket.create_connection(("127.0.0.1", collector.port), timeout=60) as client:
            client.sendall(head(path, token, HUGE, *more))
            found = answer(client)
            assert found.startswith(b"HTTP/1.1 " + status), found
            assert b"Connection: close" in found and b"application/problem+json" in found
            if status == b"401":
                assert b'www-authenticate: bearer realm="netify-collector"' in found.lower()


def test_a_gateway_is_asked_for_its_message(collector: CollectorRun) -> None:
    with socket.create_connection(("127.0.0.1", collector.port), timeout=60) as client:
        client.sendall(head("/ingest/gw1", GATEWAYS["gw1"], SMALL, "Expect: 100-continue"))
        assert client.recv(65536).startswith(b"HTTP/1.1 100 ")


def test_a_host_that_is_not_ours_is_refused_first(collector: CollectorRun) -> None:
    with socket.create_connection(("127.0.0.1", collector.port), timeout=60) as client:
        request = head("/ingest/gw1", GATEWAYS["gw1"], HUGE).replace(
            b"Host: localhost", b"Host: evil.example"
        )
        client.sendall(request)
        assert answer(client).startswith(b"HTTP/1.1 403 ")


def test_wrong_tokens_are_logged_with_their_address(collector: CollectorRun) -> None:
    with socket.create_connection(("127.0.0.1", collector.port), timeout=60) as client:
        client.sendall(head("/ingest/gw1", "a-token-that-nobody-has", HUGE))
        answer(client)
    text = collector.log.read_text()
    assert "1 wrong token, the latest from 127.0.0.1" in text
    assert "a-token-that-nobody-has" not in text


def test_the_token_is_checked_first_over_tls_too(directory: Path, collector_redis: RedisServer) -> None:
    tls = certificate(directory, "collector")
    collector = CollectorRun(
        directory, collector_redis.url, tls={"certificate": tls.certificate, "key": tls.key}
    )
    collector.trusted = tls.certificate
    collector.start()
    try:
        with (
            socket.create_connection(("127.0.0.1", collector.port), timeout=60) as plain,
            trusting(tls).wrap_socket(plain, server_hostname="localhost") as client,
        ):
            client.sendall(head("/ingest/gw1", GATEWAYS["gw2"], HUGE))
            assert client.recv(65536).startswith(b"HTTP/1.1 401 ")
        assert "the latest from 127.0.0.1" in collector.log.read_text()
    finally:
        collector.stop()
