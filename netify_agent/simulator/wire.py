"""Flow records as netifyd writes them, v4 and v5.

v4 is held to what netifyd 4.4.5 was measured to send, v5 to the published telemetry schemas of agent v5
(flow, flow_stats, flow_purge). Keys are sorted and text is UTF-8, as netifyd does it. It knows nothing of
chance, of the network or of accounting.
"""

from __future__ import annotations

import hashlib
import json

from .catalog import HTTPS, MQTTS, PUSH_TLS, QUIC, TLS
from .flow import Counters, Flow, Stage
from .network import NO_MAC
from .risks import risks_of

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
_WITH_TLS = (HTTPS, QUIC, TLS, MQTTS, PUSH_TLS)


def payload(record: dict[str, object]) -> bytes:
    """One record as a line of JSON that ends in LF."""
    return (_encode(record) + "\n").encode()


def flow_record(flow: Flow, stage: Stage, at_ms: int, version: int, kind: str = "flow") -> bytes:
    """Return a record of type `kind` with what detection knows of the flow at `stage`."""
    application, protocol, depth = stage.application, stage.protocol, stage.depth
    # Some names were known from a DNS answer before the flow showed its own.
    named = (
        bool(flow.host) and flow.other_type == "remote" and protocol in _WITH_TLS and len(flow.host) % 3 == 0
    )
    category = {"application": application.category, "domain": 0, "protocol": protocol.category}
    if version == 5:
        category |= {"local_network": 0, "other_network": 0, "overlay": 0}
    fields: dict[str, object] = {
        "category": category,
        "detected_application": application.id,
        "detected_application_name": application.tag,
        "detected_protocol": protocol.id,
        "detected_protocol_name": protocol.name,
        "detection_guessed": protocol.id == 0,
        "detection_updated": stage is not flow.stages[0],
        "dhc_hit": named,
        "digest": flow.digest,
        "first_seen_at": flow.start_ms,
        "ip_nat": False,
        "ip_protocol": flow.transport,
        "ip_version": 6 if ":" in flow.local[1] else 4,
        "last_seen_at": min(max(flow.last_seen_ms, at_ms - 5), flow.end_ms),
        "local_ip": flow.local[1],
        "local_mac": flow.local[0],
        "local_origin": flow.local_is_opener,
        "local_port": flow.local[2],
        "other_ip": flow.other[1],
        "other_mac": flow.other[0],
        "other_port": flow.other[2],
        "other_type": flow.other_type,
        "risks": _risks(flow, stage, version),
        "soft_dissector": False,
        "vlan_id": 0,
    }
    if flow.host:
        fields["host_server_name"] = flow.host
    if named:
        fields["dns_host_name"] = flow.host
    if protocol in _WITH_TLS:
        fields["ssl"] = _ssl(flow, depth, version)
    fields.update(flow.detail)
    record: dict[str, object] = {
        "flow": fields,
        "interface": flow.interface,
        "internal": True,
        "type": kind,
    }
    if version == 4:
        record["established"] = False
        _finish_v4(flow, fields)
    else:
        _finish_v5(flow, fields)
    return payload(record)


def _finish_v4(flow: Flow, fields: dict[str, object]) -> None:
    fields["first_update_at"] = flow.start_ms
    if "ssdp" in flow.detail:
        fields["ssdp"] = {"user-agent": flow.detail["ssdp"]["user_agent"]}
    if "dhcp" in flow.detail:
        # 4.4.5 omits what the client did not send.
        fields["dhcp"] = {key: value for key, value in flow.detail["dhcp"].items() if value}


def _finish_v5(flow: Flow, fields: dict[str, object]) -> None:
    fields["digest_prev"] = flow.digest_prev
    fields["app_ip_override"] = False
    fields["app_proto_twins"] = False
    fields["fhc_hit"] = False
    fields["ip_dscp"] = 0
    fields.setdefault("host_server_name", "")
    fields.setdefault("dns_host_name", "")
    if flow.local[0] == NO_MAC:  # captured through NFQUEUE
        fields["nfq"] = {"src_iface": flow.interface, "dst_iface": "eth0"}
    # Counters of the detection phase. flow_stats and flow_purge include these bytes.
    packets = flow.detection_packets
    fields |= {"detection_packets": packets, "local_packets": packets, "other_packets": 0}
    fields |= {"local_bytes": packets * 90, "other_bytes": 0, "local_rate": packets * 90.5, "other_rate": 0.0}
    fields |= {"total_bytes": packets * 90, "total_packets": packets}


