"""One flow: what detection finds, and what the flow carries in a span of time.

Apart from traffic.py, which decides what flows there are. Knows neither records nor sockets; all times are
milliseconds since the epoch.
"""

from __future__ import annotations

import hashlib
import random
from typing import NamedTuple

from . import catalog as c
from .catalog import Application, Protocol, Service
from .network import NO_MAC, Device
from .truth import FlowTotals


class Stage(NamedTuple):
    """What detection knows of a flow from `at_ms` on; `depth` 0: first packet, 2: complete handshake."""

    at_ms: int
    application: Application
    protocol: Protocol
    depth: int


class Counters(NamedTuple):
    """What a flow carried in one span, by local and other side; `span_ms`: time it was active."""

    local_bytes: int
    local_packets: int
    other_bytes: int
    other_packets: int
    span_ms: int


class Flow:
    """One flow from its first packet to its purge."""

    __slots__ = (
        "closed", "counted_ms", "described", "detail", "detection_packets", "digest", "digest_prev", "end_ms",
        "host", "interface", "last_seen_ms", "local", "local_is_opener", "opened", "other", "other_type",
        "purge_ms", "shape", "stages", "start_ms", "totals", "transport",
    )  # fmt: skip

    def __init__(self, device: Device, service: Service, digest: str, start_ms: int, end_ms: int) -> None:
        self.interface = device.interface
        self.digest = digest
        self.digest_prev: list[str] = []
        self.start_ms = self.counted_ms = self.last_seen_ms = start_ms
        self.end_ms = end_ms
        self.purge_ms = end_ms
        self.closed = False
        self.shape = service.shape
        self.transport = service.protocol.ip_protocol
        self.host = ""
        self.detail: dict[str, dict[str, str]] = {}
        self.local = (device.mac, device.ip, 0)
        self.other = (NO_MAC, "", 0)
        self.other_type = "remote"
        self.local_is_opener = True
        self.opened = False
        self.detection_packets = 1
        self.described = 0
        self.stages: list[Stage] = []
        self.totals = FlowTotals(digest, None, None, c.UNKNOWN.tag, c.NONE.name, 0, 0, 0, 0)

    @property
    def device_id(self) -> str:
        """The device of the local side."""
        return self.local[1] if self.local[0] == NO_MAC else self.local[0]

    @property
    def peer_id(self) -> str | None:
        """The device of the other side of a local-to-local flow."""
        if self.other_type != "local":
            return None
        return self.other[1] if self.other[0] == NO_MAC else self.other[0]

    def take(self, now_ms: int, rng: random.Random) -> Counters | None:
        """Return what the flow carried since the last call; None if nothing."""
        upto = now_ms if now_ms < self.end_ms else self.end_ms
        span = upto - self.counted_ms
        if span < 0 or (self.opened and span == 0):
            return None
        shape = self.shape
        up = down = 0
        if not self.opened:
            self.opened = True
            up, down = shape.opening
        if span and (shape.up_rate or shape.down_rate) and rng.random() < shape.duty:
            seconds = span * (0.5 + rng.random()) / 1000
            up += int(seconds * shape.up_rate + rng.random())
            down += int(seconds * shape.down_rate + rng.random())
        self.counted_ms = upto
        if not up and not down:
            return None
        self.last_seen_ms = upto
        up_bytes = up * shape.up_size + int(rng.random() * up * 20)
        down_bytes = down * shape.down_size + int(rng.random() * down * 20)
        if self.local_is_opener:
            return Counters(up_bytes, up, down_bytes, down, span)
        return Counters(down_bytes, down, up_bytes, up, span)

    def rename(self) -> None:
        """Take a new digest and keep the earlier ones, oldest first, as v5 does at a refinement."""
        self.digest_prev = [*self.digest_prev, self.digest]
        self.digest = hashlib.sha1(f"{self.digest}/next".encode(), usedforsecurity=False).hexdigest()
        self.totals.digest = self.digest
