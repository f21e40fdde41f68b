"""The stream: every framing, cut anywhere, with anything in between, and each loss counted once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import CAPTURES, framed

from netify_agent.netifyd import json_framing as stream
from netify_agent.netifyd.framing import RecordReader, describe_foreign
from netify_agent.netifyd.records import DROP_REASONS

LIMIT = 1 << 16
A = {"type": "flow", "flow": {"digest": "a", "text": "tab\there, {brace}, \"quote\" and \\ and 'ü'"}}
B = {"type": "flow_stats", "flow": {"digest": "b", "counts": [1, 2, {"deep": [[]]}]}}
C = {"type": "agent_hello"}


def strict_loads(data: bytes | bytearray) -> Any:
    """As strict as orjson: UTF-8 alone, one value alone, no lone surrogates, no depth above 1024."""
    text = data.decode()
    if "\\ud8" in text or text.count("[") > 1024:
        raise ValueError("not for a strict decoder")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("too deep") from error


def decoders() -> list[Any]:
    try:
        import orjson
    except ImportError:
        return [None, strict_loads]
    return [None, strict_loads, orjson.loads]


@pytest.fixture(
    params=decoders(), ids=lambda loads: getattr(loads, "__module__", None) or "json", autouse=True
)
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with the standard decoder alone, and with a fast and strict one in front of it."""
    monkeypatch.setattr(stream, "_fast_loads", request.param)


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


def read(chunks: Iterable[bytes], limit: int = LIMIT) -> tuple[list[Any], Counter[str], int]:
    """Records, drops and the number of repaired ones; the buffer is watched all the while."""
    reader = RecordReader(limit)
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


# -- framings --------------------------------------------------------------------------------------------


@each_framing
def test_each_framing_is_understood_without_being_told_which(frame: Callable[[Any], bytes]) -> None:
    data = b"".join(frame(record) for record in (A, B, C))

    assert read([data]) == ([A, B, C], Counter(), 0)


@each_framing
def test_a_record_may_be_cut_at_every_byte(frame: Callable[[Any], bytes]) -> None:
    data = frame(A) + frame(B)

    assert read(one_by_one(data)) == ([A, B], Counter(), 0)
    for place in range(len(data)):
        assert read([data[:place], data[place:]]) == ([A, B], Counter(), 0)


@each_framing
def test_a_record_is_delivered_as_soon_as_it_is_complete(frame: Callable[[Any], bytes]) -> None:
    """A header that lies must not keep back records that are there (until its own N bytes are)."""
    reader = RecordReader(LIMIT)

    assert reader.feed(frame(A)) == [A]
    assert reader.feed(frame(B)) == [B]


def test_a_first_payload_without_its_line_feed_is_told_from_the_next_header_by_its_length() -> None:
    data = b'{"length": %d}\n' % len(compact(A)) + compact(A) + headed(B)

    assert read([data]) == ([A, B], Counter(), 0)
    assert read(one_by_one(data)) == ([A, B], Counter(), 0)


def test_a_payload_without_line_feed_is_found_even_if_its_length_is_wrong() -> None:
    for by in (-3, 1, 2, 5, 40):
        data = b'{"length": %d}\n' % (len(compact(A)) + by) + compact(A) + headed(B) + headed(C)

        assert read([data]) == ([A, B, C], Counter(), 0)
        assert read(one_by_one(data)) == ([A, B, C], Counter(), 0)


def test_records_on_one_line_are_all_delivered() -> None:
    data = compact(A) + compact(B) + b" " + compact(C) + b"\n" + line(A)

    assert read([data]) == ([A, B, C, A], Counter(), 0)
    assert read(one_by_one(data)) == ([A, B, C, A], Counter(), 0)


def test_a_header_behind_a_record_on_its_line_counts() -> None:
    """Otherwise the length of a payload without a line feed would be lost."""
    data = compact(A) + b'{"length": %d}\n' % len(compact(B)) + compact(B) + headed(C)

    assert read([data]) == ([A, B, C], Counter(), 0)
    assert read(one_by_one(data)) == ([A, B, C], Counter(), 0)


def test_a_block_may_begin_behind_a_record() -> None:
    assert read([compact(A) + pretty(B)]) == ([A, B], Counter(), 0)


