"""The accounting: every trap of netifyd's wire format, and every further rule, with plain records.

The numbers of the traps are those of docs/accounting.md. Bytes are (up, down).
"""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import Mock

import pytest
from books import IP, MAC, OTHER, OTHER_IP, SOURCE, T0, Books, Record, flow, purge, stats, status
from support import CAPTURES

from netify_agent.batch import FlowState, Instance
from netify_agent.description import UNDESCRIBED, Key
from netify_agent.flow import Flow, split
from netify_agent.stream import RecordReader

NETFLIX, YOUTUBE, DNS = "netify.netflix", "netify.youtube", "netify.dns"


@pytest.fixture
def books() -> Books:
    """Connected to a netifyd that tracked no flow when we came."""
    return Books().connect(status())


# -- trap 1: interval against cumulative -----------------------------------------------------------------


def test_trap_1_intervals_are_summed_and_cumulative_totals_are_not(books: Books) -> None:
    books.feed(flow("a"), stats("a", 100, 1000, 1100), stats("a", 50, 400, 1550), purge("a", 10, 40, 1600))
    books.flush()

    assert books.gateway == books.device() == books.app(NETFLIX) == (160, 1440)
    assert books.totals[MAC] == [160, 1440, 16, 144, 1]
    assert books.protocols[MAC] == {"HTTP/S": [160, 1440, 16, 144, 1]}
    assert books.counters == {}


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures are not part of the project")
def test_trap_1_a_recorded_stream_agrees_with_the_oracle_to_the_byte_and_the_packet() -> None:
    reader = RecordReader(1 << 20)
    books = Books(100_000)
    data = (CAPTURES / "live-4.4.5.raw").read_bytes()
    for start in range(0, len(data), 65536):
        books.feed(*reader.feed(data[start : start + 65536]))
        books.flush(300 + start // (65536 * 8))
    truth = json.loads((CAPTURES / "live-4.4.5.truth.json").read_text())
    names = ("bytes_up", "bytes_down", "packets_up", "packets_down")

    def row(sums: list[int]) -> dict[str, int]:
        return dict(zip(names, sums, strict=False))

    devices = {name: row(sums) for name, sums in books.totals.items() if name and any(sums[:4])}
    applications = {
        f"{name} {tag}": row(sums)
        for name in devices
        for tag, sums in books.applications[name].items()
        if any(sums[:4])
    }
    assert row(books.totals[""]) == truth["gateway"]
    assert devices == truth["devices"]
    assert applications == truth["applications"]


# -- trap 2: a purge has counters too --------------------------------------------------------------------


def test_trap_2_a_purge_counts_what_came_after_the_last_stats(books: Books) -> None:
    books.feed(flow("a"), stats("a", 100, 200, 300), purge("a", 7, 3, 310)).flush()

    assert books.device() == (107, 203)


def test_trap_2_a_short_flow_is_counted_by_its_purge_alone(books: Books) -> None:
    books.feed(flow("a"), purge("a", 70, 30, 100)).flush()

    assert books.device() == (70, 30)
    assert books.count() == 1


def test_trap_2_a_purge_ends_the_flow_in_the_table_and_in_the_store(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 0, 10)).flush()
    assert books.flows.keys() == {"a"}
    assert books.accountant.live_flows == 1

    assert books.feed(purge("a", 0, 0, 10)).flush().flows == {"a": None}
    assert books.accountant.live_flows == 0


# -- trap 3: counters before identity, or without --------------------------------------------------------


@pytest.mark.parametrize("last", [stats, purge])
def test_trap_3_bytes_before_the_description_go_where_it_says(books: Books, last: Any) -> None:
    books.feed(stats("a", 100, 200, 300), last("a", 10, 20, 330)).flush()
    assert (books.gateway, books.device()) == ((110, 220), (0, 0))
    assert books.unattributed == [110, 220, 11, 22, 1]

    books.feed(flow("a")).flush()
    assert books.gateway == books.device() == books.app(NETFLIX) == (110, 220)
    assert books.unattributed == [0, 0, 0, 0, 0]


def test_trap_3_a_flow_that_is_never_described_is_the_gateways_alone(books: Books) -> None:
    books.feed(stats("a", 100, 200, 300), purge("a", 1, 2, 303)).flush()

    assert books.gateway == books.app("Unknown", "") == (101, 202)
    assert books.totals.keys() == {""}


# -- trap 4: reclassification ----------------------------------------------------------------------------


def test_trap_4_bytes_move_to_the_last_application(books: Books) -> None:
    books.feed(flow("a", "Unknown"), stats("a", 100, 200, 300)).flush()
    books.feed(flow("a", YOUTUBE, detected_protocol_name="QUIC"), stats("a", 1, 2, 303)).flush()

    assert books.gateway == books.device() == books.app(YOUTUBE) == (101, 202)
    assert books.applications[MAC]["Unknown"] == [0, 0, 0, 0, 0]
    assert books.applications[MAC][YOUTUBE] == books.protocols[MAC]["QUIC"] == [101, 202, 10, 20, 1]
    assert books.protocols[MAC]["HTTP/S"] == [0, 0, 0, 0, 0]


def test_trap_4_a_refinement_can_change_the_device_too(books: Books) -> None:
    books.feed(flow("a", local_mac=None), stats("a", 100, 200, 300)).flush()
    books.feed(flow("a")).flush()

    assert books.device(IP) == (0, 0)
    assert books.device() == (100, 200)


def test_trap_4_the_same_description_again_changes_nothing(books: Books) -> None:
    books.feed(flow("a"), stats("a", 100, 200, 300)).flush()
    batch = books.feed(flow("a")).flush()

    assert not (batch.counted or batch.moved)


def test_trap_4_a_reclassification_after_the_end_still_moves(books: Books) -> None:
    books.feed(flow("a", "Unknown"), purge("a", 100, 200, 300)).flush()
    books.feed(flow("a", NETFLIX)).flush()

    assert books.app(NETFLIX) == books.gateway == (100, 200)
    assert books.flows == {}


def test_trap_4_history_moves_within_the_open_bucket_and_totals_always() -> None:
    books = Books().connect(status())
    books.feed(flow("a", "Unknown"), stats("a", 100, 200, 300)).flush(300)
    books.flush(600)
    books.feed(stats("a", 10, 20, 330)).flush()  # in the bucket 600, which stays open
    books.feed(stats("a", 1, 2, 333), flow("a", NETFLIX)).flush()

    assert books.app(NETFLIX) == (111, 222)
    assert books.past(300, "Unknown", MAC) == (100, 200)  # closed: what it was
    assert books.past(600, "Unknown", MAC) == (0, 0)
    assert books.past(600, NETFLIX, MAC) == (11, 22)
    assert books.past(300) == (100, 200)
    assert books.past(600) == (11, 22)


def test_trap_4_bytes_of_closed_buckets_alone_move_in_no_history() -> None:
    books = Books().connect(status())
    books.feed(flow("a", "Unknown"), stats("a", 100, 200, 300)).flush(600)
    batch = books.feed(flow("a", NETFLIX)).flush()

    assert not batch.counted
    assert {key.application: row.counts() for key, row in batch.moved.items()} == {
        "Unknown": (-100, -200, -10, -20, -1),
        NETFLIX: (100, 200, 10, 20, 1),
    }


# -- trap 5: missed intervals ----------------------------------------------------------------------------


