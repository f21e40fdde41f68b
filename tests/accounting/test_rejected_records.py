"""Records that cannot be used are rejected and counted."""

from __future__ import annotations

from typing import Any

import pytest
from reference_store import ReferenceStore, flow, stats

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


@pytest.mark.parametrize("name", [*COUNTERS, "total_bytes"])
@pytest.mark.parametrize("value", [None, "5", 5.0, True, [], {}, -2, -(10**30), 1 << 47, 10**30])
def test_an_invalid_counter_is_rejected_and_counted(store: ReferenceStore, name: str, value: Any) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30, **{name: value}), stats("a", 10, 20, 30)).flush()

    assert store.accountant.rejected == {"counters out of range": 1}
    assert store.device() == (10, 20)


@pytest.mark.parametrize("name", COUNTERS)
def test_a_negative_counter_is_rejected_and_counted(store: ReferenceStore, name: str) -> None:
    below: dict[str, Any] = {name: -1}
    store.feed(stats("a", 10, 20, 30, **below)).flush()

    assert store.accountant.rejected == {"counters out of range": 1}


def test_records_are_counted_by_type_and_unknown_ones_ignored(store: ReferenceStore) -> None:
    store.feed(
        {"type": "agent_hello"}, {"type": "definitions"}, {"type": "new"}, {"type": "<script>"}
    ).flush()

    assert store.accountant.records == {"agent_status": 1, "agent_hello": 1, "definitions": 1, "unknown": 2}
    assert store.gateway == (0, 0)
