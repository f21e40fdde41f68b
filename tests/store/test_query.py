"""Reads belong to one flush, and cost a fixed number of round trips."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from real_store import (
    HISTORY,
    LAPTOP,
    NETFLIX,
    PHONE,
    RealStore,
    past,
)

from netify_agent.config.calendar import Period
from netify_agent.store.changes_reader import ChangesReader
from netify_agent.store.client import StoreError
from netify_agent.store.flow_reader import FlowFilter, FlowPosition, FlowReader
from netify_agent.store.history_reader import HistoryReader
from netify_agent.store.metrics_reader import MetricsReader
from netify_agent.store.query import FlushedMeanwhile, FlushStamp, Query
from netify_agent.store.reader import StoreReader
from netify_agent.store.usage_reader import UsageReader


def test_readers_see_whole_flushes_only(store: RealStore) -> None:
    """Every flush adds as much to the gateway as to its devices, and one device more."""

    def flush() -> None:
        for number in range(60):
            name, mac = f"f{number}", f"02:00:00:00:01:{number:02x}"
            store.flush(store.netifyd.flow(name, mac), store.netifyd.stats(name, 10, 100))
            time.sleep(0.01)

    thread = threading.Thread(target=flush)
    thread.start()
    sequences = set()
    try:
        while thread.is_alive():
            try:
                snapshot = store.reader.snapshot()
            except StoreError:
                continue  # too many flushes came between
            sequence = snapshot.flush.sequence
            sequences.add(sequence)
            assert len(snapshot.devices) == sequence
            assert snapshot.gateway.counters["bytes_down"] == 100 * sequence
            assert all(row.counters["bytes_down"] == 100 for row in snapshot.devices)
    finally:
        thread.join()
    assert len(sequences) > 3


READS: dict[str, Callable[[StoreReader], Any]] = {
    "snapshot": lambda reader: reader.snapshot(),
    "device": lambda reader: reader.device(LAPTOP),
    "history": lambda reader: HistoryReader(reader.client, "gw1", HISTORY).buckets(
        LAPTOP, 300, [Period(0, 300)]
    ),
    "applications": lambda reader: UsageReader(reader).applications(),
    "protocols": lambda reader: UsageReader(reader).protocols(),
    "application": lambda reader: UsageReader(reader).application(NETFLIX),
    "flows": lambda reader: FlowReader(reader).page(FlowFilter(), 10),
    "traffic": lambda reader: MetricsReader(reader).traffic(10, 60_000),
    "changes": lambda reader: ChangesReader(reader).changes([LAPTOP], 1, 2, 60_000),
}


class FlushedWithinEachPipeline:
    """A client of Redis. The sequence number grows before it is read a second time."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.connection_pool = client.connection_pool

    def pipeline(self, transaction: bool) -> Any:
        pipe = self._client.pipeline(transaction=transaction)
        hget = pipe.hget

        def flush_and_hget(key: str, field: str) -> Any:
            if field == "seq":
                pipe.hincrby(key, "seq", 1)
            return hget(key, field)

        pipe.hget = flush_and_hget
        return pipe


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_read_that_flushes_interrupt_every_time_is_an_error(
    store: RealStore, read: Callable[[StoreReader], Any]
) -> None:
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 100))
    with pytest.raises(StoreError, match="flushes come faster than they can be read"):
        read(StoreReader(FlushedWithinEachPipeline(store.client), "gw1"))


class FlushedBetweenQueries(StoreReader):
    """A flush, as long as there are any, precedes each query that continues another one."""

    def __init__(self, store: RealStore, flushes: int) -> None:
        super().__init__(store.client, "gw1")
        self._store, self._flushes = store, flushes

    def query(self, flush: FlushStamp | None = None) -> Query:
        if flush is not None and self._flushes:
            self._flushes -= 1
            self._store.flush(self._store.netifyd.flow("b", PHONE), self._store.netifyd.stats("b", 1, 2))
        return super().query(flush)