def test_trap_5_what_was_missed_is_counted_in_the_flows_own_proportion(books: Books) -> None:
    books.feed(flow("a"), stats("a", 100, 300, 400), stats("a", 20, 80, 900)).flush()

    # 900 - 400 - 100 = 400 missed, split 120 : 380
    assert books.device() == (120 + 96, 380 + 304)
    assert books.counters["bytes_missed"] == 400
    assert books.counters["packets_missed"] == 40


def test_trap_5_the_parts_always_add_up_and_rounding_favours_down(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30), stats("a", 0, 0, 31)).flush()

    assert books.device() == (10, 21)
    assert split(10, 1, 2) == (3, 7)
    assert split(0, 1, 2) == (0, 0)


def test_trap_5_without_a_proportion_it_is_halves(books: Books) -> None:
    books.feed(flow("a"), stats("a", 0, 0, 0), stats("a", 0, 0, 101)).flush()

    assert books.device() == (50, 51)


def test_trap_5_missed_packets_alone_are_counted(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30), stats("a", 10, 20, 60, total_packets=12)).flush()

    assert books.device() == (20, 40)
    assert sum(books.totals[MAC][2:4]) == 12
    assert books.counters == {"bytes_missed": 0, "packets_missed": 6}


def test_trap_5_a_reconnect_recovers_what_was_sent_meanwhile(books: Books) -> None:
    books.feed(flow("a"), stats("a", 100, 100, 200)).flush()
    books.connect(status(115), stats("a", 10, 10, 1000)).flush()

    assert books.device() == (500, 500)
    assert books.counters["bytes_missed"] == 780


# -- trap 6: flows seen from the middle ------------------------------------------------------------------


def test_trap_6_what_a_flow_had_before_we_came_is_not_ours() -> None:
    books = Books().connect(status(flow_count=5), stats("a", 10, 20, 1_000_000))
    books.feed(purge("a", 1, 2, 1_000_003)).flush()

    assert books.gateway == (11, 22)
    assert books.counters["bytes_before"] == 999_970
    assert books.counters["packets_before"] == 99_997
    assert books.counters["bytes_missed"] == 0


def test_trap_6_described_it_is_decided_at_once() -> None:
    books = Books().connect(status(flow_count=5))
    books.feed(stats("a", 10, 20, 1000), flow("a", born=T0 - 60_000)).flush()

    assert books.gateway == (10, 20)
    assert books.counters["bytes_before"] == 970


def test_trap_6_a_flow_born_on_our_watch_is_ours_from_its_first_byte() -> None:
    books = Books().connect(status(flow_count=5))
    books.feed(stats("a", 10, 20, 900), flow("a", born=T0 + 1)).flush()

    assert books.gateway == (300, 600)
    assert books.counters["bytes_missed"] == 870
    assert books.counters["bytes_before"] == 0


def test_trap_6_where_netifyd_tracked_no_flow_when_we_came_all_is_ours(books: Books) -> None:
    books.feed(stats("a", 10, 20, 900)).flush()

    assert books.gateway == (300, 600)


def test_trap_6_without_a_status_the_first_record_tells_when_we_came() -> None:
    for first in (flow("x", born=T0), stats("x", 0, 0, 0, at=T0)):
        books = Books().feed(first)
        books.feed(flow("old", born=T0 - 1), stats("old", 10, 0, 100))
        books.feed(flow("new", born=T0), stats("new", 0, 10, 100)).flush()

        assert books.gateway == (10, 100)


def test_trap_6_what_is_undecided_survives_a_restart_of_the_agent() -> None:
    books = Books().connect(status(flow_count=5), stats("a", 10, 20, 900))
    books.flush()
    assert books.flows["a"].held_bytes == 870

    books.crash().feed(flow("a", born=T0 + 1)).flush()
    assert books.gateway == (300, 600)


# -- trap 7: local to local ------------------------------------------------------------------------------


def local(digest: str, app: str = NETFLIX, **fields: Any) -> Record:
    return flow(digest, app, other_type="local", other_ip=OTHER_IP, **fields)


def test_trap_7_what_one_device_sent_the_other_received(books: Books) -> None:
    books.feed(local("a"), stats("a", 100, 200, 300)).flush()

    assert books.device(MAC) == (100, 200)
    assert books.device(OTHER) == (200, 100)
    assert books.totals[OTHER] == [200, 100, 20, 10, 1]
    assert books.gateway == (100, 200)
    assert books.count() == 1
    assert books.mirrored == [200, 100, 20, 10, 1]


def test_trap_7_missed_and_moved_bytes_are_mirrored_too(books: Books) -> None:
    books.feed(stats("a", 30, 60, 90), local("a", "Unknown"), stats("a", 0, 0, 180)).flush()
    books.feed(local("a", NETFLIX)).flush()

    assert books.app(NETFLIX, MAC) == (60, 120)
    assert books.app(NETFLIX, OTHER) == (120, 60)
    assert books.app("Unknown", OTHER) == (0, 0)


def test_trap_7_a_flow_that_turns_out_not_to_be_local_leaves_the_other_side(books: Books) -> None:
    books.feed(local("a"), stats("a", 30, 60, 90)).flush()
    books.feed(flow("a")).flush()

    assert books.totals[OTHER] == books.mirrored == [0, 0, 0, 0, 0]
    assert books.device(MAC) == (30, 60)


# -- trap 8: no MAC --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mac", ["00:00:00:00:00:00", None])
def test_trap_8_without_a_mac_the_ip_address_is_the_device(books: Books, mac: str | None) -> None:
    books.feed(flow("a", local_mac=mac), stats("a", 10, 20, 30)).flush()

    assert books.device(IP) == (10, 20)
    assert books.totals.keys() == {"", IP}


def test_trap_8_with_neither_the_flow_keeps_its_application_at_the_gateway(books: Books) -> None:
    books.feed(flow("a", local_mac=None, local_ip=None), stats("a", 10, 20, 30)).flush()

    assert books.app(NETFLIX, "") == (10, 20)
    assert books.unattributed == [10, 20, 1, 2, 1]


# -- trap 9: clocks --------------------------------------------------------------------------------------


def test_trap_9_a_clock_that_jumps_back_loses_nothing(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30, at=T0 + 15_000))
    books.feed(status(115, at=T0 - 86_400_000), stats("a", 1, 2, 33, at=T0 - 86_400_000))
    books.feed(purge("a", 1, 2, 36, at=T0 - 86_300_000)).flush()

    assert books.device() == (12, 24)
    assert books.counters == {}


def test_trap_9_a_clock_that_jumps_ahead_ends_no_flow(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30))
    books.feed(status(115, at=T0 + 10**12), stats("a", 1, 2, 33, at=T0 + 10**12)).flush()

    assert books.accountant.live_flows == 1
    assert books.device() == (11, 22)


def test_trap_9_records_without_times_are_counted() -> None:
    books = Books().feed({"type": "agent_status"}, status(at=0))
    books.feed(flow("a", born=0), stats("a", 10, 20, 30, at=0), stats("a", 1, 2, 33, at=0)).flush()

    assert books.device() == (11, 22)
    assert books.epoch is None


# -- trap 10: hostile text -------------------------------------------------------------------------------


def test_trap_10_what_the_network_wrote_leaves_printable_and_short(books: Books) -> None:
    evil = "\x1b[2J\udcff<script>" + "x" * 1000
    books.feed(flow("a", evil, detected_protocol_name=evil, dhcp={}, local_port=68, host_server_name=evil))
    books.feed({**flow("b"), "interface": evil}, stats("a", 10, 20, 30))
    batch = books.flush()

    note = batch.devices[MAC]
    for text in (*batch.counted, note.hint, note.interface):
        for part in text if isinstance(text, Key) else (text,):
            assert part is not None
            assert part.isprintable()
            assert len(part) <= 253


