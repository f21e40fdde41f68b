"""What a batch holds for the store, and a store that lost its data. Bytes are (up, down)."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from reference_store import (
    MAC,
    NETFLIX,
    OTHER,
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

from netify_agent.accounting.batch import FlowState
from netify_agent.accounting.flow import Flow
from netify_agent.netifyd.flow_record import Key

# -- states of live flows in a batch ---------------------------------------------------------------------


def test_a_batch_holds_the_state_of_flows_that_changed(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30, at=T0 + 1), flow("b")).flush()
    batch = store.feed(stats("b", 1, 2, 3)).flush()

    assert batch.flows.keys() == {"b"}
    key = Key(MAC, NETFLIX, "HTTP/S", "br0")
    assert store.flows["a"] == FlowState(SOURCE, key, None, T0, T0 + 1, 30, 3, 10, 20, 1, 2, 0, 0)


def test_a_flow_that_begins_and_ends_within_one_batch_never_reaches_the_store(store: ReferenceStore) -> None:
    assert store.feed(flow("a"), purge("a", 10, 20, 30)).flush().flows == {}


def test_a_resumed_flow_that_ends_again_leaves_nothing_in_the_store(store: ReferenceStore) -> None:
    """Its removal was forgotten where all of that happened in one batch: it stayed in the store for ever."""
    store.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    store.feed(purge("a", 0, 0, 30), stats("a", 1, 2, 33), purge("a", 1, 2, 36)).flush()
    assert store.flows == {}

    store.feed(flow("a", born=T0 + 5), stats("a", 1, 2, 3)).flush()
    store.feed(flow("a", born=T0 + 9), purge("a", 1, 2, 3)).flush()
    assert store.flows == {}

    store.feed(stats("a", 1, 2, 3, at=T0 + 20), stats("b", 0, 0, 0, digest_prev=["a"])).flush()
    store.feed(purge("b", 0, 0, 3), flow("a", born=T0 + 30), stats("b", 0, 0, 0, digest_prev=["a"]))
    store.feed(purge("b", 0, 0, 0, at=T0 + 40)).flush()
    assert store.flows == {}


def test_all_live_flows_are_written_to_a_store_that_lost_them(store: ReferenceStore) -> None:
    store.feed(flow("a"), flow("b"), purge("b", 0, 0, 0)).flush()
    store.flows.clear()
    store.accountant.save_all()
    store.flush()

    assert store.flows.keys() == {"a"}


def test_a_batch_has_a_size(store: ReferenceStore) -> None:
    store.feed(local("a"), stats("a", 1, 2, 3))
    assert store.accountant.pending_changes == 6
    batch = store.flush()
    assert batch.size == 6
    assert store.accountant.pending_changes == 0
    batch.release()
    assert batch.size == 0


# -- a store that lost its data --------------------------------------------------------------------------


def test_bytes_that_the_store_lost_are_never_moved(store: ReferenceStore) -> None:
    """The flow itself was moved, too: a row that was not there had -1 flows."""
    store.feed(local("a", "Unknown"), stats("a", 10, 20, 30), purge("b", 10, 20, 30)).flush()
    store = store.lose()
    store.feed(local("a", NETFLIX), flow("b"), stats("a", 1, 2, 33)).flush()

    assert store.gateway == store.app(NETFLIX) == (1, 2)
    assert store.totals[OTHER] == [2, 1, 0, 0, 1]
    assert store.count() == 1
    assert store.flows.keys() == {"a"}


def test_pending_moves_are_dropped_with_the_lost_rows(store: ReferenceStore) -> None:
    """What had been moved while Redis was away took bytes from rows that did not come back with it."""
    store.feed(flow("a", "Unknown"), stats("a", 10, 20, 30)).flush(600)
    store.feed(flow("c", "Unknown"), stats("c", 10, 20, 30)).flush()
    store.feed(flow("a", NETFLIX), stats("a", 1, 2, 33), flow("c", NETFLIX), flow("b"), purge("b", 1, 2, 3))
    store = store.lose()
    store.flush()

    assert store.gateway == store.app(NETFLIX) == (2, 4)
    assert store.app("Unknown") == (0, 0)
    assert store.count() == 2


def test_a_flow_that_returns_after_the_loss_counts_as_one_flow(store: ReferenceStore) -> None:
    store.feed(flow("a"), purge("a", 10, 20, 30)).flush()
    store = store.lose()
    store.feed(stats("a", 1, 2, 33)).flush()
    store.crash().feed(flow("a", YOUTUBE)).flush()

    assert store.app(YOUTUBE) == store.gateway == (1, 2)
    assert store.count() == 1


def test_entries_merged_after_the_loss_count_as_one_flow(store: ReferenceStore) -> None:
    store.feed(flow("x", digest_prev=[]), purge("a", 10, 20, 30), stats("b", 1, 2, 33)).flush()
    store = store.lose()
    store.feed(flow("b", digest_prev=["a"]), purge("x", 0, 0, 0)).flush()

    assert store.count() == 2
    assert store.gateway == (0, 0)


@pytest.mark.parametrize(
    "later",
    [
        pytest.param([stats("a", 1, 2, 33, at=T0 + 9)], id="counters"),
        pytest.param([stats("a", 1, 2, 90, at=T0 + 9)], id="counters that missed some"),
        pytest.param([flow("a", app="netify.other", last_seen_at=T0 + 9)], id="another application"),
        pytest.param([purge("a", 1, 2, 33, at=T0 + 9)], id="its end"),
        pytest.param([stats("a", 1, 2, 3, at=T0 + 9)], id="another life"),
        pytest.param([flow("b", digest_prev=["a"])], id="another digest"),
        pytest.param([stats("b", 1, 2, 3), flow("b", digest_prev=["a"])], id="what was another flow"),
        pytest.param([flow("b"), flow("c"), flow("d")], id="no room for it"),
        pytest.param([status(3, at=T0 + 9)], id="another netifyd"),
    ],
)
@pytest.mark.parametrize("most", [0, None])
def test_a_batch_holds_the_states_of_the_moment_it_was_closed(later: list[Any], most: int | None) -> None:
    """However much happens until they are written into it."""
    store = ReferenceStore(max_flows=2).connect(status(), flow("a"), stats("a", 10, 20, 30, at=T0 + 1))
    store.accountant.close_batch(store.bucket)
    batch = store.finish(most) if most is None else None
    store.connect(*later)
    while batch is None:
        batch = store.finish(1)
    key = Key(MAC, NETFLIX, "HTTP/S", "br0")
    assert batch.flows == {"a": FlowState(SOURCE, key, None, T0, T0 + 1, 30, 3, 10, 20, 1, 2, 0, 0)}
    store.apply(batch)
    store.flush()


def test_a_batch_holds_what_was_counted_when_it_was_closed_whatever_the_store_loses_then(
    store: ReferenceStore,
) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30))
    store.accountant.close_batch(store.bucket)
    store.accountant.forget_counts()
    batch = store.finish()
    assert batch is not None and (state := batch.flows["a"]) is not None
    assert (state.bytes_up, state.bytes_down) == (10, 20)
    batch = store.take(store.bucket)
    assert (state := batch.flows["a"]) is not None
    assert (state.bytes_up, state.bytes_down, state.flows) == (0, 0, 1)


def test_an_unfinished_batch_is_finished_before_the_next_one(store: ReferenceStore) -> None:
    store.feed(flow("a"), flow("b"))
    store.accountant.close_batch(store.bucket)
    assert store.finish(1) is None
    store.feed(flow("c"))
    assert store.take(store.bucket).flows.keys() == {"a", "b"}
    assert store.take(store.bucket).flows.keys() == {"c"}


def test_a_state_that_could_not_be_copied_for_lack_of_memory_is_written_later(
    store: ReferenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30))
    store.accountant.close_batch(store.bucket)
    with monkeypatch.context() as short:
        short.setattr(Flow, "state", Mock(side_effect=MemoryError))
        with pytest.raises(MemoryError):
            store.feed(stats("a", 1, 2, 33, at=T0 + 1))
    batch = store.finish()
    assert batch is not None and (state := batch.flows["a"]) is not None and state.total_bytes == 30