def test_a_record_may_follow_where_a_block_ends() -> None:
    assert read([pretty(A)[:-1] + b" " + line(B)]) == ([A, B], Counter(), 0)


def test_a_header_alone_is_no_loss() -> None:
    assert read([b'{"length": 10}\n{ "length": 10 }\n' + pretty({"length": 10})]) == ([], Counter(), 0)


def test_an_object_that_begins_with_a_length_is_no_header() -> None:
    record = {"length": 12, "type": "flow", "filler": "x" * 100}

    assert read(one_by_one(line(record) + pretty(record))) == ([record, record], Counter(), 0)


def test_blank_lines_mean_nothing() -> None:
    assert read([b"\n\r\n  \n" + headed(A) + b"\n\n" + headed(B)]) == ([A, B], Counter(), 0)


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures are not part of the project")
def test_a_recorded_stream_of_netifyd_4_4_5_is_read_without_loss() -> None:
    data = (CAPTURES / "live-4.4.5.raw").read_bytes()

    records, drops, repaired = read([data[i : i + 65536] for i in range(0, len(data), 65536)], 1 << 20)

    assert Counter(record["type"] for record in records)["flow"] > 1000
    assert drops.total() <= 1  # the recording may end within a record
    assert repaired == 0


def test_a_string_that_looks_like_the_seam_of_two_objects_is_none() -> None:
    record = {"type": "flow", "host": '}{"', "{": '"}{"', "x": ['}{"', '}{"']}

    for frame in (compact, line, headed):
        data = frame(record) * 3
        assert read([data]) == ([record] * 3, Counter(), 0)
        assert read(one_by_one(data)) == ([record] * 3, Counter(), 0)


def test_what_is_no_json_among_joined_objects_costs_no_other() -> None:
    data = compact(A) + b'{"type":oops}' + compact(B) + compact(C)

    assert read([data]) == ([A, B, C], Counter(malformed=1), 0)
    assert read(one_by_one(data)) == ([A, B, C], Counter(malformed=1), 0)


# -- the limit -------------------------------------------------------------------------------------------


@each_framing
def test_a_record_over_the_limit_is_dropped_and_counted_once(frame: Callable[[Any], bytes]) -> None:
    big = {"type": "flow", "flow": {"lines": ["some text"] * 200}}
    data = frame(A) + frame(big) + frame(B)

    assert read([data], 1000) == ([A, B], Counter(oversize=1), 0)
    assert read(one_by_one(data), 1000) == ([A, B], Counter(oversize=1), 0)


def test_a_block_with_one_endless_line_is_one_loss() -> None:
    """What is left of a block after its oversize line is no garbage of its own."""
    data = pretty({"type": "flow", "text": "x" * 2000, "more": 1, "and": 2}) + line(A)

    assert read(one_by_one(data), 1000) == ([A], Counter(oversize=1), 0)
    assert read([data], 1000) == ([A], Counter(oversize=1), 0)


def test_a_record_of_just_the_limit_is_kept() -> None:
    size = len(line(A))

    assert read([line(A)], size) == ([A], Counter(), 0)
    assert read([headed(A)], size) == ([A], Counter(), 0)
    assert read([line(A)], size - 1) == ([], Counter(oversize=1), 0)
    assert read(one_by_one(line(A)), size - 1) == ([], Counter(oversize=1), 0)


def test_an_endless_line_costs_bounded_memory_and_one_count() -> None:
    reader = RecordReader(1000)
    for _ in range(1000):
        assert reader.feed(b'{"type": "' + b"x" * 500) == []
        assert reader.held <= 1000
    assert reader.drops == Counter(oversize=1)
    assert reader.feed(b'"}\n' + line(A)) == [A]
    assert reader.drops == Counter(oversize=1)


def test_a_header_of_endless_blanks_costs_bounded_memory() -> None:
    reader = RecordReader(1000)
    for _ in range(100):
        reader.feed(b'{"length": ' + b" " * 100)
        assert reader.held <= 1000


def test_an_oversize_line_of_blanks_counts_however_it_is_cut() -> None:
    data = b" " * 2000 + b"\n"

    assert read([data], 1000) == read(one_by_one(data), 1000) == ([], Counter(oversize=1), 0)