# -- records again ---------------------------------------------------------------------------------------


def test_a_record_that_comes_again_adds_nothing(books: Books) -> None:
    records = [
        flow("a"),
        stats("a", 10, 20, 30),
        stats("a", 1, 2, 33, at=T0 + 1),
        purge("a", 1, 2, 36, at=T0 + 2),
    ]
    for place, record in enumerate(records):
        for earlier in (record, *records[: place + 1]):
            books.feed(earlier)
    books.flush()

    assert books.gateway == books.device() == (12, 24)
    assert books.totals[MAC][4] == 1
    assert books.counters["records_repeated"] > 5
    assert books.counters["bytes_missed"] == 0


def test_a_purge_that_comes_again_does_not_bring_the_flow_back(books: Books) -> None:
    books.feed(flow("a"), purge("a", 10, 20, 30), purge("a", 10, 20, 30)).flush()

    assert books.device() == (10, 20)
    assert books.accountant.live_flows == 0
    assert books.counters == {"records_repeated": 1}


def test_a_total_that_grew_by_less_than_the_interval_is_believed(books: Books) -> None:
    books.feed(flow("a"), stats("a", 100, 200, 300), stats("a", 100, 200, 360)).flush()

    assert books.device() == (120, 240)
    assert books.totals[MAC][2:4] == [12, 24]
    assert books.counters == {"records_contradictory": 1}


def test_bytes_and_packets_may_contradict_themselves_separately(books: Books) -> None:
    books.feed(flow("a"), stats("a", 100, 200, 300))
    books.feed(stats("a", 100, 200, 900, total_packets=33)).flush()  # bytes missed, packets claimed twice

    assert books.device() == (300, 600)
    assert books.totals[MAC][2:4] == [11, 22]
    books.feed(stats("a", 100, 200, 1000, total_packets=99)).flush()  # the other way round
    assert sum(books.device()) == 1000
    assert sum(books.totals[MAC][2:4]) == 99
    books.feed(stats("a", 10, 20, 1030, total_packets=50)).flush()  # packets that shrink
    assert sum(books.totals[MAC][2:4]) == 99


def test_a_first_total_below_its_own_interval_is_believed(books: Books) -> None:
    books.feed(flow("a"), stats("a", 100, 200, 30)).flush()

    assert books.device() == (10, 20)


def test_without_totals_the_intervals_are_all_there_is(books: Books) -> None:
    bare = stats("a", 10, 20, 0)
    del bare["flow"]["total_bytes"], bare["flow"]["total_packets"]
    books.feed(flow("a"), bare, bare, {**bare, "type": "flow_purge"}).flush()

    assert books.totals[MAC] == [30, 60, 3, 6, 1]
    books.feed({**bare, "type": "flow_purge"}).flush()
    assert books.totals[MAC][:2] == [40, 80]


def test_packets_without_bytes_are_counted(books: Books) -> None:
    books.feed(flow("a"), stats("a", 0, 0, 0, local_packets=2, total_packets=2)).flush()

    assert books.totals[MAC] == [0, 0, 2, 0, 1]


def test_an_interval_of_nothing_changes_no_row_but_keeps_the_flow_alive(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    batch = books.feed(stats("a", 0, 0, 30)).flush()

    assert not batch.counted
    assert batch.flows.keys() == {"a"}


# -- the same two ends again: a digest used anew ---------------------------------------------------------


def test_a_digest_used_anew_is_another_flow(books: Books) -> None:
    books.feed(flow("a"), purge("a", 10, 20, 30, at=T0 + 1)).flush()
    books.feed(flow("a", born=T0 + 5), stats("a", 1, 2, 3, at=T0 + 6)).flush()
    books.feed(purge("a", 1, 2, 6, at=T0 + 7)).flush()

    assert books.device() == (12, 24)
    assert books.count() == 2
    assert books.counters == {}


def test_a_digest_used_anew_may_count_before_it_is_described(books: Books) -> None:
    """The new life's bytes move by its own description; those of the old one stay."""
    books.feed(flow("a", NETFLIX), purge("a", 10, 20, 30, at=T0 + 1))
    books.feed(
        stats("a", 1, 2, 3, at=T0 + 6), flow("a", YOUTUBE, born=T0 + 5), stats("a", 4, 5, 12, at=T0 + 9)
    )
    books.flush()

    assert books.app(NETFLIX) == (10, 20)
    assert books.app(YOUTUBE) == (5, 7)
    assert books.count() == 2


def test_a_digest_used_anew_counts_the_same_total_again(books: Books) -> None:
    """NTP from port 123 to port 123: each life is the same two ends and the same 180 bytes."""
    for life in range(3):
        books.feed(purge("a", 90, 90, 180, at=T0 + life))
    books.feed(flow("a", DNS, born=T0 + 2)).flush()

    assert books.gateway == (270, 270)
    assert books.app(DNS) == (90, 90)
    assert books.counters == {}


def test_a_digest_used_anew_after_a_life_of_no_bytes_is_described_by_its_own_record(books: Books) -> None:
    books.feed(flow("a", NETFLIX), purge("a", 0, 0, 0, at=T0 + 1))
    books.feed(stats("a", 1, 2, 3, at=T0 + 6), flow("a", YOUTUBE, born=T0 + 5)).flush()

    assert books.app(YOUTUBE) == books.gateway == (1, 2)


def test_a_description_later_than_the_end_is_of_another_flow(books: Books) -> None:
    """Else the bytes of a flow that nobody described would move to the next one between its ends."""
    books.feed(purge("a", 10, 20, 30, at=T0 + 1), flow("a", born=T0 + 5), stats("a", 10, 20, 30, at=T0 + 6))
    books.flush()

    assert books.device() == (10, 20)
    assert books.unattributed[:2] == [10, 20]


def test_a_live_digest_used_anew_means_that_its_purge_was_missed(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30, at=T0 + 1))
    books.feed(stats("a", 1, 2, 3, at=T0 + 6), stats("a", 1, 2, 6, at=T0 + 7)).flush()
    assert books.device() == (12, 24)
    books.feed(flow("a", YOUTUBE, born=T0 + 5)).flush()
    assert books.app(NETFLIX) == (10, 20)
    assert books.app(YOUTUBE) == (2, 4)

    books.feed(flow("a", NETFLIX, born=T0 + 10), stats("a", 5, 5, 10, at=T0 + 11)).flush()
    assert books.app(NETFLIX) == (15, 25)
    assert books.count() == 3


def test_counters_of_a_new_life_that_look_like_growth_count_once(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30, at=T0 + 1))
    books.feed(stats("a", 100, 200, 300, at=T0 + 6), flow("a", born=T0 + 5)).flush()

    assert books.device() == (100, 200)  # 30 are missing: nothing tells that these are two flows
    books.feed(stats("a", 10, 20, 330, at=T0 + 7)).flush()
    assert books.device() == (110, 220)


def test_what_a_flow_held_is_settled_before_its_digest_means_another(books: Books) -> None:
    books.feed(flow("x", digest_prev=[]), stats("a", 10, 20, 900, at=T0 + 1))
    books.feed(stats("a", 1, 2, 3, at=T0 + 9)).flush()

    assert books.gateway == (301, 602)


# -- a flow that comes back ------------------------------------------------------------------------------


