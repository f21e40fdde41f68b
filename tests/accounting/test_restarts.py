"""Restarts of netifyd and of the agent. Bytes are (up, down)."""

from __future__ import annotations

import pytest
from reference_store import (
    MAC,
    NETFLIX,
    OTHER,
    OTHER_IP,
    SOURCE,
    T0,
    YOUTUBE,
    ReferenceStore,
    flow,
    local,
    purge,
    stats,
    status,
)

from netify_agent.accounting.batch import SourceState

# -- netifyd restarts, and more than one -----------------------------------------------------------------


def test_a_restart_of_netifyd_ends_its_flows(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    store.connect(status(5, at=T0 + 60_000)).flush()

    assert store.flows == {}
    assert store.counters == {"netifyd_restarts": 1}
    assert store.sources == {SOURCE: SourceState(T0 + 55_000, 0, T0 + 55_000, 5)}


def test_everything_that_a_restarted_netifyd_saw_counts(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 900)).flush()
    store.connect(status(50, at=T0 + 60_000, flow_count=9))
    store.feed(stats("a", 10, 20, 90, at=T0 + 70_000), stats("b", 10, 20, 90, at=T0 + 70_000)).flush()

    assert store.gateway == (360, 720)
    assert store.counters["bytes_before"] == 0


def test_a_lower_uptime_on_the_same_connection_is_no_restart(store: ReferenceStore) -> None:
    store.feed(flow("a"), status(5))
    store.connect(status(6)).flush()

    assert store.accountant.live_flows == 1
    assert store.counters == {}


def test_a_restart_concerns_only_the_netifyd_that_restarted(store: ReferenceStore) -> None:
    store.connect(status(1000), flow("b"), source="tcp://10.0.0.2:7150")
    store.feed(flow("a")).connect(status(5)).flush()

    assert [state.source for state in store.flows.values()] == ["tcp://10.0.0.2:7150"]


def test_after_a_restart_before_any_counters_the_next_total_counts(store: ReferenceStore) -> None:
    store.feed(flow("a"))
    store.connect(status(5, at=T0 + 60_000)).feed(stats("a", 10, 20, 90, at=T0 + 70_000)).flush()

    assert store.gateway == (30, 60)


def test_a_restart_of_the_agent_keeps_flows_and_recovers_their_gaps(store: ReferenceStore) -> None:
    store.feed(local("a"), stats("a", 10, 20, 30)).flush()
    store.feed(stats("a", 100, 200, 330))  # lost with the agent
    store.crash().connect(status(130), stats("a", 1, 2, 363)).flush()

    assert sum(store.device()) == sum(store.gateway) == 363
    assert store.device(OTHER) == store.device(MAC)[::-1]
    assert store.count() == 1
    assert store.counters["bytes_missed"] == 330


