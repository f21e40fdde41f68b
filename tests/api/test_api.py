"""The contract of the API, asked for over real sockets from a real server with a real Redis behind it."""

from __future__ import annotations

import os
import re
import socket
import stat
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from serving import ALIVE, GATEWAY, TIME, Scene, Unix, a_scene, a_small_network, assert_problem
from storing import LAPTOP, NETFLIX, PHONE, SOURCE, TUNNEL, YOUTUBE
from support import RedisServer, eventually, free_port

from netify_agent.api.documents import rfc3339
from netify_agent.api.http import parameters, server
from netify_agent.api.http.response_cache import Encoded, Entry, ResponseCache, State
from netify_agent.api.http.route import Route
from netify_agent.api.http.server import WebError
from netify_agent.config.settings import Endpoint, WebSettings
from netify_agent.netifyd.listener import ListenerStatus
from netify_agent.store.flusher import FlusherStatus

COUNTERS = ["bytes_up", "bytes_down", "packets_up", "packets_down", "flows", "rate_up", "rate_down"]
APPLICATION = ["tag", "name", "category", *COUNTERS, "first_seen", "last_seen"]
DEVICE = [
    *("mac", "ip", "ips", "name", "vendor", "randomized", "interface", "first_seen", "last_seen", "active"),
    *(*COUNTERS, "applications"),
]


@pytest.fixture(scope="module")
def scene(shared_redis: RedisServer) -> Iterator[Scene]:
    with a_small_network(shared_redis.url) as scene:
        yield scene


# -- documents -------------------------------------------------------------------------------------


def test_the_network_is_told_in_the_order_of_the_contract(scene: Scene) -> None:
    network = scene.get("/")
    assert list(network) == [
        *("gateway", "generated_at", "interval", "totals", "unattributed", "local", "forgotten", "devices"),
        *("total", "next"),
    ]
    assert (network["gateway"], network["interval"]) == (GATEWAY, 15)
    assert TIME.fullmatch(network["generated_at"])
    assert list(network["totals"]) == COUNTERS
    assert list(network["unattributed"]) == list(network["local"]) == COUNTERS[:5]
    for device in network["devices"]:
        assert list(device) == DEVICE
        for application in device["applications"]:
            assert list(application) == APPLICATION


def test_sums_of_an_answer_agree_to_the_byte(scene: Scene) -> None:
    network = scene.get("/")
    assert list(network["totals"].values()) == [1683, 330_331, 6, 6, 6, 897, 176_176]
    for counter in COUNTERS[:5]:
        devices = sum(device[counter] for device in network["devices"])
        apart = network["unattributed"][counter] - network["local"][counter]
        assert devices + apart == network["totals"][counter]
        for device in network["devices"]:
            assert device[counter] == sum(row[counter] for row in device["applications"])
    applications = scene.get("/applications")["applications"]
    assert network["totals"]["bytes_up"] == sum(row["bytes_up"] for row in applications)


def test_devices_and_applications_come_most_bytes_first(scene: Scene) -> None:
    network = scene.get("/")
    assert [device["mac"] for device in network["devices"]] == [LAPTOP, None, PHONE]
    assert [row["tag"] for row in network["devices"][0]["applications"]] == [YOUTUBE, NETFLIX, "Unknown"]


def test_a_device_is_told_with_all_that_is_known(scene: Scene) -> None:
    device = scene.get(f"/{LAPTOP}")
    assert list(device) == [*DEVICE, "protocols", "risks"]
    applications = device.pop("applications")
    assert device == {
        "mac": LAPTOP,
        "ip": "192.168.1.10",
        "ips": ["192.168.1.10"],
        "name": "laptop",
        "vendor": None,
        "randomized": True,
        "interface": "br0",
        "first_seen": "2023-11-14T22:13:21.000Z",
        "last_seen": "2023-11-14T22:18:30.015Z",
        "active": True,
        "bytes_up": 1525,
        "bytes_down": 330_020,
        "packets_up": 3,
        "packets_down": 3,
        "flows": 3,
        "rate_up": 813,
        "rate_down": 176_010,
        "protocols": [
            {
                "name": "HTTP/S",
                "bytes_up": 1525,
                "bytes_down": 330_020,
                "packets_up": 3,
                "packets_down": 3,
                "flows": 3,
            }
        ],
        "risks": [],
    }
    assert applications[0] == {
        "tag": YOUTUBE,
        "name": "YouTube",
        "category": None,
        "bytes_up": 15,
        "bytes_down": 300_000,
        "packets_up": 1,
        "packets_down": 1,
        "flows": 1,
        "rate_up": 8,
        "rate_down": 160_000,
        "first_seen": "2023-11-14T22:13:21.000Z",
        "last_seen": "2023-11-14T22:18:30.015Z",
    }