def test_a_flow_goes_on_after_its_purge_where_its_total_does(books: Books) -> None:
    books.feed(flow("a"), purge("a", 10, 20, 30)).flush()
    books.feed(stats("a", 1, 2, 33), stats("a", 1, 2, 36)).flush()

    assert books.device() == (12, 24)
    assert books.count() == 1
    assert books.flows.keys() == {"a"}


def test_past_the_bound_the_least_recently_seen_flow_is_let_go_and_counted() -> None:
    books = Books(2).connect(status())
    books.feed(flow("a"), flow("b"), stats("a", 10, 20, 30)).flush()
    batch = books.feed(flow("c")).flush()

    assert batch.flows["b"] is None
    assert books.flows.keys() == {"a", "c"}
    assert books.counters == {"flows_evicted": 1}
    assert books.evicted == T0 + 1
    assert books.accountant.live_flows == 2


def test_a_flow_that_was_let_go_goes_on_as_itself() -> None:
    books = Books(1).connect(status())
    books.feed(flow("a"), stats("a", 10, 20, 30), flow("b"), stats("a", 1, 2, 93, at=T0 + 1)).flush()

    assert books.device() == (31, 62)
    assert books.counters["bytes_missed"] == 60
    assert books.count() == 2


@pytest.mark.parametrize("last", [stats, purge])
def test_a_flow_that_returns_to_a_full_table_is_not_let_go_at_once(last: Any) -> None:
    """It stood as the least recently seen; its purge then raised KeyError."""
    books = Books(2).connect(status())
    books.feed(flow("a"), stats("a", 10, 20, 30), flow("b"), flow("c"), last("a", 1, 2, 33)).flush()

    assert books.device() == (11, 22)
    assert books.counters["flows_evicted"] == 2


def test_the_purge_of_a_flow_that_was_let_go_ends_it(books: Books) -> None:
    """So that the next flow between its ends is not taken for its continuation."""
    books = Books(1).connect(status())
    books.feed(flow("a"), stats("a", 10, 20, 30), flow("b"), purge("a", 0, 0, 30, at=T0 + 1))
    books.feed(stats("a", 100, 200, 300, at=T0 + 9)).flush()

    assert books.device() == (110, 220)
    assert books.counters["bytes_missed"] == 0


def test_a_flow_known_no_more_may_have_been_counted_before_it_was_let_go() -> None:
    books = Books(1).connect(status())
    books.feed(flow("a"), stats("a", 10, 20, 30))
    books.feed(*(flow(f"x{number}") for number in range(200)))  # it is forgotten altogether
    books.feed(stats("a", 1, 2, 33, at=T0 + 1), purge("a", 0, 0, 33, at=T0 + 1)).flush()

    assert books.gateway == (11, 22)
    assert books.counters["bytes_before"] == 30
    books.feed(flow("new", born=T0 + 2), stats("new", 10, 20, 90, at=T0 + 3)).flush()
    assert books.gateway == (41, 82)


def test_a_flow_is_settled_by_what_was_so_before_it_was_let_go_itself() -> None:
    books = Books(1).connect(status())
    books.feed(stats("a", 10, 20, 900, at=T0 + 1, digest_prev=[]), flow("b")).flush()

    assert books.gateway == (300, 600)


def test_the_bound_may_be_lowered_at_any_time(books: Books) -> None:
    books.feed(*(flow(f"d{number}") for number in range(500)))
    books.accountant.max_flows = 100
    books.feed(flow("one more")).flush()

    assert books.accountant.max_flows == 100
    assert books.accountant.live_flows == 100 - 100 // 64
    assert "one more" in books.flows


def test_a_flow_silent_for_an_hour_of_status_reports_is_let_go(books: Books) -> None:
    books.feed(flow("silent"), flow("busy"))
    for report in range(240):
        assert books.accountant.live_flows == 2
        books.feed(stats("busy", 0, 0, 0), status(100 + report))
    books.flush()

    assert books.flows.keys() == {"busy"}
    assert books.counters == {"flows_expired": 1}


# -- digest chains (v5) ----------------------------------------------------------------------------------


def test_a_flow_goes_on_under_the_digest_that_replaces_its_own(books: Books) -> None:
    books.feed(flow("a", "Unknown", digest_prev=[]), stats("a", 10, 20, 30)).flush()
    books.feed(flow("b", YOUTUBE, digest_prev=["a"]), stats("b", 1, 2, 33, digest_prev=["a"])).flush()

    assert books.app(YOUTUBE) == books.gateway == (11, 22)
    assert books.count() == 1
    assert books.flows.keys() == {"b"}


def test_counters_may_bring_the_new_digest_first(books: Books) -> None:
    books.feed(flow("a", "Unknown"), stats("a", 10, 20, 30)).flush()
    books.feed(purge("b", 1, 2, 33, digest_prev=["a"]), flow("b", YOUTUBE, digest_prev=["a"])).flush()

    assert books.app(YOUTUBE) == books.gateway == (11, 22)
    assert books.flows == {}


def test_a_chain_of_three_is_one_flow_by_each_of_its_names(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30), flow("b", digest_prev=["a"]), stats("b", 1, 2, 33))
    books.feed(flow("c", YOUTUBE, digest_prev=["a", "b"]), stats("c", 1, 2, 36))
    books.feed(stats("a", 1, 2, 39), stats("b", 1, 2, 42), purge("a", 1, 2, 45)).flush()

    assert books.app(YOUTUBE) == books.gateway == (15, 30)
    assert books.accountant.live_flows == 0
    assert books.count() == 1


def test_a_late_record_under_an_earlier_digest_unties_no_chain(books: Books) -> None:
    """It names the digests before its own: once, that made its own the newest again, and of another flow."""
    late = stats("b", 1, 2, 33, digest_prev=["a"])
    books.feed(flow("a"), stats("a", 10, 20, 30), flow("b", digest_prev=["a"]), late)
    books.feed(flow("c", YOUTUBE, digest_prev=["a", "b"]), stats("c", 1, 2, 36))
    books.feed(late, stats("b", 1, 2, 39, digest_prev=["a"]), flow("b", DNS, digest_prev=["a"])).flush()

    assert books.app(YOUTUBE) == books.gateway == (13, 26)
    assert books.count() == 1
    assert books.flows.keys() == {"c"}


def test_a_new_life_that_counts_under_an_early_digest_is_refined_from_there(books: Books) -> None:
    """Its counters once revived the old life under the old life's last digest, and kept that name."""
    books.feed(flow("a"), flow("b", digest_prev=["a"]), flow("c", NETFLIX, digest_prev=["a", "b"]))
    books.feed(purge("c", 10, 20, 30, at=T0 + 1, digest_prev=["a", "b"]))
    books.feed(
        stats("a", 1, 2, 3, at=T0 + 6, digest_prev=[]), flow("b", YOUTUBE, born=T0 + 5, digest_prev=["a"])
    )
    books.feed(stats("b", 1, 2, 6, at=T0 + 7, digest_prev=["a"])).flush()

    assert books.app(NETFLIX) == (10, 20)
    assert books.app(YOUTUBE) == (2, 4)
    assert books.flows.keys() == {"b"}


def test_a_chain_may_be_told_link_by_link(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30), flow("b", digest_prev=["a"]), flow("c", digest_prev=["b"]))
    books.feed(stats("a", 1, 2, 33)).flush()

    assert books.gateway == (11, 22)
    assert books.count() == 1


