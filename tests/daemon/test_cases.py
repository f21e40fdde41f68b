"""Streams that real networks sent, played to the real process: what each must be accounted as.

A case is a file of ``tests/daemon/cases``, one record a line. A line ``--- new connection ---`` drops the
connection, as a restart of netifyd does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support import Daemon, RedisServer, StandIn, eventually, framed

STREAMS = Path(__file__).parent / "cases"
NEW_CONNECTION = b"--- new connection ---"

Bytes = tuple[int, int]  # up, down


@dataclass(frozen=True)
class Case:
    """One stream.

    :ivar stream: name of its file, without the suffix.
    :ivar devices: bytes of every device, by MAC or IP address.
    :ivar applications: bytes of every application of the gateway, by tag; None: they do not matter.
    :ivar unattributed: bytes of no device.
    :ivar settings: what the configuration has beside the defaults.
    """

    stream: str
    devices: dict[str, Bytes]
    applications: dict[str, Bytes] | None = None
    unattributed: Bytes = (0, 0)
    settings: dict[str, Any] = field(default_factory=dict)


LAPTOP, PHONE = "02:00:00:00:50:11", "02:00:00:00:50:12"
ROUTED = {"198.51.100.10": (100, 1000), "198.51.100.11": (200, 2000), "198.51.100.12": (300, 3000)}
SWITCH = "02:00:00:00:33:33"

CASES = (
    # netifyd 5: the last description by arrival says what the flow is.
    Case("v5-dpi-update-complete", {LAPTOP: (10_000, 200_000)}, {"netify.youtube": (10_000, 200_000)}),
    # One connection, seen at the LAN and, behind NAT, at the WAN.
    Case("lan-and-wan-nat", {LAPTOP: (5336, 5470)}),
    Case("no-packet-counters", {LAPTOP: (1050, 2070)}),
    # After the reboot netifyd's clock is a month behind; all that it ever saw counts.
    Case("clock-back-at-reboot", {LAPTOP: (42_666, 60_334)}),
    Case("numbered-tags", {LAPTOP: (110, 990)}, {"netify.google-chat": (110, 990)}),
    # A tunnel's peer has no MAC address; the other host came with its own once, before or after.
    Case("nfq-zero-mac", {"192.0.2.100": (10, 20), PHONE: (1100, 2200)}),
    Case("nfq-zero-mac-first", {"192.0.2.100": (10, 20), PHONE: (1100, 2200)}),
    Case("l3-switch", {SWITCH: (600, 6000)}),
    Case("l3-switch", ROUTED, settings={"devices": {"by_ip": ["198.51.100.0/24"]}}),
    Case("l3-switch", ROUTED, settings={"devices": {"by_ip": [SWITCH]}}),
    Case("multicast-as-device", {LAPTOP: (400, 0)}, unattributed=(0, 1400)),
)


@pytest.mark.parametrize("case", CASES, ids=[f"{number} {case.stream}" for number, case in enumerate(CASES)])
def test_a_stream_is_accounted_as_its_network_really_was(
    case: Case, directory: Path, redis_server: RedisServer, netifyd: StandIn
) -> None:
    daemon = Daemon(directory, redis_server.url, f"unix://{netifyd.path}", **case.settings)
    daemon.start()
    try:
        play(STREAMS / f"{case.stream}.jsonl", daemon, netifyd)
        network = daemon.get("/")[1]
        applications = daemon.get("/applications")[1]["applications"]
        assert {
            device["mac"] or device["ip"]: volume(device) for device in network["devices"]
        } == case.devices
        assert volume(network["unattributed"]) == case.unattributed
        if case.applications is not None:
            assert {one["tag"]: volume(one) for one in applications} == case.applications
        rows = [*network["devices"], network["unattributed"]]
        local = volume(network["local"])
        sums = tuple(sum(both) for both in zip(*map(volume, rows), strict=True))
        assert volume(network["totals"]) == (sums[0] - local[0], sums[1] - local[1])
    finally:
        daemon.stop()


def play(stream: Path, daemon: Daemon, netifyd: StandIn) -> None:
    """Send a case's records and wait until they are in Redis."""
    netifyd.accept()
    sent = 0
    for line in stream.read_bytes().splitlines():
        if line == NEW_CONNECTION:
            netifyd.drop()
            netifyd.accept()
        elif line:
            netifyd.send(framed(line + b"\n"))
            sent += 1
    eventually(lambda: daemon.records() == sent, "every record is read")
    daemon.flushed()


def volume(row: dict[str, Any]) -> Bytes:
    return row["bytes_up"], row["bytes_down"]
