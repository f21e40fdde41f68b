"""Splits a stream of msgpack maps into records. Limits and losses are as for JSON.

Maps are self-delimiting, so a record over the limit is skipped and reading goes on with the next one. Invalid
msgpack is not resumed, because text inside a record could imitate another record. The stream is declared
broken, and the caller connects again. python3-msgpack is optional; without it
:class:`~netify_agent.netifyd.records.Unreadable` is raised.
"""

from __future__ import annotations

from typing import Any

from netify_agent.netifyd.records import Record, Tally, Unreadable

try:
    import msgpack
except ImportError:  # pragma: no cover - the package is optional
    msgpack = None

# The decoder allocates an array before its elements arrive, and nests up to 1024 levels. This limit keeps a
# hostile stream below 70 MB. netifyd's longest list, its applications, has 416 elements in 4.4.5.
_MAX_ARRAY = 8192
_SEPARATORS = (10, 13)  # LF and CR are the msgpack integers 10 and 13; some builds end each payload with LF
_STRICT, _LENIENT, _SKIP = "strict", "surrogateescape", "skip"


class MsgpackReader:
    """Decodes a stream of msgpack maps. Length headers, ``{"length": N}``, are maps and are ignored."""

    pending = False

    def __init__(self, max_record_bytes: int, tally: Tally) -> None:
        """Start at a record boundary. Raises Unreadable without python3-msgpack."""
        if msgpack is None:
            raise Unreadable("msgpack data, which needs the package python3-msgpack (not installed)")
        self.broken: str | None = None
        self._max = max_record_bytes
        self._tally = tally
        self._tail = bytearray()  # bytes of the current record, kept to decode it again; empty in _SKIP
        self._size = 0  # bytes of the current record so far
        self._after_skipped = b""  # bytes after a skipped record, to be fed again within the limit
        self._restart(_STRICT)

    @property
    def held(self) -> int:
        """Buffered bytes of the current record."""
        return len(self._tail)

    def feed(self, data: bytes) -> list[Record]:
        """Take bytes, split anywhere; return the completed records in order."""
        out: list[Record] = []
        rest = memoryview(data)
        while rest and self.broken is None:
            # Never feed past the limit of the current record, so that an oversize record is detected at the
            # same byte however the stream is split.
            step = len(rest) if self._mode == _SKIP else self._max + 1 - self._size
            part, rest = rest[:step], rest[step:]
            self._size += len(part)
            if self._mode != _SKIP:
                self._tail += part
            self._drain(bytes(part), out)
            if self._after_skipped:
                rest, self._after_skipped = memoryview(self._after_skipped), b""
        return out

    def close(self) -> list[Record]:
        """End the stream. A truncated record counts as a loss."""
        if self._size and self._mode != _SKIP and self.broken is None:
            self._tally.drop("truncated")
        self._tail.clear()
        return []

    def _restart(self, mode: str) -> None:
        """Decode the current record from its start in another mode."""
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
        """Feed ``data`` to the decoder and take every complete value."""
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
        """Take one value; False if more bytes are needed."""
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
            self._after_skipped = unpacker.read_bytes(self._size)
            self._size = 0
            self._restart(_STRICT)
            return False
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
