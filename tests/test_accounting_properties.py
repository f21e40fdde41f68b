"""The accounting against a model that shares no logic with it: a gateway's flows, and what they carried.

The model acts as netifyd would, knows the truth of every flow, and lets the stream suffer what streams
suffer. What must hold is stated in the tests; that no row is ever negative and that all sums agree is
checked by the books at each flush.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import Any

from books import SOURCE, T0, Books, Record, flow, purge, stats, status
from hypothesis import given, settings
from hypothesis import strategies as st

from netify_agent.accounting import Accountant
from netify_agent.batch import Instance

APPS = ("Unknown", "netify.netflix", "netify.youtube", "netify.dns")
PROTOCOLS = ("Unknown", "HTTP/S", "QUIC")
seeds = st.integers(0, 1 << 32)  # of the network; a shorter run of the same seed is a shorter history
thorough = settings(max_examples=500)


@dataclass
class Life:
    """One flow, from its first packet to its last, as netifyd sees it.

    ``total`` and ``since``: bytes up, bytes down, packets up, packets down; of its life, and since its
    last record. ``reliable``: all its records reached the agent.
    """

    ends: int
    digests: list[str]
    born: int
    sides: dict[str, Any]
    described: bool
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

    def __init__(self, random: Random, books: Books, *, chains: bool, reuse: bool = True) -> None:
        self.random, self.books, self.chains, self.reuse = random, books, chains, reuse
        self.now = T0
        self.started = T0 - 100_000
        self.lives: list[Life] = []
        self.live: list[Life] = []
        self.latest: dict[int, Life] = {}  # of each two ends
        self.deaf = False  # what netifyd says now reaches nobody
        books.connect(self.status())

    # -- what netifyd says -----------------------------------------------------------------------

    def status(self) -> Record:
        return status((self.now - self.started) // 1000, at=self.now)

    def say(self, life: Life, record: Record) -> None:
        if self.chains:
            record["flow"]["digest_prev"] = life.digests[:-1]
        if self.deaf:
            life.reliable = False
            return
        life.sent.append(record)
        self.books.feed(record)

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
        life = Life(ends, [f"{ends}-first"], self.now, sides, described)
        self.lives.append(life)
        self.live.append(life)
        self.latest[ends] = life
        self.carry(life)
        if described and random.random() < 0.6:
            self.describe(life)

    def sides(self) -> dict[str, Any]:
        random = self.random
        number, other = random.sample(range(1, 5), 2)
        mac = f"02:00:00:00:00:0{number}"
        return {
            "local_mac": random.choice([mac, mac, mac, "00:00:00:00:00:00", None]),
            "local_ip": random.choice([f"10.0.0.{number}"] * 5 + [None]),
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
            self.books.feed(record)

    def flush(self) -> None:
        self.books.flush(self.books.bucket + self.random.choice([0, 0, 300]))

    def crash(self, *, restore: bool = True) -> None:
        """The agent dies; the next one can't know a flow that was over or let go, nor its earlier digests."""
        for life in self.lives:
            if life.over or life.digests[-1] not in self.books.flows or len(life.digests) > 1:
                life.sent.clear()
        self.books.crash(restore=restore)
        self.books.connect(self.status())

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
        self.books.connect(self.status())

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
            self.books.feed(self.status())

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
        return gateway, *(_present(rows) for rows in (devices, apps, protocols))


def _present(rows: dict[Any, list[int]]) -> dict[Any, list[int]]:
    return {name: row for name, row in rows.items() if any(row)}


def found(books: Books) -> tuple[Any, ...]:
    """What the books say, in the shape of the truth."""
    devices = {name: row for name, row in books.totals.items() if name}
    apps = {(name, tag): row for name, rows in books.applications.items() for tag, row in rows.items()}
    protocols = {(name, tag): row for name, rows in books.protocols.items() for tag, row in rows.items()}
    return books.totals[""], *(_present(rows) for rows in (devices, apps, protocols))


