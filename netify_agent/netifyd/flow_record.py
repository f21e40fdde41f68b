"""What a netifyd ``flow`` record says: whose flow it is, which application, between which ends, how risky.

The one place that reads the descriptive fields of a record and the only gate for text that came from
the network (trap 10): what leaves here is checked, printable and bounded. It keeps no state.
"""

from __future__ import annotations

import re
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any, NamedTuple

UNKNOWN = "Unknown"  # netifyd 4.4.5's own word for an application it did not detect
OTHER_DEVICE = "other"  # the device that stands for all that have no room in the device table
MAX_TEXT = 253  # characters; the longest host name (RFC 1035, 2.3.4)

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NO_MAC = "00:00:00:00:00:00"
_MAX_TIME = 1 << 42  # May 2109 in milliseconds since the epoch: a later time is no time
_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, an IPv4 address in IPv6 (RFC 4291, 2.5.5.2)
# Older netifyd puts a number before the tag: 10910.netify.google-chat.
_NUMBERED = re.compile(r"[0-9]+\.(?=[A-Za-z])")
_UNKNOWN_NAME = re.compile(r"(?:[0-9]+\.)?(?:netify\.)?unknown", re.IGNORECASE)
_DHCP_CLIENT_PORTS = (68, 546)  # a tuple: what is compared with it may be unhashable
_OTHER_TYPES = {word: word for word in ("remote", "local", "multicast", "broadcast", "unsupported", "error")}
_MAX_RISKS = 16  # risks kept of a flow; three were the most in 1,465 records of netifyd 4.4.5
_MAX_RISK_ID = 1 << 16
MAX_SCORE = (1 << 16) - 1  # of a flow's risks


class Key(NamedTuple):
    """The row that a flow's bytes belong to.

    A flow that was never described has ``device`` None and counts for the gateway alone (trap 3).
    """

    device: str | None
    application: str
    protocol: str


class Details(NamedTuple):
    """What a flow is beyond its row: nothing is counted by it, it is only shown.

    Whatever the record does not say, or says in a way that can't be right, is None.

    :ivar interface: netifyd's name of the capturing interface.
    :ivar ip_version: 4 or 6.
    :ivar transport: IANA's number of the protocol above IP (6 is TCP).
    :ivar local_port: 1 to 65535, as :ivar other_port:.
    :ivar other_type: one of netifyd's words: remote, local, multicast, broadcast, unsupported, error.
    :ivar local_origin: whether the local side opened it.
    :ivar host: the name of the server as the flow itself told it, or a DNS answer before it.
    :ivar risks: netifyd's ids of what is suspicious about it, in its order.
    """

    interface: str | None
    ip_version: int | None
    transport: int | None
    local_ip: str | None
    local_port: int | None
    other_ip: str | None
    other_port: int | None
    other_type: str | None
    local_origin: bool | None
    host: str | None
    risks: tuple[int, ...]


class Description(NamedTuple):
    """What one ``flow`` record tells.

    :ivar key: row of the local side.
    :ivar peer: row of the other side when it is a device of this network too (trap 7), else None.
    :ivar first_seen: netifyd's clock at the flow's first packet, milliseconds since the epoch; 0 unknown.
    :ivar last_seen: the same for its latest packet.
    :ivar category: netifyd's id of the application's category; 0 unknown.
    :ivar addresses: (device, IP address) pairs that the record shows to belong together.
    :ivar hints: (device, name) pairs: names that devices gave themselves over DHCP or mDNS.
    :ivar risk: the score of all its risks together, 0 to :data:`MAX_SCORE`.
    """

    key: Key
    peer: Key | None
    first_seen: int
    last_seen: int
    category: int
    addresses: tuple[tuple[str, str], ...]
    hints: tuple[tuple[str, str], ...]
    risk: int
    details: Details


UNDESCRIBED = Key(None, UNKNOWN, UNKNOWN)