def test_a_device_is_an_element_of_the_network(scene: Scene) -> None:
    for element in scene.get("/")["devices"]:
        device = scene.get(f"/{element['mac'] or element['ip']}")
        del device["protocols"], device["risks"]
        assert device == element


@pytest.mark.parametrize(
    "spelling",
    ["02:00:00:00:00:01", "02-00-00-00-00-01", "0200.0000.0001", "020000000001", "02%3A00:00:00:00:01"],
)
def test_a_mac_is_understood_in_every_usual_spelling(scene: Scene, spelling: str) -> None:
    assert scene.get(f"/{spelling}")["mac"] == LAPTOP
    assert scene.get(f"/{spelling.upper()}/history?resolution=5m")["device"] == LAPTOP


def test_letters_of_a_mac_may_be_of_either_case(scene: Scene) -> None:
    assert parameters.device_name("AB-cd-EF-01-23-45") == "ab:cd:ef:01:23:45"


def test_a_device_without_a_mac_goes_by_its_address(scene: Scene) -> None:
    device = scene.get(f"/{TUNNEL}")
    assert (device["mac"], device["ip"], device["ips"]) == (None, TUNNEL, [TUNNEL])


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("2001:0DB8:0:0::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
        ("::ffff:a00:1", "::ffff:10.0.0.1"),
        ("fe80::1", "fe80::1"),
    ],
)
def test_an_address_is_looked_for_as_netifyd_writes_it(asked: str, stored: str) -> None:
    assert parameters.device_name(asked) == stored


def test_applications_are_told_with_who_uses_them(scene: Scene) -> None:
    answer = scene.get("/applications")
    assert list(answer) == ["gateway", "generated_at", "interval", "applications", "total", "next"]
    rows = answer["applications"]
    assert [list(row) for row in rows] == [[*APPLICATION, "devices"]] * 3
    assert [row["tag"] for row in rows] == [YOUTUBE, NETFLIX, "Unknown"]
    assert rows[1]["devices"] == [
        {"device": LAPTOP, "bytes": 31_500, "name": "laptop"},
        {"device": TUNNEL, "bytes": 450, "name": None},
        {"device": PHONE, "bytes": 3, "name": None},
    ]


def test_history_is_told_bucket_by_bucket(scene: Scene) -> None:
    answer = scene.get(f"/{LAPTOP}/history?resolution=5m&applications=true")
    assert list(answer) == ["gateway", "device", "resolution", "buckets"]
    assert (answer["gateway"], answer["device"], answer["resolution"]) == (GATEWAY, LAPTOP, 300)
    (bucket,) = answer["buckets"]
    assert bucket == {
        "start": rfc3339(scene.book.bucket * 1000),
        "bytes_up": 1525,
        "bytes_down": 330_020,
        "packets_up": 3,
        "packets_down": 3,
        "applications": [
            {"tag": "Unknown", "bytes_up": 10, "bytes_down": 20},
            {"tag": NETFLIX, "bytes_up": 1500, "bytes_down": 30_000},
            {"tag": YOUTUBE, "bytes_up": 15, "bytes_down": 300_000},
        ],
    }
    for query in ("?resolution=5m", "?resolution=5m&applications=false"):
        (bucket,) = scene.get(f"/{LAPTOP}/history{query}")["buckets"]
        assert "applications" not in bucket


def test_history_without_parameters_is_of_the_finest_resolution_up_to_now(scene: Scene) -> None:
    answer = scene.get(f"/{LAPTOP}/history")
    assert answer["resolution"] == 60
    assert len(answer["buckets"]) == 1


def test_history_is_of_the_buckets_that_touch_the_range(scene: Scene) -> None:
    start = scene.book.bucket

    def found(since: object, to: object) -> int:
        return len(scene.get(f"/{LAPTOP}/history?resolution=5m&from={since}&to={to}")["buckets"])

    assert found(start, start) == 1
    assert found(start + 299, start + 5000) == 1
    assert found(start - 300, start - 1) == 0
    assert found(0, start + 600) == 1
    assert found(0, 1) == 0
    assert found(start + 300, start + 99_999_999) == 0
    assert scene.get(f"/{LAPTOP}/history?from={start + 99_999_999}")["buckets"] == []
    assert len(scene.get(f"/{LAPTOP}/history?to=1000")["buckets"]) == 0
    for text in (
        rfc3339(start * 1000),
        f"{datetime.fromtimestamp(start, timezone.utc):%Y-%m-%dt%H:%M:%S}z",
        f"{datetime.fromtimestamp(start + 7200, timezone.utc):%Y-%m-%dT%H:%M:%S}%2B02:00",
        f"{datetime.fromtimestamp(start + 7200, timezone.utc):%Y-%m-%dT%H:%M:%S.%f}+02:00",
    ):
        assert found(text, text) == 1, text


