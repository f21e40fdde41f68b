"""The kept applications of ``GET /``: an answer that uses them equals one that was built anew."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from api_server import Scene
from real_store import LAPTOP, NETFLIX, PHONE, TUNNEL, YOUTUBE, counts

from netify_agent.api.encoded_applications import EncodedApplications
from netify_agent.api.flush_log import FlushLog
from netify_agent.api.http import parameters
from netify_agent.api.http.route import Json, Request, encode
from netify_agent.api.routes import devices
from netify_agent.api.services import Services
from netify_agent.store.query import FlushStamp
from netify_agent.store.reader import StoreReader
from netify_agent.store.rows import Counted, DeviceRow

DEVICES = (LAPTOP, PHONE, TUNNEL, *(f"02:00:00:00:09:{number:02x}" for number in range(5)))
TAGS = (NETFLIX, YOUTUBE, "Unknown", 'a"b\\c\ud800', "")


def built_anew(services: Services) -> Any:
    """``GET /`` by a route that has kept nothing."""
    (network, _) = devices.routes(services)
    return json.loads(encode(network.answer(Request(parameters.read(network.parameters, "", {}), {}))))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(6))
def test_an_answer_with_kept_parts_equals_one_built_anew(own: Scene, seed: int) -> None:
    """Random flushes: traffic, reclassification, categories, addresses, names, rates that fall slowly."""
    random, said, store = Random(seed), own.store.netifyd, own.store
    flows: dict[str, tuple[str, str]] = {}
    for step in range(40):
        records = []
        for _ in range(random.choice((0, 0, 1, 2, 6))):
            flow = random.choice([*flows, f"f{step}-{len(flows)}"])
            if flow not in flows or random.random() < 0.2:
                device = flows[flow][0] if flow in flows else random.choice(DEVICES)
                flows[flow] = device, random.choice(TAGS)
                category = {"application": random.choice((7, 7, 29))}
                ip = {"local_ip": f"192.168.1.{random.randrange(20, 30)}"} if len(device) == 17 else {}
                records.append(said.flow(flow, *flows[flow], category=category, **ip))
            records.append(said.stats(flow, random.randrange(5000), random.randrange(5000)))
        store.flush(*records, elapsed_ms=random.choice((1000, 15_000)))
        if random.random() < 0.2:
            own.directory.note(random.choice(DEVICES), [], f"name-{step}")
        if random.random() < 0.6:  # else the next answer is several flushes away
            assert own.get("/") == built_anew(own.parts)
    assert own.get("/") == built_anew(own.parts)
    assert any(device["applications"] for device in own.get("/")["devices"])


def test_only_devices_that_a_flush_changed_are_read_again(
    own: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[str]] = []
    details = StoreReader.details

    def noting(reader: StoreReader, snapshot: Any, rows: Any, users: Any) -> Any:
        read.append([row.name for row in users])
        return details(reader, snapshot, rows, users)

    monkeypatch.setattr(StoreReader, "details", noting)
    said = own.store.netifyd
    own.store.flush(said.flow("a"), said.stats("a", 9, 9), said.flow("b", PHONE), said.stats("b", 1, 1))
    own.store.flush(elapsed_ms=15_000)
    own.get("/")
    own.get("/?limit=10")
    own.store.flush(said.stats("b", 5, 5), elapsed_ms=15_000)
    own.get("/")
    own.store.flush(elapsed_ms=15_000)  # its rate falls to 0
    own.get("/")
    own.store.flush(elapsed_ms=15_000)
    own.get("/")
    assert read == [[LAPTOP, PHONE], [], [PHONE], [PHONE], []]


def test_after_redis_lost_flushes_nothing_kept_is_used(own: Scene) -> None:
    """The numbers of the lost flushes are used again."""
    said = own.store.netifyd
    own.store.flush(said.flow("a"), said.stats("a", 100, 100))
    own.store.flush()
    own.get("/")
    log, latest = own.flushes, own.flushes.latest
    assert latest is not None
    keys = own.parts.reader.keys
    own.store.client.hset(keys.applications(LAPTOP), f"bu:{NETFLIX}", 1)  # what a restored Redis holds
    own.store.client.hset(keys.meta, mapping={"seq": latest.sequence, "at": latest.at_ms + 9})
    log.applied(latest.sequence, latest.at_ms + 9, [], [])
    (device,) = own.get("/")["devices"]
    assert device["applications"][0]["bytes_up"] == 1


def test_a_new_category_is_seen_on_devices_that_moved_nothing(own: Scene) -> None:
    said = own.store.netifyd
    own.store.flush(said.flow("a"), said.stats("a", 1, 1))
    own.store.flush()
    assert [one["category"] for one in own.get("/")["devices"][0]["applications"]] == [None]
    own.store.flush(said.flow("b", PHONE, category={"application": 29}), said.stats("b", 1, 1))
    for device in own.get("/")["devices"]:
        assert [one["category"] for one in device["applications"]] == ["streaming-media"]


@pytest.mark.parametrize("tag", [NETFLIX, "", 'a"b\\c', "\ud800", "%s %d", "é"])
def test_the_encoding_is_that_of_the_documents(own: Scene, tag: str) -> None:
    documents, categories = own.parts.documents, {tag: 29}
    rows = {tag: Counted(counts(1 << 60, -5, 1, 2, 3), (7, 8), None, 1_700_000_000_123)}
    applications = EncodedApplications(documents, FlushLog())
    encoded = applications.encode(applications.known(FlushStamp(1, 1), categories), rows)
    [document] = documents.applications(DeviceRow({}, applications=rows), categories)
    assert b'{"devices":[{"a":1,"list":' + encoded + b',"z":2}]}\n' == encode(
        {"devices": [{"a": 1, "list": [document], "z": 2}]}
    )
    assert encode({"devices": [{"a": 1, "list": encoded, "z": 2}, {"list": encoded}, {}]}) == encode(
        {"devices": [{"a": 1, "list": [document], "z": 2}, {"list": [document]}, {}]}
    )


def test_what_is_kept_is_bounded() -> None:
    log = FlushLog()
    log.applied(1, 10, [], [])
    applications = EncodedApplications(None, log, max_bytes=10)  # type: ignore[arg-type]
    known = applications.known(FlushStamp(1, 10), {})
    assert applications.unchanged(known) == {}
    for device in ("a", "b", "c"):
        applications.keep(known, device, Json(b"1234"))
    assert applications.unchanged(known) == {"a": b"1234", "b": b"1234"}
    log.applied(2, 20, ["a"], [])
    later = applications.known(FlushStamp(2, 20), {})
    assert applications.unchanged(later) == {"b": b"1234"}
    applications.keep(known, "a", Json(b"old"))
    assert applications.unchanged(later) == {"b": b"1234"}
    applications.keep(later, "c", Json(b"123456"))
    assert applications.unchanged(later) == {"b": b"1234", "c": b"123456"}
