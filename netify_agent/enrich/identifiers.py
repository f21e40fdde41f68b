"""Normal forms of names, MAC addresses and IP addresses.

Every name of a device passes through `clean_name`, because devices choose most of these names themselves
(DHCP, mDNS). This module knows no file format.
"""

from __future__ import annotations

import ipaddress
import re
import socket

#: Longest name in characters (RFC 1035 section 2.3.4: 255 octets on the wire).
MAX_NAME = 253

_MAC = re.compile(r"(?:[0-9a-f]{1,2}:){5}[0-9a-f]{1,2}")
_NO_MAC = "00:00:00:00:00:00"
_NO_NAMES = frozenset(
    (
        *("localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback"),
        *("*", "-"),  # placeholders for a missing name
    )
)
_ETHERNET = b"\x00\x01"  # hardware type of RFC 1700, as two octets


def clean_name(text: str) -> str | None:
    """Return a host name that is safe to show, without surrounding space and trailing dots.

    :returns: None for text with control or formatting characters (which includes those that change the
        direction of text) or invalid UTF-8, for more than `MAX_NAME` characters, for IP addresses, for
        names of the loopback interface, and for the placeholders `*` and `-`.
    """
    name = text.strip().rstrip(".")
    if not name or len(name) > MAX_NAME or not name.isprintable():
        return None
    if name.lower() in _NO_NAMES or ((":" in name or name[0].isdigit()) and clean_ip(name)):
        return None
    return name


def clean_mac(text: str) -> str | None:
    """Return a 48-bit MAC address as lower-case hex with colons; None for anything else and for all zeros.

    Accepts colons or hyphens, and octets of one digit (ethers(5)).
    """
    mac = text.strip().lower().replace("-", ":")
    if not _MAC.fullmatch(mac):
        return None
    if len(mac) < len(_NO_MAC):
        mac = ":".join(octet.zfill(2) for octet in mac.split(":"))
    return None if mac == _NO_MAC else mac


def mac_of_octets(octets: bytes) -> str | None:
    """Return the MAC address that these octets are; None unless they are six and not all zeros."""
    return clean_mac(octets.hex(":"))


def mac_of_duid(duid: bytes) -> str | None:
    """Return the MAC address in a DHCP unique identifier (RFC 8415 section 11).

    Only DUID-LLT (type 1) and DUID-LL (type 3) contain one; other types, and hardware other than Ethernet,
    give None.
    """
    kind, hardware = duid[:2], duid[2:4]
    if hardware != _ETHERNET:
        return None
    if kind == b"\x00\x01":
        return mac_of_octets(duid[8:])
    return mac_of_octets(duid[4:]) if kind == b"\x00\x03" else None


def mac_of_client_id(identifier: bytes) -> str | None:
    """Return the MAC address in a DHCPv4 client identifier, None if it contains none.

    Type 1 is followed by the MAC (RFC 2132 section 9.14), type 255 by four octets of IAID and a DUID
    (RFC 4361 section 6.1).
    """
    if identifier[:1] == b"\x01":
        return mac_of_octets(identifier[1:])
    return mac_of_duid(identifier[5:]) if identifier[:1] == b"\xff" else None


def clean_ip(text: str) -> str | None:
    """Return an IP address as RFC 5952 and netifyd write it; None for anything else.

    An IPv4 address in IPv6 (`::ffff:192.0.2.1`) is returned as that IPv4 address.
    """
    text = text.strip()
    try:  # faster than ipaddress
        return socket.inet_ntop(socket.AF_INET, socket.inet_pton(socket.AF_INET, text))
    except (OSError, ValueError):
        pass
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def is_host_address(ip: str) -> bool:
    """Whether an address can belong to a host: it is not loopback, unspecified, multicast or broadcast."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    return not (
        address.is_loopback or address.is_unspecified or address.is_multicast or ip == "255.255.255.255"
    )


def is_link_local(ip: str) -> bool:
    """Whether an address is valid on one link only (169.254.0.0/16, fe80::/10).

    :raises ValueError: it is not an IP address.
    """
    return ipaddress.ip_address(ip).is_link_local