def test_a_record_behind_a_block_cut_short_is_kept_even_where_both_exceed_the_limit() -> None:
    """The record's bytes once counted as the block's until its line feed had come."""
    cut = pretty({"type": "flow", "text": "x" * 500, "more": 1})[:-2]
    data = cut + line(A) + line({"type": "flow", "text": "y" * 400})

    for chunks in ([data], one_by_one(data)):
        records, drops, _ = read(chunks, len(cut) + 50)
        assert records[0] == A
        assert len(records) == 2
        assert drops == Counter(malformed=1)


# -- what is no record -----------------------------------------------------------------------------------


def test_each_reason_of_a_drop_is_counted_as_itself() -> None:
    data = b"garbage\n" + line(A) + line({"no": "type"}) + line({"type": 7}) + line({"type": "x" * 2000})
    data += line(B) + b'{"type": "cut'

    assert read([data], 1000) == ([A, B], Counter(malformed=1, untyped=2, oversize=1, truncated=1), 0)


def test_a_run_of_garbage_is_one_loss_however_long() -> None:
    data = (
        line(A) + b"\x00garbage\nmore\n[1, 2]\n123\nnull\n}\n  {half\n" * 50 + line(B) + b"again\n" + line(C)
    )

    assert read([data]) == ([A, B, C], Counter(malformed=2), 0)
    assert read(one_by_one(data)) == ([A, B, C], Counter(malformed=2), 0)


@pytest.mark.parametrize("text", [b"123 abc", b"[1]", b'"text"', b"null", b"1 2 3", b"}", b'{"a":}', b"{} x"])
def test_a_line_that_holds_no_object_is_one_loss(text: bytes) -> None:
    records, drops, _ = read([line(A) + text + b"\n" + line(B)])

    assert records == [A, B]
    assert drops["malformed"] == 1


def test_a_stream_met_in_the_middle_of_a_block_resumes_at_the_next() -> None:
    assert read([pretty(A)[5:] + pretty(B)]) == ([B], Counter(malformed=1), 0)


def test_a_block_that_is_no_json_is_one_loss() -> None:
    bad = b'{\n  "type": "flow",\n  "flow": {\n    "digest": oops\n  }\n}\n'

    assert read([bad + pretty(A)]) == ([A], Counter(malformed=1), 0)
    assert read(one_by_one(bad + pretty(A))) == ([A], Counter(malformed=1), 0)


def test_a_block_with_a_string_that_never_ends_is_one_loss() -> None:
    assert read([b'{\n  "type": "flow\n  "flow": 1\n}\n' + pretty(A)]) == ([A], Counter(malformed=1), 0)


def test_a_record_cut_short_costs_only_itself() -> None:
    for cut in range(1, len(compact(A))):
        records, drops, _ = read([line(B) + compact(A)[:cut] + b"\n" + headed(C) + line(B)])
        assert records == [B, C, B]
        assert drops == Counter(malformed=1)


def test_a_block_cut_short_costs_only_itself() -> None:
    lines = pretty(A).splitlines(keepends=True)
    for kept in range(1, len(lines)):
        data = pretty(B) + b"".join(lines[:kept]) + headed(C) + pretty(B)
        assert read([data]) == ([B, C, B], Counter(malformed=1), 0)


@pytest.mark.parametrize("frame", [headed, line, pretty])
def test_a_record_that_the_end_cut_short_is_counted_once(frame: Callable[[Any], bytes]) -> None:
    whole = len(frame(A))
    for end in range(1, len(frame(B)) - 1):
        assert read([(frame(A) + frame(B))[: whole + end]]) == ([A], Counter(truncated=1), 0)


@pytest.mark.parametrize("frame", [headed, line, pretty])
def test_a_record_that_lacks_only_its_line_end_is_complete(frame: Callable[[Any], bytes]) -> None:
    assert read([(frame(A) + frame(B))[:-1]]) == ([A, B], Counter(), 0)


def test_an_end_within_garbage_or_between_records_is_no_further_loss() -> None:
    assert read([line(A) + b"\n"]) == ([A], Counter(), 0)
    assert read([b"garbage\nmore garb"]) == ([], Counter(malformed=1), 0)


