"""Several netifyd at once. Bytes are (up, down)."""

from __future__ import annotations

from reference_store import (
    MAC,
    NETFLIX,
    OTHER,
    SOURCE,
    T0,
    TAG,
    YOUTUBE,
    ReferenceStore,
    flow,
    purge,
    stats,
    status,
)

from netify_agent.accounting.accountant import Accountant
from netify_agent.accounting.flow_id import digest_of
from netify_agent.netifyd.flow_record import Key

# -- several sources -------------------------------------------------------------------------------------


BRANCH = "tcp://10.0.0.2:7150"


def test_two_sources_may_use_the_same_digest_for_different_flows(store: ReferenceStore) -> None:
    """Two sites with ``br-lan`` and 192.168.1.0/24: netifyd's digest knows no more of them than that."""
    store.connect(status(1000), source=BRANCH)
    store.feed(flow("a"), stats("a", 10, 20, 30))
    store.feed(flow("a", local_mac=OTHER), stats("a", 100, 200, 300), source=BRANCH).flush()
    assert (store.device(MAC), store.device(OTHER), store.count()) == ((10, 20), (100, 200), 2)

    store.crash().connect(status(1015)).connect(status(1015), source=BRANCH)
    store.feed(stats("a", 1, 2, 33)).feed(purge("a", 5, 6, 311), source=BRANCH).flush()
    assert (store.device(MAC), store.device(OTHER), store.count()) == ((11, 22), (105, 206), 2)
    assert store.flows.keys() == {"a"}


def test_digest_chains_of_two_sources_do_not_meet(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30))
    store.feed(flow("a", local_mac=OTHER), stats("a", 1, 2, 3), source=BRANCH)
    store.feed(flow("b", YOUTUBE, local_mac=OTHER, digest_prev=["a"]), source=BRANCH).flush()

    assert (store.app(NETFLIX), store.app(YOUTUBE, OTHER)) == ((10, 20), (1, 2))


def test_idle_time_is_measured_per_source(store: ReferenceStore) -> None:
    """Reports of all sources were counted together: with four of them an hour was 15 minutes."""
    store.feed(flow("a"), flow("b"))
    for number in range(239):
        for source in (SOURCE, BRANCH, "tcp://10.0.0.3:7150", "tcp://10.0.0.4:7150"):
            store.feed(status(number * 15), source=source)
    assert store.flush().flows.keys() == {"a", "b"}
    store.feed(status(9999)).flush()
    assert store.flows.keys() == {"b"}


def test_each_source_has_a_baseline_of_its_own(store: ReferenceStore) -> None:
    """A netifyd that is added later had flows before we came: these bytes are not ours."""
    store.feed(status(0), flow("a"), stats("a", 1, 2, 3))
    store.connect(status(1000, at=T0 + 60_000, flow_count=1), source=BRANCH)
    store.feed(flow("b", born=T0 + 10_000), stats("b", 10, 20, 1000, at=T0 + 61_000), source=BRANCH).flush()

    assert store.gateway == (11, 22)
    assert store.counters["bytes_before"] == 970


def test_flows_of_an_unconfigured_source_end(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30)).feed(flow("b"), source=BRANCH).flush()
    store.accountant.keep_sources([SOURCE])
    store.flush()

    assert (store.flows.keys(), store.device()) == ({"a"}, (10, 20))


def test_flows_of_an_older_schema_get_their_source(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    old = {digest_of(name): state for name, state in store.flows.items()}
    accountant = Accountant(1000, store.bucket)
    accountant.restore(old, store.sources)
    accountant.connected(SOURCE)
    accountant.feed([status(115), stats("a", 1, 2, 40)], SOURCE)
    accountant.close_batch(store.bucket)
    batch = accountant.finish_batch()

    assert batch is not None and batch.complete
    assert batch.replaced == {"a" + TAG: ["a"]}
    assert batch.flows.keys() == batch.placed == {"a" + TAG}
    assert batch.counted[Key(MAC, NETFLIX, "HTTP/S", "br0")].counts()[:2] == (3, 7)
