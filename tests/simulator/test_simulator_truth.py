"""The simulator's truth is exact.

The oracle here reads finished streams as plain records, and shares nothing with the simulator's own sums.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

import pytest
from simulated import DESCRIPTIONS, Record, records_of

from netify_agent.simulator import Simulation


def oracle(records: list[Record]) -> Record:
    """Totals of a finished stream, flow by flow; also checks that intervals add up to the last total."""
    later: dict[str, str] = {}
    counted: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    total: dict[str, tuple[int, int]] = {}
    described: dict[str, Record] = {}

    def newest(digest: str) -> str:
        while digest in later:
            digest = later[digest]
        return digest

    flows = [record for record in records if "flow" in record]
    for record in flows:
        for old in record["flow"].get("digest_prev", ()):
            later[old] = record["flow"]["digest"]
    for record in flows:
        flow = record["flow"]
        digest = newest(flow["digest"])
        if record["type"] in DESCRIPTIONS:
            described[digest] = flow
            continue
        for index, name in enumerate(("local_bytes", "other_bytes", "local_packets", "other_packets")):
            counted[digest][index] += flow[name]
        total[digest] = (flow["total_bytes"], flow["total_packets"])

    sums: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0] * 5))

    def add(table: str, key: str, row: tuple[int, ...]) -> None:
        sums[table][key] = [mine + more for mine, more in zip(sums[table][key], row, strict=True)]

    for digest, (up, down, packets_up, packets_down) in counted.items():
        assert total[digest] == (up + down, packets_up + packets_down)
        row = (up, down, packets_up, packets_down, 1)
        add("gateway", "", row)
        if digest not in described:
            add("unattributed", "", row)
            continue
        flow = described[digest]
        tag, protocol = flow["detected_application_name"], flow["detected_protocol_name"]
        add("gateway_applications", tag, row)
        add("gateway_protocols", protocol, row)
        sides = [("local", row)]
        if flow["other_type"] == "local":
            sides.append(("other", (down, up, packets_down, packets_up, 1)))
        for side, mine in sides:
            mac = flow[side + "_mac"]
            device = flow[side + "_ip"] if mac == "00:00:00:00:00:00" else mac
            add("devices", device, mine)
            add("applications", f"{device} {tag}", mine)
            add("protocols", f"{device} {protocol}", mine)
    names = ("bytes_up", "bytes_down", "packets_up", "packets_down", "flows")
    tables: Record = {
        table: {key: dict(zip(names, row, strict=True)) for key, row in rows.items()}
        for table, rows in sums.items()
    }
    for single in ("gateway", "unattributed"):
        tables[single] = tables.get(single, {}).get("", dict.fromkeys(names, 0))
    return {**tables, "flows": len(counted)}


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    ("seed", "devices", "hours", "profile"),
    [
        (1, 1, 0.1, "home"),
        (2, 20, 0.8, "home"),
        (3, 100, 0.3, "home"),
        (4, 100, 0.3, "office"),
        (-9, 6, 3.0, "office"),
    ],
)
def test_the_truth_is_what_an_independent_reading_of_the_records_finds(
    version: int, seed: int, devices: int, hours: float, profile: str
) -> None:
    simulation = Simulation(seed, devices, hours, version=version, profile=profile)
    expected = oracle(records_of(simulation))
    found = simulation.truth.as_dict()
    assert found == expected
    assert json.loads(json.dumps(found)) == found


def test_both_wire_formats_tell_the_same_truth() -> None:
    truths = []
    for version in (4, 5):
        simulation = Simulation(8, 60, 0.2, version=version)
        assert sum(1 for _ in simulation.records()) > 1000
        truths.append(simulation.truth.as_dict())
    assert truths[0] == truths[1]


def test_sums_over_devices_and_applications_and_protocols_agree_with_the_gateway() -> None:
    found = oracle(records_of(Simulation(7, 60, 0.4)))
    for name in ("bytes_up", "bytes_down", "packets_up", "packets_down", "flows"):
        whole = found["gateway"][name] - found["unattributed"][name]
        assert sum(row[name] for row in found["gateway_applications"].values()) == whole
        assert sum(row[name] for row in found["gateway_protocols"].values()) == whole
        for table in ("applications", "protocols"):
            by_device: Counter[str] = Counter()
            for key, row in found[table].items():
                by_device[key.split(" ", 1)[0]] += row[name]
            assert by_device == Counter({device: row[name] for device, row in found["devices"].items()})


@pytest.mark.parametrize("version", [4, 5])
def test_the_truth_is_exact_at_every_record_not_only_at_the_end(version: int) -> None:
    simulation = Simulation(6, 25, 0.1, version=version)
    bytes_seen = 0
    for number, (_, payload) in enumerate(simulation.records()):
        record = json.loads(payload)
        flow = record["flow"] if record["type"] in ("flow_stats", "flow_purge") else {}
        bytes_seen += flow.get("local_bytes", 0) + flow.get("other_bytes", 0)
        if number % 50 == 0:
            gateway: Any = simulation.truth.as_dict()["gateway"]
            assert gateway["bytes_up"] + gateway["bytes_down"] == bytes_seen


def test_final_totals_of_each_flow_are_kept_on_demand() -> None:
    simulation = Simulation(6, 25, 0.2, keep_flows=True)
    last = {r["flow"]["digest"]: r["flow"] for r in records_of(simulation) if r["type"] == "flow_purge"}
    ended = simulation.truth.ended
    assert len(ended) == len(last) == simulation.truth.flows
    for digest, flow in last.items():
        assert ended[digest].bytes_up + ended[digest].bytes_down == flow["total_bytes"]
    unkept = Simulation(6, 25, 0.2)
    assert records_of(unkept)
    assert unkept.truth.ended == {}


@pytest.mark.parametrize("version", [4, 5])
def test_every_flow_ends_with_one_purge(version: int) -> None:
    last: dict[str, str] = {}
    purges: Counter[str] = Counter()
    for record in records_of(Simulation(9, 60, 0.4, version=version)):
        if "flow" in record:
            flow = record["flow"]
            for old in flow.get("digest_prev", ()):
                last.pop(old, None)
            last[flow["digest"]] = record["type"]
            purges[flow["digest"]] += record["type"] == "flow_purge"
    assert set(last.values()) == {"flow_purge"}
    assert all(purges[digest] == 1 for digest in last)