def test_a_description_under_an_old_digest_undoes_no_refinement(books: Books) -> None:
    books.feed(flow("a", "Unknown"), flow("b", YOUTUBE, digest_prev=["a"]), stats("b", 10, 20, 30))
    books.feed(flow("a", "Unknown"), flow("a", "Unknown", born=0)).flush()

    assert books.app(YOUTUBE) == (10, 20)
    assert books.count() == 1
    assert books.counters == {"records_repeated": 2}


def test_a_description_under_an_old_digest_is_better_than_none(books: Books) -> None:
    books.feed(stats("b", 10, 20, 30, digest_prev=["a"]), flow("a", "Unknown"), stats("b", 1, 2, 33)).flush()

    assert books.device() == books.gateway == (11, 22)
    assert books.count() == 1


def test_an_old_digest_may_begin_another_flow(books: Books) -> None:
    """The first digest of two flows between the same ends is the same."""
    books.feed(flow("a"), stats("a", 10, 20, 30), flow("b", NETFLIX, digest_prev=["a"]))
    books.feed(purge("b", 1, 2, 33, at=T0 + 1))
    books.feed(flow("a", born=T0 + 5), stats("a", 100, 200, 300, at=T0 + 6))
    books.feed(flow("b", YOUTUBE, born=T0 + 5, digest_prev=["a"]), stats("b", 1, 2, 303, at=T0 + 7)).flush()

    assert books.app(NETFLIX) == (11, 22)
    assert books.app(YOUTUBE) == (101, 202)
    assert books.count() == 2
    assert books.accountant.live_flows == 1
    assert books.counters == {}


def test_an_old_digest_may_begin_another_flow_whose_predecessors_purge_was_missed(books: Books) -> None:
    books.feed(flow("a"), flow("b", NETFLIX, digest_prev=["a"]), stats("b", 10, 20, 30))
    books.feed(flow("a", born=T0 + 5), stats("a", 100, 200, 300, at=T0 + 6))
    books.feed(flow("b", YOUTUBE, born=T0 + 5, digest_prev=["a"]), stats("b", 1, 2, 303, at=T0 + 7)).flush()

    assert books.app(NETFLIX) == (10, 20)
    assert books.app(YOUTUBE) == (101, 202)
    assert books.accountant.live_flows == 1


def test_counters_of_another_flow_may_come_under_an_old_digest_before_its_description(books: Books) -> None:
    books.feed(flow("a"), flow("b", NETFLIX, digest_prev=["a"]), purge("b", 10, 20, 30, at=T0 + 1))
    books.feed(
        stats("a", 1, 2, 3, at=T0 + 6), flow("a", YOUTUBE, born=T0 + 5), stats("a", 1, 2, 6, at=T0 + 7)
    )
    books.flush()

    assert books.app(NETFLIX) == (10, 20)
    assert books.app(YOUTUBE) == (2, 4)
    assert books.count() == 2


def test_an_undescribed_flow_that_is_over_does_not_take_over_one_that_lives(books: Books) -> None:
    books.feed(purge("b", 10, 20, 30, at=T0 + 1))  # an earlier life of which no more is known
    books.feed(flow("a", born=T0 + 5), stats("a", 1, 2, 3, at=T0 + 6))
    books.feed(stats("b", 1, 2, 6, at=T0 + 7, digest_prev=["a"])).flush()

    assert books.device() == (2, 4)
    assert books.unattributed[:2] == [10, 20]
    assert books.accountant.live_flows == 1


def test_a_live_flow_does_not_go_on_as_one_that_began_after_it(books: Books) -> None:
    books.feed(flow("a", NETFLIX), stats("a", 10, 20, 30))
    books.feed(flow("b", YOUTUBE, born=T0 + 5), stats("b", 1, 2, 3, digest_prev=["a"], at=T0 + 6)).flush()

    assert books.app(NETFLIX) == (10, 20)
    assert books.app(YOUTUBE) == (1, 2)
    assert books.count() == 2


def test_two_entries_that_turn_out_to_be_one_flow_are_merged(books: Books) -> None:
    """Under its new digest it was unknown: what it carried before counts once."""
    books.feed(flow("x", digest_prev=[]), flow("a", "Unknown"), stats("a", 10, 20, 30))
    books.feed(stats("b", 2, 4, 66)).flush()  # 30 of its 60 before are those of a; 30 were missed
    assert books.gateway == (12, 24)

    books.feed(flow("b", YOUTUBE, digest_prev=["a"])).flush()
    assert books.app(YOUTUBE) == books.gateway == (22, 44)
    assert books.counters["bytes_missed"] == 30
    assert books.count() == 2  # with x
    assert books.flows.keys() == {"x", "b"}


def test_a_merge_keeps_the_description_that_there_is(books: Books) -> None:
    books.feed(flow("x", digest_prev=[]), flow("a", NETFLIX), stats("a", 10, 20, 30), stats("b", 1, 2, 33))
    books.feed(stats("b", 1, 2, 36, digest_prev=["a"])).flush()
    assert books.app(NETFLIX) == books.gateway == (12, 24)

    books.feed(stats("c", 1, 2, 3), flow("d", YOUTUBE), stats("d", 1, 2, 6, digest_prev=["c"])).flush()
    assert books.app(YOUTUBE) == (2, 4)
    assert books.unattributed == [0, 0, 0, 0, 0]


def test_a_merge_with_a_described_flow_of_no_device_keeps_what_it_is(books: Books) -> None:
    books.feed(stats("a", 10, 20, 30), flow("b", YOUTUBE, local_mac=None, local_ip=None))
    books.feed(stats("b", 1, 2, 33, digest_prev=["a"])).flush()

    assert books.app(YOUTUBE, "") == books.gateway == (11, 22)


def test_a_described_flow_takes_its_totals_from_its_old_digest(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30), flow("b", YOUTUBE))
    books.feed(flow("b", YOUTUBE, digest_prev=["a"]), stats("b", 1, 2, 33)).flush()

    assert books.gateway == books.app(YOUTUBE) == (11, 22)
    assert books.counters == {}


def test_a_flow_that_ended_under_its_new_digest_does_not_live_on_under_its_old_one(books: Books) -> None:
    books.feed(flow("a", DNS), purge("b", 10, 20, 30), flow("b", YOUTUBE, digest_prev=["a"])).flush()

    assert books.app(YOUTUBE) == books.gateway == (10, 20)
    assert books.accountant.live_flows == 0
    assert books.count() == 1


def test_an_ended_flow_may_be_renamed_too(books: Books) -> None:
    books.feed(flow("a", "Unknown"), purge("a", 10, 20, 30), flow("b", YOUTUBE, digest_prev=["a"])).flush()

    assert books.app(YOUTUBE) == (10, 20)
    assert books.flows == {}
    books.feed(purge("b", 10, 20, 30)).flush()
    assert books.gateway == (10, 20)


@pytest.mark.parametrize("previous", [None, "a", 5, {}, [None], [5], [[]], [""], ["ü"], ["x" * 200], ["b"]])
def test_a_chain_that_is_none_changes_nothing(books: Books, previous: Any) -> None:
    books.feed(flow("b", digest_prev=previous), stats("b", 10, 20, 30, digest_prev=previous)).flush()

    assert books.device() == (10, 20)


def test_chains_are_remembered_within_bounds() -> None:
    books = Books(1000).connect(status())
    for number in range(500):
        books.feed(flow(f"new{number}", digest_prev=[f"old{number}"]), purge(f"new{number}", 1, 0, 1))
    assert len(books.accountant._table._aliases) == 100
    assert len(books.accountant._table.ended) == 100


