"""netifyd v5 in every form and over every transport, through the real daemon: the counters are the same."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import random
import socket
import subprocess
import sys
import threading
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support import Daemon, StandIn, eventually, free_port, totals

from netify_agent.simulator import Form

FORMS = [
    Form(*choice)
    for choice in product(("json", "msgpack"), ("lines", "none", "headers", "pretty"), ("none", "gz"))
    if choice[:2] != ("msgpack", "pretty")
]
BEGAN = 1_772_738_467_000
COUNTED = ("bytes_up", "bytes_down", "packets_up", "packets_down", "flows")
HOST = 'www.example.net}{"'  # looks like the seam between two objects


def digest_of(*parts: object) -> str:
    return hashlib.sha1(repr(parts).encode()).hexdigest()


def stream_of(number: int) -> list[bytes]:
    """What netifyd says of one device with four flows, in lines; only names differ by number."""
    status = {"type": "agent_status", "agent_version": "5.2.6", "uptime": 0, "flow_count": 0}
    records: list[dict[str, Any]] = [{**status, "timestamp": BEGAN // 1000, "update_interval": 15}]
    for port in range(40000, 40004):
        chain = [digest_of(number, port, stage) for stage in range(4)]
        seen = {"first_seen_at": BEGAN + 500, "last_seen_at": BEGAN + 700}
        ends = {
            "local_mac": f"02:00:00:00:00:{number:02x}",
            "local_ip": f"192.0.2.{number + 1}",
            "other_mac": "02:00:00:00:00:ff",
            "other_ip": "203.0.113.5",
            "other_type": "remote",
            "local_port": port,
            "other_port": 443,
            "ip_protocol": 6,
            "ip_version": 4,
            "local_origin": True,
        }
        for stage, kind in enumerate(("flow", "flow_dpi_update", "flow_dpi_complete"), 1):
            flow = {
                "digest": chain[stage],
                "digest_prev": chain[:stage],
                **seen,
                **ends,
                "detected_application_name": "netify.youtube" if stage == 3 else "Unknown",
                "detected_protocol_name": "QUIC" if stage > 1 else "Unknown",
                "host_server_name": HOST,
                # What was seen during detection must not be counted: flow_stats tells it too.
                "local_bytes": 6583,
                "other_bytes": 100,
                "local_packets": 9,
                "other_packets": 1,
                "total_bytes": 0,
                "total_packets": 0,
            }
            records.append({"type": kind, "interface": "br-lan", "internal": True, "flow": flow})
        total = 0
        for interval in range(1, 6):
            total += 1000 + port + interval
            counters = {
                "digest": chain[3],
                "digest_prev": chain[:3],
                "last_seen_at": BEGAN + 15_000 * interval,
                "local_bytes": 1000,
                "other_bytes": port + interval,
                "local_packets": 2,
                "other_packets": 3,
                "total_bytes": total,
                "total_packets": 5 * interval,
                "local_rate": 66.5,
                "other_rate": 9,
            }
            last = {"type": "flow_purge", "reason": "closed"} if interval == 5 else {"type": "flow_stats"}
            records.append({**last, "interface": "br-lan", "internal": True, "flow": counters})
    return [json.dumps(record).encode() + b"\n" for record in records]


EXPECTED = {
    "bytes_up": 4 * 5 * 1000,
    "bytes_down": sum(port + interval for port in range(40000, 40004) for interval in range(1, 6)),
    "packets_up": 40,
    "packets_down": 60,
    "flows": 4,
}


def parts_of(number: int, form: Form) -> tuple[bytes, bytes]:
    """The stream in two parts: the first ends inside a record, the second begins with that record."""
    records = [form.encode(line) for line in stream_of(number)]
    chance = random.Random(number)
    cut = chance.randrange(3, len(records) - 3)
    broken = records[cut][: chance.randrange(1, len(records[cut]))]
    return b"".join(records[:cut]) + broken, b"".join(records[cut:])


def serve(listening: socket.socket, number: int, form: Form) -> None:
    """One connection for each part, written in pieces of any length; the second stays open until the end."""
    chance = random.Random(number)
    listening.settimeout(60)
    with listening, contextlib.suppress(OSError):
        for part in parts_of(number, form):
            client, _ = listening.accept()
            while part:
                size = chance.choice((1, 7, 100, 1000, 5000))
                client.sendall(part[:size])
                part = part[size:]
            client.shutdown(socket.SHUT_WR)
            client.recv(1)  # the agent has read it all and closes
            client.close()


def post(port: int, number: int, form: Form) -> None:
    """The first part is a POST that breaks off; then POSTs of 7 records each, 2 of which are repeats."""
    broken, _ = parts_of(number, form)
    with socket.create_connection(("127.0.0.1", port)) as client:
        head = b"POST /flows HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (len(broken) + 1)
        client.sendall(head + broken)
    records = [form.encode(line) for line in stream_of(number)]
    for start in range(0, len(records), 5):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/flows", iter(records[start : start + 7]))  # chunked
        assert connection.getresponse().status == 204
        connection.close()


@pytest.mark.parametrize("transport", ["unix", "tcp", "http"])
def test_every_form_gives_the_same_counters_cut_anywhere_and_with_the_connection_dropped(
    transport: str, directory: Path, daemon: Daemon, netifyd: StandIn
) -> None:
    endpoints, threads = [], []
    for number, form in enumerate(FORMS):
        if transport == "http":
            port = free_port()
            endpoints.append(f"http://127.0.0.1:{port}/flows")
            threads.append(threading.Thread(target=post, args=(port, number, form)))
            continue
        if transport == "tcp":
            listening = socket.create_server(("127.0.0.1", free_port()))
            endpoints.append(f"tcp://127.0.0.1:{listening.getsockname()[1]}")
        else:
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(str(directory / f"{number}.sock"))
            listening.listen()
            endpoints.append(f"unix://{directory}/{number}.sock")
        threads.append(threading.Thread(target=serve, args=(listening, number, form)))
    daemon.settings["netifyd"] = {"endpoints": endpoints}
    daemon.write_config()
    if transport != "http":
        for thread in threads:
            thread.start()
    daemon.start()
    if transport == "http":
        eventually(lambda: waiting(daemon) == len(FORMS), "all listen")
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    daemon.flushed()
    devices = {device["mac"]: device for device in daemon.get("/")[1]["devices"]}
    assert len(devices) == len(FORMS)
    for number, form in enumerate(FORMS):
        device = devices[f"02:00:00:00:00:{number:02x}"]
        assert {name: device[name] for name in COUNTED} == EXPECTED, form
        [application] = device["applications"]
        assert application["tag"] == "netify.youtube", form
        assert {name: application[name] for name in COUNTED} == EXPECTED, form
    hosts = {flow["host"] for flow in daemon.get("/flows?limit=1000")[1]["flows"]}
    assert hosts == {HOST}
    assert all(not set(one["drops"]) - {"truncated"} for one in status_of(daemon))


def waiting(daemon: Daemon) -> int:
    """The number of endpoints that listen and got nothing. There is none until the API has started."""
    return sum("no POST so far" in (one["error"] or "") for one in status_of(daemon))


def status_of(daemon: Daemon) -> list[dict[str, Any]]:
    listeners: list[dict[str, Any]] = daemon.get("/status")[1]["listeners"]
    return listeners


@pytest.mark.parametrize("form", [Form("json", "none"), Form("msgpack", "headers", "gz")])
def test_a_simulated_network_that_is_posted_ends_equal_to_the_truth(
    form: Form, directory: Path, daemon: Daemon
) -> None:
    url, tokens, truth_file = (
        f"http://127.0.0.1:{free_port()}/flows",
        directory / "tokens",
        directory / "truth",
    )
    tokens.write_text("a-token-that-is-long-enough\n")
    daemon.settings["netifyd"] = {"endpoints": [url], "token_file": str(tokens)}
    daemon.write_config()
    daemon.start()
    command = [sys.executable, "-m", "netify_agent", "simulate", "--post", url, "--protocol", "v5"]
    command += ["--format", form.format, "--framing", form.framing, "--compress", form.compress]
    command += ["--devices", "30", "--hours", "0.3", "--speed", "max", "--truth", str(truth_file)]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "401" in refused.stderr
    done = subprocess.run(
        [*command, "--token-file", str(tokens)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    daemon.flushed()
    truth = json.loads(truth_file.read_text())
    counted = totals(daemon.get("/")[1])
    assert counted["gateway"] == {name: truth["gateway"][name] for name in counted["gateway"]}
    assert len(counted["devices"]) > 30
    for name, row in counted["devices"].items():
        assert row == {field: truth["devices"][name][field] for field in row}
    assert daemon.get("/status")[1]["listeners"][0]["agent"].startswith("5.")
