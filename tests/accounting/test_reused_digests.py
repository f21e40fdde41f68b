"""The same two ends again: when a digest stands for another flow. Bytes are (up, down)."""

from __future__ import annotations

from reference_store import DNS, NETFLIX, T0, YOUTUBE, ReferenceStore, flow, purge, stats

# -- the same two ends again: a digest used anew ---------------------------------------------------------


def test_a_reused_digest_is_another_flow(store: ReferenceStore) -> None:
    store.feed(flow("a"), purge("a", 10, 20, 30, at=T0 + 1)).flush()
    store.feed(flow("a", born=T0 + 5), stats("a", 1, 2, 3, at=T0 + 6)).flush()
    store.feed(purge("a", 1, 2, 6, at=T0 + 7)).flush()

    assert store.device() == (12, 24)
    assert store.count() == 2
    assert store.counters == {}


def test_a_reused_digest_may_count_before_its_description(store: ReferenceStore) -> None:
    """The new life's bytes move by its own description; those of the old one stay."""
    store.feed(flow("a", NETFLIX), purge("a", 10, 20, 30, at=T0 + 1))
    store.feed(
        stats("a", 1, 2, 3, at=T0 + 6), flow("a", YOUTUBE, born=T0 + 5), stats("a", 4, 5, 12, at=T0 + 9)
    )
    store.flush()

    assert store.app(NETFLIX) == (10, 20)
    assert store.app(YOUTUBE) == (5, 7)
    assert store.count() == 2


def test_a_reused_digest_counts_the_same_total_again(store: ReferenceStore) -> None:
    """NTP from port 123 to port 123: each life is the same two ends and the same 180 bytes."""
    for life in range(3):
        store.feed(purge("a", 90, 90, 180, at=T0 + life))
    store.feed(flow("a", DNS, born=T0 + 2)).flush()

    assert store.gateway == (270, 270)
    assert store.app(DNS) == (90, 90)
    assert store.counters == {}


def test_a_reused_digest_after_a_flow_without_bytes_is_described_by_its_own_record(
    store: ReferenceStore,
) -> None:
    store.feed(flow("a", NETFLIX), purge("a", 0, 0, 0, at=T0 + 1))
    store.feed(stats("a", 1, 2, 3, at=T0 + 6), flow("a", YOUTUBE, born=T0 + 5)).flush()

    assert store.app(YOUTUBE) == store.gateway == (1, 2)


def test_a_description_later_than_the_purge_is_of_another_flow(store: ReferenceStore) -> None:
    """Else the bytes of a flow that nobody described would move to the next one between its ends."""
    store.feed(purge("a", 10, 20, 30, at=T0 + 1), flow("a", born=T0 + 5), stats("a", 10, 20, 30, at=T0 + 6))
    store.flush()

    assert store.device() == (10, 20)
    assert store.unattributed[:2] == [10, 20]


def test_a_reused_live_digest_means_that_the_purge_was_missed(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30, at=T0 + 1))
    store.feed(stats("a", 1, 2, 3, at=T0 + 6), stats("a", 1, 2, 6, at=T0 + 7)).flush()
    assert store.device() == (12, 24)
    store.feed(flow("a", YOUTUBE, born=T0 + 5)).flush()
    assert store.app(NETFLIX) == (10, 20)
    assert store.app(YOUTUBE) == (2, 4)

    store.feed(flow("a", NETFLIX, born=T0 + 10), stats("a", 5, 5, 10, at=T0 + 11)).flush()
    assert store.app(NETFLIX) == (15, 25)
    assert store.count() == 3


def test_counters_of_another_flow_that_look_like_growth_count_once(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30, at=T0 + 1))
    store.feed(stats("a", 100, 200, 300, at=T0 + 6), flow("a", born=T0 + 5)).flush()

    assert store.device() == (100, 200)  # 30 are missing: nothing tells that these are two flows
    store.feed(stats("a", 10, 20, 330, at=T0 + 7)).flush()
    assert store.device() == (110, 220)


def test_unclaimed_bytes_are_decided_before_the_digest_is_reused(store: ReferenceStore) -> None:
    store.feed(flow("x", digest_prev=[]), stats("a", 10, 20, 900, at=T0 + 1))
    store.feed(stats("a", 1, 2, 3, at=T0 + 9)).flush()

    assert store.gateway == (301, 602)
