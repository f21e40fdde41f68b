"""A netifyd of a simulated network: its records, its clock, and the socket that the agent reads."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

from delivered import Delivered
from support import StandIn

from netify_agent.simulator import Simulation
from netify_agent.simulator.form import frame

DEVICES = 12
HOURS = 4.0  # of netifyd's clock: more than any run makes of it
_TIMES = re.compile(rb'"(first_seen_at|last_seen_at|first_update_at)":(\d+)')
_SECONDS = re.compile(rb'"timestamp":(\d+)')
_MAC = re.compile(rb'"([0-9a-f][02468ace](?::[0-9a-f]{2}){5})"')  # of one device: not of a group
_NO_MAC = b"00:00:00:00:00:00"


class Netifyd:
    """One endpoint of the agent.

    :ivar url: of the endpoint.
    :ivar connected: whether the agent reads it, as far as is known.
    :ivar sent: bytes to this life of the agent.
    """

    def __init__(
        self, path: Path, seed: int, start_ms: int, chance: random.Random, delivered: Delivered, macs: bool
    ) -> None:
        """Describe the network; the same ``seed`` and ``start_ms`` give the same records.

        :param macs: whether its devices have other MAC addresses than the simulator gives them.
        """
        self.url = f"unix://{path}"
        self.version = 4 + seed % 2
        self.connected = False
        self.sent = 0
        self._seed = seed
        self._start_ms = start_ms
        self._chance = chance
        self._delivered = delivered
        self._macs = macs
        self._socket = StandIn(path)
        self._shift_ms = 0
        self._born: dict[bytes, int] = {}  # digest to the clock's shift at the flow's first record
        self._lives = 0
        self._simulation, self._records = self._process()

    def _process(self) -> tuple[Simulation, Iterator[tuple[int, bytes]]]:
        self._lives += 1
        simulation = Simulation(
            self._seed * 100 + self._lives, DEVICES, HOURS, version=self.version, start_ms=self._begin_ms()
        )
        return simulation, simulation.records()

    def _begin_ms(self) -> int:
        return self._start_ms + self._lives * 3_600_000

    # -- the connection ----------------------------------------------------------------------------

    def connect(self) -> None:
        """Wait for the agent to connect, and greet it."""
        self._socket.accept()
        self.connected = True
        for payload in self._simulation.opening():
            self.send(self.frame(payload))

    def drop(self) -> None:
        """Close the connection; what was sent is still read."""
        self._socket.drop()
        self.connected = False

    def forget_agent(self) -> None:
        """The agent has ended: drop its connection and count anew what is sent to the next one."""
        self.drop()
        self.sent = 0

    def close(self) -> None:
        """Leave nothing behind."""
        self._socket.close()

    def send(self, data: bytes) -> bool:
        """Bytes to the agent; False if it has gone."""
        try:
            self._socket.send(data)
        except OSError:
            self.connected = False
            return False
        self.sent += len(data)
        return True

    def frame(self, payload: bytes) -> bytes:
        """The bytes that carry a record."""
        return frame(payload, self.version)

    # -- records -----------------------------------------------------------------------------------

    def next(self) -> bytes:
        """The next record, by this netifyd's clock; the network goes on for ever."""
        for _, payload in self._records:
            return self._own_macs(self._clocked(payload))
        self.restart()
        return self.next()

    def deliver(self, count: int) -> list[bytes]:
        """The next ``count`` records, to the agent if it listens; returns those that reached it."""
        return [payload for _ in range(count) if self._told(payload := self.next())]

    def unseen(self, count: int) -> None:
        """``count`` records that nobody gets."""
        for _ in range(count):
            self.next()

    def spoof(self, count: int) -> None:
        """Flows of ``count`` made-up MAC addresses, each over at once."""
        for _ in range(count):
            tail = f"{self._chance.getrandbits(32):08x}"
            at_ms = self._begin_ms() + self._shift_ms
            up, down = self._chance.randint(60, 1500), self._chance.randint(0, 1500)
            flow = {
                "digest": f"{self._chance.getrandbits(160):040x}",
                "last_seen_at": at_ms,
                "first_seen_at": at_ms,
                "local_mac": "06:00:" + ":".join(re.findall("..", tail)),
                "local_ip": f"10.66.{int(tail[:2], 16)}.{int(tail[2:4], 16)}",
                "other_ip": "203.0.113.9",
                "other_type": "remote",
                "detected_application_name": "netify.spoofed",
                "detected_protocol_name": "DNS",
            }
            counters = {
                "digest": flow["digest"],
                "last_seen_at": at_ms,
                "local_bytes": up,
                "local_packets": 1,
                "other_bytes": down,
                "other_packets": 1,
                "total_bytes": up + down,
                "total_packets": 2,
            }
            for kind, fields in (("flow", flow), ("flow_purge", counters)):
                self._told(json.dumps({"type": kind, "flow": fields}, separators=(",", ":")).encode() + b"\n")

    def restart(self) -> None:
        """Another process: its flows, and its uptime, begin anew."""
        connected = self.connected
        self.drop()
        self._simulation, self._records = self._process()
        if connected:
            self.connect()

    def shift_clock(self, milliseconds: int) -> None:
        """The wall clock jumps; a flow's begin, which is noted, stays."""
        self._shift_ms += milliseconds
        if milliseconds < 0:
            self._delivered.backward.add(self.url)

    def _told(self, payload: bytes) -> bool:
        """Whether a record reached the agent."""
        if not (self.connected and self.send(self.frame(payload))):
            return False
        self._delivered.take(self.url, payload)
        return True

    def _clocked(self, payload: bytes) -> bytes:
        names = re.findall(rb'"(\w{40})"', payload)  # v5: the digests that it had before are among them
        born = next((self._born[name] for name in names if name in self._born), self._shift_ms)
        self._born.update(dict.fromkeys(names, born))

        def move(match: re.Match[bytes]) -> bytes:
            shift = born if match[1] == b"first_seen_at" else self._shift_ms
            return b'"%b":%d' % (match[1], int(match[2]) + shift)

        moved = _TIMES.sub(move, payload)
        return _SECONDS.sub(lambda match: b'"timestamp":%d' % (int(match[1]) + self._shift_ms // 1000), moved)

    def _own_macs(self, payload: bytes) -> bytes:
        def other(match: re.Match[bytes]) -> bytes:
            mac = match[1]
            return (
                match[0]
                if mac == _NO_MAC
                else b'"%b:%02x%b"' % (mac[:8], int(mac[9:11], 16) ^ 0x55, mac[11:])
            )

        return _MAC.sub(other, payload) if self._macs else payload
