"""Reads a netifyd ``flow`` record: device, application, addresses, names and risks. Stateless.

Only this module reads the descriptive fields of a record. All text from the network passes through
:func:`clean`, which bounds it and makes it printable (rule 10, hostile text, in docs/accounting.md).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any, NamedTuple

from netify_agent.netifyd.memo import Memo

UNKNOWN = "Unknown"  # netifyd 4.4.5's name for an undetected application
OTHER_DEVICE = "other"  # the device that stands for all beyond the bound of the device table
_MAX_ADDRESS = 64  # characters
MAX_TEXT = 253  # characters; the longest host name (RFC 1035, 2.3.4)

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NO_MAC = "00:00:00:00:00:00"
_MAX_TIME = 1 << 42  # May 2109 in milliseconds since the epoch: later times are invalid
_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, an IPv4 address in IPv6 (RFC 4291, 2.5.5.2)
# Older netifyd puts a number before the tag: 10910.netify.google-chat.
_NUMBERED = re.compile(r"\A[0-9]+\.(?=[A-Za-z])")
# netifyd 4.4.5 says Unknown, v5 netify.unclassified (ND_APP_UNKNOWN_TAG of its nd-apps.hpp).
_UNKNOWN_NAME = re.compile(r"(?:[0-9]+\.)?(?:netify\.)?(?:unknown|unclassified)", re.IGNORECASE)
_MAX_PORT = 65535
_MAX_ROWS = 16384  # remembered; beyond it, the oldest are forgotten
_DHCP_CLIENT_PORTS = (68, 546)  # a tuple, because the compared value may be unhashable
#: Fields of a record that are looked up as they are.
_TEXTS = (
    *("local_mac", "local_ip", "other_mac", "other_ip", "other_type"),
    *("detected_application_name", "detected_protocol_name", "host_server_name", "dns_host_name"),
)
_OTHER_TYPES = {word: word for word in ("remote", "local", "multicast", "broadcast", "unsupported", "error")}
_MAX_RISKS = 16  # kept per flow; the maximum in 1,465 records of netifyd 4.4.5 was three
_MAX_RISK_ID = 1 << 16
MAX_SCORE = (1 << 16) - 1  # of a flow's risks


class Key(NamedTuple):
    """The row that a flow's bytes belong to.

    An undescribed flow has ``device`` None and counts for the gateway only (rule 3, counters before the
    description).

    :ivar interface: name of the capturing interface; None if unknown.
    :ivar local: both sides of the flow are devices of this network, so its bytes do not cross the uplink.
    """

    device: str | None
    application: str
    protocol: str
    interface: str | None = None
    local: bool = False

    @property
    def is_described(self) -> bool:
        """Whether a description named the device, the application or the protocol."""
        return self.device is not None or self.application != UNKNOWN or self.protocol != UNKNOWN


class Details(NamedTuple):
    """Attributes of a flow that are only displayed and do not affect the counting.

    A field is None if the record has no valid value for it.

    :ivar interface: name of the capturing interface.
    :ivar ip_version: 4 or 6.
    :ivar transport: IANA number of the protocol above IP (6 is TCP).
    :ivar local_port: 1 to 65535, as :ivar other_port:.
    :ivar other_type: as netifyd names it: remote, local, multicast, broadcast, unsupported, error.
    :ivar local_origin: whether the local side opened the flow.
    :ivar host: name of the server, from the flow itself or from an earlier DNS answer.
    :ivar risks: netifyd's risk ids, in netifyd's order.
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
    """The content of one ``flow`` record.

    :ivar key: row of the local side.
    :ivar peer: row of the other side if that is a device of this network (rule 7, local to local), else None.
    :ivar first_seen: time of the first packet, netifyd's clock, milliseconds since the epoch; 0 unknown.
    :ivar last_seen: the same for the latest packet.
    :ivar category: netifyd's id of the application's category; 0 unknown.
    :ivar addresses: (device, IP address) pairs.
    :ivar hints: (device, name) pairs: names that devices announce over DHCP or mDNS.
    :ivar risk: the total risk score, 0 to :data:`MAX_SCORE`.
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

    :param flow: the decoded object; a field may be missing or of any type.
    :param interface: the record's ``interface``, unchecked as well.
    :returns: the description. Its key has no device if the record has no usable MAC or IP address.
    """
    get = flow.get
    try:
        device, local_host, local_ip = _ENDS[get("local_mac"), get("local_ip")]
        other, other_host, other_ip = _ENDS[get("other_mac"), get("other_ip")]
        other_type = _OTHER_TYPES.get(get("other_type", ""))
        application = _APPLICATIONS[get("detected_application_name")]
        protocol = _PROTOCOLS[get("detected_protocol_name")]
        host = _HOSTS[get("host_server_name")] or _client_sni(get("ssl")) or _HOSTS[get("dns_host_name")]
        captured_at = _NAMES[interface]
    except TypeError:  # an array or object in place of a text: it is treated as missing
        texts = {name: value for name in _TEXTS if isinstance(value := flow.get(name), str)}
        return describe({**flow, **dict.fromkeys(_TEXTS), **texts}, clean(interface))
    if other_type != "local":
        other = None
    addresses = ((device, local_host),) if device and local_host else ()
    if other and other_host:
        addresses = (*addresses, (other, other_host))
    version, transport = get("ip_version"), get("ip_protocol")
    local_port, other_port = get("local_port"), get("other_port")
    first_seen, last_seen = get("first_seen_at"), get("last_seen_at")
    # The numbers of nearly all records are as they should be, which one expression finds faster.
    if not (
        type(version) is type(transport) is type(local_port) is type(other_port) is int
        and type(first_seen) is type(last_seen) is int
        and version in (4, 6)
        and 0 < transport <= 255
        and 0 < local_port <= _MAX_PORT
        and 0 < other_port <= _MAX_PORT
        and 0 <= first_seen < _MAX_TIME
        and 0 <= last_seen < _MAX_TIME
    ):
        version = version if number(version, 6) in (4, 6) else None
        transport = number(transport, 255)
        local_port, other_port = number(local_port, _MAX_PORT), number(other_port, _MAX_PORT)
        first_seen, last_seen = timestamp(first_seen), timestamp(last_seen)
    risk, risks = _risks(get("risks"))
    # Without the constructors of named tuples, which are functions in Python.
    details = _new(
        Details,
        (
            captured_at,
            version,
            transport,
            local_ip,
            local_port,
            other_ip,
            other_port,
            other_type,
            flag(get("local_origin")),
            host,
            risks,
        ),
    )
    return _new(
        Description,
        (
            _ROWS[device, application, protocol, captured_at, other is not None],
            _ROWS[other, application, protocol, captured_at, True] if other else None,
            first_seen,
            last_seen,
            _category(get("category")),
            addresses,
            _hints(flow, device, other) if "dhcp" in flow or "mdns" in flow else (),
            risk,
            details,
        ),
    )


