"""msgpack and gzip: the same records as JSON, cut anywhere; what can't be read on from is declared broken."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgpack
import pytest
from framings import LIMIT, one_by_one, pieces
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netify_agent.netifyd import msgpack_framing
from netify_agent.netifyd.framing import RecordReader
from netify_agent.netifyd.records import DROP_REASONS, Unreadable

A = {"type": "flow", "flow": {"digest": "a", "text": "tab\t, {brace}, \"quote\" and 'ü'", "rate": 2076.5}}
B = {"type": "flow_stats", "flow": {"digest": "b", "counts": [1, 2, {"deep": [[]]}, -1, 1 << 40, None]}}
C = {"type": "agent_hello"}

Result = tuple[list[Any], Counter[str], int, bool]


def read(chunks: Iterable[bytes], limit: int = LIMIT) -> Result:
    """Records, drops, the number of repaired ones, and whether the stream broke."""
    reader, records = RecordReader(limit), []
    for chunk in chunks:
        records += reader.feed(chunk)
        while reader.pending:
            records += reader.feed(b"")
    records += reader.close()
    assert reader.records == len(records)
    assert set(reader.drops) <= set(DROP_REASONS)
    return records, +reader.drops, reader.repaired, reader.broken is not None


def each_cut(data: bytes, limit: int = LIMIT) -> Result:
    """What reading gives, which must not depend on how the stream is cut."""
    whole = read([data], limit)
    assert read(one_by_one(data), limit) == whole
    for place in range(0, len(data), 7):
        assert read([data[:place], data[place:]], limit) == whole
    return whole


def packed(*values: Any) -> bytes:
    return b"".join(map(msgpack.packb, values))


def zipped(*parts: bytes) -> bytes:
    return b"".join(gzip.compress(part, mtime=0) for part in parts)


STREAMS = {
    "maps": packed(A, B, C),
    "maps with line ends": b"\n".join(map(msgpack.packb, (A, B, C))) + b"\r\n",
    "maps behind length headers": packed({"length": 90}, A, {"length": 5}, B, {"length": 9}, C),
    "a large map": packed({**A, "more": {str(number): number for number in range(70_000)}}, B, C),
}
JSON = [b'{"type":"a"}', b'{"type":"b","x":{"y":["}{"]}}', b'{"type":"c"}']


@pytest.mark.parametrize("compressed", ["plain", "one stream", "a member each"])
@pytest.mark.parametrize("name", [name for name in STREAMS if name != "a large map"])
def test_maps_are_records_with_what_stands_between_them(name: str, compressed: str) -> None:
    data = STREAMS[name]
    if compressed == "one stream":
        data = zipped(data)
    elif compressed == "a member each":
        data = zipped(*(packed(value) for value in ({"length": 7}, A, {"length": 8}, B, C)))
    assert each_cut(data) == ([A, B, C], Counter(), 0, False)


def test_a_map_of_many_keys_is_read() -> None:
    records, drops, _, _ = read([STREAMS["a large map"]], 1 << 21)
    assert [record["type"] for record in records] == ["flow", "flow_stats", "agent_hello"]
    assert not drops


@pytest.mark.parametrize(
    "members",
    [
        [JSON[0] + b"\n", JSON[1] + b"\n", JSON[2] + b"\n"],
        JSON,
        [b"".join(JSON)],
        [b'{"length": 200}\n', JSON[0] + b"\n", b'{"length": 5}\n', JSON[1] + b"\n", JSON[2]],
        [b'{"length": 12}', JSON[0], b'{"length": 50}', JSON[1], b'{"length": 1}', JSON[2]],
        [b"".join(JSON)[:20], b"".join(JSON)[20:]],
        [b"", JSON[0], b"", JSON[1] + JSON[2]],
    ],
    ids=["lines", "objects", "one", "headers", "headers of other lengths", "split anywhere", "empty ones"],
)
def test_json_in_gzip_members_is_read_whatever_a_member_holds(members: list[bytes]) -> None:
    records, drops, _, broken = each_cut(zipped(*members))
    assert [record["type"] for record in records] == ["a", "b", "c"]
    assert (drops, broken) == (Counter(), False)


def test_a_long_gzip_stream_gives_each_record_when_it_is_flushed() -> None:
    compressor, reader = zlib.compressobj(wbits=31), RecordReader(LIMIT)
    for part in JSON:
        [record] = reader.feed(compressor.compress(part) + compressor.flush(zlib.Z_SYNC_FLUSH))
        assert record["type"]


def test_line_ends_between_members_and_two_layers_are_read() -> None:
    assert len(each_cut(b"\n".join(zipped(part) for part in JSON) + b"\n")[0]) == 3
    assert len(each_cut(zipped(zipped(*JSON)))[0]) == 3
    assert read([zipped(zipped(zipped(*JSON)))])[0] == []


def test_text_that_is_no_utf8_is_kept_and_the_record_counted_as_repaired() -> None:
    bad = b"\x82\xa4type\xa4flow\xa4host\xa3\xff\xfea"
    record = {"type": "flow", "host": "\udcff\udcfea"}
    assert each_cut(packed(A) + bad + packed(B) + bad) == ([A, record, B, record], Counter(), 2, False)


def test_each_reason_of_a_drop_is_counted_as_itself() -> None:
    report = {"log_time_start": 1, "stats": []}
    big = {"type": "flow", "list": ["some text"] * 200}
    data = packed(A, {"no": "type"}, {"type": 7}, big, report, B) + packed(C)[:-2]
    expected = Counter(untyped=2, oversize=1, aggregated=1, truncated=1)
    assert each_cut(data, 1000) == ([A, B], expected, 0, False)


@pytest.mark.parametrize(
    "damage", [b"\xc1", b"\x05", b"\x90", b"\x81\x01\x02", b"\x81\xa1a\xdd\x00\xff\xff\xff"]
)
def test_what_is_no_map_breaks_the_stream_and_no_record_is_looked_for_behind_it(damage: bytes) -> None:
    """A host name may hold the bytes of a whole record."""
    assert each_cut(packed(A) + damage + packed(B)) == ([A], Counter(malformed=1), 0, True)


def test_hostile_lengths_and_depths_cost_bounded_memory() -> None:
    tracemalloc.start()
    try:
        for hostile in (
            b"\x81\xa4type\xdb\xff\xff\xff\xff" + b"x" * 300_000,  # a string of 4 GiB
            b"\x81\xa1a" + b"\xdd\x00\x00\x20\x00" * 900,  # arrays in arrays, of 8192 each
            b"\x81\xa1a" + b"\xdd\x7f\xff\xff\xff" * 9,
            b"\x81\xa1a" + b"\x91" * 100_000,
        ):
            reader = RecordReader(LIMIT)
            for chunk in pieces(hostile, range(0, len(hostile), 10_000)):
                assert reader.feed(chunk) == []
                assert reader.held <= LIMIT + 1
            reader.close()
            assert sum(reader.drops.values()) == 1
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_costs_bounded_memory_and_its_record_is_one_loss() -> None:
    bomb = zipped(b'{"type":"' + b"x" * (100 << 20) + b'"}\n' + JSON[0] + b"\n")
    reader, most, records = RecordReader(LIMIT), 0, []
    records += reader.feed(bomb)
    while reader.pending:
        records += reader.feed(b"")
        most = max(most, reader.held)
    assert [record["type"] for record in records] == ["a"]
    assert reader.drops == Counter(oversize=1)
    assert most < len(bomb) + LIMIT + (1 << 17)


@pytest.mark.parametrize("layers", [1, 2])
def test_one_call_decompresses_a_bounded_piece(layers: int) -> None:
    data = JSON[0] * 1_000_000
    for _ in range(layers):
        data = zipped(data)
    reader, calls = RecordReader(LIMIT), [0]
    calls.append(len(reader.feed(data)))
    while reader.pending:
        calls.append(len(reader.feed(b"")))
    assert sum(calls) == 1_000_000
    assert max(calls) < 10_000


def test_damaged_gzip_gives_what_precedes_the_damage_and_breaks_the_stream() -> None:
    good, rest = zipped(JSON[0], JSON[1]), zipped(JSON[2])
    for damaged in (rest[:-8] + b"12345678", b"garbage", rest[:10] + b"\xff" * 20):
        records, drops, _, broken = each_cut(good + damaged)
        assert [record["type"] for record in records][:2] == ["a", "b"]
        assert (drops, broken) == (Counter(malformed=1), True)


def test_a_member_that_the_end_cut_short_is_counted_once() -> None:
    data = zipped(JSON[0], JSON[1])
    start = len(zipped(JSON[0]))
    for end in range(start + 1, len(data)):
        records, drops, _, broken = read([data[:end]])
        assert records[0] == {"type": "a"}
        assert (drops, broken) == (Counter(truncated=1), False)


def test_without_the_library_msgpack_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msgpack_framing, "msgpack", None)
    with pytest.raises(Unreadable, match="python3-msgpack"):
        RecordReader(LIMIT).feed(packed(A))
    with pytest.raises(Unreadable, match="python3-msgpack"):
        RecordReader(LIMIT).feed(zipped(packed(A)))
    assert RecordReader(LIMIT).feed(JSON[0] + b"\n") == [{"type": "a"}]


FRAGMENTS = st.sampled_from(
    [
        *(packed(value) for value in (A, C, {"length": 5}, {"no": 1}, {"type": "x" * 90}, 5)),
        *(b"\x81\xa4type\xa1\xff", b"\n", b"\xc1", b"\x81\xa1", *JSON, b'{"length": 9}', b"{", b"garbage"),
    ]
)
# The length of the first key is wrong, so the next key is a number, which the decoder refuses.
NUMBER_AS_KEY = packed(A).replace(b"\xa4type", b"\xactype")
contents = st.lists(FRAGMENTS, max_size=6).map(b"".join)
damages = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(1, 255)), max_size=1)


@example(parts=[NUMBER_AS_KEY * 2], compressed=False, damage=[], cuts=[], limit=70)
@settings(max_examples=300, deadline=None)
@given(
    st.lists(contents, max_size=5), st.booleans(), damages, st.lists(st.integers(0, 1 << 20), max_size=8),
    st.integers(70, 140),
)  # fmt: skip
def test_how_a_stream_is_cut_changes_nothing(
    parts: list[bytes], compressed: bool, damage: list[tuple[int, int]], cuts: list[int], limit: int
) -> None:
    data = bytearray(zipped(*parts) if compressed else b"".join(parts))
    for place, change in damage:
        if data:
            data[place % len(data)] ^= change
    whole = told([bytes(data)], limit)
    assert told(pieces(bytes(data), cuts), limit) == whole
    assert told(one_by_one(bytes(data)), limit) == whole


def told(data: Iterable[bytes], limit: int) -> str:
    """What :func:`read` returns, as text, because NaN does not equal itself."""
    records, drops, *rest = read(data, limit)
    return repr((records, sorted(drops.items()), *rest))
