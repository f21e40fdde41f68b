"""Rule 6 and the baseline of docs/accounting.md: which bytes before a flow's first record count."""

from __future__ import annotations

from reference_store import MAC, T0, ReferenceStore, flow, purge, stats, status

# -- flows seen from the middle (rule 6) -----------------------------------------------------------------


def test_bytes_of_a_flow_from_before_the_baseline_are_not_counted() -> None:
    store = ReferenceStore().connect(status(flow_count=5), stats("a", 10, 20, 1_000_000))
    store.feed(purge("a", 1, 2, 1_000_003)).flush()

    assert store.gateway == (11, 22)
    assert store.counters["bytes_before"] == 999_970
    assert store.counters["packets_before"] == 99_997
    assert store.counters["bytes_missed"] == 0


def test_unclaimed_bytes_are_decided_by_the_description() -> None:
    store = ReferenceStore().connect(status(flow_count=5))
    store.feed(stats("a", 10, 20, 1000), flow("a", born=T0 - 60_000)).flush()

    assert store.gateway == (10, 20)
    assert store.counters["bytes_before"] == 970


def test_a_flow_that_began_after_the_baseline_is_counted_from_its_first_byte() -> None:
    store = ReferenceStore().connect(status(flow_count=5))
    store.feed(stats("a", 10, 20, 900), flow("a", born=T0 + 1)).flush()

    assert store.gateway == (300, 600)
    assert store.counters["bytes_missed"] == 870
    assert store.counters["bytes_before"] == 0


def test_everything_counts_if_netifyd_tracked_no_flow_at_the_first_status(store: ReferenceStore) -> None:
    store.feed(stats("a", 10, 20, 900)).flush()

    assert store.gateway == (300, 600)


def test_without_a_status_the_first_record_is_the_baseline() -> None:
    for first in (flow("x", born=T0), stats("x", 0, 0, 0, at=T0)):
        store = ReferenceStore().feed(first)
        store.feed(flow("old", born=T0 - 1), stats("old", 10, 0, 100))
        store.feed(flow("new", born=T0), stats("new", 0, 10, 100)).flush()

        assert store.gateway == (10, 100)


def test_unclaimed_bytes_survive_a_restart_of_the_agent() -> None:
    store = ReferenceStore().connect(status(flow_count=5), stats("a", 10, 20, 900))
    store.flush()
    assert store.flows["a"].unclaimed_bytes == 870

    store.crash().feed(flow("a", born=T0 + 1)).flush()
    assert store.gateway == (300, 600)


# -- clocks that are wrong once --------------------------------------------------------------------------


def test_a_single_wrong_time_does_not_set_the_baseline() -> None:
    """Cause: the first record's time was kept as the epoch, though an agent_status said better later."""
    store = ReferenceStore()
    store.feed(stats("wild", 1, 0, 1, at=(1 << 42) - 1), status(100), flow("a", born=T0 + 1000))
    store.feed(stats("a", 10, 0, 500)).flush()
    assert store.totals[MAC][0] == 500


def test_a_single_wrong_time_does_not_set_the_time_of_eviction() -> None:
    """Cause: the time of an evicted flow was believed, so that all later flows seemed older than it."""
    store = ReferenceStore(max_flows=64)
    store.feed(status(100), flow("wild", last_seen_at=(1 << 42) - 1))
    for number in range(200):
        store.feed(flow(f"f{number}"))
    store.feed(flow("late", born=T0 + 61_000), stats("late", 10, 0, 500)).flush()
    assert store.totals[MAC][0] == 500


def test_a_flow_evicted_between_two_status_records_counts_once() -> None:
    """Cause: not believing a wild clock, we believed no time after the latest agent_status at all."""
    store = ReferenceStore(1).connect(status())
    store.feed(flow("a", born=T0 + 5000), stats("a", 10, 20, 30, at=T0 + 6000), flow("b")).flush()
    store.crash().connect(status(105, at=T0 + 5000))
    store.feed(flow("a", born=T0 + 5000), stats("a", 1, 2, 33, at=T0 + 7000)).flush()
    assert store.gateway == (11, 22)
