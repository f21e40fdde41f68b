"""Traffic for the dashboard's tests: a home with a month of history, and a network of many devices.

History is written with the real accounting and store. Live traffic is sent to the running agent by the
stand-in for netifyd. All of it is deterministic, apart from the current time.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from real_store import Netifyd, RealStore, Record
from support import StandIn, framed

from netify_agent.simulator.simulation import Simulation

DAY_S = 86400
HTML_NAME = "<img src=x onerror=alert(1)>"


class Usage(NamedTuple):
    """How a device uses an application: protocol, rates in bits per second, hours of the day.

    :ivar since_s: age in seconds of the live flow, or None for history only.
    """

    application: str
    category: int
    protocol: tuple[int, str, int]
    host: str
    down: float
    up: float
    hours: tuple[int, int]
    since_s: int | None = None
    risks: tuple[tuple[int, ...], int] = ((), 0)


class Device(NamedTuple):
    """A device and the applications it uses."""

    name: str | None
    mac: str | None
    ip: str
    usages: tuple[Usage, ...]


TLS, QUIC, HTTP, SSH, RTP = (
    (196, "HTTP/S", 443),
    (188, "QUIC", 443),
    (7, "HTTP", 80),
    (92, "SSH", 22),
    (87, "RTP", 5004),
)
MQTTS = (222, "MQTT/S", 8883)
K, M = 1e3, 1e6

HOME = (
    Device("living-room-tv", "e8:5b:5b:31:7a:02", "192.168.1.23", (
        Usage("netify.netflix", 29, TLS, "ipv4-c012.oca.nflxvideo.net", 7.4 * M, 180 * K, (18, 24), 2520),
        Usage("netify.youtube", 29, QUIC, "rr4---sn-4g5e6nsz.googlevideo.com", 4.1 * M, 90 * K, (7, 9)),
        Usage("netify.samsung-tv", 0, HTTP, "cdn.samsungcloudsolution.com", 12 * K, 3 * K, (6, 24), 300,
              ((10,), 10)))),
    Device("anna-laptop", "a8:7c:f8:10:42:d1", "192.168.1.31", (
        Usage("netify.zoom", 0, RTP, "zoomams183mmr.ams.zoom.us", 2.2 * M, 1.9 * M, (9, 17), 1140),
        Usage("netify.office-365", 0, TLS, "outlook.office365.com", 220 * K, 60 * K, (8, 18), 900),
        Usage("netify.google", 0, QUIC, "www.google.com", 160 * K, 25 * K, (8, 23), 240))),
    Device("bens-MacBook", "b0:7b:25:9e:03:77", "192.168.1.32", (
        Usage("netify.dropbox", 0, TLS, "block.dropbox.com", 90 * K, 700 * K, (9, 12)),
        Usage("netify.github", 0, TLS, "codeload.github.com", 900 * K, 40 * K, (9, 19), 180),
        Usage("netify.spotify", 29, TLS, "audio-fa.scdn.co", 170 * K, 6 * K, (9, 18), 3000))),
    Device("annas-iPhone", "5e:1c:90:7d:22:0a", "192.168.1.41", (
        Usage("netify.instagram", 24, QUIC, "scontent.cdninstagram.com", 1.3 * M, 110 * K, (7, 23), 420),
        Usage("netify.icloud", 0, TLS, "p48-content.icloud.com", 60 * K, 420 * K, (22, 24)))),
    Device("Pixel-8", "da:a1:19:4b:60:e3", "192.168.1.42", (
        Usage("netify.tiktok", 24, TLS, "v16-eu.tiktokcdn.com", 2.6 * M, 120 * K, (12, 23), 660),
        Usage("netify.whatsapp", 0, TLS, "media-ams4-1.cdn.whatsapp.net", 90 * K, 60 * K, (7, 24), 120))),
    Device("PS5-lounge", "5c:96:66:88:01:5d", "192.168.1.50", (
        Usage("netify.playstation", 12, TLS, "gs2.ww.prod.dl.playstation.net", 9.5 * M, 130 * K, (20, 23)),)),
    Device("nas", "00:11:32:aa:04:19", "192.168.1.10", (
        Usage("Unknown", 0, TLS, "backup.example.net", 30 * K, 2.4 * M, (2, 5)),
        Usage("netify.ubuntu", 0, HTTP, "archive.ubuntu.com", 300 * K, 8 * K, (3, 4)),
        Usage("Unknown", 0, SSH, "", 4 * K, 9 * K, (0, 24), 5400, ((25, 42), 110)))),
    Device("axis-door-1", "b8:a4:4f:61:0c:2e", "192.168.1.61", (
        Usage("Unknown", 0, TLS, "video.cam.example.com", 9 * K, 640 * K, (0, 24), 86400, ((30, 35), 150)),)),
    Device("hue-bridge", "ec:b5:fa:03:5f:aa", "192.168.1.62", (
        Usage("netify.philips-hue", 0, MQTTS, "ws.meethue.com", 2 * K, 2 * K, (0, 24), 9000),)),
    Device("Sonos-kitchen", "48:a6:b8:19:33:71", "192.168.1.63", (
        Usage("netify.spotify", 29, TLS, "audio-ak.spotify.com", 190 * K, 7 * K, (7, 10)),)),
    Device("HP-office", "38:ca:84:5d:11:90", "192.168.1.70", (
        Usage("Unknown", 0, HTTP, "ink.printer.example.com", 5 * K, 3 * K, (10, 11)),)),
    Device("echo-3", "68:b6:91:0b:7e:44", "192.168.1.64", (
        Usage("netify.amazon-alexa", 0, TLS, "avs-alexa-eu.amazon.com", 6 * K, 4 * K, (6, 23), 7200),)),
    Device("Xbox-hugo", "5c:0c:e6:72:18:f6", "192.168.1.51", (
        Usage("netify.xbox", 12, TLS, "assets1.xboxlive.com", 2.8 * M, 90 * K, (15, 18)),)),
    Device(None, None, "10.8.0.2", (
        Usage("netify.google", 0, QUIC, "mail.google.com", 70 * K, 20 * K, (9, 20), 600),)),
)  # fmt: skip


GROUPS = {
    "kids": ["PS5-*", "Xbox-*", "da:a1:19:4b:60:e3"],
    "work": ["anna-laptop", "bens-MacBook", "nas"],
    "backup": ["nas"],
}
PLANS = {
    "uplink": {"limit": "3 TB", "per": "month"},
    "kids-day": {"limit": "150 GB", "per": "day", "group": "kids", "direction": "down"},
}
ALERTS = {
    "risky": {"kind": "risk", "score": 100, "severity": "critical"},
    "busy": {"kind": "rate", "above": "1 Mbit/s", "for": "1s"},
}


def _digest(*parts: object) -> str:
    return hashlib.sha1(repr(parts).encode(), usedforsecurity=False).hexdigest()


def _intensity(usage: Usage, time_s: float, rng: random.Random) -> float:
    """The share of its rate that an application has at a time, 0 to about 1.5."""
    clock = datetime.fromtimestamp(time_s)
    hour = clock.hour + clock.minute / 60
    first, last = usage.hours
    if (last - first) < 24:
        inside = min(hour - first, last - hour)
        if inside < 0:
            return 0.0 if rng.random() < 0.97 else 0.1
        edge = min(inside / 0.75, 1.0)
    else:
        edge = 1.0
    weekend = 1.35 if clock.weekday() >= 5 and usage.category else 1.0
    return edge * weekend * (0.75 + 0.25 * math.sin(time_s / 1700)) * (0.45 + 0.8 * rng.random())


def simulate(store: RealStore, devices: int, hours: float) -> None:
    """Write ``hours`` of history of a simulated network. A simulator with the same seed continues it."""
    now = int(time.time())
    begin = (now - int(hours * 3600)) // 300 * 300
    simulation = Simulation(1, devices, (now - begin) / 3600, start_ms=begin * 1000)
    store.bucket = begin
    store.flush()
    for end in range(begin + 300, now + 301, 300):
        store.feed(*(json.loads(payload) for _, payload in simulation.advance(end * 1000)))
        store.bucket = min(end, now // 300 * 300)
        store.flush(at_ms=min(end, now) * 1000)


def name_device(store: RealStore, mac: str, name: str) -> None:
    """Add a device with this DHCP host name."""
    store.flush(*Records().dhcp(Device(name, mac, "192.168.1.250", ()), int(time.time() * 1000)))


class Records:
    """netifyd's records of devices and their flows."""

    def __init__(self) -> None:
        self._netifyd = Netifyd()

    def dhcp(self, device: Device, at_ms: int) -> list[Record]:
        """A DHCP flow with the device's host name; none without a name or MAC address."""
        if device.name is None or device.mac is None:
            return []
        digest = _digest("dhcp", device.mac, at_ms)
        return [
            self._netifyd.flow(
                digest, device.mac, "Unknown", local_ip=device.ip, local_port=68, other_port=67,
                other_ip="192.168.1.1", detected_protocol_name="DHCP", host_server_name=device.name, dhcp={},
                category={"application": 0}, ip_protocol=17, ip_version=4,
                first_seen_at=at_ms, last_seen_at=at_ms,
            ),
            self.stats(digest, 342, 342, at_ms),
            self.purge(digest, at_ms),
        ]  # fmt: skip

    def flow(self, digest: str, device: Device, usage: Usage, first_ms: int, last_ms: int) -> Record:
        number, protocol, port = usage.protocol
        ids, score = usage.risks
        rng = random.Random(usage.host + str(device.ip))
        fields: dict[str, Any] = {
            "local_ip": device.ip,
            "local_port": 49152 + rng.randrange(16000),
            "other_ip": f"198.51.100.{rng.randrange(1, 255)}",
            "other_port": port,
            "local_origin": usage.protocol is not SSH,
            "detected_protocol": number,
            "detected_protocol_name": protocol,
            "ip_protocol": 6 if usage.protocol in (TLS, HTTP, SSH, MQTTS) else 17,
            "ip_version": 4,
            "category": {"application": usage.category},
            "first_seen_at": first_ms,
            "last_seen_at": last_ms,
            "risks": {"ndpi_risk_score": score, "risks": list(ids)},
        }
        if usage.host:
            fields["host_server_name"] = usage.host
        return self._netifyd.flow(digest, device.mac or device.ip, usage.application, **fields)

    def stats(self, digest: str, up: float, down: float, at_ms: int) -> Record:
        return self._netifyd.stats(digest, int(up), int(down), last_seen_at=at_ms)

    def purge(self, digest: str, at_ms: int) -> Record:
        return self._netifyd.stats(digest, 0, 0, "flow_purge", last_seen_at=at_ms)


