"""Bounded reading of files that belong to other programs, and detection of changes to them.

A registry, lease file or table can be missing, replaced while it is read, very large, or not a file at
all. The only file format this module knows is JSON.
"""

from __future__ import annotations

import codecs
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

#: Longest piece of a line that is returned at once, in bytes. Lines of the known formats are far shorter.
MAX_LINE = 64 * 1024

#: Largest JSON file that is read, in bytes. Decoded JSON takes about ten times its size in memory.
MAX_JSON = 2 * 1024 * 1024

Stamp = tuple[int, int, int, int]


@dataclass(frozen=True)
class FileLimits:
    """How much of a file of names is used.

    :ivar max_bytes: bytes read. Of a larger lease file that is its end, because ISC dhcpd and Kea append.
    :ivar max_addresses: addresses kept. One gateway serves fewer.
    """

    max_bytes: int = 16 * 1024 * 1024
    max_addresses: int = 50_000


def stamp(path: str) -> Stamp | None:
    """Return values that change whenever a file does: mtime (ns), ctime (ns), size (bytes), inode.

    The ctime reveals changed permissions, the inode a replacement by rename.

    :returns: None if the path is missing, out of reach or no regular file (opening a FIFO would block).
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the rest of a file line by line, without a UTF-8 byte order mark at the start of the file.

    A line longer than `MAX_LINE` bytes is yielded in pieces.
    """
    if file.tell() == 0 and file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
        file.seek(0)
    while line := file.readline(MAX_LINE):
        yield line


def decode(line: bytes) -> str:
    """Decode UTF-8 and strip white space. Invalid bytes become lone surrogates, so that no input raises."""
    return line.decode("utf-8", "surrogateescape").strip()


def read_json(file: BinaryIO) -> Any:
    """Decode the rest of a JSON file.

    :raises OSError: it cannot be read.
    :raises ValueError: it is larger than `MAX_JSON` bytes, is not JSON, or is nested too deeply.
    """
    content = file.read(MAX_JSON + 1)
    if len(content) > MAX_JSON:
        raise ValueError(f"larger than {MAX_JSON} bytes")
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
