"""Bytes of a netifyd connection to records: framing, decoding, size limit, resynchronisation.

Everything that a stream can do wrong is handled and counted here, so that nothing to the right has to
know about framing. This module knows no sockets: bytes go in, dictionaries come out.

Framings accepted without being told which (shared facts of netifyd, measured on 4.4.5 unless noted):

* headed: ``{"length": N}`` LF, then N bytes, the last of which is LF. Older v4 releases leave that LF off
  the first payload, so N alone separates it from the next header.
* lines: one JSON object a line (v5's socket sink, and relays).
* blocks: an object over several lines, as ``jq`` prints it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

try:  # An optional, faster decoder (python3-orjson); the standard library's is the reference.
    from orjson import loads as _fast_loads
except ImportError:  # pragma: no cover - which of the two runs depends on what is installed
    _fast_loads = None

Record = dict[str, Any]

#: Why bytes were dropped, as counted in :attr:`RecordReader.drops`.
DROP_REASONS = ("malformed", "oversize", "truncated", "untyped")

_HEADER = re.compile(rb'\{"length"[ \t]*:[ \t]*(\d{1,18})[ \t]*\}[ \t]*\r?\n')
_HEADER_START = b'{"length"'
_HEADER_MAX = 64
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)  # one that never ends takes its line's LF
_BLANKS = frozenset(" \t\r\n")
_SURROGATE = re.compile("[\udc80-\udcff]")
_raw_decode = json.JSONDecoder().raw_decode


def _load_line(line: bytearray) -> Any:
    """The one value that ``line`` is, up to its LF. Raises ValueError for anything else."""
    text = line.decode()
    value, end = _raw_decode(text)
    if end != len(text) - 1:
        raise ValueError("not one value alone")
    return value


_load = _fast_loads or _load_line

_SIGNATURES = (
    (b"\x1f\x8b", "gzip-compressed data (set the sink's 'compressor' to none)"),
    (b"SSH-", "an SSH server"),
    (b"HTTP/", "an HTTP server"),
    (b"\x16\x03", "a TLS server"),
    (b"\x15\x03", "a TLS server"),
    (b"-ERR", "a Redis server"),
)


class RecordReader:
    """Turns the bytes of one connection into records.

    :ivar drops: what was dropped, counted by reason: one count for a record, or for a run of bytes in
        which no record could be found.
    :ivar repaired: records whose text was not UTF-8; they are kept, with the bad bytes as lone
        surrogates (PEP 383), because their counters are as good as any.
    :ivar records: records delivered.
    :ivar untyped: the first JSON object without a ``type``, which is no record of netifyd's.
    :ivar garbage: the start (at most 64 bytes) of the first bytes that were dropped as malformed.
    """

    def __init__(self, max_record_bytes: int) -> None:
        """Start at a record boundary.

        :param max_record_bytes: a record longer than this is dropped; memory stays below this limit
            plus one chunk.
        """
        self.drops: Counter[str] = Counter()
        self.repaired = 0
        self.records = 0
        self.garbage = b""
        self.untyped: Record | None = None
        self._max = max_record_bytes
        self._buffer = bytearray()
        self._need = 1  # bytes the buffer must hold before another look at it can tell anything new
        self._line_scanned = 0  # bytes of the current line already searched for its LF
        self._block_end = 0  # bytes of the current block already measured; 0: not in a block
        self._depth = 0  # open brackets at _block_end
        self._skip_line = False  # inside an oversize line: everything up to its LF goes
        self._resync = False  # inside a run of garbage: only a line that starts with '{' ends it

    def feed(self, data: bytes) -> list[Record]:
        """Take what the socket gave and return the records completed by it, in order.

        :param data: any number of bytes, cut anywhere.
        :returns: objects that have a ``type``. Strings in them are unchecked text from the network and
            may hold lone surrogates.
        """
        buffer = self._buffer
        buffer += data
        if len(buffer) < self._need:
            return []
        out: list[Record] = []
        position = self._plain(out)
        size = len(buffer)
        self._need = 0
        while position < size and not self._need:
            if not self._block_end and not self._skip_line and buffer.startswith(_HEADER_START, position):
                position = self._headed(position, out)
            else:
                position = self._line(position, out)
        del buffer[:position]
        self._need = max(self._need - position, 1)
        self.records += len(out)
        return out

    def close(self) -> None:
        """The connection ended: what is left in the buffer is a record cut short, and is counted."""
        if self._buffer.strip() and not self._resync:
            self.drops["truncated"] += 1
        self._buffer.clear()

    def _plain(self, out: list[Record]) -> int:
        """Take headed records from the start of the buffer for as long as there is nothing odd about them.

        Nearly all are so, and this is half of the cost of the careful way. Returns where the first record
        begins that is to be looked at with care.
        """
        buffer, size = self._buffer, len(self._buffer)
        position = 0
        if self._block_end or self._skip_line:
            return position
        while header := _HEADER.match(buffer, position):
            start = header.end()
            end = start + int(header[1])
            if end > size or end - position > self._max or buffer.find(b"\n", start) != end - 1:
                break
            try:
                value = _load(buffer[start:end])
            except (ValueError, RecursionError):
                break
            if type(value) is not dict or type(value.get("type")) is not str:
                break
            out.append(value)
            position = end
        if position:
            self._resync, self._line_scanned = False, 0
        return position

    def _headed(self, position: int, out: list[Record]) -> int:
        """Take one header and its payload at ``position``; return where to go on, or ask for more."""
        buffer = self._buffer
        self._line_scanned = 0
        header = _HEADER.match(buffer, position)
        if header is None:
            if len(buffer) - position < _HEADER_MAX and buffer.find(b"\n", position) < 0:
                self._need = len(buffer) + 1
                return position
            return self._line(position, out)
        self._resync = False
        start = header.end()
        end = start + int(header[1])
        if end - position > self._max or buffer.find(b"\n", start, end - 1) >= 0:
            # Over the limit, or N is not this payload's length: either way the next LF tells.
            return start
        if len(buffer) < end:
            self._need = len(buffer) + 1
            return position
        rest = self._values(buffer[start:end], out)
        return end - rest if rest < end - start else start

    def _line(self, position: int, out: list[Record]) -> int:
        """Take one line at ``position`` (alone, or as a part of a block); return where to go on."""
        buffer = self._buffer
        start = position + self._block_end
        if self._block_end and buffer.startswith(b"{", start):
            # No printer starts an inner line with a brace: the block was a record cut short.
            self._drop("malformed", bytes(buffer[position:start]))
            self._leave_block()
            return start
        newline = buffer.find(b"\n", start + self._line_scanned)
        if newline < 0:
            if self._skip_line:
                return len(buffer)
            if len(buffer) - position > self._max:
                self._drop("oversize")
                self._resync = self._resync or self._block_end > 0
                self._leave_block()
                self._skip_line = True
                return len(buffer)
            self._line_scanned = len(buffer) - start
            self._need = len(buffer) + 1
            return position
        self._line_scanned = 0
        end = newline + 1
        if self._skip_line:
            self._skip_line = False
            return end
        if self._block_end:
            return self._block_line(position, start, end, out)
        line = bytes(buffer[position:end])
        if len(line) > self._max:
            self._drop("oversize")
            return end
        if not line.strip() or (self._resync and not line.startswith(b"{")):
            return end
        rest = self._values(line, out)
        if rest < len(line):
            return end - rest
        depth = _open_brackets(line)
        if line.startswith(b"{") and depth is not None and depth > 0:
            self._resync = False
            self._block_end, self._depth = end - position, depth
            return position
        self._drop("malformed", line.strip())
        self._resync = True
        return end

    def _values(self, data: bytes | bytearray, out: list[Record]) -> int:
        """Deliver the JSON objects that ``data`` starts with; return how many bytes are left behind them."""
        if not data.startswith(b"{") and not data.lstrip().startswith(b"{"):
            return len(data)
        if _fast_loads is not None:
            try:
                value = _fast_loads(data)
            except ValueError:
                pass  # Not UTF-8, several values, or not JSON: the slow way tells which.
            else:
                self._deliver(value, out)
                return 0
        bad = False
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = data.decode(errors="surrogateescape")
            bad = True
        at = first = 0 if text.startswith("{") else _blank(text, 0)
        while text.startswith("{", at):
            try:
                value, end = _raw_decode(text, at)
            except (ValueError, RecursionError):
                break
            behind = _blank(text, end)
            if at > first and behind == len(text) and _is_header(value):
                break  # It tells the length of what follows.
            if self._deliver(value, out) and bad and _SURROGATE.search(text, at, end):
                self.repaired += 1
            at = behind
        return len(text[at:].encode(errors="surrogateescape")) if at > first else len(data)

    def _block_line(self, position: int, start: int, end: int, out: list[Record]) -> int:
        """Add the line ``start:end`` to the block that began at ``position``."""
        depth = _open_brackets(bytes(self._buffer[start:end]))
        self._depth += depth or 0
        if end - position > self._max:
            self._drop("oversize")
        elif depth is None:
            self._drop("malformed", bytes(self._buffer[position:end]))
        elif self._depth > 0:
            self._block_end = end - position
            return position
        else:
            block = bytes(self._buffer[position:end])
            rest = self._values(block, out)
            if rest < len(block):
                self._leave_block()
                return end - rest
            self._drop("malformed", block)
        self._leave_block()
        self._resync = True
        return end

    def _leave_block(self) -> None:
        self._block_end = self._line_scanned = self._depth = 0

    def _deliver(self, value: Record, out: list[Record]) -> bool:
        """Keep ``value`` if it has a type; a length header on its own (a relay's) is no loss."""
        self._resync = False
        if isinstance(value.get("type"), str):
            out.append(value)
            return True
        if not _is_header(value):
            self._drop("untyped")
            self.untyped = self.untyped or value
        return False

    def _drop(self, reason: str, sample: bytes = b"") -> None:
        if not self._resync:
            self.drops[reason] += 1
            self.garbage = self.garbage or sample[:64]


def _blank(text: str, at: int) -> int:
    """Where the blanks that begin at ``at`` end."""
    while text[at : at + 1] in _BLANKS:
        at += 1
    return at


def _is_header(value: Record) -> bool:
    return value.keys() == {"length"}


def _open_brackets(line: bytes) -> int | None:
    """How many brackets ``line`` leaves open (negative: closes); None if a string in it never ends."""
    bare = _STRING.sub(b"", line)
    if not bare.endswith(b"\n"):
        return None
    return bare.count(b"{") + bare.count(b"[") - bare.count(b"}") - bare.count(b"]")


def describe_foreign(data: bytes) -> str:
    """Say in words what ``data``, the first bytes of a peer that is no netifyd, seem to be.

    :param data: at least the first bytes of what was received.
    :returns: a phrase for an error message, without control characters.
    """
    for signature, meaning in _SIGNATURES:
        if data.startswith(signature):
            return meaning
    if data[:1] in (b"\xde", b"\xdf") or b"\x80" <= data[:1] <= b"\x8f":
        return "msgpack data (set the sink's 'format' to json)"
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data[:40])


def describe_untyped(value: Record) -> str:
    """Say in words what ``value``, a JSON object without a ``type``, seems to be.

    :returns: a phrase for an error message, without control characters.
    """
    if "log_time_start" in value and isinstance(value.get("stats"), list):
        return (
            "reports of netifyd's aggregator (netify-proc-aggregator: log_time_start, stats): the sink's "
            "channel must get stream-flows and stream-stats of netify-proc-core instead"
        )
    keys = ", ".join("".join(c if c.isprintable() else "." for c in key[:20]) for key in list(value)[:5])
    return f"JSON objects without 'type' (their keys: {keys or 'none'})"
