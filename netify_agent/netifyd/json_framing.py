"""Splits a stream of JSON objects into records, whatever separates the objects.

These separators are detected automatically and may be mixed (measured on netifyd 4.4.5 unless noted):

* headers: ``{"length": N}``, then N bytes. 4.4.5 ends the header and the payload with LF. Older v4 releases
  leave the LF off the first payload, so N alone separates it from the next header; v5 may have none at all.
* lines: one object per line (v5's socket sink, and relays).
* nothing: object after object (v5's socket sink, depending on the build).
* pretty: an object over several lines, as ``jq`` prints it.

After invalid bytes, reading resumes at the next line or at the next seam between two objects.
"""

from __future__ import annotations

import json
import re

from netify_agent.netifyd.json_line_framing import FAST_LOADS, Loads, decode_lines
from netify_agent.netifyd.records import Record, Tally, is_header

_HEADER = re.compile(rb'\{"length"[ \t]*:[ \t]*(\d{1,18})[ \t]*\}[ \t]*(?:\r?\n|(?=\{))')
_HEADER_ALONE = re.compile(rb'\s*\{"length"\s*:\s*\d+\s*\}\s*')
_HEADER_START = b'{"length"'
_HEADER_MAX = 64
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)  # an unterminated string includes the LF
_BLANKS = frozenset(" \t\r\n")
# The seam between two objects without a separator. Inside an object these bytes can only be the end of a
# string, because a quote within a string is escaped; then one of _CLOSING follows.
_SEAM = b'}{"'
_CLOSING = frozenset(b",}]: \t\r\n")
_LF = 10
_SURROGATE = re.compile("[\udc80-\udcff]")
_raw_decode = json.JSONDecoder().raw_decode