@pytest.mark.parametrize(
    ("query", "parameter", "told"),
    [
        ("resolution=7m", "resolution", "resolution: expected one of 1m, 5m, 1h, found '7m'"),
        ("applications=1", "applications", "expected true or false, found '1'"),
        ("from=yesterday", "from", "expected RFC 3339"),
        ("to=2026-11-23", "to", "expected RFC 3339"),
        ("to=2026-13-23T00:00:00Z", "to", "expected RFC 3339"),
        ("to=2026-11-23T00:00:00", "to", "expected RFC 3339"),
        ("to=%D9%A1%D9%A2", "to", "expected RFC 3339"),
        ("from=-1", "from", "expected RFC 3339"),
        ("from=123456789012", "from", "expected RFC 3339"),
        ("from=2000&to=1000", "from", "expected a time that is not after 'to', found '2000'"),
        ("from=2026-11-24T00:00:00Z&to=9", "from", "not after 'to', found '2026-11-24T00:00:00Z'"),
        ("resolution=1m&from=1", "from", "a time that makes at most 2000 buckets, found '1'"),
        ("colour=blue", "colour", "unknown parameter 'colour': expected only resolution, from, to"),
        ("to=1&to=2", "to", "to: given more than once"),
        ("to=", "to", "to: expected a value"),
        ("to", "to", "to: expected a value"),
        ("to=%FF", "to", "to: expected UTF-8, found other bytes"),
    ],
)
def test_a_parameter_that_is_wrong_is_named(scene: Scene, query: str, parameter: str, told: str) -> None:
    answer = scene.ask(f"/{LAPTOP}/history?{query}")
    assert_problem(answer, 400)
    assert answer.json["parameter"] == parameter
    assert told in answer.json["detail"]


@pytest.mark.parametrize(
    "path", ["/", f"/{LAPTOP}", "/applications", "/status", "/healthz", "/readyz", f"/{LAPTOP}/history"]
)
@pytest.mark.parametrize("query", ["x=1", "x", "%FF=1", "x=%FF", "=1"])
def test_parameters_that_a_path_does_not_know_are_refused(scene: Scene, path: str, query: str) -> None:
    answer = scene.ask(f"{path}?{query}")
    assert_problem(answer, 400)
    assert "unknown parameter" in answer.json["detail"]


def test_status_is_what_the_reference_says(scene: Scene) -> None:
    status = scene.get("/status")
    assert list(status) == [
        *("version", "gateway", "started_at", "uptime_s", "interval", "checks", "listeners"),
        *("accounting", "flushes", "web"),
    ]
    assert TIME.fullmatch(status["started_at"])
    assert status["checks"] == {"netifyd": "ok", "redis": "ok", "flushes": "ok"}
    (listener,) = status["listeners"]
    assert listener["endpoint"] == SOURCE
    assert TIME.fullmatch(listener["connected_since"])
    assert TIME.fullmatch(listener["last_record"])
    assert listener["lag_s"] >= 0
    assert status["accounting"]["live_flows"] == 6
    assert status["accounting"]["records"] == {"flow": 5, "flow_stats": 6}
    assert status["accounting"]["counters"] == {}
    assert status["accounting"]["pending_changes"] == 0
    assert status["web"] == {"queue": 0, "event_clients": 0}
    assert list(listener["netifyd"]) == [
        *("uptime_s", "flows", "memory_bytes", "cpu_user_s", "cpu_system_s", "interfaces")
    ]
    assert (status["flushes"]["last_flush"], status["flushes"]["flush_ms"]) == (None, None)
    keys = re.findall(r"^\| `([a-z_.\[\]]+)`", (Path(__file__).parents[2] / "docs/api.md").read_text(), re.M)
    documented = {key.removeprefix("status.") for key in keys if key.startswith("status.")}
    assert documented == _paths(status)


