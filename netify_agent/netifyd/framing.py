"""Bytes of a netifyd connection to records.

Finds out the form of the stream by its first byte and hands it to the reader of that form: JSON or msgpack,
plain or compressed with gzip. Whatever a stream can do wrong is handled and counted behind this module, which
knows no sockets: bytes go in, dictionaries come out.
"""

from __future__ import annotations

from collections import Counter

from netify_agent.netifyd.gzip_layer import GzipReader
from netify_agent.netifyd.json_framing import JsonReader
from netify_agent.netifyd.msgpack_framing import MsgpackReader
from netify_agent.netifyd.records import Reader, Record, Tally

_GZIP = b"\x1f\x8b\x08"  # RFC 1952, 2.3: its identification, and deflate
# The first byte of a msgpack map, and how many bytes later its first key begins.
_MAPS = {**dict.fromkeys(range(0x81, 0x90), 1), 0xDE: 3, 0xDF: 5}
_KEYS = frozenset((*range(0xA1, 0xC0), 0xD9, 0xDA, 0xDB))  # first byte of a msgpack string
_MAX_LAYERS = 2  # a payload compressed by netifyd, inside a body compressed by HTTP

_SIGNATURES = (
    (b"\x1f\x8b", "gzip data without a record in it"),
    (b"SSH-", "an SSH server"),
    (b"HTTP/", "an HTTP server"),
    (b"\x16\x03", "a TLS server"),
    (b"\x15\x03", "a TLS server"),
    (b"-ERR", "a Redis server"),
)


class _FormReader:
    """Waits for the first bytes, then reads with the reader of the form that they show."""

    def __init__(self, max_record_bytes: int, tally: Tally, layers: int = 0) -> None:
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
            self._reader = JsonReader(self._max, self._tally)
            return self._reader.feed(self._head) + self._reader.close()
        return self._reader.close()

    def _decide(self, head: bytes) -> Reader | None:
        """The reader of a stream that begins with ``head``; None if that does not show the form yet."""
        if self._layers < _MAX_LAYERS and _GZIP.startswith(head[: len(_GZIP)]):
            if len(head) < len(_GZIP):
                return None
            return GzipReader(self._tally, _FormReader(self._max, self._tally, self._layers + 1))
        if keys := _MAPS.get(head[0]):
            if len(head) <= keys:
                return None
            if head[keys] in _KEYS:
                return MsgpackReader(self._max, self._tally)
        return JsonReader(self._max, self._tally)


class RecordReader:
    """Turns the bytes of one connection into records.

    :ivar records: records delivered.
    """

    def __init__(self, max_record_bytes: int) -> None:
        """Start at a record boundary.

        :param max_record_bytes: a record longer than this, decompressed, is dropped. Memory stays below this
            limit plus one chunk.
        """
        self.records = 0
        self._tally = Tally()
        self._reader = _FormReader(max_record_bytes, self._tally)

    @property
    def drops(self) -> Counter[str]:
        """What was dropped, by reason; see :class:`~netify_agent.netifyd.records.Tally`."""
        return self._tally.drops

    @property
    def repaired(self) -> int:
        """Records whose text was not UTF-8."""
        return self._tally.repaired

    @property
    def garbage(self) -> bytes:
        """The start of the first bytes that were dropped as malformed."""
        return self._tally.garbage

    @property
    def untyped(self) -> str | None:
        """What the first object without a ``type`` looks like; None if there was none."""
        return self._tally.untyped

    @property
    def held(self) -> int:
        """Bytes kept until more arrive."""
        return self._reader.held

    @property
    def pending(self) -> bool:
        """Whether input waits that was not decoded yet: call ``feed(b"")``."""
        return self._reader.pending

    @property
    def broken(self) -> str | None:
        """Why nothing more can be read from this connection; None while it can."""
        return self._reader.broken

    def feed(self, data: bytes) -> list[Record]:
        """Take what the socket gave and return the records completed by it, in order.

        :param data: any number of bytes, cut anywhere.
        :returns: objects that have a ``type``. Strings in them are unchecked text from the network and
            may hold lone surrogates.
        :raises Unreadable: for msgpack without python3-msgpack.
        """
        records = self._reader.feed(data)
        self.records += len(records)
        return records

    def close(self) -> list[Record]:
        """The connection ended: return what its end completes, and count what it cut short."""
        records = self._reader.close()
        self.records += len(records)
        return records


def describe_foreign(data: bytes) -> str:
    """Say in words what ``data``, the first bytes of a peer that is no netifyd, seem to be.

    :param data: at least the first bytes of what was received.
    :returns: a phrase for an error message, without control characters.
    """
    for signature, meaning in _SIGNATURES:
        if data.startswith(signature):
            return meaning
    if data[:1] and (data[0] in _MAPS or data[0] == 0x80):
        return "msgpack data without a record in it"
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data[:40])
