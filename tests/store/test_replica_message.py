"""What a collector takes for a message, and what it refuses."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace
from typing import Any

import pytest
from real_store import HISTORY

from netify_agent.config.calendar import DAY_S, HOUR_S
from netify_agent.store import replica
from netify_agent.store.history_blocks import MAX_BLOCK, MAX_RECORDS, plain
from netify_agent.store.history_record import Record, Share, Volume, encode_summed
from netify_agent.store.history_record import encode as encode_record
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import Keys
from netify_agent.store.replica import HEAD, Content, check, places
from netify_agent.store.replica_coder import Names
from netify_agent.store.replica_columns import Invalid, Writer, compress, decompress
from netify_agent.store.replica_message import Differs, Header, Incoming, encode
from netify_agent.store.replica_rows import Rows
from netify_agent.store.varint import put

PHONE, OPEN_ITEM, CHUNK = "device:02:00:00:00:00:02", "open:1790000100", "chunk:300:1789999200"
HEADER = Header("0" * 32, "1" * 32, 1_790_000_300_000, 15_000)
VERSION = b"\x02"
COUNTS = {"bu": 5, "bd": 6, "pu": 1, "pd": 2, "fl": 1}


def head(**rows: Rows) -> Content:
    found = places(Keys("gw1"), HEAD)
    assert found is not None
    names = (*found.counters, *found.numbers, *found.scores, *found.sets)
    return Content(
        {**{name: {} for name in names}, "devices": {PHONE[7:]: {"n": 1_790_000_299_000}}, **rows},
        {
            "settings": {"interval": "15"},
            "history": {"due": "[]", "since": "{}", "numbers": "1"},
            "names": {PHONE[7:]: '["phone",[],null]'},
            "plans": {"uplink": "[]"},
            "alerts": {"0" * 16: "{}"},
        },
        {"": {"": {"ru": 1, "rd": 2}, "netify.x": {"ru": 1, "rd": 2}}},
    )


def device(bytes_up: int = 5) -> Content:
    numbers = {**COUNTS, "bu": bytes_up, "ls": 1_790_000_299_000, "fs": 1_790_000_000_000}
    return Content(
        {
            "totals": {"": numbers},
            "applications": {"netify.x": numbers},
            "protocols": {"DNS": {**COUNTS, "bu": bytes_up}},
            "addresses": {"10.0.0.2": {"n": 1_790_000_299_000}},
        },
        {"totals": {"interface": "br0"}},
    )


FULL = {
    HEAD: head(),
    PHONE: device(),
    OPEN_ITEM: Content({PHONE[7:]: {"": {"bu": 5, "bd": 6}, "netify.x": {"bu": 5, "bd": 6}}}),
    CHUNK: Content(
        chunks={PHONE[7:]: encode_record(Record(1_789_999_500, Volume(1, 2, 3, 4)), 1_789_999_200)}
    ),
}


def first(contents: dict[str, Content] = FULL, header: Header = HEADER) -> bytes:
    """A message to a collector that has nothing."""
    return encode(header, [], Names({*contents}, blind={*contents}), {}, contents, HISTORY)


def read(data: bytes, had: dict[str, Content] | None = None) -> dict[str, Content]:
    message = Incoming(data)
    had = had or {}
    names = message.names([*had])
    return message.contents(names, {item: had[item] for item in names.needed}, lambda settings: HISTORY)


def test_a_message_is_read_as_it_was_written() -> None:
    assert read(first()) == FULL
    assert Incoming(first()).header == HEADER


def test_changes_are_read_against_what_the_collector_has() -> None:
    now = {HEAD: head(totals={"": COUNTS}), PHONE: device(900)}
    data = encode(HEADER, [*FULL], Names({HEAD, PHONE}, {CHUNK}), FULL, now, HISTORY)
    message = Incoming(data)
    names = message.names([*FULL])
    assert (names.sent, names.gone, names.blind) == ({HEAD, PHONE}, {CHUNK}, set())
    assert message.contents(names, FULL, lambda settings: HISTORY) == now
    assert len(data) < len(first()) * 2 / 3


def test_rows_that_lost_a_number_or_are_gone_are_read_too() -> None:
    less = device()
    less.rows["applications"] = {"netify.y": {"bu": 1, "ls": 5}}
    less.rows["protocols"] = {"DNS": {"bu": 1, "bd": 6}}
    less.texts["totals"] = {"hint": "Phone of Jos\u00e9"}
    now = {HEAD: head(), PHONE: less}
    data = encode(HEADER, [*FULL], Names({HEAD, PHONE}), FULL, now, HISTORY)
    assert read(data, FULL) == now


def test_a_collector_with_other_contents_notices() -> None:
    data = encode(HEADER, [*FULL], Names({HEAD, PHONE}), FULL, {HEAD: head(), PHONE: device(900)}, HISTORY)
    with pytest.raises(Differs):
        read(data, {**FULL, PHONE: device(6)})


def test_digests_of_chunks_do_not_depend_on_the_compressing_library() -> None:
    records = [Record(at, Volume(at, 7, 7, 7)) for at in range(0, 3600, 300)]
    chunk = encode_summed(records, 0)
    body = b"".join(encode_record(record, 0) for record in records)
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(body) + packer.flush()
    other = bytes([0, 2, len(packed) & 127 | 128, len(packed) >> 7]) + packed
    assert other != chunk and plain(other) == plain(chunk) != chunk
    assert Content(chunks={"": other}).digest() == Content(chunks={"": chunk}).digest()


def test_a_block_that_would_fill_the_memory_is_not_unpacked() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(bytes(MAX_BLOCK + 1)) + packer.flush()
    length = bytes([len(packed) & 127 | 128, len(packed) >> 7])
    bomb = bytes([0, 2]) + length + packed
    assert plain(bomb) == bomb


@pytest.mark.parametrize(
    ("item", "content"),
    [
        (HEAD, head(totals={"": {"x": 1}})),
        (HEAD, head(categories={"netify.x": {"bu": 1}})),
        (HEAD, head(totals={"": {"bu": 1 << 62}})),
        (HEAD, replace(head(), texts={"history": {"due": "[[300]]"}})),
        (HEAD, replace(head(), texts={"history": {"due": "[" * 100_000}})),
        (HEAD, replace(head(), texts={"history": {"since": '{"x": 1}'}})),
        (HEAD, replace(head(), texts={"history": {"since": '{"300": true}'}})),
        (HEAD, replace(head(), texts={"history": {"numbers": "many"}})),
        (HEAD, replace(head(), rates={"": {"": {"ru": 1}}})),
        (HEAD, replace(head(), rates={"": {"netify.x": {"ru": 1, "rd": 2}}})),
        (PHONE, replace(device(), texts={"totals": {"writer": "me"}})),
        (OPEN_ITEM, Content({"": {"": {"n": 5}}})),
    ],
)
def test_contents_that_a_reader_could_not_use_are_refused(item: str, content: Content) -> None:
    with pytest.raises(Invalid):
        check(item, content)


def packed(**columns: Any) -> bytes:
    """A message with a few numbers."""
    writer = Writer()
    writer.data(b"")
    writer.data(columns.get("position", bytes(16)))
    for value in columns.get("header", (1, 1)):
        writer.count("header", value)
    for value in columns.get("items", (3, 0)):
        writer.count("items", value)
    if "name" in columns:
        writer.name(columns["name"])
    return VERSION + writer.packed()


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"",
            b"{}",
            b"\x01",
            b"\x02",
            b"\x02" + bytes(100),
            first()[:-1],
            first() + b"\0",
            b"\x03" + first()[1:],
        ),
        *(
            packed(position=b"x"),
            packed(header=(1 << 48, 1)),
            packed(header=(1 << 60, 1)),
            packed(header=(1 << 99, 1)),
        ),
        *(packed(items=(0, 0)), packed(items=(2, 0)), packed(items=(9, 0)), packed(items=(3, 5)), packed()),
        *(
            packed(items=(3, 1), name=name)
            for name in (
                "head",
                "meta",
                "copy",
                "device:",
                "open:x",
                "chunk:300",
                "chunk:0:300",
                "chunk:1:2:3",
            )
        ),
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        read(data)


def test_columns_that_were_changed_are_refused() -> None:
    """Whoever has a token may send anything. It is refused, or it is contents that a reader can use."""
    chance = random.Random(7)
    now = {HEAD: head(totals={"": COUNTS}), PHONE: device(900), CHUNK: FULL[CHUNK]}
    data = encode(HEADER, [*FULL], Names({HEAD, PHONE, CHUNK}, {OPEN_ITEM}), FULL, now, HISTORY)
    columns = decompress(data[1:], 1 << 20)
    outcomes = set()
    for _ in range(3000):
        changed = bytearray(columns)
        for _ in range(chance.choice((1, 1, 2, 5))):
            changed[chance.randrange(len(changed))] = chance.choice(
                (0, 1, 2, 3, 127, 128, 255, chance.randrange(256))
            )
        try:
            read(VERSION + compress(bytes(changed)), FULL)
            outcomes.add("read")
        except (Invalid, Differs) as error:
            outcomes.add(type(error).__name__)
    assert outcomes == {"Invalid", "Differs", "read"}


@pytest.mark.parametrize("name", ["devices", "series"])
def test_more_series_than_a_collector_takes_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    content = head(**{name: {"a": {"n": 0}, "b": {"n": 0}}})
    check(HEAD, content)
    monkeypatch.setattr(replica, "MAX_SERIES", 1)
    with pytest.raises(Invalid):
        check(HEAD, content)


def block(records: int, applications: int = 0) -> bytes:
    """A deflated block of equal records, which mergers would not leave as they are."""
    shares = {number: Share(1 << 40, 1) for number in range(applications)}
    body = encode_record(Record(0, Volume(1, 1), shares), 0) * records
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(body) + packer.flush()
    head = bytearray([0, 2])
    put(head, len(packed))
    return bytes(head) + packed


@pytest.mark.parametrize("chunk", [block(MAX_RECORDS + 1), block(1, 200_000) * 3, block(MAX_RECORDS) * 2])
def test_a_chunk_that_holds_up_its_readers_is_refused(chunk: bytes) -> None:
    with pytest.raises(Invalid, match="smaller chunks"):
        read(first({**FULL, CHUNK: Content(chunks={PHONE[7:]: chunk})}))


def test_all_chunks_of_a_message_have_a_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = block(1, 200_000)
    message = first({HEAD: head(), CHUNK: Content(chunks=dict.fromkeys("abc", chunk))})
    assert read(message)
    monkeypatch.setattr(replica, "MAX_UNPACKED", 4 << 20)
    with pytest.raises(Invalid, match="smaller chunks"):
        read(message)


def test_a_time_that_no_calendar_has_is_refused() -> None:
    with pytest.raises(Invalid):
        Incoming(first(header=HEADER._replace(at_ms=1 << 48)))


@pytest.mark.parametrize("start", [1 << 60, -(1 << 60), 1 << 45])
def test_a_record_that_no_calendar_has_is_not_summed_up(start: int) -> None:
    record = Record(start, Volume(1, 1))
    origin = int(CHUNK.rpartition(":")[2])
    had = {HEAD: head(), CHUNK: Content(chunks={"": encode_record(record, origin)})}
    now = {HEAD: head(), CHUNK: Content(chunks={"": encode_summed([record], origin)})}
    alone = HistorySteps({300: DAY_S})  # the writer's; those of the reader have a longer one
    data = encode(HEADER, [CHUNK], Names({HEAD, CHUNK}), had, now, alone)
    message = Incoming(data)
    names = message.names([CHUNK])
    with pytest.raises(Invalid):
        message.contents(names, had, lambda settings: HistorySteps({300: DAY_S, HOUR_S: DAY_S}))


def test_a_damaged_chunk_is_taken_as_it_is() -> None:
    """A gateway's own disk may have damaged it; that must not stop all that it sends."""
    contents = {**FULL, CHUNK: Content(chunks={PHONE[7:]: b"\x05\x01", "": b"\xff" * 40})}
    assert read(first(contents)) == contents