def test_a_chain_longer_than_anyone_made_is_followed_no_further(books: Books) -> None:
    for number in range(30):
        books.feed(stats(f"d{number + 1}", 0, 0, 0, digest_prev=[f"d{number}"]))
    books.feed(stats("d0", 10, 20, 30)).flush()

    assert books.gateway == (10, 20)


# -- netifyd restarts, and more than one -----------------------------------------------------------------


def test_a_new_netifyd_ends_the_flows_of_the_old_one(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    books.connect(status(5, at=T0 + 60_000)).flush()

    assert books.flows == {}
    assert books.counters == {"netifyd_restarts": 1}
    assert books.instances == {SOURCE: Instance(T0 + 55_000, 5)}


def test_all_that_a_new_netifyd_saw_is_ours(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 900)).flush()
    books.connect(status(50, at=T0 + 60_000, flow_count=9))
    books.feed(stats("a", 10, 20, 90, at=T0 + 70_000), stats("b", 10, 20, 90, at=T0 + 70_000)).flush()

    assert books.gateway == (360, 720)
    assert books.counters["bytes_before"] == 0


def test_an_uptime_that_goes_back_on_one_connection_is_a_clock_and_no_restart(books: Books) -> None:
    books.feed(flow("a"), status(5))
    books.connect(status(6)).flush()

    assert books.accountant.live_flows == 1
    assert books.counters == {}


def test_a_restart_concerns_only_the_netifyd_that_restarted(books: Books) -> None:
    books.connect(status(1000), flow("b"), source="tcp://10.0.0.2:7150")
    books.feed(flow("a")).connect(status(5)).flush()

    assert books.flows.keys() == {"b"}


def test_a_restart_before_any_counters_counts_the_next_ones_from_nothing(books: Books) -> None:
    books.feed(flow("a"))
    books.connect(status(5, at=T0 + 60_000)).feed(stats("a", 10, 20, 90, at=T0 + 70_000)).flush()

    assert books.gateway == (30, 60)


# -- restarts of the agent -------------------------------------------------------------------------------


def test_after_a_restart_of_the_agent_a_flow_is_known_and_its_gap_recovered(books: Books) -> None:
    books.feed(local("a"), stats("a", 10, 20, 30)).flush()
    books.feed(stats("a", 100, 200, 330))  # lost with the agent
    books.crash().connect(status(130), stats("a", 1, 2, 363)).flush()

    assert sum(books.device()) == sum(books.gateway) == 363
    assert books.device(OTHER) == books.device(MAC)[::-1]
    assert books.count() == 1
    assert books.counters["bytes_missed"] == 330


def test_nothing_is_counted_twice_where_records_arrive_before_the_store_does(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30), flow("b"), stats("b", 10, 20, 30)).flush()
    books.crash(restore=False).connect(status(130))
    books.feed(stats("a", 1, 2, 63, at=T0 + 1), purge("b", 1, 2, 63, at=T0 + 1))
    books.restore()
    books.flush()

    assert books.device() == books.gateway == (42, 84)
    assert books.count() == 2
    assert books.flows.keys() == {"a"}


def test_a_flow_described_before_the_store_came_goes_on_as_the_one_stored_undescribed(books: Books) -> None:
    """Its stored bytes stayed nobody's, and were counted again with its next total."""
    books.feed(stats("a", 10, 20, 30)).flush()
    books.crash(restore=False).connect(status(130), flow("a"))
    books.restore()
    books.feed(stats("a", 1, 2, 33)).flush()

    assert books.device() == books.gateway == (11, 22)
    assert books.count() == 1


def test_what_was_missed_of_a_flow_stored_without_counters_is_not_lost(books: Books) -> None:
    """Its held bytes were overwritten when the stored flow was merged."""
    books.feed(flow("a")).flush()
    books.crash(restore=False).connect(status(130), stats("a", 10, 20, 900))
    books.restore()
    books.flush()

    assert books.device() == (300, 600)
    assert books.flows["a"].first_seen == T0


def test_a_stored_flow_is_dropped_where_its_digest_means_another_now(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    books.crash(restore=False).connect(status(130), flow("a", YOUTUBE, born=T0 + 5), stats("a", 1, 2, 3))
    books.restore()
    books.flush()

    assert books.app(NETFLIX) == (10, 20)
    assert books.app(YOUTUBE) == (1, 2)
    assert books.flows["a"].first_seen == T0 + 5


def test_a_stored_flow_may_have_been_renamed_meanwhile(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    books.crash(restore=False).connect(
        status(130), flow("b", YOUTUBE, digest_prev=["a"]), stats("b", 1, 2, 33)
    )
    books.restore()
    books.flush()

    assert books.app(YOUTUBE) == books.gateway == (11, 22)
    assert books.flows.keys() == {"b"}


def test_flows_of_a_netifyd_that_restarted_meanwhile_are_over(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30), flow("b"), stats("b", 10, 20, 30)).flush()
    books.crash(restore=False).connect(status(5, at=T0 + 60_000), stats("a", 1, 2, 3, at=T0 + 61_000))
    books.restore()
    books.flush()

    assert books.flows.keys() == {"a"}
    assert books.gateway == (21, 42)
    assert books.unattributed[:2] == [1, 2]


def test_what_such_a_flow_held_is_settled_with_the_netifyd_that_it_was_of(books: Books) -> None:
    books.feed(flow("x", digest_prev=[]), stats("a", 10, 20, 900)).flush()
    assert books.flows["a"].held_bytes == 870
    books.crash(restore=False).connect(status(5, at=T0 + 60_000))
    books.restore()
    books.flush()

    assert books.gateway == (300, 600)


def test_a_restart_of_netifyd_is_noticed_after_the_store_came_too(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    books.crash().connect(status(5, at=T0 + 60_000)).flush()

    assert books.flows == {}


def test_an_unknown_flow_after_a_restart_of_the_agent_is_ours_if_netifyd_is_of_our_time(books: Books) -> None:
    books.flush()
    books.crash().connect(status(130), stats("a", 10, 20, 90)).flush()
    assert books.gateway == (30, 60)

    books = Books().connect(status(flow_count=3))
    books.flush()
    books.crash().connect(status(130), stats("a", 10, 20, 90), purge("a", 0, 0, 90)).flush()
    assert books.gateway == (10, 20)


def test_what_is_held_across_restarts_is_counted_once(books: Books) -> None:
    """It was counted when the store came, before a record told that digests change here (v5), and then
    again at the next restart: the decision had not reached the store."""
    books.feed(stats("a", 10, 20, 900, digest_prev=[])).flush()
    books.crash().flush()
    assert books.gateway == (10, 20)
    books.crash().feed(flow("a", digest_prev=[])).flush()
    assert books.gateway == (300, 600)
    books.crash().feed(purge("a", 0, 0, 900, digest_prev=[])).flush()
    assert books.gateway == (300, 600)


def test_what_is_decided_when_the_store_came_reaches_it() -> None:
    books = Books(new=False).connect(status(), stats("a", 10, 20, 900))
    books.flush()
    books.restore()
    books.flush()
    assert books.gateway == (300, 600)
    assert books.flows["a"].held_bytes == 0


def test_before_the_store_came_nothing_that_was_held_is_decided() -> None:
    books = Books(new=False).connect(status(), stats("a", 10, 20, 90), purge("b", 10, 20, 90))
    books.flush()
    assert books.gateway == (20, 40)

    books.restore()
    books.flush()
    assert books.gateway == (60, 120)


def test_what_was_held_of_flows_forgotten_before_the_store_came_is_told() -> None:
    books = Books(new=False).connect(status())
    books.feed(*(purge(f"d{number}", 1, 0, 10) for number in range(101)))
    books.feed(purge("d100", 1, 0, 10), flow("d99", born=T0 + 1)).flush()

    assert books.counters["bytes_before"] == 18  # of d0, and of d99 in its earlier life


def test_restored_flows_count_against_the_bound() -> None:
    books = Books().connect(status(), *(flow(f"d{number}") for number in range(20)))
    books.flush()
    books.max_flows = 10
    books.crash().flush()

    assert len(books.flows) == 10
    assert books.counters["flows_evicted"] == 10


def test_the_addresses_of_restored_devices_are_followed(books: Books) -> None:
    books.feed(local("a")).flush()
    batch = books.crash().feed({"type": "endpoints", OTHER: [OTHER_IP]}).flush()

    assert batch.devices[OTHER].addresses == {OTHER_IP: 0}


# -- what a batch tells of live flows --------------------------------------------------------------------


def test_a_batch_holds_the_state_of_flows_that_changed(books: Books) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30, at=T0 + 1), flow("b")).flush()
    batch = books.feed(stats("b", 1, 2, 3)).flush()

    assert batch.flows.keys() == {"b"}
    key = Key(MAC, NETFLIX, "HTTP/S")
    assert books.flows["a"] == FlowState(SOURCE, key, None, T0, T0 + 1, 30, 3, 10, 20, 1, 2, 0, 0)


