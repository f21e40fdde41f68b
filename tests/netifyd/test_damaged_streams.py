"""Damaged or foreign data in a stream: good records are kept, and each loss counts once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from framings import (
    FRAMINGS,
    LIMIT,
    A,
    B,
    C,
    MakeReader,
    Read,
    compact,
    headed,
    line,
    one_by_one,
    pieces,
    pretty,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from support import framed

from netify_agent.netifyd.framing import describe_foreign

# -- invalid records -----------------------------------------------------------------------------------


def test_each_reason_of_a_drop_is_counted_as_itself(read: Read) -> None:
    data = b"garbage\n" + line(A) + line({"no": "type"}) + line({"type": 7}) + line({"type": "x" * 2000})
    data += line(B) + b'{"type": "cut'

    assert read([data], 1000) == ([A, B], Counter(malformed=1, untyped=2, oversize=1, truncated=1), 0)


def test_a_run_of_invalid_bytes_is_one_loss(read: Read) -> None:
    data = (
        line(A) + b"\x00garbage\nmore\n[1, 2]\n123\nnull\n}\n  {half\n" * 50 + line(B) + b"again\n" + line(C)
    )

    assert read([data]) == ([A, B, C], Counter(malformed=2), 0)
    assert read(one_by_one(data)) == ([A, B, C], Counter(malformed=2), 0)


@pytest.mark.parametrize("text", [b"123 abc", b"[1]", b'"text"', b"null", b"1 2 3", b"}", b'{"a":}', b"{} x"])
def test_a_line_without_an_object_is_one_loss(read: Read, text: bytes) -> None:
    records, drops, _ = read([line(A) + text + b"\n" + line(B)])

    assert records == [A, B]
    assert drops["malformed"] == 1


def test_a_stream_that_begins_inside_a_block_is_read_from_the_next_one(read: Read) -> None:
    assert read([pretty(A)[5:] + pretty(B)]) == ([B], Counter(malformed=1), 0)


def test_an_invalid_block_is_one_loss(read: Read) -> None:
    bad = b'{\n  "type": "flow",\n  "flow": {\n    "digest": oops\n  }\n}\n'

    assert read([bad + pretty(A)]) == ([A], Counter(malformed=1), 0)
    assert read(one_by_one(bad + pretty(A))) == ([A], Counter(malformed=1), 0)


def test_a_block_with_an_unterminated_string_is_one_loss(read: Read) -> None:
    assert read([b'{\n  "type": "flow\n  "flow": 1\n}\n' + pretty(A)]) == ([A], Counter(malformed=1), 0)


def test_a_truncated_record_loses_no_other_record(read: Read) -> None:
    for cut in range(1, len(compact(A))):
        records, drops, _ = read([line(B) + compact(A)[:cut] + b"\n" + headed(C) + line(B)])
        assert records == [B, C, B]
        assert drops == Counter(malformed=1)


def test_a_truncated_block_loses_no_other_record(read: Read) -> None:
    lines = pretty(A).splitlines(keepends=True)
    for kept in range(1, len(lines)):
        data = pretty(B) + b"".join(lines[:kept]) + headed(C) + pretty(B)
        assert read([data]) == ([B, C, B], Counter(malformed=1), 0)


@pytest.mark.parametrize("frame", [headed, line, pretty])
def test_a_record_truncated_by_the_end_is_counted_once(read: Read, frame: Callable[[Any], bytes]) -> None:
    whole = len(frame(A))
    for end in range(1, len(frame(B)) - 1):
        assert read([(frame(A) + frame(B))[: whole + end]]) == ([A], Counter(truncated=1), 0)


@pytest.mark.parametrize("frame", [headed, line, pretty])
def test_a_last_record_without_line_end_is_complete(read: Read, frame: Callable[[Any], bytes]) -> None:
    assert read([(frame(A) + frame(B))[:-1]]) == ([A, B], Counter(), 0)


def test_an_end_in_invalid_data_or_between_records_is_no_further_loss(read: Read) -> None:
    assert read([line(A) + b"\n"]) == ([A], Counter(), 0)
    assert read([b"garbage\nmore garb"]) == ([], Counter(malformed=1), 0)


def test_the_first_invalid_bytes_are_kept_as_a_sample(make_reader: MakeReader) -> None:
    reader = make_reader(1000)
    reader.feed(b"SSH-2.0-OpenSSH_9.6\r\n" + b"x" * 100 + b"\n" + line(A) + b"other\n")

    assert reader.garbage == b"SSH-2.0-OpenSSH_9.6"
    assert reader.drops == Counter(malformed=2)
    reader = make_reader(1000)
    reader.feed(b"y" * 100 + b"\n")
    assert reader.garbage == b"y" * 64


# -- invalid text -----------------------------------------------------------------------------------


def test_a_record_with_invalid_utf8_is_kept_and_counted_as_repaired(read: Read) -> None:
    bad = b'{"type":"flow","host":"\xff\xfe\xed\xa0\x80"}'
    record = {"type": "flow", "host": "\udcff\udcfe\udced\udca0\udc80"}

    assert read([framed(bad + b"\n") + bad + b"\n" + line(A)]) == ([record, record, A], Counter(), 2)


def test_only_the_record_with_the_bad_bytes_counts_as_repaired(read: Read) -> None:
    """Once, too, where its header lies or another record stands on its line."""
    bad = b'{"type":"flow","host":"\xff"}'

    for data in (
        compact(A) + bad + compact(B) + b"\n",
        b'{"length": %d}\n' % (len(bad) + 2) + bad + headed(A),
        b'{"length": %d}\n' % (len(bad) - 2) + bad + headed(A),
        b'{"length": %d}\n' % (len(bad) + 500) + bad + b"\n" + headed(A),
    ):
        records, drops, repaired = read([data])
        assert {"type": "flow", "host": "\udcff"} in records
        assert (drops, repaired) == (Counter(), 1)


def test_dropped_data_does_not_count_as_repaired(read: Read) -> None:
    assert read([b'{"host":"\xff"}\n\xff\xff\n']) == ([], Counter(untyped=1, malformed=1), 0)


def test_escaped_lone_surrogates_are_accepted(read: Read) -> None:
    assert read([b'{"type":"flow","host":"\\ud800"}\n']) == (
        [{"type": "flow", "host": "\ud800"}],
        Counter(),
        0,
    )


def test_too_deep_nesting_is_one_loss(read: Read) -> None:
    deep = b'{"type":"flow","x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"

    records, drops, _ = read([line(A) + deep + b"\n" + framed(deep + b"\n") + line(B)], 1 << 20)

    assert records == [A, B]
    assert drops == Counter(malformed=2)


def test_a_number_of_ten_thousand_digits_does_not_stop_the_stream(read: Read) -> None:
    records, _, _ = read([b'{"type":"flow","x":' + b"9" * 10_000 + b"}\n" + line(A)])

    assert records[-1] == A


def test_a_megabyte_of_quotes_is_read_in_linear_time(read: Read) -> None:
    """An unterminated string was once searched from each of its escaped quotes: for hours."""
    data = b'{"type": "' + b'\\"' * 500_000 + b"\n"

    assert read([data + line(A)], 1 << 20) == ([A], Counter(malformed=1), 0)


def test_a_megabyte_of_objects_on_one_line_is_read_in_linear_time(read: Read) -> None:
    """The rest of the line was once copied and decoded again behind each of them."""
    count = 70_000
    records, drops, _ = read([b'{"length":7}{}' * count + b"\n" + line(A)], 1 << 20)

    assert records == [A]
    assert drops == Counter(untyped=count)


# -- arbitrary streams -------------------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8"), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
good_records = st.builds(
    lambda kind, rest: {**rest, "type": kind}, texts, st.dictionaries(texts, values, max_size=3)
).filter(lambda record: next(iter(record)) != "length")
OTHER_FORMS = [bytes([first]) for first in (0x1F, *range(0x80, 0x90), 0xDE, 0xDF)]  # not JSON


def _is_garbage(text: bytes) -> bool:
    return text.lstrip()[:1] != b"{" and text[:1] not in OTHER_FORMS


garbage_lines = st.binary(max_size=60).map(lambda data: data.replace(b"\n", b"")).filter(_is_garbage)
framings = st.sampled_from(sorted(FRAMINGS.keys() - {"spaces around"}))  # garbage ends at a line's first '{'
items = st.tuples(good_records, framings) | garbage_lines.map(lambda g: (None, g))
cuts = st.lists(st.integers(0, 1 << 20), max_size=8)
exhaustive = settings(max_examples=150, deadline=None)


def each_way(
    read: Read, data: bytes, places: list[int], limit: int
) -> list[tuple[list[Any], Counter[str], int]]:
    return [read([data], limit), read(pieces(data, places), limit), read(one_by_one(data), limit)]


@exhaustive
@given(st.lists(items, max_size=8), cuts)
def test_all_good_records_arrive_in_order_whatever_framings_and_garbage_are_mixed(
    read: Read, stream_items: list[Any], places: list[int]
) -> None:
    data = b"".join(how + b"\n" if record is None else FRAMINGS[how](record) for record, how in stream_items)
    expected = [record for record, _ in stream_items if record is not None]

    for records, drops, _ in each_way(read, data, places, LIMIT):
        assert records == expected
        assert set(drops) <= {"malformed"}


FRAGMENTS = [
    b'{"length": 12}\n',
    b'{"length": 13}\n',
    b'{"length": 40}\r\n',
    b'{"length":',
    b'{"type":"a"}',
    b'{"type":"\xff"}',
    b'{\n  "type": "b"\n}\n',
    b'{"x":1}',
    b"\n",
    b"\n",
    b"\r\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b" ",
    b",",
    b"x" * 50,
    b'{"length": 90}\n',
    b"\x00",
    b"1",
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=40).map(b"".join), cuts, st.integers(70, 140))
def test_splitting_a_stream_changes_nothing(read: Read, data: bytes, places: list[int], limit: int) -> None:
    """Records, drops and repairs are the same; and memory stays below the limit (checked in ``read``)."""
    whole, cut, single = each_way(read, data, places, limit)

    assert whole == cut == single


@exhaustive
@given(st.binary(max_size=300), cuts)
def test_arbitrary_bytes_do_not_raise(read: Read, data: bytes, places: list[int]) -> None:
    whole, cut, single = each_way(read, data, places, 100)

    assert whole == cut == single


# -- foreign peers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "TLS"),
        (b"\x16\x03\x03\x00", "TLS"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\x82\xa4type", "msgpack"),
        (b"\xde\x00\x10", "msgpack"),
        (b"-ERR unknown command", "Redis"),
        (b"hello\x00\x1b[31m\xff", "hello..[31m."),
        (b"\x90" * 100, "." * 40),
        (b"", ""),
    ],
)
def test_a_foreign_peer_is_described_without_control_characters(data: bytes, words: str) -> None:
    text = describe_foreign(data)

    assert words in text
    assert text.isprintable()


@given(st.binary(max_size=80))
def test_any_bytes_can_be_described(data: bytes) -> None:
    assert describe_foreign(data).isprintable()
