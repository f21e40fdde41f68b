"""The packed form of closed history: records, and chunks of them. Pure functions of bytes.

Numbers are LEB128: seven bits a byte, lowest first, the high bit set in all bytes but the last. A chunk is a
sequence of records and blocks, so two chunks one after the other are a chunk::

    record: length of the rest, at least 1
            flags: 1 local counters are present; 2 all counters are signed (zigzag);
                   4 the last application has no counters: its bytes are what the others leave of the total
            start: signed, seconds after the start of the chunk
            bytes up, bytes down, packets up, packets down [, local bytes up, local bytes down]
            for each application: its number less that of the one before,
                                  bytes up, bytes down [, local bytes up, local bytes down]
    block:  0, kind, length of the rest, records (kind 1) or the same compressed (kind 2, raw deflate)

The records of a block are *summed*: a record of the next longer step holds them too. Records outside a block
are *fresh*: they are in no record of a longer step yet.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

_LOCAL, _SIGNED, _REST = 1, 2, 4
_PLAIN, _DEFLATED = 1, 2
_LEVEL = 9
MAX_BLOCK = 4 << 20  # bytes of the records of a block; a month of days with 2,000 applications has 1 MB
_Name = TypeVar("_Name", int, str)


class Damaged(ValueError):
    """The bytes are no chunk."""


class Volume(NamedTuple):
    """What moved in a period.

    ``local``: the part of the bytes that another device of this network sent or received.
    """

    bytes_up: int = 0
    bytes_down: int = 0
    packets_up: int = 0
    packets_down: int = 0
    local_up: int = 0
    local_down: int = 0


class Share(NamedTuple):
    """An application's part of a :class:`Volume`."""

    bytes_up: int = 0
    bytes_down: int = 0
    local_up: int = 0
    local_down: int = 0


NO_VOLUME, NO_SHARE = Volume(), Share()


@dataclass
class Record:
    """What one series moved in one period.

    :ivar start: start of the period, seconds since the epoch.
    :ivar applications: number of an application to its part. Applications that moved nothing are left out.
    """

    start: int
    volume: Volume = NO_VOLUME
    applications: dict[int, Share] = field(default_factory=dict)


@dataclass
class Chunk:
    """The records of a chunk, in the order in which they were stored. Several may have the same start."""

    summed: list[Record] = field(default_factory=list)
    fresh: list[Record] = field(default_factory=list)


def add_volumes(one: Volume, other: Volume) -> Volume:
    """The sum of two volumes."""
    return Volume(
        one[0] + other[0],
        one[1] + other[1],
        one[2] + other[2],
        one[3] + other[3],
        one[4] + other[4],
        one[5] + other[5],
    )


def add_shares(into: dict[_Name, Share], more: Mapping[_Name, Share]) -> None:
    """Add the parts of ``more`` to those of ``into``."""
    for number, share in more.items():
        had = into.get(number)
        if had is None:
            into[number] = share
        else:
            into[number] = Share(had[0] + share[0], had[1] + share[1], had[2] + share[2], had[3] + share[3])


def merged(records: Iterable[Record]) -> list[Record]:
    """One record for each start, sorted by it, with the sums of those that had the same start."""
    found: dict[int, Record] = {}
    for record in records:
        into = found.setdefault(record.start, Record(record.start))
        into.volume = add_volumes(into.volume, record.volume)
        add_shares(into.applications, record.applications)
    return [found[start] for start in sorted(found)]


def encode(record: Record, origin: int) -> bytes:
    """Encode a record for the chunk that starts at ``origin``."""
    shares = [(number, share) for number, share in sorted(record.applications.items()) if any(share)]
    numbers = list(record.volume)
    flags = 0
    if any(numbers[4:]) or any(share[2] or share[3] for _, share in shares):
        flags |= _LOCAL
    else:
        del numbers[4:]
    width = 4 if flags & _LOCAL else 2
    counted = shares
    if shares and _rest(record.volume, (share for _, share in shares)) == NO_SHARE:
        flags |= _REST
        counted = shares[:-1]
    for _, share in counted:
        numbers += share[:width]
    if min(numbers) < 0:
        flags |= _SIGNED
        numbers = [_zigzag(number) for number in numbers]
    at = width + 2
    body = bytearray([flags])
    put(body, _zigzag(record.start - origin))
    for number in numbers[:at]:
        put(body, number)
    before = 0
    for application, _ in shares:
        put(body, application - before)
        before = application
        for number in numbers[at : at + width]:
            put(body, number)
        at += width
    head = bytearray()
    put(head, len(body))
    return bytes(head + body)


def encode_summed(records: Iterable[Record], origin: int) -> bytes:
    """Encode records, merged and sorted, as one block; empty without records."""
    body = b"".join(encode(record, origin) for record in merged(records))
    if not body:
        return b""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = packer.compress(body) + packer.flush()
    kind = _PLAIN
    if len(deflated) < len(body):
        kind, body = _DEFLATED, deflated
    head = bytearray([0, kind])
    put(head, len(body))
    return bytes(head) + body


