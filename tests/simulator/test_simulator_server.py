"""The simulator's server and sub-command, over real sockets and as a real process."""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import eventually

from netify_agent.simulator import EndpointError, Simulation, frame, serve
from netify_agent.simulator.command import add_arguments, run

PATIENCE_S = 20.0
COMMAND = (
    "import argparse, sys; from netify_agent.simulator.command import add_arguments, run;"
    "p = argparse.ArgumentParser(); add_arguments(p); sys.exit(run(p.parse_args()))"
)


@contextmanager
def serving(
    simulation: Simulation, endpoint: str, speed: float | None, truth: Path | None = None, **options: Any
) -> Iterator[Callable[[], None]]:
    """A server in a thread; yields a function that waits for its end."""
    stop, ready = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=serve, args=(simulation, endpoint, speed, truth, stop, ready), kwargs=options
    )
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield lambda: thread.join(PATIENCE_S)
    finally:
        stop.set()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(PATIENCE_S)
    client.connect(str(path))
    return client


def read_all(client: socket.socket) -> bytes:
    pieces = []
    while piece := client.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def whole_stream(**parameters: Any) -> bytes:
    simulation = Simulation(**parameters)
    opening = [frame(payload, simulation.version) for payload in simulation.opening()]
    return b"".join(opening + [frame(payload, simulation.version) for _, payload in simulation.records()])


@pytest.mark.parametrize("version", [4, 5])
def test_as_fast_as_it_is_read_a_client_gets_the_whole_stream_then_the_end(
    tmp_path: Path, version: int
) -> None:
    parameters: dict[str, Any] = {"seed": 2, "devices": 30, "hours": 0.3, "version": version}
    simulation, path, truth = Simulation(**parameters), tmp_path / "n.sock", tmp_path / "truth.json"
    with serving(simulation, f"unix://{path}", None, truth) as wait, connect(path) as client:
        assert read_all(client) == whole_stream(**parameters)
        wait()
    assert json.loads(truth.read_text()) == simulation.truth.as_dict()
    assert sorted(tmp_path.iterdir()) == [truth]


def test_two_clients_get_their_opening_and_the_same_stream_at_the_pace_of_the_slower(tmp_path: Path) -> None:
    simulation, path = Simulation(2, 100, 0.5), tmp_path / "n.sock"
    with serving(simulation, f"unix://{path}", None) as wait, connect(path) as slow:
        start = slow.recv(100)
        with connect(path) as late:
            received: list[bytes] = []
            reader = threading.Thread(target=lambda: received.append(read_all(late)))
            reader.start()
            # The slow one has read 100 bytes: nothing can have ended.
            reader.join(0.3)
            assert reader.is_alive()
            assert not simulation.ended
            ahead = simulation.truth.flows
            first = start + read_all(slow)
            reader.join(PATIENCE_S)
            wait()
    assert 0 < ahead < simulation.truth.flows / 4
    assert first == whole_stream(seed=2, devices=100, hours=0.5)
    second = received[0]
    live = second.index(b"\n", second.index(b'"type":"definitions"')) + 1
    assert second.startswith(b'{"length": ')
    assert first.endswith(second[live:])


@pytest.mark.parametrize("speed", [None, 5_000.0])
def test_a_client_that_vanishes_does_not_disturb_the_other(tmp_path: Path, speed: float | None) -> None:
    parameters: dict[str, Any] = {"seed": 3, "devices": 100, "hours": 0.5}
    simulation, path = Simulation(**parameters), tmp_path / "n.sock"
    with serving(simulation, f"unix://{path}", speed) as wait, connect(path) as client:
        start = client.recv(10)
        for _ in range(3):
            with connect(path) as other:
                assert other.recv(10)
        received = start + read_all(client)
        wait()
    if speed is None:
        assert received == whole_stream(**parameters)
    assert received.count(b'"reason":"terminate"') > 10
    assert simulation.ended


def test_in_real_time_a_late_client_gets_what_comes_after_and_the_truth_is_written_each_interval(
    tmp_path: Path,
) -> None:
    simulation, path, truth = Simulation(4, 50), tmp_path / "n.sock", tmp_path / "truth.json"
    with serving(simulation, f"unix://{path}", 300.0, truth), connect(path) as first:
        early = first.recv(1 << 16)
        deadline = time.monotonic() + PATIENCE_S
        while not truth.exists() and time.monotonic() < deadline:
            early += first.recv(1 << 16)
        assert json.loads(truth.read_text())["flows"] > 0
        with connect(path) as late:
            head = late.recv(1 << 16)
    assert b'"uptime":0,' in early
    assert b"agent_hello" in head
    assert b'"uptime":0,' not in head
    assert json.loads(truth.read_text()) == simulation.truth.as_dict()


