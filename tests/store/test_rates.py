"""Rates: averaged over the last flush, or over as many as cover one report of netifyd."""

from __future__ import annotations

import json
from typing import Any

from real_store import (
    LAPTOP,
    NETFLIX,
    PHONE,
    YOUTUBE,
    RealStore,
)

from netify_agent.store.layout import Keys
from netify_agent.store.rates import RateWindow


def test_rates_are_of_the_last_interval_alone_when_it_covers_a_report(store: RealStore) -> None:
    store.flush(
        *(store.netifyd.flow("a"), store.netifyd.stats("a", 1500, 3000)),
        *(store.netifyd.flow("b", PHONE, YOUTUBE), store.netifyd.stats("b", 15, 30)),
        elapsed_ms=15_000,
    )

    def rates() -> dict[str, Any]:
        snapshot = store.reader.snapshot()
        return {row.name: row.rates for row in snapshot.devices} | {"gateway": snapshot.gateway.rates}

    assert rates() == {LAPTOP: (800, 1600), PHONE: (8, 16), "gateway": (808, 1616)}
    rows = store.applications(1)
    assert {row.name: row.rates for row in rows} == {NETFLIX: (800, 1600), YOUTUBE: (8, 16)}
    store.flush(store.netifyd.stats("b", 0, 7500), elapsed_ms=15_000)
    assert rates() == {LAPTOP: (0, 0), PHONE: (0, 4000), "gateway": (0, 4000)}
    store.flush(elapsed_ms=15_000)
    assert rates() == {LAPTOP: (0, 0), PHONE: (0, 0), "gateway": (0, 0)}
    assert not store.client.exists(Keys("gw1").rates)


def test_rates_of_short_intervals_are_of_as_many_as_netifyd_reports_in(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 0, 15_000), elapsed_ms=5000)
    assert store.reader.snapshot().gateway.rates == (0, 24_000)
    store.flush(elapsed_ms=5000)
    assert store.reader.snapshot().gateway.rates == (0, 12_000)
    again = store.take(elapsed_ms=5000)
    store.writer.apply(again)
    store.writer.apply(again)
    assert store.reader.snapshot().gateway.rates == (0, 8000)
    store.flush(store.netifyd.stats("a", 0, 30_000), elapsed_ms=5000)  # the next report: the first one leaves
    assert store.reader.snapshot().gateway.rates == (0, 16_000)


def test_a_crowd_at_rest_hides_no_rate(store: RealStore) -> None:
    crowd = (store.netifyd.flow(f"{i}", f"02:00:00:00:{i >> 8:02x}:{i & 255:02x}") for i in range(2100))
    store.flush(*crowd, store.netifyd.stats("7", 0, 15_000), elapsed_ms=15_000)
    assert store.reader.snapshot().gateway.rates == (0, 8000)


def test_a_flush_that_is_tried_again_stands_once_in_the_rates() -> None:
    window = RateWindow()
    for elapsed_ms in (5000, 15_000):
        for _ in range(3):
            window.begin(elapsed_ms, elapsed_ms)
            rates = window.add("", {NETFLIX: [0, elapsed_ms]})
            assert json.loads(rates) == [[0, 8000], {NETFLIX: [0, 8000]}]


def test_bytes_that_are_merely_reclassified_make_no_rate(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a", application="Unknown"), store.netifyd.stats("a", 0, 10**9))
    store.flush(elapsed_ms=15_000)
    store.flush(
        store.netifyd.flow("a", application=YOUTUBE), store.netifyd.stats("a", 0, 1500), elapsed_ms=15_000
    )
    snapshot = store.snapshot()
    rates = {tag: row.rates for tag, row in snapshot.devices[0].applications.items()}
    assert (snapshot.gateway.rates, snapshot.devices[0].rates, rates) == (
        (0, 800),
        (0, 800),
        {YOUTUBE: (0, 800)},
    )