class _Rows(OrderedDict[tuple[Any, ...], Key]):
    """Shares one key between all flows of a row, which saves memory and makes comparisons fast."""

    def __missing__(self, row: tuple[Any, ...]) -> Key:
        if len(self) >= _MAX_ROWS:
            self.popitem(last=False)
        key = Key(*row)
        self[key] = key
        return key


_ROWS = _Rows()


def row_key(
    device: str | None, application: str, protocol: str, interface: str | None, local: bool = False
) -> Key:
    """Return the shared :class:`Key` of a row."""
    return _ROWS[device, application, protocol, interface, local]


def application_tag(name: object) -> str:
    """Normalise netifyd's name of an application.

    Older netifyd prefixes it with a number, and an undetected application has several spellings.

    :returns: the tag without the number; :data:`UNKNOWN` for an undetected application or no name.
    """
    text = clean(name)
    return _known(_NUMBERED.sub("", text)) if text is not None else UNKNOWN


def _protocol(name: object) -> str:
    return _known(clean(name))


def _known(name: str | None) -> str:
    return UNKNOWN if name is None or _UNKNOWN_NAME.fullmatch(name) else name


def _client_sni(ssl: object) -> str | None:
    """Read the server's name in the TLS client hello."""
    return clean(ssl.get("client_sni")) if isinstance(ssl, dict) else None


def _category(category: object) -> int:
    """Read the id of the application's category from a record's ``category``."""
    return timestamp(category.get("application")) if type(category) is dict else 0


def _risks(risks: object) -> tuple[int, tuple[int, ...]]:
    """Read score and ids from a record's ``risks``. 4.4.5 omits the ids if there are none."""
    if type(risks) is not dict:
        return 0, ()
    score, ids = risks.get("ndpi_risk_score"), risks.get("risks")
    if type(score) is not int or not 0 <= score <= MAX_SCORE:
        score = min(timestamp(score), MAX_SCORE)
    if type(ids) is not list or not ids:
        return score, ()
    kept = [risk for risk in ids[:_MAX_RISKS] if type(risk) is int and 0 < risk < _MAX_RISK_ID]
    return score, tuple(dict.fromkeys(kept))


def _hints(flow: dict[str, Any], device: str | None, other: str | None) -> tuple[tuple[str, str], ...]:
    """Read the names that devices announce. A device that only asks for a name must not get that name."""
    name = None
    owner = device
    if "dhcp" in flow:
        name = clean(flow.get("host_server_name"))
        if flow.get("local_port") not in _DHCP_CLIENT_PORTS:
            owner = other if flow.get("other_port") in _DHCP_CLIENT_PORTS else None
    elif flow.get("other_type") == "multicast":
        # Sent by the local side to the group, so the answer is about the local side (RFC 6762, 6).
        mdns = flow.get("mdns")
        name = _mdns_name(clean(mdns.get("answer"))) if isinstance(mdns, dict) else None
    return ((owner, name),) if owner and name else ()


