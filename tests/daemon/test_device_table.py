"""The device table in the real process: bounded, kept over a restart, configured while it runs."""

from __future__ import annotations

import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from records import flow_record, stats_record, status_record
from support import Daemon, RedisServer, StandIn, eventually, framed

KNOWN = "02:00:00:00:00:01"


def spoofed(number: int) -> str:
    return f"06:00:00:00:{number >> 8:02x}:{number & 255:02x}"


def told(network: dict[str, Any]) -> dict[str, int]:
    """Bytes of each device by what it goes by; their sum is checked to be the gateway's."""
    devices = {device["mac"] or device["ip"] or device["name"]: device for device in network["devices"]}
    assert sum(device["bytes_down"] for device in devices.values()) == network["totals"]["bytes_down"]
    assert sum(device["flows"] for device in devices.values()) == network["totals"]["flows"]
    return {name: device["bytes_down"] for name, device in devices.items()}


def metrics(daemon: Daemon) -> str:
    with urllib.request.urlopen(daemon.base + "/metrics", timeout=60) as answer:
        return str(answer.read().decode())


@pytest.fixture
def small(directory: Path, redis_server: RedisServer, netifyd: StandIn) -> Daemon:
    return Daemon(directory, redis_server.url, f"unix://{netifyd.path}", devices={"max": 20})


def test_devices_without_room_are_counted_as_one_and_the_owner_is_told(
    small: Daemon, netifyd: StandIn
) -> None:
    small.start()
    try:
        netifyd.accept()
        netifyd.send(framed(status_record(), flow_record("a" * 40), stats_record("a" * 40, 1000, 1000)))
        for number in range(100):
            digest = f"{number:040x}"
            netifyd.send(framed(flow_record(digest, local_mac=spoofed(number)), stats_record(digest, 10, 10)))
        eventually(lambda: small.records() == 203, "every record is read")
        small.flushed()
        devices = told(small.get("/")[1])
        assert len(devices) == 21
        assert (devices[KNOWN], devices["other"]) == (1000, 81 * 10)

        code, other = small.get("/other")
        assert (code, other["mac"], other["ip"], other["ips"], other["name"]) == (
            200,
            None,
            None,
            [],
            "other",
        )
        assert (other["randomized"], other["vendor"], other["bytes_down"]) == (None, None, 810)
        assert small.get("/other/history")[1]["buckets"][-1]["bytes_down"] > 0
        assert small.get("/flows?device=other&limit=100")[1]["total"] == 81

        accounting = small.get("/status")[1]["accounting"]
        assert accounting["counters"]["flows_folded"] == 81
        assert (accounting["devices"], accounting["max_devices"], accounting["devices_full"]) == (
            20,
            20,
            True,
        )
        text = metrics(small)
        assert "netify_agent_folded_flows_total 81\n" in text
        assert "netify_agent_devices_full 1\n" in text
        assert small.log.read_text().count("the device table is full") == 1
        assert small.stop() == 0

        small.start()  # the devices that have a row are known again
        netifyd.accept()
        netifyd.send(framed(status_record()))
        for number in (0, 99):
            digest = f"{200 + number:040x}"
            netifyd.send(framed(flow_record(digest, local_mac=spoofed(number)), stats_record(digest, 5, 5)))
        eventually(lambda: small.records() == 5, "every record is read")
        small.flushed()
        devices = told(small.get("/")[1])
        assert (len(devices), devices[spoofed(0)], devices["other"]) == (21, 15, 815)
    finally:
        assert small.stop() == 0


def test_5000_spoofed_addresses_are_answered_in_time_and_with_few_labels(
    daemon: Daemon, netifyd: StandIn
) -> None:
    daemon.settings["interval"] = 5  # a busy machine can't read 5,000 devices within a second
    daemon.write_config()
    daemon.start()
    netifyd.accept()
    netifyd.send(framed(status_record()))
    for number in range(5000):
        digest = f"{number:040x}"
        netifyd.send(framed(flow_record(digest, local_mac=spoofed(number)), stats_record(digest, 10, 10)))
    eventually(lambda: daemon.records() == 10_001, "every record is read")
    daemon.flushed()
    began = time.monotonic()
    network = daemon.get("/")[1]
    text = metrics(daemon)
    assert time.monotonic() - began < 30
    assert len(told(network)) == 5000
    assert sum(line.startswith("netify_device_bytes_total{") for line in text.splitlines()) == 200
    assert all(device["randomized"] for device in network["devices"])
    assert daemon.stop() == 0


def test_a_reload_changes_the_room_and_who_goes_by_address(small: Daemon, netifyd: StandIn) -> None:
    small.settings["devices"] = {"max": 1}
    small.write_config()
    small.start()
    netifyd.accept()
    netifyd.send(framed(status_record(), flow_record("a" * 40), stats_record("a" * 40, 1000, 1000)))
    netifyd.send(framed(flow_record("b" * 40, local_mac=spoofed(1)), stats_record("b" * 40, 10, 10)))
    eventually(lambda: small.records() == 5, "every record is read")
    small.settings["devices"] = {"max": 2, "by_ip": ["192.168.1.0/24"], "forget_after": "2d"}
    small.write_config()
    small.signal(signal.SIGHUP)
    eventually(lambda: "configuration reloaded" in small.log.read_text(), "the reload")
    netifyd.send(
        framed(flow_record("c" * 40), stats_record("c" * 40, 500, 500), stats_record("a" * 40, 1, 1001))
    )
    eventually(lambda: small.records() == 8, "every record is read")
    small.flushed()
    assert told(small.get("/")[1]) == {KNOWN: 1001, "other": 10, "192.168.1.10": 500}
    assert "takes effect at the next restart" not in small.log.read_text()
    assert small.stop() == 0
