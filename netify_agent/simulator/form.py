"""How payloads are encoded: format, framing, compression.

v4 has one form. v5's core processor has a format and a compressor for each channel of a sink, and whether its
socket sink ends a payload with LF depends on the build. Relays print JSON over several lines.
"""

from __future__ import annotations

import gzip
import json
from typing import Any, NamedTuple

try:
    import msgpack
except ImportError:  # pragma: no cover - the package is optional
    msgpack = None

FORMATS = ("json", "msgpack")
FRAMINGS = ("lines", "none", "headers", "pretty")
COMPRESSORS = ("none", "gz")


class Form(NamedTuple):
    """The format of a stream.

    :ivar format: of a payload: json or msgpack.
    :ivar framing: lines (LF behind each payload), none (nothing between them), headers (``{"length": N}``
        before each, as a payload of its own) or pretty (JSON over several lines).
    :ivar compress: none, or gz: each payload is a gzip member of its own.
    """

    format: str = "json"
    framing: str = "lines"
    compress: str = "none"

    def problem(self) -> str | None:
        """Return what is invalid, with the flag of the command; None if nothing is."""
        for flag, value, allowed in (
            ("--format", self.format, FORMATS),
            ("--framing", self.framing, FRAMINGS),
            ("--compress", self.compress, COMPRESSORS),
        ):
            if value not in allowed:
                return f"{flag}: {value!r}, allowed are {', '.join(allowed)}"
        if self.format == "msgpack" and self.framing == "pretty":
            return "--framing: 'pretty', allowed with --format json only"
        if self.format == "msgpack" and msgpack is None:
            return "--format: 'msgpack' needs the package python3-msgpack (not installed)"
        return None

    def encode(self, line: bytes) -> bytes:
        """Encode one record.

        :param line: the record as a line of JSON that ends in LF.
        """
        if self.format == "msgpack":
            data = _packed(json.loads(line))
        elif self.framing == "pretty":
            data = json.dumps(json.loads(line), indent=2, ensure_ascii=False).encode() + b"\n"
        else:
            data = line if self.framing != "none" else line[:-1]
        if self.framing == "headers":
            return self._compressed(self._header(len(data))) + self._compressed(data)
        return self._compressed(data + b"\n" if (self.format, self.framing) == ("msgpack", "lines") else data)

    def _header(self, length: int) -> bytes:
        return b'{"length": %d}\n' % length if self.format == "json" else _packed({"length": length})

    def _compressed(self, data: bytes) -> bytes:
        return gzip.compress(data, mtime=0) if self.compress == "gz" else data


def _packed(value: object) -> bytes:
    packed: Any = msgpack.packb(value)
    return bytes(packed)


def usual_form(version: int) -> Form:
    """Return the format of netifyd v4, or of v5's socket sink with one line per payload."""
    return Form(framing="headers" if version == 4 else "lines")


def frame(line: bytes, version: int) -> bytes:
    """Encode one payload line in the default format of the version."""
    return usual_form(version).encode(line)
