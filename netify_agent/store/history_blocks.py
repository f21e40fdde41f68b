"""The blocks and records that a chunk is divided into, and how large they are. Pure functions of bytes.

:mod:`netify_agent.store.history_record` describes the form and reads what is in a record.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from netify_agent.store.varint import get, put

PLAIN, DEFLATED = 1, 2  # kinds of a block
MAX_RECORDS = 100_000  # of a chunk that a stranger sent. A month of minutes has 44,640
MAX_BLOCK = 4 << 20  # bytes of the records of a block. A month of days with 2,000 applications has 1 MB
UNREADABLE = (IndexError, OverflowError, zlib.error)


class Damaged(ValueError):
    """The bytes are no chunk."""


def plain(data: bytes) -> bytes:
    """The chunk with its blocks uncompressed, the same on any machine. A damaged one is returned as it is."""
    body, at, room = bytearray(), 0, MAX_BLOCK
    try:
        while at < len(data):
            length, after = get(data, at)
            if length:
                end = after + length
                body += data[at:end]
            else:
                records, end = _block(data, after)
                room -= len(records)
                if room < 0:
                    return data
                body += bytes([0, PLAIN])
                put(body, len(records))
                body += records
            at = end
    except (*UNREADABLE, Damaged):
        return data
    return bytes(body)


def unpacked_size(data: bytes) -> int | None:
    """Bytes of the chunk with its blocks uncompressed, up to where it is damaged.

    None: it has more than readers are to be given, of records or in its blocks.
    """
    size, at, room, records = 0, 0, MAX_BLOCK, 0
    try:
        while at < len(data):
            length, after = get(data, at)
            if length:
                records += 1
                size, at = size + length, after + length
            else:
                body, at = _block(data, after)
                size, room = size + len(body), room - len(body)
                if room < 0:
                    return None
                for _ in records_of(body, True):
                    records += 1
                    if records > MAX_RECORDS:
                        return None
            if records > MAX_RECORDS:
                return None
    except (*UNREADABLE, Damaged):
        pass
    return size


def records_of(data: bytes, summed: bool = False) -> Iterator[tuple[bytes, int, int, bool]]:
    """Yield where each record is: bytes, first and last index after its length, whether it is summed."""
    at, size = 0, len(data)
    while at < size:
        length, at = get(data, at)
        if length:
            end = at + length
            if end > size:
                raise Damaged("the last record is cut off")
            yield data, at, end, summed
        else:
            body, end = _block(data, at)
            if summed:
                raise Damaged("a block is in a block")
            yield from records_of(body, True)
        at = end


def _block(data: bytes, at: int) -> tuple[bytes, int]:
    """Read a block after its 0: its records, and the index after it."""
    kind = data[at]
    length, at = get(data, at + 1)
    end = at + length
    if end > len(data) or kind not in (PLAIN, DEFLATED):
        raise Damaged("a block is cut off or of an unknown kind")
    if kind == PLAIN:
        return data[at:end], end
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    body = unpack.decompress(data[at:end], MAX_BLOCK)
    if not unpack.eof:
        raise Damaged("a block has more than it may, or is cut off")
    return body, end
