"""The accounting: every trap of netifyd's wire format, and every further rule, with plain records.

The numbers of the traps are those of docs/accounting.md. Bytes are (up, down).
"""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import Mock

import pytest
from reference_store import (
    IP,
    MAC,
    OTHER,
    OTHER_IP,
    SOURCE,
    T0,
    TAG,
    Record,
    ReferenceStore,
    flow,
    purge,
    stats,
    status,
)
from support import CAPTURES, of_single_devices

from netify_agent.accounting.accountant import Accountant
from netify_agent.accounting.batch import FlowState, SourceState
from netify_agent.accounting.capture_points import CaptureRules
from netify_agent.accounting.flow import Flow, split
from netify_agent.accounting.flow_id import digest_of
from netify_agent.netifyd.flow_record import UNDESCRIBED, Key
from netify_agent.netifyd.framing import RecordReader

NETFLIX, YOUTUBE, DNS = "netify.netflix", "netify.youtube", "netify.dns"


@pytest.fixture
def store() -> ReferenceStore:
    """Connected to a netifyd that tracked no flow when we came."""
    return ReferenceStore().connect(status())


# -- trap 1: interval against cumulative -----------------------------------------------------------------


def test_trap_1_intervals_are_summed_and_cumulative_totals_are_not(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 100, 1000, 1100), stats("a", 50, 400, 1550), purge("a", 10, 40, 1600))
    store.flush()

    assert store.gateway == store.device() == store.app(NETFLIX) == (160, 1440)
    assert store.totals[MAC] == [160, 1440, 16, 144, 1]
    assert store.protocols[MAC] == {"HTTP/S": [160, 1440, 16, 144, 1]}
    assert store.counters == {}


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures are not part of the project")
def test_trap_1_a_recorded_stream_agrees_with_the_oracle_to_the_byte_and_the_packet() -> None:
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


# -- trap 2: a purge has counters too --------------------------------------------------------------------


def test_trap_2_a_purge_counts_what_came_after_the_last_stats(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 100, 200, 300), purge("a", 7, 3, 310)).flush()

    assert store.device() == (107, 203)


def test_trap_2_a_short_flow_is_counted_by_its_purge_alone(store: ReferenceStore) -> None:
    store.feed(flow("a"), purge("a", 70, 30, 100)).flush()

    assert store.device() == (70, 30)
    assert store.count() == 1


def test_trap_2_a_purge_ends_the_flow_in_the_table_and_in_the_store(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 0, 10)).flush()
    assert store.flows.keys() == {"a"}
    assert store.accountant.live_flows == 1

    assert store.feed(purge("a", 0, 0, 10)).flush().flows == {"a": None}
    assert store.accountant.live_flows == 0


# -- trap 3: counters before identity, or without --------------------------------------------------------


@pytest.mark.parametrize("last", [stats, purge])
def test_trap_3_bytes_before_the_description_go_where_it_says(store: ReferenceStore, last: Any) -> None:
    store.feed(stats("a", 100, 200, 300), last("a", 10, 20, 330)).flush()
    assert (store.gateway, store.device()) == ((110, 220), (0, 0))
    assert store.unattributed == [110, 220, 11, 22, 1]

    store.feed(flow("a")).flush()
    assert store.gateway == store.device() == store.app(NETFLIX) == (110, 220)
    assert store.unattributed == [0, 0, 0, 0, 0]


def test_trap_3_a_flow_that_is_never_described_is_the_gateways_alone(store: ReferenceStore) -> None:
    store.feed(stats("a", 100, 200, 300), purge("a", 1, 2, 303)).flush()

    assert store.gateway == store.app("Unknown", "") == (101, 202)
    assert store.totals.keys() == {""}


# -- trap 4: reclassification ----------------------------------------------------------------------------


def test_trap_4_bytes_move_to_the_last_application(store: ReferenceStore) -> None:
    store.feed(flow("a", "Unknown"), stats("a", 100, 200, 300)).flush()
    store.feed(flow("a", YOUTUBE, detected_protocol_name="QUIC"), stats("a", 1, 2, 303)).flush()

    assert store.gateway == store.device() == store.app(YOUTUBE) == (101, 202)
    assert store.applications[MAC]["Unknown"] == [0, 0, 0, 0, 0]
    assert store.applications[MAC][YOUTUBE] == store.protocols[MAC]["QUIC"] == [101, 202, 10, 20, 1]
    assert store.protocols[MAC]["HTTP/S"] == [0, 0, 0, 0, 0]


def test_trap_4_a_refinement_can_change_the_device_too(store: ReferenceStore) -> None:
    store.feed(flow("a", local_mac=None), stats("a", 100, 200, 300)).flush()
    store.feed(flow("a")).flush()

    assert store.device(IP) == (0, 0)
    assert store.device() == (100, 200)


def test_trap_4_the_same_description_again_changes_nothing(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 100, 200, 300)).flush()
    batch = store.feed(flow("a")).flush()

    assert not (batch.counted or batch.moved)


def test_trap_4_a_reclassification_after_the_end_still_moves(store: ReferenceStore) -> None:
    store.feed(flow("a", "Unknown"), purge("a", 100, 200, 300)).flush()
    store.feed(flow("a", NETFLIX)).flush()

    assert store.app(NETFLIX) == store.gateway == (100, 200)
    assert store.flows == {}


def test_trap_4_history_moves_within_the_open_bucket_and_totals_always() -> None:
    store = ReferenceStore().connect(status())
    store.feed(flow("a", "Unknown"), stats("a", 100, 200, 300)).flush(300)
    store.flush(600)
    store.feed(stats("a", 10, 20, 330)).flush()  # in the bucket 600, which stays open
    store.feed(stats("a", 1, 2, 333), flow("a", NETFLIX)).flush()

    assert store.app(NETFLIX) == (111, 222)
    assert store.past(300, "Unknown", MAC) == (100, 200)  # closed: what it was
    assert store.past(600, "Unknown", MAC) == (0, 0)
    assert store.past(600, NETFLIX, MAC) == (11, 22)
    assert store.past(300) == (100, 200)
    assert store.past(600) == (11, 22)


def test_trap_4_bytes_of_closed_buckets_alone_move_in_no_history() -> None:
    store = ReferenceStore().connect(status())
    store.feed(flow("a", "Unknown"), stats("a", 100, 200, 300)).flush(600)
    batch = store.feed(flow("a", NETFLIX)).flush()

    assert not batch.counted
    assert {key.application: row.counts() for key, row in batch.moved.items()} == {
        "Unknown": (-100, -200, -10, -20, -1),
        NETFLIX: (100, 200, 10, 20, 1),
    }


# -- trap 5: missed intervals ----------------------------------------------------------------------------


def test_trap_5_what_was_missed_is_counted_in_the_flows_own_proportion(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 100, 300, 400), stats("a", 20, 80, 900)).flush()

    # 900 - 400 - 100 = 400 missed, split 120 : 380
    assert store.device() == (120 + 96, 380 + 304)
    assert store.counters["bytes_missed"] == 400
    assert store.counters["packets_missed"] == 40


def test_trap_5_the_parts_always_add_up_and_rounding_favours_down(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30), stats("a", 0, 0, 31)).flush()

    assert store.device() == (10, 21)
    assert split(10, 1, 2) == (3, 7)
    assert split(0, 1, 2) == (0, 0)


def test_trap_5_without_a_proportion_it_is_halves(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 0, 0, 0), stats("a", 0, 0, 101)).flush()

    assert store.device() == (50, 51)


def test_trap_5_missed_packets_alone_are_counted(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30), stats("a", 10, 20, 60, total_packets=12)).flush()

    assert store.device() == (20, 40)
    assert sum(store.totals[MAC][2:4]) == 12
    assert store.counters == {"bytes_missed": 0, "packets_missed": 6}


