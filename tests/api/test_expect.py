"""``Expect: 100-continue``: the server asks for a body only where one is still to come."""

from __future__ import annotations

import re
import socket

import pytest
from api_server import Scene

HEAD = b"HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
PATIENCE_S = 5  # less than the time for which the server keeps a connection without a complete request


def statuses(client: socket.socket, count: int) -> list[bytes]:
    """The status codes of the next ``count`` answers; TimeoutError if they do not come in time."""
    answer = b""
    while len(found := re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)) < count:
        piece = client.recv(65536)
        assert piece, f"the server closed the connection after {found}"
        answer += piece
    return found


def connected(scene: Scene) -> socket.socket:
    return socket.create_connection(("127.0.0.1", scene.port), timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET /healthz " + HEAD + b"\r\n", b"200"),
        (b"HEAD / " + HEAD + b"\r\n", b"200"),
        (b"GET /healthz " + HEAD + b"Content-Length: 0\r\n\r\n", b"200"),
        (b"POST / " + HEAD + b"Content-Length: 20000\r\n\r\n", b"413"),
        (b"POST / " + HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"411"),
    ],
)
def test_a_request_without_a_body_to_come_is_answered_at_once(
    scene: Scene, request_head: bytes, status: bytes
) -> None:
    with connected(scene) as client:
        client.sendall(request_head)
        assert statuses(client, 1) == [status]


def test_requests_one_after_another_are_answered_in_order(scene: Scene) -> None:
    with connected(scene) as client:
        client.sendall(b"GET /nothing-here " + HEAD + b"\r\n" + b"GET /healthz " + HEAD + b"\r\n")
        assert statuses(client, 2) == [b"400", b"200"]


def test_a_body_to_come_is_asked_for_and_then_answered(scene: Scene) -> None:
    with connected(scene) as client:
        client.sendall(b"POST /healthz " + HEAD + b"Content-Length: 4\r\n\r\n")
        assert statuses(client, 1) == [b"100"]
        client.sendall(b"body")
        assert statuses(client, 1) == [b"405"]
