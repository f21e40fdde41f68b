"""Rules 1, 2, 5 and 11 of docs/accounting.md: what one flow counts. Bytes are (up, down)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from reference_store import MAC, NETFLIX, T0, ReferenceStore, flow, purge, stats, status
from support import CAPTURES, of_single_devices

from netify_agent.accounting.flow import split
from netify_agent.netifyd.framing import RecordReader

# -- interval and total (rule 1) -------------------------------------------------------------------------


def test_intervals_are_summed_and_cumulative_totals_are_not(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 100, 1000, 1100), stats("a", 50, 400, 1550), purge("a", 10, 40, 1600))
    store.flush()

    assert store.gateway == store.device() == store.app(NETFLIX) == (160, 1440)
    assert store.totals[MAC] == [160, 1440, 16, 144, 1]
    assert store.protocols[MAC] == {"HTTP/S": [160, 1440, 16, 144, 1]}
    assert store.counters == {}


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures are not part of the project")
def test_a_recorded_stream_agrees_with_the_oracle_to_the_byte_and_the_packet() -> None:
    reader = RecordReader(1 << 20)
    store = ReferenceStore(100_000)
    data = (CAPTURES / "live-4.4.5.raw").read_bytes()
    for start in range(0, len(data), 65536):
        store.feed(*reader.feed(data[start : start + 65536]))
        store.flush(300 + start // (65536 * 8))
    truth = json.loads((CAPTURES / "live-4.4.5.truth.json").read_text())
    names = ("bytes_up", "bytes_down", "packets_up", "packets_down")

    def row(sums: list[int]) -> dict[str, int]:
        return dict(zip(names, sums, strict=False))

    devices = {name: row(sums) for name, sums in store.totals.items() if name and any(sums[:4])}
    applications = {
        f"{name} {tag}": row(sums)
        for name in devices
        for tag, sums in store.applications[name].items()
        if any(sums[:4])
    }
    assert row(store.totals[""]) == truth["gateway"]
    assert devices == of_single_devices(truth["devices"])
    assert applications == of_single_devices(truth["applications"])


def test_a_purge_counts_the_bytes_since_the_last_stats(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 100, 200, 300), purge("a", 7, 3, 310)).flush()

    assert store.device() == (107, 203)


def test_a_short_flow_is_counted_by_its_purge_alone(store: ReferenceStore) -> None:
    store.feed(flow("a"), purge("a", 70, 30, 100)).flush()

    assert store.device() == (70, 30)
    assert store.count() == 1


def test_a_purge_ends_the_flow_in_the_table_and_in_the_store(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 0, 10)).flush()
    assert store.flows.keys() == {"a"}
    assert store.accountant.live_flows == 1

    assert store.feed(purge("a", 0, 0, 10)).flush().flows == {"a": None}
    assert store.accountant.live_flows == 0


# -- missed intervals (rule 5) ---------------------------------------------------------------------------


def test_missed_bytes_are_split_in_the_flows_own_proportion(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 100, 300, 400), stats("a", 20, 80, 900)).flush()

    # 900 - 400 - 100 = 400 missed, split 120 : 380
    assert store.device() == (120 + 96, 380 + 304)
    assert store.counters["bytes_missed"] == 400
    assert store.counters["packets_missed"] == 40


def test_the_parts_of_missed_bytes_add_up_and_rounding_favours_down(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30), stats("a", 0, 0, 31)).flush()

    assert store.device() == (10, 21)
    assert split(10, 1, 2) == (3, 7)
    assert split(0, 1, 2) == (0, 0)


def test_missed_bytes_without_a_proportion_are_halved(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 0, 0, 0), stats("a", 0, 0, 101)).flush()

    assert store.device() == (50, 51)


def test_missed_packets_alone_are_counted(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30), stats("a", 10, 20, 60, total_packets=12)).flush()

    assert store.device() == (20, 40)
    assert sum(store.totals[MAC][2:4]) == 12
    assert store.counters == {"bytes_missed": 0, "packets_missed": 6}


def test_bytes_missed_during_a_reconnect_are_recovered(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 100, 100, 200)).flush()
    store.connect(status(115), stats("a", 10, 10, 1000)).flush()

    assert store.device() == (500, 500)
    assert store.counters["bytes_missed"] == 780


# -- repeated and contradictory records ------------------------------------------------------------------


def test_a_repeated_record_adds_nothing(store: ReferenceStore) -> None:
    records = [
        flow("a"),
        stats("a", 10, 20, 30),
        stats("a", 1, 2, 33, at=T0 + 1),
        purge("a", 1, 2, 36, at=T0 + 2),
    ]
    for place, record in enumerate(records):
        for earlier in (record, *records[: place + 1]):
            store.feed(earlier)
    store.flush()

    assert store.gateway == store.device() == (12, 24)
    assert store.totals[MAC][4] == 1
    assert store.counters["records_repeated"] > 5
    assert store.counters["bytes_missed"] == 0


def test_a_repeated_purge_does_not_resume_the_flow(store: ReferenceStore) -> None:
    store.feed(flow("a"), purge("a", 10, 20, 30), purge("a", 10, 20, 30)).flush()

    assert store.device() == (10, 20)
    assert store.accountant.live_flows == 0
    assert store.counters == {"records_repeated": 1}


def test_a_total_that_grew_by_less_than_the_interval_counts(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 100, 200, 300), stats("a", 100, 200, 360)).flush()

    assert store.device() == (120, 240)
    assert store.totals[MAC][2:4] == [12, 24]
    assert store.counters == {"records_contradictory": 1}


def test_contradictions_in_bytes_and_packets_are_handled_separately(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 100, 200, 300))
    store.feed(stats("a", 100, 200, 900, total_packets=33)).flush()  # bytes missed, packets claimed twice

    assert store.device() == (300, 600)
    assert store.totals[MAC][2:4] == [11, 22]
    store.feed(stats("a", 100, 200, 1000, total_packets=99)).flush()  # the other way round
    assert sum(store.device()) == 1000
    assert sum(store.totals[MAC][2:4]) == 99
    store.feed(stats("a", 10, 20, 1030, total_packets=50)).flush()  # their count began anew
    assert sum(store.totals[MAC][2:4]) == 99 + 3


def test_a_first_total_below_its_interval_counts(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 100, 200, 30)).flush()

    assert store.device() == (10, 20)


def test_without_totals_the_intervals_are_counted(store: ReferenceStore) -> None:
    bare = stats("a", 10, 20, 0)
    del bare["flow"]["total_bytes"], bare["flow"]["total_packets"]
    store.feed(flow("a"), bare, bare, {**bare, "type": "flow_purge"}).flush()

    assert store.totals[MAC] == [30, 60, 3, 6, 1]
    store.feed({**bare, "type": "flow_purge"}).flush()
    assert store.totals[MAC][:2] == [40, 80]


def test_packets_without_bytes_are_counted(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 0, 0, 0, local_packets=2, total_packets=2)).flush()

    assert store.totals[MAC] == [0, 0, 2, 0, 1]


def test_an_empty_interval_changes_no_row_but_keeps_the_flow_live(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    batch = store.feed(stats("a", 0, 0, 30)).flush()

    assert not batch.counted
    assert batch.flows.keys() == {"a"}


# -- packet counters (rule 11) ---------------------------------------------------------------------------


PACKETS = ("local_packets", "other_packets", "total_packets")


@pytest.mark.parametrize("name", PACKETS)
@pytest.mark.parametrize("value", [None, "5", True, -2, 1 << 47])
def test_invalid_packet_counters_do_not_void_the_bytes(store: ReferenceStore, name: str, value: Any) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30, **{name: value})).flush()

    assert (store.accountant.rejected, store.device(), store.totals[MAC][2:4]) == ({}, (10, 20), [0, 0])


def test_records_without_packets_are_counted_in_bytes(store: ReferenceStore) -> None:
    records = [stats("a", 1000, 2000, 3000), purge("a", 50, 70, 3120)]
    for record in records:
        for name in ("local_packets", "other_packets"):
            del record["flow"][name]
    store.feed(flow("a"), *records).flush()

    assert store.device() == (1050, 2070)


def test_packet_counters_that_restart_within_a_flow_are_counted(store: ReferenceStore) -> None:
    """netifyd 4.4.5, a second DNS query over the same two ends: its bytes go on, its packets begin at 0."""
    first = {"local_packets": 1, "other_packets": 1, "total_packets": 2}
    again = {"local_packets": 0, "other_packets": 1, "total_packets": 1}
    store.feed(flow("a"), stats("a", 89, 305, 394, **first), purge("a", 0, 305, 788, **again)).flush()

    assert sum(store.device()) == 788
    assert store.totals[MAC][2:4] == [1, 2]


def test_packet_counters_that_restart_and_exceed_the_old_ones_are_counted(store: ReferenceStore) -> None:
    first = {"local_packets": 1, "other_packets": 1, "total_packets": 2}
    again = {"local_packets": 1, "other_packets": 2, "total_packets": 3}
    store.feed(flow("a"), stats("a", 89, 305, 394, **first), stats("a", 100, 500, 1083, **again)).flush()

    assert sum(store.device()) == 1083
    assert store.totals[MAC][2:4] == [2, 3]