class JsonReader:
    """Finds and decodes JSON objects."""

    pending = False
    broken = None

    def __init__(self, max_record_bytes: int, tally: Tally, fast_loads: Loads | None = FAST_LOADS) -> None:
        """The stream must begin at a record boundary.

        :param max_record_bytes: a record longer than this, separator included, is dropped. The buffer stays
            below this limit plus one chunk.
        :param fast_loads: decoder to try before the reference decoder; None: only the latter.
        """
        self._fast_loads = fast_loads
        self._tally = tally
        self._buffer = bytearray()
        self._max = max_record_bytes
        self._need = 1  # bytes that the buffer must hold before it is worth another scan
        self._line_scanned = 0  # bytes of the current line already searched for LF
        self._early = 0  # size from which to try to decode a line without its end
        self._ending = False  # after an object taken before its line ended: skip the blanks
        self._block_end = 0  # bytes of the current multi-line object already scanned; 0: not in one
        self._depth = 0  # open brackets at _block_end
        self._skip_line = False  # in an oversize line: skip to its end
        self._resync = False  # in a run of invalid bytes, which ends at a line that starts with '{'

    @property
    def held(self) -> int:
        """Buffered bytes."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Record]:
        """Take bytes, split anywhere; return the completed records in order.

        Strings in a record are unchecked text from the network and may hold lone surrogates.
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
            if self._ending:
                position = self._line_end(position)
            elif not self._block_end and not self._skip_line and buffer.startswith(_HEADER_START, position):
                position = self._headed(position, out)
            else:
                position = self._line(position, out)
        del buffer[:position]
        self._need = max(self._need - position, 1)
        return out

    def close(self) -> list[Record]:
        """End the stream: return a last record without a line end. A truncated one counts as a loss."""
        out: list[Record] = []
        data = bytes(self._buffer)
        self._buffer.clear()
        if self._skip_line or not data.strip() or (self._resync and not data.startswith(b"{")):
            return out
        left = len(data)
        if not _HEADER_ALONE.fullmatch(data):
            fitting = data[: self._max - 1]
            left += self._values(fitting, out) - len(fitting)
        if data[len(data) - left :].strip() and not self._resync:
            self._tally.drop("truncated")
        return out

    def _plain(self, out: list[Record]) -> int:
        """Fast path: take all whole lines in the buffer if each is one record or a length header.

        Nearly all are, and this costs half as much as the general path. The headers are not needed, because
        the line ends delimit the records.

        :returns: the position of the remaining bytes.
        """
        buffer = self._buffer
        if self._block_end or self._skip_line or (self._resync and not buffer.startswith(b"{")):
            return 0
        # No line exceeds the limit if all of them together do not.
        end = buffer.rfind(b"\n", self._line_scanned, self._max) + 1
        last = buffer.rfind(b"\n", 0, max(end - 1, 0)) + 1
        if buffer.startswith(_HEADER_START, last):
            end = last  # a header without its payload
        records = decode_lines(buffer[:end], self._fast_loads) if end else None
        if records is None:
            return 0
        out += records
        self._resync, self._ending, self._line_scanned, self._early = False, False, 0, 0
        return end

    def _headed(self, position: int, out: list[Record]) -> int:
        """Take one header and its payload at ``position``; return the next position, or set ``_need``."""
        buffer = self._buffer
        self._line_scanned = self._early = 0
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
            # Over the limit, or N is not the length of this payload. Find the end by the next LF instead.
            return start
        if len(buffer) < end:
            self._need = len(buffer) + 1
            return position
        rest = self._values(buffer[start:end], out)
        return end - rest if rest < end - start else start

    def _line(self, position: int, out: list[Record]) -> int:
        """Take one line at ``position``, alone or as part of a block; return the next position.

        A block is an object over several lines.
        """
        buffer = self._buffer
        start = position + self._block_end
        if self._block_end and buffer.startswith(b"{", start):
            # No printer starts an inner line with a brace: the block is a truncated record.
            self._drop("malformed", bytes(buffer[position:start]))
            self._leave_block()
            return start
        end = buffer.find(b"\n", start + self._line_scanned) + 1
        separator = 0  # bytes after the end that were needed to find it
        if not self._block_end:
            seam = self._seam(start + max(self._line_scanned - len(_SEAM), 0), end or len(buffer))
            if seam:
                end, separator = seam, len(_SEAM)
        if not end:
            return self._unended_line(position, start, out)
        self._line_scanned = self._early = 0
        if self._skip_line:
            self._skip_line = False
            return end
        if self._block_end:
            return self._block_line(position, start, end, out)
        if end - position + separator > self._max:
            return self._oversize_line(position, end, out)
        line = bytes(buffer[position:end])
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

    def _unended_line(self, position: int, start: int, out: list[Record]) -> int:
        """Handle a line without its end at ``start``; return the next position, or set ``_need``."""
        buffer = self._buffer
        size = len(buffer) - position
        if self._skip_line:
            self._need = len(buffer) + 1
            self._line_scanned = min(size, len(_SEAM))
            return len(buffer) - self._line_scanned
        if size > self._max:
            if not self._block_end:
                return self._oversize_line(position, 0, out)
            self._drop("oversize")
            self._leave_block()
            self._resync = True
            return start
        if not self._block_end and self._early <= size < self._max and buffer.endswith(b"}"):
            # The object may be complete. After a failed attempt, wait for twice as many bytes, so that the
            # total cost of the attempts stays linear.
            if buffer.startswith(b"{", position):
                rest = self._values(bytes(buffer[position:]), out)
                if rest < size:
                    self._line_scanned = self._early = 0
                    self._ending = True
                    return len(buffer) - rest
            self._early = 2 * size
        self._line_scanned = len(buffer) - start
        self._need = len(buffer) + 1
        return position

    def _oversize_line(self, position: int, end: int, out: list[Record]) -> int:
        """Take the records at the start of a line over the limit, or drop it. ``end`` is 0 if unknown."""
        self._line_scanned = self._early = 0
        fitting = bytes(self._buffer[position : position + self._max - 1])
        if fitting.startswith(b"{"):
            rest = self._values(fitting, out)
            if rest < len(fitting):
                self._ending = True
                return position + len(fitting) - rest
        self._drop("oversize")
        self._skip_line = not end
        return end or position

    def _line_end(self, position: int) -> int:
        """Skip the blanks after an object, and its LF; return the next position."""
        buffer = self._buffer
        while position < len(buffer) and self._ending:
            self._ending = buffer[position] in b" \t\r"
            if self._ending or buffer[position] == _LF:
                position += 1
        return position

    def _seam(self, at: int, stop: int) -> int:
        """Return the end of an object directly followed by another, searching from ``at``; 0 if none."""
        buffer = self._buffer
        while (at := buffer.find(_SEAM, at, stop)) >= 0:
            at += 1
            after = at + len(_SEAM) - 1
            if after < len(buffer) and buffer[after] not in _CLOSING:
                return at
        return 0

    def _values(self, data: bytes | bytearray, out: list[Record]) -> int:
        """Deliver the JSON objects at the start of ``data``; return the number of bytes left after them."""
        if not data.startswith(b"{") and not data.lstrip().startswith(b"{"):
            return len(data)
        if self._fast_loads is not None:
            try:
                value = self._fast_loads(data)
            except (ValueError, RecursionError):
                pass  # Not UTF-8, several values, nested too deep, or not JSON: the code below decides.
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
            if at > first and behind == len(text) and is_header(value):
                break  # It is the header of the next payload.
            if self._deliver(value, out) and bad and _SURROGATE.search(text, at, end):
                self._tally.repaired += 1
            at = behind
        return len(text[at:].encode(errors="surrogateescape")) if at > first else len(data)

    def _block_line(self, position: int, start: int, end: int, out: list[Record]) -> int:
        """Add the line ``start:end`` to the block that began at ``position``."""
        depth = _open_brackets(bytes(self._buffer[start:end]))
        self._depth += depth or 0
        if end - position > self._max:
            self._drop("oversize")
            end = start  # its last line may contain a seam
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
        self._block_end = self._line_scanned = self._early = self._depth = 0

    def _deliver(self, value: Record, out: list[Record]) -> bool:
        """Keep ``value`` if it is a record."""
        self._resync = False
        return self._tally.accept(value, out)

    def _drop(self, reason: str, sample: bytes = b"") -> None:
        """Count one loss per run of invalid bytes."""
        if not self._resync:
            self._tally.drop(reason, sample)


def _blank(text: str, at: int) -> int:
    """Return the position after the blanks at ``at``."""
    while text[at : at + 1] in _BLANKS:
        at += 1
    return at


def _open_brackets(line: bytes) -> int | None:
    """Return the change in bracket depth over ``line``; None if a string in it is unterminated."""
    bare = _STRING.sub(b"", line)
    if not bare.endswith(b"\n"):
        return None
    return bare.count(b"{") + bare.count(b"[") - bare.count(b"}") - bare.count(b"]")
