"""Where bytes passed: between two devices of the network, and at which interface. Bytes are (up, down)."""

from __future__ import annotations

import json

import pytest
from reference_store import (
    IP,
    MAC,
    NETFLIX,
    OTHER,
    OTHER_IP,
    YOUTUBE,
    Record,
    ReferenceStore,
    flow,
    local,
    stats,
    status,
)

from netify_agent.store.encoding import decode_state


def at(interface: str | None, record: Record) -> Record:
    """The record, captured at ``interface``."""
    return {**record, "interface": interface}


def interfaces(store: ReferenceStore, bucket: int = 300) -> dict[str, list[int]]:
    """Bytes up and down by interface, as far as there are any."""
    return {name: row[:2] for (start, name), row in store.interfaces.items() if start == bucket and any(row)}


def local_bytes(store: ReferenceStore) -> dict[str, list[int]]:
    """Local bytes up and down of the gateway (""), and of the devices that have some."""
    return {name: store.local[name] for name in store.totals if any(store.local[name])}


# -- between two devices ---------------------------------------------------------------------------------


def test_bytes_between_two_devices_are_local_at_both(store: ReferenceStore) -> None:
    store.feed(local("a"), stats("a", 100, 200, 300), flow("b"), stats("b", 1, 2, 3)).flush()

    assert local_bytes(store) == {"": [100, 200], MAC: [100, 200], OTHER: [200, 100]}
    assert store.local[MAC, "a", NETFLIX] == store.local[300, MAC, NETFLIX] == [100, 200]
    assert store.device(MAC) == (101, 202)


def test_local_bytes_move_with_their_flow(store: ReferenceStore) -> None:
    store.feed(local("a"), stats("a", 100, 200, 300)).flush(600)
    store.feed(local("a", YOUTUBE), stats("a", 1, 2, 303)).flush()

    assert store.local[MAC, "a", YOUTUBE] == [101, 202]
    assert store.local[MAC, "a", NETFLIX] == [0, 0]
    assert store.local[300, MAC, NETFLIX] == [100, 200], "a closed bucket stays as it was"
    assert store.local[600, MAC, YOUTUBE] == [1, 2]


def test_a_flow_that_turns_out_not_to_be_local_takes_its_local_bytes_back(store: ReferenceStore) -> None:
    store.feed(local("a"), stats("a", 30, 60, 90)).flush()
    store.feed(flow("a")).flush()

    assert local_bytes(store) == {}
    assert store.device(MAC) == (30, 60)


def test_bytes_before_the_description_become_local_with_it(store: ReferenceStore) -> None:
    store.feed(stats("a", 30, 60, 90)).flush()
    assert local_bytes(store) == {}

    store.feed(local("a")).flush()
    assert local_bytes(store) == {"": [30, 60], MAC: [30, 60], OTHER: [60, 30]}


def test_local_bytes_move_to_the_device_whose_mac_address_becomes_known(store: ReferenceStore) -> None:
    nobody = "00:00:00:00:00:00"
    store.feed(local("a", local_mac=nobody, other_mac=nobody), stats("a", 30, 60, 90)).flush()
    assert local_bytes(store) == {"": [30, 60], IP: [30, 60], OTHER_IP: [60, 30]}

    store.feed(status(devices={MAC: [IP], OTHER: [OTHER_IP]})).flush()
    assert local_bytes(store) == {"": [30, 60], MAC: [30, 60], OTHER: [60, 30]}


def test_after_a_restart_bytes_go_on_as_local(store: ReferenceStore) -> None:
    store.feed(local("a"), stats("a", 30, 60, 90)).flush()
    store.crash().connect(status(200)).feed(stats("a", 1, 2, 93)).flush()

    assert store.local[""] == [31, 62]