def describe(flow: dict[str, Any], interface: object = None) -> Description:
    """Read the ``flow`` object of a ``flow`` record of netifyd v4 or v5.

    :param flow: as decoded; every field may be missing or of any type.
    :param interface: what stands beside it in the record, just as unchecked.
    :returns: a key without a device where the record has neither a usable MAC nor an IP address.
    """
    get = flow.get
    device, local_host, local_ip = _side(short_text(get("local_mac")), short_text(get("local_ip")))
    other, other_host, other_ip = _side(short_text(get("other_mac")), short_text(get("other_ip")))
    other_type = get("other_type")
    if other_type != "local":
        other = None
    addresses = ((device, local_host),) if device and local_host else ()
    if other and other_host:
        addresses = (*addresses, (other, other_host))
    application = application_tag(get("detected_application_name"))
    protocol = _known(clean(get("detected_protocol_name")))
    category = get("category")
    risk, risks = _risks(get("risks"))
    return Description(
        row_key(device, application, protocol),
        row_key(other, application, protocol) if other else None,
        timestamp(get("first_seen_at")),
        timestamp(get("last_seen_at")),
        timestamp(category.get("application")) if isinstance(category, dict) else 0,
        addresses,
        _hints(flow, device, other) if "dhcp" in flow or "mdns" in flow else (),
        risk,
        Details(
            clean(interface),
            version if (version := number(get("ip_version"), 6)) in (4, 6) else None,
            number(get("ip_protocol"), 255),
            local_ip,
            number(get("local_port"), 65535),
            other_ip,
            number(get("other_port"), 65535),
            _OTHER_TYPES.get(other_type) if isinstance(other_type, str) else None,
            origin if isinstance(origin := get("local_origin"), bool) else None,
            _host(flow),
            risks,
        ),
    )


#: One key for all flows of a row: less memory, and a key that is found by its identity.
row_key = lru_cache(maxsize=16384)(Key)


def application_tag(name: object) -> str:
    """Netifyd's name of an application in the spelling of today.

    Older netifyd puts a number before it, and an application that was not detected has several spellings.

    :returns: the tag without its number; :data:`UNKNOWN` for every spelling of unknown and for no name.
    """
    text = clean(name)
    return _tag(text) if text is not None else UNKNOWN


@lru_cache(maxsize=4096)
def _tag(text: str) -> str:
    return _known(_NUMBERED.sub("", text, count=1) if _NUMBERED.match(text) else text)


@lru_cache(maxsize=4096)
def _known(name: str | None) -> str:
    return UNKNOWN if name is None or _UNKNOWN_NAME.fullmatch(name) else name


def _host(flow: dict[str, Any]) -> str | None:
    """The name of the server: as the flow says it, as its TLS hello does, or as DNS was asked before."""
    name = clean(flow.get("host_server_name"))
    if name is None and isinstance(ssl := flow.get("ssl"), dict):
        name = clean(ssl.get("client_sni"))
    return name or clean(flow.get("dns_host_name"))


def _risks(told: object) -> tuple[int, tuple[int, ...]]:
    """The score and the ids of a record's ``risks``; 4.4.5 leaves the ids out where there are none."""
    if not isinstance(told, dict):
        return 0, ()
    score, ids = timestamp(told.get("ndpi_risk_score")), told.get("risks")
    if not isinstance(ids, list):
        return min(score, MAX_SCORE), ()
    kept = dict.fromkeys(risk for risk in ids[:_MAX_RISKS] if type(risk) is int and 0 < risk < _MAX_RISK_ID)
    return min(score, MAX_SCORE), tuple(kept)


