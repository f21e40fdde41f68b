"""The accounting against a model that shares no logic with it: a gateway's flows, and what they carried.

The model acts as netifyd would, knows the truth of every flow, and lets the stream suffer what streams
suffer. What must hold is stated in the tests; that no row is ever negative and that all sums agree is
checked by the store at each flush.
"""

from __future__ import annotations

import math
from random import Random
from typing import Any

from gateway_model import Life, Network, host, present
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_store import EMPTY, SOURCE, T0, Record, ReferenceStore, flow, stats, status

from netify_agent.accounting.accountant import Accountant
from netify_agent.accounting.batch import SourceState

seeds = st.integers(0, 1 << 32)  # of the network; a shorter run of the same seed is a shorter history
thorough = settings(max_examples=500)


def found(store: ReferenceStore) -> tuple[Any, ...]:
    """What the store say, in the shape of the truth."""
    devices = {name: row for name, row in store.totals.items() if name}
    apps = {(name, tag): row for name, rows in store.applications.items() for tag, row in rows.items()}
    protocols = {(name, tag): row for name, rows in store.protocols.items() for tag, row in rows.items()}
    return store.totals[""], *(present(rows) for rows in (devices, apps, protocols))


def check_places(store: ReferenceStore, network: Network) -> None:
    """Bytes between two devices, and those of each interface, are the truth."""
    assert present({name: store.local[name] for name in store.totals}) == network.local()
    sums: dict[str, list[int]] = {}
    for (_, name), row in store.interfaces.items():
        sums[name] = [one + more for one, more in zip(sums.get(name, EMPTY), row[:4], strict=False)]
    assert present(sums) == network.interfaces()


def check_shown(store: ReferenceStore, network: Network) -> None:
    """Each flow is shown as what it was told to be, whatever its digest: the latest of its two ends."""
    assert store.details.keys() <= store.flows.keys() | store.ended.keys()
    for life in network.latest.values():
        digest = life.digests[-1]
        live, ended = store.flows.get(digest), store.ended.get(digest)
        assert (live is None) != (ended is None)
        if life.told:
            assert store.details[digest].host == host(life)
        state = live or ended
        assert state is not None
        shown = state.bytes_up, state.bytes_down, state.packets_up, state.packets_down
        assert shown == tuple(life.total)
        assert (state.key.device or "", state.key.application, state.key.protocol) == life.key


def both(store: ReferenceStore) -> int:
    return sum(store.totals[""][:2])


# -- nothing is lost -------------------------------------------------------------------------------------


@thorough
@given(seeds, st.booleans(), st.integers(1, 80), st.sampled_from([1, 2, 5, 1000]))
def test_without_loss_every_row_is_the_truth_in_each_direction(
    seed: int, chains: bool, steps: int, max_flows: int
) -> None:
    """Even where the table is so small that flows are let go, and come back, all the time."""
    store = ReferenceStore(max_flows)
    random = Random(seed)
    network = Network(random, store, chains=chains)
    for _ in range(steps):
        network.step()
    network.finish()

    assert found(store) == network.truth()
    assert store.counters["bytes_missed"] == store.counters["bytes_before"] == 0
    assert store.counters["records_contradictory"] == 0
    assert len(store.flows) == store.accountant.live_flows
    check_places(store, network)
    check_shown(store, network)


class Site:
    """What a network sees of a store that listens to several sources."""

    def __init__(self, store: ReferenceStore, source: str) -> None:
        self._store, self._source = store, source
        self.flush = store.flush

    @property
    def bucket(self) -> int:
        return self._store.bucket

    def feed(self, *records: Record) -> None:
        self._store.feed(*records, source=self._source)

    def connect(self, *records: Record) -> None:
        self._store.connect(*records, source=self._source)


@thorough
@given(seeds, st.booleans(), st.integers(1, 80), st.sampled_from([1, 2, 5, 1000]))
def test_sites_with_the_same_digests_add_up(seed: int, chains: bool, steps: int, max_flows: int) -> None:
    store = ReferenceStore(max_flows)
    random = Random(seed)
    networks = [
        Network(random, Site(store, source), chains=chains)  # type: ignore[arg-type]
        for source in (SOURCE, "tcp://10.0.0.2:7150")
    ]
    for _ in range(steps):
        random.choice(networks).step()
    for network in networks:
        network.finish()

    one, other = (network.truth() for network in networks)
    gateway = [sum(pair) for pair in zip(one[0], other[0], strict=True)]
    rows = [
        {
            name: [sum(pair) for pair in zip(mine.get(name, EMPTY), theirs.get(name, EMPTY), strict=True)]
            for name in mine.keys() | theirs.keys()
        }
        for mine, theirs in zip(one[1:], other[1:], strict=True)
    ]
    assert found(store) == (gateway, *rows)
    assert store.counters["bytes_missed"] == store.counters["bytes_before"] == 0