def _paths(document: dict[str, Any]) -> set[str]:
    """Names of what ``/status`` holds, as docs/api.md writes them; open tables are one name."""
    paths = set()
    for name, value in document.items():
        if name == "listeners":
            paths |= {f"listeners[].{key}" for key in value[0]}
        elif isinstance(value, dict) and name in ("checks", "accounting", "flushes", "web"):
            paths |= {f"{name}.{key}" for key in value}
        else:
            paths.add(name)
    return paths


def test_what_never_happened_is_null_in_status(scene: Scene) -> None:
    before = vars(scene.listener).copy()
    vars(scene.listener).update(vars(ListenerStatus(SOURCE)))
    scene.writing.last_flush, scene.writing.flushes, scene.writing.flush_ms = 1.5, 1, 1.23456
    try:
        status = scene.get("/status")
    finally:
        vars(scene.listener).update(before)
        vars(scene.writing).update(vars(FlusherStatus()), error=None)
    (listener,) = status["listeners"]
    assert (listener["connected_since"], listener["last_record"], listener["lag_s"]) == (None, None, None)
    assert status["flushes"]["last_flush"] == "1970-01-01T00:00:01.500Z"
    assert status["flushes"]["flush_ms"] == 1.235


def test_alive_and_ready_are_told_apart(scene: Scene) -> None:
    assert scene.get("/healthz") == ALIVE
    well = {"netifyd": "ok", "redis": "ok", "flushes": "ok"}
    assert scene.get("/readyz") == {"status": "ready", "checks": well}
    scene.listener.connected, scene.listener.error = False, "no such socket: is netifyd running?"
    try:
        answer = scene.ask("/readyz")
        assert scene.get("/healthz") == ALIVE
    finally:
        scene.listener.connected, scene.listener.error = True, None
    assert answer.status == 503
    why = f"{SOURCE}: no such socket: is netifyd running?"
    assert answer.json == {"status": "unready", "checks": {**well, "netifyd": why}}


def test_a_thread_that_is_stuck_is_not_alive(scene: Scene) -> None:
    scene.alive = {"web": None, "writer": "no progress"}
    try:
        answer = scene.ask("/healthz")
    finally:
        scene.alive = {"web": None}
    assert answer.status == 503
    assert answer.json == {"status": "stuck", "checks": {"web": "ok", "writer": "no progress"}}


def test_flushes_that_do_not_come_are_not_ready(scene: Scene) -> None:
    """A writer that hangs tells of no error."""
    started, scene.status.started = scene.status.started, time.time() - 76
    try:
        assert scene.ask("/readyz").json["checks"] == {
            "netifyd": "ok",
            "redis": "ok",
            "flushes": "Redis took none for more than 75 s",
        }
        scene.writing.last_flush = time.time()
        assert scene.ask("/readyz").status == 200
    finally:
        scene.status.started = started
        scene.writing.last_flush = 0.0


def test_a_netifyd_that_fell_silent_or_flushes_that_fail_are_not_ready(scene: Scene) -> None:
    now = time.time()
    try:
        scene.listener.connected_since = scene.listener.last_record = now - 61
        assert scene.ask("/readyz").json["checks"]["netifyd"] == f"{SOURCE}: no record for 60 s"
        assert "no record for 60 s" in scene.status.line()
        scene.listener.last_record = now
        scene.writing.error = "connection refused"
        assert scene.ask("/readyz").json["checks"]["redis"] == "connection refused"
        assert scene.status.line() == "redis: connection refused"
    finally:
        scene.listener.connected_since = scene.listener.last_record = now
        scene.writing.error = None
    scene.listener.records = 12_345
    assert scene.status.line() == "netifyd connected, 10000+ records, 6 live flows, Redis takes flushes"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_467_301_250, "2026-11-23T20:55:01.250Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (None, None),
        (1 << 62, None),
        (253_402_300_800_000, None),
    ],
)
def test_times_are_rfc_3339_with_milliseconds(milliseconds: int | None, text: str | None) -> None:
    assert rfc3339(milliseconds) == text


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *("x", "02:00:00:00:00", "02:00:00:00:00:0g", "02:00:00:00:00:01:02", "0200000000001", "favicon.ico"),
        *(
            "256.1.1.1",
            "10.0.0.01",
            "fe80::1%25eth0",
            "10.0.0.1%00",
            "%F0%9F%92%A9",
            "%0d%0aX:%20y",
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["", "/history"])
def test_a_device_that_no_spelling_fits_is_a_bad_request(scene: Scene, text: str, suffix: str) -> None:
    answer = scene.ask(f"/{text}{suffix}")
    assert_problem(answer, 400)
    assert "expected a MAC address, or the IP address of a device without one" in answer.json["detail"]
    assert len(answer.headers) == 9  # what came in is in none of them


