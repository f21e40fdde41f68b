"""Promises of the HTTP sink: whoever may POST gets a clear answer, and 204 only when all is accounted."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from records import flow_record, stats_record, status_record
from support import eventually, framed, free_port

from netify_agent.accounting.accountant import Accountant
from netify_agent.accounting.batch import Batch
from netify_agent.config.settings import Endpoint
from netify_agent.netifyd import msgpack_framing
from netify_agent.netifyd.http_sink import HttpSink, HttpSinkLimits

TOKEN = "a-token-that-is-long-enough"
GOOD = status_record() + flow_record("a" * 40) + stats_record("a" * 40, 700, 700)


class Sink:
    """An HttpSink that serves in a thread, and a client of it."""

    def __init__(self, tokens: tuple[str, ...] = (), limits: HttpSinkLimits = HttpSinkLimits()) -> None:  # noqa: B008
        self.accountant = Accountant(1000)
        self.accountant.restore({}, {})
        self.lock = threading.Lock()
        self.port = free_port()
        self.beats = 0
        endpoint = Endpoint("http", path="/flows", host="127.0.0.1", port=self.port)
        self.sink = HttpSink(endpoint, self.accountant, self.lock, 1 << 16, tokens, limits)
        self.status = self.sink.status
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.sink.run, args=(self._stop, self._beat))
        self._thread.start()
        eventually(self._listens, "it listens")

    def _beat(self) -> None:
        self.beats += 1

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def ask(
        self,
        body: Any = GOOD,
        method: str = "POST",
        path: str = "/flows",
        **headers: str,
    ) -> tuple[int, str, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text, answer.headers

    def raw(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as client:
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(65536), b""))

    def counted(self) -> int:
        """Bytes down that were accounted since the last call."""
        return sum(row.bytes_down for row in self.taken().counted.values())

    def taken(self) -> Batch:
        self.accountant.close_batch(0)
        batch = self.accountant.finish_batch()
        assert batch is not None
        return batch

    def close(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


Start = Callable[..., Sink]


@pytest.fixture
def start() -> Iterator[Start]:
    sinks: list[Sink] = []

    def begin(*tokens: str, **options: Any) -> Sink:
        sinks.append(Sink(tokens, **options))
        return sinks[-1]

    yield begin
    for sink in sinks:
        sink.close()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("frame", [lambda *records: b"".join(records), framed])
def test_records_are_accounted_when_the_answer_comes(
    frame: Callable[..., bytes], compressed: bool, chunked: bool, start: Start
) -> None:
    sink = start()
    body: Any = frame(status_record(), flow_record("a" * 40), stats_record("a" * 40, 700, 700))
    headers = {}
    if compressed:
        body, headers = gzip.compress(body), {"Content_Encoding": "gzip"}
    status, text, _ = sink.ask(iter([body[:50], body[50:]]) if chunked else body, **headers)
    assert (status, text) == (204, "")
    assert sink.counted() == 700
    assert (sink.status.connected, sink.status.error, sink.status.records) == (True, None, 3)


def test_a_body_compressed_twice_is_read_as_netifyd_and_http_may_both_compress(start: Start) -> None:
    sink = start()
    assert sink.ask(gzip.compress(gzip.compress(GOOD)), Content_Encoding="gzip")[0] == 204
    assert sink.counted() == 700


def test_a_post_that_is_repeated_counts_once(start: Start) -> None:
    sink = start()
    assert [sink.ask()[0] for _ in range(3)] == [204] * 3
    assert sink.counted() == 700


@pytest.mark.parametrize(
    ("request_", "expected", "told"),
    [
        ({"method": "GET", "body": None}, 405, "expected POST"),
        ({"method": "PUT"}, 405, "expected POST"),
        ({"path": "/other"}, 404, "/flows"),
        ({"path": "/flows/"}, 404, "/flows"),
        ({"Content_Encoding": "br"}, 415, "'br'"),
        ({"body": b""}, 400, "found nothing"),
        ({"body": b"hello\n"}, 400, "1 malformed"),
        ({"body": b'{"no": "type"}'}, 400, "1 untyped"),
        ({"body": b'{"type": "flow", "fl'}, 400, "1 truncated"),
        ({"body": b'{"log_time_start": 1, "stats": []}'}, 400, "stream-flows"),
        ({"body": gzip.compress(GOOD)[:-8] + b"x" * 8}, 400, "damaged gzip data"),
    ],
)
def test_what_is_not_taken_is_told_why(
    request_: dict[str, Any], expected: int, told: str, start: Start
) -> None:
    sink = start()
    status, text, headers = sink.ask(**request_)
    assert status == expected
    assert told in text
    assert "Traceback" not in text
    assert (headers["Allow"] == "POST") == (status == 405)
    assert sink.ask()[0] == 204


def test_posts_of_types_that_no_netifyd_sends_are_taken_but_are_no_stream(start: Start) -> None:
    sink = start()
    assert sink.ask(b'{"type": "log", "text": "a"}')[0] == 204
    assert not sink.status.connected
    assert sink.status.error == "found records of the type 'log', which netifyd does not send"
    assert sink.ask()[0] == 204
    assert sink.status.connected
    assert sink.ask(b'{"type": "log", "text": "a"}')[0] == 204
    assert sink.status.connected


def test_a_post_without_length_is_asked_for_one(start: Start) -> None:
    answer = start().raw(b"POST /flows HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 411 ")


def test_a_body_over_the_limit_is_refused_before_it_is_read(start: Start) -> None:
    answer = start().raw(b"POST /flows HTTP/1.1\r\nHost: a\r\nContent-Length: 16777217\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_what_is_good_in_a_body_is_taken_and_the_rest_counted(start: Start) -> None:
    sink = start()
    assert sink.ask(b"garbage\n" + GOOD + b'{"type": "cut')[0] == 204
    assert sink.counted() == 700
    assert sink.status.drops == {"malformed": 1, "truncated": 1}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, 401),
        ("Bearer wrong-token-wrong-token", 401),
        (f"Basic {TOKEN}", 401),
        (f"Bearer {TOKEN}", 204),
        (f"bearer {TOKEN}", 204),
        ("Bearer another-token-for-rotation", 204),
        ("Bearer \xff", 401),
    ],
)
def test_with_tokens_each_post_must_bring_one(header: str | None, expected: int, start: Start) -> None:
    sink = start(TOKEN, "another-token-for-rotation")
    status, text, headers = sink.ask(**({} if header is None else {"Authorization": header}))
    assert status == expected
    assert TOKEN not in text
    assert (headers["WWW-Authenticate"] == "Bearer") == (status == 401)
    assert sink.counted() == (700 if expected == 204 else 0)


def test_msgpack_without_its_library_is_415_and_says_what_to_install(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(msgpack_framing, "msgpack", None)
    sink = start()
    status, text, _ = sink.ask(b"\x81\xa4type\xa5hello")
    assert status == 415
    assert "python3-msgpack" in text
    assert "python3-msgpack" in (sink.status.error or "")


def test_a_lower_uptime_is_a_restart_and_one_that_was_only_late_costs_no_byte(start: Start) -> None:
    sink = start()

    def restarts(uptime: int, start: int = 1_700_000_000) -> int:
        record = {"type": "agent_status", "uptime": uptime, "timestamp": start + uptime}
        assert sink.ask(json.dumps(record).encode())[0] == 204
        return sink.taken().counters["netifyd_restarts"]

    assert [restarts(uptime) for uptime in (100, 115, 115, 100, 130)] == [0, 0, 0, 0, 0]
    assert sink.ask(flow_record("a" * 40) + stats_record("a" * 40, 700, 700))[0] == 204
    assert sink.counted() == 700
    assert restarts(100) == 0  # it was only late
    assert restarts(5, 1_700_000_200) == 1
    assert sink.ask(stats_record("a" * 40, 300, 1000))[0] == 204
    assert sink.counted() == 300


def test_without_posts_it_is_no_longer_connected_and_says_so(start: Start) -> None:
    sink = start(limits=HttpSinkLimits(silence_s=0.5))
    assert "no POST so far" in (sink.status.error or "")
    assert sink.ask()[0] == 204
    assert sink.status.connected
    eventually(lambda: not sink.status.connected, "it is noticed")
    assert "no POST for" in (sink.status.error or "")
    assert sink.ask()[0] == 204
    assert sink.status.error is None


def test_it_shows_progress_while_idle_and_not_while_a_post_is_stuck(start: Start) -> None:
    sink = start(limits=HttpSinkLimits(request_s=0.5))
    before = sink.beats
    eventually(lambda: sink.beats > before + 1, "it beats while idle")
    with sink.lock:
        posting = threading.Thread(target=sink.ask)
        posting.start()
        seen = [sink.beats]

        def quiet() -> bool:
            threading.Event().wait(1.2)  # more than two turns of the loop
            seen.append(sink.beats)
            return seen[-1] == seen[-2]

        eventually(quiet, "it shows no progress")
    posting.join(30)
    eventually(lambda: sink.beats > seen[-1], "it beats again")


def test_a_port_that_is_taken_is_named_and_tried_again(start: Start) -> None:
    taken = start()
    endpoint = Endpoint("http", path="/flows", host="127.0.0.1", port=taken.port)
    stop = threading.Event()
    late = HttpSink(endpoint, Accountant(1000), threading.Lock(), 1 << 16)
    thread = threading.Thread(target=late.run, args=(stop, lambda: None))
    thread.start()
    eventually(lambda: "can't listen: Address already in use" in (late.status.error or ""), "it is named")
    taken.close()
    eventually(lambda: "no POST so far" in (late.status.error or ""), "it listens")
    stop.set()
    thread.join(30)
