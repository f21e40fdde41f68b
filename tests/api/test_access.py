"""Who may ask, and who may not: tokens, names of this machine, web pages of others."""

from __future__ import annotations

import base64
import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from api_server import Answer, Scene, a_scene, assert_problem
from support import RedisServer, eventually, free_port, short_directory

from netify_agent.api.http.access import Access, WrongTokenLog, own_host_names
from netify_agent.api.http.problems import Problem
from netify_agent.config.settings import Endpoint, WebSettings

FIRST, SECOND = "0123456789abcdef", "fedcba9876543210==".replace("=", "~")
GRAFANA, OTHER = "https://grafana.example.net", "https://evil.example.net"
WEB = WebSettings(listen=Endpoint("tcp", host="127.0.0.1", port=7000))
LAN = replace(WEB, listen=Endpoint("tcp", host="192.0.2.1", port=7000))
LAN_NAMED = replace(LAN, hosts=("gw.lan",))


@contextmanager
def serving(redis: RedisServer, tokens: str = "", **web: Any) -> Iterator[Scene]:
    with short_directory() as path:
        file = path / "tokens"
        file.write_text(tokens)
        settings = WebSettings(
            listen=Endpoint("tcp", host="127.0.0.1", port=free_port()),
            tokens_file=str(file) if tokens else None,
            **web,
        )
        scene = a_scene(redis.url, path, settings)
        scene.start()
        yield scene
        scene.stop()


@pytest.fixture(scope="module")
def guarded(shared_redis: RedisServer) -> Iterator[Scene]:
    with serving(shared_redis, f"{FIRST}\n{SECOND}\n") as scene:
        yield scene


def bearer(scene: Scene, authorization: str, path: str = "/applications", method: str = "GET") -> Answer:
    return scene.ask(path, method, Authorization=authorization)


# Tokens


@pytest.mark.parametrize(
    "path", ["/", "/02:00:00:00:00:01", "/applications", "/status", "/readyz", "/openapi.json", "/none", "//"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "DELETE"])
def test_every_path_and_method_asks_for_a_token(guarded: Scene, path: str, method: str) -> None:
    answer = guarded.ask(path, method)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="netify-agent"'
    if method != "HEAD":
        assert_problem(answer, 401)


def test_any_of_the_tokens_opens(guarded: Scene) -> None:
    for token in (FIRST, SECOND):
        for written in (f"Bearer {token}", f"bearer {token}", f"BEARER   {token}  "):
            assert bearer(guarded, written).status == 200
    assert bearer(guarded, f"Bearer {FIRST}", "/none").status == 400


def test_health_and_the_dashboard_s_files_need_none(guarded: Scene) -> None:
    assert guarded.ask("/healthz").status == 200
    assert guarded.ask("/healthz", "HEAD").status == 200
    for path in ("/ui/", "/ui/app.js", "/ui"):
        assert guarded.ask(path).status in (200, 308)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/healthz/",
            "/healthz/../applications",
            "/Healthz",
            "/%2e/healthz/..",
            "/healthz%00",
            "/healthz;a",
        ),
        *(
            "/ui/none.js",
            "/uix",
            "/UI/",
            "/x/ui/",
            "/applications/ui/",
            "/applications?/ui/",
            "/%2e%2e/ui/",
            "/u%69x",
        ),
    ],
)
def test_what_only_looks_like_an_open_path_is_closed(guarded: Scene, path: str) -> None:
    assert_problem(guarded.ask(path), 401)


def test_an_open_path_leads_nowhere_else(guarded: Scene) -> None:
    for path in ("/ui/../applications", "/ui/%2e%2e/applications", "/ui//../../status", "/ui/..%2fstatus"):
        answer = guarded.ask(path)
        assert answer.status >= 400, answer.body
        assert b"netifyd" not in answer.body


def test_a_browser_without_a_token_is_sent_to_the_dashboard_and_told_nothing(guarded: Scene) -> None:
    answer = guarded.ask("/", Accept="text/html,*/*;q=0.8")
    assert (answer.status, answer.headers["Location"], answer.body) == (303, "ui/", b"")
    assert guarded.ask("/", Accept="application/json").status == 401
    assert guarded.ask("/", "POST", Accept="text/html").status == 401


def wrong_tokens() -> list[str]:
    basic = base64.b64encode(f"x:{FIRST}".encode()).decode()
    return [
        *("", "Bearer", "Bearer ", f"{FIRST}", f"Bearer{FIRST}", f"Token {FIRST}", f"Basic {basic}"),
        *(f"Bearer {FIRST}x", f"Bearer {FIRST[:-1]}", f"Bearer {FIRST.upper()}", f"Bearer {FIRST} {SECOND}"),
        *(f"Bearer {FIRST},{SECOND}", f"Bearer {FIRST}, Bearer {SECOND}", f"Bearer\t{FIRST}", "Bearer ä"),
        *(f"Bearer x, Bearer {FIRST}", f'Bearer "{FIRST}"', f"Bearer {FIRST}\x85", "Bearer " + "x" * 9000),
    ]


