"""Promises of the reader of one endpoint: it finds netifyd, stays with it, and names what is not one."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from records import flow_record, stats_record, status_record
from support import StandIn, eventually, framed

from netify_agent.accounting.accountant import Accountant
from netify_agent.config.settings import Endpoint
from netify_agent.netifyd import msgpack_framing
from netify_agent.netifyd.listener import Listener, ListenerLimits

SHORT = ListenerLimits(short_patience_s=0.3)
Reading = Callable[..., Listener]


@pytest.fixture
def reading() -> Iterator[Reading]:
    """Starts listeners and ends them after the test."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def start(
        endpoint: Endpoint,
        *others: Endpoint,
        limits: ListenerLimits = ListenerLimits(),  # noqa: B008
    ) -> Listener:
        listener = Listener(endpoint, Accountant(1000), threading.Lock(), 1 << 20, others, limits)
        threads.append(threading.Thread(target=listener.run, args=(stop, lambda: None)))
        threads[-1].start()
        return listener

    yield start
    stop.set()
    for thread in threads:
        thread.join()


def unix(path: Path) -> Endpoint:
    return Endpoint("unix", path=str(path))


def test_a_unix_socket_is_read_and_netifyd_s_version_noted(netifyd: StandIn, reading: Reading) -> None:
    listener = reading(unix(netifyd.path))
    netifyd.accept()
    netifyd.send(framed(b'{"type":"agent_hello","agent_version":"4.4.5"}\n', status_record()))
    eventually(lambda: listener.status.records == 2, "both records are read")
    assert listener.status.connected
    assert listener.status.agent == "4.4.5"
    assert listener.status.error is None


def test_what_netifyd_measured_ends_with_the_connection_and_what_it_counted_does_not(
    netifyd: StandIn, reading: Reading
) -> None:
    listener = reading(unix(netifyd.path))
    netifyd.accept()
    told = {"type": "agent_status", "uptime": 3, "flow_count": 5, "stats": {"br0": {"raw": 7}}}
    netifyd.send(framed(json.dumps(told).encode() + b"\n"))
    eventually(lambda: listener.status.netifyd.uptime_s == 3, "its words are heard")
    assert listener.status.netifyd.flows == 5
    netifyd.drop()
    eventually(lambda: listener.status.netifyd.uptime_s is None, "they are known to be of the past")
    assert listener.status.netifyd.interfaces["br0"].packets == 7


def test_a_tcp_endpoint_is_read(reading: Reading) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = reading(Endpoint("tcp", host="127.0.0.1", port=server.getsockname()[1]))
        client, _ = server.accept()
        with client:
            client.sendall(framed(status_record()))
            eventually(lambda: listener.status.records == 1, "the record is read")


def test_it_comes_back_to_a_netifyd_that_went_away(netifyd: StandIn, reading: Reading) -> None:
    listener = reading(unix(netifyd.path))
    for count in range(1, 4):
        netifyd.accept()
        netifyd.send(framed(status_record()))
        eventually(lambda count=count: listener.status.records == count, "the record is read")  # type: ignore[misc]
        netifyd.drop()
    eventually(lambda: listener.status.error == "netifyd closed the connection", "the reason is noted")
    assert listener.status.connections == 3


def test_it_finds_a_socket_that_appears_later(directory: Path, reading: Reading) -> None:
    listener = reading(unix(directory / "late.sock"))
    eventually(lambda: listener.status.error == "no such socket: is netifyd running?", "the reason is noted")
    late = StandIn(directory / "late.sock")
    late.accept()
    eventually(lambda: listener.status.connected, "it connects")
    late.close()


def test_a_stale_socket_is_told_from_a_missing_one(directory: Path, reading: Reading) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(directory / "stale.sock"))
    listener = reading(unix(directory / "stale.sock"))
    eventually(lambda: "connection refused" in (listener.status.error or ""), "the reason is noted")


