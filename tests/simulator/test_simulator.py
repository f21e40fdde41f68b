"""The simulator's stream: one seed one stream, the wire format to the field, and all that a network does."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from simulated import DESCRIPTIONS, Record, records_of

from netify_agent.simulator import Simulation
from netify_agent.simulator.network import Network


def digest_of(**parameters: Any) -> str:
    simulation, total = Simulation(**parameters), hashlib.sha256()
    for payload in simulation.opening():
        total.update(payload)
    for at_ms, payload in simulation.records():
        total.update(b"%d " % at_ms + payload)
    total.update(json.dumps(simulation.truth.as_dict()).encode())
    return total.hexdigest()


# --- one seed, one stream -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 5])
def test_the_same_parameters_give_the_same_bytes_in_any_process(version: int) -> None:
    call = f"import test_simulator as t; print(t.digest_of(seed=5, devices=40, hours=0.1, version={version}))"
    seen = set()
    for hash_seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        path = Path(__file__).parent
        done = subprocess.run(
            [sys.executable, "-c", call], cwd=path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        seen.add(done.stdout.strip())
    assert seen == {digest_of(seed=5, devices=40, hours=0.1, version=version)}


def test_another_seed_gives_another_network_and_another_stream() -> None:
    one, two = (Simulation(seed, 20, 0.1) for seed in (1, 2))
    assert records_of(one) != records_of(two)
    assert set(one.truth.as_dict()["devices"]) != set(two.truth.as_dict()["devices"])  # type: ignore[call-overload]


def test_time_never_runs_backwards_and_a_finite_stream_ends_at_its_end() -> None:
    simulation = Simulation(1, 30, 0.25, start_ms=1_000_000_000_000)
    times = [at_ms for at_ms, _ in simulation.records()]
    assert times == sorted(times)
    assert times[0] >= 1_000_000_000_000
    assert times[-1] == simulation.end_ms == 1_000_000_000_000 + 900_000
    assert simulation.ended


def test_reading_in_steps_of_time_gives_the_same_stream_as_reading_at_once() -> None:
    whole, stepped = Simulation(3, 20, 0.1), Simulation(3, 20, 0.1)
    pieces: list[tuple[int, bytes]] = []
    until = stepped.now_ms
    while not stepped.ended:
        assert stepped.next_ms() > until or until == stepped.now_ms
        until += 7_001
        piece = list(stepped.advance(until))
        assert all(at_ms <= until for at_ms, _ in piece)
        pieces += piece
    assert pieces == list(whole.records())
    assert stepped.truth.as_dict() == whole.truth.as_dict()


@pytest.mark.parametrize(
    "wrong", [{"version": 3}, {"devices": 0}, {"devices": 100_001}, {"hours": 0}, {"profile": "ship"}]
)
def test_a_parameter_outside_its_range_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Simulation(**wrong)


# --- what happens on the network ------------------------------------------------------------------------


def of_type(records: list[Record], kind: str) -> list[Record]:
    return [record["flow"] for record in records if record["type"] == kind]


def test_counters_arrive_before_the_flow_record_now_and_then_and_some_flows_are_never_described(
    busy_v4: list[Record],
) -> None:
    described: set[str] = set()
    early: set[str] = set()
    for record in busy_v4:
        if record["type"] == "flow":
            described.add(record["flow"]["digest"])
        elif record["type"] == "flow_stats" and record["flow"]["digest"] not in described:
            early.add(record["flow"]["digest"])
    assert len(early & described) > len(described) / 50
    assert len({flow["digest"] for flow in of_type(busy_v4, "flow_purge")} - described) > 20


def test_refinement_keeps_the_digest_in_v4_and_changes_application_or_protocol(busy_v4: list[Record]) -> None:
    seen: dict[str, Record] = {}
    changed: Counter[str] = Counter()
    for flow in of_type(busy_v4, "flow"):
        before = seen.get(flow["digest"])
        assert flow["detection_updated"] is (before is not None)
        if before is not None:
            for what in ("detected_application_name", "detected_protocol_name"):
                changed[what] += flow[what] != before[what]
        seen[flow["digest"]] = flow
    assert min(changed.values()) > 20


def test_refinement_makes_a_new_digest_in_v5_that_lists_all_earlier_ones_and_counts_on(
    busy_v5: list[Record],
) -> None:
    newest: dict[str, str] = {}
    counted: Counter[str] = Counter()
    moved = refined = 0
    for record in busy_v5:
        if "flow" not in record:
            continue
        flow = record["flow"]
        chain = flow["digest_prev"]
        first = (chain or [flow["digest"]])[0]
        if record["type"] in DESCRIPTIONS:
            assert first not in newest or chain[-1] == newest[first]
            refined += len(chain) > 1
        else:
            assert newest.get(first, first) == flow["digest"]
            moved += bool(counted[first]) and len(chain) > 1
            counted[first] += flow["local_bytes"] + flow["other_bytes"]
            assert flow["total_bytes"] == counted[first]
        newest[first] = flow["digest"]
    assert refined > 200
    assert moved > 200


def test_short_flows_are_in_their_purge_alone_and_long_ones_report_each_interval(
    busy_v4: list[Record],
) -> None:
    reports = Counter(flow["digest"] for flow in of_type(busy_v4, "flow_stats"))
    whole = [
        flow
        for flow in of_type(busy_v4, "flow_purge")
        if reports[flow["digest"]] == 0
        and 0 < flow["total_bytes"] == flow["local_bytes"] + flow["other_bytes"]
    ]
    assert len(whole) > 500
    assert max(reports.values()) > 100
    reasons = Counter(record["reason"] for record in busy_v4 if record["type"] == "flow_purge")
    assert reasons.keys() == {"closed", "expired", "terminate"}
    assert min(reasons.values()) > 50


def test_devices_without_a_mac_local_pairs_groups_and_both_ip_versions_are_there(
    busy_v4: list[Record],
) -> None:
    flows = of_type(busy_v4, "flow")
    types = Counter(flow["other_type"] for flow in flows)
    assert types.keys() == {"remote", "local", "multicast", "broadcast"}
    assert any(flow["local_mac"] == "00:00:00:00:00:00" for flow in flows)
    local = [flow for flow in flows if flow["other_type"] == "local"]
    assert {flow["local_origin"] for flow in local} == {True, False}
    assert all(
        (flow["local_mac"], flow["local_ip"]) != (flow["other_mac"], flow["other_ip"]) for flow in local
    )
    assert {flow["ip_version"] for flow in flows} == {4, 6}
    assert any(not flow["local_origin"] for flow in flows if flow["other_type"] == "remote")
    assert {"DNS", "NTP", "HTTP/S", "HTTP", "QUIC", "SSH", "MDNS", "DHCP", "Unknown"} <= {
        flow["detected_protocol_name"] for flow in flows
    }
    assert {3, 12, 24, 29, 35, 0} == {flow["category"]["application"] for flow in flows}


def test_dhcp_and_mdns_name_the_devices_and_vendors_are_mixed_with_private_macs(
    busy_v4: list[Record],
) -> None:
    dhcp = [flow for flow in of_type(busy_v4, "flow") if flow["detected_protocol_name"] == "DHCP"]
    assert len(dhcp) == 114  # one each but for the six behind the tunnel
    for flow in dhcp:
        assert (flow["local_ip"], flow["other_type"]) == ("0.0.0.0", "broadcast")
        assert flow["host_server_name"]
        assert flow["dhcp"]["fingerprint"]
    names = {flow["local_mac"]: flow["host_server_name"] for flow in dhcp}
    mdns = [flow for flow in of_type(busy_v4, "flow") if flow["detected_protocol_name"] == "MDNS"]
    assert len(mdns) > 80
    for flow in mdns:
        assert flow["other_type"] == "multicast"
        assert flow["mdns"]["answer"] == names[flow["local_mac"]] + ".local"
    assert {int(mac[:2], 16) & 2 for mac in names} == {0, 2}
    assert len({mac[9:] for mac in names}) == len(names)


def test_hostile_text_arrives_as_it_was_sent_in_names_and_user_agents(busy_v4: list[Record]) -> None:
    flows = of_type(busy_v4, "flow")
    hosts = "".join(flow.get("host_server_name", "") for flow in flows)
    agents = "".join(flow.get("http", {}).get("user_agent", "") for flow in flows)
    for text in ("<script>", '"quoted\\"', "\x07", "\x00", "\r\n", "a" * 6000):
        assert text in hosts
        assert text in agents
    assert any("<script>" in flow["host_server_name"] or '"quoted' in flow["host_server_name"]
               for flow in flows if flow["detected_protocol_name"] == "DHCP")  # fmt: skip


@pytest.mark.parametrize("version", [4, 5])
def test_status_comes_each_15_seconds_with_uptime_and_sometimes_lost_packets(version: int) -> None:
    simulation = Simulation(1, 20, 0.2, version=version)
    start = simulation.now_ms
    statuses = [(at, record) for at, record in ((at, json.loads(p)) for at, p in simulation.records())
                if record["type"] in ("agent_status", "interface_stats")]  # fmt: skip
    mine = [(at, record) for at, record in statuses if record["type"] == "agent_status"]
    assert [at for at, _ in mine] == [start + 15_000 * number for number in range(1, 49)]
    assert [record["uptime"] for _, record in mine] == [15 * number for number in range(1, 49)]
    assert all(record["flow_count"] > 0 for _, record in mine)
    lost = [
        (record["stats"] if version == 4 else record)["br0"]["capture_dropped"]
        for _, record in statuses
        if version == 4 or record["type"] == "interface_stats"
    ]
    assert 0 < sum(1 for dropped in lost if dropped) < len(lost)


@pytest.mark.parametrize("version", [4, 5])
def test_a_status_lists_the_devices_that_sent_or_received_in_its_interval(version: int) -> None:
    local: dict[str, str] = {}
    seen: set[str] = set()
    sizes = set()
    for record in records_of(Simulation(2, 40, 0.3, version=version)):
        flow = record.get("flow", {})
        if record["type"] == "flow":
            local[flow["digest"]] = "" if flow["local_ip"] == "0.0.0.0" else flow["local_mac"]
        elif record["type"] in ("flow_stats", "flow_purge"):
            seen.add(local.get(flow["digest"], ""))
        elif record["type"] == ("agent_status" if version == 4 else "endpoints"):
            listed = set((record["devices"] or {}) if version == 4 else record) - {"type"}
            assert seen - {"", "00:00:00:00:00:00"} <= listed
            sizes.add(len(listed))
            seen.clear()
    assert len(sizes) > 5
    assert min(sizes) < 34


def test_ten_thousand_devices_have_addresses_and_macs_of_their_own() -> None:
    network = Network(1, 10_000, "home")
    assert len({device.ip for device in network.devices}) == 10_000
    assert len({device.mac for device in network.devices}) == 9_501  # 500 share the absence of one


# In a process of its own: what threads of other tests allocate is no memory of the simulator's.
_PEAKS = """
import json, tracemalloc
from netify_agent.simulator import Simulation
from netify_agent.simulator.simulation import DEFAULT_START_MS

simulation, peaks = Simulation(1, 10), []
tracemalloc.start()
for hours in (1, 2, 3, 4):
    tracemalloc.reset_peak()
    produced = sum(len(payload) for _, payload in simulation.advance(DEFAULT_START_MS + hours * 3_600_000))
    peaks.append(tracemalloc.get_traced_memory()[1])
print(json.dumps([produced, peaks]))
"""


def test_memory_holds_the_live_flows_and_not_the_stream() -> None:
    done = subprocess.run([sys.executable, "-c", _PEAKS], check=True, capture_output=True)
    produced, peaks = json.loads(done.stdout)
    assert produced > 1_000_000
    assert peaks[-1] - peaks[0] < 100_000
