"""The fast decoder and the standard library's give equal records and equal losses, also of odd input."""

from __future__ import annotations

import json
from typing import Any

import pytest
from framings import FRAMINGS, pieces, read_with
from hypothesis import example, given
from hypothesis import strategies as st

from netify_agent.netifyd.json_line_framing import FAST_LOADS

pytestmark = pytest.mark.skipif(FAST_LOADS is None, reason="msgspec is not installed")

_NUMBERS = st.sampled_from(
    [
        "0",
        "-0",
        "1",
        "1.0",
        "1e3",
        "1E400",
        "-1e-400",
        "0.1",
        "9007199254740993",
        "9007199254740993.0",
        "18446744073709551616",
        "01",
        "1.",
        ".5",
        "NaN",
        "Infinity",
        "-Infinity",
        "+1",
        "-",
        "1e",
    ]
) | st.integers().map(str)
_TEXTS = st.text(st.characters()).map(json.dumps) | st.sampled_from(
    [r'"\ud800"', r'"\ud83d\ude00"', '"\x01"', '"\x7f"', r'"\q"', r'"\u12"', '"ü€"', '"\ufffe"', '"']
)
_VALUES = st.recursive(
    _NUMBERS | _TEXTS | st.sampled_from(["null", "true", "false", "nul"]),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda values: "[" + ",".join(values) + "]")
        | st.lists(st.tuples(_TEXTS, inner), max_size=4).map(
            lambda pairs: "{" + ",".join(f"{name}:{value}" for name, value in pairs) + "}"
        )
    ),
    max_leaves=8,
)
_NAMES = st.sampled_from(["type", "flow", "digest", "local_bytes", "log_time_start", "stats", "length", "x"])
_FIELDS = st.lists(st.tuples(_NAMES.map(json.dumps), _VALUES), max_size=6)
_NESTED = '{"type":"flow","flow":' + "[" * 5000 + "]" * 5000 + "}"
_DUPLICATES = '{"type":1,"type":"flow","flow":{"digest":"a"},"flow":{"digest":"b","digest":"c"}}'


def _same(value: Any) -> str:
    """Text that is equal for equal values of equal types; NaN is equal to itself."""
    return repr(value)


def _object(fields: list[tuple[str, str]]) -> bytes:
    text = ",".join([*(f"{name}:{value}" for name, value in fields), '"type":"flow_stats"'])
    return f"{{{text}}}".encode(errors="surrogatepass")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
@given(
    objects=st.lists(_FIELDS.map(_object), min_size=1, max_size=4),
    spoiled=st.none() | st.binary(min_size=1, max_size=3),
    cuts=st.lists(st.integers(0), max_size=3),
)
@example(objects=[_NESTED.encode(), _DUPLICATES.encode()], spoiled=None, cuts=[7])
@example(objects=[b'{"type":"flow","x":"\xff"}', b'{"type":"flow","\xed\xa0\x80":1}'], spoiled=None, cuts=[])
def test_equal_records(end: bytes, objects: list[bytes], spoiled: bytes | None, cuts: list[int]) -> None:
    stream = b"".join(one + end for one in objects)
    if spoiled is not None:
        middle = len(stream) // 2
        stream = stream[:middle] + spoiled + stream[middle:]
    chunks = pieces(stream, cuts)

    assert _same(read_with(FAST_LOADS, chunks)) == _same(read_with(None, chunks))


@pytest.mark.parametrize("frame", FRAMINGS.values(), ids=FRAMINGS.keys())
def test_an_object_that_is_nested_too_deep_costs_one_record(frame: Any) -> None:
    stream = frame({"type": "flow"}) + frame(json.loads('{"type":"x","y":' + "[" * 900 + "]" * 900 + "}"))
    stream += _NESTED.encode() + b"\n" + frame({"type": "flow_stats"})

    assert _same(read_with(FAST_LOADS, [stream])) == _same(read_with(None, [stream]))