def _mdns_name(answer: str | None) -> str | None:
    """The host of ``laptop.local``, or the instance of ``Laptop._service._tcp.local`` (RFC 6763, 4.1)."""
    if not answer or not answer.endswith(".local") or answer.startswith("_"):
        return None
    name = answer[: -len(".local")].partition("._")[0]
    return name or None


def clean(value: object) -> str | None:
    """Make text from the network safe to store and to display.

    :returns: at most :data:`MAX_TEXT` characters, without outer blanks. Unprintable characters and bytes
        that were not UTF-8 are replaced by U+FFFD. None if ``value`` is not text or is empty.
    """
    return _clean(value[:MAX_TEXT]) if isinstance(value, str) else None


@lru_cache(maxsize=4096)  # most texts are the same few names; 4096 of the longest take 8 MB
def _clean(value: str) -> str | None:
    if not value.isprintable():
        value = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)
    return value.strip() or None


def timestamp(value: object) -> int:
    """Return ``value`` if it is a valid time in milliseconds since the epoch (or any count), else 0.

    A whole number may be a float: some relays write it so.
    """
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < _MAX_TIME else 0


def number(value: object, highest: int) -> int | None:
    """Return ``value`` if it is an integer from 1 to ``highest``, else None."""
    return value if type(value) is int and 0 < value <= highest else None


def flag(value: object) -> bool | None:
    """Return ``value`` if it is a boolean or, as in netifyd v3, 0 or 1 in its place; else None."""
    if value is True or value is False:
        return value
    return bool(value) if type(value) is int and value in (0, 1) else None


def short_text(value: object) -> str | None:
    """Return ``value`` if it may be an address, else None. The length limit keeps the caches below small."""
    return value if isinstance(value, str) and len(value) <= _MAX_ADDRESS else None


def device_id(mac: str | None, ip: str | None) -> str | None:
    """Return the name of a device: its MAC address, else its IP address (rule 8, no MAC address).

    :param mac: with colons or hyphens.
    :returns: MAC in lower case with colons, or the IP address as inet_ntop(3) prints it. None without a
        valid address, and for multicast or broadcast addresses.
    """
    if mac is not None:
        device = _mac_device(mac)
        if device is not None:
            return device or None
    return host_address(ip)


@lru_cache(maxsize=16384)  # also lets all flows of a device share one string
def _mac_device(mac: str) -> str | None:
    """Return the device with a MAC address; empty for a group of devices, None if ``mac`` is no address."""
    mac = mac.lower().replace("-", ":")
    if mac == _NO_MAC or not _MAC.fullmatch(mac):
        return None
    return "" if int(mac[1], 16) & 1 else mac  # the group bit (IEEE 802, 8.2.2)


def _end(end: tuple[object, object]) -> tuple[str | None, str | None, str | None]:
    """Read MAC and IP address of one end of a flow, unchecked.

    :returns: device, IP address if it is that of a host, IP address to display.
    """
    mac, ip = map(short_text, end)
    device, host, packed = device_id(mac, ip), host_address(ip), _packed(ip)
    shown = host or (_spelled(packed) if packed is not None and any(packed) else None)
    return device, host, shown


@lru_cache(maxsize=16384)  # netifyd lists the addresses of all devices every 15 s
def host_address(ip: str | None) -> str | None:
    """Return ``ip`` in canonical form if it can be that of a single host.

    :param ip: an address as :func:`short_text` returns it.
    :returns: None for invalid, unspecified, broadcast and multicast addresses.
    """
    packed = _packed(ip)
    if packed is None or not any(packed):
        return None
    if len(packed) == 4:
        return None if 224 <= packed[0] < 240 or packed == b"\xff" * 4 else _spelled(packed)
    return None if packed[0] == 0xFF else _spelled(packed)


def _packed(ip: str | None) -> bytes | None:
    """Return the address as 4 or 16 bytes, None if it is invalid. An IPv4 address in IPv6 has 4."""
    if ip is None:
        return None
    try:
        packed = inet_pton(AF_INET6 if ":" in ip else AF_INET, ip)
    except (OSError, ValueError):  # ValueError: it has a NUL, or is no text
        return None
    return packed[12:] if packed.startswith(_MAPPED) else packed


def _spelled(packed: bytes) -> str:
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


# Most records repeat the same few texts. These return what the function does, and TypeError without a hash.
_ENDS = Memo(_end, 16384, _MAX_ADDRESS)
_APPLICATIONS = Memo(application_tag, 4096, MAX_TEXT)
_PROTOCOLS = Memo(_protocol, 4096, MAX_TEXT)
_NAMES = Memo(clean, 256, MAX_TEXT)
_HOSTS = Memo(clean, 4096, MAX_TEXT)
_new = tuple.__new__
