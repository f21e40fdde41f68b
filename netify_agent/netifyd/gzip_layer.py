"""The gzip layer: decompresses members in order and passes their content to the inner reader.

netifyd v5 compresses each payload as a separate gzip member. A relay or an HTTP client may compress
everything as one stream. A damaged stream is not resumed, because text inside a record could imitate the
start of the next member. The stream is declared broken, and the caller connects again.
"""

from __future__ import annotations

import io
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

from netify_agent.netifyd.records import Reader, Record, Tally

if TYPE_CHECKING:
    from zlib import _Decompress

#: Decompressed bytes per :meth:`GzipReader.feed`. Bounds memory and the time the accounting is locked.
PIECE_BYTES = 65536
_WITH_GZIP_HEADER = 31  # wbits of zlib.decompressobj
_BETWEEN = b"\r\n"  # some builds end each payload with LF


class GzipReader:
    """Decompresses the data and feeds it to ``inner``."""

    def __init__(self, tally: Tally, inner: Reader) -> None:
        self._tally = tally
        self._inner = inner
        self._member: _Decompress | None = None
        self._input = b""
        self._damage = ""
        self._broken: str | None = None

    @property
    def pending(self) -> bool:
        """Whether bytes of this layer or the inner reader wait for the next call."""
        return self.broken is None and (bool(self._input) or self._inner.pending)

    @property
    def broken(self) -> str | None:
        """Why nothing more can be read; None while it can."""
        return self._broken or self._inner.broken

    @property
    def held(self) -> int:
        """Buffered bytes, compressed and decompressed."""
        return len(self._input) + self._inner.held

    def feed(self, data: bytes) -> list[Record]:
        """Add ``data`` and decompress at most :data:`PIECE_BYTES`; ``pending`` says whether more is left."""
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
        """Decompress the input up to ``room`` bytes."""
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
        """End the stream. A truncated member, or a truncated record in it, counts as one loss."""
        drops = self._tally.drops
        losses = drops["truncated"]
        out = self._inner.close()
        if self._broken is not None:
            drops["truncated"] = losses  # the damage is already counted
        elif self._member is not None and self._inner.broken is None:
            drops["truncated"] = losses + 1
        self._input, self._member = b"", None
        return out


def _salvage(member: _Decompress, data: bytes) -> bytes:
    """Return the content before the damage in ``data``; ``decompress`` raises without returning it."""
    content = io.BytesIO()
    with suppress(zlib.error):
        content.writelines(member.decompress(data[at : at + 1]) for at in range(len(data)))
    return content.getvalue()
