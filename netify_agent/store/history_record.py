"""The packed form of closed history: records, and chunks of them. Pure functions of bytes.

Numbers are those of :mod:`~netify_agent.store.varint`. A chunk is a sequence of records and blocks, so two
chunks one after the other are a chunk::

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

import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, TypeVar

from netify_agent.store.history_blocks import DEFLATED, PLAIN, UNREADABLE, Damaged, records_of
from netify_agent.store.varint import MAX_BITS, get, put, unzigzag, zigzag

_LOCAL, _SIGNED, _REST = 1, 2, 4
_LEVEL = 9
_NUMBER = rb"[\x80-\xff]*[\x00-\x7f]"
#: By width, the number of counters of an application: what precedes the applications, after the flags.
_HEADS = {width: re.compile(rb"(?:%b){%d}" % (_NUMBER, width + 3)) for width in (2, 4)}
#: Of each application what its number is more than that of the one before. The last may have no counters.
_DELTAS = {width: re.compile(rb"(%b)(?:(?:%b){%d}|\Z)" % (_NUMBER, _NUMBER, width)) for width in (2, 4)}
_NUMBERS = re.compile(_NUMBER)
_REMEMBERED = 4096  # lists of applications
_Name = TypeVar("_Name", int, str)


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
        numbers = [zigzag(number) for number in numbers]
    at = width + 2
    body = bytearray([flags])
    put(body, zigzag(record.start - origin))
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
    kind = PLAIN
    if len(deflated) < len(body):
        kind, body = DEFLATED, deflated
    head = bytearray([0, kind])
    put(head, len(body))
    return bytes(head) + body


def decode(data: bytes, origin: int) -> Chunk:
    """Decode a chunk that starts at ``origin``. Raises Damaged."""
    chunk = Chunk()
    try:
        for source, at, end, summed in records_of(data):
            (chunk.summed if summed else chunk.fresh).append(_record(source, at, end, origin))
    except UNREADABLE as error:
        raise Damaged(f"{error} in a chunk of {len(data)} bytes") from error
    return chunk


def decode_volumes(data: bytes, origin: int, *, fresh_only: bool) -> list[tuple[int, Volume]]:
    """Start and volume of each record, without a look at the applications. Raises Damaged.

    :param fresh_only: skip the records that a longer step holds too.
    """
    found = []
    try:
        for source, at, end, summed in records_of(data):
            if summed and fresh_only:
                continue
            start, volume, at = _head(source, at, origin)
            if at > end:
                raise Damaged("a record is longer than it says")
            found.append((start, volume))
    except UNREADABLE as error:
        raise Damaged(f"{error} in a chunk of {len(data)} bytes") from error
    return found


class ApplicationDecoder:
    """Reads what chunks hold of one application, some eight times faster than all applications are read.

    Records of a device mostly have the same applications, so it remembers where its own is in such a list.
    """

    def __init__(self, number: int, remembered: int = _REMEMBERED) -> None:
        """``number``: of the application; ``remembered``: bound on the lists of applications in memory."""
        self._number, self._remembered = number, remembered
        self._places: dict[bytes, int] = {}  # what _DELTAS finds, joined, to the index of the application

    def decode(self, data: bytes, origin: int, *, fresh_only: bool) -> list[tuple[int, Share]]:
        """Start of each record that has the application, and its part. Raises Damaged.

        :param fresh_only: skip the records that a longer step holds too.
        """
        found, places = [], self._places
        try:
            for source, at, end, summed in records_of(data):
                if summed and fresh_only:
                    continue
                flags = source[at]
                width = 4 if flags & _LOCAL else 2
                head = _HEADS[width].match(source, at + 1, end)
                if head is None or source[end - 1] > 127 or flags > _LOCAL | _SIGNED | _REST:
                    raise Damaged("a record is shorter than it says, or has unknown flags")
                deltas = b"".join(_DELTAS[width].findall(source, head.end(), end))
                place = places.get(deltas)
                if place is None:
                    place = self._place(deltas)
                if place < 0:
                    continue
                counters = _counters_at(width, place).match(source, head.end(), end)
                if counters is None:
                    found.append(_last_share(source, at, end, origin))
                    continue
                numbers = [get(number, 0)[0] for number in counters.groups()]
                if flags & _SIGNED:
                    numbers = [unzigzag(number) for number in numbers]
                found.append((origin + unzigzag(get(source, at + 1)[0]), Share(*numbers)))
        except UNREADABLE as error:
            raise Damaged(f"{error} in a chunk of {len(data)} bytes") from error
        return found

    def _place(self, deltas: bytes) -> int:
        """The index of the application in a list, or -1."""
        found, number, at, index = -1, 0, 0, 0
        while at < len(deltas):
            more, at = get(deltas, at)
            number += more
            if number == self._number:
                found = index
            index += 1
        if len(self._places) >= self._remembered:
            self._places.clear()
        self._places[deltas] = found
        return found


@lru_cache(maxsize=256)
def _counters_at(width: int, place: int) -> re.Pattern[bytes]:
    """What finds the counters of the application at an index, from the first application on."""
    return re.compile(rb"(?:%b){%d}%b" % (_NUMBER, place * (width + 1) + 1, width * (b"(%b)" % _NUMBER)))


def _last_share(data: bytes, at: int, end: int, origin: int) -> tuple[int, Share]:
    """Start of a record, and the part of its last application, which is what the others leave."""
    start, volume, first = _head(data, at, origin)
    width = 4 if data[at] & _LOCAL else 2
    numbers = [get(number, 0)[0] for number in _NUMBERS.findall(data, first, end)]
    if not data[at] & _REST or len(numbers) % (width + 1) != 1:
        raise Damaged("a record has another length than it says")
    if data[at] & _SIGNED:
        numbers = [unzigzag(number) for number in numbers]
    known = [sum(numbers[one :: width + 1]) for one in range(1, width + 1)]
    return start, _rest(volume, [Share(*known)])


def _head(data: bytes, at: int, origin: int) -> tuple[int, Volume, int]:
    """Read a record up to its applications: start, volume, and the index after them."""
    flags = data[at]
    offset, at = get(data, at + 1)
    numbers = []
    for _ in range(6 if flags & _LOCAL else 4):
        number = data[at]
        at += 1
        if number > 127:
            number &= 127
            for shift in range(7, MAX_BITS, 7):
                byte = data[at]
                at += 1
                number |= (byte & 127) << shift
                if byte < 128:
                    break
            else:
                raise OverflowError("expected a smaller number")
        numbers.append(number)
    if flags:
        if flags > _LOCAL | _SIGNED | _REST:
            raise Damaged("a record has unknown flags")
        if flags & _SIGNED:
            numbers = [unzigzag(number) for number in numbers]
    return origin + unzigzag(offset), Volume(*numbers), at


def _record(data: bytes, at: int, end: int, origin: int) -> Record:
    flags = data[at]
    start, volume, at = _head(data, at, origin)
    shares: dict[int, Share] = {}
    application = 0
    while at < end:
        more, at = get(data, at)
        application += more
        if at == end and flags & _REST:
            shares[application] = _rest(volume, shares.values())
            break
        numbers = []
        for _ in range(4 if flags & _LOCAL else 2):
            number, at = get(data, at)
            numbers.append(unzigzag(number) if flags & _SIGNED else number)
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