def decode(data: bytes, origin: int) -> Chunk:
    """Decode a chunk that starts at ``origin``. Raises Damaged."""
    chunk = Chunk()
    try:
        for source, at, end, summed in _records(data):
            (chunk.summed if summed else chunk.fresh).append(_record(source, at, end, origin))
    except (IndexError, zlib.error) as error:
        raise Damaged(f"{error} in a chunk of {len(data)} bytes") from error
    return chunk


def decode_volumes(data: bytes, origin: int, *, fresh_only: bool) -> list[tuple[int, Volume]]:
    """Start and volume of each record, without a look at the applications. Raises Damaged.

    :param fresh_only: skip the records that a longer step holds too.
    """
    found = []
    try:
        for source, at, end, summed in _records(data):
            if summed and fresh_only:
                continue
            start, volume, at = _head(source, at, origin)
            if at > end:
                raise Damaged("a record is longer than it says")
            found.append((start, volume))
    except (IndexError, zlib.error) as error:
        raise Damaged(f"{error} in a chunk of {len(data)} bytes") from error
    return found


def plain(data: bytes) -> bytes:
    """The chunk with its blocks uncompressed, the same on any machine. A damaged one is returned as it is."""
    body, at, room = bytearray(), 0, MAX_BLOCK
    try:
        while at < len(data):
            length, after = _get(data, at)
            if length:
                end = after + length
                body += data[at:end]
            else:
                records, end = _block(data, after)
                room -= len(records)
                if room < 0:
                    return data
                body += bytes([0, _PLAIN])
                put(body, len(records))
                body += records
            at = end
    except (IndexError, Damaged, zlib.error):
        return data
    return bytes(body)


def _records(data: bytes, summed: bool = False) -> Iterator[tuple[bytes, int, int, bool]]:
    """Yield where each record is: bytes, first and last index after its length, whether it is summed."""
    at, size = 0, len(data)
    while at < size:
        length, at = _get(data, at)
        if length:
            end = at + length
            if end > size:
                raise Damaged("the last record is cut off")
            yield data, at, end, summed
        else:
            body, end = _block(data, at)
            if summed:
                raise Damaged("a block is in a block")
            yield from _records(body, True)
        at = end


def _block(data: bytes, at: int) -> tuple[bytes, int]:
    """Read a block after its 0: its records, and the index after it."""
    kind = data[at]
    length, at = _get(data, at + 1)
    end = at + length
    if end > len(data) or kind not in (_PLAIN, _DEFLATED):
        raise Damaged("a block is cut off or of an unknown kind")
    if kind == _PLAIN:
        return data[at:end], end
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    body = unpack.decompress(data[at:end], MAX_BLOCK)
    if not unpack.eof:
        raise Damaged("a block has more than it may, or is cut off")
    return body, end


def _head(data: bytes, at: int, origin: int) -> tuple[int, Volume, int]:
    """Read a record up to its applications: start, volume, and the index after them."""
    flags = data[at]
    offset, at = _get(data, at + 1)
    numbers = []
    for _ in range(6 if flags & _LOCAL else 4):
        number = data[at]
        at += 1
        if number > 127:
            number &= 127
            shift = 7
            while True:
                byte = data[at]
                at += 1
                number |= (byte & 127) << shift
                if byte < 128:
                    break
                shift += 7
        numbers.append(number)
    if flags:
        if flags > _LOCAL | _SIGNED | _REST:
            raise Damaged("a record has unknown flags")
        if flags & _SIGNED:
            numbers = [_unzigzag(number) for number in numbers]
    return origin + _unzigzag(offset), Volume(*numbers), at


def _record(data: bytes, at: int, end: int, origin: int) -> Record:
    flags = data[at]
    start, volume, at = _head(data, at, origin)
    shares: dict[int, Share] = {}
    application = 0
    while at < end:
        more, at = _get(data, at)
        application += more
        if at == end and flags & _REST:
            shares[application] = _rest(volume, shares.values())
            break
        numbers = []
        for _ in range(4 if flags & _LOCAL else 2):
            number, at = _get(data, at)
            numbers.append(_unzigzag(number) if flags & _SIGNED else number)
        shares[application] = Share(*numbers)
    else:
        if at != end or flags & _REST:
            raise Damaged("a record has another length than it says")
    return Record(start, volume, shares)


def _rest(volume: Volume, shares: Iterable[Share]) -> Share:
    """What applications leave of the bytes of a volume."""
    up, down, _, _, local_up, local_down = volume
    for share in shares:
        up -= share[0]
        down -= share[1]
        local_up -= share[2]
        local_down -= share[3]
    return Share(up, down, local_up, local_down)


def put(into: bytearray, number: int) -> None:
    """Append a number that is not negative."""
    while number > 127:
        into.append(number & 127 | 128)
        number >>= 7
    into.append(number)


def _get(data: bytes, at: int) -> tuple[int, int]:
    """Read a number; return it and the index after it."""
    byte = data[at]
    at += 1
    if byte < 128:
        return byte, at
    number, shift = byte & 127, 7
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7


def _zigzag(number: int) -> int:
    """Map signed numbers to small unsigned ones: 0, -1, 1, -2 to 0, 1, 2, 3."""
    return number << 1 if number >= 0 else (-number << 1) - 1


def _unzigzag(number: int) -> int:
    return -(number + 1 >> 1) if number & 1 else number >> 1