def test_records_before_the_store_was_read_are_not_counted_twice(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b"), stats("b", 10, 20, 30)).flush()
    store.crash(restore=False).connect(status(130))
    store.feed(stats("a", 1, 2, 63, at=T0 + 1), purge("b", 1, 2, 63, at=T0 + 1))
    store.restore()
    store.flush()

    assert store.device() == store.gateway == (42, 84)
    assert store.count() == 2
    assert store.flows.keys() == {"a"}


def test_a_flow_described_before_the_store_was_read_continues_the_stored_undescribed_one(
    store: ReferenceStore,
) -> None:
    """Its stored bytes stayed nobody's, and were counted again with its next total."""
    store.feed(stats("a", 10, 20, 30)).flush()
    store.crash(restore=False).connect(status(130), flow("a"))
    store.restore()
    store.feed(stats("a", 1, 2, 33)).flush()

    assert store.device() == store.gateway == (11, 22)
    assert store.count() == 1


def test_missed_bytes_of_a_flow_stored_without_counters_are_counted(store: ReferenceStore) -> None:
    """Its held bytes were overwritten when the stored flow was merged."""
    store.feed(flow("a")).flush()
    store.crash(restore=False).connect(status(130), stats("a", 10, 20, 900))
    store.restore()
    store.flush()

    assert store.device() == (300, 600)
    assert store.flows["a"].first_seen == T0


def test_a_stored_flow_is_dropped_if_its_digest_is_reused(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    store.crash(restore=False).connect(status(130), flow("a", YOUTUBE, born=T0 + 5), stats("a", 1, 2, 3))
    store.restore()
    store.flush()

    assert store.app(NETFLIX) == (10, 20)
    assert store.app(YOUTUBE) == (1, 2)
    assert store.flows["a"].first_seen == T0 + 5


def test_a_stored_flow_may_have_got_another_digest_meanwhile(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    store.crash(restore=False).connect(
        status(130), flow("b", YOUTUBE, digest_prev=["a"]), stats("b", 1, 2, 33)
    )
    store.restore()
    store.flush()

    assert store.app(YOUTUBE) == store.gateway == (11, 22)
    assert store.flows.keys() == {"b"}


def test_stored_flows_of_a_restarted_netifyd_have_ended(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b"), stats("b", 10, 20, 30)).flush()
    store.crash(restore=False).connect(status(5, at=T0 + 60_000), stats("a", 1, 2, 3, at=T0 + 61_000))
    store.restore()
    store.flush()

    assert store.flows.keys() == {"a"}
    assert store.gateway == (21, 42)
    assert store.unattributed[:2] == [1, 2]


def test_unclaimed_bytes_are_decided_by_the_netifyd_that_reported_them(store: ReferenceStore) -> None:
    store.feed(flow("x", digest_prev=[]), stats("a", 10, 20, 900)).flush()
    assert store.flows["a"].unclaimed_bytes == 870
    store.crash(restore=False).connect(status(5, at=T0 + 60_000))
    store.restore()
    store.flush()

    assert store.gateway == (300, 600)


def test_a_restart_of_netifyd_is_detected_after_the_store_was_read(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    store.crash().connect(status(5, at=T0 + 60_000)).flush()

    assert store.flows == {}


def test_an_unknown_flow_after_a_restart_of_the_agent_counts_if_netifyd_started_after_the_baseline(
    store: ReferenceStore,
) -> None:
    store.flush()
    store.crash().connect(status(130), stats("a", 10, 20, 90)).flush()
    assert store.gateway == (30, 60)

    store = ReferenceStore().connect(status(flow_count=3))
    store.flush()
    store.crash().connect(status(130), stats("a", 10, 20, 90), purge("a", 0, 0, 90)).flush()
    assert store.gateway == (10, 20)


def test_unclaimed_bytes_across_restarts_count_once(store: ReferenceStore) -> None:
    """It was counted when the store came, before a record told that digests change here (v5), and then
    again at the next restart: the decision had not reached the store."""
    store.feed(stats("a", 10, 20, 900, digest_prev=[])).flush()
    store.crash().flush()
    assert store.gateway == (10, 20)
    store.crash().feed(flow("a", digest_prev=[])).flush()
    assert store.gateway == (300, 600)
    store.crash().feed(purge("a", 0, 0, 900, digest_prev=[])).flush()
    assert store.gateway == (300, 600)


def test_a_decision_at_the_reading_of_the_store_is_stored() -> None:
    store = ReferenceStore(new=False).connect(status(), stats("a", 10, 20, 900))
    store.flush()
    store.restore()
    store.flush()
    assert store.gateway == (300, 600)
    assert store.flows["a"].unclaimed_bytes == 0


def test_nothing_is_decided_before_the_store_was_read() -> None:
    store = ReferenceStore(new=False).connect(status(), stats("a", 10, 20, 90), purge("b", 10, 20, 90))
    store.flush()
    assert store.gateway == (20, 40)

    store.restore()
    store.flush()
    assert store.gateway == (60, 120)


def test_unclaimed_bytes_of_flows_forgotten_before_the_store_was_read_are_reported() -> None:
    store = ReferenceStore(new=False).connect(status())
    store.feed(*(purge(f"d{number}", 1, 0, 10) for number in range(101)))
    store.feed(purge("d100", 1, 0, 10), flow("d99", born=T0 + 1)).flush()

    assert store.counters["bytes_before"] == 18  # of d0, and of d99 in its earlier life


def test_restored_flows_count_towards_the_bound() -> None:
    store = ReferenceStore().connect(status(), *(flow(f"d{number}") for number in range(20)))
    store.flush()
    store.max_flows = 10
    store.crash().flush()

    assert len(store.flows) == 10
    assert store.counters["flows_evicted"] == 10


def test_addresses_of_restored_devices_are_learned(store: ReferenceStore) -> None:
    store.feed(local("a")).flush()
    batch = store.crash().feed({"type": "endpoints", OTHER: [OTHER_IP]}).flush()

    assert batch.devices[OTHER].addresses == {OTHER_IP: 0}


def test_nothing_counts_twice_if_netifyd_and_agent_restart_while_redis_is_down(
    store: ReferenceStore,
) -> None:
    """Cause: what arrived before netifyd's restart was taken for the life after it."""
    store.feed(status(0), flow("a"), stats("a", 600, 0, 600)).flush()
    store.crash(restore=False)
    store.connect(status(60), flow("a"), stats("a", 100, 0, 1000, at=T0 + 60_000))
    store.connect(status(5, at=T0 + 70_000))
    store.restore()
    store.flush()
    assert store.totals[""][0] == 1000


@pytest.mark.parametrize("restore", [True, False], ids=["restored first", "restored later"])
def test_unclaimed_bytes_of_flows_before_a_restart_of_netifyd_are_not_those_after_it(restore: bool) -> None:
    """Cause: they were decided by the baseline of the new process."""
    store = ReferenceStore().connect(status(1000, flow_count=1))
    store.feed(stats("a", 10, 20, 5000)).flush()
    if not restore:
        store.crash(restore=False)
    store.connect(status(5, at=T0 + 60_000))
    if not restore:
        store.restore()
    store.flush()

    assert store.gateway == (10, 20)


def test_counters_after_a_restart_of_netifyd_are_of_another_flow_also_if_it_was_evicted() -> None:
    store = ReferenceStore(1).connect(status(1000))
    store.feed(flow("a"), stats("a", 400, 600, 1000, at=T0 + 1), flow("b"))
    store.connect(status(5, at=T0 + 60_000)).feed(stats("a", 10, 20, 3000, at=T0 + 61_000)).flush()

    assert sum(store.gateway) == 4000


@pytest.mark.parametrize("restore", [True, False], ids=["restored first", "restored later"])
def test_a_total_below_the_stored_one_that_is_seen_later_is_of_another_flow(restore: bool) -> None:
    store = ReferenceStore().connect(status(1000))
    store.feed(flow("a"), stats("a", 2000, 3000, 5000, at=T0 + 1)).flush()
    store.crash(restore=restore).connect(status(1015)).feed(stats("a", 40, 60, 1500, at=T0 + 90_000))
    if not restore:
        store.restore()
    store.flush()

    assert sum(store.gateway) == 6500


def test_a_source_that_is_configured_again_counts_nothing_twice(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 400, 600, 1000, at=T0 + 1)).flush()
    store.accountant.keep_sources([])
    store.flush()
    store.crash().connect(status(200)).feed(stats("a", 40, 60, 1100, at=T0 + 90_000)).flush()

    assert sum(store.gateway) == 1100


def test_flows_of_a_dropped_device_take_nothing_from_its_rows(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 400, 600, 1000)).flush()
    store.accountant.flushed((), [MAC])
    store.feed(flow("a", YOUTUBE), stats("a", 1, 2, 1003))
    batch = store.take(store.bucket)

    rows = [row for rows in (batch.counted, batch.moved) for row in rows.values()]
    assert sum(row.bytes_up for row in rows) == 1
    assert all(min(row.counts()) >= 0 for row in rows)
