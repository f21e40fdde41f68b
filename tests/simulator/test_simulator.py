"""The simulator's stream: one seed one stream, the wire format to the field, and all that a network does."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from netify_agent.simulator import Form, Simulation, frame
from netify_agent.simulator.network import Network

Record = dict[str, Any]
SCHEMAS = Path(__file__).parents[3] / "shared" / "netifyd-v5"
DESCRIPTIONS = ("flow", "flow_dpi_update", "flow_dpi_complete")


def records_of(simulation: Simulation) -> list[Record]:
    return [json.loads(payload) for _, payload in simulation.records()]


def digest_of(**parameters: Any) -> str:
    simulation, total = Simulation(**parameters), hashlib.sha256()
    for payload in simulation.opening():
        total.update(payload)
    for at_ms, payload in simulation.records():
        total.update(b"%d " % at_ms + payload)
    total.update(json.dumps(simulation.truth.as_dict()).encode())
    return total.hexdigest()


@pytest.fixture(scope="module")
def busy_v4() -> list[Record]:
    return records_of(Simulation(7, 120, 1.0))


@pytest.fixture(scope="module")
def busy_v5() -> list[Record]:
    return records_of(Simulation(7, 120, 1.0, version=5))


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


# --- the wire -------------------------------------------------------------------------------------------


def test_a_v4_header_says_exactly_how_long_its_payload_is_and_v5_has_none() -> None:
    simulation = Simulation(2, 30, 0.1)
    stream = b"".join(frame(payload, 4) for _, payload in simulation.records())
    count = 0
    while stream:
        header, _, rest = stream.partition(b"\n")
        length = json.loads(header)["length"]
        payload, stream = rest[:length], rest[length:]
        assert payload.endswith(b"\n")
        assert payload.count(b"\n") == 1
        assert "type" in json.loads(payload)
        count += 1
    assert count > 500
    assert frame(b'{"type":"x"}\n', 5) == b'{"type":"x"}\n'


COMMON_FLOW = {
    "category",
    "detected_application",
    "detected_application_name",
    "detected_protocol",
    "detected_protocol_name",
    "detection_guessed",
    "detection_updated",
    "dhc_hit",
    "digest",
    "first_seen_at",
    "ip_nat",
    "ip_protocol",
    "ip_version",
    "last_seen_at",
    "local_ip",
    "local_mac",
    "local_origin",
    "local_port",
    "other_ip",
    "other_mac",
    "other_port",
    "other_type",
    "risks",
    "soft_dissector",
    "vlan_id",
}
OPTIONAL_FLOW = {"host_server_name", "dns_host_name", "ssl", "http", "dhcp", "mdns", "ssdp", "ssh"}
COUNTED = {
    "detection_packets",
    "digest",
    "last_seen_at",
    "local_bytes",
    "local_packets",
    "other_bytes",
    "other_packets",
    "total_bytes",
    "total_packets",
}


def test_v4_records_have_the_fields_that_netifyd_4_4_5_sends(busy_v4: list[Record]) -> None:
    outer = {"established", "flow", "interface", "internal", "type"}
    for record in busy_v4:
        if record["type"] == "agent_status":
            assert record["devices"] is None or all(
                isinstance(ips, list) for ips in record["devices"].values()
            )
            assert {"capture_dropped", "queue_dropped", "pcap_drop"} <= set(record["stats"]["br0"])
            assert set(record["interfaces"]["br0"]) == {"addr", "mac", "role", "state"}
            continue
        keys = set(record["flow"])
        if record["type"] == "flow":
            assert set(record) == outer
            assert (
                COMMON_FLOW | {"first_update_at"} <= keys <= COMMON_FLOW | {"first_update_at"} | OPTIONAL_FLOW
            )
        elif record["type"] == "flow_stats":
            assert (set(record), keys) == (outer, COUNTED)
            assert record["flow"]["local_packets"] + record["flow"]["other_packets"] > 0
        else:
            assert record["type"] == "flow_purge"
            assert (set(record), keys) == (outer | {"reason"}, COUNTED)
            assert record["reason"] in ("closed", "expired", "terminate")


def test_a_few_flows_are_risky_as_netifyd_tells_it_and_stay_so(
    busy_v4: list[Record], busy_v5: list[Record]
) -> None:
    for version, stream in ((4, busy_v4), (5, busy_v5)):
        scores: Counter[int] = Counter()
        risky: dict[tuple[str, str], list[int]] = {}
        for flow in (record["flow"] for record in stream if record["type"] in DESCRIPTIONS):
            ids = flow["risks"].get("risks", [])
            score = flow["risks"]["ndpi_risk_score"]
            assert (score > 0) == bool(ids)
            assert version == 5 or ids or "risks" not in flow["risks"]
            first = flow["digest_prev"][0] if version == 5 else flow["digest"]
            assert risky.setdefault((first, flow["detected_protocol_name"]), ids) == ids
            scores[score] += 1
        assert {0, 10, 60, 100, 110} <= scores.keys()
        assert 0.02 < 1 - scores[0] / len(list(scores.elements())) < 0.3


@pytest.mark.skipif(not SCHEMAS.is_dir(), reason="the vendor's schemas are not part of the project")
def test_v5_records_are_valid_by_the_vendor_s_schemas(busy_v5: list[Record]) -> None:
    validators = {}
    for kind, name in {
        **dict.fromkeys(DESCRIPTIONS, "flow"),
        "flow_stats": "flow-stats",
        "flow_purge": "flow-purge",
        "agent_status": "agent-status",
        "interfaces": "interfaces",
        "interface_stats": "interface-stats",
        "endpoints": "endpoints",
    }.items():
        schema = json.loads((SCHEMAS / f"netify-telemetry-{name}.json").read_text())
        validators[kind] = jsonschema.validators.validator_for(schema)(schema)
    assert set(validators) == {record["type"] for record in busy_v5}
    for kind, validator in validators.items():
        for record in [record for record in busy_v5 if record["type"] == kind][:300]:
            validator.validate(record)


def test_v5_describes_a_flow_first_in_between_and_last(busy_v5: list[Record]) -> None:
    kinds = Counter(record["type"] for record in busy_v5)
    assert (
        kinds["interfaces"] == kinds["interface_stats"] == kinds["endpoints"] == kinds["agent_status"] == 240
    )
    assert kinds["flow_dpi_update"] > 100
    told: dict[str, list[str]] = {}
    for record in busy_v5:
        if record["type"] in DESCRIPTIONS:
            told.setdefault(record["flow"]["digest_prev"][0], []).append(record["type"])
            assert record["flow"]["local_bytes"] > 0
            assert ("nfq" in record["flow"]) == (record["flow"]["local_mac"] == "00:00:00:00:00:00")
    for sequence in told.values():
        assert sequence[0] == "flow"
        assert set(sequence[1:-1]) <= {"flow_dpi_update"}
    complete = sum(sequence[-1] == "flow_dpi_complete" for sequence in told.values())
    assert complete > 0.95 * len(told)  # the last ones were still being detected at the end


@pytest.mark.parametrize("compress", ["none", "gz"])
@pytest.mark.parametrize(
    ("form", "wire"),
    [
        (Form(framing="lines"), [b'{"a":"x"}\n']),
        (Form(framing="none"), [b'{"a":"x"}']),
        (Form(framing="headers"), [b'{"length": 10}\n', b'{"a":"x"}\n']),
        (Form(framing="pretty"), [b'{\n  "a": "x"\n}\n']),
        (Form("msgpack", "none"), [b"\x81\xa1a\xa1x"]),
        (Form("msgpack", "lines"), [b"\x81\xa1a\xa1x\n"]),
        (Form("msgpack", "headers"), [b"\x81\xa6length\x05", b"\x81\xa1a\xa1x"]),
    ],
)
def test_each_form_is_what_netifyd_writes(form: Form, wire: list[bytes], compress: str) -> None:
    if compress == "gz":
        wire = [gzip.compress(part, mtime=0) for part in wire]
    assert form._replace(compress=compress).encode(b'{"a":"x"}\n') == b"".join(wire)


def test_a_frame_is_never_shorter_or_longer_than_ethernet_allows(busy_v4: list[Record]) -> None:
    for record in busy_v4:
        if record["type"] in ("flow_stats", "flow_purge"):
            for side in ("local", "other"):
                size, packets = record["flow"][side + "_bytes"], record["flow"][side + "_packets"]
                assert 60 * packets <= size <= 1514 * packets


@pytest.mark.parametrize("version", [4, 5])
def test_a_connection_opens_with_hello_status_and_definitions_that_name_what_follows(version: int) -> None:
    simulation = Simulation(4, 40, 0.3, version=version)
    opening = [json.loads(payload) for payload in simulation.opening()]
    assert [record["type"] for record in opening] == ["agent_hello", "agent_status", "definitions"]
    assert {"agent_version", "build_version", "json_version"} < set(opening[0])
    applications = {item["id"]: item["tag"] for item in opening[2]["applications"]}
    protocols = {item["id"]: item["tag"] for item in opening[2]["protocols"]}
    for record in records_of(simulation):
        if record["type"] == "flow":
            flow = record["flow"]
            assert applications[flow["detected_application"]] == flow["detected_application_name"]
            assert protocols[flow["detected_protocol"]] == flow["detected_protocol_name"]


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
