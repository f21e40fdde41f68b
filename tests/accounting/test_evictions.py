"""The bounds of the flow table: evicted, idle and resumed flows. Bytes are (up, down)."""

from __future__ import annotations

from typing import Any

import pytest
from reference_store import MAC, SOURCE, T0, ReferenceStore, flow, purge, stats, status

# -- evicted flows ---------------------------------------------------------------------------------------


def test_a_purged_flow_whose_total_goes_on_is_resumed(store: ReferenceStore) -> None:
    store.feed(flow("a"), purge("a", 10, 20, 30)).flush()
    store.feed(stats("a", 1, 2, 33), stats("a", 1, 2, 36)).flush()

    assert store.device() == (12, 24)
    assert store.count() == 1
    assert store.flows.keys() == {"a"}


def test_beyond_the_bound_the_least_recently_seen_flow_is_evicted_and_counted() -> None:
    store = ReferenceStore(2).connect(status())
    store.feed(flow("a"), flow("b"), stats("a", 10, 20, 30)).flush()
    batch = store.feed(flow("c")).flush()

    assert batch.flows["b"] is None
    assert store.flows.keys() == {"a", "c"}
    assert store.counters == {"flows_evicted": 1}
    assert store.sources[SOURCE].evicted == T0 + 1
    assert store.accountant.live_flows == 2


def test_an_evicted_flow_is_resumed() -> None:
    store = ReferenceStore(1).connect(status())
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b"), stats("a", 1, 2, 93, at=T0 + 1)).flush()

    assert store.device() == (31, 62)
    assert store.counters["bytes_missed"] == 60
    assert store.count() == 2


@pytest.mark.parametrize("last", [stats, purge])
def test_a_flow_that_returns_to_a_full_table_is_not_evicted_at_once(last: Any) -> None:
    """It stood as the least recently seen; its purge then raised KeyError."""
    store = ReferenceStore(2).connect(status())
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b"), flow("c"), last("a", 1, 2, 33)).flush()

    assert store.device() == (11, 22)
    assert store.counters["flows_evicted"] == 2


def test_a_purge_ends_an_evicted_flow(store: ReferenceStore) -> None:
    """So that the next flow between its ends is not taken for its continuation."""
    store = ReferenceStore(1).connect(status())
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b"), purge("a", 0, 0, 30, at=T0 + 1))
    store.feed(stats("a", 100, 200, 300, at=T0 + 9)).flush()

    assert store.device() == (110, 220)
    assert store.counters["bytes_missed"] == 0


def test_unclaimed_bytes_of_a_flow_from_before_an_eviction_are_not_counted() -> None:
    store = ReferenceStore(1).connect(status())
    store.feed(flow("a"), stats("a", 10, 20, 30))
    store.feed(*(flow(f"x{number}") for number in range(200)))  # it is forgotten altogether
    store.feed(stats("a", 1, 2, 33, at=T0 + 1), purge("a", 0, 0, 33, at=T0 + 1)).flush()

    assert store.gateway == (11, 22)
    assert store.counters["bytes_before"] == 30
    store.feed(flow("new", born=T0 + 2), stats("new", 10, 20, 90, at=T0 + 3)).flush()
    assert store.gateway == (41, 82)


def test_unclaimed_bytes_are_decided_by_the_state_before_the_flows_own_eviction() -> None:
    store = ReferenceStore(1).connect(status())
    store.feed(stats("a", 10, 20, 900, at=T0 + 1, digest_prev=[]), flow("b")).flush()

    assert store.gateway == (300, 600)


def test_the_bound_may_be_lowered_at_any_time(store: ReferenceStore) -> None:
    store.feed(*(flow(f"d{number}") for number in range(500)))
    store.accountant.max_flows = 100
    store.feed(flow("one more")).flush()

    assert store.accountant.max_flows == 100
    assert store.accountant.live_flows == 100 - 100 // 64
    assert "one more" in store.flows


def test_a_flow_idle_for_an_hour_of_status_records_is_evicted(store: ReferenceStore) -> None:
    store.feed(flow("silent"), flow("busy"))
    for report in range(240):
        assert store.accountant.live_flows == 2
        store.feed(stats("busy", 0, 0, 0), status(100 + report))
    store.flush()

    assert store.flows.keys() == {"busy"}
    assert store.counters == {"flows_expired": 1}


def test_a_flow_evicted_by_its_own_successor_is_counted_as_evicted(store: ReferenceStore) -> None:
    """An earlier life has to make room among the flows that are over, and this flow is the first there."""
    store.feed(flow("b"), flow("a", born=T0 + 5), purge("a", 1, 2, 3, at=T0 + 6))
    for number in range(99):
        store.feed(flow(f"c{number}"), purge(f"c{number}", 1, 2, 3))
    store.feed(stats("b", 1, 2, 3, at=T0 + 9, digest_prev=["a"])).flush()
    assert store.totals[MAC][:2] == [100, 200]
    assert store.unattributed[:2] == [1, 2]
