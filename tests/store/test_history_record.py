"""Packed history: what is packed is what is unpacked, and summing up keeps every byte in one period."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netify_agent.config.calendar import DAY_S, HOUR_S, MONTH_S, Calendar
from netify_agent.store.history_blocks import Damaged, plain
from netify_agent.store.history_plan import Middles, Piece
from netify_agent.store.history_record import (
    ApplicationDecoder,
    Record,
    Share,
    Volume,
    add_volumes,
    decode,
    decode_volumes,
    encode,
    encode_summed,
    merged,
)
from netify_agent.store.history_steps import HistorySteps

COUNTS = st.one_of(st.integers(0, 300), st.integers(0, 2**60), st.integers(-(2**40), 2**40))
SHARES = st.builds(Share, COUNTS, COUNTS, COUNTS, COUNTS).filter(any)
VOLUMES = st.builds(Volume, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
STARTS = st.integers(1_700_000_000, 1_900_000_000)
RECORDS = st.builds(Record, STARTS, VOLUMES, st.dictionaries(st.integers(0, 5000), SHARES, max_size=12))
SHARED_OUT = RECORDS.map(lambda record: shared_out(record))  # its applications have all of its bytes
LISTS = st.lists(st.one_of(RECORDS, SHARED_OUT), max_size=8)
ORIGIN = 1_800_000_000
KEEP_S = {300: 2 * DAY_S, HOUR_S: 31 * DAY_S, DAY_S: 400 * DAY_S, MONTH_S: 5 * 365 * DAY_S}
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns")


def shared_out(record: Record) -> Record:
    """A record whose volume is the sum of its applications."""
    up, down, local_up, local_down = (
        sum(column) for column in zip(*record.applications.values(), Share(), strict=True)
    )
    return replace(record, volume=Volume(up, down, *record.volume[2:4], local_up, local_down))


@given(LISTS, LISTS)
def test_a_chunk_holds_what_was_packed(summed: list[Record], fresh: list[Record]) -> None:
    data = encode_summed(summed, ORIGIN) + b"".join(encode(record, ORIGIN) for record in fresh)
    chunk = decode(data, ORIGIN)
    assert chunk.summed == merged(summed)
    assert chunk.fresh == fresh
    volumes = [(record.start, record.volume) for record in (*chunk.summed, *fresh)]
    assert decode_volumes(data, ORIGIN, fresh_only=False) == volumes
    assert decode_volumes(data, ORIGIN, fresh_only=True) == volumes[len(chunk.summed) :]


@given(LISTS, LISTS)
def test_one_application_is_read_as_it_is_with_all_others(summed: list[Record], fresh: list[Record]) -> None:
    data = encode_summed(summed, ORIGIN) + b"".join(encode(record, ORIGIN) for record in fresh)
    chunk = decode(data, ORIGIN)
    for number in {5001, *(number for record in (*summed, *fresh) for number in record.applications)}:
        decoder = ApplicationDecoder(number)
        for records, fresh_only in (([*chunk.summed, *fresh], False), (fresh, True)):
            assert decoder.decode(data, ORIGIN, fresh_only=fresh_only) == [
                (record.start, record.applications[number])
                for record in records
                if number in record.applications
            ]


@given(RECORDS, st.data())
def test_bytes_that_are_no_chunk_are_damaged_or_read_and_nothing_else(
    record: Record, data: st.DataObject
) -> None:
    packed = bytearray(encode(record, ORIGIN))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    for number in (*record.applications, 0):
        with suppress(Damaged):
            ApplicationDecoder(number).decode(bytes(packed), ORIGIN, fresh_only=False)


def test_more_lists_of_applications_than_are_remembered_change_nothing() -> None:
    decoder = ApplicationDecoder(7, remembered=3)
    for other in (*range(7), *range(7)):
        record = Record(ORIGIN, Volume(9, 9, 1, 1), {other: Share(1, 2), 7: Share(3, 4)})
        found = decoder.decode(encode(record, ORIGIN), ORIGIN, fresh_only=False)
        assert found == [(ORIGIN, Share(3, 4))]


@given(LISTS, LISTS)
def test_two_chunks_one_after_the_other_are_a_chunk(one: list[Record], other: list[Record]) -> None:
    parts = [encode_summed(one, ORIGIN), b"".join(encode(record, ORIGIN) for record in other)]
    twice = decode(b"".join(parts + parts), ORIGIN)
    assert twice.summed == merged(one) * 2
    assert twice.fresh == other * 2


def test_bytes_of_the_last_application_are_the_rest_of_the_total() -> None:
    shares = {1: Share(20_000, 30_000), 2: Share(40_000, 50_000), 3: Share(2_000_000, 2_000_001)}
    rest = Record(ORIGIN, Volume(2_060_000, 2_080_001, 1, 1), shares)
    more = replace(rest, volume=Volume(2_060_001, 2_080_001, 1, 1))
    assert len(encode(more, ORIGIN)) - len(encode(rest, ORIGIN)) == 2 * 3
    assert decode(encode(rest, ORIGIN), ORIGIN).fresh == [rest]
    assert decode(encode(more, ORIGIN), ORIGIN).fresh == [more]


@given(st.one_of(RECORDS, SHARED_OUT), st.data())
def test_a_chunk_that_is_cut_off_is_damaged(record: Record, data: st.DataObject) -> None:
    for packed in (encode(record, ORIGIN), encode_summed([record], ORIGIN)):
        cut = data.draw(st.integers(1, len(packed) - 1))
        with pytest.raises(Damaged):
            decode(packed[:cut], ORIGIN)
        with pytest.raises(Damaged):
            ApplicationDecoder(1).decode(packed[:cut], ORIGIN, fresh_only=False)


@given(
    st.lists(st.tuples(st.integers(0, 400 * DAY_S), VOLUMES), max_size=30),
    st.sampled_from(ZONES),
    st.integers(1, 31),
)
def test_summed_up_step_by_step_each_byte_is_in_one_period(
    moved: list[tuple[int, Volume]], zone: str, first: int
) -> None:
    """Hours, days and months of records are those of the moments at which the bytes moved."""
    steps = HistorySteps(KEEP_S, Calendar(zone, ZoneInfo(zone), first))
    moments = [(1_780_000_000 + offset, volume) for offset, volume in moved]
    step: int | None = steps.shortest
    records = merged(Record(steps.bucket(at), volume) for at, volume in moments)
    while step is not None:
        truth: dict[int, Volume] = {}
        for at, volume in moments:
            start = steps.calendar.period(step, at).start
            truth[start] = add_volumes(truth.get(start, Volume()), volume)
        assert {record.start: record.volume for record in records} == truth
        for record in records:
            chunk = steps.chunk(step, record.start)
            assert chunk <= record.start + step // 2 < steps.chunk_end(step, chunk)
        longer = steps.longer(step)
        if longer is not None:
            records = steps.summed_up(step, longer, records)
        step = longer


@pytest.mark.parametrize("at", [None, 0, 2_000_000_000, 4_000_000_000])
def test_a_chunk_stays_at_least_its_length_and_at_most_its_time(at: int | None) -> None:
    steps = HistorySteps(KEEP_S)
    chunk = steps.chunk(HOUR_S, 2_000_000_000)
    assert DAY_S <= steps.ttl(HOUR_S, chunk, at) <= 32 * DAY_S


@pytest.mark.parametrize("at", range(6))
def test_a_number_of_unbounded_length_is_damage(at: int) -> None:
    """To read one of a million digits would take hours."""
    long = b"\xff" * 20 + b"\x01"
    numbers = [b"\x00", b"\x02", b"\x02", b"\x02", b"\x02", b"\x01", b"\x01", b"\x01"]
    numbers[at] = long
    for body in (b"".join(numbers), b"".join(numbers[:5]) + long + b"\x01\x01"):
        packed = bytes([len(body) + 1, 0]) + body
        with pytest.raises(Damaged):
            decode(packed, ORIGIN)
    with pytest.raises(Damaged):
        decode(long, ORIGIN)
    with pytest.raises(Damaged):
        decode_volumes(bytes([26, 0]) + long + b"\x02\x02\x02\x02", ORIGIN, fresh_only=False)
    with pytest.raises(Damaged):
        ApplicationDecoder(1).decode(long, ORIGIN, fresh_only=False)
    assert plain(long) == long


@pytest.mark.parametrize("start", [1 << 60, -(1 << 60), 1 << 45])
def test_a_record_that_no_calendar_has_is_in_no_piece(start: int) -> None:
    steps = HistorySteps(KEEP_S, Calendar())
    middles = Middles(steps, 300, [Piece(300, ORIGIN, ORIGIN + HOUR_S)])
    assert middles[start] is None
    assert (middles[ORIGIN - 300], middles[ORIGIN], middles[ORIGIN + HOUR_S]) == (None, ORIGIN + 150, None)
    months = Middles(steps, MONTH_S, [Piece(MONTH_S, ORIGIN, ORIGIN + 1)])
    assert months[start] is None
