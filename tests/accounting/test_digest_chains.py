"""Digest chains of netifyd v5: one flow under several digests. Bytes are (up, down)."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from reference_store import DNS, NETFLIX, SOURCE, T0, YOUTUBE, ReferenceStore, flow, purge, stats, status

from netify_agent.accounting.accountant import Accountant

# -- digest chains (v5) ----------------------------------------------------------------------------------


def test_a_flow_goes_on_under_its_refined_digest(store: ReferenceStore) -> None:
    store.feed(flow("a", "Unknown", digest_prev=[]), stats("a", 10, 20, 30)).flush()
    store.feed(flow("b", YOUTUBE, digest_prev=["a"]), stats("b", 1, 2, 33, digest_prev=["a"])).flush()

    assert store.app(YOUTUBE) == store.gateway == (11, 22)
    assert store.count() == 1
    assert store.flows.keys() == {"b"}


def test_counters_may_arrive_first_under_the_new_digest(store: ReferenceStore) -> None:
    store.feed(flow("a", "Unknown"), stats("a", 10, 20, 30)).flush()
    store.feed(purge("b", 1, 2, 33, digest_prev=["a"]), flow("b", YOUTUBE, digest_prev=["a"])).flush()

    assert store.app(YOUTUBE) == store.gateway == (11, 22)
    assert store.flows == {}


def test_a_chain_of_three_digests_is_one_flow_under_each_of_them(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b", digest_prev=["a"]), stats("b", 1, 2, 33))
    store.feed(flow("c", YOUTUBE, digest_prev=["a", "b"]), stats("c", 1, 2, 36))
    store.feed(stats("a", 1, 2, 39), stats("b", 1, 2, 42), purge("a", 1, 2, 45)).flush()

    assert store.app(YOUTUBE) == store.gateway == (15, 30)
    assert store.accountant.live_flows == 0
    assert store.count() == 1


def test_a_late_record_under_an_earlier_digest_does_not_break_the_chain(store: ReferenceStore) -> None:
    """It names the digests before its own: once, that made its own the newest again, and of another flow."""
    late = stats("b", 1, 2, 33, digest_prev=["a"])
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b", digest_prev=["a"]), late)
    store.feed(flow("c", YOUTUBE, digest_prev=["a", "b"]), stats("c", 1, 2, 36))
    store.feed(late, stats("b", 1, 2, 39, digest_prev=["a"]), flow("b", DNS, digest_prev=["a"])).flush()

    assert store.app(YOUTUBE) == store.gateway == (13, 26)
    assert store.count() == 1
    assert store.flows.keys() == {"c"}


def test_another_flow_under_an_early_digest_is_refined_from_there(store: ReferenceStore) -> None:
    """Its counters once revived the old life under the old life's last digest, and kept that name."""
    store.feed(flow("a"), flow("b", digest_prev=["a"]), flow("c", NETFLIX, digest_prev=["a", "b"]))
    store.feed(purge("c", 10, 20, 30, at=T0 + 1, digest_prev=["a", "b"]))
    store.feed(
        stats("a", 1, 2, 3, at=T0 + 6, digest_prev=[]), flow("b", YOUTUBE, born=T0 + 5, digest_prev=["a"])
    )
    store.feed(stats("b", 1, 2, 6, at=T0 + 7, digest_prev=["a"])).flush()

    assert store.app(NETFLIX) == (10, 20)
    assert store.app(YOUTUBE) == (2, 4)
    assert store.flows.keys() == {"b"}


