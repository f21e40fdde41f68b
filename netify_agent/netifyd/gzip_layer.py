"""The gzip layer: decompresses members, one after the other, and hands their content to a framing.

netifyd v5 compresses each payload as a gzip member of its own; a relay or an HTTP client may compress
everything as one stream. A damaged stream can't be resumed: the place where the next member begins could be
forged by text inside a record, so the stream is declared broken and the caller connects again.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from netify_agent.netifyd.records import Reader, Record, Tally

if TYPE_CHECKING:
    from zlib import _Decompress

#: Decompressed bytes of one :meth:`GzipReader.feed`. It bounds memory, and how long the accounting is locked.
PIECE_BYTES = 65536
_WITH_GZIP_HEADER = 31  # wbits of zlib.decompressobj
_BETWEEN = b"\r\n"  # some builds end each payload with LF


class GzipReader:
    """Decompresses, and feeds what it gets to ``inner``."""

    def __init__(self, tally: Tally, inner: Reader) -> None:
        self._tally = tally
        self._inner = inner
        self._member: _Decompress | None = None
        self._input = b""
        self._damage = ""
        self._broken: str | None = None

    @property
    def pending(self) -> bool:
        """Whether compressed bytes, or bytes of the layer below, wait for the next call."""
        return self.broken is None and (bool(self._input) or self._inner.pending)

    @property
    def broken(self) -> str | None:
        """Why nothing more can be read."""
        return self._broken or self._inner.broken

    @property
    def held(self) -> int:
        """Bytes kept, compressed and decompressed."""
        return len(self._input) + self._inner.held

    def feed(self, data: bytes) -> list[Record]:
        """Decompress at most :data:`PIECE_BYTES` of what was fed; ``pending`` says whether that was all."""
        out: list[Record] = []
        self._input = self._input + data if self._input else bytes(data)
        if self._inner.pending:
            return self._inner.feed(b"")
        room = PIECE_BYTES
        while self._input and room > 0 and self.broken is None:
            piece = self._decompress(room)
            room -= len(piece)
            out += self._inner.feed(piece)
            if self._damage and self._inner.broken is None:
                self._tally.drop("malformed", self._input)
                self._broken = f"damaged gzip data ({self._damage})"
            if self._inner.pending:
                break
        if self.broken is not None:
            self._input = b""
        return out

    def _decompress(self, room: int) -> bytes:
        """At most ``room`` decompressed bytes of the input."""
        if self._member is None:
            self._input = self._input.lstrip(_BETWEEN)
            if not self._input:
                return b""
            self._member = zlib.decompressobj(_WITH_GZIP_HEADER)
        data, before = self._input, self._member.copy()
        try:
            piece = self._member.decompress(data, room)
        except zlib.error as error:
            self._damage = str(error)
            return _salvage(before, data)
        if self._member.eof:
            self._input, self._member = self._member.unused_data, None
        else:
            self._input = self._member.unconsumed_tail
        return piece

    def close(self) -> list[Record]:
        """Count a member, or a record in it, that the end cut short: once."""
        drops = self._tally.drops
        losses = drops["truncated"]
        out = self._inner.close()
        if self._broken is not None:
            drops["truncated"] = losses  # what was damaged is counted already
        elif self._member is not None and self._inner.broken is None:
            drops["truncated"] = losses + 1
        self._input, self._member = b"", None
        return out


def _salvage(member: _Decompress, data: bytes) -> bytes:
    """What precedes the damage: ``decompress`` raises without returning it."""
    out = b""
    try:
        for at in range(len(data)):
            out += member.decompress(data[at : at + 1])
    except zlib.error:
        pass
    return out