def test_trap_5_a_reconnect_recovers_what_was_sent_meanwhile(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 100, 100, 200)).flush()
    store.connect(status(115), stats("a", 10, 10, 1000)).flush()

    assert store.device() == (500, 500)
    assert store.counters["bytes_missed"] == 780


# -- trap 6: flows seen from the middle ------------------------------------------------------------------


def test_trap_6_what_a_flow_had_before_we_came_is_not_ours() -> None:
    store = ReferenceStore().connect(status(flow_count=5), stats("a", 10, 20, 1_000_000))
    store.feed(purge("a", 1, 2, 1_000_003)).flush()

    assert store.gateway == (11, 22)
    assert store.counters["bytes_before"] == 999_970
    assert store.counters["packets_before"] == 99_997
    assert store.counters["bytes_missed"] == 0


def test_trap_6_described_it_is_decided_at_once() -> None:
    store = ReferenceStore().connect(status(flow_count=5))
    store.feed(stats("a", 10, 20, 1000), flow("a", born=T0 - 60_000)).flush()

    assert store.gateway == (10, 20)
    assert store.counters["bytes_before"] == 970


def test_trap_6_a_flow_born_on_our_watch_is_ours_from_its_first_byte() -> None:
    store = ReferenceStore().connect(status(flow_count=5))
    store.feed(stats("a", 10, 20, 900), flow("a", born=T0 + 1)).flush()

    assert store.gateway == (300, 600)
    assert store.counters["bytes_missed"] == 870
    assert store.counters["bytes_before"] == 0


def test_trap_6_where_netifyd_tracked_no_flow_when_we_came_all_is_ours(store: ReferenceStore) -> None:
    store.feed(stats("a", 10, 20, 900)).flush()

    assert store.gateway == (300, 600)


def test_trap_6_without_a_status_the_first_record_tells_when_we_came() -> None:
    for first in (flow("x", born=T0), stats("x", 0, 0, 0, at=T0)):
        store = ReferenceStore().feed(first)
        store.feed(flow("old", born=T0 - 1), stats("old", 10, 0, 100))
        store.feed(flow("new", born=T0), stats("new", 0, 10, 100)).flush()

        assert store.gateway == (10, 100)


def test_trap_6_what_is_undecided_survives_a_restart_of_the_agent() -> None:
    store = ReferenceStore().connect(status(flow_count=5), stats("a", 10, 20, 900))
    store.flush()
    assert store.flows["a"].unclaimed_bytes == 870

    store.crash().feed(flow("a", born=T0 + 1)).flush()
    assert store.gateway == (300, 600)


# -- trap 7: local to local ------------------------------------------------------------------------------


def local(digest: str, app: str = NETFLIX, **fields: Any) -> Record:
    return flow(digest, app, other_type="local", other_ip=OTHER_IP, **fields)


def test_trap_7_what_one_device_sent_the_other_received(store: ReferenceStore) -> None:
    store.feed(local("a"), stats("a", 100, 200, 300)).flush()

    assert store.device(MAC) == (100, 200)
    assert store.device(OTHER) == (200, 100)
    assert store.totals[OTHER] == [200, 100, 20, 10, 1]
    assert store.gateway == (100, 200)
    assert store.count() == 1
    assert store.mirrored == [200, 100, 20, 10, 1]


def test_trap_7_missed_and_moved_bytes_are_mirrored_too(store: ReferenceStore) -> None:
    store.feed(stats("a", 30, 60, 90), local("a", "Unknown"), stats("a", 0, 0, 180)).flush()
    store.feed(local("a", NETFLIX)).flush()

    assert store.app(NETFLIX, MAC) == (60, 120)
    assert store.app(NETFLIX, OTHER) == (120, 60)
    assert store.app("Unknown", OTHER) == (0, 0)


def test_trap_7_a_flow_that_turns_out_not_to_be_local_leaves_the_other_side(store: ReferenceStore) -> None:
    store.feed(local("a"), stats("a", 30, 60, 90)).flush()
    store.feed(flow("a")).flush()

    assert store.totals[OTHER] == store.mirrored == [0, 0, 0, 0, 0]
    assert store.device(MAC) == (30, 60)


# -- trap 8: no MAC --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mac", ["00:00:00:00:00:00", None])
def test_trap_8_without_a_mac_the_ip_address_is_the_device(store: ReferenceStore, mac: str | None) -> None:
    store.feed(flow("a", local_mac=mac), stats("a", 10, 20, 30)).flush()

    assert store.device(IP) == (10, 20)
    assert store.totals.keys() == {"", IP}


def test_trap_8_with_neither_the_flow_keeps_its_application_at_the_gateway(store: ReferenceStore) -> None:
    store.feed(flow("a", local_mac=None, local_ip=None), stats("a", 10, 20, 30)).flush()

    assert store.app(NETFLIX, "") == (10, 20)
    assert store.unattributed == [10, 20, 1, 2, 1]


# -- trap 9: clocks --------------------------------------------------------------------------------------


def test_trap_9_a_clock_that_jumps_back_loses_nothing(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30, at=T0 + 15_000))
    store.feed(status(115, at=T0 - 86_400_000), stats("a", 1, 2, 33, at=T0 - 86_400_000))
    store.feed(purge("a", 1, 2, 36, at=T0 - 86_300_000)).flush()

    assert store.device() == (12, 24)
    assert store.counters == {}


def test_trap_9_a_clock_that_jumps_ahead_ends_no_flow(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30))
    store.feed(status(115, at=T0 + 10**12), stats("a", 1, 2, 33, at=T0 + 10**12)).flush()

    assert store.accountant.live_flows == 1
    assert store.device() == (11, 22)


def test_trap_9_records_without_times_are_counted() -> None:
    store = ReferenceStore().feed({"type": "agent_status"}, status(at=0))
    store.feed(flow("a", born=0), stats("a", 10, 20, 30, at=0), stats("a", 1, 2, 33, at=0)).flush()

    assert store.device() == (11, 22)
    assert store.sources[SOURCE].epoch is None


# -- trap 10: hostile text -------------------------------------------------------------------------------


def test_trap_10_what_the_network_wrote_leaves_printable_and_short(store: ReferenceStore) -> None:
    evil = "\x1b[2J\udcff<script>" + "x" * 1000
    store.feed(flow("a", evil, detected_protocol_name=evil, dhcp={}, local_port=68, host_server_name=evil))
    store.feed({**flow("b"), "interface": evil}, stats("a", 10, 20, 30))
    batch = store.flush()

    note = batch.devices[MAC]
    for text in (*batch.counted, note.hint, note.interface):
        for part in text if isinstance(text, Key) else (text,):
            assert part is not None
            assert part.isprintable()
            assert len(part) <= 253


# -- records again ---------------------------------------------------------------------------------------


def test_a_record_that_comes_again_adds_nothing(store: ReferenceStore) -> None:
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


def test_a_purge_that_comes_again_does_not_bring_the_flow_back(store: ReferenceStore) -> None:
    store.feed(flow("a"), purge("a", 10, 20, 30), purge("a", 10, 20, 30)).flush()

    assert store.device() == (10, 20)
    assert store.accountant.live_flows == 0
    assert store.counters == {"records_repeated": 1}


def test_a_total_that_grew_by_less_than_the_interval_is_believed(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 100, 200, 300), stats("a", 100, 200, 360)).flush()

    assert store.device() == (120, 240)
    assert store.totals[MAC][2:4] == [12, 24]
    assert store.counters == {"records_contradictory": 1}


def test_bytes_and_packets_may_contradict_themselves_separately(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 100, 200, 300))
    store.feed(stats("a", 100, 200, 900, total_packets=33)).flush()  # bytes missed, packets claimed twice

    assert store.device() == (300, 600)
    assert store.totals[MAC][2:4] == [11, 22]
    store.feed(stats("a", 100, 200, 1000, total_packets=99)).flush()  # the other way round
    assert sum(store.device()) == 1000
    assert sum(store.totals[MAC][2:4]) == 99
    store.feed(stats("a", 10, 20, 1030, total_packets=50)).flush()  # their count began anew
    assert sum(store.totals[MAC][2:4]) == 99 + 3


