"""Fast path of the JSON framing: lines with one record each, with or without length headers on lines between.

Nearly all streams are such lines. All of one read are decoded in one call, which takes two thirds of the time
of one call each, and lets the records share the strings of their keys. What is not well-formed is left to
:mod:`netify_agent.netifyd.json_framing`.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from typing import Any

from netify_agent.netifyd.records import Record

#: Decodes one JSON value. Raises ValueError for anything else, RecursionError if it is nested too deep.
Loads = Callable[[str | bytes | bytearray], Any]

#: An optional, faster decoder (python3-msgspec). The standard library's is the reference: a record that only
#: the latter takes (not UTF-8, NaN, lone surrogates, ...) is decoded by it.
FAST_LOADS: Loads | None = None
try:
    import msgspec
except ImportError:  # pragma: no cover - depends on the installed packages
    pass
else:  # pragma: no cover - `make test-fast` installs the package
    FAST_LOADS = msgspec.json.Decoder().decode

_HEADER = re.compile(r'\{"length"[ \t]*:[ \t]*[0-9]{1,18}[ \t]*\}[ \t]*\r?')
_HEADER_MAX = 64
#: Put between the lines. No line holds it, so it shows that each line is one value: a line end may also be
#: inside a value, and several values on one line.
_MARK = secrets.token_hex(8)


def decode_lines(lines: bytearray, fast_loads: Loads | None) -> list[Record] | None:
    """Decode ``lines``, each with its LF.

    :param fast_loads: decoder to try before the reference decoder; None: only the latter.
    :returns: the records; None if any line is neither one record nor a header.
    """
    try:
        text = lines.decode()
    except UnicodeDecodeError:
        return None
    payloads = [
        line for line in text[:-1].split("\n") if len(line) > _HEADER_MAX or not _HEADER.fullmatch(line)
    ]
    array = "[" + f',"{_MARK}",'.join(payloads) + "]"
    for loads in (fast_loads, json.loads):
        if loads is not None:
            try:
                return _records(loads(array), len(payloads))
            except (ValueError, RecursionError):
                pass  # The reference decoder, or the general path, decides.
    return None


def _records(values: list[Any], count: int) -> list[Record] | None:
    """Take ``count`` records out of ``values``, which are to have a mark between any two; None if not."""
    records: list[Record] = values[::2]
    if len(values) != 2 * count - 1 or values[1::2].count(_MARK) != count - 1:
        return None
    for record in records:
        if type(record) is not dict or type(record.get("type")) is not str:
            return None
    return records
