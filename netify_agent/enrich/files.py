"""Reading files that other programs own: change detection and bounded reads.

Shared by everything here that reads a registry, a lease file or a table, because each of them can be
missing, replaced while being read, enormous, or not a file at all. Knows no format but JSON's.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

#: Longest piece of a line handed on at once, in bytes; no line of a known format comes near it.
MAX_LINE = 64 * 1024

#: Largest JSON file read, in bytes. Decoded, JSON takes about ten times its size in memory.
MAX_JSON = 2 * 1024 * 1024

Stamp = tuple[int, int, int, int]


def stamp(path: str) -> Stamp | None:
    """What changes when a file does: modification and status time (ns), size (bytes), inode.

    The status time catches a change of permissions, the inode a replacement by rename. None for whatever
    is missing, out of reach or not a regular file (reading a FIFO would block for ever).
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def lines(file: BinaryIO) -> Iterator[bytes]:
    """The rest of an open file line by line; a line over `MAX_LINE` bytes comes in pieces."""
    return iter(lambda: file.readline(MAX_LINE), b"")


def read_json(path: str) -> Any:
    """The decoded content of a JSON file.

    :raises OSError: it cannot be read.
    :raises ValueError: it is larger than `MAX_JSON` bytes, no JSON, or nested too deeply.
    """
    with open(path, "rb") as file:
        content = file.read(MAX_JSON + 1)
    if len(content) > MAX_JSON:
        raise ValueError(f"larger than {MAX_JSON} bytes")
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