@thorough
@given(seeds, st.booleans(), st.integers(1, 80))
def test_agents_that_stop_in_order_and_netifyds_that_restart_lose_nothing(
    seed: int, chains: bool, steps: int
) -> None:
    """The agent flushes before it stops; netifyd purges before it does. Records wait for the new agent."""
    store = ReferenceStore()
    random = Random(seed)
    network = Network(random, store, chains=chains, reuse=False)
    for _ in range(steps):
        event = random.random()
        if event < 0.05:
            store.flush()
            network.crash(restore=random.random() < 0.5)
            if random.random() < 0.5:
                for life in network.live[:2]:
                    network.carry(life)
                    network.count(life)
            if not store.restored:
                store.restore()
        elif event < 0.08:
            for life in list(network.live):
                network.end(life)
            network.restart()
        else:
            network.step()
    network.finish()

    assert found(store) == network.truth()
    assert store.counters["bytes_before"] == 0
    check_places(store, network)
    check_shown(store, network)


# -- records are lost ------------------------------------------------------------------------------------


@thorough
@given(seeds, st.booleans(), st.integers(1, 80))
def test_what_a_flows_next_record_proves_is_counted(seed: int, chains: bool, steps: int) -> None:
    """Intervals are lost: the flow's later records bring both directions together to its total."""
    store = ReferenceStore()
    random = Random(seed)
    network = Network(random, store, chains=chains, reuse=False)
    unheard: list[Life] = []
    for _ in range(steps):
        if random.random() < 0.2:
            network.deaf = not network.deaf
            if not network.deaf:
                store.connect(network.status())
        live = set(map(id, network.live))
        network.step()
        unheard += [life for life in network.lives if id(life) in live and life.over and network.deaf]
    network.finish()

    silent = {id(life) for life in unheard}
    for life in network.lives:
        if id(life) in silent or (life.over and not life.reliable and life not in network.live):
            continue
        state = store.flows.get(life.digests[-1])
        if state is not None:
            assert state.bytes_up + state.bytes_down == sum(life.total[:2])
            assert state.packets_up + state.packets_down == sum(life.total[2:])
    heard = [life for life in network.lives if id(life) not in silent]
    lower = sum(sum(life.total[:2]) for life in heard)
    upper = sum(sum(life.total[:2]) for life in network.lives)
    assert lower <= both(store) <= upper
    if not unheard:
        assert both(store) == upper


@thorough
@given(seeds, st.booleans(), st.integers(1, 80), st.booleans())
def test_an_agent_that_is_killed_recovers_what_its_flows_prove(
    seed: int, chains: bool, steps: int, waits: bool
) -> None:
    """Whatever was not flushed is lost with it; what its flows say afterwards brings their totals back."""
    store = ReferenceStore()
    random = Random(seed)
    network = Network(random, store, chains=chains, reuse=False)
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
                store.restore()
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
    assert certain <= both(store) <= truth
    if not gone:
        assert both(store) == truth


@thorough
@given(seeds, st.booleans(), st.integers(1, 80), st.integers(1, 6))
def test_nothing_is_counted_twice_whatever_happens(
    seed: int, chains: bool, steps: int, max_flows: int
) -> None:
    """Kills, deafness, restarts, a table far too small, a store that loses all: never above the truth."""
    store = ReferenceStore(max_flows)
    random = Random(seed)
    network = Network(random, store, chains=chains)
    for _ in range(steps):
        event = random.random()
        if event < 0.05:
            network.crash()
        elif event < 0.1:
            network.deaf = not network.deaf
        elif event < 0.13:
            network.restart()
        elif event < 0.15:
            store = network.store = store.lose()
        else:
            network.step()
    network.finish()

    truth = sum(sum(life.total[:2]) for life in network.lives)
    assert both(store) <= truth


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
    """And the store stay in order: sums agree, nothing is negative, the store's flows are the live ones."""
    store = ReferenceStore(max_flows)
    store.live_through(records, flush_every=3, crash_every=7)
    assert math.isfinite(both(store))


@settings(max_examples=100)
@given(
    st.dictionaries(
        st.sampled_from([SOURCE, "tcp://other"]),
        st.builds(
            SourceState, st.none() | st.integers(), st.integers(), st.none() | st.integers(), st.integers()
        ),
    )
)
def test_a_store_of_another_netifyd_or_time_is_no_crash(sources: dict[str, SourceState]) -> None:
    accountant = Accountant(10)
    accountant.feed([status(), flow("a"), stats("a", 1, 2, 30)], SOURCE)
    accountant.restore({}, sources)

    assert accountant.live_flows == 1
