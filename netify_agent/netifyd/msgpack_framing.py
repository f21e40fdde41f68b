"""msgpack maps, one after the other, to records; limits and losses as for JSON.

Maps delimit themselves, so a record over the limit is skipped and the next one read. After bytes that are no
msgpack nothing is searched for: a record could be forged inside the text of another, so the stream is
declared broken and the caller connects again. python3-msgpack is optional; without it
:class:`~netify_agent.netifyd.records.Unreadable` says so.
"""

from __future__ import annotations

from typing import Any

from netify_agent.netifyd.records import Record, Tally, Unreadable

try:
    import msgpack
except ImportError:  # pragma: no cover - the package is optional
    msgpack = None

# The decoder allocates an array before it has its elements, and nests up to 1024 deep: this keeps a hostile
# stream below 70 MB. netifyd's longest list is that of its applications, 416 in 4.4.5.
_MAX_ARRAY = 8192
_SEPARATORS = (10, 13)  # LF and CR are the msgpack integers 10 and 13; some builds end each payload with LF
_STRICT, _LENIENT, _SKIP = "strict", "surrogateescape", "skip"


class MsgpackReader:
    """Decodes a stream of msgpack maps. Length headers, ``{"length": N}``, are maps too and mean nothing."""

    pending = False

    def __init__(self, max_record_bytes: int, tally: Tally) -> None:
        """Start at a record boundary. Raises Unreadable without python3-msgpack."""
        if msgpack is None:
            raise Unreadable("msgpack data, which needs the package python3-msgpack (not installed)")
        self.broken: str | None = None
        self._max = max_record_bytes
        self._tally = tally
        self._tail = bytearray()  # bytes of the record under way, to decode it in another mode; none in _SKIP
        self._size = 0  # how many bytes it has so far
        self._restart(_STRICT)

    @property
    def held(self) -> int:
        """Bytes kept of the record under way."""
        return len(self._tail)

    def feed(self, data: bytes) -> list[Record]:
        """Take bytes, cut anywhere; return the records that they complete, in order."""
        out: list[Record] = []
        rest = memoryview(data)
        while rest and self.broken is None:
            # Never past the limit of the record under way: what is too long is found at the same byte
            # however the stream is cut.
            step = len(rest) if self._mode == _SKIP else self._max + 1 - self._size
            part, rest = rest[:step], rest[step:]
            self._size += len(part)
            if self._mode != _SKIP:
                self._tail += part
            self._drain(bytes(part), out)
        return out

    def close(self) -> list[Record]:
        """Count a record that the end cut short."""
        if self._size and self._mode != _SKIP and self.broken is None:
            self._tally.drop("truncated")
        self._tail.clear()
        return []

    def _restart(self, mode: str) -> None:
        """Decode in another mode from the start of the record under way."""
        self._mode = mode
        self._unpacker: Any = msgpack.Unpacker(
            raw=False,
            unicode_errors=_STRICT if mode == _SKIP else mode,
            max_buffer_size=2 * self._max + (1 << 17),
            max_str_len=(1 << 31) - 1,
            max_bin_len=(1 << 31) - 1,
            max_ext_len=(1 << 31) - 1,
            max_array_len=_MAX_ARRAY,
            max_map_len=self._max,
        )
        self._begin = 0

    def _drain(self, data: bytes, out: list[Record]) -> None:
        """Give ``data`` to the decoder and take every value that is complete."""
        try:
            self._unpacker.feed(data)
            while self._next(out):
                pass
        except UnicodeDecodeError:
            self._restart(_LENIENT)
            self._drain(bytes(self._tail), out)
        except (ValueError, RecursionError, msgpack.UnpackException) as error:
            if self._mode != _SKIP:
                self._tally.drop("malformed", bytes(self._tail))
            self.broken = f"damaged msgpack data ({type(error).__name__})"
            self._tail.clear()

    def _next(self, out: list[Record]) -> bool:
        """Take one value; False when more bytes are needed."""
        unpacker = self._unpacker
        try:
            value = unpacker.skip() if self._mode == _SKIP else unpacker.unpack()
        except msgpack.OutOfData:
            if self._mode != _SKIP and self._size > self._max:
                self._tally.drop("oversize")
                self._restart(_SKIP)
                self._unpacker.feed(bytes(self._tail))
                self._tail.clear()
                return True
            return False
        size = unpacker.tell() - self._begin
        self._begin += size
        self._size -= size
        if self._mode == _SKIP:
            # What the decoder has left belongs to the next record.
            left = unpacker.read_bytes(self._size)
            self._restart(_STRICT)
            self._tail += left
            self._unpacker.feed(left)
            return True
        del self._tail[:size]
        if size > self._max:
            self._tally.drop("oversize")
        elif type(value) is dict:
            if self._tally.accept(value, out) and self._mode == _LENIENT:
                self._tally.repaired += 1
        elif value not in _SEPARATORS:
            raise ValueError("not a map")
        if self._mode == _LENIENT:
            self._restart(_STRICT)
            self._unpacker.feed(bytes(self._tail))
        return True
