"""The records of the simulator have the form and the fields of netifyd 4.4.5 and 5."""

from __future__ import annotations

import gzip
import json
from collections import Counter

import jsonschema
import pytest
from simulated import DESCRIPTIONS, SCHEMAS, Record, records_of

from netify_agent.simulator import Form, Simulation, frame

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
