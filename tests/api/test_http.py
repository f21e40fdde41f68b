"""HTTP as clients speak it: what they accept, what is compressed, how long a request may be."""

from __future__ import annotations

import gzip
import json
import re
import socket

import pytest
from api_server import ALIVE, Scene, assert_problem
from real_store import LAPTOP
from support import eventually

from netify_agent.api.http.negotiation import quality, takes_gzip

JSON = "application/json"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        *(("", 1), ("*/*", 1), ("application/*;q=0.5", 0.5), ("text/html, */*;q=0.1", 0.1), (" , ", 1)),
        *(
            ("text/html", 0),
            ("application/json;q=0, */*", 0),
            ("application/json; charset=utf-8; q=0.7", 0.7),
        ),
        *(("APPLICATION/JSON ; Q=0.25", 0.25), ("application/xml", 0), ("nonsense", 0), ("a/b;q=x", 0)),
    ],
)
def test_the_most_exact_range_of_accept_counts(accept: str, wanted: float) -> None:
    assert quality(accept, JSON) == wanted


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        *(("", False), ("gzip", True), ("deflate, gzip;q=0.5", True), ("gzip;q=0", False), ("*", True)),
        *(("*;q=0", False), ("gzip;q=0, *", False), ("GZIP", True), ("br", False), ("identity", False)),
    ],
)
def test_gzip_is_for_who_asks(header: str, takes: bool) -> None:
    assert takes_gzip(header) is takes


@pytest.mark.parametrize("path", ["/", f"/{LAPTOP}", "/applications", "/status", "/healthz", "/openapi.json"])
def test_who_takes_no_json_is_told_so(scene: Scene, path: str) -> None:
    for accept in ("application/xml", "application/json;q=0", "text/plain, image/*"):
        answer = scene.ask(path, Accept=accept)
        assert_problem(answer, 406)
        assert accept in answer.json["detail"]
    assert scene.ask(path, Accept="text/plain, */*;q=0.1").status == 200


@pytest.mark.parametrize("path", ["/", f"/{LAPTOP}"])
def test_large_answers_are_compressed_for_who_asks(scene: Scene, path: str) -> None:
    plain = scene.ask(path)
    packed = scene.ask(path, Accept_Encoding="gzip, deflate")
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 2
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept, Accept-Encoding"
    assert plain.headers["ETag"] != packed.headers["ETag"]
    for first, encoding in ((plain, "identity"), (packed, "gzip")):
        again = scene.ask(path, Accept_Encoding=encoding, If_None_Match=first.headers["ETag"])
        assert (again.status, again.headers["ETag"]) == (304, first.headers["ETag"])
        assert again.headers["Vary"] == "Accept, Accept-Encoding"
    headed = scene.ask(path, "HEAD", Accept_Encoding="gzip")
    assert headed.headers["Content-Length"] == packed.headers["Content-Length"]


def test_small_answers_are_not_compressed(scene: Scene) -> None:
    answer = scene.ask("/healthz", Accept_Encoding="gzip")
    assert answer.body == b'{"status":"ok","checks":{"web":"ok"}}\n'
    assert "Content-Encoding" not in answer.headers


def test_a_target_that_is_too_long_is_refused(scene: Scene) -> None:
    assert_problem(scene.ask("/" + "x" * 4095), 400)
    assert_problem(scene.ask("/" + "x" * 4096), 414)
    assert_problem(scene.ask("/?" + "x" * 4095), 414)
    assert_problem(scene.ask("/" + "x" * 4096, "POST"), 414)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"x" * 20_000), 414),
        (b"GET /%s" % (b"x" * 30_000), 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: %s" % (b"x" * 20_000), 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (b"X: y\r\n" * 4000), 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16384\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n", 400),
        (b"GET http://[::1/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET http://[x/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n X: y\r\nX : y\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n", 411),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
def test_what_is_no_request_is_told_as_a_problem(scene: Scene, request_line: bytes, status: int) -> None:
    head, _, body = scene.raw(request_line).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.")
    assert head.split(b" ")[1] == b"%d" % status
    assert b"Content-Type: application/problem+json" in head
    assert b"X-Content-Type-Options: nosniff" in head
    problem = json.loads(body)
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert scene.get("/healthz") == ALIVE


def test_who_sends_far_too_much_can_still_read_why_it_was_refused(scene: Scene) -> None:
    for size in (20_000, 200_000, 1_000_000):
        with socket.create_connection(("127.0.0.1", scene.port), timeout=60) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size)
            client.sendall(b"x" * (size // 2))
            answer = b""
            while not answer.endswith(b"}\n"):  # the body may come apart from its headers
                answer += client.recv(65536)
            assert answer.startswith(b"HTTP/1.1 413")
            client.sendall(b"x" * (size - size // 2))
            answer += b"".join(iter(lambda client=client: client.recv(65536), b""))
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 413


def test_who_goes_on_after_a_refusal_is_hung_up_on(scene: Scene) -> None:
    with socket.create_connection(("127.0.0.1", scene.port), timeout=60) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 400")

        def ended() -> bool:
            try:
                client.sendall(b"x" * 100)
            except OSError:
                return True
            return False

        eventually(ended, "it is over")


def test_a_request_smuggled_behind_a_refused_one_is_not_answered(scene: Scene) -> None:
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for head in (
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000\r\n\r\n",
        b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ):
        answer = scene.raw(head + smuggled)
        assert answer.count(b"HTTP/1.") == 1
        assert b'{"status":"ok"' not in answer


@pytest.mark.parametrize(
    "framing",
    [
        b"HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n1234",
        b"HTTP/1.1\r\nHost: localhost\r\nContent-Length: +4\r\n\r\n1234",
        b"HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    ],
)
def test_an_end_that_is_told_in_two_ways_hides_no_request(scene: Scene, framing: bytes) -> None:
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = scene.raw(b"GET / " + framing + smuggled)
    assert answer.split(b" ")[1] in (b"400", b"411", b"501")
    assert len(re.findall(rb"HTTP/1\.\d \d", answer)) == 1
    assert answer.count(b"Connection: close\r\n") == answer.count(b"Connection:") == 1


def test_a_connection_outlives_answers_without_a_body(scene: Scene) -> None:
    etag = scene.ask("/").headers["ETag"]
    connection = scene.connection()
    connection.connect()
    sock = connection.sock
    for method, headers, status in (
        *(("GET", {"If-None-Match": etag}, 304), ("OPTIONS", {}, 204), ("HEAD", {}, 200)),
        *(("GET", {"If-None-Match": etag}, 304), ("GET", {}, 200)),
    ):
        connection.request(method, "/", headers=headers)
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.headers["Connection"]) == (status, None)
        assert connection.sock is sock
    connection.request("GET", "/", headers={"If-None-Match": etag, "Connection": "close"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Connection"]) == (304, "close")
    connection.close()
    old = scene.raw(f"GET / HTTP/1.0\r\nHost: localhost\r\nIf-None-Match: {etag}\r\n\r\n".encode())
    assert old.startswith(b"HTTP/1.0 304 ")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize("query", ["uptime_kuma_cachebuster=abc123", "1763941234", "a=1&a=2", "%ff=%fe"])
def test_a_probe_may_add_what_it_likes_to_the_query(scene: Scene, path: str, query: str) -> None:
    """Uptime Kuma's "cache buster" and UptimeRobot do, to get past caches."""
    assert scene.ask(f"{path}?{query}").status == scene.ask(path).status == 200
