"""What the devices do: which flows one opens when it appears and in each session, and their plan.

Decides when a flow starts, is described, refined and purged; turning that into records is the business of
simulation.py and wire.py. All times are milliseconds since the epoch.
"""

from __future__ import annotations

import hashlib
import math
import random
from bisect import bisect_right
from itertools import accumulate

from . import catalog as c
from .catalog import Protocol, Service
from .flow import Flow, Stage
from .network import NO_MAC, Device, Network

# One in this many flows is never described, is described after its first counters, or has hostile text.
# Counted, not random, so that every stream of some length has them all.
_NEVER_DESCRIBED = 101
_DESCRIBED_LATE = 37
_HOSTILE = 53
# The same for the user agent of HTTP flows.
_HOSTILE_AGENT = 7


class Traffic:
    """The activity of devices: consecutive sessions of a few flows each."""

    def __init__(self, seed: int, network: Network, interval_ms: int, start_ms: int) -> None:
        self._seed = seed
        self._network = network
        self._interval = interval_ms
        self._start = start_ms
        self._rng = random.Random(f"traffic {seed}")
        self._made = 0
        self._plain = 0
        self._busy_until: dict[int, int] = {}
        self._standing_until: dict[int, int] = {}
        self._habits: dict[str, tuple[list[float], list[Service]]] = {}

    @property
    def rng(self) -> random.Random:
        """The random generator of this traffic."""
        return self._rng

    def join_ms(self) -> int:
        """When a device appears: within the first 30 seconds."""
        return self._start + int(self._rng.random() * 30_000)

    def next_session_ms(self, device: Device, now_ms: int) -> int:
        """When the next session of `device` begins."""
        return now_ms + 200 + int(-math.log(1.0 - self._rng.random()) * device.kind.gap_s * 1000)

    def joining(self, device: Device, now_ms: int) -> list[Flow]:
        """DHCP, mDNS and group membership of a device that appears; nothing behind a tunnel."""
        if not device.has_mac:
            return []
        flows = [self._dhcp(device, now_ms), self._announce(device, c.IGMP, now_ms + 400)]
        if device.kind.mdns:
            flows.append(self._announce(device, c.MDNS, now_ms + 1500))
        if device.kind.name in ("tv", "console", "speaker"):
            flows.append(self._announce(device, c.SSDP, now_ms + 2500))
        return flows

    def session(self, device: Device, now_ms: int) -> list[Flow]:
        """The flows that `device` opens at `now_ms`."""
        flows: list[Flow] = []
        standing = device.kind.standing
        if standing is not None and now_ms >= self._standing_until.get(device.id, 0):
            flows.append(self._open(device, standing, now_ms))
            self._standing_until[device.id] = flows[-1].end_ms
        if device.has_mac and device.kind.mdns and self._rng.random() < 0.04:
            flows.append(self._announce(device, c.MDNS, now_ms))
        service = self._pick(device, now_ms)
        if service is None:
            return flows
        if service.peer is None and service.hosts and self._rng.random() < 0.6:
            flows.append(self._open(device, c.LOCAL_DNS, now_ms, host=self._host(service)))
        flows.append(self._open(device, service, now_ms + 40 + int(self._rng.random() * 200)))
        if service.shape.long:
            self._busy_until[device.id] = flows[-1].end_ms
        if service.shape is c.PAGE and self._rng.random() < 0.35:
            companion = c.COMPANIONS[int(self._rng.random() * len(c.COMPANIONS))]
            flows.append(self._open(device, companion, now_ms + 300 + int(self._rng.random() * 900)))
        return flows

    def _pick(self, device: Device, now_ms: int) -> Service | None:
        kind = device.kind
        if kind.name not in self._habits:
            self._habits[kind.name] = (
                list(accumulate(weight for weight, _ in kind.habits)),
                [service for _, service in kind.habits],
            )
        weights, services = self._habits[kind.name]
        service = services[bisect_right(weights, self._rng.random() * weights[-1])]
        if service.shape.long and now_ms < self._busy_until.get(device.id, 0):
            return None
        if service.peer is not None and not self._network.offers(device, service.peer):
            return None
        return service

    def _host(self, service: Service) -> str:
        if not service.hosts:
            return ""
        host = service.hosts[int(self._rng.random() * len(service.hosts))]
        return host.format(n=int(self._rng.random() * 40) + 1)

    def _open(self, device: Device, service: Service, start_ms: int, host: str | None = None) -> Flow:
        rng, protocol = self._rng, service.protocol
        flow = self._new(device, service, start_ms)
        flow.host = self._host(service) if host is None else host
        port = 0 if protocol.ip_protocol in (1, 2) else 32768 + int(rng.random() * 28000)
        if service.peer is not None:
            self._between(flow, device, port, service)
        else:
            six = bool(device.ip6) and protocol.ip_protocol != 1 and rng.random() < 0.3
            far = _far_address(rng, six)
            ports = (protocol.port, port) if service.inbound else (port, protocol.port)
            flow.local = (device.mac, device.ip6 if six else device.ip, ports[0])
            flow.other = (self._network.gateway_mac if device.has_mac else NO_MAC, far, ports[1])
            flow.local_is_opener = not service.inbound
        if flow.host and self._made % _HOSTILE == 0:
            flow.host = c.HOSTILE[self._made // _HOSTILE % len(c.HOSTILE)]
        if protocol is c.HTTP:
            agent = device.kind.user_agent
            self._plain += 1
            if self._plain % _HOSTILE_AGENT == 0:
                agent = c.HOSTILE[self._plain // _HOSTILE_AGENT % len(c.HOSTILE)]
            flow.detail["http"] = {"url": f"{flow.host}/item/{self._made}", "user_agent": agent}
        elif protocol is c.SSH:
            flow.detail["ssh"] = {"client": "SSH-2.0-OpenSSH_9.6"}
        tcp = protocol.ip_protocol == 6
        flow.closed = tcp and rng.random() < 0.95
        flow.purge_ms = flow.end_ms + (
            int(rng.random() * 400) + 5 if flow.closed else 30_000 + int(rng.random() * 9000)
        )
        self._plan(flow, service)
        return flow

    def _new(self, device: Device, service: Service, start_ms: int) -> Flow:
        shape = service.shape
        # Log-uniform distribution: many short ones, some long ones.
        shortest, longest = max(shape.shortest_s, 0.001), max(shape.longest_s, 0.002)
        length_s = shortest * (longest / shortest) ** self._rng.random()
        self._made += 1
        digest = hashlib.sha1(f"{self._seed}/{self._made}".encode(), usedforsecurity=False).hexdigest()
        flow = Flow(device, service, digest, start_ms, start_ms + int(length_s * 1000))
        flow.detection_packets = 1 + int(self._rng.random() * 12)
        return flow

    def _between(self, flow: Flow, device: Device, port: int, service: Service) -> None:
        """A local-to-local flow: netifyd calls the lower of the two addresses local, whoever opened it."""
        peers = self._network.offers(device, service.peer or "")
        peer = peers[int(self._rng.random() * len(peers))]
        near, far = (device.mac, device.ip, port), (peer.mac, peer.ip, service.protocol.port)
        flow.local_is_opener = device.number < peer.number
        flow.local, flow.other = (near, far) if flow.local_is_opener else (far, near)
        flow.other_type = "local"

    def _plan(self, flow: Flow, service: Service) -> None:
        """When the flow is described and refined."""
        rng = self._rng
        if self._made % _NEVER_DESCRIBED == 0:
            return
        at = flow.start_ms + 5 + int(rng.random() * 150)
        if self._made % _DESCRIBED_LATE == 0:
            next_tick = self._start + ((flow.start_ms - self._start) // self._interval + 1) * self._interval
            at = next_tick + 20 + int(rng.random() * 900)
        # A very short flow is purged only after its description.
        flow.purge_ms = max(flow.purge_ms, at + 1)
        final = service.application
        first = final if service.first_as is None else service.first_as
        encrypted = service.protocol in (c.HTTPS, c.QUIC, c.MQTTS)
        guess = c.TLS if service.protocol is c.HTTPS and rng.random() < 0.2 else service.protocol
        flow.stages.append(Stage(at, first, guess, 0))
        if not encrypted and service.first_as is None:
            return
        for depth, chance in ((1, 0.9 if service.first_as else 0.4), (2, 0.15)):
            at += 20 + int(rng.random() * 300) if rng.random() < 0.85 else int(15_000 + rng.random() * 40_000)
            if at >= flow.purge_ms or rng.random() > chance:
                return
            flow.stages.append(Stage(at, final, service.protocol, depth))

    def _dhcp(self, device: Device, now_ms: int) -> Flow:
        flow = self._multicast(device, c.DHCP, now_ms, ("ff:ff:ff:ff:ff:ff", "255.255.255.255", 67), 68)
        flow.local = (device.mac, "0.0.0.0", 68)
        flow.other_type = "broadcast"
        flow.host = device.name
        flow.detail["dhcp"] = {"class_ident": device.kind.class_ident, "fingerprint": device.kind.fingerprint}
        return flow

    def _announce(self, device: Device, protocol: Protocol, now_ms: int) -> Flow:
        if protocol is c.IGMP:
            return self._multicast(device, protocol, now_ms, ("01:00:5e:00:00:16", "224.0.0.22", 0), 0)
        if protocol is c.SSDP:
            flow = self._multicast(
                device, protocol, now_ms, ("01:00:5e:7f:ff:fa", "239.255.255.250", 1900), 50123
            )
            flow.host = "239.255.255.250"
            flow.detail["ssdp"] = {"user_agent": device.kind.user_agent}
            return flow
        flow = self._multicast(device, protocol, now_ms, ("01:00:5e:00:00:fb", "224.0.0.251", 5353), 5353)
        if device.ip6 and self._rng.random() < 0.5:
            flow.local, flow.other = (device.mac, device.ip6, 5353), ("33:33:00:00:00:fb", "ff02::fb", 5353)
        flow.host = f"{device.kind.mdns}.local"
        flow.detail["mdns"] = {"answer": f"{device.name}.local"}
        return flow

    def _multicast(
        self, device: Device, protocol: Protocol, now_ms: int, group: tuple[str, str, int], port: int
    ) -> Flow:
        service = Service(c.UNKNOWN, protocol, (), c.ANNOUNCE)
        flow = self._new(device, service, now_ms)
        flow.local, flow.other, flow.other_type = (device.mac, device.ip, port), group, "multicast"
        flow.purge_ms = flow.end_ms + 30_000 + int(self._rng.random() * 5000)
        flow.stages.append(Stage(now_ms + 2, c.UNKNOWN, protocol, 0))
        return flow


def _far_address(rng: random.Random, six: bool) -> str:
    """Return a remote address from the ranges reserved for documentation (RFC 5737, RFC 3849)."""
    host = int(rng.random() * 250) + 2
    if six:
        return f"2001:db8:ffff:{int(rng.random() * 255) + 1:x}::{host:x}"
    return f"{('192.0.2', '198.51.100', '203.0.113')[int(rng.random() * 3)]}.{host}"
