"""A model of a gateway's netifyd that knows the true bytes of every flow.

It shares no code with the accounting.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import Any

from reference_store import T0, Record, ReferenceStore, flow, purge, stats, status

APPS = ("Unknown", "netify.netflix", "netify.youtube", "netify.dns")
PROTOCOLS = ("Unknown", "HTTP/S", "QUIC")


@dataclass
class Life:
    """One flow, from its first packet to its last, as netifyd sees it.

    ``interface``: where it is captured. ``total`` and ``since``: bytes up, bytes down, packets up, packets
    down; of its life, and since its last record. ``reliable``: all its records reached the agent.
    """

    ends: int
    digests: list[str]
    born: int
    sides: dict[str, Any]
    described: bool
    interface: str
    app: str = "Unknown"
    protocol: str = "Unknown"
    told: bool = False
    seen: int = 0
    over: bool = False
    reliable: bool = True
    total: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    since: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    sent: list[Record] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, str]:
        """Device, application and protocol that its bytes belong to, by what was told."""
        return (device(self.sides, "local"), self.app, self.protocol) if self.told else ("", *APPS[:1] * 2)

    @property
    def peer(self) -> str:
        local = self.told and self.sides["other_type"] == "local"
        return device(self.sides, "other") if local else ""


def host(life: Life) -> str:
    """A name that no other flow has."""
    return f"{life.ends} {life.born}"


def device(sides: dict[str, Any], side: str) -> str:
    mac, ip = sides[f"{side}_mac"], sides[f"{side}_ip"]
    return str(mac if mac not in (None, "00:00:00:00:00:00") else ip or "")


class Network:
    """A netifyd of version 4 or 5, and the flows that it sees."""

    def __init__(self, random: Random, store: ReferenceStore, *, chains: bool, reuse: bool = True) -> None:
        self.random, self.store, self.chains, self.reuse = random, store, chains, reuse
        self.now = T0
        self.started = T0 - 100_000
        self.lives: list[Life] = []
        self.live: list[Life] = []
        self.latest: dict[int, Life] = {}  # of each two ends
        self.deaf = False  # what netifyd says now reaches nobody
        store.connect(self.status())

    # -- what netifyd says -----------------------------------------------------------------------

    def status(self) -> Record:
        return status((self.now - self.started) // 1000, at=self.now)

    def say(self, life: Life, record: Record) -> None:
        record["interface"] = life.interface
        if self.chains:
            record["flow"]["digest_prev"] = life.digests[:-1]
        if self.deaf:
            life.reliable = False
            return
        life.sent.append(record)
        self.store.feed(record)

    def describe(self, life: Life) -> None:
        """Tell what the flow is; as another application (v5: under another digest) than before."""
        random = self.random
        if self.deaf:
            return  # what nobody was told is not the truth that we are after
        app, protocol = random.choice(APPS), random.choice(PROTOCOLS)
        if life.told and self.chains and app != life.app:
            digest = f"{life.ends}-{app}"
            if digest not in life.digests:
                life.digests.append(digest)
        life.app, life.protocol, life.told = app, protocol, True
        seen = max(life.seen, life.born)
        self.say(
            life,
            flow(
                life.digests[-1],
                app,
                born=life.born,
                last_seen_at=seen,
                detected_protocol_name=protocol,
                host_server_name=host(life),
                **life.sides,
            ),
        )

    def count(self, life: Life, *, last: bool = False) -> None:
        """Send the counters of the interval that ends now."""
        up, down, packets_up, packets_down = life.since
        life.since = [0, 0, 0, 0]
        more: dict[str, Any] = {
            "local_packets": packets_up,
            "other_packets": packets_down,
            "total_packets": life.total[2] + life.total[3],
        }
        kind = purge if last else stats
        self.say(life, kind(life.digests[-1], up, down, sum(life.total[:2]), at=life.seen, **more))

    # -- what happens ----------------------------------------------------------------------------

    def begin(self) -> None:
        """A flow begins: between new ends, or again between those of one that is over."""
        random = self.random
        self.now += 1
        old = random.choice(list(self.latest.values())) if self.reuse and self.latest else None
        if old is not None and (not old.over or not old.reliable or random.random() < 0.5):
            old = None
        ends = old.ends if old else len(self.lives)
        sides = old.sides if old else self.sides()
        described = bool(old) or random.random() < 0.8
        life = Life(ends, [f"{ends}-first"], self.now, sides, described, f"br{ends % 2}")
        self.lives.append(life)
        self.live.append(life)
        self.latest[ends] = life
        self.carry(life)
        if described and random.random() < 0.6:
            self.describe(life)

    def sides(self) -> dict[str, Any]:
        random = self.random
        number, other = random.sample(range(1, 5), 2)
        with_mac = {"local_mac": f"02:00:00:00:00:0{number}", "local_ip": f"10.0.0.{number}"}
        # Hosts of their own: what moves when a MAC address becomes known is tested for itself.
        without = {
            "local_mac": "00:00:00:00:00:00",
            "local_ip": random.choice([f"10.8.0.{number}"] * 5 + [None]),
        }
        return {
            **random.choice([with_mac, with_mac, with_mac, {**without, "local_mac": None}, without]),
            "other_mac": f"02:00:00:00:00:0{other}",
            "other_ip": f"10.0.0.{other}",
            "other_type": random.choice(["remote", "remote", "local"]),
        }

    def carry(self, life: Life) -> None:
        """Packets, one of them at least, that nobody has been told of yet."""
        self.now += self.random.randint(1, 5000)
        life.seen = self.now
        packets = [self.random.randint(1, 5), self.random.choice([0, 1, 7])]
        amounts = [
            packets[0] * self.random.choice([60, 61, 1500]),
            packets[1] * self.random.choice([60, 1499]),
        ]
        for index, amount in enumerate([*amounts, *packets]):
            life.total[index] += amount
            life.since[index] += amount

    def end(self, life: Life) -> None:
        late = life.described and not life.told
        if late and self.random.random() < 0.5 and not self.deaf:
            self.describe(life)
            late = False
        self.count(life, last=True)
        if late:
            self.describe(life)
        life.over = True
        self.live.remove(life)

    def repeat(self) -> None:
        """A record comes again: any with counters, or the last description."""
        lives = [life for life in self.latest.values() if life.sent and not self.deaf]
        if lives:
            sent = self.random.choice(lives).sent
            described = [record for record in sent if record["type"] == "flow"]
            record = self.random.choice(sent)
            if record["type"] == "flow" and not self.chains:
                record = described[-1]  # an earlier one, arriving last, is what the flow is
            elif record["type"] == "flow" and record["flow"]["digest"] == described[-1]["flow"]["digest"]:
                record = described[-1]
            self.store.feed(record)

    def flush(self) -> None:
        self.store.flush(self.store.bucket + self.random.choice([0, 0, 300]))

    def crash(self, *, restore: bool = True) -> None:
        """The agent dies; the next one can't know a flow that was over or let go, nor its earlier digests."""
        for life in self.lives:
            if life.over or life.digests[-1] not in self.store.flows or len(life.digests) > 1:
                life.sent.clear()
        self.store.crash(restore=restore)
        self.store.connect(self.status())

    def restart(self) -> None:
        """netifyd restarts, and ends its flows without a word."""
        for life in self.live:
            life.over = True
            life.reliable = life.reliable and not any(life.since)
        self.live.clear()
        self.latest.clear()  # that the next record of a digest is of another netifyd is proven elsewhere
        self.now += 1000
        self.started = self.now
        self.now += self.random.randint(0, 20_000)
        self.store.connect(self.status())

    def step(self) -> None:
        action = self.random.random()
        if action < 0.15 or not self.live:
            self.begin()
            return
        life = self.random.choice(self.live)
        if action < 0.6:
            for _ in range(self.random.randint(0, 2)):
                self.carry(life)
            self.count(life)
        elif action < 0.7 and life.described:
            self.describe(life)
        elif action < 0.8:
            self.end(life)
        elif action < 0.9:
            self.repeat()
        elif action < 0.95:
            self.flush()
        else:
            self.store.feed(self.status())

    def finish(self) -> None:
        """All flows that are live say where they stand, and what they are."""
        self.deaf = False
        for life in list(self.live):
            if life.described and not life.told:
                self.describe(life)
            # Of version 5, what nobody described may go on under another digest as long as it lives.
            self.count(life, last=self.chains or not life.told or self.random.random() < 0.5)
        self.flush()

    # -- the truth -------------------------------------------------------------------------------

    def truth(self) -> tuple[Any, ...]:
        """The gateway's counters, and those by device, by device and application, and protocol."""
        gateway = [0, 0, 0, 0, 0]
        devices: defaultdict[Any, list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
        apps, protocols = devices.copy(), devices.copy()
        for life in self.lives:
            counts = [*life.total, 1]
            swapped = [counts[1], counts[0], counts[3], counts[2], 1]
            name, app, protocol = life.key
            rows = [gateway, apps["", app], protocols["", protocol]]
            if name:
                rows += [devices[name], apps[name, app], protocols[name, protocol]]
            mirrored = [devices[life.peer], apps[life.peer, app], protocols[life.peer, protocol]]
            for row, values in [(row, counts) for row in rows] + [
                (row, swapped) for row in mirrored if life.peer
            ]:
                for index, value in enumerate(values):
                    row[index] += value
        return gateway, *(present(rows) for rows in (devices, apps, protocols))

    def local(self) -> dict[str, list[int]]:
        """Bytes up and down of flows between two devices, by device; those of the gateway under ""."""
        rows: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        for life in self.lives:
            if life.peer:
                up, down = life.total[:2]
                for name in {"", life.key[0]}:
                    rows[name][0] += up
                    rows[name][1] += down
                rows[life.peer][0] += down
                rows[life.peer][1] += up
        return present(rows)

    def interfaces(self) -> dict[str, list[int]]:
        """Bytes up and down, packets up and down of the gateway by interface."""
        rows: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        for life in self.lives:
            for index, value in enumerate(life.total):
                rows[life.interface][index] += value
        return present(rows)


def present(rows: dict[Any, list[int]]) -> dict[Any, list[int]]:
    return {name: row for name, row in rows.items() if any(row)}