def test_a_flow_that_begins_and_ends_within_one_batch_never_reaches_the_store(books: Books) -> None:
    assert books.feed(flow("a"), purge("a", 10, 20, 30)).flush().flows == {}


def test_a_flow_that_came_back_and_left_again_leaves_nothing_in_the_store(books: Books) -> None:
    """Its removal was forgotten where all of that happened in one batch: it stayed in the store for ever."""
    books.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    books.feed(purge("a", 0, 0, 30), stats("a", 1, 2, 33), purge("a", 1, 2, 36)).flush()
    assert books.flows == {}

    books.feed(flow("a", born=T0 + 5), stats("a", 1, 2, 3)).flush()
    books.feed(flow("a", born=T0 + 9), purge("a", 1, 2, 3)).flush()
    assert books.flows == {}

    books.feed(stats("a", 1, 2, 3, at=T0 + 20), stats("b", 0, 0, 0, digest_prev=["a"])).flush()
    books.feed(purge("b", 0, 0, 3), flow("a", born=T0 + 30), stats("b", 0, 0, 0, digest_prev=["a"]))
    books.feed(purge("b", 0, 0, 0, at=T0 + 40)).flush()
    assert books.flows == {}


def test_all_live_flows_can_be_given_to_a_store_that_lost_them(books: Books) -> None:
    books.feed(flow("a"), flow("b"), purge("b", 0, 0, 0)).flush()
    books.flows.clear()
    books.accountant.dirty_all()
    books.flush()

    assert books.flows.keys() == {"a"}


def test_a_batch_can_be_measured(books: Books) -> None:
    assert books.feed(local("a"), stats("a", 1, 2, 3)).flush().size == 6


# -- a store that lost its rows --------------------------------------------------------------------------


def test_bytes_that_the_store_lost_are_never_moved(books: Books) -> None:
    """The flow itself was moved, too: a row that was not there had -1 flows."""
    books.feed(local("a", "Unknown"), stats("a", 10, 20, 30), purge("b", 10, 20, 30)).flush()
    books = books.lose()
    books.feed(local("a", NETFLIX), flow("b"), stats("a", 1, 2, 33)).flush()

    assert books.gateway == books.app(NETFLIX) == (1, 2)
    assert books.totals[OTHER] == [2, 1, 0, 0, 1]
    assert books.count() == 1
    assert books.flows.keys() == {"a"}


def test_moves_that_were_waiting_for_the_store_are_dropped_with_its_rows(books: Books) -> None:
    """What had been moved while Redis was away took bytes from rows that did not come back with it."""
    books.feed(flow("a", "Unknown"), stats("a", 10, 20, 30)).flush(600)
    books.feed(flow("c", "Unknown"), stats("c", 10, 20, 30)).flush()
    books.feed(flow("a", NETFLIX), stats("a", 1, 2, 33), flow("c", NETFLIX), flow("b"), purge("b", 1, 2, 3))
    books = books.lose()
    books.flush()

    assert books.gateway == books.app(NETFLIX) == (12, 24)
    assert books.app("Unknown") == (0, 0)
    assert books.count() == 2


def test_a_flow_that_returns_after_the_loss_is_counted_as_one(books: Books) -> None:
    books.feed(flow("a"), purge("a", 10, 20, 30)).flush()
    books = books.lose()
    books.feed(stats("a", 1, 2, 33)).flush()
    books.crash().feed(flow("a", YOUTUBE)).flush()

    assert books.app(YOUTUBE) == books.gateway == (1, 2)
    assert books.count() == 1


def test_entries_that_merge_after_the_loss_are_one_flow(books: Books) -> None:
    books.feed(flow("x", digest_prev=[]), purge("a", 10, 20, 30), stats("b", 1, 2, 33)).flush()
    books = books.lose()
    books.feed(flow("b", digest_prev=["a"]), purge("x", 0, 0, 0)).flush()

    assert books.count() == 2
    assert books.gateway == (0, 0)


# -- what is learned of devices --------------------------------------------------------------------------


def test_a_device_has_its_interface_name_and_addresses(books: Books) -> None:
    books.feed(flow("a"), flow("b", local_ip="fe80::1", dhcp={}, local_port=68, host_server_name="laptop"))
    note = books.flush().devices[MAC]

    assert (note.interface, note.hint) == ("br0", "laptop")
    assert note.addresses == {IP: T0, "fe80::1": T0}


def test_addresses_are_learned_from_a_status_and_from_v5s_endpoints(books: Books) -> None:
    books.feed(flow("a")).flush()
    books.feed(status(115, devices={MAC: ["192.168.1.20"], OTHER: ["192.168.1.21"]}))
    books.feed({"type": "endpoints", MAC.upper(): ["FE80::2", "0.0.0.0", 5, "no address", "9" * 1000]})
    notes = books.flush().devices

    assert notes.keys() == {MAC}  # a device without a flow is none of ours
    assert notes[MAC].addresses == {"192.168.1.20": 0, "fe80::2": 0}


@pytest.mark.parametrize("devices", [None, [], "x", {"x" * 1000: []}, {MAC: None}, {MAC: "x"}, {"": [""]}])
def test_a_device_list_of_any_type_is_no_crash(books: Books, devices: Any) -> None:
    batch = books.feed(flow("a"), status(115, devices=devices)).flush()

    assert batch.devices[MAC].addresses == {IP: T0}


def test_a_device_keeps_the_sixteen_addresses_seen_last(books: Books) -> None:
    for number in range(1, 30):
        books.feed(flow(f"d{number}", local_ip=f"10.0.0.{number}", born=T0 + number))
    books.feed(flow("again", local_ip="10.0.0.20", born=T0 - 5))
    addresses = books.flush().devices[MAC].addresses

    assert list(addresses)[-1] == "10.0.0.20"
    assert addresses["10.0.0.20"] == T0 + 20
    assert next(iter(addresses)) == "10.0.0.14"
    assert len(addresses) == 16