@pytest.mark.parametrize("path", ["/%FF%FE", f"/{LAPTOP}%FF", "/applications%FF", f"/{LAPTOP}/history%C3"])
def test_a_path_that_is_no_text_is_a_bad_request(scene: Scene, path: str) -> None:
    assert_problem(scene.ask(path), 400)


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
    assert answers.endswith(b'"flushes":"ok"}}\n')


def test_an_etag_holds_until_a_flush_changes_the_answer(scene: Scene) -> None:
    for path in ("/", f"/{LAPTOP}", "/applications", f"/{LAPTOP}/history?resolution=1h"):
        first = scene.ask(path)
        etag = first.headers["ETag"]
        assert re.fullmatch(r'"[0-9a-f]{24}"', etag)
        assert first.headers["Cache-Control"] == "no-cache"
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            answer = scene.ask(path, If_None_Match=known)
            assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", etag)
        again = scene.ask(path, If_None_Match='"other"')
        assert (again.status, again.body) == (200, first.body)
        scene.book.flush()
        changed = scene.ask(path, If_None_Match=etag)
        assert changed.status == 200
        assert changed.headers["ETag"] != etag


def test_paths_and_parameters_do_not_share_an_etag(scene: Scene) -> None:
    history = f"/{LAPTOP}/history"
    paths = ("/", f"/{LAPTOP}", f"/{PHONE}", "/applications", history, f"{history}?resolution=1h")
    assert len({scene.ask(path).headers["ETag"] for path in paths}) == len(paths)