def test_a_first_total_below_its_own_interval_is_believed(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 100, 200, 30)).flush()

    assert store.device() == (10, 20)


def test_without_totals_the_intervals_are_all_there_is(store: ReferenceStore) -> None:
    bare = stats("a", 10, 20, 0)
    del bare["flow"]["total_bytes"], bare["flow"]["total_packets"]
    store.feed(flow("a"), bare, bare, {**bare, "type": "flow_purge"}).flush()

    assert store.totals[MAC] == [30, 60, 3, 6, 1]
    store.feed({**bare, "type": "flow_purge"}).flush()
    assert store.totals[MAC][:2] == [40, 80]


def test_packets_without_bytes_are_counted(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 0, 0, 0, local_packets=2, total_packets=2)).flush()

    assert store.totals[MAC] == [0, 0, 2, 0, 1]


def test_an_interval_of_nothing_changes_no_row_but_keeps_the_flow_alive(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    batch = store.feed(stats("a", 0, 0, 30)).flush()

    assert not batch.counted
    assert batch.flows.keys() == {"a"}


# -- the same two ends again: a digest used anew ---------------------------------------------------------


def test_a_digest_used_anew_is_another_flow(store: ReferenceStore) -> None:
    store.feed(flow("a"), purge("a", 10, 20, 30, at=T0 + 1)).flush()
    store.feed(flow("a", born=T0 + 5), stats("a", 1, 2, 3, at=T0 + 6)).flush()
    store.feed(purge("a", 1, 2, 6, at=T0 + 7)).flush()

    assert store.device() == (12, 24)
    assert store.count() == 2
    assert store.counters == {}


def test_a_digest_used_anew_may_count_before_it_is_described(store: ReferenceStore) -> None:
    """The new life's bytes move by its own description; those of the old one stay."""
    store.feed(flow("a", NETFLIX), purge("a", 10, 20, 30, at=T0 + 1))
    store.feed(
        stats("a", 1, 2, 3, at=T0 + 6), flow("a", YOUTUBE, born=T0 + 5), stats("a", 4, 5, 12, at=T0 + 9)
    )
    store.flush()

    assert store.app(NETFLIX) == (10, 20)
    assert store.app(YOUTUBE) == (5, 7)
    assert store.count() == 2


def test_a_digest_used_anew_counts_the_same_total_again(store: ReferenceStore) -> None:
    """NTP from port 123 to port 123: each life is the same two ends and the same 180 bytes."""
    for life in range(3):
        store.feed(purge("a", 90, 90, 180, at=T0 + life))
    store.feed(flow("a", DNS, born=T0 + 2)).flush()

    assert store.gateway == (270, 270)
    assert store.app(DNS) == (90, 90)
    assert store.counters == {}


def test_a_digest_used_anew_after_a_life_of_no_bytes_is_described_by_its_own_record(
    store: ReferenceStore,
) -> None:
    store.feed(flow("a", NETFLIX), purge("a", 0, 0, 0, at=T0 + 1))
    store.feed(stats("a", 1, 2, 3, at=T0 + 6), flow("a", YOUTUBE, born=T0 + 5)).flush()

    assert store.app(YOUTUBE) == store.gateway == (1, 2)


def test_a_description_later_than_the_end_is_of_another_flow(store: ReferenceStore) -> None:
    """Else the bytes of a flow that nobody described would move to the next one between its ends."""
    store.feed(purge("a", 10, 20, 30, at=T0 + 1), flow("a", born=T0 + 5), stats("a", 10, 20, 30, at=T0 + 6))
    store.flush()

    assert store.device() == (10, 20)
    assert store.unattributed[:2] == [10, 20]


def test_a_live_digest_used_anew_means_that_its_purge_was_missed(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30, at=T0 + 1))
    store.feed(stats("a", 1, 2, 3, at=T0 + 6), stats("a", 1, 2, 6, at=T0 + 7)).flush()
    assert store.device() == (12, 24)
    store.feed(flow("a", YOUTUBE, born=T0 + 5)).flush()
    assert store.app(NETFLIX) == (10, 20)
    assert store.app(YOUTUBE) == (2, 4)

    store.feed(flow("a", NETFLIX, born=T0 + 10), stats("a", 5, 5, 10, at=T0 + 11)).flush()
    assert store.app(NETFLIX) == (15, 25)
    assert store.count() == 3


def test_counters_of_a_new_life_that_look_like_growth_count_once(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30, at=T0 + 1))
    store.feed(stats("a", 100, 200, 300, at=T0 + 6), flow("a", born=T0 + 5)).flush()

    assert store.device() == (100, 200)  # 30 are missing: nothing tells that these are two flows
    store.feed(stats("a", 10, 20, 330, at=T0 + 7)).flush()
    assert store.device() == (110, 220)


def test_what_a_flow_held_is_settled_before_its_digest_means_another(store: ReferenceStore) -> None:
    store.feed(flow("x", digest_prev=[]), stats("a", 10, 20, 900, at=T0 + 1))
    store.feed(stats("a", 1, 2, 3, at=T0 + 9)).flush()

    assert store.gateway == (301, 602)


# -- a flow that comes back ------------------------------------------------------------------------------


def test_a_flow_goes_on_after_its_purge_where_its_total_does(store: ReferenceStore) -> None:
    store.feed(flow("a"), purge("a", 10, 20, 30)).flush()
    store.feed(stats("a", 1, 2, 33), stats("a", 1, 2, 36)).flush()

    assert store.device() == (12, 24)
    assert store.count() == 1
    assert store.flows.keys() == {"a"}


def test_past_the_bound_the_least_recently_seen_flow_is_let_go_and_counted() -> None:
    store = ReferenceStore(2).connect(status())
    store.feed(flow("a"), flow("b"), stats("a", 10, 20, 30)).flush()
    batch = store.feed(flow("c")).flush()

    assert batch.flows["b"] is None
    assert store.flows.keys() == {"a", "c"}
    assert store.counters == {"flows_evicted": 1}
    assert store.sources[SOURCE].evicted == T0 + 1
    assert store.accountant.live_flows == 2


def test_a_flow_that_was_let_go_goes_on_as_itself() -> None:
    store = ReferenceStore(1).connect(status())
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b"), stats("a", 1, 2, 93, at=T0 + 1)).flush()

    assert store.device() == (31, 62)
    assert store.counters["bytes_missed"] == 60
    assert store.count() == 2


@pytest.mark.parametrize("last", [stats, purge])
def test_a_flow_that_returns_to_a_full_table_is_not_let_go_at_once(last: Any) -> None:
    """It stood as the least recently seen; its purge then raised KeyError."""
    store = ReferenceStore(2).connect(status())
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b"), flow("c"), last("a", 1, 2, 33)).flush()

    assert store.device() == (11, 22)
    assert store.counters["flows_evicted"] == 2


def test_the_purge_of_a_flow_that_was_let_go_ends_it(store: ReferenceStore) -> None:
    """So that the next flow between its ends is not taken for its continuation."""
    store = ReferenceStore(1).connect(status())
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b"), purge("a", 0, 0, 30, at=T0 + 1))
    store.feed(stats("a", 100, 200, 300, at=T0 + 9)).flush()

    assert store.device() == (110, 220)
    assert store.counters["bytes_missed"] == 0


