"""Rules 3, 4, 7, 8 and 10 of docs/accounting.md: what a description changes. Bytes are (up, down)."""

from __future__ import annotations

from typing import Any

import pytest
from reference_store import (
    IP,
    MAC,
    NETFLIX,
    OTHER,
    T0,
    YOUTUBE,
    ReferenceStore,
    flow,
    local,
    purge,
    stats,
    status,
)

from netify_agent.netifyd.flow_record import Key

# -- counters before the description (rule 3) ------------------------------------------------------------


@pytest.mark.parametrize("last", [stats, purge])
def test_bytes_before_the_description_move_to_the_described_row(store: ReferenceStore, last: Any) -> None:
    store.feed(stats("a", 100, 200, 300), last("a", 10, 20, 330)).flush()
    assert (store.gateway, store.device()) == ((110, 220), (0, 0))
    assert store.unattributed == [110, 220, 11, 22, 1]

    store.feed(flow("a")).flush()
    assert store.gateway == store.device() == store.app(NETFLIX) == (110, 220)
    assert store.unattributed == [0, 0, 0, 0, 0]


def test_an_undescribed_flow_counts_for_the_gateway_alone(store: ReferenceStore) -> None:
    store.feed(stats("a", 100, 200, 300), purge("a", 1, 2, 303)).flush()

    assert store.gateway == store.app("Unknown", "") == (101, 202)
    assert store.totals.keys() == {""}


def test_bytes_move_to_the_last_application(store: ReferenceStore) -> None:
    store.feed(flow("a", "Unknown"), stats("a", 100, 200, 300)).flush()
    store.feed(flow("a", YOUTUBE, detected_protocol_name="QUIC"), stats("a", 1, 2, 303)).flush()

    assert store.gateway == store.device() == store.app(YOUTUBE) == (101, 202)
    assert store.applications[MAC]["Unknown"] == [0, 0, 0, 0, 0]
    assert store.applications[MAC][YOUTUBE] == store.protocols[MAC]["QUIC"] == [101, 202, 10, 20, 1]
    assert store.protocols[MAC]["HTTP/S"] == [0, 0, 0, 0, 0]


def test_a_refinement_can_change_the_device(store: ReferenceStore) -> None:
    store.feed(flow("a", local_mac=None), stats("a", 100, 200, 300)).flush()
    store.feed(flow("a")).flush()

    assert store.device(IP) == (0, 0)
    assert store.device() == (100, 200)


def test_a_repeated_description_changes_nothing(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 100, 200, 300)).flush()
    batch = store.feed(flow("a")).flush()

    assert not (batch.counted or batch.moved)


def test_a_reclassification_after_the_end_moves_the_bytes(store: ReferenceStore) -> None:
    store.feed(flow("a", "Unknown"), purge("a", 100, 200, 300)).flush()
    store.feed(flow("a", NETFLIX)).flush()

    assert store.app(NETFLIX) == store.gateway == (100, 200)
    assert store.flows == {}


def test_a_reclassification_moves_all_totals_but_only_the_open_bucket_of_the_history() -> None:
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


def test_a_reclassification_never_changes_closed_buckets() -> None:
    store = ReferenceStore().connect(status())
    store.feed(flow("a", "Unknown"), stats("a", 100, 200, 300)).flush(600)
    batch = store.feed(flow("a", NETFLIX)).flush()

    assert not batch.counted
    assert {key.application: row.counts() for key, row in batch.moved.items()} == {
        "Unknown": (-100, -200, -10, -20, -1),
        NETFLIX: (100, 200, 10, 20, 1),
    }


# -- local to local (rule 7) -----------------------------------------------------------------------------


def test_what_one_local_device_sent_the_other_received(store: ReferenceStore) -> None:
    store.feed(local("a"), stats("a", 100, 200, 300)).flush()

    assert store.device(MAC) == (100, 200)
    assert store.device(OTHER) == (200, 100)
    assert store.totals[OTHER] == [200, 100, 20, 10, 1]
    assert store.gateway == (100, 200)
    assert store.count() == 1
    assert store.mirrored == [200, 100, 20, 10, 1]


