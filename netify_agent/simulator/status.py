"""Records about netifyd itself: hello, definitions, status, interfaces, endpoints, packet counters.

Apart from wire.py because they describe the gateway, not a flow. v4 packs into `agent_status` what v5
sends as records of their own. It holds the packet counters of the running interval, and nothing else.
"""

from __future__ import annotations

from .catalog import APPLICATIONS, PROTOCOLS
from .flow import Counters, Flow
from .network import LAN, NO_MAC, VPN, Network
from .wire import payload

_AGENT = {4: "4.4.5", 5: "5.1.0"}
_JSON_VERSION = {4: 1.9, 5: 3.0}
# One status in this many reports lost packets, as on a busy gateway.
_DROPS_EVERY = 20
_TRANSPORTS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp"}


class AgentStatus:
    """The status of netifyd; counters are per interval, as in 4.4.5."""

    def __init__(self, network: Network, version: int, interval_s: int, start_ms: int) -> None:
        self._version = version
        self._interval_s = interval_s
        self._start_ms = start_ms
        self._addresses: dict[str, list[str]] = {LAN: [], VPN: []}
        for gateway in network.gateways.values():
            self._addresses[gateway.interface].append(gateway.ip)
        self._macs = {LAN: network.gateway_mac, VPN: NO_MAC}
        self._previous_flows = 0
        self._sent = 0
        self._packets: dict[tuple[str, int], int] = {}
        self._bytes: dict[str, int] = {}
        self._seen: dict[str, dict[str, None]] = {}

    def count(self, flow: Flow, counters: Counters) -> None:
        """Count what a flow carried in this interval, and note the addresses of its devices."""
        packets = counters.local_packets + counters.other_packets
        interface = flow.interface
        key = (interface, flow.transport)
        self._packets[key] = self._packets.get(key, 0) + packets
        self._bytes[interface] = self._bytes.get(interface, 0) + counters.local_bytes + counters.other_bytes
        mac, ip, _ = flow.local
        if mac != NO_MAC and ip != "0.0.0.0":
            self._seen.setdefault(mac, {})[ip] = None

    def opening(self, now_ms: int, flows: int) -> list[bytes]:
        """Return the first records of a connection: hello, status, definitions [measured on 4.4.5]."""
        agent = _AGENT[self._version]
        hello: dict[str, object] = {
            "agent_version": agent,
            "build_version": f"Netify Agent/{agent} (simulated; x86_64; dns-cache; plugins; inotify; regex)",
            "json_version": _JSON_VERSION[self._version],
            "type": "agent_hello",
        }
        definitions: dict[str, object] = {
            "applications": [{"id": item.id, "tag": item.tag} for item in APPLICATIONS],
            "protocols": [{"id": item.id, "tag": item.name} for item in PROTOCOLS],
            "type": "definitions",
        }
        return [payload(hello), payload(self._health(now_ms, flows)), payload(definitions)]

    def interval_over(self, now_ms: int, flows: int) -> list[bytes]:
        """Return the records at the end of an interval; `flows` is the number of live flows."""
        self._sent += 1
        status = self._health(now_ms, flows)
        interfaces: dict[str, object] = {name: self._interface(name) for name in (LAN, VPN)}
        stats: dict[str, object] = {name: self._interface_stats(name) for name in (LAN, VPN)}
        seen: dict[str, object] = {mac: list(ips) for mac, ips in self._seen.items()}
        self._previous_flows = flows
        self._packets.clear()
        self._bytes.clear()
        self._seen.clear()
        if self._version == 4:
            # 4.4.5 sends null for an interval without traffic.
            status |= {
                "agent_version": _AGENT[4],
                "devices": seen or None,
                "interfaces": interfaces,
                "stats": stats,
            }
            return [payload(status)]
        return [
            payload(status),
            payload({**interfaces, "type": "interfaces"}),
            payload({**stats, "type": "interface_stats"}),
            payload({**seen, "type": "endpoints"}),
        ]

    def _health(self, now_ms: int, flows: int) -> dict[str, object]:
        uptime = (now_ms - self._start_ms) // 1000
        status: dict[str, object] = {
            "cpu_cores": 4,
            "cpu_system": round(uptime * 0.004, 6),
            "cpu_system_prev": round(max(0, uptime - self._interval_s) * 0.004, 6),
            "cpu_user": round(uptime * 0.011, 6),
            "cpu_user_prev": round(max(0, uptime - self._interval_s) * 0.011, 6),
            "dhc_status": True,
            "flow_count": flows,
            "flow_count_prev": self._previous_flows,
            "maxrss_kb": 25_000 + flows,
            "maxrss_kb_prev": 25_000 + self._previous_flows,
            "tcm_kb": 5_200 + flows // 2,
            "tcm_kb_prev": 5_200 + self._previous_flows // 2,
            "timestamp": now_ms // 1000,
            "type": "agent_status",
            "update_imf": 1,
            "update_interval": self._interval_s,
            "uptime": uptime,
        }
        if self._version == 4:
            return status | {"dhc_size": 64, "sink_status": False, "sink_uploads": False, "version": 1.9}
        return status | {
            "agent_version": _AGENT[5],
            "build_version": f"Netify Agent/{_AGENT[5]} (simulated)",
            "fhc_status": True,
            "flows_active": flows,
            "flows_in_use": flows,
            **{f"flows_{state}": 0 for state in ("expired", "expiring", "purged")},
            "memrss_kb": 24_000 + flows,
            "memrss_kb_prev": 24_000 + self._previous_flows,
        }

    def _interface(self, name: str) -> dict[str, object]:
        face: dict[str, object] = {"addr": self._addresses[name], "mac": self._macs[name]}
        return face | (
            {"role": "LAN", "state": 1} if self._version == 4 else {"capture_type": "tpv3", "role": "lan"}
        )

    def _interface_stats(self, name: str) -> dict[str, int]:
        by_transport = {word: self._packets.get((name, number), 0) for number, word in _TRANSPORTS.items()}
        packets = sum(by_transport.values())
        # A flow counts whole frames with their 14 bytes of Ethernet header; wire bytes are IP's and 24.
        ip_bytes = self._bytes.get(name, 0) - 14 * packets
        dropped = packets // 1000 + 1 if name == LAN and self._sent % _DROPS_EVERY == 0 else 0
        v4 = self._version == 4
        only_v4 = {"pcap_drop": dropped, "pcap_ifdrop": 0, "pcap_recv": packets + dropped}
        return {
            **by_transport,
            **(only_v4 if v4 else {"flow_dropped": 0}),
            "capture_dropped": dropped,
            "capture_filtered": 0,
            "discarded": 0,
            "discarded_bytes": 0,
            "ethernet": packets,
            "fragmented": 0,
            "ip": packets,
            "ip_bytes": ip_bytes,
            "largest_bytes": 1514 if packets else 0,
            "mpls": 0,
            "pppoe": 0,
            "queue_dropped": dropped // 2,
            "raw": packets,
            "tcp_resets": 0,
            ("tcp_seq_error" if v4 else "tcp_seq_errors"): 0,
            "vlan": 0,
            "wire_bytes": ip_bytes + 24 * packets,
        }
