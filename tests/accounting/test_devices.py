"""Which device a flow belongs to: by MAC address, by IP address, by what is known of both, or by neither."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from reference_store import (
    IP,
    MAC,
    NETFLIX,
    OTHER,
    SOURCE,
    T0,
    YOUTUBE,
    ReferenceStore,
    flow,
    purge,
    stats,
    status,
)

from netify_agent.accounting.accountant import Accountant
from netify_agent.accounting.device_identity import MAX_LEARNED, ByIp
from netify_agent.netifyd.flow_record import OTHER_DEVICE

ZERO = "00:00:00:00:00:00"
BARE: dict[str, Any] = {"local_mac": ZERO}
REMOTE_SOURCE = "tcp://192.0.2.1:7150"


def devices(store: ReferenceStore) -> dict[str, tuple[int, int]]:
    """Bytes of every device that has any, after a flush."""
    store.flush()
    return {name: store.device(name) for name, row in store.totals.items() if name and any(row[:2])}


# -- the MAC address of an IP address ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "teacher",
    [
        {"type": "endpoints", MAC.upper(): [IP]},
        status(devices={MAC: [IP]}),
        flow("b"),
        flow("b", local_mac=OTHER, local_ip="10.0.0.9", other_mac=MAC, other_ip=IP, other_type="local"),
    ],
    ids=["endpoints", "agent_status", "local side", "other side in the network"],
)
@pytest.mark.parametrize("ended", [False, True], ids=["live", "over"])
@pytest.mark.parametrize("first", [False, True], ids=["taught before", "taught after"])
def test_a_flow_without_a_mac_goes_to_the_device_that_has_its_address(
    store: ReferenceStore, teacher: dict[str, Any], first: bool, ended: bool
) -> None:
    flows = [flow("a", **BARE), (purge if ended else stats)("a", 100, 200, 300)]
    for records in ([teacher], flows) if first else (flows, [teacher]):
        store.feed(*records).flush()

    assert devices(store) == {MAC: (100, 200)}


@pytest.mark.parametrize(
    "record",
    [
        flow("b", local_mac=OTHER, local_ip="10.0.0.9", other_mac=MAC, other_ip=IP, other_type="remote"),
        {"type": "endpoints", MAC: [IP], OTHER: [IP]},
        {"type": "endpoints", ZERO: [IP], "ff:ff:ff:ff:ff:ff": [IP], "x": 5, MAC: "text", OTHER: [5, None]},
        {"type": "endpoints", MAC: [IP] + [f"10.1.0.{number}" for number in range(20)]},
    ],
    ids=["a router as next hop", "two owners", "no device at all", "a router that hides many hosts"],
)
def test_what_does_not_show_whose_an_address_is_teaches_nothing(
    store: ReferenceStore, record: dict[str, Any]
) -> None:
    store.feed(record, flow("a", **BARE), stats("a", 100, 200, 300))

    assert devices(store) == {IP: (100, 200)}


@pytest.mark.parametrize("why", ["a router that hides many hosts", "no room for its device"])
def test_a_flow_stays_at_its_address_where_the_device_is_not_known_or_has_no_room(
    store: ReferenceStore, why: str
) -> None:
    store.feed(flow("a", **BARE), stats("a", 100, 200, 300), stats("nobody", 1, 2, 3))
    if why == "no room for its device":
        store.accountant.devices.max = 1
        store.feed({"type": "endpoints", MAC: [IP]})
    else:
        store.feed({"type": "endpoints", MAC: [IP] + [f"10.1.0.{number}" for number in range(20)]})

    assert devices(store) == {IP: (100, 200)}
    assert store.unattributed[:2] == [1, 2]


def test_an_address_that_moves_to_another_device_takes_no_earlier_flow_along(store: ReferenceStore) -> None:
    store.feed(flow("a"), flow("b", **BARE), stats("b", 1, 2, 3))
    store.feed(flow("c", local_mac=OTHER), flow("d", **BARE), stats("d", 10, 20, 30), stats("b", 1, 2, 6))

    assert devices(store) == {MAC: (2, 4), OTHER: (10, 20)}
    assert devices(store.feed(flow("b", **BARE))) == {OTHER: (12, 24)}  # told anew, it is decided anew


def test_what_one_netifyd_knows_of_addresses_is_not_true_for_another(store: ReferenceStore) -> None:
    store.feed(flow("a")).connect(status(), source=REMOTE_SOURCE)
    store.feed(flow("b", **BARE), stats("b", 1, 2, 3), source=REMOTE_SOURCE)

    assert devices(store) == {IP: (1, 2)}


@pytest.mark.parametrize("first", [False, True], ids=["known before", "known after"])
def test_neighbours_of_this_machine_name_the_hosts_that_its_netifyd_sees(
    store: ReferenceStore, first: bool
) -> None:
    store.connect(status(), source=REMOTE_SOURCE)
    for turn in range(2):
        if bool(turn) != first:
            store.accountant.identity.set_neighbours({IP: MAC}, [SOURCE])
        else:
            store.feed(flow("a", **BARE), stats("a", 1, 2, 3))
            store.feed(flow("b", **BARE), stats("b", 10, 20, 30), source=REMOTE_SOURCE)
    store.feed(status())

    assert devices(store) == {MAC: (1, 2), IP: (10, 20)}


def test_a_host_that_talks_to_itself_and_loopback_are_nobody_elses(store: ReferenceStore) -> None:
    itself = {"other_mac": ZERO, "other_type": "local"}
    store.feed(flow("a"), flow("b", **BARE, **itself, other_ip=IP), stats("b", 1, 2, 3))
    store.feed(flow("c", local_ip="127.0.0.1"), flow("d", **BARE, local_ip="127.0.0.1"), stats("d", 5, 6, 11))

    assert devices(store) == {IP: (3, 3), "127.0.0.1": (5, 6)}


def test_learned_addresses_are_bounded_and_the_oldest_are_forgotten(store: ReferenceStore) -> None:
    hosts = [
        (f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}", f"10.0.{number >> 8}.{number & 255}")
        for number in range(MAX_LEARNED + 12)
    ]
    store.feed({"type": "endpoints", **{mac: [ip] for mac, ip in hosts}})
    for _, ip in hosts[:20]:
        store.feed(flow(ip, local_mac=ZERO, local_ip=ip), stats(ip, 1, 2, 3))

    assert set(devices(store)) == {*(ip for _, ip in hosts[:12]), *(mac for mac, _ in hosts[12:20])}


# -- hosts that go by IP address -------------------------------------------------------------------------


@pytest.mark.parametrize("host", [MAC, "192.168.1.0/24", "192.168.1.0/28"])
def test_hosts_behind_a_switch_go_by_address_where_that_is_wanted(store: ReferenceStore, host: str) -> None:
    store.accountant.identity.by_ip = ByIp([host])
    between = {"other_mac": MAC, "other_ip": "192.168.1.12", "other_type": "local"}
    store.feed(flow("a", **between), stats("a", 100, 200, 300))
    store.feed(flow("b", local_ip="192.168.1.12"), stats("b", 1, 2, 3))
    store.feed(flow("c", dhcp={}, local_port=68, host_server_name="laptop"), flow("d", **BARE))
    batch = store.flush()

    assert devices(store) == {IP: (100, 200), "192.168.1.12": (201, 102)}
    assert batch.devices[IP].hint == "laptop"
    assert batch.devices[IP].addresses.keys() == {IP}


@pytest.mark.parametrize("host", [MAC, "192.168.1.0/24"])
def test_a_host_that_went_by_its_mac_address_goes_by_address_once_that_is_wanted(
    store: ReferenceStore, host: str
) -> None:
    store.feed(flow("a", local_ip="10.0.0.9"), stats("a", 1, 2, 3))
    store.accountant.identity.by_ip = ByIp([host])
    store.feed(flow("b"), stats("b", 10, 20, 30), flow("c", **BARE), stats("c", 100, 200, 300))

    assert devices(store) == {MAC: (1, 2), IP: (110, 220)}


@pytest.mark.parametrize("host", [OTHER, "192.168.2.0/24", "2001:db8::/32"])
def test_all_others_keep_their_mac_address(store: ReferenceStore, host: str) -> None:
    store.accountant.identity.by_ip = ByIp([host])
    store.feed(flow("a"), stats("a", 1, 2, 3), flow("b", local_ip=None), stats("b", 1, 2, 3))

    assert devices(store) == {MAC: (2, 4)}


# -- groups ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mac", ["ff:ff:ff:ff:ff:ff", "01:00:5E:00:00:FB", "33:33:00:00:00:01", "03:00:00:00:00:01"]
)
@pytest.mark.parametrize("ip", [IP, "224.0.0.251", "ff02::1", None])
def test_a_group_is_no_device_on_either_side(store: ReferenceStore, mac: str, ip: str | None) -> None:
    store.feed(flow("a", local_mac=mac, local_ip=ip), stats("a", 1, 2, 3))
    store.feed(flow("b", other_mac=mac, other_ip=ip, other_type="local"), stats("b", 10, 20, 30))
    store.feed({"type": "endpoints", mac: [IP]}, flow("c", **BARE), stats("c", 100, 200, 300))

    assert devices(store) == {MAC: (110, 220)}
    assert store.gateway == (111, 222)
    assert store.unattributed[:2] == [1, 2]


@pytest.mark.parametrize(
    "ip", ["224.0.0.251", "239.1.2.3", "255.255.255.255", "FF02::1", "::", "::ffff:224.0.0.1"]
)
def test_no_device_is_named_by_or_given_the_address_of_a_group(store: ReferenceStore, ip: str) -> None:
    store.feed(flow("a", **BARE, local_ip=ip), stats("a", 1, 2, 3), flow("b", local_ip=ip))
    store.feed({"type": "endpoints", MAC: [ip]})
    batch = store.flush()

    assert devices(store) == {}
    assert batch.devices[MAC].addresses == {}


# -- the bound -------------------------------------------------------------------------------------------


def mac(number: int) -> str:
    return f"06:00:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"


def test_devices_without_room_share_a_row(store: ReferenceStore) -> None:
    store.accountant.devices.max = 2
    known, late = flow("k"), {"other_mac": mac(5), "other_ip": "10.0.0.5", "other_type": "local"}
    store.feed(known, stats("k", 1, 2, 3), flow("l", local_mac=OTHER), stats("l", 1, 2, 3))
    for number in range(5):
        store.feed(flow(f"f{number}", local_mac=mac(number), dhcp={}, local_port=68, host_server_name="x"))
        store.feed(
            stats(f"f{number}", 10, 20, 30), flow(f"f{number}", "netify.youtube", local_mac=mac(number))
        )
    store.feed(flow("m", **late), stats("m", 100, 200, 300), flow("n", local_mac=ZERO, local_ip="10.0.0.7"))
    batch = store.flush()

    assert devices(store) == {MAC: (101, 202), OTHER: (1, 2), OTHER_DEVICE: (50 + 200, 100 + 100)}
    assert store.counters["flows_folded"] == 7
    note = batch.devices[OTHER_DEVICE]
    assert (note.addresses, note.hint, note.interface) == ({}, None, None)


def test_a_device_keeps_its_row_until_the_store_drops_it(store: ReferenceStore) -> None:
    store.accountant.devices.max = 1
    store.feed(flow("a"), stats("a", 1, 2, 3)).flush()
    store.crash(restore=False)
    store.accountant.devices.max = 1
    store.accountant.restore({}, {}, [MAC, OTHER_DEVICE])
    store.feed(flow("b", local_mac=OTHER), stats("b", 1, 2, 3), flow("c"), stats("c", 1, 2, 3))
    assert devices(store) == {MAC: (2, 4), OTHER_DEVICE: (1, 2)}
    store.accountant.flushed([], [MAC])
    store.feed(flow("d", local_mac=OTHER), stats("d", 1, 2, 3), flow("e"), stats("e", 1, 2, 3))
    assert devices(store) == {MAC: (2, 4), OTHER: (1, 2), OTHER_DEVICE: (2, 4)}


def test_devices_met_before_the_store_was_read_have_room_only_beside_those_that_it_has() -> None:
    store = ReferenceStore(new=False).connect(status())
    store.accountant.devices.max = 3
    late = {"other_mac": mac(2), "other_ip": "10.0.0.5", "other_type": "local"}
    store.feed(flow("a", local_mac=mac(1)), stats("a", 1, 2, 3), flow("b", **late), stats("b", 10, 20, 30))
    store.feed(flow("c", local_mac=mac(1), local_ip="10.0.0.6"), purge("c", 100, 200, 300))
    store.accountant.restore({}, {}, [MAC, OTHER])
    batch = store.flush()

    assert batch.changed_devices() == {MAC, mac(1), OTHER_DEVICE}
    assert devices(store) == {MAC: (10, 20), mac(1): (101, 202), OTHER_DEVICE: (20, 10)}
    assert store.counters["flows_folded"] == 1
    assert len(store.accountant.devices) == 3


def test_what_forgotten_flows_counted_stays_at_a_device_that_has_no_room_any_more() -> None:
    """Only flows that are still known can be moved to the shared row."""
    store = ReferenceStore(new=False).connect(status())
    store.accountant.devices.max = 1
    for number in range(101):  # one more than are remembered
        digest = f"a{number}"
        store.feed(flow(digest, local_mac=mac(1), born=T0 + number), purge(digest, 1, 2, 3, at=T0 + number))
    store.accountant.restore({}, {}, [MAC])

    assert devices(store) == {mac(1): (1, 2), OTHER_DEVICE: (100, 200)}


def test_what_flows_of_a_left_device_counted_stays_where_it_is(store: ReferenceStore) -> None:
    store.feed(flow("a"), stats("a", 10, 20, 30), flow("b", local_mac=OTHER), stats("b", 1, 2, 3)).flush()
    store.accountant.leave_behind([])
    store.accountant.leave_behind([MAC])
    store.feed(flow("a", YOUTUBE), stats("a", 5, 6, 41), flow("b", YOUTUBE, local_mac=OTHER)).flush()
    assert (store.app(NETFLIX), store.app(YOUTUBE)) == ((10, 20), (5, 6))
    assert (store.app(NETFLIX, OTHER), store.app(YOUTUBE, OTHER)) == ((0, 0), (1, 2))
    assert store.count() == 2


def test_devices_that_the_store_lost_make_room_unless_they_have_a_live_flow(store: ReferenceStore) -> None:
    store.accountant.devices.max = 2
    store.feed(flow("a"), flow("b", local_mac=OTHER), purge("b", 1, 2, 3)).flush()
    store.accountant.flushed([], [], stored=[])
    assert list(store.accountant.devices) == [MAC]
    store.feed(flow("c", local_mac=mac(1)), stats("c", 10, 20, 30), flow("d", local_mac=OTHER)).flush()
    assert list(store.accountant.devices) == [MAC, mac(1)]


def test_a_flood_of_addresses_takes_neither_memory_nor_the_row_of_a_known_device() -> None:
    accountant = Accountant(1000, max_devices=100)
    accountant.feed([flow("k")], SOURCE)

    def flood(start: int, count: int) -> int:
        for number in range(start, start + count):
            ip = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            accountant.feed([flow(f"f{number}", local_mac=mac(number), local_ip=ip)], SOURCE)
        for _ in range(2):
            accountant.close_batch(300)
            accountant.finish_batch()
        return len(gc.get_objects())

    before = flood(0, 20_000)  # fills all that is bounded
    assert flood(20_000, 20_000) - before < 2_000
    accountant.feed([flow("again")], SOURCE)
    accountant.close_batch(300)
    batch = accountant.finish_batch()
    assert batch is not None and batch.changed_devices() == {MAC}
    assert len(accountant.devices) == 100


def test_a_loopback_address_in_a_list_teaches_nothing(store: ReferenceStore) -> None:
    store.feed({"type": "endpoints", MAC: ["127.0.0.1", "::1"]}, flow("a", **BARE, local_ip="127.0.0.1"))
    store.feed(stats("a", 1, 2, 3))

    assert devices(store) == {"127.0.0.1": (1, 2)}
