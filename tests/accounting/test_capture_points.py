"""Capture points: a packet that is seen at two interfaces counts once. Bytes are (up, down)."""

from __future__ import annotations

from typing import Any

import pytest
from reference_store import SOURCE, ReferenceStore, flow, purge, stats, status

from netify_agent.accounting.capture_points import CaptureRules

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


def with_numbers(record: Any) -> Any:
    """The record as netifyd v3 writes it: 0 and 1 for false and true."""
    if isinstance(record, dict):
        return {key: with_numbers(value) for key, value in record.items()}
    return int(record) if isinstance(record, bool) else record


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


def test_counters_of_external_flows_before_their_description_are_left_out(store: ReferenceStore) -> None:
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


def test_version_3_says_with_numbers_where_a_packet_was_seen(store: ReferenceStore) -> None:
    own = {"ip_nat": False, "conntrack": {"id": 1}, "local_ip": f"::ffff:{WAN_IP}"}
    store.feed(status(), *map(with_numbers, (outside("b"), flow("a"))), stats("a", 10, 20, 30))
    store.feed(with_numbers({**stats("b", 10, 20, 30), "internal": False})).flush()
    check_one_device(store)

    store.feed(status(interfaces=LAN_AND_WAN), with_numbers(outside("own", **own)), stats("own", 1, 2, 3))
    store.flush()
    assert (store.gateway, store.device(ROUTER_MAC)) == ((11, 22), (1, 2))


def test_a_netifyd_with_only_external_interfaces_counts_everything(store: ReferenceStore) -> None:
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


def test_netifyd_5_reports_its_interfaces_in_a_separate_record(store: ReferenceStore) -> None:
    store.feed(outside("b"), stats("b", 1, 2, 3))
    store.feed({"type": "interfaces", **LAN_AND_WAN}).flush()

    assert (store.gateway, store.left_out[:2]) == ((0, 0), [1, 2])


def test_other_rules_hold_for_flows_that_are_described_after_them(store: ReferenceStore) -> None:
    store.feed(status(interfaces=LAN_AND_WAN), outside("b"), stats("b", 1, 2, 3))
    assert store.accountant.capture_points()[SOURCE] == [("br-lan", "lan", True), ("wan", "wan", False)]

    store.accountant.set_capture_rules(CaptureRules(include=("wan",)))
    store.feed(outside("c"), stats("c", 10, 20, 30), {**flow("d"), "interface": "br-lan"})
    store.feed(stats("d", 100, 200, 300)).flush()

    assert store.accountant.capture_points()[SOURCE] == [("br-lan", "lan", False), ("wan", "wan", True)]
    assert (store.gateway, store.left_out[:2]) == ((10, 20), [101, 202])
