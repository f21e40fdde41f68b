"""Requests over real sockets: methods, paths, connections, the Host header, listening."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from api_server import ALIVE, Scene, Unix, a_scene, assert_problem
from real_store import LAPTOP
from support import RedisServer, free_port

from netify_agent.api.http import server
from netify_agent.api.http.server import WebError
from netify_agent.config.settings import Endpoint, WebSettings

# -- errors ----------------------------------------------------------------------------------------


def test_a_device_never_seen_is_not_found(scene: Scene) -> None:
    for device in ("02:00:00:00:00:99", "192.0.2.1", "2001:db8::1"):
        for suffix in ("", "/history"):
            answer = scene.ask(f"/{device}{suffix}")
            assert_problem(answer, 404)
            assert answer.json["detail"] == f"no device {device} has been seen"
            assert scene.ask(f"/{device}{suffix}", If_None_Match="*").status == 404


@pytest.mark.parametrize("path", [f"/{LAPTOP}/", f"/{LAPTOP}/none", "/a/b/c", "/applications/x/y"])
def test_other_paths_are_not_found(scene: Scene, path: str) -> None:
    for method in ("GET", "HEAD"):
        answer = scene.ask(path, method)
        assert answer.status == 404
    assert_problem(scene.ask(path), 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "NONSENSE"])
@pytest.mark.parametrize(
    "path",
    ["/", "/applications", "/status", "/healthz", "/readyz", f"/{LAPTOP}", f"/{LAPTOP}/history", "/a/b/c"],
)
def test_what_would_change_anything_is_not_allowed(scene: Scene, method: str, path: str) -> None:
    answer = scene.ask(path, method)
    assert_problem(answer, 405)
    assert answer.headers.get_all("Allow") == ["GET, HEAD, OPTIONS"]


def test_options_and_head_are_answered_without_a_body(scene: Scene) -> None:
    for path in ("/", f"/{LAPTOP}", "/status", "/a/b/c"):
        answer = scene.ask(path, "OPTIONS")
        assert (answer.status, answer.headers["Allow"], answer.body) == (204, "GET, HEAD, OPTIONS", b"")
    got, headed = scene.ask("/"), scene.ask("/", "HEAD")
    assert headed.body == b""
    assert headed.status == 200
    for header in ("Content-Length", "Content-Type", "ETag", "Cache-Control"):
        assert headed.headers[header] == got.headers[header]


def test_an_error_inside_is_told_without_its_traceback(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr(scene.status, "document", broken)
    answer = scene.ask("/status")
    assert_problem(answer, 500)
    assert b"secret" not in answer.body
    assert "secret of the inside" in caplog.text
    monkeypatch.setattr(scene.status, "checks", lambda: 1 / 0)
    assert_problem(scene.ask("/readyz"), 500)


# -- HTTP ------------------------------------------------------------------------------------------


def test_a_connection_is_kept_and_old_http_is_spoken(scene: Scene) -> None:
    connection = scene.connection()
    connection.connect()
    sock = connection.sock
    for method, path, status in (
        *(("GET", "/", 200), ("GET", f"/{LAPTOP}", 200), ("GET", "/x", 400)),
        *(("POST", "/", 405), ("GET", "/a/b/c", 404), ("GET", "/healthz", 200)),
    ):
        connection.request(method, path)
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, connection.sock) == (status, sock)
    connection.close()
    old = scene.raw(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert old.startswith(b"HTTP/1.0 200 OK")
    assert old.endswith(b'{"status":"ok","checks":{"web":"ok"}}\n')


def test_requests_sent_at_once_are_answered_in_order(scene: Scene) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answers = scene.raw(request * 5 + last)
    assert answers.count(b"HTTP/1.1 200 OK") == 6
    assert answers.endswith(b'"sums":"ok"}}\n')


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:7000", "127.0.0.1:1", "[::1]", "[::1]:7000", "127.0.0.1:"],
)
def test_a_request_for_this_machine_by_name_is_answered(scene: Scene, host: str) -> None:
    assert scene.ask("/", Host=host).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7000", "localhost.evil.example", "", "[::2"])
@pytest.mark.parametrize("path", ["/", f"/{LAPTOP}", f"/{LAPTOP}/history", "/status", "/healthz"])
def test_a_name_that_a_stranger_points_here_gets_nothing(scene: Scene, host: str, path: str) -> None:
    answer = scene.ask(path, Host=host)
    assert_problem(answer, 403)
    assert "web.hosts" in answer.json["detail"]


def test_names_of_the_configuration_and_the_own_address_are_answered(
    shared_redis: RedisServer, tmp_path: Path
) -> None:
    listen = Endpoint("tcp", host="127.0.0.2", port=free_port())
    scene = a_scene(shared_redis.url, tmp_path, WebSettings(listen=listen, hosts=("gw.example",)))
    scene.start()
    try:
        for host in ("gw.example", "GW.example:80", f"127.0.0.2:{scene.port}", "localhost"):
            assert scene.ask("/healthz", Host=host).status == 200
        assert scene.ask("/healthz", Host="other.example").status == 403
    finally:
        scene.stop()


def test_long_requests_and_bodies_are_refused(scene: Scene) -> None:
    long = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ".ljust(16_384, b"x")
    assert scene.raw(long).split(b" ")[1] == b"431"
    body = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
    assert scene.raw(body).split(b" ")[1] == b"413"
    assert scene.raw(b"nonsense\r\n\r\n").split(b" ")[1] in (b"400", b"405")  # as waitress understands it
    assert scene.get("/healthz") == ALIVE


def test_slow_clients_do_not_keep_others_waiting(scene: Scene) -> None:
    slow = [socket.create_connection(("127.0.0.1", scene.port), timeout=30) for _ in range(100)]
    try:
        for client in slow:
            client.sendall(b"GET / HTTP/1.1\r\nHost: loc")
        for _ in range(10):
            assert scene.get("/healthz") == ALIVE
        for client in slow[:3]:
            client.sendall(b"alhost\r\nConnection: close\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
    finally:
        for client in slow:
            client.close()


# -- listening -------------------------------------------------------------------------------------


def test_a_unix_socket_is_for_its_group_and_replaces_a_stale_one(
    shared_redis: RedisServer, directory: Path
) -> None:
    path = directory / "web.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    scene = a_scene(shared_redis.url, directory, WebSettings(listen=Endpoint("unix", path=str(path))))
    scene.start()
    try:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        connection = Unix(path)
        connection.request("GET", "/healthz", headers={"Host": "anything.example"})
        assert connection.getresponse().read() == b'{"status":"ok","checks":{"web":"ok"}}\n'
        connection.close()
        with pytest.raises(WebError, match="something else listens there already"):
            server.listen(scene.web.listen)
    finally:
        scene.stop()
    assert not path.exists()


def test_a_unix_socket_that_is_only_busy_is_not_taken_for_stale(directory: Path) -> None:
    path = directory / "busy.sock"
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = []
        for _ in range(4):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            client.connect_ex(str(path))
            waiting.append(client)
        with pytest.raises(WebError, match="something else listens there already"):
            server.listen(Endpoint("unix", path=str(path)))
        assert path.exists()
        for client in waiting:
            client.close()


def test_a_place_that_can_not_be_listened_on_is_named(directory: Path) -> None:
    (directory / "file").write_text("mine")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for endpoint, told in (
            (Endpoint("tcp", host="127.0.0.1", port=port), f"on tcp://127.0.0.1:{port}: something else"),
            (Endpoint("tcp", host="192.0.2.1", port=7000), "tcp://192.0.2.1:7000: Cannot assign requested"),
            (Endpoint("unix", path=f"{directory}/file"), f"unix://{directory}/file: there is a file of anot"),
            (Endpoint("unix", path=f"{directory}/no/sock"), f"unix://{directory}/no/sock: No such file"),
        ):
            with pytest.raises(WebError, match=r"web\.listen: can't listen on") as error:
                server.listen(endpoint)
            assert told in str(error.value)
    assert (directory / "file").read_text() == "mine"


def test_an_ipv6_address_is_listened_on(shared_redis: RedisServer, tmp_path: Path) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("no IPv6 here")
    listen = Endpoint("tcp", host="::1", port=free_port())
    scene = a_scene(shared_redis.url, tmp_path, WebSettings(listen=listen))
    scene.start()
    try:
        assert scene.get("/healthz") == ALIVE
        assert scene.ask("/", Host="evil.example").status == 403
    finally:
        scene.stop()
