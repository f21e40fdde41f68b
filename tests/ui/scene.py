"""A home for the pictures: people, their devices and a month of habits, the same but for the clock.

The past goes through the accounting and the store as real records do; the present is told to the daemon by
a netifyd that speaks as the tests' stand-in does.
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

from store_book import Book, Netifyd, Record
from support import StandIn, framed

from netify_agent.simulator.simulation import Simulation

DAY_S = 86400
HARM = "<img src=x onerror=alert(1)>"


class Habit(NamedTuple):
    """What a device does: an application over a protocol, at what rates (bits per second) and hours.

    ``since_s`` is for how long it has been at it at the end; None: it is not now.
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


class Member(NamedTuple):
    """A device of the home."""

    name: str | None
    mac: str | None
    ip: str
    habits: tuple[Habit, ...]


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
    Member("living-room-tv", "e8:5b:5b:31:7a:02", "192.168.1.23", (
        Habit("netify.netflix", 29, TLS, "ipv4-c012.oca.nflxvideo.net", 7.4 * M, 180 * K, (18, 24), 2520),
        Habit("netify.youtube", 29, QUIC, "rr4---sn-4g5e6nsz.googlevideo.com", 4.1 * M, 90 * K, (7, 9)),
        Habit("netify.samsung-tv", 0, HTTP, "cdn.samsungcloudsolution.com", 12 * K, 3 * K, (6, 24), 300,
              ((14,), 10)))),
    Member("anna-laptop", "a8:7c:f8:10:42:d1", "192.168.1.31", (
        Habit("netify.zoom", 0, RTP, "zoomams183mmr.ams.zoom.us", 2.2 * M, 1.9 * M, (9, 17), 1140),
        Habit("netify.office-365", 0, TLS, "outlook.office365.com", 220 * K, 60 * K, (8, 18), 900),
        Habit("netify.google", 0, QUIC, "www.google.com", 160 * K, 25 * K, (8, 23), 240))),
    Member("bens-MacBook", "b0:7b:25:9e:03:77", "192.168.1.32", (
        Habit("netify.dropbox", 0, TLS, "block.dropbox.com", 90 * K, 700 * K, (9, 12)),
        Habit("netify.github", 0, TLS, "codeload.github.com", 900 * K, 40 * K, (9, 19), 180),
        Habit("netify.spotify", 29, TLS, "audio-fa.scdn.co", 170 * K, 6 * K, (9, 18), 3000))),
    Member("annas-iPhone", "5e:1c:90:7d:22:0a", "192.168.1.41", (
        Habit("netify.instagram", 24, QUIC, "scontent.cdninstagram.com", 1.3 * M, 110 * K, (7, 23), 420),
        Habit("netify.icloud", 0, TLS, "p48-content.icloud.com", 60 * K, 420 * K, (22, 24)))),
    Member("Pixel-8", "da:a1:19:4b:60:e3", "192.168.1.42", (
        Habit("netify.tiktok", 24, TLS, "v16-eu.tiktokcdn.com", 2.6 * M, 120 * K, (12, 23), 660),
        Habit("netify.whatsapp", 0, TLS, "media-ams4-1.cdn.whatsapp.net", 90 * K, 60 * K, (7, 24), 120))),
    Member("PS5-lounge", "5c:96:66:88:01:5d", "192.168.1.50", (
        Habit("netify.playstation", 12, TLS, "gs2.ww.prod.dl.playstation.net", 9.5 * M, 130 * K, (20, 23)),)),
    Member("nas", "00:11:32:aa:04:19", "192.168.1.10", (
        Habit("Unknown", 0, TLS, "backup.example.net", 30 * K, 2.4 * M, (2, 5)),
        Habit("netify.ubuntu", 0, HTTP, "archive.ubuntu.com", 300 * K, 8 * K, (3, 4)),
        Habit("Unknown", 0, SSH, "", 4 * K, 9 * K, (0, 24), 5400, ((16, 42), 110)))),
    Member("axis-door-1", "b8:a4:4f:61:0c:2e", "192.168.1.61", (
        Habit("Unknown", 0, TLS, "video.cam.example.com", 9 * K, 640 * K, (0, 24), 86400, ((30, 37), 150)),)),
    Member("hue-bridge", "ec:b5:fa:03:5f:aa", "192.168.1.62", (
        Habit("netify.philips-hue", 0, MQTTS, "ws.meethue.com", 2 * K, 2 * K, (0, 24), 9000),)),
    Member("Sonos-kitchen", "48:a6:b8:19:33:71", "192.168.1.63", (
        Habit("netify.spotify", 29, TLS, "audio-ak.spotify.com", 190 * K, 7 * K, (7, 10)),)),
    Member("HP-office", "38:ca:84:5d:11:90", "192.168.1.70", (
        Habit("Unknown", 0, HTTP, "ink.printer.example.com", 5 * K, 3 * K, (10, 11)),)),
    Member("echo-3", "68:b6:91:0b:7e:44", "192.168.1.64", (
        Habit("netify.amazon-alexa", 0, TLS, "avs-alexa-eu.amazon.com", 6 * K, 4 * K, (6, 23), 7200),)),
    Member("Xbox-hugo", "5c:0c:e6:72:18:f6", "192.168.1.51", (
        Habit("netify.xbox", 12, TLS, "assets1.xboxlive.com", 2.8 * M, 90 * K, (15, 18)),)),
    Member(None, None, "10.8.0.2", (
        Habit("netify.google", 0, QUIC, "mail.google.com", 70 * K, 20 * K, (9, 20), 600),)),
)  # fmt: skip


