"""Rule 9 of docs/accounting.md: clocks that are wrong or set. Bytes are (up, down)."""

from __future__ import annotations

import pytest
from reference_store import SOURCE, T0, ReferenceStore, flow, purge, stats, status

# -- records and clocks (rule 9) -------------------------------------------------------------------------


def test_a_clock_that_jumps_back_loses_no_bytes(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30, at=T0 + 15_000))
    store.feed(status(115, at=T0 - 86_400_000), stats("a", 1, 2, 33, at=T0 - 86_400_000))
    store.feed(purge("a", 1, 2, 36, at=T0 - 86_300_000)).flush()

    assert store.device() == (12, 24)
    assert store.counters == {}


def test_a_clock_that_jumps_ahead_ends_no_flow(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30))
    store.feed(status(115, at=T0 + 10**12), stats("a", 1, 2, 33, at=T0 + 10**12)).flush()

    assert store.accountant.live_flows == 1
    assert store.device() == (11, 22)


def test_records_without_times_are_counted() -> None:
    store = ReferenceStore().feed({"type": "agent_status"}, status(at=0))
    store.feed(flow("a", born=0), stats("a", 10, 20, 30, at=0), stats("a", 1, 2, 33, at=0)).flush()

    assert store.device() == (11, 22)
    assert store.sources[SOURCE].epoch is None


# -- a clock that is set back ----------------------------------------------------------------------------


MONTH = 30 * 86_400_000


def test_a_netifyd_restarted_with_a_clock_a_month_back_counts_from_its_start(store: ReferenceStore) -> None:
    """A gateway without a battery for its clock: all that the new process ever saw is still ours."""
    store.connect(status(1000)).feed(flow("a"), stats("a", 1000, 2000, 3000)).flush()
    back = T0 - MONTH
    store.connect(status(5, at=back, flow_count=3))
    store.feed(flow("b", born=back - 2000), stats("b", 10, 20, 100_000, at=back + 1000)).flush()

    assert sum(store.gateway) == 103_000
    assert "bytes_before" not in store.counters


@pytest.mark.parametrize("restore", [True, False], ids=["restored first", "restored later"])
def test_agent_and_netifyd_may_both_restart_with_a_clock_a_month_back(
    store: ReferenceStore, restore: bool
) -> None:
    store.connect(status(1000)).feed(flow("a"), stats("a", 1000, 2000, 3000)).flush()
    back = T0 - MONTH
    store.crash(restore=restore).connect(status(5, at=back, flow_count=3))
    store.feed(flow("b", born=back - 2000), stats("b", 10, 20, 100_000, at=back + 1000))
    if not restore:
        store.restore()
    store.flush()

    assert sum(store.gateway) == 103_000


def test_flows_that_begin_after_a_clock_was_set_back_are_counted(store: ReferenceStore) -> None:
    back = T0 - MONTH
    store = ReferenceStore().connect(status(100, flow_count=1))
    store.feed(flow("before", born=T0 - 50_000), stats("before", 1, 2, 500)).feed(status(115, at=back))
    store.feed(flow("after", born=back + 5), stats("after", 10, 20, 100, at=back + 9)).flush()
    store.feed(flow("quiet", born=T0 - 40_000), stats("quiet", 1, 1, 900, at=back + 9)).flush()

    assert sum(store.gateway) == 3 + 100 + 2
    assert store.counters["bytes_before"] == 497 + 898


@pytest.mark.parametrize("kind", ["flow", "flow_dpi_complete"])
def test_a_repeated_description_of_a_flow_that_ended_after_the_clock_was_set_back_begins_no_flow(
    store: ReferenceStore, kind: str
) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30), status(115, at=T0 - MONTH))
    store.feed(purge("a", 1, 2, 33, at=T0 - MONTH), {**flow("a"), "type": kind}).flush()

    assert store.accountant.live_flows == 0
    assert store.device() == (11, 22)
    assert store.totals[""][4] == 1


def test_an_evicted_flow_without_a_description_counts_once_after_the_clock_was_set_back() -> None:
    """Set back by more than netifyd's uptime: its start is still known by the old clock."""
    back = T0 - MONTH
    store = ReferenceStore(1).connect(status(100)).feed(status(115, at=back))
    store.feed(stats("a", 100, 200, 300, at=back + 1), flow("b", born=back + 2)).flush()
    store.crash().connect(status(116, at=back + 1000))
    store.feed(stats("a", 10, 20, 330, at=back + 3), purge("a", 1, 2, 333, at=back + 4)).flush()

    assert store.counters["flows_evicted"] > 0
    assert store.gateway == (111, 222)


def test_flows_without_a_description_still_count_whole_after_the_clock_was_set_back() -> None:
    """netifyd tracked no flow at the first contact, so all that it ever saw is ours."""
    back = T0 - MONTH
    store = ReferenceStore().connect(status(100)).feed(status(115, at=back))
    store.feed(stats("a", 10, 20, 330, at=back + 3), purge("a", 1, 2, 333, at=back + 4)).flush()

    assert sum(store.gateway) == 333


def test_an_evicted_flow_that_is_described_again_counts_once_after_the_clock_was_set_back() -> None:
    """The agent was restarted since, so it does not know until when flows by the old clock were counted."""
    back = T0 - MONTH
    store = ReferenceStore(1).connect(status(100)).feed(flow("a", born=T0 + 1), stats("a", 100, 200, 300))
    store.feed(status(115, at=back), flow("b", born=back + 2)).flush()
    store.crash().connect(status(116, at=back + 1000))
    store.feed(flow("a", born=T0 + 1), stats("a", 10, 20, 330, at=back + 3)).flush()

    assert store.counters["flows_evicted"] > 0
    assert store.gateway == (110, 220)


def test_a_flow_by_an_earlier_clock_counts_whole_where_all_flows_are_ours(store: ReferenceStore) -> None:
    """Nothing was evicted and netifyd tracked no flow at the first contact: nothing can count twice."""
    back = T0 - MONTH
    store.feed(flow("a", born=T0 + 1), status(115, at=back)).flush()
    store.crash().connect(status(116, at=back + 1000))
    store.feed(stats("a", 10, 20, 330, at=back + 3)).flush()

    assert sum(store.gateway) == 330