def test_the_category_of_an_application_is_learned(books: Books) -> None:
    assert books.feed(flow("a", category={"application": 27})).flush().categories == {NETFLIX: 27}


def test_rows_tell_when_they_were_seen(books: Books) -> None:
    books.feed(flow("a", born=T0 + 1), stats("a", 1, 2, 3, at=T0 + 9), stats("a", 0, 0, 3, at=0))
    (row,) = books.flush().counted.values()

    assert (row.first_seen, row.last_seen) == (T0 + 1, T0 + 9)


# -- records that can't be used --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flow", "flow_stats", "flow_purge"])
@pytest.mark.parametrize(
    "inner", [None, 5, "x", [], {}, {"digest": None}, {"digest": 5}, {"digest": ""}, {"digest": "x" * 129}]
)
def test_a_record_of_no_flow_is_rejected_and_counted(books: Books, kind: str, inner: Any) -> None:
    books.feed({"type": kind, "flow": inner}, {"type": kind}).flush()

    assert books.accountant.rejected == {f"{kind} without digest": 2}
    assert books.gateway == (0, 0)


COUNTERS = ("local_bytes", "other_bytes", "local_packets", "other_packets")


@pytest.mark.parametrize("name", COUNTERS)
def test_a_record_without_one_of_its_counters_is_rejected_and_counted(books: Books, name: str) -> None:
    bad = stats("a", 10, 20, 30)
    del bad["flow"][name]
    books.feed(flow("a"), bad, stats("a", 10, 20, 30)).flush()

    assert books.accountant.rejected == {f"counters without {name}": 1}
    assert books.device() == (10, 20)


@pytest.mark.parametrize("name", [*COUNTERS, "total_bytes", "total_packets"])
@pytest.mark.parametrize("value", [None, "5", 5.0, True, [], {}, -2, -(10**30), 1 << 47, 10**30])
def test_a_counter_that_is_no_count_is_rejected_and_counted(books: Books, name: str, value: Any) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30, **{name: value}), stats("a", 10, 20, 30)).flush()

    assert books.accountant.rejected == {"counters out of range": 1}
    assert books.device() == (10, 20)


@pytest.mark.parametrize("name", COUNTERS)
def test_a_count_below_nothing_is_rejected_and_counted(books: Books, name: str) -> None:
    below: dict[str, Any] = {name: -1}
    books.feed(stats("a", 10, 20, 30, **below)).flush()

    assert books.accountant.rejected == {"counters out of range": 1}


def test_records_are_counted_by_type_and_unknown_ones_ignored(books: Books) -> None:
    books.feed(
        {"type": "agent_hello"}, {"type": "definitions"}, {"type": "new"}, {"type": "<script>"}
    ).flush()

    assert books.accountant.records == {"agent_status": 1, "agent_hello": 1, "definitions": 1, "unknown": 2}
    assert books.gateway == (0, 0)


def test_what_is_not_described_is_undescribed() -> None:
    assert Key(None, "Unknown", "Unknown") == UNDESCRIBED


# -- found by review and attack --------------------------------------------------------------------


def test_netifyd_and_the_agent_restart_while_redis_is_away_and_nothing_counts_twice(books: Books) -> None:
    """Cause: what arrived before netifyd's restart was taken for the life after it."""
    books.feed(status(0), flow("a"), stats("a", 600, 0, 600)).flush()
    books.crash(restore=False)
    books.connect(status(60), flow("a"), stats("a", 100, 0, 1000, at=T0 + 60_000))
    books.connect(status(5, at=T0 + 70_000))
    books.restore()
    books.flush()
    assert books.totals[""][0] == 1000


def test_one_clock_gone_wild_is_not_when_we_came() -> None:
    """Cause: the first record's time was kept as the epoch, though an agent_status said better later."""
    books = Books()
    books.feed(stats("wild", 1, 0, 1, at=(1 << 42) - 1), status(100), flow("a", born=T0 + 1000))
    books.feed(stats("a", 10, 0, 500)).flush()
    assert books.totals[MAC][0] == 500


def test_one_clock_gone_wild_is_not_when_we_let_go() -> None:
    """Cause: the time of an evicted flow was believed, so that all later flows seemed older than it."""
    books = Books(max_flows=64)
    books.feed(status(100), flow("wild", last_seen_at=(1 << 42) - 1))
    for number in range(200):
        books.feed(flow(f"f{number}"))
    books.feed(flow("late", born=T0 + 61_000), stats("late", 10, 0, 500)).flush()
    assert books.totals[MAC][0] == 500


def test_a_flow_let_go_between_two_status_reports_counts_once() -> None:
    """Cause: not believing a wild clock, we believed no time after the latest agent_status at all."""
    books = Books(1).connect(status())
    books.feed(flow("a", born=T0 + 5000), stats("a", 10, 20, 30, at=T0 + 6000), flow("b")).flush()
    books.crash().connect(status(105, at=T0 + 5000))
    books.feed(flow("a", born=T0 + 5000), stats("a", 1, 2, 33, at=T0 + 7000)).flush()
    assert books.gateway == (11, 22)


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
    books = Books(max_flows=2).connect(status(), flow("a"), stats("a", 10, 20, 30, at=T0 + 1))
    batch = books.accountant.take(books.bucket)
    books.accountant.freeze(most)
    books.connect(*later)
    while books.accountant.freeze(1):
        pass
    key = Key(MAC, NETFLIX, "HTTP/S")
    assert batch.flows == {"a": FlowState(SOURCE, key, None, T0, T0 + 1, 30, 3, 10, 20, 1, 2, 0, 0)}
    books.apply(batch)
    books.flush()


def test_a_batch_that_was_not_completed_is_complete_before_the_next_one(books: Books) -> None:
    books.feed(flow("a"), flow("b"))
    batch = books.accountant.take(books.bucket)
    assert not batch.flows and books.accountant.freeze(1)
    books.accountant.take(books.bucket)
    assert batch.flows.keys() == {"a", "b"}


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
    books = Books().connect(status(), flow("a"), stats("a", 10, 20, 30))
    books.flush()
    books.feed(flow("b", app="netify.other", digest_prev=["a"]))
    batch = books.accountant.take(books.bucket)
    books.accountant.freeze(most)
    books.connect(*end).feed(flow("a", digest_prev=["b"]))
    books.accountant.freeze()
    assert batch.flows["a"] is None
    books.apply(batch)
    books.flush()


def test_a_state_that_memory_is_too_short_for_is_written_later(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.feed(flow("a"), stats("a", 10, 20, 30))
    batch = books.accountant.take(books.bucket)
    with monkeypatch.context() as short:
        short.setattr(Flow, "state", Mock(side_effect=MemoryError))
        with pytest.raises(MemoryError):
            books.feed(stats("a", 1, 2, 33, at=T0 + 1))
    books.accountant.freeze()
    state = batch.flows["a"]
    assert state is not None and state.total_bytes == 30


def test_a_flow_that_makes_room_for_the_one_that_it_goes_on_as_is_let_go(books: Books) -> None:
    """An earlier life has to make room among the flows that are over, and this flow is the first there."""
    books.feed(flow("b"), flow("a", born=T0 + 5), purge("a", 1, 2, 3, at=T0 + 6))
    for number in range(99):
        books.feed(flow(f"c{number}"), purge(f"c{number}", 1, 2, 3))
    books.feed(stats("b", 1, 2, 3, at=T0 + 9, digest_prev=["a"])).flush()
    assert books.totals[MAC][:2] == [100, 200]
    assert books.unattributed[:2] == [1, 2]