def test_the_first_garbage_is_kept_as_a_sample() -> None:
    reader = RecordReader(1000)
    reader.feed(b"SSH-2.0-OpenSSH_9.6\r\n" + b"x" * 100 + b"\n" + line(A) + b"other\n")

    assert reader.garbage == b"SSH-2.0-OpenSSH_9.6"
    assert reader.drops == Counter(malformed=2)
    reader = RecordReader(1000)
    reader.feed(b"y" * 100 + b"\n")
    assert reader.garbage == b"y" * 64


# -- text that is none -----------------------------------------------------------------------------------


def test_bytes_that_are_no_utf8_are_kept_and_the_record_counted_as_repaired() -> None:
    bad = b'{"type":"flow","host":"\xff\xfe\xed\xa0\x80"}'
    record = {"type": "flow", "host": "\udcff\udcfe\udced\udca0\udc80"}

    assert read([framed(bad + b"\n") + bad + b"\n" + line(A)]) == ([record, record, A], Counter(), 2)


def test_only_the_record_with_the_bad_bytes_counts_as_repaired() -> None:
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


def test_what_is_dropped_is_not_repaired() -> None:
    assert read([b'{"host":"\xff"}\n\xff\xff\n']) == ([], Counter(untyped=1, malformed=1), 0)


def test_escaped_lone_surrogates_are_text_like_any_other() -> None:
    assert read([b'{"type":"flow","host":"\\ud800"}\n']) == (
        [{"type": "flow", "host": "\ud800"}],
        Counter(),
        0,
    )


def test_nesting_too_deep_to_decode_is_one_loss_and_no_crash() -> None:
    deep = b'{"type":"flow","x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"

    records, drops, _ = read([line(A) + deep + b"\n" + framed(deep + b"\n") + line(B)], 1 << 20)

    assert records == [A, B]
    assert drops == Counter(malformed=2)


def test_a_number_of_ten_thousand_digits_is_no_crash() -> None:
    records, _, _ = read([b'{"type":"flow","x":' + b"9" * 10_000 + b"}\n" + line(A)])

    assert records[-1] == A


def test_a_megabyte_of_quotes_costs_no_more_than_any_other_line() -> None:
    """An unterminated string was once searched from each of its escaped quotes: for hours."""
    data = b'{"type": "' + b'\\"' * 500_000 + b"\n"

    assert read([data + line(A)], 1 << 20) == ([A], Counter(malformed=1), 0)


def test_a_megabyte_of_objects_on_one_line_is_read_once() -> None:
    """The rest of the line was once copied and decoded again behind each of them."""
    count = 70_000
    records, drops, _ = read([b'{"length":7}{}' * count + b"\n" + line(A)], 1 << 20)

    assert records == [A]
    assert drops == Counter(untyped=count)


# -- anything at all -------------------------------------------------------------------------------------

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


def with_each_decoder(
    data: bytes, places: list[int], limit: int
) -> list[tuple[list[Any], Counter[str], int]]:
    return [read([data], limit), read(pieces(data, places), limit), read(one_by_one(data), limit)]


@exhaustive
@given(st.lists(items, max_size=8), cuts)
def test_all_good_records_arrive_in_order_whatever_framings_and_garbage_are_mixed(
    stream_items: list[Any], places: list[int]
) -> None:
    data = b"".join(how + b"\n" if record is None else FRAMINGS[how](record) for record, how in stream_items)
    expected = [record for record, _ in stream_items if record is not None]

    for records, drops, _ in with_each_decoder(data, places, LIMIT):
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
def test_how_a_stream_is_cut_changes_nothing(data: bytes, places: list[int], limit: int) -> None:
    """Records, drops and repairs are the same; and memory stays below the limit (checked in ``read``)."""
    whole, cut, single = with_each_decoder(data, places, limit)

    assert whole == cut == single


@exhaustive
@given(st.binary(max_size=300), cuts)
def test_no_bytes_at_all_raise(data: bytes, places: list[int]) -> None:
    whole, cut, single = with_each_decoder(data, places, 100)

    assert whole == cut == single


# -- peers that are no netifyd ---------------------------------------------------------------------------


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
def test_a_foreign_peer_is_named_without_control_characters(data: bytes, words: str) -> None:
    told = describe_foreign(data)

    assert words in told
    assert told.isprintable()


@given(st.binary(max_size=80))
def test_any_bytes_can_be_described(data: bytes) -> None:
    assert describe_foreign(data).isprintable()