def fill_month(store: RealStore, now: float) -> None:
    """Write a month of the home's history."""
    of, rng = Records(), random.Random(7)
    spans = list(_spans(int(now)))
    store.bucket = spans[0][0]  # a flush belongs to the bucket that was set before the previous flush
    store.flush()
    for (start, length), following in zip(spans, [*(start for start, _ in spans[1:]), int(now)], strict=True):
        records: list[Record] = []
        for device in HOME:
            records += of.dhcp(device, start * 1000) if start == spans[0][0] else []
            for usage in device.usages:
                samples = [_intensity(usage, start + part * length / 8, rng) for part in range(8)]
                intensity = sum(samples) / len(samples)
                up, down = (rate * intensity * length / 8 for rate in (usage.up, usage.down))
                if up + down < 400:
                    continue
                digest = _digest(device.ip, usage, start)
                first, last = start * 1000, (start + length) * 1000 - 1
                records.append(of.flow(digest, device, usage, first, last))
                records += [of.stats(digest, up, down, last), of.purge(digest, last)]
        store.bucket = following // 300 * 300
        store.flush(*records, at_ms=(start + length) * 1000)


def _spans(now: int) -> Iterator[tuple[int, int]]:
    """Start and length of each flush, oldest first: days, then hours, then 15 and 5 minutes."""
    quarter = now // 900 * 900
    hours = (quarter - DAY_S) // 3600 * 3600
    days = (hours - 7 * DAY_S) // DAY_S * DAY_S
    yield from ((start, DAY_S) for start in range(days - 24 * DAY_S, days, DAY_S))
    yield from ((start, 3600) for start in range(days, hours, 3600))
    yield from ((start, 900) for start in range(hours, quarter, 900))
    yield from ((start, 300) for start in range(quarter, now // 300 * 300, 300))


def send(netifyd: StandIn, *records: Record) -> None:
    """Send records to the agent."""
    netifyd.send(framed(*(json.dumps(record).encode() + b"\n" for record in records)))


class LiveTraffic(threading.Thread):
    """Sends :meth:`opening` when the agent connects, then :meth:`update` each second until :meth:`stop`."""

    def __init__(self, netifyd: StandIn) -> None:
        super().__init__(daemon=True)
        self._netifyd = netifyd
        self._stopping = threading.Event()
        self.of = Records()

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def run(self) -> None:
        self._netifyd.accept()
        send(self._netifyd, *self.opening(int(time.time() * 1000)))
        while not self._stopping.wait(1):
            send(self._netifyd, *self.update(int(time.time() * 1000)))

    def opening(self, now_ms: int) -> list[Record]:
        raise NotImplementedError

    def update(self, now_ms: int) -> list[Record]:
        raise NotImplementedError


class HomeTraffic(LiveTraffic):
    """The live flows of the home."""

    def opening(self, now_ms: int) -> list[Record]:
        self._rng = random.Random(3)
        self._live = {
            _digest("live", device.ip, usage): (device, usage)
            for device in HOME
            for usage in device.usages
            if usage.since_s is not None
        }
        return [
            self.of.flow(digest, device, usage, now_ms - (usage.since_s or 0) * 1000, now_ms)
            for digest, (device, usage) in self._live.items()
        ]

    def update(self, now_ms: int) -> list[Record]:
        records = []
        for digest, (_, usage) in self._live.items():
            seconds = (0.7 + 0.6 * self._rng.random()) / 8
            records.append(self.of.stats(digest, usage.up * seconds, usage.down * seconds, now_ms))
        return records


def _numbered_device(number: int) -> Device:
    usages = [usage for device in HOME for usage in device.usages]
    mac = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
    own = tuple(usages[(number * 7 + index * 3) % len(usages)] for index in range(len(usages)))
    return Device(f"device-{number}", mac, f"10.0.{number >> 8}.{number & 255}", own)


def fill_large_network(store: RealStore, devices: int, flows: int) -> None:
    """Write many named devices and flows that ended five minutes ago."""
    of, end_ms = Records(), int(time.time() * 1000) - 300_000
    for first in range(0, devices, 200):
        records: list[Record] = []
        for number in range(first, min(first + 200, devices)):
            device = _numbered_device(number)
            records += of.dhcp(device, end_ms - 300_000)
            for usage in device.usages[: flows // devices]:
                digest = _digest("ended", number, usage)
                records.append(of.flow(digest, device, usage, end_ms - 300_000, end_ms))
                records.append(of.stats(digest, 1000 + number, 2000 + 17 * number, end_ms))
                records.append(of.purge(digest, end_ms))
        store.flush(*records, at_ms=end_ms)


def fill_unattributed(store: RealStore) -> None:
    """Write a flow that netifyd never described."""
    at_ms = int(time.time() * 1000) - 60_000
    store.flush(Records().stats(_digest("never described"), 700, 900, at_ms), at_ms=at_ms)


def _between_devices(of: Records, at_ms: int) -> list[Record]:
    """A live flow of device-1 to device-2 of a large network."""
    one, other = _numbered_device(1), _numbered_device(2)
    digest = _digest("between devices")
    record = of.flow(digest, one, Usage("netify.nfs", 0, SSH, "", 0, 0, (0, 24)), at_ms, at_ms)
    record["flow"].update(other_type="local", other_mac=other.mac, other_ip=other.ip)
    return [record, of.stats(digest, 123_000, 456_000, at_ms)]


class LargeNetworkTraffic(LiveTraffic):
    """Live flows of many devices; a fifth of them moves bytes each second."""

    def __init__(self, netifyd: StandIn, devices: int) -> None:
        super().__init__(netifyd)
        self._digests = [_digest("live", number) for number in range(devices)]
        self._turn = 0

    def opening(self, now_ms: int) -> list[Record]:
        devices = [_numbered_device(number) for number in range(len(self._digests))]
        flows = [
            self.of.flow(digest, device, device.usages[0], now_ms, now_ms)
            for digest, device in zip(self._digests, devices, strict=True)
        ]
        return [*flows, *_between_devices(self.of, now_ms)]

    def update(self, now_ms: int) -> list[Record]:
        self._turn += 1
        moving = self._digests[self._turn % 5 :: 5]
        return [self.of.stats(digest, 900, 4000 + self._turn, now_ms) for digest in moving]