@pytest.mark.parametrize(
    ("greeting", "found"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "an SSH server"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "an HTTP server"),
        (gzip.compress(b"SSH-2.0\n", mtime=0), "an SSH server"),
        (b"\x1f\x8b\x08 damaged", "gzip data"),
        (b"\x82\xa4type\xc1", "msgpack data"),
        (bytes(range(200, 256)) + b"\n", "expected netifyd's records"),
        (b"x" * 200_000, "bytes without a record"),
    ],
)
def test_a_peer_that_is_no_netifyd_is_named(
    greeting: bytes, found: str, netifyd: StandIn, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    listener = reading(unix(netifyd.path))
    netifyd.accept()
    netifyd.send(greeting)
    error = eventually(lambda: listener.status.error, "it is named")
    assert found in error
    assert error.startswith("expected netifyd's records")
    assert error in caplog.text


def test_a_peer_that_says_nothing_is_given_up(netifyd: StandIn, reading: Reading) -> None:
    listener = reading(unix(netifyd.path), limits=ListenerLimits(patience_s=0.5))
    netifyd.accept()
    eventually(lambda: "found nothing (netifyd v5 streams" in (listener.status.error or ""), "it is given up")


def test_the_same_trouble_is_logged_once(
    directory: Path, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    listener = reading(unix(directory / "none.sock"))
    eventually(lambda: listener.status.error, "the first attempt")
    threading.Event().wait(1.5)  # some more attempts: they begin a quarter of a second apart
    assert caplog.text.count("no such socket") == 1


def test_drops_of_all_connections_add_up(netifyd: StandIn, reading: Reading) -> None:
    listener = reading(unix(netifyd.path))
    for _ in range(2):
        netifyd.accept()
        netifyd.send(framed(status_record()) + b"garbage\n" + framed(flow_record("a" * 40))[:-30])
        netifyd.drop()
    netifyd.accept()
    eventually(lambda: listener.status.drops == {"malformed": 2, "truncated": 2}, "the drops are counted")


def test_drops_are_told_while_the_connection_lasts(netifyd: StandIn, reading: Reading) -> None:
    listener = reading(unix(netifyd.path))
    netifyd.accept()
    netifyd.send(framed(status_record()) + b"garbage\n")
    eventually(lambda: listener.status.drops == {"malformed": 1}, "the drop is counted")
    assert listener.status.connected


def test_a_peer_that_vanishes_without_closing_is_left(netifyd: StandIn, reading: Reading) -> None:
    listener = reading(unix(netifyd.path), limits=ListenerLimits(silence_s=1.0))
    netifyd.accept()
    netifyd.send(framed(status_record()))
    eventually(lambda: "nothing was received" in (listener.status.error or ""), "it is left")
    eventually(lambda: listener.status.connections == 2, "and tried again")


def test_records_reach_the_accounting_in_order(netifyd: StandIn) -> None:
    accountant, stop = Accountant(1000), threading.Event()
    accountant.restore({}, {})
    listener = Listener(unix(netifyd.path), accountant, threading.Lock(), 1 << 20)
    thread = threading.Thread(target=listener.run, args=(stop, lambda: None))
    thread.start()
    netifyd.accept()
    netifyd.send(framed(status_record(), flow_record("a" * 40), stats_record("a" * 40, 700, 700)))
    eventually(lambda: listener.status.records == 3, "all is read")
    stop.set()
    thread.join()
    accountant.close_batch(0)
    batch = accountant.finish_batch()
    assert batch is not None
    rows = batch.counted
    assert [(key.application, row.bytes_down) for key, row in rows.items() if row.bytes_down] == [
        ("netify.netflix", 700)
    ]


def test_where_the_first_socket_is_v5_s_silent_api_the_next_one_is_read_and_stays_the_first(
    directory: Path, netifyd: StandIn, reading: Reading
) -> None:
    api = StandIn(directory / "api.sock")
    listener = reading(unix(api.path), unix(directory / "none.sock"), unix(netifyd.path), limits=SHORT)
    api.accept()
    for count in (1, 2):
        netifyd.accept()
        netifyd.send(status_record())
        eventually(lambda count=count: listener.status.records == count, "the record is read")  # type: ignore[misc]
        assert listener.status.endpoint == f"unix://{netifyd.path}"
        netifyd.drop()
    api.close()


def test_a_socket_that_appears_while_another_is_silent_is_soon_read(
    directory: Path, reading: Reading
) -> None:
    """netifyd v5 is started: its API is there before the socket of its sink is."""
    api = StandIn(directory / "api.sock")
    listener = reading(unix(api.path), unix(directory / "flows.sock"), limits=SHORT)
    api.accept()
    sink = StandIn(directory / "flows.sock")
    sink.accept()
    sink.send(status_record())
    eventually(lambda: listener.status.records == 1, "the record is read")
    api.close()
    sink.close()


def test_where_no_socket_streams_each_is_named_with_its_reason_once(
    directory: Path, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    api = StandIn(directory / "api.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(directory / "dead.sock"))
    listener = reading(
        unix(api.path), unix(directory / "none.sock"), unix(directory / "dead.sock"), limits=SHORT
    )
    error = eventually(lambda: listener.status.error, "the reason is noted")
    assert "api.sock: expected netifyd's records (JSON or msgpack), found nothing (netifyd v5" in error
    assert "dead.sock: connection refused" in error
    assert "none.sock" not in error  # it is usual that v5's sockets are not there
    api.accept()
    api.accept()  # another round
    assert caplog.text.count("dead.sock: connection refused") == 1
    assert listener.status.endpoint == f"unix://{api.path}"
    api.close()


AGGREGATED = (
    b'{"log_time_end":1772738467,"log_time_start":1772738452,"stats":[{"download":4230,"upload":1477}]}\n'
)


def test_reports_of_v5_s_aggregator_are_named_with_what_to_change(
    netifyd: StandIn, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    listener = reading(unix(netifyd.path))
    netifyd.accept()
    netifyd.send(AGGREGATED)
    error = eventually(lambda: listener.status.error, "they are named")
    assert "netify-proc-aggregator" in error
    assert "'stream-flows' and 'stream-stats'" in error
    assert listener.status.drops == {"aggregated": 1}
    netifyd.accept()
    netifyd.send(status_record() + AGGREGATED * 3)
    eventually(lambda: listener.status.drops == {"aggregated": 4}, "they are counted")
    assert listener.status.connected
    assert caplog.text.count("dropped reports of netify-proc-aggregator") == 1


def test_unknown_types_that_begin_with_flow_are_told_once_each_and_a_few_of_them(
    netifyd: StandIn, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    listener = reading(unix(netifyd.path))
    netifyd.accept()
    kinds = [
        "flow_dpi_update",
        "flow_dpi_complete",
        "flow_intel",
        "global_stats",
        "flow_new",
        "flow_\x1b[31m",
    ]
    kinds += [f"flow_{number}" for number in range(20)]
    netifyd.send(b"".join(json.dumps({"type": kind}).encode() + b"\n" for kind in kinds) * 2)
    eventually(lambda: listener.status.records == 2 * len(kinds), "all is read")
    told = listener.status.unknown_types
    assert told[:3] == ("flow_new", "flow_\N{REPLACEMENT CHARACTER}[31m", "flow_0")
    assert len(told) == 8
    assert caplog.text.count("unknown type flow_") == 8
    assert caplog.text.count("unknown type flow_new ") == 1


def test_a_damaged_stream_is_left_and_read_again_from_a_new_connection(
    netifyd: StandIn, reading: Reading
) -> None:
    listener = reading(unix(netifyd.path))
    netifyd.accept()
    netifyd.send(b"\x81\xa4type\xabagent_hello\xc1")
    eventually(lambda: "damaged msgpack data" in (listener.status.error or ""), "it is noticed")
    netifyd.accept()
    netifyd.send(b"\x81\xa4type\xabagent_hello")
    eventually(lambda: listener.status.records == 2, "both records are read")
    assert listener.status.drops == {"malformed": 1}


def test_msgpack_without_its_library_says_what_to_install(
    netifyd: StandIn, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(msgpack_framing, "msgpack", None)
    listener = reading(unix(netifyd.path))
    netifyd.accept()
    netifyd.send(b"\x81\xa4type\xa5hello")
    eventually(lambda: "python3-msgpack" in (listener.status.error or ""), "it is named")


@pytest.mark.parametrize(
    ("told", "version"), [(2.94, "2.94"), ("3.05", "3.05"), (True, None), ("x\x00", None)]
)
def test_the_version_may_be_a_number_as_in_v3(
    told: object, version: str | None, netifyd: StandIn, reading: Reading
) -> None:
    listener = reading(unix(netifyd.path))
    netifyd.accept()
    netifyd.send(json.dumps({"type": "agent_status", "agent_version": told, "uptime": 3}).encode() + b"\n")
    eventually(lambda: listener.status.netifyd.uptime_s == 3, "the status is read")
    assert listener.status.agent == version