def _risks(flow: Flow, stage: Stage, version: int) -> dict[str, object]:
    score, ids = risks_of(flow, stage)
    risks: dict[str, object] = {
        "ndpi_risk_score": score,
        "ndpi_risk_score_client": score // 2,
        "ndpi_risk_score_server": score // 2,
    }
    if ids or version == 5:  # 4.4.5 omits an empty list
        risks["risks"] = list(ids)
    return risks


def _ssl(flow: Flow, depth: int, version: int) -> dict[str, object]:
    ssl: dict[str, object] = {"cipher_suite": "0x1301" if depth else "0x0000", "version": "0x0303"}
    if flow.host:
        ssl["client_sni"] = flow.host
    if depth:
        ssl["alpn"] = ["h3"] if flow.transport == 17 else ["h2", "http/1.1"]
        seen = hashlib.sha1(flow.host.encode(), usedforsecurity=False).hexdigest()
        if version == 4:
            ssl["server_ja3"] = seen[:32]
        else:
            ssl["client_ja4"] = f"t13d1516h2_{seen[:12]}_{seen[12:24]}"
        if depth > 1:
            ssl["fingerprint"] = seen
            ssl["issuer_dn"] = "C=US, O=Let's Encrypt, CN=R11"
            ssl["server_cn"] = flow.host
            ssl["subject_dn"] = f"CN={flow.host}"
    return ssl


def stats_record(flow: Flow, counters: Counters, version: int) -> bytes:
    """Return a `flow_stats` record with the counters since the last record. Totals must include them."""
    return b'{%b"type":"flow_stats"}\n' % _counted(flow, counters, version)


def purge_record(flow: Flow, counters: Counters, reason: str, version: int) -> bytes:
    """A `flow_purge` record with the last counters and why it ended: closed, expired or (4.x) terminate."""
    return b'{%b"reason":"%b","type":"flow_purge"}\n' % (_counted(flow, counters, version), reason.encode())


def _counted(flow: Flow, counters: Counters, version: int) -> bytes:
    """Return the part up to the type; it needs no escaping."""
    local_bytes, local_packets, other_bytes, other_packets, span_ms = counters
    totals = flow.totals
    total = totals.bytes_up + totals.bytes_down
    packets = totals.packets_up + totals.packets_down
    if version == 4:
        return (
            f'"established":false,"flow":{{"detection_packets":{flow.detection_packets},"digest":"{flow.digest}",'
            f'"last_seen_at":{flow.last_seen_ms},"local_bytes":{local_bytes},"local_packets":{local_packets},'
            f'"other_bytes":{other_bytes},"other_packets":{other_packets},"total_bytes":{total},'
            f'"total_packets":{packets}}},"interface":"{flow.interface}","internal":true,'
        ).encode()
    # A burst rate in bytes per second: over the time that the flow was active, one second at least.
    seconds = max(span_ms, 1000) / 1000
    up, down = int(local_bytes / seconds), int(other_bytes / seconds)
    earlier = ",".join(f'"{digest}"' for digest in flow.digest_prev)
    retrans = other_packets // 500
    health = f'"tcp":{{"resets":0,"retrans":{retrans},"seq_errors":0}},' if flow.transport == 6 else ""
    return (
        f'"flow":{{"detection_packets":{flow.detection_packets},"digest":"{flow.digest}",'
        f'"digest_prev":[{earlier}],"last_seen_at":{flow.last_seen_ms},'
        f'"local_bytes":{local_bytes},"local_packets":{local_packets},"local_rate":{up},'
        f'"other_bytes":{other_bytes},"other_packets":{other_packets},"other_rate":{down},'
        f'{health}"total_bytes":{total},"total_packets":{packets}}},'
        f'"interface":"{flow.interface}","internal":true,'
    ).encode()