def test_a_chain_may_be_reported_link_by_link(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b", digest_prev=["a"]), flow("c", digest_prev=["b"]))
    store.feed(stats("a", 1, 2, 33)).flush()

    assert store.gateway == (11, 22)
    assert store.count() == 1


def test_a_description_under_an_earlier_digest_undoes_no_refinement(store: ReferenceStore) -> None:
    store.feed(flow("a", "Unknown"), flow("b", YOUTUBE, digest_prev=["a"]), stats("b", 10, 20, 30))
    store.feed(flow("a", "Unknown"), flow("a", "Unknown", born=0)).flush()

    assert store.app(YOUTUBE) == (10, 20)
    assert store.count() == 1
    assert store.counters == {"records_repeated": 2}


def test_a_description_under_an_earlier_digest_is_used_if_there_is_no_other(store: ReferenceStore) -> None:
    store.feed(stats("b", 10, 20, 30, digest_prev=["a"]), flow("a", "Unknown"), stats("b", 1, 2, 33)).flush()

    assert store.device() == store.gateway == (11, 22)
    assert store.count() == 1


def test_an_old_digest_may_begin_another_flow(store: ReferenceStore) -> None:
    """The first digest of two flows between the same ends is the same."""
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b", NETFLIX, digest_prev=["a"]))
    store.feed(purge("b", 1, 2, 33, at=T0 + 1))
    store.feed(flow("a", born=T0 + 5), stats("a", 100, 200, 300, at=T0 + 6))
    store.feed(flow("b", YOUTUBE, born=T0 + 5, digest_prev=["a"]), stats("b", 1, 2, 303, at=T0 + 7)).flush()

    assert store.app(NETFLIX) == (11, 22)
    assert store.app(YOUTUBE) == (101, 202)
    assert store.count() == 2
    assert store.accountant.live_flows == 1
    assert store.counters == {}


def test_an_old_digest_may_begin_another_flow_whose_predecessors_purge_was_missed(
    store: ReferenceStore,
) -> None:
    store.feed(flow("a"), flow("b", NETFLIX, digest_prev=["a"]), stats("b", 10, 20, 30))
    store.feed(flow("a", born=T0 + 5), stats("a", 100, 200, 300, at=T0 + 6))
    store.feed(flow("b", YOUTUBE, born=T0 + 5, digest_prev=["a"]), stats("b", 1, 2, 303, at=T0 + 7)).flush()

    assert store.app(NETFLIX) == (10, 20)
    assert store.app(YOUTUBE) == (101, 202)
    assert store.accountant.live_flows == 1


def test_counters_of_another_flow_may_come_under_an_old_digest_before_its_description(
    store: ReferenceStore,
) -> None:
    store.feed(flow("a"), flow("b", NETFLIX, digest_prev=["a"]), purge("b", 10, 20, 30, at=T0 + 1))
    store.feed(
        stats("a", 1, 2, 3, at=T0 + 6), flow("a", YOUTUBE, born=T0 + 5), stats("a", 1, 2, 6, at=T0 + 7)
    )
    store.flush()

    assert store.app(NETFLIX) == (10, 20)
    assert store.app(YOUTUBE) == (2, 4)
    assert store.count() == 2


def test_an_ended_undescribed_flow_does_not_take_over_a_live_one(store: ReferenceStore) -> None:
    store.feed(purge("b", 10, 20, 30, at=T0 + 1))  # an earlier life of which no more is known
    store.feed(flow("a", born=T0 + 5), stats("a", 1, 2, 3, at=T0 + 6))
    store.feed(stats("b", 1, 2, 6, at=T0 + 7, digest_prev=["a"])).flush()

    assert store.device() == (2, 4)
    assert store.unattributed[:2] == [10, 20]
    assert store.accountant.live_flows == 1


def test_a_live_flow_does_not_go_on_as_one_that_began_after_it(store: ReferenceStore) -> None:
    store.feed(flow("a", NETFLIX), stats("a", 10, 20, 30))
    store.feed(flow("b", YOUTUBE, born=T0 + 5), stats("b", 1, 2, 3, digest_prev=["a"], at=T0 + 6)).flush()

    assert store.app(NETFLIX) == (10, 20)
    assert store.app(YOUTUBE) == (1, 2)
    assert store.count() == 2


def test_two_entries_of_one_flow_are_merged(store: ReferenceStore) -> None:
    """Under its new digest it was unknown: what it carried before counts once."""
    store.feed(flow("x", digest_prev=[]), flow("a", "Unknown"), stats("a", 10, 20, 30))
    store.feed(stats("b", 2, 4, 66)).flush()  # 30 of its 60 before are those of a; 30 were missed
    assert store.gateway == (12, 24)

    store.feed(flow("b", YOUTUBE, digest_prev=["a"])).flush()
    assert store.app(YOUTUBE) == store.gateway == (22, 44)
    assert store.counters["bytes_missed"] == 30
    assert store.count() == 2  # with x
    assert store.flows.keys() == {"x", "b"}


def test_a_merge_keeps_the_only_description(store: ReferenceStore) -> None:
    store.feed(flow("x", digest_prev=[]), flow("a", NETFLIX), stats("a", 10, 20, 30), stats("b", 1, 2, 33))
    store.feed(stats("b", 1, 2, 36, digest_prev=["a"])).flush()
    assert store.app(NETFLIX) == store.gateway == (12, 24)

    store.feed(stats("c", 1, 2, 3), flow("d", YOUTUBE), stats("d", 1, 2, 6, digest_prev=["c"])).flush()
    assert store.app(YOUTUBE) == (2, 4)
    assert store.unattributed == [0, 0, 0, 0, 0]


def test_a_merge_with_a_described_flow_without_a_device_keeps_its_application(store: ReferenceStore) -> None:
    store.feed(stats("a", 10, 20, 30), flow("b", YOUTUBE, local_mac=None, local_ip=None))
    store.feed(stats("b", 1, 2, 33, digest_prev=["a"])).flush()

    assert store.app(YOUTUBE, "") == store.gateway == (11, 22)


def test_a_described_flow_takes_its_totals_from_its_old_digest(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b", YOUTUBE))
    store.feed(flow("b", YOUTUBE, digest_prev=["a"]), stats("b", 1, 2, 33)).flush()

    assert store.gateway == store.app(YOUTUBE) == (11, 22)
    assert store.counters == {}


def test_a_flow_that_ended_under_its_new_digest_does_not_live_on_under_its_old_one(
    store: ReferenceStore,
) -> None:
    store.feed(flow("a", DNS), purge("b", 10, 20, 30), flow("b", YOUTUBE, digest_prev=["a"])).flush()

    assert store.app(YOUTUBE) == store.gateway == (10, 20)
    assert store.accountant.live_flows == 0
    assert store.count() == 1


def test_an_ended_flow_may_be_renamed_too(store: ReferenceStore) -> None:
    store.feed(flow("a", "Unknown"), purge("a", 10, 20, 30), flow("b", YOUTUBE, digest_prev=["a"])).flush()

    assert store.app(YOUTUBE) == (10, 20)
    assert store.flows == {}
    store.feed(purge("b", 10, 20, 30)).flush()
    assert store.gateway == (10, 20)


@pytest.mark.parametrize("previous", [None, "a", 5, {}, [None], [5], [[]], [""], ["ü"], ["x" * 200], ["b"]])
def test_an_invalid_chain_changes_nothing(store: ReferenceStore, previous: Any) -> None:
    store.feed(flow("b", digest_prev=previous), stats("b", 10, 20, 30, digest_prev=previous)).flush()

    assert store.device() == (10, 20)


def test_chains_are_remembered_within_bounds() -> None:
    accountant = Accountant(1000)

    def use(numbers: range) -> int:
        """Feed a chain for each number; return the memory that is kept, in bytes."""
        for number in numbers:
            records = flow(f"new{number}", digest_prev=[f"old{number}"]), purge(f"new{number}", 1, 0, 1)
            accountant.feed(records, SOURCE)
            if number % 100 == 0:
                accountant.close_batch(0)
                assert accountant.finish_batch() is not None
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = use(range(2000))
        assert use(range(2000, 6000)) - before < 100_000  # bytes; 4,000 chains take some 500,000
    finally:
        tracemalloc.stop()


def test_a_chain_beyond_the_bound_is_not_followed(store: ReferenceStore) -> None:
    for number in range(30):
        store.feed(stats(f"d{number + 1}", 0, 0, 0, digest_prev=[f"d{number}"]))
    store.feed(stats("d0", 10, 20, 30)).flush()

    assert store.gateway == (10, 20)


@pytest.mark.parametrize("most", [0, 1])
@pytest.mark.parametrize(
    "end",
    [
        pytest.param([purge("b", 0, 0, 30, at=T0 + 2)], id="its end"),
        pytest.param([status(3, at=T0 + 9)], id="another netifyd"),
    ],
)
def test_a_flow_that_returns_to_an_earlier_digest_keeps_its_chain(end: list[Any], most: int) -> None:
    store = ReferenceStore().connect(status(), flow("a"), stats("a", 10, 20, 30))
    store.flush()
    store.feed(flow("b", app="netify.other", digest_prev=["a"]))
    store.accountant.close_batch(store.bucket)
    batch = store.finish(most) if most else None
    store.connect(*end).feed(flow("a", digest_prev=["b"]))
    batch = batch or store.finish()
    assert batch is not None and batch.flows["a"] is None
    store.apply(batch)
    store.flush()
