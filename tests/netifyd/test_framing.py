"""Every framing is read, split anywhere, within the size limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from framings import LIMIT, A, B, C, MakeReader, Read, compact, each_framing, headed, line, one_by_one, pretty
from support import CAPTURES

# -- framings --------------------------------------------------------------------------------------------


@each_framing
def test_each_framing_is_detected(read: Read, frame: Callable[[Any], bytes]) -> None:
    data = b"".join(frame(record) for record in (A, B, C))

    assert read([data]) == ([A, B, C], Counter(), 0)


@each_framing
def test_a_record_may_be_cut_at_every_byte(read: Read, frame: Callable[[Any], bytes]) -> None:
    data = frame(A) + frame(B)

    assert read(one_by_one(data)) == ([A, B], Counter(), 0)
    for place in range(len(data)):
        assert read([data[:place], data[place:]]) == ([A, B], Counter(), 0)


@each_framing
def test_a_record_is_delivered_as_soon_as_it_is_complete(
    make_reader: MakeReader, frame: Callable[[Any], bytes]
) -> None:
    """A header that lies must not keep back records that are there (until its own N bytes are)."""
    reader = make_reader(LIMIT)

    assert reader.feed(frame(A)) == [A]
    assert reader.feed(frame(B)) == [B]


def test_a_payload_without_line_feed_is_delimited_by_its_length(read: Read) -> None:
    data = b'{"length": %d}\n' % len(compact(A)) + compact(A) + headed(B)

    assert read([data]) == ([A, B], Counter(), 0)
    assert read(one_by_one(data)) == ([A, B], Counter(), 0)


def test_a_payload_without_line_feed_is_found_even_if_its_length_is_wrong(read: Read) -> None:
    for by in (-3, 1, 2, 5, 40):
        data = b'{"length": %d}\n' % (len(compact(A)) + by) + compact(A) + headed(B) + headed(C)

        assert read([data]) == ([A, B, C], Counter(), 0)
        assert read(one_by_one(data)) == ([A, B, C], Counter(), 0)


def test_records_on_one_line_are_all_delivered(read: Read) -> None:
    data = compact(A) + compact(B) + b" " + compact(C) + b"\n" + line(A)

    assert read([data]) == ([A, B, C, A], Counter(), 0)
    assert read(one_by_one(data)) == ([A, B, C, A], Counter(), 0)


def test_a_header_behind_a_record_on_its_line_counts(read: Read) -> None:
    """Otherwise the length of a payload without a line feed would be lost."""
    for blank in (b"", b" "):
        data = compact(A) + blank + b'{"length": %d}\n' % len(compact(B)) + compact(B) + headed(C)

        assert read([data]) == ([A, B, C], Counter(), 0)
        assert read(one_by_one(data)) == ([A, B, C], Counter(), 0)


def test_a_block_may_begin_behind_a_record(read: Read) -> None:
    assert read([compact(A) + pretty(B)]) == ([A, B], Counter(), 0)


def test_a_record_may_follow_where_a_block_ends(read: Read) -> None:
    assert read([pretty(A)[:-1] + b" " + line(B)]) == ([A, B], Counter(), 0)


def test_a_header_alone_is_no_loss(read: Read) -> None:
    assert read([b'{"length": 10}\n{ "length": 10 }\n' + pretty({"length": 10})]) == ([], Counter(), 0)


def test_an_object_that_begins_with_a_length_is_no_header(read: Read) -> None:
    record = {"length": 12, "type": "flow", "filler": "x" * 100}

    assert read(one_by_one(line(record) + pretty(record))) == ([record, record], Counter(), 0)


def test_blank_lines_are_ignored(read: Read) -> None:
    assert read([b"\n\r\n  \n" + headed(A) + b"\n\n" + headed(B)]) == ([A, B], Counter(), 0)


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures are not part of the project")
def test_a_recorded_stream_of_netifyd_4_4_5_is_read_without_loss(read: Read) -> None:
    data = (CAPTURES / "live-4.4.5.raw").read_bytes()

    records, drops, repaired = read([data[i : i + 65536] for i in range(0, len(data), 65536)], 1 << 20)

    assert Counter(record["type"] for record in records)["flow"] > 1000
    assert drops.total() <= 1  # the recording may end within a record
    assert repaired == 0


def test_a_string_that_looks_like_a_seam_does_not_split_a_record(read: Read) -> None:
    record = {"type": "flow", "host": '}{"', "{": '"}{"', "x": ['}{"', '}{"']}

    for frame in (compact, line, headed):
        data = frame(record) * 3
        assert read([data]) == ([record] * 3, Counter(), 0)
        assert read(one_by_one(data)) == ([record] * 3, Counter(), 0)


def test_invalid_data_among_joined_objects_loses_no_other_record(read: Read) -> None:
    data = compact(A) + b'{"type":oops}' + compact(B) + compact(C)

    assert read([data]) == ([A, B, C], Counter(malformed=1), 0)
    assert read(one_by_one(data)) == ([A, B, C], Counter(malformed=1), 0)


def test_an_object_at_the_start_of_a_line_is_a_record_of_its_own(read: Read) -> None:
    """No printer starts an inner line with a brace. The fast path must respect this too."""
    data = line(A) + b'{"type":"x","y":[\n' + line(B) + b"]}\n" + line(C)

    assert read([data]) == ([A, B, C], Counter(malformed=2), 0)
    assert read(one_by_one(data)) == ([A, B, C], Counter(malformed=2), 0)


def test_a_line_with_a_value_that_is_no_object_is_one_loss(read: Read) -> None:
    data = line(A) + compact(B) + b" 123 " + line(A) + line(C)

    assert read([data]) == ([A, B, C], Counter(malformed=1), 0)
    assert read(one_by_one(data)) == ([A, B, C], Counter(malformed=1), 0)


# -- the limit -------------------------------------------------------------------------------------------


@each_framing
def test_a_record_over_the_limit_is_dropped_and_counted_once(
    read: Read, frame: Callable[[Any], bytes]
) -> None:
    big = {"type": "flow", "flow": {"lines": ["some text"] * 200}}
    data = frame(A) + frame(big) + frame(B)

    assert read([data], 1000) == ([A, B], Counter(oversize=1), 0)
    assert read(one_by_one(data), 1000) == ([A, B], Counter(oversize=1), 0)


def test_a_block_with_one_endless_line_is_one_loss(read: Read) -> None:
    """What is left of a block after its oversize line is no garbage of its own."""
    data = pretty({"type": "flow", "text": "x" * 2000, "more": 1, "and": 2}) + line(A)

    assert read(one_by_one(data), 1000) == ([A], Counter(oversize=1), 0)
    assert read([data], 1000) == ([A], Counter(oversize=1), 0)


def test_a_record_of_exactly_the_limit_is_kept(read: Read) -> None:
    size = len(line(A))

    assert read([line(A)], size) == ([A], Counter(), 0)
    assert read([headed(A)], size) == ([A], Counter(), 0)
    assert read([line(A)], size - 1) == ([], Counter(oversize=1), 0)
    assert read(one_by_one(line(A)), size - 1) == ([], Counter(oversize=1), 0)


def test_an_endless_line_costs_bounded_memory_and_one_count(make_reader: MakeReader) -> None:
    reader = make_reader(1000)
    for _ in range(1000):
        assert reader.feed(b'{"type": "' + b"x" * 500) == []
        assert reader.held <= 1000
    assert reader.drops == Counter(oversize=1)
    assert reader.feed(b'"}\n' + line(A)) == [A]
    assert reader.drops == Counter(oversize=1)


def test_a_header_of_endless_blanks_costs_bounded_memory(make_reader: MakeReader) -> None:
    reader = make_reader(1000)
    for _ in range(100):
        reader.feed(b'{"length": ' + b" " * 100)
        assert reader.held <= 1000


def test_an_oversize_line_of_blanks_counts_however_it_is_cut(read: Read) -> None:
    data = b" " * 2000 + b"\n"

    assert read([data], 1000) == read(one_by_one(data), 1000) == ([], Counter(oversize=1), 0)


def test_a_record_behind_a_block_cut_short_is_kept_even_where_both_exceed_the_limit(read: Read) -> None:
    """The record's bytes once counted as the block's until its line feed had come."""
    cut = pretty({"type": "flow", "text": "x" * 500, "more": 1})[:-2]
    data = cut + line(A) + line({"type": "flow", "text": "y" * 400})

    for chunks in ([data], one_by_one(data)):
        records, drops, _ = read(chunks, len(cut) + 50)
        assert records[0] == A
        assert len(records) == 2
        assert drops == Counter(malformed=1)