def test_a_flow_known_no_more_may_have_been_counted_before_it_was_let_go() -> None:
    store = ReferenceStore(1).connect(status())
    store.feed(flow("a"), stats("a", 10, 20, 30))
    store.feed(*(flow(f"x{number}") for number in range(200)))  # it is forgotten altogether
    store.feed(stats("a", 1, 2, 33, at=T0 + 1), purge("a", 0, 0, 33, at=T0 + 1)).flush()

    assert store.gateway == (11, 22)
    assert store.counters["bytes_before"] == 30
    store.feed(flow("new", born=T0 + 2), stats("new", 10, 20, 90, at=T0 + 3)).flush()
    assert store.gateway == (41, 82)


def test_a_flow_is_settled_by_what_was_so_before_it_was_let_go_itself() -> None:
    store = ReferenceStore(1).connect(status())
    store.feed(stats("a", 10, 20, 900, at=T0 + 1, digest_prev=[]), flow("b")).flush()

    assert store.gateway == (300, 600)


def test_the_bound_may_be_lowered_at_any_time(store: ReferenceStore) -> None:
    store.feed(*(flow(f"d{number}") for number in range(500)))
    store.accountant.max_flows = 100
    store.feed(flow("one more")).flush()

    assert store.accountant.max_flows == 100
    assert store.accountant.live_flows == 100 - 100 // 64
    assert "one more" in store.flows


def test_a_flow_silent_for_an_hour_of_status_reports_is_let_go(store: ReferenceStore) -> None:
    store.feed(flow("silent"), flow("busy"))
    for report in range(240):
        assert store.accountant.live_flows == 2
        store.feed(stats("busy", 0, 0, 0), status(100 + report))
    store.flush()

    assert store.flows.keys() == {"busy"}
    assert store.counters == {"flows_expired": 1}


# -- digest chains (v5) ----------------------------------------------------------------------------------


def test_a_flow_goes_on_under_the_digest_that_replaces_its_own(store: ReferenceStore) -> None:
    store.feed(flow("a", "Unknown", digest_prev=[]), stats("a", 10, 20, 30)).flush()
    store.feed(flow("b", YOUTUBE, digest_prev=["a"]), stats("b", 1, 2, 33, digest_prev=["a"])).flush()

    assert store.app(YOUTUBE) == store.gateway == (11, 22)
    assert store.count() == 1
    assert store.flows.keys() == {"b"}


def test_counters_may_bring_the_new_digest_first(store: ReferenceStore) -> None:
    store.feed(flow("a", "Unknown"), stats("a", 10, 20, 30)).flush()
    store.feed(purge("b", 1, 2, 33, digest_prev=["a"]), flow("b", YOUTUBE, digest_prev=["a"])).flush()

    assert store.app(YOUTUBE) == store.gateway == (11, 22)
    assert store.flows == {}


