"""Names that the administrator wrote: hosts(5) and ethers(5)."""

from __future__ import annotations

from collections.abc import Iterator

from netify_agent.enrich.files import decode, lines
from netify_agent.enrich.identifiers import clean_ip, clean_mac, clean_name, is_host_address


def read_hosts(path: str, max_bytes: int) -> Iterator[tuple[str, str]]:
    """Yield address and canonical name of each line of a hosts(5) file that names a host.

    Lines beyond ``max_bytes`` are not read.

    :raises OSError: the file cannot be read.
    """
    for fields in _rows(path, max_bytes):
        ip, name = clean_ip(fields[0]), clean_name(fields[1])
        if ip and name and is_host_address(ip):
            yield ip, name


def read_ethers(path: str, max_bytes: int) -> Iterator[tuple[str, str]]:
    """Yield MAC address and host name, or MAC address and IP address, of each line of an ethers(5) file.

    dnsmasq allows the IP address in place of the name (`--read-ethers`). Lines beyond ``max_bytes`` are
    not read.

    :raises OSError: the file cannot be read.
    """
    for fields in _rows(path, max_bytes):
        mac, host = clean_mac(fields[0]), clean_ip(fields[1]) or clean_name(fields[1])
        if mac and host:
            yield mac, host


def _rows(path: str, max_bytes: int) -> Iterator[list[str]]:
    """The fields of each line that has at least two, without comments."""
    with open(path, "rb") as file:
        for line in lines(file):
            fields = decode(line).partition("#")[0].split()
            if len(fields) >= 2:
                yield fields
            if file.tell() > max_bytes:
                return
