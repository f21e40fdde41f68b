"""A network whose size is known exactly: so many devices, applications and live flows, as netifyd tells it.

The simulator is for streams that look like life; here every device uses every application, so that a row of
the table can be counted by hand. Records have the shape and the size of netifyd 4.4.5's.
"""

from __future__ import annotations

import hashlib
import time
from array import array
from collections.abc import Iterator

_FLOW = (
    b'{"established":false,"flow":{"category":{"application":%d,"domain":0,"protocol":5},'
    b'"detected_application":133,"detected_application_name":"%s","detected_protocol":196,'
    b'"detected_protocol_name":"%s","detection_guessed":false,"detection_updated":false,"dhc_hit":true,'
    b'"digest":"%s","dns_host_name":"host-%d.example.net","first_seen_at":%d,"first_update_at":%d,'
    b'"host_server_name":"host-%d.example.net","ip_nat":false,"ip_protocol":6,"ip_version":4,'
    b'"last_seen_at":%d,"local_ip":"%s","local_mac":"%s","local_origin":true,"local_port":%d,'
    b'"other_ip":"198.51.100.%d","other_mac":"02:ff:00:00:00:01","other_port":443,"other_type":"remote",'
    b'"risks":{"ndpi_risk_score":%d,"ndpi_risk_score_client":5,"ndpi_risk_score_server":5,"risks":[%s]},'
    b'"soft_dissector":false,"ssl":{"alpn":["h2","http/1.1"],"cipher_suite":"0x1301",'
    b'"client_sni":"host-%d.example.net","version":"0x0303"},"vlan_id":0},'
    b'"interface":"br0","internal":true,"type":"flow"}\n'
)
_STATS = (
    b'{"established":false,"flow":{"detection_packets":4,"digest":"%s","last_seen_at":%d,'
    b'"local_bytes":%d,"local_packets":%d,"other_bytes":%d,"other_packets":%d,"total_bytes":%d,'
    b'"total_packets":%d},"interface":"br0","internal":true,"type":"flow_stats"}\n'
)
_HELLO = b'{"agent_version":"4.4.5","json_version":1.9,"type":"agent_hello"}\n'
_STATUS = b'{"flow_count":%d,"timestamp":%d,"type":"agent_status","update_interval":15,"uptime":%d}\n'
_PROTOCOLS = (b"HTTP/S", b"QUIC")


def mac(device: int) -> str:
    """MAC address of a device, by its number."""
    return f"02:00:00:{device >> 16 & 255:02x}:{device >> 8 & 255:02x}:{device & 255:02x}"


class Traffic:
    """Flow ``i`` is of device ``i % devices`` and of application ``i // devices % applications``."""

    def __init__(self, devices: int, applications: int, flows: int) -> None:
        self.flows = flows
        self.devices = devices
        self.applications = applications
        self._start_ms = int(time.time() * 1000)
        self._digests = [hashlib.sha1(b"flow %d" % number).hexdigest().encode() for number in range(flows)]
        self._bytes = array("Q", bytes(8 * flows))
        self._packets = array("Q", bytes(8 * flows))

    def opening(self) -> list[bytes]:
        """What netifyd says first: it was there before, and knows of no flow yet."""
        return [_HELLO, self.status(0)]

    def status(self, flows: int) -> bytes:
        return _STATUS % (flows, int(time.time()), 60 + int(time.time() - self._start_ms / 1000))

    def descriptions(self) -> Iterator[bytes]:
        """A ``flow`` record of every flow."""
        for number, digest in enumerate(self._digests):
            device, application = number % self.devices, number // self.devices % self.applications
            at = self._start_ms + number // 100
            risky = number % 10 == 0
            yield _FLOW % (
                application % 30 + 1,
                b"netify.application-%03d" % application,
                _PROTOCOLS[number % 2],
                digest,
                application,
                at,
                at,
                application,
                at + 5,
                b"10.%d.%d.%d" % (device >> 16 & 255, device >> 8 & 255, device & 255),
                mac(device).encode(),
                1024 + number % 60_000,
                application % 250 + 1,
                60 if risky else 0,
                b"16,46" if risky else b"",
                application,
            )

    def report(self, number: int) -> bytes:
        """A ``flow_stats`` record of flow ``number``: what it carried since its last one."""
        up, down = 400 + number % 1000, 4000 + number % 10_000
        self._bytes[number] += up + down
        self._packets[number] += 9
        return _STATS % (
            self._digests[number],
            int(time.time() * 1000),
            up,
            3,
            down,
            6,
            self._bytes[number],
            self._packets[number],
        )

    def reports(self) -> Iterator[bytes]:
        """A ``flow_stats`` record of every flow, as netifyd sends them each 15 s."""
        return map(self.report, range(self.flows))


def framed(payload: bytes) -> bytes:
    """A payload as netifyd 4.4.5 sends it."""
    return b'{"length": %d}\n%b' % (len(payload), payload)
