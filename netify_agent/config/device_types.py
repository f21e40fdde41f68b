"""Parsers for values that name devices: addresses, networks, names and groups. They raise ``Expected``."""

import ipaddress
import re

from netify_agent.config.yaml_reader import Expected

MAX_GROUPS = 100
MAX_NAMES = 100_000

_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}")
_MAX_NAME = 253
_GROUP_NAME = re.compile(r"\w([\w .-]{0,61}[\w.-])?")
_ADDRESS_OR_NETWORK = "a MAC address, an IP address, a network such as 192.0.2.0/24"
_OR_PATTERN = ", or a pattern of names such as kids-*"


def mac_address(text: str) -> str | None:
    """Return a MAC address in lower case with colons; None for any other text."""
    return text.lower().replace("-", ":") if _MAC.fullmatch(text) else None


def host_by_ip(text: str) -> str:
    """Read a network in CIDR notation, an IP or a MAC address; returns canonical form. Raises Expected."""
    return mac_address(text) or _network(text, "a network such as 192.0.2.0/24", ", or a MAC address")


def _network(text: str, expected: str, rest: str = "") -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        hint = " without host bits" if "host bits" in str(error) else ""
        raise Expected(expected + hint + rest) from None


def device(text: str) -> str:
    """Read the MAC or IP address of a device; returns it as the store names devices. Raises Expected."""
    mac = mac_address(text)
    if mac is not None:
        return mac
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise Expected("a MAC address or an IP address") from None


def device_name(text: str) -> str:
    """Read the display name of a device, without surrounding space. Raises Expected."""
    name = text.strip()
    if not 1 <= len(name) <= _MAX_NAME:
        raise Expected(f"a name of 1 to {_MAX_NAME} printable characters")
    return name


def group_name(text: str) -> str:
    """Read the name of a group. Raises Expected."""
    if not _GROUP_NAME.fullmatch(text):
        raise Expected("a name of 1 to 63 letters, digits, spaces, '.', '_' and '-'")
    return text


def new_group(text: str) -> str:
    """Read the name of a group that is defined. ``each`` stands for all of them. Raises Expected."""
    if text == "each":
        raise Expected("a name other than each")
    return group_name(text)


def group_member(text: str) -> str:
    """Read a member of a group: a MAC address, an address or network, or a shell pattern of device names.

    Returns canonical form; of a single address its network of one address. Raises Expected.
    """
    mac = mac_address(text)
    if mac is not None:
        return mac
    if "/" in text:
        return _network(text, _ADDRESS_OR_NETWORK, _OR_PATTERN)
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    # Host names have no colon and do not end in a number: what does is a mistyped address.
    if not 1 <= len(text) <= _MAX_NAME or ":" in text or re.fullmatch(r"[0-9.]+", text):
        raise Expected(_ADDRESS_OR_NETWORK + _OR_PATTERN)
    return text
