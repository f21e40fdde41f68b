"""Reads belong to one flush, and cost a fixed number of round trips."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from store_book import (
    HISTORY,
    LAPTOP,
    NETFLIX,
    PHONE,
    Book,
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


def test_readers_see_whole_flushes_only(book: Book) -> None:
    """Every flush adds as much to the gateway as to its devices, and one device more."""

    def flush() -> None:
        for number in range(60):
            name, mac = f"f{number}", f"02:00:00:00:01:{number:02x}"
            book.flush(book.netifyd.flow(name, mac), book.netifyd.stats(name, 10, 100))
            time.sleep(0.01)

    thread = threading.Thread(target=flush)
    thread.start()
    sequences = set()
    try:
        while thread.is_alive():
            try:
                snapshot = book.reader.snapshot()
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
    book: Book, read: Callable[[StoreReader], Any]
) -> None:
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 100))
    with pytest.raises(StoreError, match="flushes come faster than they can be read"):
        read(StoreReader(FlushedWithinEachPipeline(book.client), "gw1"))


class FlushedBetweenQueries(StoreReader):
    """A flush, as long as there are any, precedes each query that continues another one."""

    def __init__(self, book: Book, flushes: int) -> None:
        super().__init__(book.client, "gw1")
        self._book, self._flushes = book, flushes

    def query(self, flush: FlushStamp | None = None) -> Query:
        if flush is not None and self._flushes:
            self._flushes -= 1
            self._book.flush(self._book.netifyd.flow("b", PHONE), self._book.netifyd.stats("b", 1, 2))
        return super().query(flush)


def test_a_read_of_several_steps_is_repeated_when_a_flush_comes_between(book: Book) -> None:
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 100))
    snapshot = FlushedBetweenQueries(book, 1).snapshot()
    assert (snapshot.flush.sequence, {row.name for row in snapshot.devices}) == (2, {LAPTOP, PHONE})
    page = FlowReader(FlushedBetweenQueries(book, 2)).page(FlowFilter(), 10)
    (phone,) = (row for row in page.rows if row.digest == "b")
    assert (page.flush.sequence, phone.state.bytes_down) == (4, 6)


@pytest.mark.parametrize("read", [READS["snapshot"], READS["flows"], READS["application"], READS["traffic"]])
def test_a_read_of_several_steps_gives_up_when_flushes_never_stop(
    book: Book, read: Callable[[StoreReader], Any]
) -> None:
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 100))
    with pytest.raises(StoreError, match="flushes come faster"):
        read(FlushedBetweenQueries(book, 100))


def test_details_are_not_added_to_an_older_snapshot(book: Book) -> None:
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 100))
    network, applications, protocols = (
        book.reader.snapshot(),
        book.usage.applications(),
        book.usage.protocols(),
    )
    book.flush()
    adding: list[Callable[[], None]] = [
        lambda: book.reader.add_details(network, network.devices),
        lambda: book.usage.add_application_users(applications.flush, applications.rows, 10),
        lambda: book.usage.add_protocol_users(protocols.flush, protocols.rows, 10),
    ]
    for add in adding:
        with pytest.raises(FlushedMeanwhile):
            add()


def test_round_trips_do_not_grow_with_the_network(book: Book) -> None:
    trips = 0
    pool = book.reader.client.connection_pool

    class Counting(pool.connection_class):  # type: ignore[name-defined, misc]
        def send_packed_command(self, *args: Any, **options: Any) -> Any:
            nonlocal trips
            trips += 1
            return super().send_packed_command(*args, **options)

    pool.connection_class = Counting

    history = HistoryReader(book.reader.client, "gw1", HISTORY)
    past(history, LAPTOP, 300, [0])  # connects

    def count(call: Callable[[], Any]) -> int:
        nonlocal trips
        trips = 0
        call()
        return trips

    calls: dict[str, Callable[[], Any]] = {
        "snapshot": book.reader.snapshot,
        "snapshot with details": book.snapshot,
        "device": lambda: book.reader.device(LAPTOP),
        "applications": lambda: book.applications(10),
        "application": lambda: book.usage.application(NETFLIX),
        "protocols": lambda: book.protocols(10),
        "history": lambda: past(history, LAPTOP, 300, range(0, 300 * 2000, 300)),
        "meta": book.reader.meta,
        "last flush": book.reader.last_flush,
        "knows": lambda: book.reader.knows(LAPTOP),
        "flows": lambda: book.flows.page(FlowFilter(min_risk=1), 10),
        "flows of both": lambda: book.flows.page(FlowFilter(LAPTOP, NETFLIX), 10, FlowPosition(1 << 41, "a")),
        "risks": lambda: book.flows.risks(LAPTOP, flush),
        "traffic": lambda: MetricsReader(book.reader).traffic(10, 60_000),
        "changes": lambda: ChangesReader(book.reader).changes([LAPTOP], 1, 2, 60_000),
        "counters": book.reader.counters,
    }
    risks = {"risks": {"ndpi_risk_score": 10, "risks": [46]}}
    book.flush(book.netifyd.flow("a", **risks), book.netifyd.stats("a", 1, 2))
    book.reader.ping()
    flush = book.reader.last_flush()
    few = {name: count(call) for name, call in calls.items()}
    for number in range(300):
        digest, mac = f"d{number}", f"02:00:00:00:{number // 256 + 1:02x}:{number % 256:02x}"
        book.feed(book.netifyd.flow(digest, mac, f"app{number}"), book.netifyd.stats(digest, 1, 2))
    book.flush()
    flush = book.reader.last_flush()
    assert len(book.reader.snapshot().devices) == 301
    assert {name: count(call) for name, call in calls.items()} == few
    assert few == {
        "snapshot": 2, "snapshot with details": 3, "device": 1,
        "applications": 2, "application": 2, "protocols": 2,
        "history": 3, "meta": 1, "last flush": 1, "knows": 1, "counters": 1,
        "flows": 5, "flows of both": 6, "risks": 2, "traffic": 3, "changes": 2,
    }  # fmt: skip
