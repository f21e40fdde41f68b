"""Fast path of the JSON framing: records on a line each, with or without a length header before each.

Nearly all records are, and this costs half as much as the general path. It takes what is well-formed, and
leaves the rest to :mod:`netify_agent.netifyd.json_framing`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from netify_agent.netifyd.records import Record, is_header

#: Decodes JSON values, with or without blanks between them. Raises ValueError for anything else,
#: RecursionError if one is nested too deep.
Decode = Callable[[bytes | bytearray], list[Any]]

#: An optional, faster decoder (python3-msgspec). The standard library's is the reference: a record that only
#: the latter takes (not UTF-8, NaN, lone surrogates, ...) is decoded by it.
FAST_DECODE: Decode | None = None
try:
    import msgspec
except ImportError:  # pragma: no cover - depends on the installed packages
    pass
else:  # pragma: no cover - `make test-fast` installs the package
    FAST_DECODE = msgspec.json.Decoder().decode_lines

_HEADER = re.compile(r'\{"length"[ \t]*:[ \t]*[0-9]{1,18}[ \t]*\}[ \t]*(?:\r?\n|(?=\{))')
_raw_decode = json.JSONDecoder().raw_decode


def take_lines(lines: bytearray, fast: Decode | None, out: list[Record]) -> int:
    """Append the records at the start of ``lines`` to ``out``, up to the first that is not plain.

    Headers between them are not needed, because the line ends delimit the records.

    :param lines: whole lines, the last one with its LF.
    :param fast: decoder to try before the reference decoder; None: only the latter.
    :returns: the number of bytes of these records.
    """
    if fast is not None and (records := _decode_all(lines, fast)) is not None:
        out += records
        return len(lines)
    try:
        text = lines.decode()
    except UnicodeDecodeError as error:
        text = lines[: lines.rfind(b"\n", 0, error.start) + 1].decode()
    position, size = 0, len(text)
    while position < size:
        header = _HEADER.match(text, position)
        start = header.end() if header else position
        try:
            value, end = _raw_decode(text, start)
        except (ValueError, RecursionError):
            break
        if end != text.find("\n", start) or type(value) is not dict or type(value.get("type")) is not str:
            break
        out.append(value)
        position = end + 1
    return position if text.isascii() else len(text[:position].encode())


def _decode_all(lines: bytearray, fast: Decode) -> list[Record] | None:
    """Decode all of ``lines`` with the fast decoder; None if some line is not plain."""
    # An object that begins a line inside a value is a record of its own. There is none if all lines end with
    # a brace, because no value holds a line end between } and {.
    if not lines.startswith(b"{") or lines.count(b"\n") != lines.count(b"}\n"):
        return None
    try:
        values = fast(lines)
    except (ValueError, RecursionError):
        return None
    records = []
    for value in values:
        if type(value) is not dict:
            return None
        if type(value.get("type")) is str:
            records.append(value)
        elif not is_header(value):
            return None
    return records