def test_flows_of_an_older_agent_become_local(store: ReferenceStore) -> None:
    """It stored three fields of a row, and counted their bytes without asking whether they were local."""
    for digest, kind in (("a", local), ("b", flow)):
        store.feed(kind(digest), stats(digest, 30, 60, 90))
    store.flush()
    for digest, state in store.flows.items():
        peer = state.peer and state.peer[:3]
        old = (state.source, state.key[:3], peer, *state[3:])
        store.flows[digest] = decode_state(json.dumps(old))
    store.local.clear()
    store.interfaces.clear()
    store.history.clear()
    store.crash().connect(status(200)).feed(stats("a", 1, 2, 93), stats("b", 1, 2, 93)).flush(600)

    assert local_bytes(store) == {"": [31, 62], MAC: [31, 62], OTHER: [62, 31]}
    store.feed(local("a", YOUTUBE)).flush()
    assert store.local[MAC, "a", YOUTUBE] == [31, 62]


def test_a_store_that_lost_its_rows_gets_only_later_local_bytes(store: ReferenceStore) -> None:
    store.feed(local("a"), stats("a", 30, 60, 90)).flush()
    store = store.feed(local("a", YOUTUBE), stats("a", 1, 2, 93)).lose()
    store.feed(local("a"), stats("a", 3, 4, 100)).flush()

    assert local_bytes(store) == {"": [4, 6], MAC: [4, 6], OTHER: [6, 4]}
    assert interfaces(store) == {"br0": [4, 6]}


# -- interfaces ------------------------------------------------------------------------------------------


def test_the_bytes_of_the_gateway_are_summed_up_by_interface(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30), at("br1", local("b")), stats("b", 1, 2, 3)).flush()

    assert interfaces(store) == {"br0": [10, 20], "br1": [1, 2]}
    assert store.interfaces[300, "br1"] == [1, 2, 0, 0, 1, 2], "packets and local bytes as well"


def test_counters_before_the_description_have_the_interface_of_their_record(store: ReferenceStore) -> None:
    store.feed(at("br1", stats("a", 10, 20, 30))).flush()

    assert interfaces(store) == {"br1": [10, 20]}


def test_bytes_without_a_known_interface_have_a_sum_of_their_own(store: ReferenceStore) -> None:
    store.feed(stats("a", 10, 20, 30), flow("b"), stats("b", 1, 2, 3)).flush()
    assert interfaces(store) == {"": [10, 20], "br0": [1, 2]}

    store.feed(flow("a")).flush()
    assert interfaces(store) == {"br0": [11, 22]}, "what is in the open bucket moves with the flow"


def test_in_a_closed_bucket_bytes_stay_at_the_interface_that_was_known_then(store: ReferenceStore) -> None:
    store.feed(stats("a", 10, 20, 30)).flush(600)
    store.feed(flow("a"), stats("a", 1, 2, 33)).flush()

    assert interfaces(store, 300) == {"": [10, 20]}
    assert interfaces(store, 600) == {"br0": [1, 2]}


def test_after_a_restart_the_interface_of_a_flow_is_known(store: ReferenceStore) -> None:
    store.feed(at("br1", flow("a")), stats("a", 10, 20, 30)).flush(600)
    store.crash().connect(status(200)).feed(stats("a", 1, 2, 33)).flush()

    assert interfaces(store, 600) == {"br1": [1, 2]}


def test_what_is_left_out_is_at_no_interface(store: ReferenceStore) -> None:
    store.feed({**at("wan", flow("b")), "internal": False}, stats("b", 100, 200, 300))
    store.feed(flow("a"), stats("a", 10, 20, 30)).flush()

    assert interfaces(store) == {"br0": [10, 20]}
    assert store.left_out[:2] == [100, 200]


@pytest.mark.parametrize("name", [None, "", 5, []])
def test_an_interface_without_a_usable_name_is_unknown(store: ReferenceStore, name: object) -> None:
    store.feed({**flow("a"), "interface": name}, stats("a", 10, 20, 30)).flush()

    assert interfaces(store) == {"": [10, 20]}


def test_the_number_of_interfaces_is_bounded(store: ReferenceStore) -> None:
    for number in range(100):
        store.feed(at(f"veth{number}", flow(f"{number}")), stats(f"{number}", 1, 2, 3))
    store.flush()

    found = interfaces(store)
    assert len(found) == 65
    assert found[""] == [36, 72]