def test_stopping_sends_what_was_produced_so_that_the_truth_is_what_a_client_got(tmp_path: Path) -> None:
    simulation, path = Simulation(5, 60), tmp_path / "n.sock"
    stop, ready = threading.Event(), threading.Event()
    thread = threading.Thread(target=serve, args=(simulation, f"unix://{path}", 600.0, None, stop, ready))
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        with connect(path) as client:
            # More is produced than the buffers of a socket hold, and none of it read yet.
            eventually(lambda: simulation.truth.flows >= 1500)
            stop.set()
            received = read_all(client)
    finally:
        stop.set()
        thread.join(PATIENCE_S)
    sent = [json.loads(line) for line in received.splitlines() if not line.startswith(b'{"length"')]
    total = sum(r["flow"]["local_bytes"] for r in sent if r["type"] in ("flow_stats", "flow_purge"))
    gateway: Any = simulation.truth.as_dict()["gateway"]
    assert gateway["bytes_up"] == total > 0


def test_in_real_time_a_client_that_never_reads_loses_whole_records_and_delays_nobody(tmp_path: Path) -> None:
    simulation, path = Simulation(3, 100, 0.5), tmp_path / "n.sock"
    in_real_time = serving(simulation, f"unix://{path}", 36_000.0, max_backlog_bytes=300_000)
    with in_real_time as wait, connect(path) as idle:
        eventually(lambda: simulation.ended)
        got = read_all(idle)
        wait()
    lines = got.splitlines()
    for header, payload in zip(lines[::2], lines[1::2], strict=True):
        assert json.loads(header)["length"] == len(payload) + 1
    assert len(got) < 1_500_000 < len(whole_stream(seed=3, devices=100, hours=0.5))


def test_tcp_is_served_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    parameters: dict[str, Any] = {"seed": 2, "devices": 10, "hours": 0.1}
    with serving(Simulation(**parameters), f"tcp://127.0.0.1:{port}", None):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
            assert read_all(client) == whole_stream(**parameters)
        with pytest.raises(EndpointError, match="cannot listen"):
            serve(Simulation(), f"tcp://256.0.0.1:{port}", None, None, threading.Event())


def test_a_stale_socket_is_replaced_and_a_living_one_or_a_file_is_not(tmp_path: Path) -> None:
    path, never = tmp_path / "n.sock", threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    with serving(Simulation(2, 5, 0.1), f"unix://{path}", None):
        with pytest.raises(EndpointError, match="another process listens"):
            serve(Simulation(), f"unix://{path}", None, None, never)
        with connect(path) as client:
            assert b"agent_hello" in client.recv(1000)
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(EndpointError, match="not a socket"):
        serve(Simulation(), f"unix://{path}", None, None, never)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("endpoint", ["", "unix://relative", "tcp://nowhere", "tcp://h:99999", "http://x:1"])
def test_a_malformed_endpoint_is_named(endpoint: str) -> None:
    with pytest.raises(EndpointError, match="expected"):
        serve(Simulation(), endpoint, None, None, threading.Event())


# --- the command ----------------------------------------------------------------------------------------


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "--listen is required"),
        (["--listen", "/x"], "--listen"),
        (["--listen", "unix:///x", "--seed", "one"], "--seed"),
        (["--listen", "unix:///x", "--devices", "0"], "--devices"),
        (["--listen", "unix:///x", "--devices", "2.5"], "--devices"),
        (["--listen", "unix:///x", "--hours", "-1"], "--hours"),
        (["--listen", "unix:///x", "--hours", "1e9"], "--hours"),
        (["--listen", "unix:///x", "--speed", "fast"], "--speed"),
        (["--listen", "unix:///x", "--speed", "inf"], "--speed"),
        (["--listen", "unix:///x", "--protocol", "v6"], "--protocol"),
        (["--listen", "unix:///x", "--format", "msgpack"], "--protocol v5 only"),
        (["--listen", "unix:///x", "--protocol", "v5", "--framing", "xml"], "--framing"),
        (
            ["--listen", "unix:///x", "--protocol", "v5", "--format", "msgpack", "--framing", "pretty"],
            "json only",
        ),
        (["--listen", "unix:///x", "--post", "http://127.0.0.1:1/"], "--listen"),
        (["--post", "https://127.0.0.1:1/", "--protocol", "v5"], "--post"),
        (["--listen", "unix:///x", "--profile", "ship"], "--profile"),
    ],
)
def test_a_bad_flag_is_one_clear_line_and_exit_2(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(*words)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert told in error


def test_an_endpoint_that_cannot_be_used_is_one_line_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments("--listen", f"unix://{tmp_path}/no/such/place.sock")) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_an_endless_run_cleanly_with_its_truth_written(tmp_path: Path, number: int) -> None:
    path, truth = tmp_path / "n.sock", tmp_path / "truth.json"
    words = ["--listen", f"unix://{path}", "--truth", str(truth), "--speed", "60", "--protocol", "v5"]
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *words], stderr=subprocess.PIPE)
    try:
        eventually(path.exists)
        with connect(path) as client:
            assert json.loads(client.makefile("rb").readline())["agent_version"].startswith("5.")
            process.send_signal(number)
            _, error = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, error) == (0, b"")
    assert not path.exists()
    assert "gateway" in json.loads(truth.read_text())
