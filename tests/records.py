"""Records of netifyd as bytes, for tests that talk to a real process."""

from __future__ import annotations

import json
from typing import Any

from support import Daemon, StandIn, eventually, framed

FLOW = "a" * 40


def status_record() -> bytes:
    return b'{"type":"agent_status","uptime":10,"timestamp":1700000000,"flow_count":0}\n'


def flow_record(digest: str, **fields: Any) -> bytes:
    flow = {
        "digest": digest,
        "local_mac": "02:00:00:00:00:01",
        "local_ip": "192.168.1.10",
        "other_ip": "198.51.100.1",
        "other_type": "remote",
        "detected_application_name": "netify.netflix",
        "detected_protocol_name": "HTTP/S",
        "first_seen_at": 1700000001000,
        "last_seen_at": 1700000001000,
        **fields,
    }
    return json.dumps({"type": "flow", "interface": "eth1", "internal": True, "flow": flow}).encode() + b"\n"


def stats_record(digest: str, down: int, total: int, kind: str = "flow_stats") -> bytes:
    flow = {
        "digest": digest,
        "last_seen_at": 1700000001000 + total,
        "local_bytes": 0,
        "local_packets": 0,
        "other_bytes": down,
        "other_packets": 1,
        "total_bytes": total,
        "total_packets": total // 1000 or 1,
    }
    return json.dumps({"type": kind, "flow": flow}).encode() + b"\n"


def account(netifyd: StandIn, daemon: Daemon, total: int = 1000) -> None:
    """One flow with ``total`` bytes, read by the daemon."""
    netifyd.accept()
    netifyd.send(framed(status_record(), flow_record(FLOW), stats_record(FLOW, total, total)))
    eventually(lambda: daemon.records() == 3, "the records are read")