def check_shown(books: Books, network: Network) -> None:
    """Each flow is shown as what it was told to be, whatever its digest: the latest of its two ends."""
    assert books.details.keys() <= books.flows.keys() | books.ended.keys()
    for life in network.latest.values():
        digest = life.digests[-1]
        live, ended = books.flows.get(digest), books.ended.get(digest)
        assert (live is None) != (ended is None)
        if life.told:
            assert books.details[digest].host == host(life)
        state = live or ended
        assert state is not None
        shown = state.bytes_up, state.bytes_down, state.packets_up, state.packets_down
        assert shown == tuple(life.total)
        assert (state.key.device or "", state.key.application, state.key.protocol) == life.key


def both(books: Books) -> int:
    return sum(books.totals[""][:2])


# -- nothing is lost -------------------------------------------------------------------------------------


@thorough
@given(seeds, st.booleans(), st.integers(1, 80), st.sampled_from([1, 2, 5, 1000]))
def test_without_loss_every_row_is_the_truth_in_each_direction(
    seed: int, chains: bool, steps: int, max_flows: int
) -> None:
    """Even where the table is so small that flows are let go, and come back, all the time."""
    books = Books(max_flows)
    random = Random(seed)
    network = Network(random, books, chains=chains)
    for _ in range(steps):
        network.step()
    network.finish()

    assert found(books) == network.truth()
    assert books.counters["bytes_missed"] == books.counters["bytes_before"] == 0
    assert books.counters["records_contradictory"] == 0
    assert len(books.flows) == books.accountant.live_flows
    check_shown(books, network)


@thorough
@given(seeds, st.booleans(), st.integers(1, 80))
def test_agents_that_stop_in_order_and_netifyds_that_restart_lose_nothing(
    seed: int, chains: bool, steps: int
) -> None:
    """The agent flushes before it stops; netifyd purges before it does. Records wait for the new agent."""
    books = Books()
    random = Random(seed)
    network = Network(random, books, chains=chains, reuse=False)
    for _ in range(steps):
        event = random.random()
        if event < 0.05:
            books.flush()
            network.crash(restore=random.random() < 0.5)
            if random.random() < 0.5:
                for life in network.live[:2]:
                    network.carry(life)
                    network.count(life)
            if not books.accountant._horizon.restored:
                books.restore()
        elif event < 0.08:
            for life in list(network.live):
                network.end(life)
            network.restart()
        else:
            network.step()
    network.finish()

    assert found(books) == network.truth()
    assert books.counters["bytes_before"] == 0
    check_shown(books, network)


# -- records are lost ------------------------------------------------------------------------------------


@thorough
@given(seeds, st.booleans(), st.integers(1, 80))
def test_what_a_flows_next_record_proves_is_counted(seed: int, chains: bool, steps: int) -> None:
    """Intervals are lost: the flow's later records bring both directions together to its total."""
    books = Books()
    random = Random(seed)
    network = Network(random, books, chains=chains, reuse=False)
    unheard: list[Life] = []
    for _ in range(steps):
        if random.random() < 0.2:
            network.deaf = not network.deaf
            if not network.deaf:
                books.connect(network.status())
        live = set(map(id, network.live))
        network.step()
        unheard += [life for life in network.lives if id(life) in live and life.over and network.deaf]
    network.finish()

    silent = {id(life) for life in unheard}
    for life in network.lives:
        if id(life) in silent or (life.over and not life.reliable and life not in network.live):
            continue
        state = books.flows.get(life.digests[-1])
        if state is not None:
            assert state.bytes_up + state.bytes_down == sum(life.total[:2])
            assert state.packets_up + state.packets_down == sum(life.total[2:])
    heard = [life for life in network.lives if id(life) not in silent]
    lower = sum(sum(life.total[:2]) for life in heard)
    upper = sum(sum(life.total[:2]) for life in network.lives)
    assert lower <= both(books) <= upper
    if not unheard:
        assert both(books) == upper