def test_a_chain_of_three_is_one_flow_by_each_of_its_names(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b", digest_prev=["a"]), stats("b", 1, 2, 33))
    store.feed(flow("c", YOUTUBE, digest_prev=["a", "b"]), stats("c", 1, 2, 36))
    store.feed(stats("a", 1, 2, 39), stats("b", 1, 2, 42), purge("a", 1, 2, 45)).flush()

    assert store.app(YOUTUBE) == store.gateway == (15, 30)
    assert store.accountant.live_flows == 0
    assert store.count() == 1


def test_a_late_record_under_an_earlier_digest_unties_no_chain(store: ReferenceStore) -> None:
    """It names the digests before its own: once, that made its own the newest again, and of another flow."""
    late = stats("b", 1, 2, 33, digest_prev=["a"])
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b", digest_prev=["a"]), late)
    store.feed(flow("c", YOUTUBE, digest_prev=["a", "b"]), stats("c", 1, 2, 36))
    store.feed(late, stats("b", 1, 2, 39, digest_prev=["a"]), flow("b", DNS, digest_prev=["a"])).flush()

    assert store.app(YOUTUBE) == store.gateway == (13, 26)
    assert store.count() == 1
    assert store.flows.keys() == {"c"}


def test_a_new_life_that_counts_under_an_early_digest_is_refined_from_there(store: ReferenceStore) -> None:
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


def test_a_chain_may_be_told_link_by_link(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b", digest_prev=["a"]), flow("c", digest_prev=["b"]))
    store.feed(stats("a", 1, 2, 33)).flush()

    assert store.gateway == (11, 22)
    assert store.count() == 1


def test_a_description_under_an_old_digest_undoes_no_refinement(store: ReferenceStore) -> None:
    store.feed(flow("a", "Unknown"), flow("b", YOUTUBE, digest_prev=["a"]), stats("b", 10, 20, 30))
    store.feed(flow("a", "Unknown"), flow("a", "Unknown", born=0)).flush()

    assert store.app(YOUTUBE) == (10, 20)
    assert store.count() == 1
    assert store.counters == {"records_repeated": 2}


def test_a_description_under_an_old_digest_is_better_than_none(store: ReferenceStore) -> None:
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


def test_an_undescribed_flow_that_is_over_does_not_take_over_one_that_lives(store: ReferenceStore) -> None:
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


def test_two_entries_that_turn_out_to_be_one_flow_are_merged(store: ReferenceStore) -> None:
    """Under its new digest it was unknown: what it carried before counts once."""
    store.feed(flow("x", digest_prev=[]), flow("a", "Unknown"), stats("a", 10, 20, 30))
    store.feed(stats("b", 2, 4, 66)).flush()  # 30 of its 60 before are those of a; 30 were missed
    assert store.gateway == (12, 24)

    store.feed(flow("b", YOUTUBE, digest_prev=["a"])).flush()
    assert store.app(YOUTUBE) == store.gateway == (22, 44)
    assert store.counters["bytes_missed"] == 30
    assert store.count() == 2  # with x
    assert store.flows.keys() == {"x", "b"}


def test_a_merge_keeps_the_description_that_there_is(store: ReferenceStore) -> None:
    store.feed(flow("x", digest_prev=[]), flow("a", NETFLIX), stats("a", 10, 20, 30), stats("b", 1, 2, 33))
    store.feed(stats("b", 1, 2, 36, digest_prev=["a"])).flush()
    assert store.app(NETFLIX) == store.gateway == (12, 24)

    store.feed(stats("c", 1, 2, 3), flow("d", YOUTUBE), stats("d", 1, 2, 6, digest_prev=["c"])).flush()
    assert store.app(YOUTUBE) == (2, 4)
    assert store.unattributed == [0, 0, 0, 0, 0]


def test_a_merge_with_a_described_flow_of_no_device_keeps_what_it_is(store: ReferenceStore) -> None:
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
def test_a_chain_that_is_none_changes_nothing(store: ReferenceStore, previous: Any) -> None:
    store.feed(flow("b", digest_prev=previous), stats("b", 10, 20, 30, digest_prev=previous)).flush()

    assert store.device() == (10, 20)


def test_chains_are_remembered_within_bounds() -> None:
    store = ReferenceStore(1000).connect(status())
    for number in range(500):
        store.feed(flow(f"new{number}", digest_prev=[f"old{number}"]), purge(f"new{number}", 1, 0, 1))
    table = store.accountant._tables[SOURCE]
    assert len(table._later_digests) == len(table.ended) == 100


def test_a_chain_longer_than_anyone_made_is_followed_no_further(store: ReferenceStore) -> None:
    for number in range(30):
        store.feed(stats(f"d{number + 1}", 0, 0, 0, digest_prev=[f"d{number}"]))
    store.feed(stats("d0", 10, 20, 30)).flush()

    assert store.gateway == (10, 20)


# -- netifyd restarts, and more than one -----------------------------------------------------------------


def test_a_new_netifyd_ends_the_flows_of_the_old_one(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    store.connect(status(5, at=T0 + 60_000)).flush()

    assert store.flows == {}
    assert store.counters == {"netifyd_restarts": 1}
    assert store.sources == {SOURCE: SourceState(T0 + 55_000, 0, T0 + 55_000, 5)}


def test_all_that_a_new_netifyd_saw_is_ours(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 900)).flush()
    store.connect(status(50, at=T0 + 60_000, flow_count=9))
    store.feed(stats("a", 10, 20, 90, at=T0 + 70_000), stats("b", 10, 20, 90, at=T0 + 70_000)).flush()

    assert store.gateway == (360, 720)
    assert store.counters["bytes_before"] == 0


def test_an_uptime_that_goes_back_on_one_connection_is_a_clock_and_no_restart(store: ReferenceStore) -> None:
    store.feed(flow("a"), status(5))
    store.connect(status(6)).flush()

    assert store.accountant.live_flows == 1
    assert store.counters == {}


def test_a_restart_concerns_only_the_netifyd_that_restarted(store: ReferenceStore) -> None:
    store.connect(status(1000), flow("b"), source="tcp://10.0.0.2:7150")
    store.feed(flow("a")).connect(status(5)).flush()

    assert [state.source for state in store.flows.values()] == ["tcp://10.0.0.2:7150"]


def test_a_restart_before_any_counters_counts_the_next_ones_from_nothing(store: ReferenceStore) -> None:
    store.feed(flow("a"))
    store.connect(status(5, at=T0 + 60_000)).feed(stats("a", 10, 20, 90, at=T0 + 70_000)).flush()

    assert store.gateway == (30, 60)


# -- restarts of the agent -------------------------------------------------------------------------------


def test_after_a_restart_of_the_agent_a_flow_is_known_and_its_gap_recovered(store: ReferenceStore) -> None:
    store.feed(local("a"), stats("a", 10, 20, 30)).flush()
    store.feed(stats("a", 100, 200, 330))  # lost with the agent
    store.crash().connect(status(130), stats("a", 1, 2, 363)).flush()

    assert sum(store.device()) == sum(store.gateway) == 363
    assert store.device(OTHER) == store.device(MAC)[::-1]
    assert store.count() == 1
    assert store.counters["bytes_missed"] == 330


def test_nothing_is_counted_twice_where_records_arrive_before_the_store_does(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b"), stats("b", 10, 20, 30)).flush()
    store.crash(restore=False).connect(status(130))
    store.feed(stats("a", 1, 2, 63, at=T0 + 1), purge("b", 1, 2, 63, at=T0 + 1))
    store.restore()
    store.flush()

    assert store.device() == store.gateway == (42, 84)
    assert store.count() == 2
    assert store.flows.keys() == {"a"}


def test_a_flow_described_before_the_store_came_goes_on_as_the_one_stored_undescribed(
    store: ReferenceStore,
) -> None:
    """Its stored bytes stayed nobody's, and were counted again with its next total."""
    store.feed(stats("a", 10, 20, 30)).flush()
    store.crash(restore=False).connect(status(130), flow("a"))
    store.restore()
    store.feed(stats("a", 1, 2, 33)).flush()

    assert store.device() == store.gateway == (11, 22)
    assert store.count() == 1


def test_what_was_missed_of_a_flow_stored_without_counters_is_not_lost(store: ReferenceStore) -> None:
    """Its held bytes were overwritten when the stored flow was merged."""
    store.feed(flow("a")).flush()
    store.crash(restore=False).connect(status(130), stats("a", 10, 20, 900))
    store.restore()
    store.flush()

    assert store.device() == (300, 600)
    assert store.flows["a"].first_seen == T0


def test_a_stored_flow_is_dropped_where_its_digest_means_another_now(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    store.crash(restore=False).connect(status(130), flow("a", YOUTUBE, born=T0 + 5), stats("a", 1, 2, 3))
    store.restore()
    store.flush()

    assert store.app(NETFLIX) == (10, 20)
    assert store.app(YOUTUBE) == (1, 2)
    assert store.flows["a"].first_seen == T0 + 5


def test_a_stored_flow_may_have_been_renamed_meanwhile(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    store.crash(restore=False).connect(
        status(130), flow("b", YOUTUBE, digest_prev=["a"]), stats("b", 1, 2, 33)
    )
    store.restore()
    store.flush()

    assert store.app(YOUTUBE) == store.gateway == (11, 22)
    assert store.flows.keys() == {"b"}


def test_flows_of_a_netifyd_that_restarted_meanwhile_are_over(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b"), stats("b", 10, 20, 30)).flush()
    store.crash(restore=False).connect(status(5, at=T0 + 60_000), stats("a", 1, 2, 3, at=T0 + 61_000))
    store.restore()
    store.flush()

    assert store.flows.keys() == {"a"}
    assert store.gateway == (21, 42)
    assert store.unattributed[:2] == [1, 2]


def test_what_such_a_flow_held_is_settled_with_the_netifyd_that_it_was_of(store: ReferenceStore) -> None:
    store.feed(flow("x", digest_prev=[]), stats("a", 10, 20, 900)).flush()
    assert store.flows["a"].unclaimed_bytes == 870
    store.crash(restore=False).connect(status(5, at=T0 + 60_000))
    store.restore()
    store.flush()

    assert store.gateway == (300, 600)


def test_a_restart_of_netifyd_is_noticed_after_the_store_came_too(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    store.crash().connect(status(5, at=T0 + 60_000)).flush()

    assert store.flows == {}


def test_an_unknown_flow_after_a_restart_of_the_agent_is_ours_if_netifyd_is_of_our_time(
    store: ReferenceStore,
) -> None:
    store.flush()
    store.crash().connect(status(130), stats("a", 10, 20, 90)).flush()
    assert store.gateway == (30, 60)

    store = ReferenceStore().connect(status(flow_count=3))
    store.flush()
    store.crash().connect(status(130), stats("a", 10, 20, 90), purge("a", 0, 0, 90)).flush()
    assert store.gateway == (10, 20)


def test_what_is_held_across_restarts_is_counted_once(store: ReferenceStore) -> None:
    """It was counted when the store came, before a record told that digests change here (v5), and then
    again at the next restart: the decision had not reached the store."""
    store.feed(stats("a", 10, 20, 900, digest_prev=[])).flush()
    store.crash().flush()
    assert store.gateway == (10, 20)
    store.crash().feed(flow("a", digest_prev=[])).flush()
    assert store.gateway == (300, 600)
    store.crash().feed(purge("a", 0, 0, 900, digest_prev=[])).flush()
    assert store.gateway == (300, 600)


def test_what_is_decided_when_the_store_came_reaches_it() -> None:
    store = ReferenceStore(new=False).connect(status(), stats("a", 10, 20, 900))
    store.flush()
    store.restore()
    store.flush()
    assert store.gateway == (300, 600)
    assert store.flows["a"].unclaimed_bytes == 0


def test_before_the_store_came_nothing_that_was_held_is_decided() -> None:
    store = ReferenceStore(new=False).connect(status(), stats("a", 10, 20, 90), purge("b", 10, 20, 90))
    store.flush()
    assert store.gateway == (20, 40)

    store.restore()
    store.flush()
    assert store.gateway == (60, 120)


def test_what_was_held_of_flows_forgotten_before_the_store_came_is_told() -> None:
    store = ReferenceStore(new=False).connect(status())
    store.feed(*(purge(f"d{number}", 1, 0, 10) for number in range(101)))
    store.feed(purge("d100", 1, 0, 10), flow("d99", born=T0 + 1)).flush()

    assert store.counters["bytes_before"] == 18  # of d0, and of d99 in its earlier life


def test_restored_flows_count_against_the_bound() -> None:
    store = ReferenceStore().connect(status(), *(flow(f"d{number}") for number in range(20)))
    store.flush()
    store.max_flows = 10
    store.crash().flush()

    assert len(store.flows) == 10
    assert store.counters["flows_evicted"] == 10


def test_the_addresses_of_restored_devices_are_followed(store: ReferenceStore) -> None:
    store.feed(local("a")).flush()
    batch = store.crash().feed({"type": "endpoints", OTHER: [OTHER_IP]}).flush()

    assert batch.devices[OTHER].addresses == {OTHER_IP: 0}


# -- what a batch tells of live flows --------------------------------------------------------------------


def test_a_batch_holds_the_state_of_flows_that_changed(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30, at=T0 + 1), flow("b")).flush()
    batch = store.feed(stats("b", 1, 2, 3)).flush()

    assert batch.flows.keys() == {"b"}
    key = Key(MAC, NETFLIX, "HTTP/S")
    assert store.flows["a"] == FlowState(SOURCE, key, None, T0, T0 + 1, 30, 3, 10, 20, 1, 2, 0, 0)


def test_a_flow_that_begins_and_ends_within_one_batch_never_reaches_the_store(store: ReferenceStore) -> None:
    assert store.feed(flow("a"), purge("a", 10, 20, 30)).flush().flows == {}


def test_a_flow_that_came_back_and_left_again_leaves_nothing_in_the_store(store: ReferenceStore) -> None:
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


def test_all_live_flows_can_be_given_to_a_store_that_lost_them(store: ReferenceStore) -> None:
    store.feed(flow("a"), flow("b"), purge("b", 0, 0, 0)).flush()
    store.flows.clear()
    store.accountant.save_all()
    store.flush()

    assert store.flows.keys() == {"a"}


def test_a_batch_can_be_measured(store: ReferenceStore) -> None:
    assert store.feed(local("a"), stats("a", 1, 2, 3)).flush().size == 6


# -- a store that lost its rows --------------------------------------------------------------------------


def test_bytes_that_the_store_lost_are_never_moved(store: ReferenceStore) -> None:
    """The flow itself was moved, too: a row that was not there had -1 flows."""
    store.feed(local("a", "Unknown"), stats("a", 10, 20, 30), purge("b", 10, 20, 30)).flush()
    store = store.lose()
    store.feed(local("a", NETFLIX), flow("b"), stats("a", 1, 2, 33)).flush()

    assert store.gateway == store.app(NETFLIX) == (1, 2)
    assert store.totals[OTHER] == [2, 1, 0, 0, 1]
    assert store.count() == 1
    assert store.flows.keys() == {"a"}


def test_moves_that_were_waiting_for_the_store_are_dropped_with_its_rows(store: ReferenceStore) -> None:
    """What had been moved while Redis was away took bytes from rows that did not come back with it."""
    store.feed(flow("a", "Unknown"), stats("a", 10, 20, 30)).flush(600)
    store.feed(flow("c", "Unknown"), stats("c", 10, 20, 30)).flush()
    store.feed(flow("a", NETFLIX), stats("a", 1, 2, 33), flow("c", NETFLIX), flow("b"), purge("b", 1, 2, 3))
    store = store.lose()
    store.flush()

    assert store.gateway == store.app(NETFLIX) == (12, 24)
    assert store.app("Unknown") == (0, 0)
    assert store.count() == 2


def test_a_flow_that_returns_after_the_loss_is_counted_as_one(store: ReferenceStore) -> None:
    store.feed(flow("a"), purge("a", 10, 20, 30)).flush()
    store = store.lose()
    store.feed(stats("a", 1, 2, 33)).flush()
    store.crash().feed(flow("a", YOUTUBE)).flush()

    assert store.app(YOUTUBE) == store.gateway == (1, 2)
    assert store.count() == 1


def test_entries_that_merge_after_the_loss_are_one_flow(store: ReferenceStore) -> None:
    store.feed(flow("x", digest_prev=[]), purge("a", 10, 20, 30), stats("b", 1, 2, 33)).flush()
    store = store.lose()
    store.feed(flow("b", digest_prev=["a"]), purge("x", 0, 0, 0)).flush()

    assert store.count() == 2
    assert store.gateway == (0, 0)


# -- what is learned of devices --------------------------------------------------------------------------


def test_a_device_has_its_interface_name_and_addresses(store: ReferenceStore) -> None:
    store.feed(flow("a"), flow("b", local_ip="fe80::1", dhcp={}, local_port=68, host_server_name="laptop"))
    note = store.flush().devices[MAC]

    assert (note.interface, note.hint) == ("br0", "laptop")
    assert note.addresses == {IP: T0, "fe80::1": T0}


def test_addresses_are_learned_from_a_status_and_from_v5s_endpoints(store: ReferenceStore) -> None:
    store.feed(flow("a")).flush()
    store.feed(status(115, devices={MAC: ["192.168.1.20"], OTHER: ["192.168.1.21"]}))
    store.feed({"type": "endpoints", MAC.upper(): ["FE80::2", "0.0.0.0", 5, "no address", "9" * 1000]})
    notes = store.flush().devices

    assert notes.keys() == {MAC}  # a device without a flow is none of ours
    assert notes[MAC].addresses == {"192.168.1.20": 0, "fe80::2": 0}


@pytest.mark.parametrize("devices", [None, [], "x", {"x" * 1000: []}, {MAC: None}, {MAC: "x"}, {"": [""]}])
def test_a_device_list_of_any_type_is_no_crash(store: ReferenceStore, devices: Any) -> None:
    batch = store.feed(flow("a"), status(115, devices=devices)).flush()

    assert batch.devices[MAC].addresses == {IP: T0}


def test_a_device_keeps_the_latest_addresses_of_each_family(store: ReferenceStore) -> None:
    """Twenty temporary IPv6 addresses must not push out the IPv4 address that its name is bound to."""
    for number in range(1, 7):
        store.feed(flow(f"d{number}", local_ip=f"10.0.0.{number}", born=T0 + number))
    for number in range(10, 30):
        store.feed(flow(f"e{number}", local_ip=f"2001:db8::{number}", born=T0 + number))
    store.feed(flow("again", local_ip="10.0.0.4", born=T0 - 5))
    addresses = store.flush().devices[MAC].addresses

    assert [ip for ip in addresses if ":" not in ip] == ["10.0.0.3", "10.0.0.5", "10.0.0.6", "10.0.0.4"]
    assert [ip for ip in addresses if ":" in ip] == [f"2001:db8::{number}" for number in range(18, 30)]
    assert addresses["10.0.0.4"] == T0 + 4


def test_the_category_of_an_application_is_learned(store: ReferenceStore) -> None:
    assert store.feed(flow("a", category={"application": 27})).flush().categories == {NETFLIX: 27}


def test_rows_tell_when_they_were_seen(store: ReferenceStore) -> None:
    store.feed(flow("a", born=T0 + 1), stats("a", 1, 2, 3, at=T0 + 9), stats("a", 0, 0, 3, at=0))
    (row,) = store.flush().counted.values()

    assert (row.first_seen, row.last_seen) == (T0 + 1, T0 + 9)


# -- records that can't be used --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flow", "flow_stats", "flow_purge"])
@pytest.mark.parametrize(
    "inner", [None, 5, "x", [], {}, {"digest": None}, {"digest": 5}, {"digest": ""}, {"digest": "x" * 129}]
)
def test_a_record_of_no_flow_is_rejected_and_counted(store: ReferenceStore, kind: str, inner: Any) -> None:
    store.feed({"type": kind, "flow": inner}, {"type": kind}).flush()

    assert store.accountant.rejected == {f"{kind} without digest": 2}
    assert store.gateway == (0, 0)


COUNTERS = ("local_bytes", "other_bytes")
PACKETS = ("local_packets", "other_packets", "total_packets")


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
def test_a_counter_that_is_no_count_is_rejected_and_counted(
    store: ReferenceStore, name: str, value: Any
) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30, **{name: value}), stats("a", 10, 20, 30)).flush()

    assert store.accountant.rejected == {"counters out of range": 1}
    assert store.device() == (10, 20)


@pytest.mark.parametrize("name", COUNTERS)
def test_a_count_below_nothing_is_rejected_and_counted(store: ReferenceStore, name: str) -> None:
    below: dict[str, Any] = {name: -1}
    store.feed(stats("a", 10, 20, 30, **below)).flush()

    assert store.accountant.rejected == {"counters out of range": 1}


def test_records_are_counted_by_type_and_unknown_ones_ignored(store: ReferenceStore) -> None:
    store.feed(
        {"type": "agent_hello"}, {"type": "definitions"}, {"type": "new"}, {"type": "<script>"}
    ).flush()

    assert store.accountant.records == {"agent_status": 1, "agent_hello": 1, "definitions": 1, "unknown": 2}
    assert store.gateway == (0, 0)


def test_what_is_not_described_is_undescribed() -> None:
    assert Key(None, "Unknown", "Unknown") == UNDESCRIBED


# -- found by review and attack --------------------------------------------------------------------


def test_netifyd_and_the_agent_restart_while_redis_is_away_and_nothing_counts_twice(
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


def test_one_clock_gone_wild_is_not_when_we_came() -> None:
    """Cause: the first record's time was kept as the epoch, though an agent_status said better later."""
    store = ReferenceStore()
    store.feed(stats("wild", 1, 0, 1, at=(1 << 42) - 1), status(100), flow("a", born=T0 + 1000))
    store.feed(stats("a", 10, 0, 500)).flush()
    assert store.totals[MAC][0] == 500


def test_one_clock_gone_wild_is_not_when_we_let_go() -> None:
    """Cause: the time of an evicted flow was believed, so that all later flows seemed older than it."""
    store = ReferenceStore(max_flows=64)
    store.feed(status(100), flow("wild", last_seen_at=(1 << 42) - 1))
    for number in range(200):
        store.feed(flow(f"f{number}"))
    store.feed(flow("late", born=T0 + 61_000), stats("late", 10, 0, 500)).flush()
    assert store.totals[MAC][0] == 500


def test_a_flow_let_go_between_two_status_reports_counts_once() -> None:
    """Cause: not believing a wild clock, we believed no time after the latest agent_status at all."""
    store = ReferenceStore(1).connect(status())
    store.feed(flow("a", born=T0 + 5000), stats("a", 10, 20, 30, at=T0 + 6000), flow("b")).flush()
    store.crash().connect(status(105, at=T0 + 5000))
    store.feed(flow("a", born=T0 + 5000), stats("a", 1, 2, 33, at=T0 + 7000)).flush()
    assert store.gateway == (11, 22)


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
def test_a_batch_has_the_states_of_the_moment_when_it_was_taken(later: list[Any], most: int | None) -> None:
    """However much happens until they are written into it."""
    store = ReferenceStore(max_flows=2).connect(status(), flow("a"), stats("a", 10, 20, 30, at=T0 + 1))
    store.accountant.close_batch(store.bucket)
    batch = store.finish(most) if most is None else None
    store.connect(*later)
    while batch is None:
        batch = store.finish(1)
    key = Key(MAC, NETFLIX, "HTTP/S")
    assert batch.flows == {"a": FlowState(SOURCE, key, None, T0, T0 + 1, 30, 3, 10, 20, 1, 2, 0, 0)}
    store.apply(batch)
    store.flush()


def test_a_batch_that_was_not_handed_over_is_handed_over_before_the_next_one(store: ReferenceStore) -> None:
    store.feed(flow("a"), flow("b"))
    store.accountant.close_batch(store.bucket)
    assert store.finish(1) is None
    store.feed(flow("c"))
    assert store.take(store.bucket).flows.keys() == {"a", "b"}
    assert store.take(store.bucket).flows.keys() == {"c"}


@pytest.mark.parametrize("most", [0, 1])
@pytest.mark.parametrize(
    "end",
    [
        pytest.param([purge("b", 0, 0, 30, at=T0 + 2)], id="its end"),
        pytest.param([status(3, at=T0 + 9)], id="another netifyd"),
    ],
)
def test_a_flow_that_goes_back_to_a_digest_does_not_undo_that_it_had_left_it(
    end: list[Any], most: int
) -> None:
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


def test_a_state_that_memory_is_too_short_for_is_written_later(
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


def test_a_flow_that_makes_room_for_the_one_that_it_goes_on_as_is_let_go(store: ReferenceStore) -> None:
    """An earlier life has to make room among the flows that are over, and this flow is the first there."""
    store.feed(flow("b"), flow("a", born=T0 + 5), purge("a", 1, 2, 3, at=T0 + 6))
    for number in range(99):
        store.feed(flow(f"c{number}"), purge(f"c{number}", 1, 2, 3))
    store.feed(stats("b", 1, 2, 3, at=T0 + 9, digest_prev=["a"])).flush()
    assert store.totals[MAC][:2] == [100, 200]
    assert store.unattributed[:2] == [1, 2]


# -- packets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PACKETS)
@pytest.mark.parametrize("value", [None, "5", True, -2, 1 << 47])
def test_packets_that_are_no_count_do_not_void_the_bytes(
    store: ReferenceStore, name: str, value: Any
) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30, **{name: value})).flush()

    assert (store.accountant.rejected, store.device(), store.totals[MAC][2:4]) == ({}, (10, 20), [0, 0])


def test_records_without_packets_are_counted_in_bytes(store: ReferenceStore) -> None:
    records = [stats("a", 1000, 2000, 3000), purge("a", 50, 70, 3120)]
    for record in records:
        for name in ("local_packets", "other_packets"):
            del record["flow"][name]
    store.feed(flow("a"), *records).flush()

    assert store.device() == (1050, 2070)


def test_packets_whose_count_begins_anew_under_way_are_all_counted(store: ReferenceStore) -> None:
    """netifyd 4.4.5, a second DNS query over the same two ends: its bytes go on, its packets begin at 0."""
    first = {"local_packets": 1, "other_packets": 1, "total_packets": 2}
    again = {"local_packets": 0, "other_packets": 1, "total_packets": 1}
    store.feed(flow("a"), stats("a", 89, 305, 394, **first), purge("a", 0, 305, 788, **again)).flush()

    assert sum(store.device()) == 788
    assert store.totals[MAC][2:4] == [1, 2]


def test_packets_that_begin_anew_and_outgrow_what_was_known_are_all_counted(store: ReferenceStore) -> None:
    first = {"local_packets": 1, "other_packets": 1, "total_packets": 2}
    again = {"local_packets": 1, "other_packets": 2, "total_packets": 3}
    store.feed(flow("a"), stats("a", 89, 305, 394, **first), stats("a", 100, 500, 1083, **again)).flush()

    assert sum(store.device()) == 1083
    assert store.totals[MAC][2:4] == [2, 3]


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


def test_an_hour_of_silence_is_an_hour_of_the_same_source(store: ReferenceStore) -> None:
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


def test_flows_of_a_source_that_nobody_listens_to_any_more_end(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30)).feed(flow("b"), source=BRANCH).flush()
    store.accountant.keep_sources([SOURCE])
    store.flush()

    assert (store.flows.keys(), store.device()) == ({"a"}, (10, 20))


def test_flows_that_an_older_schema_named_by_digest_alone_are_renamed(store: ReferenceStore) -> None:
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
    assert batch.counted[Key(MAC, NETFLIX, "HTTP/S")].counts()[:2] == (3, 7)


# -- netifyd's clock -------------------------------------------------------------------------------------

MONTH = 30 * 86_400_000


def test_a_netifyd_that_comes_back_a_month_earlier_is_ours_from_its_start(store: ReferenceStore) -> None:
    """A gateway without a battery for its clock: all that the new process ever saw is still ours."""
    store.connect(status(1000)).feed(flow("a"), stats("a", 1000, 2000, 3000)).flush()
    back = T0 - MONTH
    store.connect(status(5, at=back, flow_count=3))
    store.feed(flow("b", born=back - 2000), stats("b", 10, 20, 100_000, at=back + 1000)).flush()

    assert sum(store.gateway) == 103_000
    assert "bytes_before" not in store.counters


@pytest.mark.parametrize("restore", [True, False], ids=["restored first", "restored later"])
def test_agent_and_netifyd_may_both_come_back_a_month_earlier(store: ReferenceStore, restore: bool) -> None:
    store.connect(status(1000)).feed(flow("a"), stats("a", 1000, 2000, 3000)).flush()
    back = T0 - MONTH
    store.crash(restore=restore).connect(status(5, at=back, flow_count=3))
    store.feed(flow("b", born=back - 2000), stats("b", 10, 20, 100_000, at=back + 1000))
    if not restore:
        store.restore()
    store.flush()

    assert sum(store.gateway) == 103_000


def test_a_clock_that_is_set_back_hides_no_flow_that_begins_after(store: ReferenceStore) -> None:
    back = T0 - MONTH
    store = ReferenceStore().connect(status(100, flow_count=1))
    store.feed(flow("before", born=T0 - 50_000), stats("before", 1, 2, 500)).feed(status(115, at=back))
    store.feed(flow("after", born=back + 5), stats("after", 10, 20, 100, at=back + 9)).flush()
    store.feed(flow("quiet", born=T0 - 40_000), stats("quiet", 1, 1, 900, at=back + 9)).flush()

    assert sum(store.gateway) == 3 + 100 + 2
    assert store.counters["bytes_before"] == 497 + 898


# -- capture points --------------------------------------------------------------------------------------

ROUTER_MAC, WAN_IP = "02:00:00:00:00:fe", "198.51.100.7"
LAN_AND_WAN = {
    "br-lan": {"addr": ["192.168.1.1"], "mac": "02:00:00:00:00:fd", "role": "LAN"},
    "wan": {"addr": [WAN_IP], "mac": ROUTER_MAC, "role": "WAN"},
}


def outside(digest: str, **fields: Any) -> Any:
    """What the WAN interface shows of a connection."""
    fields = {"local_mac": ROUTER_MAC, "local_ip": WAN_IP, "ip_nat": True, **fields}
    return {**flow(digest, **fields), "interface": "wan", "internal": False}


def check_one_device(store: ReferenceStore) -> None:
    assert (store.gateway, store.device()) == ((10, 20), (10, 20))
    assert store.device(ROUTER_MAC) == (0, 0)
    assert store.left_out[:2] == [10, 20]
    assert "wan flow" not in store.flush().placed


@pytest.mark.parametrize(
    "seen_outside",
    [
        pytest.param({}, id="NAT"),
        pytest.param({"ip_nat": False, "local_ip": "2001:db8::10"}, id="IPv6"),
        pytest.param({"ip_nat": False}, id="netifyd without connection tracking"),
    ],
)
@pytest.mark.parametrize("announced", [True, False], ids=["roles", "no roles"])
def test_a_packet_seen_at_lan_and_wan_counts_once(
    store: ReferenceStore, seen_outside: dict[str, Any], announced: bool
) -> None:
    store.feed(status(interfaces=LAN_AND_WAN) if announced else status())
    store.feed(outside("wan flow", **seen_outside), {**stats("wan flow", 4, 8, 12), "internal": False})
    store.feed(flow("a"), stats("a", 10, 20, 30))
    store.feed(stats("wan flow", 6, 12, 30)).flush()
    check_one_device(store)

    store.crash().connect(status(200)).feed(purge("wan flow", 0, 0, 30)).flush()
    check_one_device(store)


def test_counters_from_outside_before_their_description_are_left_out_too(store: ReferenceStore) -> None:
    store.feed(status(interfaces=LAN_AND_WAN), flow("a"), stats("a", 10, 20, 30))
    store.feed({**stats("wan flow", 10, 20, 30), "interface": "wan", "internal": False}).flush()
    assert store.gateway == (10, 20)
    store.feed(outside("wan flow")).flush()
    check_one_device(store)


def test_traffic_of_the_gateway_itself_counts_where_conntrack_proves_it(
    store: ReferenceStore,
) -> None:
    own = {"ip_nat": False, "conntrack": {"id": 1, "mark": 0}}
    store.feed(status(interfaces=LAN_AND_WAN), flow("a"), stats("a", 10, 20, 30))
    store.feed(outside("own", **own), stats("own", 1, 2, 3))
    store.feed(outside("routed", **own, local_ip="192.0.2.77"), stats("routed", 4, 5, 9)).flush()

    assert (store.gateway, store.device(ROUTER_MAC)) == ((11, 22), (1, 2))
    assert store.left_out[:2] == [4, 5]


def test_a_netifyd_that_watches_only_the_outside_counts_all_of_it(store: ReferenceStore) -> None:
    store.feed(status(interfaces={"wan": LAN_AND_WAN["wan"]}), outside("b"), stats("b", 1, 2, 3)).flush()

    assert store.gateway == store.device(ROUTER_MAC) == (1, 2)


@pytest.mark.parametrize(
    ("rules", "gateway"),
    [
        (CaptureRules(include=("wan",)), (1, 2)),
        (CaptureRules(include=("role:lan",)), (10, 20)),
        (CaptureRules(exclude=("br-lan",)), (1, 2)),
        (CaptureRules(exclude=("role:wan",)), (10, 20)),
        (CaptureRules(exclude=("wg0",)), (11, 22)),
    ],
)
def test_which_interfaces_count_can_be_configured(rules: CaptureRules, gateway: tuple[int, int]) -> None:
    store = ReferenceStore()
    store.accountant.set_capture_rules(rules)
    store.feed(status(interfaces=LAN_AND_WAN), {**flow("a"), "interface": "br-lan"}, stats("a", 10, 20, 30))
    store.feed(outside("b"), stats("b", 1, 2, 3)).flush()

    assert store.gateway == gateway
    assert store.left_out[:2] == [11 - gateway[0], 22 - gateway[1]]


def test_the_status_can_say_which_interfaces_count(store: ReferenceStore) -> None:
    store.feed(status(interfaces=LAN_AND_WAN))

    assert store.accountant.capture_points() == {SOURCE: [("br-lan", "lan", True), ("wan", "wan", False)]}


def test_netifyd_5_tells_its_interfaces_in_a_record_of_their_own(store: ReferenceStore) -> None:
    store.feed(outside("b"), stats("b", 1, 2, 3))
    store.feed({"type": "interfaces", **LAN_AND_WAN}).flush()

    assert (store.gateway, store.left_out[:2]) == ((0, 0), [1, 2])


# -- netifyd 5's descriptions ----------------------------------------------------------------------------


def test_the_last_description_by_arrival_counts_whatever_its_type(store: ReferenceStore) -> None:
    for kind, app in (("flow", "Unknown"), ("flow_dpi_update", NETFLIX), ("flow_dpi_complete", YOUTUBE)):
        store.feed({**flow("a", app, local_bytes=6583, total_bytes=0), "type": kind})
    store.feed(stats("a", 10, 20, 30)).flush()

    assert (store.device(), store.app(YOUTUBE)) == ((10, 20), (10, 20))


def test_a_flow_may_be_described_by_its_completion_alone(store: ReferenceStore) -> None:
    store.feed(stats("a", 10, 20, 30), {**flow("a"), "type": "flow_dpi_complete"}).flush()

    assert store.device() == (10, 20)


@pytest.mark.parametrize("restore", [True, False], ids=["restored first", "restored later"])
def test_unclaimed_bytes_of_flows_before_a_restart_of_netifyd_are_not_those_after_it(
    store: ReferenceStore, restore: bool
) -> None:
    """Their flows ended after the baseline of the new process was set, and were taken for younger than it."""
    store = ReferenceStore().connect(status(1000, flow_count=1))
    store.feed(stats("a", 10, 20, 5000)).flush()
    if not restore:
        store.crash(restore=False)
    store.connect(status(5, at=T0 + 60_000))
    if not restore:
        store.restore()
    store.flush()

    assert store.gateway == (10, 20)
