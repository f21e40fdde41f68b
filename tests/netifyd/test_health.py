"""Promises of what is kept of a netifyd's own words: right sums, and nothing that can't be."""

from __future__ import annotations

from typing import Any

import pytest
from support import CAPTURES

from netify_agent.netifyd.framing import RecordReader
from netify_agent.netifyd.health import STATUS_TYPES, InterfaceCounters, NetifydStatus, updated

ANYTHING = [None, True, -1, 1 << 60, 1e999, float("nan"), "12", [], {}, {"raw": 1}]


def status(**fields: Any) -> dict[str, Any]:
    return {"type": "agent_status", **fields}


def test_the_status_of_a_recorded_netifyd_is_read() -> None:
    """What 4.4.5 sent in 240 seconds; the sums are of its 16 reports."""
    if not (CAPTURES / "live-4.4.5.raw").exists():
        pytest.skip("no captures here")
    result = NetifydStatus()
    for record in RecordReader(1 << 20).feed((CAPTURES / "live-4.4.5.raw").read_bytes()):
        if record["type"] in STATUS_TYPES:
            result = updated(result, record)
    assert result == NetifydStatus(
        uptime_s=240,
        flows=2313,
        memory_bytes=46856 * 1024,
        cpu_user_s=0.373751,
        cpu_system_s=0.137205,
        interfaces={
            "vb": InterfaceCounters(
                4561 + 8942 + 5081 + 7538 + 9752 + 4571, {"capture": 0, "queue": 0, "pcap": 0}
            )
        },
    )


def test_packets_of_every_interval_are_summed_by_interface() -> None:
    result = NetifydStatus()
    for lost in (3, 4):
        result = updated(
            result,
            status(
                stats={"br0": {"raw": 100, "capture_dropped": lost, "queue_dropped": 1}, "tun0": {"raw": 5}}
            ),
        )
    assert result.interfaces == {
        "br0": InterfaceCounters(200, {"capture": 7, "queue": 2}),
        "tun0": InterfaceCounters(10, {}),
    }


def test_packet_counters_of_version_5_come_in_a_separate_record() -> None:
    result = updated(NetifydStatus(), status(uptime=7, memrss_kb=10, maxrss_kb=99))
    result = updated(result, {"type": "interface_stats", "br0": {"raw": 100, "queue_dropped": 3}})
    assert result.interfaces == {"br0": InterfaceCounters(100, {"queue": 3})}
    assert (result.uptime_s, result.memory_bytes) == (7, 10240)


@pytest.mark.parametrize("value", ANYTHING)
def test_invalid_values_are_treated_as_missing(value: object) -> None:
    named = ("uptime", "flow_count", "memrss_kb", "maxrss_kb", "cpu_user", "cpu_system", "stats")
    result = updated(NetifydStatus(), status(**dict.fromkeys(named, value)))
    assert result == NetifydStatus()
    result = updated(result, {"type": "interface_stats", "br0": value})
    assert all(isinstance(one, InterfaceCounters) for one in result.interfaces.values())
    result = updated(
        NetifydStatus(), status(stats={"br0": {"raw": value, "pcap_drop": value, "capture_dropped": value}})
    )
    assert result.interfaces == {"br0": InterfaceCounters()}


def test_interfaces_are_bounded_and_their_names_are_cleaned() -> None:
    result = updated(NetifydStatus(), status(stats={f"if{number}": {"raw": 1} for number in range(1000)}))
    assert len(result.interfaces) == 64
    result = updated(result, status(stats={"if1": {"raw": 1}, "more": {"raw": 1}, "": {"raw": 1}}))
    assert len(result.interfaces) == 64
    assert result.interfaces["if1"].packets == 2
    result = updated(NetifydStatus(), {"type": "interface_stats", "a\n\ud800": {"raw": 1}})
    assert list(result.interfaces) == ["a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"]