def test_missed_and_moved_bytes_are_mirrored(store: ReferenceStore) -> None:
    store.feed(stats("a", 30, 60, 90), local("a", "Unknown"), stats("a", 0, 0, 180)).flush()
    store.feed(local("a", NETFLIX)).flush()

    assert store.app(NETFLIX, MAC) == (60, 120)
    assert store.app(NETFLIX, OTHER) == (120, 60)
    assert store.app("Unknown", OTHER) == (0, 0)


def test_a_flow_that_turns_out_not_to_be_local_is_removed_from_the_other_side(store: ReferenceStore) -> None:
    store.feed(local("a"), stats("a", 30, 60, 90)).flush()
    store.feed(flow("a")).flush()

    assert store.totals[OTHER] == store.mirrored == [0, 0, 0, 0, 0]
    assert store.device(MAC) == (30, 60)


@pytest.mark.parametrize("mac", ["00:00:00:00:00:00", None])
def test_without_a_mac_address_the_ip_address_is_the_device(store: ReferenceStore, mac: str | None) -> None:
    store.feed(flow("a", local_mac=mac), stats("a", 10, 20, 30)).flush()

    assert store.device(IP) == (10, 20)
    assert store.totals.keys() == {"", IP}


def test_without_mac_and_ip_address_a_flow_keeps_its_application(
    store: ReferenceStore,
) -> None:
    store.feed(flow("a", local_mac=None, local_ip=None), stats("a", 10, 20, 30)).flush()

    assert store.app(NETFLIX, "") == (10, 20)
    assert store.unattributed == [10, 20, 1, 2, 1]


# -- hostile text (rule 10) ------------------------------------------------------------------------------


def test_text_from_the_network_becomes_printable_and_short(store: ReferenceStore) -> None:
    evil = "\x1b[2J\udcff<script>" + "x" * 1000
    store.feed(flow("a", evil, detected_protocol_name=evil, dhcp={}, local_port=68, host_server_name=evil))
    store.feed({**flow("b"), "interface": evil}, stats("a", 10, 20, 30))
    batch = store.flush()

    note = batch.devices[MAC]
    for text in (*batch.counted, note.hint, note.interface):
        for part in text[:4] if isinstance(text, Key) else (text,):
            assert part is not None
            assert part.isprintable()
            assert len(part) <= 253


# -- names and addresses of devices ----------------------------------------------------------------------


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
def test_a_device_list_of_any_type_is_accepted(store: ReferenceStore, devices: Any) -> None:
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


def test_rows_have_the_times_when_they_were_seen(store: ReferenceStore) -> None:
    store.feed(flow("a", born=T0 + 1), stats("a", 1, 2, 3, at=T0 + 9), stats("a", 0, 0, 3, at=0))
    (row,) = store.flush().counted.values()

    assert (row.first_seen, row.last_seen) == (T0 + 1, T0 + 9)


# -- types of descriptions (rule 4) ----------------------------------------------------------------------


def test_the_last_description_by_arrival_counts_whatever_its_type(store: ReferenceStore) -> None:
    for kind, app in (("flow", "Unknown"), ("flow_dpi_update", NETFLIX), ("flow_dpi_complete", YOUTUBE)):
        store.feed({**flow("a", app, local_bytes=6583, total_bytes=0), "type": kind})
    store.feed(stats("a", 10, 20, 30)).flush()

    assert (store.device(), store.app(YOUTUBE)) == ((10, 20), (10, 20))


def test_a_flow_may_be_described_by_its_completion_alone(store: ReferenceStore) -> None:
    store.feed(stats("a", 10, 20, 30), {**flow("a"), "type": "flow_dpi_complete"}).flush()

    assert store.device() == (10, 20)
