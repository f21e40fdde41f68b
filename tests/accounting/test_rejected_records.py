"""Records that cannot be used are rejected and counted."""

from __future__ import annotations

from typing import Any

import pytest
from reference_store import SOURCE, T0, ReferenceStore, flow, purge, stats, status

# -- records that can't be used --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flow", "flow_stats", "flow_purge"])
@pytest.mark.parametrize(
    "inner", [None, 5, "x", [], {}, {"digest": None}, {"digest": 5}, {"digest": ""}, {"digest": "x" * 129}]
)
def test_a_record_without_a_flow_is_rejected(store: ReferenceStore, kind: str, inner: Any) -> None:
    store.feed({"type": kind, "flow": inner}, {"type": kind}).flush()

    assert store.accountant.rejected == {f"{kind} without digest": 2}
    assert store.gateway == (0, 0)


COUNTERS = ("local_bytes", "other_bytes")


@pytest.mark.parametrize("name", COUNTERS)
def test_a_record_without_one_of_its_counters_is_rejected_and_counted(
    store: ReferenceStore, name: str
) -> None:
    bad = stats("a", 10, 20, 30)
    del bad["flow"][name]
    store.feed(flow("a"), bad, stats("a", 10, 20, 30)).flush()

    assert store.accountant.rejected == {f"counters without {name}": 1}
    assert store.device() == (10, 20)


INVALID = ["5", 5.5, float("nan"), float("inf"), 1e30, True, [], {}, -2, -(10**30), 1 << 47, 10**30]


@pytest.mark.parametrize(
    ("name", "value"),
    [*((name, value) for name in (*COUNTERS, "total_bytes") for value in INVALID)]
    + [(name, None) for name in COUNTERS],
)
def test_an_invalid_counter_is_rejected_and_counted(store: ReferenceStore, name: str, value: Any) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30, **{name: value}), stats("a", 10, 20, 30)).flush()

    assert store.accountant.rejected == {"counters out of range": 1}
    assert store.device() == (10, 20)


@pytest.mark.parametrize("name", COUNTERS)
def test_a_negative_counter_is_rejected_and_counted(store: ReferenceStore, name: str) -> None:
    below: dict[str, Any] = {name: -1}
    store.feed(stats("a", 10, 20, 30, **below)).flush()

    assert store.accountant.rejected == {"counters out of range": 1}


def test_whole_numbers_may_be_floats(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10.0, 20.0, 30.0), stats("a", 1, 2, 33.0)).flush()  # type: ignore[arg-type]

    assert not store.accountant.rejected
    assert store.device() == (11, 22)
    assert store.counters["bytes_missed"] == 0


def test_times_may_be_floats() -> None:
    store = ReferenceStore().connect({**status(flow_count=5), "timestamp": T0 / 1000})
    store.feed(flow("a", born=float(T0 + 1000)), stats("a", 10, 20, 330)).flush()  # type: ignore[arg-type]

    assert sum(store.gateway) == 330
    assert store.sources[SOURCE].epoch == T0


@pytest.mark.parametrize("total", [None, 0])
def test_a_total_that_says_nothing_is_as_if_it_were_missing(store: ReferenceStore, total: int | None) -> None:
    unsaid: dict[str, Any] = {"total_bytes": total, "total_packets": 0}
    store.feed(flow("a"), stats("a", 10, 20, 0, **unsaid), purge("a", 100, 200, 0, **unsaid)).flush()

    assert not store.accountant.rejected
    assert store.device() == (110, 220)
    assert store.totals[""][2:4] == [11, 22]
    assert store.accountant.live_flows == 0


@pytest.mark.parametrize("bad", [None, -1, 1 << 63])
def test_a_purge_with_an_unusable_interval_ends_its_flow_and_counts_its_total(
    store: ReferenceStore, bad: int | None
) -> None:
    last = purge("a", 0, 0, 330)
    last["flow"]["local_bytes"] = bad
    store.feed(flow("a"), stats("a", 100, 200, 300), last, last).flush()

    assert store.accountant.rejected == {"counters out of range": 2}
    assert store.accountant.live_flows == 0
    assert store.device() == (110, 220)
    assert store.counters["bytes_missed"] == 30


@pytest.mark.parametrize("total", [{}, {"total_bytes": "x"}, {"total_bytes": 299}])
def test_a_purge_without_usable_counters_adds_nothing(store: ReferenceStore, total: dict[str, Any]) -> None:
    last = {"type": "flow_purge", "flow": {"digest": "a", "last_seen_at": T0, **total}}
    store.feed(flow("a"), stats("a", 100, 200, 300), last).flush()

    assert store.device() == (100, 200)
    assert store.accountant.live_flows == (1 if total.get("total_bytes") == 299 else 0)


def test_a_purge_without_usable_counters_begins_no_flow(store: ReferenceStore) -> None:
    store.feed({"type": "flow_purge", "flow": {"digest": "a", "total_bytes": 300}}).flush()

    assert store.accountant.rejected == {"counters without local_bytes": 1}
    assert store.gateway == (0, 0)


def test_records_are_counted_by_type_and_unknown_ones_ignored(store: ReferenceStore) -> None:
    store.feed(
        {"type": "agent_hello"}, {"type": "definitions"}, {"type": "new"}, {"type": "<script>"}
    ).flush()

    assert store.accountant.records == {"agent_status": 1, "agent_hello": 1, "definitions": 1, "unknown": 2}
    assert store.gateway == (0, 0)