def _digest(*parts: object) -> str:
    return hashlib.sha1(repr(parts).encode(), usedforsecurity=False).hexdigest()


def _level(habit: Habit, moment: float, rng: random.Random) -> float:
    """How busy a habit is, 0 to about 1.5, at a moment of local time."""
    clock = datetime.fromtimestamp(moment)
    hour = clock.hour + clock.minute / 60
    first, last = habit.hours
    if (last - first) < 24:
        inside = min(hour - first, last - hour)
        if inside < 0:
            return 0.0 if rng.random() < 0.97 else 0.1
        edge = min(inside / 0.75, 1.0)
    else:
        edge = 1.0
    weekend = 1.35 if clock.weekday() >= 5 and habit.category else 1.0
    return edge * weekend * (0.75 + 0.25 * math.sin(moment / 1700)) * (0.45 + 0.8 * rng.random())


def simulate(book: Book, devices: int, hours: float) -> None:
    """The past ``hours`` of a simulated network, which the simulator of the same seed goes on with."""
    now = int(time.time())
    begin = (now - int(hours * 3600)) // 300 * 300
    simulation = Simulation(1, devices, (now - begin) / 3600, start_ms=begin * 1000)
    book.bucket = begin
    book.flush()
    for end in range(begin + 300, now + 301, 300):
        book.feed(*(json.loads(payload) for _, payload in simulation.advance(end * 1000)))
        book.bucket = min(end, now // 300 * 300)
        book.flush(at_ms=min(end, now) * 1000)


def name_device(book: Book, mac: str, name: str) -> None:
    """A device that says over DHCP that it is called ``name``."""
    book.flush(*Teller().naming(Member(name, mac, "192.168.1.250", ()), int(time.time() * 1000)))


class Teller:
    """Records of the home's flows, with netifyd's running totals."""

    def __init__(self) -> None:
        self._netifyd = Netifyd()

    def naming(self, member: Member, at_ms: int) -> list[Record]:
        if member.name is None or member.mac is None:
            return []
        digest = _digest("dhcp", member.mac, at_ms)
        return [
            self._netifyd.flow(
                digest, member.mac, "Unknown", local_ip=member.ip, local_port=68, other_port=67,
                other_ip="192.168.1.1", detected_protocol_name="DHCP", host_server_name=member.name, dhcp={},
                category={"application": 0}, ip_protocol=17, ip_version=4,
                first_seen_at=at_ms, last_seen_at=at_ms,
            ),
            self.stats(digest, 342, 342, at_ms),
            self.purge(digest, at_ms),
        ]  # fmt: skip

    def flow(self, digest: str, member: Member, habit: Habit, first_ms: int, last_ms: int) -> Record:
        number, protocol, port = habit.protocol
        ids, score = habit.risks
        rng = random.Random(habit.host + str(member.ip))
        fields: dict[str, Any] = {
            "local_ip": member.ip,
            "local_port": 49152 + rng.randrange(16000),
            "other_ip": f"198.51.100.{rng.randrange(1, 255)}",
            "other_port": port,
            "local_origin": habit.protocol is not SSH,
            "detected_protocol": number,
            "detected_protocol_name": protocol,
            "ip_protocol": 6 if habit.protocol in (TLS, HTTP, SSH, MQTTS) else 17,
            "ip_version": 4,
            "category": {"application": habit.category},
            "first_seen_at": first_ms,
            "last_seen_at": last_ms,
            "risks": {"ndpi_risk_score": score, "risks": list(ids)},
        }
        if habit.host:
            fields["host_server_name"] = habit.host
        return self._netifyd.flow(digest, member.mac or member.ip, habit.application, **fields)

    def stats(self, digest: str, up: float, down: float, at_ms: int) -> Record:
        return self._netifyd.stats(digest, int(up), int(down), last_seen_at=at_ms)

    def purge(self, digest: str, at_ms: int) -> Record:
        return self._netifyd.stats(digest, 0, 0, "flow_purge", last_seen_at=at_ms)


def fill(book: Book, now: float) -> None:
    """A month of the home's past: days, then hours, then quarters of an hour."""
    teller, rng = Teller(), random.Random(7)
    spans = list(_spans(int(now)))
    book.bucket = spans[0][0]  # a flush belongs to the bucket that was given to the one before
    book.flush()
    for (start, length), following in zip(spans, [*(start for start, _ in spans[1:]), int(now)], strict=True):
        records: list[Record] = []
        for member in HOME:
            records += teller.naming(member, start * 1000) if start == spans[0][0] else []
            for habit in member.habits:
                samples = [_level(habit, start + part * length / 8, rng) for part in range(8)]
                level = sum(samples) / len(samples)
                up, down = (rate * level * length / 8 for rate in (habit.up, habit.down))
                if up + down < 400:
                    continue
                digest = _digest(member.ip, habit, start)
                first, last = start * 1000, (start + length) * 1000 - 1
                records.append(teller.flow(digest, member, habit, first, last))
                records += [teller.stats(digest, up, down, last), teller.purge(digest, last)]
        book.bucket = following // 300 * 300
        book.flush(*records, at_ms=(start + length) * 1000)


def _spans(now: int) -> Iterator[tuple[int, int]]:
    """Begin and length of what is told at once, oldest first."""
    quarter = now // 900 * 900
    hours = (quarter - DAY_S) // 3600 * 3600
    days = (hours - 7 * DAY_S) // DAY_S * DAY_S
    yield from ((start, DAY_S) for start in range(days - 24 * DAY_S, days, DAY_S))
    yield from ((start, 3600) for start in range(days, hours, 3600))
    yield from ((start, 900) for start in range(hours, quarter, 900))
    yield from ((start, 300) for start in range(quarter, now // 300 * 300, 300))


class Present(threading.Thread):
    """The home as it is now, told to the daemon once a second until :meth:`stop`."""

    def __init__(self, netifyd: StandIn) -> None:
        super().__init__(daemon=True)
        self._netifyd = netifyd
        self._ending = threading.Event()

    def stop(self) -> None:
        self._ending.set()
        self.join()

    def run(self) -> None:
        teller, rng, began = Teller(), random.Random(3), time.time()
        live = [
            (_digest("now", member.ip, habit), member, habit)
            for member in HOME
            for habit in member.habits
            if habit.since_s is not None
        ]
        self._netifyd.accept()
        records = []
        for digest, member, habit in live:
            first = int((began - (habit.since_s or 0)) * 1000)
            records.append(teller.flow(digest, member, habit, first, int(began * 1000)))
        self._send(records)
        while not self._ending.wait(1):
            at_ms = int(time.time() * 1000)
            stats = []
            for digest, _, habit in live:
                level = (0.7 + 0.6 * rng.random()) / 8
                stats.append(teller.stats(digest, habit.up * level, habit.down * level, at_ms))
            self._send(stats)

    def _send(self, records: list[Record]) -> None:
        self._netifyd.send(framed(*(json.dumps(record).encode() + b"\n" for record in records)))


def _crowd_flow(device: int, index: int) -> tuple[str, str, Habit]:
    digest = _digest("crowd", device, index)
    mac = f"02:00:00:00:{device >> 8:02x}:{device & 255:02x}"
    habits = [habit for member in HOME for habit in member.habits]
    return digest, mac, habits[(device * 7 + index * 3) % len(habits)]


def crowd(book: Book, devices: int, flows: int) -> None:
    """Many devices with names, and as many flows, that ended some minutes ago."""
    teller, now_ms = Teller(), int(time.time() * 1000)
    each = flows // devices
    for first in range(0, devices, 200):
        records: list[Record] = []
        for device in range(first, min(first + 200, devices)):
            member = Member(
                f"device-{device}", _crowd_flow(device, 0)[1], f"10.0.{device >> 8}.{device & 255}", ()
            )
            records += teller.naming(member, now_ms - 600_000)
            for index in range(each):
                digest, _, habit = _crowd_flow(device, index)
                records.append(teller.flow(digest, member, habit, now_ms - 600_000, now_ms - 300_000))
                records.append(teller.stats(digest, 1000 + device, 2000 + 17 * device, now_ms - 300_000))
                records.append(teller.purge(digest, now_ms - 300_000))
        book.flush(*records, at_ms=now_ms - 300_000)


class Crowd(Present):
    """A fifth of the crowd talks each second."""

    def __init__(self, netifyd: StandIn, devices: int) -> None:
        super().__init__(netifyd)
        self._devices = devices

    def run(self) -> None:
        teller, now_ms = Teller(), int(time.time() * 1000)
        self._netifyd.accept()
        live = []
        for device in range(self._devices):
            _, mac, habit = _crowd_flow(device, 0)
            digest = _digest("crowd now", device)
            member = Member(None, mac, f"10.0.{device >> 8}.{device & 255}", ())
            live.append(digest)
            self._send([teller.flow(digest, member, habit, now_ms, now_ms)])
        turn = 0
        while not self._ending.wait(1):
            turn += 1
            at_ms = int(time.time() * 1000)
            self._send([teller.stats(digest, 900, 4000 + turn, at_ms) for digest in live[turn % 5 :: 5]])
