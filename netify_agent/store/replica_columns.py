"""Numbers and texts of a message in columns, compressed. Pure functions of bytes.

Numbers of one kind stand next to each other, because they have similar sizes: that compresses best. A number
is sent as its difference from what both sides expect, which is mostly small. :class:`Writer` and
:class:`Reader` have the same methods. The one writes the value that it is given, the other ignores it and
returns the one that was written, so that one procedure describes both directions.

Form: raw LZMA of: the length of each column in the order of :data:`COLUMNS`, then the columns. Lengths and
numbers are LEB128: seven bits a byte, lowest first, the high bit set in all bytes but the last.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable
from typing import Any

from netify_agent.store.layout import ALL_COUNTERS, FIRST_SEEN, LAST_SEEN
from netify_agent.store.varint import put

#: What a row may have. ``n``: the number of a table, the score of a sorted set.
CODES = (*ALL_COUNTERS, LAST_SEEN, FIRST_SEEN, "ru", "rd", "n")
TABLES = ("totals", "applications", "protocols", "gateway", "others", "open", "rates", "scores", "names")
COLUMNS = (
    *("header", "items", "counts", "flags", "chunks", "signs", "known", "lengths", "texts"),
    *(f"{table}.{code}" for table in TABLES for code in ("mask", *CODES)),
)
_PLACES = {column: place for place, column in enumerate(COLUMNS)}
_FILTERS: list[dict[str, Any]] = [
    {"id": lzma.FILTER_LZMA1, "lc": 3, "lp": 0, "pb": 0, "dict_size": 1 << 20, "nice_len": 64}
]
_MAX_BITS = 98  # of a number


class Invalid(ValueError):
    """The bytes are not a valid message. The text says what was expected."""


class Writer:
    """Collects columns; :meth:`packed` has all of them."""

    def __init__(self) -> None:
        self._columns = [bytearray() for _ in COLUMNS]
        self._names: dict[str, int] = {}

    def learn(self, names: Iterable[str]) -> None:
        """Names that both sides know."""
        for name in names:
            self._names.setdefault(name, len(self._names))

    def count(self, column: str, value: int) -> int:
        """A number that is not negative."""
        put(self._columns[_PLACES[column]], value)
        return value

    def number(self, column: str, value: int, expected: int) -> int:
        """A number; both sides know an approximate value, ``expected``."""
        difference = value - expected
        put(self._columns[_PLACES[column]], abs(difference))
        if difference:
            self._columns[_PLACES["signs"]].append(difference < 0)
        return value

    def data(self, value: bytes) -> bytes:
        """Bytes."""
        self.count("lengths", len(value))
        self._columns[_PLACES["texts"]] += value
        return value

    def text(self, value: str) -> str:
        """A text."""
        self.data(value.encode())
        return value

    def name(self, value: str) -> str:
        """A text that may come several times."""
        place = self._names.get(value)
        if place is None:
            self.count("known", 0)
            self.text(value)
            self._names[value] = len(self._names)
        else:
            self.count("known", place + 1)
        return value

    def packed(self) -> bytes:
        """The columns so far."""
        head = bytearray()
        for column in self._columns:
            put(head, len(column))
        return compress(b"".join((head, *self._columns)))


class Reader:
    """Reads what a :class:`Writer` packed, in the same order. Raises :class:`Invalid`."""

    def __init__(self, packed: bytes, limit: int) -> None:
        """``limit``: of the bytes that the columns may have together."""
        self._data = decompress(packed, limit)
        self._names: list[str] = []
        self._known: set[str] = set()
        lengths, at = [], 0
        for _ in COLUMNS:
            length, at = self._get(at, len(self._data))
            lengths.append(length)
        self._at, self._end = [], []
        for length in lengths:
            self._at.append(at)
            at += length
            self._end.append(at)
        if at != len(self._data):
            raise Invalid("expected columns of other lengths")

    def learn(self, names: Iterable[str]) -> None:
        """See :meth:`Writer.learn`."""
        for name in names:
            self._learn(name)

    def count(self, column: str, value: int) -> int:
        """See :meth:`Writer.count`."""
        place = _PLACES[column]
        found, self._at[place] = self._get(self._at[place], self._end[place])
        return found

    def number(self, column: str, value: int, expected: int) -> int:
        """See :meth:`Writer.number`."""
        difference = self.count(column, 0)
        if difference and self.count("signs", 0):
            difference = -difference
        return expected + difference

    def data(self, value: bytes) -> bytes:
        """See :meth:`Writer.data`."""
        place = _PLACES["texts"]
        length, at = self.count("lengths", 0), self._at[place]
        if at + length > self._end[place]:
            raise Invalid("a column is cut off")
        self._at[place] = at + length
        return self._data[at : at + length]

    def text(self, value: str) -> str:
        """See :meth:`Writer.text`."""
        try:
            return self.data(b"").decode()
        except UnicodeDecodeError:
            raise Invalid("expected a text in UTF-8") from None

    def name(self, value: str) -> str:
        """See :meth:`Writer.name`."""
        place = self.count("known", 0)
        if place > len(self._names):
            raise Invalid("expected the number of a name")
        if place:
            return self._names[place - 1]
        name = self.text("")
        self._learn(name)
        return name

    def finish(self) -> None:
        """Check that everything was read."""
        if self._at != self._end:
            raise Invalid("the message has more than it says")

    def _learn(self, name: str) -> None:
        if name not in self._known:
            self._known.add(name)
            self._names.append(name)

    def _get(self, at: int, end: int) -> tuple[int, int]:
        """Read a number; return it and the index after it."""
        number, data = 0, self._data
        for shift in range(0, _MAX_BITS, 7):
            if at >= end:
                raise Invalid("a column is cut off")
            byte = data[at]
            at += 1
            number |= (byte & 127) << shift
            if byte < 128:
                return number, at
        raise Invalid("expected a smaller number")


Channel = Writer | Reader


def compress(data: bytes) -> bytes:
    """The bytes, compressed."""
    return lzma.compress(data, lzma.FORMAT_RAW, filters=_FILTERS)


def decompress(packed: bytes, limit: int) -> bytes:
    """The bytes that were compressed, at most ``limit``. Raises Invalid."""
    unpack = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    try:
        data = unpack.decompress(packed, limit + 1)
    except lzma.LZMAError as error:
        raise Invalid(f"expected a message, found something else ({error})") from None
    if len(data) > limit:
        raise Invalid(f"expected a message of at most {limit} bytes")
    if not unpack.eof or unpack.unused_data:
        raise Invalid("expected a whole message, found a part or more than one")
    return data
