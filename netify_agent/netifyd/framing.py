"""Converts the bytes of a netifyd connection to records.

Detects the format of the stream by its first bytes and selects the reader: JSON or msgpack, plain or
compressed with gzip. The readers handle and count all errors in the stream. No I/O.
"""

from __future__ import annotations

from collections import Counter

from netify_agent.netifyd.gzip_layer import GzipReader
from netify_agent.netifyd.json_framing import JsonReader
from netify_agent.netifyd.json_line_framing import FAST_LOADS, Loads
from netify_agent.netifyd.msgpack_framing import MsgpackReader
from netify_agent.netifyd.records import Reader, Record, Tally

_GZIP = b"\x1f\x8b\x08"  # RFC 1952, 2.3: ID1, ID2 and the method, deflate
# First byte of a msgpack map, and the offset of its first key.
_MAPS = {**dict.fromkeys(range(0x81, 0x90), 1), 0xDE: 3, 0xDF: 5}
_KEYS = frozenset((*range(0xA1, 0xC0), 0xD9, 0xDA, 0xDB))  # first byte of a msgpack string
_MAX_LAYERS = 2  # a payload compressed by netifyd in an HTTP body that is compressed again

_SIGNATURES = (
    (b"\x1f\x8b", "gzip data without a record in it"),
    (b"SSH-", "an SSH server"),
    (b"HTTP/", "an HTTP server"),
    (b"\x16\x03", "a TLS server"),
    (b"\x15\x03", "a TLS server"),
    (b"-ERR", "a Redis server"),
)


class _FormReader:
    """Waits for the first bytes, then selects the reader of their format."""

    def __init__(
        self, max_record_bytes: int, tally: Tally, fast_loads: Loads | None, layers: int = 0
    ) -> None:
        self._fast_loads = fast_loads
        self._max = max_record_bytes
        self._tally = tally
        self._layers = layers
        self._head = b""
        self._reader: Reader | None = None

    @property
    def pending(self) -> bool:
        return self._reader is not None and self._reader.pending

    @property
    def broken(self) -> str | None:
        return self._reader.broken if self._reader is not None else None

    @property
    def held(self) -> int:
        return self._reader.held if self._reader is not None else len(self._head)

    def feed(self, data: bytes) -> list[Record]:
        if self._reader is None:
            self._head += data
            self._reader = self._decide(self._head) if self._head else None
            if self._reader is None:
                return []
            data, self._head = self._head, b""
        return self._reader.feed(data)

    def close(self) -> list[Record]:
        if self._reader is None:
            self._reader = JsonReader(self._max, self._tally, self._fast_loads)
            return self._reader.feed(self._head) + self._reader.close()
        return self._reader.close()

    def _decide(self, head: bytes) -> Reader | None:
        """Return the reader of a stream that begins with ``head``; None if more bytes are needed."""
        if self._layers < _MAX_LAYERS and _GZIP.startswith(head[: len(_GZIP)]):
            if len(head) < len(_GZIP):
                return None
            return GzipReader(
                self._tally, _FormReader(self._max, self._tally, self._fast_loads, self._layers + 1)
            )
        if keys := _MAPS.get(head[0]):
            if len(head) <= keys:
                return None
            if head[keys] in _KEYS:
                return MsgpackReader(self._max, self._tally)
        return JsonReader(self._max, self._tally, self._fast_loads)


class RecordReader:
    """Converts the bytes of one connection to records.

    :ivar records: number of records returned so far.
    """

    def __init__(self, max_record_bytes: int, fast_loads: Loads | None = FAST_LOADS) -> None:
        """The stream must begin at a record boundary.

        :param max_record_bytes: records longer than this, decompressed, are dropped. The buffer stays below
            this limit plus one chunk.
        :param fast_loads: see :class:`~netify_agent.netifyd.json_framing.JsonReader`.
        """
        self.records = 0
        self._tally = Tally()
        self._reader = _FormReader(max_record_bytes, self._tally, fast_loads)

    @property
    def drops(self) -> Counter[str]:
        """Losses by reason; see :class:`~netify_agent.netifyd.records.Tally`."""
        return self._tally.drops

    @property
    def repaired(self) -> int:
        """Records whose text was not UTF-8."""
        return self._tally.repaired

    @property
    def garbage(self) -> bytes:
        """The start of the first bytes dropped as malformed."""
        return self._tally.garbage

    @property
    def untyped(self) -> str | None:
        """A description of the first object without a ``type``; None if there was none."""
        return self._tally.untyped

    @property
    def held(self) -> int:
        """Buffered bytes."""
        return self._reader.held

    @property
    def pending(self) -> bool:
        """Whether input is left to decode: call ``feed(b"")``."""
        return self._reader.pending

    @property
    def broken(self) -> str | None:
        """Why nothing more can be read from this connection; None while it can."""
        return self._reader.broken

    def feed(self, data: bytes) -> list[Record]:
        """Take bytes from the socket and return the completed records in order.

        :param data: any number of bytes, split anywhere.
        :returns: objects that have a ``type``. Strings in them are unchecked text from the network and
            may hold lone surrogates.
        :raises Unreadable: for msgpack without python3-msgpack.
        """
        records = self._reader.feed(data)
        self.records += len(records)
        return records

    def close(self) -> list[Record]:
        """End the stream: return the last records. A truncated record counts as a loss."""
        records = self._reader.close()
        self.records += len(records)
        return records


def describe_foreign(data: bytes) -> str:
    """Describe the first bytes of a peer that is not a netifyd.

    :param data: the first bytes received.
    :returns: a phrase for an error message, without control characters.
    """
    for signature, meaning in _SIGNATURES:
        if data.startswith(signature):
            return meaning
    if data[:1] and (data[0] in _MAPS or data[0] == 0x80):
        return "msgpack data without a record in it"
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data[:40])


def describe_foreign_type(kind: str) -> str:
    """Describe a stream whose records have a ``type`` that no netifyd sends."""
    return f"records of the type '{kind}', which netifyd does not send"