def test_a_read_of_several_steps_is_repeated_when_a_flush_comes_between(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 100))
    snapshot = FlushedBetweenQueries(store, 1).snapshot()
    assert (snapshot.flush.sequence, {row.name for row in snapshot.devices}) == (2, {LAPTOP, PHONE})
    page = FlowReader(FlushedBetweenQueries(store, 2)).page(FlowFilter(), 10)
    (phone,) = (row for row in page.rows if row.digest == "b")
    assert (page.flush.sequence, phone.state.bytes_down) == (4, 6)


@pytest.mark.parametrize("read", [READS["snapshot"], READS["flows"], READS["application"], READS["traffic"]])
def test_a_read_of_several_steps_gives_up_when_flushes_never_stop(
    store: RealStore, read: Callable[[StoreReader], Any]
) -> None:
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 100))
    with pytest.raises(StoreError, match="flushes come faster"):
        read(FlushedBetweenQueries(store, 100))


def test_details_are_not_added_to_an_older_snapshot(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 100))
    network, applications, protocols = (
        store.reader.snapshot(),
        store.usage.applications(),
        store.usage.protocols(),
    )
    store.flush()
    adding: list[Callable[[], None]] = [
        lambda: store.reader.add_details(network, network.devices),
        lambda: store.usage.add_application_users(applications.flush, applications.rows, 10),
        lambda: store.usage.add_protocol_users(protocols.flush, protocols.rows, 10),
    ]
    for add in adding:
        with pytest.raises(FlushedMeanwhile):
            add()


def test_round_trips_do_not_grow_with_the_network(store: RealStore) -> None:
    trips = 0
    pool = store.reader.client.connection_pool

    class Counting(pool.connection_class):  # type: ignore[name-defined, misc]
        def send_packed_command(self, *args: Any, **options: Any) -> Any:
            nonlocal trips
            trips += 1
            return super().send_packed_command(*args, **options)

    pool.connection_class = Counting

    history = HistoryReader(store.reader.client, "gw1", HISTORY)
    past(history, LAPTOP, 300, [0])  # connects

    def count(call: Callable[[], Any]) -> int:
        nonlocal trips
        trips = 0
        call()
        return trips

    calls: dict[str, Callable[[], Any]] = {
        "snapshot": store.reader.snapshot,
        "snapshot with details": store.snapshot,
        "device": lambda: store.reader.device(LAPTOP),
        "applications": lambda: store.applications(10),
        "application": lambda: store.usage.application(NETFLIX),
        "protocols": lambda: store.protocols(10),
        "history": lambda: past(history, LAPTOP, 300, range(0, 300 * 2000, 300)),
        "meta": store.reader.meta,
        "last flush": store.reader.last_flush,
        "knows": lambda: store.reader.knows(LAPTOP),
        "flows": lambda: store.flows.page(FlowFilter(min_risk=1), 10),
        "flows of both": lambda: store.flows.page(
            FlowFilter(LAPTOP, NETFLIX), 10, FlowPosition(1 << 41, "a")
        ),
        "risks": lambda: store.flows.risks(LAPTOP, flush),
        "traffic": lambda: MetricsReader(store.reader).traffic(10, 60_000),
        "changes": lambda: ChangesReader(store.reader).changes([LAPTOP], 1, 2, 60_000),
        "counters": store.reader.counters,
    }
    risks = {"risks": {"ndpi_risk_score": 10, "risks": [46]}}
    store.flush(store.netifyd.flow("a", **risks), store.netifyd.stats("a", 1, 2))
    store.reader.ping()
    flush = store.reader.last_flush()
    few = {name: count(call) for name, call in calls.items()}
    for number in range(300):
        digest, mac = f"d{number}", f"02:00:00:00:{number // 256 + 1:02x}:{number % 256:02x}"
        store.feed(store.netifyd.flow(digest, mac, f"app{number}"), store.netifyd.stats(digest, 1, 2))
    store.flush()
    flush = store.reader.last_flush()
    assert len(store.reader.snapshot().devices) == 301
    assert {name: count(call) for name, call in calls.items()} == few
    assert few == {
        "snapshot": 2, "snapshot with details": 3, "device": 1,
        "applications": 2, "application": 2, "protocols": 2,
        "history": 3, "meta": 1, "last flush": 1, "knows": 1, "counters": 1,
        "flows": 5, "flows of both": 6, "risks": 2, "traffic": 3, "changes": 2,
    }  # fmt: skip
