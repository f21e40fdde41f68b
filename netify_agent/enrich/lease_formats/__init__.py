"""Lease files of DHCP servers, each turned into the same rows.

One module per server. The content of a file decides which of them reads it. Lines and elements that are
no lease are skipped, because these files are read while their owners write them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

from netify_agent.enrich.files import MAX_LINE, decode, lines, read_json
from netify_agent.enrich.lease_formats import adguard, dnsmasq, isc, kea, networkd
from netify_agent.enrich.lease_formats.lease import Lease

__all__ = ["KNOWN", "Lease", "UnknownFormat", "is_kea", "read_leases"]

#: Lines in which the format is looked for. The first ones can be damaged.
_MAX_HEAD = 200

#: The known formats, for messages.
KNOWN = "dnsmasq, ISC dhcpd, Kea (memfile), systemd-networkd, AdGuard Home"

_SHOWN = 40  # characters of an unknown file


class _TextFormat(NamedTuple):
    matches: Callable[[str], bool]
    read: Callable[[str, BinaryIO], Iterator[Lease]]


class _JsonFormat(NamedTuple):
    matches: Callable[[Any], bool]
    read: Callable[[Any], Iterator[Lease]]


_TEXT_FORMATS = (
    _TextFormat(kea.matches, kea.read),
    _TextFormat(dnsmasq.matches, dnsmasq.read),
    _TextFormat(isc.matches, isc.read),
)
_JSON_FORMATS = (
    _JsonFormat(networkd.matches, networkd.read),
    _JsonFormat(adguard.matches, adguard.read),
)


class UnknownFormat(ValueError):
    """A file is in no known format.

    :ivar found: how it begins, printable.
    """

    def __init__(self, found: str) -> None:
        super().__init__(found)
        self.found = found


def read_leases(path: str, max_bytes: int) -> Iterator[Lease]:
    """Yield the rows of a lease file. Of several rows for one address the last one is current.

    A file without any statement has no rows.

    :param max_bytes: of a larger text file only its end is read, this many bytes.
    :raises OSError: the file cannot be read.
    :raises UnknownFormat: the file is in no known format.
    :raises ValueError: the file is JSON that is too large or nested too deeply.
    """
    with open(path, "rb") as file:
        first = _first(file)
        if first[:1] in ("{", "[") or first == "null":  # AdGuard Home wrote null for an empty list
            yield from _json(file, first)
        elif first:
            yield from _text(file, first, max_bytes)


def is_kea(path: str) -> bool | None:
    """Whether a file is a lease file of Kea; None if it is missing, unreadable or empty."""
    try:
        with open(path, "rb") as file:
            first = _first(file)
    except OSError:
        return None
    return kea.matches(first) if first else None


def _first(file: BinaryIO) -> str:
    """The first line that is neither empty nor a comment; the file is at its start afterwards."""
    head = map(decode, islice(lines(file), _MAX_HEAD))
    found = next((text for text in head if text and text[0] != "#"), "")
    file.seek(0)
    return found


def _json(file: BinaryIO, first: str) -> Iterator[Lease]:
    try:
        content = read_json(file)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise _unknown(first) from None
    if content is None:
        return
    for form in _JSON_FORMATS:
        if form.matches(content):
            # These files are in no order of time: of two leases of a device the one that ends last is newer.
            yield from sorted(form.read(content), key=lambda lease: lease.expires)
            return
    raise _unknown(first)


def _text(file: BinaryIO, first: str, max_bytes: int) -> Iterator[Lease]:
    for line in islice(lines(file), _MAX_HEAD):
        head = decode(line)
        for form in _TEXT_FORMATS:
            if form.matches(head):
                start = file.tell() - len(line)
                file.seek(max(start, os.fstat(file.fileno()).st_size - max_bytes))
                if file.tell() > start:
                    file.readline(MAX_LINE)  # the rest of a line
                yield from form.read(head, file)
                return
    raise _unknown(first)


def _unknown(first: str) -> UnknownFormat:
    return UnknownFormat(ascii(first[:_SHOWN]))
