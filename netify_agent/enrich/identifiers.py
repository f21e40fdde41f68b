"""Names, MACs and IP addresses as text: one spelling each, and nothing hostile.

Every name shown for a device passes here, because most of them were chosen by the device itself (DHCP,
mDNS) or by whoever owns its reverse zone. Knows no file and no protocol.
"""

from __future__ import annotations

import ipaddress
import re

#: Longest name in characters (RFC 1035 section 2.3.4: 255 octets on the wire).
MAX_NAME = 253

_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_LOOPBACK_NAMES = frozenset(
    ("localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback")
)


def clean_name(text: str) -> str | None:
    """A host name fit to show, or None.

    Surrounding space and the trailing dot go. Control and formatting characters (which includes those that
    reverse the direction of text), broken UTF-8, more than `MAX_NAME` characters, bare addresses and the
    names of loopback make it no name at all.
    """
    name = text.strip().rstrip(".")
    if not name or len(name) > MAX_NAME or not name.isprintable():
        return None
    if name.lower() in _LOOPBACK_NAMES or clean_ip(name) is not None:
        return None
    return name


def clean_mac(text: str) -> str | None:
    """A 48-bit MAC as lower-case hex with colons; None for anything else and for all zeros."""
    mac = text.strip().lower().replace("-", ":")
    if not _MAC.fullmatch(mac) or mac == "00:00:00:00:00:00":
        return None
    return mac


def clean_ip(text: str) -> str | None:
    """An IP address in the spelling of RFC 5952, which is netifyd's too; None for anything else."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return None


def is_host_address(ip: str) -> bool:
    """Whether an address can be that of one host of a network: not loopback, any, multicast, broadcast."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    return not (
        address.is_loopback or address.is_unspecified or address.is_multicast or ip == "255.255.255.255"
    )


def is_link_local(ip: str) -> bool:
    """Whether an address means something on one link only (169.254.0.0/16, fe80::/10).

    :raises ValueError: it is no address.
    """
    return ipaddress.ip_address(ip).is_link_local