@pytest.mark.parametrize("written", wrong_tokens())
def test_a_wrong_token_opens_nothing(written: str) -> None:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_AUTHORIZATION": written}
    with pytest.raises(Problem) as caught:
        Access(WEB, (FIRST, SECOND)).check_token(environ)
    assert caught.value.status == 401
    assert caught.value.headers["WWW-Authenticate"].startswith('Bearer realm="netify-agent"')
    assert FIRST not in caught.value.detail


def test_two_headers_with_a_token_each_are_none(guarded: Scene) -> None:
    both = b"Authorization: Bearer %s\r\nAuthorization: Bearer %s\r\n" % (FIRST.encode(), SECOND.encode())
    request = b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + both + b"\r\n"
    assert guarded.raw(request).split(b" ")[1] == b"401"
    hidden = request.replace(b"Authorization: Bearer " + FIRST.encode(), b"X: y")
    assert guarded.raw(hidden).split(b" ")[1] == b"200"
    underscored = hidden.replace(b"Authorization:", b"HTTP_AUTHORIZATION:")
    assert guarded.raw(underscored).split(b" ")[1] == b"401"


def test_wrong_tokens_are_logged_at_a_bounded_rate_and_hinder_nobody(
    shared_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(shared_redis, FIRST) as scene:
        for _ in range(50):
            assert bearer(scene, "Bearer wrong").status == 401
        assert bearer(scene, f"Bearer {FIRST}").status == 200
        assert_problem(scene.ask("/"), 401)  # no token is no wrong token
    assert [record.getMessage() for record in caplog.records] == ["1 wrong token, the latest from 127.0.0.1"]


def test_a_later_line_has_the_number_of_wrong_tokens_since(caplog: pytest.LogCaptureFixture) -> None:
    wrong = WrongTokenLog(every_s=0.05)

    def logged(count: int) -> bool:
        wrong.add("192.0.2.7")
        return len(caplog.records) == count

    assert logged(1)
    eventually(lambda: logged(2), "another line")
    assert "wrong tokens, the latest from 192.0.2.7" in caplog.records[1].getMessage()


def test_without_tokens_nothing_is_asked_for() -> None:
    Access(WEB).check_token({"REQUEST_METHOD": "GET", "PATH_INFO": "/"})
    Access(WEB).check_token({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_AUTHORIZATION": "Bearer any"})


def test_tokens_do_not_open_for_the_name_of_another_machine(guarded: Scene) -> None:
    answer = guarded.ask("/", Host="evil.example", Authorization=f"Bearer {FIRST}")
    assert_problem(answer, 403)


# Names of this machine


def asked_for(web: WebSettings, host: str, *tokens: str) -> bool:
    try:
        Access(web, tokens).check_host({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_HOST": host})
    except Problem as problem:
        assert problem.status == 403
        return False
    return True


GOOD = (
    *("localhost", "LOCALHOST:7000", "127.0.0.1", "127.0.0.1:80", "[::1]:7000", "[::1]", "localhost:"),
    *("192.0.2.9", "[fd00::1]:7000", socket.gethostname(), f"{socket.gethostname().upper()}:7000"),
)
BAD = (
    *("evil.example", "localhost.evil.example", "evil.example:7000", "127.0.0.1.evil.example", "", ":7000"),
    *("localhost:7000:7000", "localhost:x", "user@localhost", "localhost/", "localhost\x00", " localhost"),
    *("[localhost]x", "localhost.", "localhost, evil.example", "1.2.3"),
)


@pytest.mark.parametrize(
    ("web", "tokens"),
    [(WEB, ()), (WEB, (FIRST,)), (replace(LAN, allow_unauthenticated=True), ()), (LAN_NAMED, (FIRST,))],
    ids=["loopback", "loopback with tokens", "open to all", "hosts given"],
)
def test_only_names_of_this_machine_are_answered(web: WebSettings, tokens: tuple[str, ...]) -> None:
    assert [host for host in GOOD if not asked_for(web, host, *tokens)] == []
    assert [host for host in BAD if asked_for(web, host, *tokens)] == []
    assert asked_for(web, "GW.lan:443", *tokens) == bool(web.hosts)


def test_with_tokens_any_name_will_do_elsewhere() -> None:
    """A page that points its name here has no token."""
    assert [host for host in (*GOOD, *BAD) if not asked_for(LAN, host, FIRST)] == []


def test_aliases_in_the_hosts_file_are_names_of_this_machine(tmp_path: Path) -> None:
    own = socket.gethostname().lower()
    file = tmp_path / "hosts"
    file.write_text(f"192.0.2.1 other.example\n127.0.1.1 GW.example.net {own} # {own}.commented\n")
    assert own_host_names(str(file)) >= {"localhost", own, "gw.example.net"}
    assert not own_host_names(str(file)) & {"other.example", f"{own}.commented", "127.0.1.1"}
    assert own in own_host_names(str(tmp_path / "none"))


def test_on_a_unix_socket_any_name_will_do() -> None:
    web = replace(WEB, listen=Endpoint("unix", path="/run/a.sock"), hosts=("gw.lan",))
    assert asked_for(web, "anything")


def test_a_request_without_a_name_is_no_request_but_in_http_1_0(guarded: Scene) -> None:
    assert guarded.raw(b"GET /healthz HTTP/1.0\r\n\r\n").split(b" ")[1] == b"200"
    for headers in (b"", b"Host: localhost\r\nHost: localhost\r\n", b"Host: localhost, a\r\n"):
        answer = guarded.raw(b"GET /healthz HTTP/1.1\r\n" + headers + b"\r\n")
        assert answer.split(b" ")[1] == b"400"
        assert b"expected one Host header" in answer


@pytest.mark.parametrize(
    ("target", "status"), [(b"http://localhost", b"200"), (b"http://evil.example", b"403")]
)
def test_a_name_in_the_target_counts_more_than_the_host_header(
    guarded: Scene, target: bytes, status: bytes
) -> None:
    line = b"GET " + target + b"/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert guarded.raw(line).split(b" ")[1] == status


# Web pages of others


@pytest.fixture(scope="module")
def shared(shared_redis: RedisServer) -> Iterator[Scene]:
    with serving(shared_redis, FIRST, cors_origins=(GRAFANA,)) as scene:
        yield scene


def test_by_default_no_page_may_read_an_answer(shared_redis: RedisServer) -> None:
    with serving(shared_redis) as scene:
        for method in ("GET", "OPTIONS"):
            answer = scene.ask("/", method, Origin=GRAFANA, Access_Control_Request_Method="GET")
            assert answer.status in (200, 204)
            assert not [name for name in answer.headers if name.startswith("Access-Control")]
            assert "Origin" not in (answer.headers.get("Vary") or "")


def test_a_named_page_may_ask_and_read(shared: Scene) -> None:
    answer = shared.ask("/", "OPTIONS", Origin=GRAFANA, Access_Control_Request_Method="GET")
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == GRAFANA
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    answer = shared.ask("/applications", Origin=GRAFANA, Authorization=f"Bearer {FIRST}")
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == GRAFANA
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Access-Control-Allow-Methods" not in answer.headers


def test_a_named_page_reads_refusals_too(shared: Scene) -> None:
    for path, authorization, status in (("/", "", 401), ("/?x=1", f"Bearer {FIRST}", 400)):
        answer = shared.ask(path, Origin=GRAFANA, Authorization=authorization)
        assert answer.status == status
        assert answer.headers["Access-Control-Allow-Origin"] == GRAFANA


@pytest.mark.parametrize(
    "origin", [OTHER, "null", GRAFANA.upper(), f"{GRAFANA}:443", f"{GRAFANA}.evil.example", GRAFANA[:-1], "*"]
)
def test_any_other_page_may_not(shared: Scene, origin: str) -> None:
    preflight = shared.ask("/", "OPTIONS", Origin=origin, Access_Control_Request_Method="GET")
    assert_problem(preflight, 401)
    answer = shared.ask("/applications", Origin=origin, Authorization=f"Bearer {FIRST}")
    for each in (preflight, answer):
        assert not [name for name in each.headers if name.startswith("Access-Control")]


def test_what_is_kept_between_is_kept_apart_for_each_page(shared: Scene) -> None:
    for headers in ({}, {"Origin": GRAFANA}, {"Origin": OTHER}):
        answer = shared.ask("/", Authorization=f"Bearer {FIRST}", **headers)
        assert "Origin" in [part.strip() for part in ",".join(answer.headers.get_all("Vary")).split(",")]


def test_options_without_the_question_of_a_browser_is_no_way_round_the_token(shared: Scene) -> None:
    assert_problem(shared.ask("/", "OPTIONS", Origin=GRAFANA), 401)
    assert_problem(shared.ask("/", Origin=GRAFANA, Access_Control_Request_Method="GET"), 401)


# Every answer


def assert_safe(headers: http.client.HTTPMessage) -> None:
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_every_answer_says_what_browsers_must_not_do_with_it(guarded: Scene) -> None:
    good = f"Bearer {FIRST}"
    for path, method in (("/", "GET"), ("/x", "GET"), ("/none/x", "GET"), ("/", "POST"), ("/", "OPTIONS")):
        assert_safe(bearer(guarded, good, path, method).headers)
    etag = bearer(guarded, good).headers["ETag"]
    same = guarded.ask("/applications", Authorization=good, If_None_Match=etag)
    assert same.status == 304
    assert_safe(same.headers)
    assert_safe(guarded.ask("/").headers)
    assert_safe(guarded.ask("/" + "x" * 5000).headers)
    assert_safe(guarded.ask("/", X="x" * 20_000).headers)


def test_an_answer_s_own_headers_win() -> None:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/ui/"}
    page = {"Content-Security-Policy": "default-src 'self'"}
    headers = Access(WEB).headers(environ, page)
    assert [value for name, value in headers if name == "Content-Security-Policy"] == ["default-src 'self'"]


def test_the_right_token_is_in_no_log(guarded: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    bearer(guarded, f"Bearer {FIRST}")
    bearer(guarded, f"Bearer {FIRST}x")
    assert FIRST not in caplog.text