def test_an_answer_that_a_flush_overtook_has_no_etag_and_is_not_kept(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.book.flush()
    snapshot = scene.parts.reader.snapshot

    def overtaken(*args: Any, **options: Any) -> Any:
        found = snapshot(*args, **options)
        scene.book.flush()
        return found

    with monkeypatch.context() as context:
        context.setattr(scene.parts.reader, "snapshot", overtaken)
        answer = scene.ask("/")
        assert (answer.status, answer.headers["ETag"]) == (200, None)
    assert "ETag" in scene.ask("/").headers


def test_answers_are_encoded_once_per_flush(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    built = 0
    device = scene.parts.reader.device

    def counting(*args: Any, **options: Any) -> Any:
        nonlocal built
        built += 1
        return device(*args, **options)

    monkeypatch.setattr(scene.parts.reader, "device", counting)
    scene.book.flush()
    for _ in range(3):
        scene.get(f"/{LAPTOP}")
    assert built == 1


def test_an_answer_that_many_wait_for_is_made_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0
    snapshot = scene.parts.reader.snapshot

    def slow(*args: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        eventually(lambda: len(scene.server._running) == scene.web.threads, "all workers are at it")
        return snapshot(*args, **options)

    monkeypatch.setattr(scene.parts.reader, "snapshot", slow)
    scene.book.flush()
    answers: list[bytes] = []
    asking = [
        threading.Thread(target=lambda: answers.append(scene.ask("/").body)) for _ in range(scene.web.threads)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert (made, len(answers), len(set(answers))) == (1, scene.web.threads, 1)


def an_entry(size: int, sequence: int = 1) -> Entry:
    route = Route("/x", "x", "", lambda asked: {})
    return Entry(route, {}, State(sequence, 1, 0, ""), Encoded(b"x" * size, "text/plain", "name"))


def test_few_answers_are_kept_and_the_newest_one_always() -> None:
    kept = ResponseCache(3, 100)
    for name in ("/a", "/b", "/c", "/a", "/d"):
        kept.put(name, an_entry(10))
    assert [name for name in ("/a", "/b", "/c", "/d") if kept.get(name)] == ["/a", "/c", "/d"]
    kept.put("/a", an_entry(85))
    assert [name for name in ("/a", "/c", "/d") if kept.get(name)] == ["/a", "/d"]
    kept.put("/big", an_entry(1000))
    assert [name for name in ("/a", "/d", "/big") if kept.get(name)] == ["/big"]
    kept.put("/a", an_entry(10, 2))
    kept.put("/b", an_entry(10, 2))
    assert [name for name in ("/a", "/b", "/big") if kept.get(name)] == ["/a", "/b"]


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:7000", "127.0.0.1:1", "[::1]", "[::1]:7000", "127.0.0.1:"],
)
def test_a_request_for_this_machine_by_name_is_answered(scene: Scene, host: str) -> None:
    assert scene.ask("/", Host=host).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7000", "localhost.evil.example", "", "[::2]"])
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


@pytest.mark.parametrize(
    "text",
    ["\x00\x1b[31m\x7f", '"},{"x":"', "</script><script>alert(1)</script>", "\ud800", "\u2028\n", "é" * 253],
)
def test_hostile_names_come_out_as_valid_json(scene: Scene, text: str) -> None:
    flush = scene.book.take()
    scene.book.sequence -= 1
    said = scene.book.netifyd
    digest = f"evil {hash(text)}"
    scene.book.feed(said.flow(digest, "02:66:66:66:66:66"), said.stats(digest, 1, 1), said.purge(digest))
    flush = scene.book.take()
    for key in list(flush.batch.counted):
        flush.batch.counted[key._replace(application=text, protocol=text)] = flush.batch.counted.pop(key)
    scene.book.writer.apply(flush)
    expected = text.replace("\ud800", "?")
    device = scene.get("/02:66:66:66:66:66")
    assert expected in {row["tag"] for row in device["applications"]}
    assert expected in {row["name"] for row in device["protocols"]}
    assert expected in {row["tag"] for row in scene.get("/applications")["applications"]}
    answer = scene.ask("/")
    assert b"\n" not in answer.body[:-1]
    answer.body.decode()


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


def test_the_server_beats_while_requests_are_quick_and_not_while_one_is_stuck(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = scene.beats
    eventually(lambda: scene.beats > before, "it beats while nothing is asked")
    entered, leave = threading.Event(), threading.Event()

    def stuck() -> dict[str, Any]:
        entered.set()
        leave.wait(30)
        return {}

    monkeypatch.setattr(scene.status, "document", stuck)
    monkeypatch.setattr(server, "REQUEST_LIMIT_S", 0.0)
    asking = threading.Thread(target=scene.ask, args=("/status",))
    asking.start()
    assert entered.wait(30)
    scene.get("/healthz")  # another turn of the loop
    stuck_at = scene.beats
    scene.get("/healthz")
    assert scene.beats <= stuck_at + 1
    leave.set()
    asking.join()
    monkeypatch.setattr(server, "REQUEST_LIMIT_S", 60.0)
    before = scene.beats
    eventually(lambda: scene.beats > before, "it beats again")


# -- Redis away, sockets ---------------------------------------------------------------------------


def test_without_redis_every_answer_says_so_and_the_daemon_lives(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    scene = a_scene(redis_server.url, tmp_path)
    scene.writing.error = None
    scene.start()
    try:
        said = scene.book.netifyd
        scene.book.flush(said.flow("a"), said.stats("a", 1, 2))
        assert scene.get("/")["totals"]["flows"] == 1
        redis_server.kill()
        for path in ("/", f"/{LAPTOP}", "/applications", f"/{LAPTOP}/history"):
            answer = scene.ask(path)
            assert_problem(answer, 503)
            assert answer.headers["Retry-After"] == "15"
            assert answer.json["detail"].startswith("Redis: ")
        assert scene.get("/healthz") == ALIVE
        assert scene.get("/status")["accounting"]["counters"] is None
        ready = scene.ask("/readyz")
        assert ready.status == 503
        assert "onnect" in ready.json["checks"]["redis"]
        redis_server.start()
        assert scene.get("/")["totals"]["flows"] == 1
    finally:
        scene.stop()


def test_a_redis_out_of_memory_is_still_read(redis_server: RedisServer, tmp_path: Path) -> None:
    scene = a_scene(redis_server.url, tmp_path)
    scene.start()
    try:
        said = scene.book.netifyd
        scene.book.flush(said.flow("a"), said.stats("a", 1, 2))
        scene.book.client.config_set("maxmemory", "1")
        for path in ("/", f"/{LAPTOP}", "/applications", f"/{LAPTOP}/history"):
            scene.get(path)
    finally:
        scene.stop()


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


def test_listening_for_others_checks_no_host(shared_redis: RedisServer, tmp_path: Path) -> None:
    listen = Endpoint("tcp", host="0.0.0.0", port=free_port())
    scene = a_scene(shared_redis.url, tmp_path, WebSettings(listen=listen, allow_unauthenticated=True))
    scene.start()
    try:
        assert scene.ask("/healthz", Host="gateway.example").status == 200
    finally:
        scene.stop()