def _hints(flow: dict[str, Any], device: str | None, other: str | None) -> tuple[tuple[str, str], ...]:
    """Names that a device says of itself. Whoever only asks for a name must not get it."""
    name = None
    owner = device
    if "dhcp" in flow:
        name = clean(flow.get("host_server_name"))
        if flow.get("local_port") not in _DHCP_CLIENT_PORTS:
            owner = other if flow.get("other_port") in _DHCP_CLIENT_PORTS else None
    elif "mdns" in flow and flow.get("other_type") == "multicast":
        # Sent by the local side to the group, so the answer is about the local side (RFC 6762, 6).
        mdns = flow["mdns"]
        name = _mdns_name(clean(mdns.get("answer"))) if isinstance(mdns, dict) else None
    return ((owner, name),) if owner and name else ()


def _mdns_name(answer: str | None) -> str | None:
    """The host of ``laptop.local``, or the instance of ``Laptop._service._tcp.local`` (RFC 6763, 4.1)."""
    if not answer or not answer.endswith(".local") or answer.startswith("_"):
        return None
    name = answer[: -len(".local")].partition("._")[0]
    return name or None


def clean(value: object) -> str | None:
    """Make text from the network safe to store and to show.

    :returns: at most :data:`MAX_TEXT` characters, control characters and bytes that were not UTF-8
        replaced by U+FFFD, outer blanks gone; None for what is no text or is empty.
    """
    return _clean(value[:MAX_TEXT]) if isinstance(value, str) else None


@lru_cache(maxsize=4096)  # most text is the same few names; 4096 of the longest take 8 MB
def _clean(value: str) -> str | None:
    if not value.isprintable():
        value = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)
    return value.strip() or None


def timestamp(value: object) -> int:
    """Milliseconds since the epoch (or any count) as netifyd gave it; 0 for what is no such number."""
    return value if type(value) is int and 0 <= value < _MAX_TIME else 0


def number(value: object, highest: int) -> int | None:
    """``value`` if it is a whole number from 1 to ``highest``, else None."""
    return value if type(value) is int and 0 < value <= highest else None


def short_text(value: object) -> str | None:
    """``value`` if it can be an address; the bound keeps the caches below small."""
    return value if isinstance(value, str) and len(value) <= 64 else None


@lru_cache(maxsize=16384)
def device_id(mac: str | None, ip: str | None) -> str | None:
    """The name of a device: its MAC address, or its IP address where it has none (trap 8).

    :returns: lower-case MAC with colons, or the IP in the spelling of the C library; None without both, and
        where either names a group of devices instead of one.
    """
    if mac is not None:
        mac = mac.lower()
        if mac != _NO_MAC and _MAC.fullmatch(mac):
            return None if int(mac[1], 16) & 1 else mac  # the group bit (IEEE 802, 8.2.2)
    return host_address(ip)


@lru_cache(maxsize=16384)
def _side(mac: str | None, ip: str | None) -> tuple[str | None, str | None, str | None]:
    """One end of a flow: its device, the IP address of that host, and the address to show, group or not."""
    packed = _packed(ip)
    shown = _spelled(packed) if packed is not None and any(packed) else None
    return device_id(mac, ip), host_address(ip), shown


def host_address(ip: str | None) -> str | None:
    """``ip`` in its one spelling if it can be that of a single host.

    :returns: None for what is no address, and for the unspecified, broadcast and multicast ones.
    """
    packed = _packed(ip)
    if packed is None or not any(packed):
        return None
    v4 = packed[12:] if packed.startswith(_MAPPED) else packed
    if len(v4) == 4:
        return None if 224 <= v4[0] < 240 or v4 in (b"\xff" * 4, bytes(4)) else _spelled(packed)
    return None if packed[0] == 0xFF else _spelled(packed)


def _packed(ip: str | None) -> bytes | None:
    """4 or 16 bytes, None for what is no address."""
    if ip is None:
        return None
    try:
        return inet_pton(AF_INET6 if ":" in ip else AF_INET, ip)
    except (OSError, ValueError):  # a ValueError is a NUL, or no text at all
        return None


def _spelled(packed: bytes) -> str:
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)
