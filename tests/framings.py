"""Records in every framing, and helpers to read them. Used by the tests of the stream."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from support import framed

from netify_agent.netifyd.framing import RecordReader
from netify_agent.netifyd.json_line_framing import Loads
from netify_agent.netifyd.records import DROP_REASONS

LIMIT = 1 << 16
Read = Callable[..., tuple[list[Any], Counter[str], int]]
MakeReader = Callable[[int], RecordReader]
A = {"type": "flow", "flow": {"digest": "a", "text": "tab\there, {brace}, \"quote\" and \\ and 'ü'"}}
B = {"type": "flow_stats", "flow": {"digest": "b", "counts": [1, 2, {"deep": [[]]}]}}
C = {"type": "agent_hello"}


def strict_loads(data: str | bytes | bytearray) -> Any:
    """As strict as msgspec: UTF-8 alone, one value alone, no lone surrogates, no depth above 1024."""
    text = data if isinstance(data, str) else data.decode()
    if "\\ud8" in text or text.count("[") > 1024:
        raise ValueError("not for a strict decoder")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("too deep") from error


def decoders() -> list[Loads | None]:
    """None, a strict decoder, and msgspec if installed."""
    try:
        import msgspec
    except ImportError:
        return [None, strict_loads]
    return [None, strict_loads, msgspec.json.Decoder().decode]


def compact(record: Any) -> bytes:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()


def line(record: Any) -> bytes:
    return compact(record) + b"\n"


def headed(record: Any) -> bytes:
    return framed(line(record))


def headed_crlf(record: Any) -> bytes:
    payload = compact(record) + b"\r\n"
    return b'{"length": %d}\r\n' % len(payload) + payload


def pretty(record: Any) -> bytes:
    """As ``jq .`` prints it."""
    return json.dumps(record, indent=2, ensure_ascii=False).encode() + b"\n"


def pretty_crlf(record: Any) -> bytes:
    return pretty(record).replace(b"\n", b"\r\n")


def piped(record: Any) -> bytes:
    """A headed record that went through ``jq .``: the header is a block too, its length that of before."""
    return pretty({"length": len(line(record))}) + pretty(record)


def piped_compact(record: Any) -> bytes:
    """A headed record that went through ``jq -c``: its length is that of a longer text."""
    return b'{"length":%d}\n' % (len(line(record)) + 7) + line(record)


def lying(by: int) -> Callable[[Any], bytes]:
    def frame(record: Any) -> bytes:
        return b'{"length": %d}\n' % max(len(line(record)) + by, 0) + line(record)

    return frame


FRAMINGS: dict[str, Callable[[Any], bytes]] = {
    "headed": headed,
    "headed, CRLF": headed_crlf,
    "line": line,
    "line, CRLF": lambda record: compact(record) + b"\r\n",
    "nothing between": compact,
    "headed, nothing between": lambda record: b'{"length": %d}' % len(compact(record)) + compact(record),
    "header of the compressed length": lambda record: (
        b'{"length": %d}' % (len(line(record)) // 3) + line(record)
    ),
    "block": pretty,
    "block, CRLF": pretty_crlf,
    "block behind a block header": piped,
    "line behind a header that is too long": piped_compact,
    "header says 1 less": lying(-1),
    "header says 5 less": lying(-5),
    "header says nothing": lying(-LIMIT),
    "header says 1 more": lying(1),
    "header says 500 more": lying(500),
    "header says more than the limit": lying(LIMIT),
    "header says more than there is in the world": lying(10**17),
    "spaces around": lambda record: b"  " + compact(record) + b" \t\n",
}
each_framing = pytest.mark.parametrize("frame", FRAMINGS.values(), ids=FRAMINGS.keys())


def read_with(
    loads: Loads | None, chunks: Iterable[bytes], limit: int = LIMIT
) -> tuple[list[Any], Counter[str], int]:
    """Read ``chunks`` and check the size of the buffer meanwhile.

    :param loads: the fast decoder; None: the standard library's alone.
    :returns: records, drops and the number of repaired records.
    """
    reader = RecordReader(limit, loads)
    records = []
    for chunk in chunks:
        records += reader.feed(chunk)
        while reader.pending:
            records += reader.feed(b"")
        assert reader.held <= limit
    records += reader.close()
    assert reader.records == len(records)
    assert set(reader.drops) <= set(DROP_REASONS)
    return records, +reader.drops, reader.repaired


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def one_by_one(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]