@thorough
@given(seeds, st.booleans(), st.integers(1, 80), st.booleans())
def test_an_agent_that_is_killed_recovers_what_its_flows_prove(
    seed: int, chains: bool, steps: int, waits: bool
) -> None:
    """Whatever was not flushed is lost with it; what its flows say afterwards brings their totals back."""
    books = Books()
    random = Random(seed)
    network = Network(random, books, chains=chains, reuse=False)
    flushed = 0
    settled: set[int] = set()  # lives that were over at a flush, so that none of it can be lost
    lost: list[Life] = []
    for _ in range(steps):
        event = random.random()
        if event < 0.08:
            lost += [life for life in network.lives if life.over and id(life) not in settled]
            network.crash(restore=not waits)
            if waits:
                for life in network.live[:3]:
                    network.carry(life)
                    network.count(life)
                books.restore()
        elif event < 0.2:
            network.flush()
            flushed += 1
            settled |= {id(life) for life in network.lives if life.over}
        else:
            network.step()
    network.finish()

    gone = {id(life) for life in lost}
    truth = sum(sum(life.total[:2]) for life in network.lives)
    certain = sum(sum(life.total[:2]) for life in network.lives if id(life) not in gone)
    assert certain <= both(books) <= truth
    if not gone:
        assert both(books) == truth


@thorough
@given(seeds, st.booleans(), st.integers(1, 80), st.integers(1, 6))
def test_nothing_is_counted_twice_whatever_happens(
    seed: int, chains: bool, steps: int, max_flows: int
) -> None:
    """Kills, deafness, restarts, a table far too small, a store that loses all: never above the truth."""
    books = Books(max_flows)
    random = Random(seed)
    network = Network(random, books, chains=chains)
    for _ in range(steps):
        event = random.random()
        if event < 0.05:
            network.crash()
        elif event < 0.1:
            network.deaf = not network.deaf
        elif event < 0.13:
            network.restart()
        elif event < 0.15:
            books = network.books = books.lose()
        else:
            network.step()
    network.finish()

    truth = sum(sum(life.total[:2]) for life in network.lives)
    assert both(books) <= truth


# -- anything at all -------------------------------------------------------------------------------------

FIELDS = [
    *flow("a")["flow"],
    *stats("a", 0, 0, 0)["flow"],
    *("digest_prev", "category", "dhcp", "mdns", "local_port", "other_port", "host_server_name", "risks"),
]
digests = st.sampled_from(["a", "b", "c"])
numbers = st.integers() | st.integers(0, 100) | st.just(T0)
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=True) | st.text(max_size=5) | digests,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | digests, inner, max_size=3)
    ),
    max_leaves=5,
)
flow_fields = st.dictionaries(st.sampled_from(FIELDS), anything)


@st.composite
def any_records(draw: st.DrawFn) -> Record:
    """A record that is right but for a few fields, or none at all."""
    kind = draw(st.sampled_from(["flow", "flow_stats", "flow_purge", "agent_status", "endpoints", "else"]))
    if kind == "agent_status":
        fields = st.sampled_from(["uptime", "timestamp", "flow_count", "devices"])
        return {**status(draw(numbers)), **draw(st.dictionaries(fields, anything))}
    if kind == "endpoints":
        return {**draw(st.dictionaries(st.text(max_size=18), anything, max_size=2)), "type": kind}
    amount = st.integers(0, 500)
    good = (
        flow(draw(digests))
        if kind == "flow"
        else stats(draw(digests), draw(amount), draw(amount), draw(amount))
    )
    inner = {**good["flow"], "last_seen_at": T0 + draw(amount), **draw(flow_fields)}
    return {**good, "type": kind, "flow": draw(st.just(inner) | st.just(inner) | anything)}


@settings(max_examples=500)
@given(st.lists(any_records(), max_size=12), st.integers(1, 5))
def test_no_records_at_all_raise(records: list[Record], max_flows: int) -> None:
    """And the books stay in order: sums agree, nothing is negative, the store's flows are the live ones."""
    books = Books(max_flows)
    books.live_through(records, flush_every=3, crash_every=7)
    assert math.isfinite(both(books))


@settings(max_examples=100)
@given(st.dictionaries(st.text(max_size=3), st.builds(Instance, st.integers(), st.integers())), st.integers())
def test_a_store_of_another_netifyd_or_time_is_no_crash(instances: dict[str, Instance], epoch: int) -> None:
    accountant = Accountant(10)
    accountant.feed([status(), flow("a"), stats("a", 1, 2, 30)], SOURCE)
    accountant.restore({}, epoch, 0, instances)

    assert accountant.live_flows == 1
