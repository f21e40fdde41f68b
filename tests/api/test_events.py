"""Promises of ``/events``, over real sockets: nothing is missed, nobody is held up, all ends in time."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from api_server import assert_problem
from event_client import Client
from events_scene import Events
from jsonschema import Draft202012Validator
from real_store import LAPTOP, PHONE, TUNNEL

from netify_agent.alerts.alert import Alert
from netify_agent.store.changes_reader import ChangesReader
from netify_agent.store.layout import Keys

DEVICE = [
    *("device", "mac", "ip", "name", "groups", "active", "last_seen"),
    *("bytes_up", "bytes_down", "packets_up", "packets_down", "flows", "rate_up", "rate_down"),
]


# -- what is told ----------------------------------------------------------------------------------


def test_an_event_is_what_the_openapi_document_says(events: Events) -> None:
    events.flush(events.said.flow("a"), events.said.stats("a", 1500, 3000))
    event = events.follow().event()
    assert event.devices
    document = events.scene.get("/openapi.json")
    components = document["components"]
    [told] = document["paths"]["/events"]["get"]["responses"]["200"]["content"].values()
    whole = {"id": event.id, "event": event.name, "data": json.dumps(event.data)}
    Draft202012Validator({**told["schema"], "components": components}).validate(whole)
    data = components["schemas"]["Event"]["properties"]["data"]["contentSchema"]
    Draft202012Validator({**data, "components": components}).validate(event.data)


def test_each_flush_is_told_with_what_it_changed(events: Events) -> None:
    said = events.said
    events.flush(said.flow("a"), said.stats("a", 1500, 3000), said.flow("b", TUNNEL), said.stats("b", 15, 30))
    client = events.follow()
    assert client.answer.status == 200
    assert client.answer.headers["Content-Type"] == "text/event-stream"
    assert client.answer.headers["Cache-Control"] == "no-store"
    first = client.event()
    assert client.retry == "2000"
    assert (first.name, first.id) == ("flush", "1")
    network = events.scene.get("/")
    assert list(first.data) == ["sequence", "generated_at", "interval", "totals", "devices"]
    assert first.data["sequence"] == 1
    for key in ("generated_at", "interval", "totals"):
        assert first.data[key] == network[key]
    told = {device["device"]: device for device in first.data["devices"]}
    assert set(told) == {LAPTOP, TUNNEL}
    for device in network["devices"]:
        of_event = told[device["mac"] or device["ip"]]
        assert list(of_event) == DEVICE
        assert {key: of_event[key] for key in DEVICE[1:]} == {key: device[key] for key in DEVICE[1:]}
    events.flush(said.stats("b", 1, 2))
    second = client.event()
    assert (second.name, second.id, second.data["sequence"]) == ("flush", "2", 2)
    assert second.data["totals"]["bytes_up"] == 1516
    # The laptop carried nothing, so its rate is another one now.
    told = {device["device"]: device for device in second.data["devices"]}
    assert told[LAPTOP]["rate_up"] == 0
    assert (told[LAPTOP]["bytes_up"], told[TUNNEL]["bytes_up"]) == (1500, 16)
    events.flush(said.stats("b", 1, 2))
    assert client.event().devices == {TUNNEL}


def test_a_device_that_falls_silent_is_told_to_be_inactive(events: Events) -> None:
    said = events.said
    now = int(time.time() * 1000)
    events.flush(said.flow("a"), said.stats("a", 1, 1), at_ms=now)
    client = events.follow()
    assert client.event().data["devices"][0]["active"] is True
    events.flush(at_ms=now + 60_000)
    assert [device["active"] for device in client.event().data["devices"]] == [True]  # at rest now
    events.flush(at_ms=now + 60_001)
    (silent,) = client.event().data["devices"]
    assert (silent["device"], silent["active"]) == (LAPTOP, False)
    events.flush(at_ms=now + 75_000)
    assert client.event().data["devices"] == []


def test_who_comes_before_the_first_flush_waits_for_it(events: Events) -> None:
    clients = [events.follow(), events.follow(7)]
    events.flush(events.said.flow("a"), events.said.stats("a", 1, 1))
    told = [client.event() for client in clients]
    assert [event.name for event in told] == ["flush", "reset"]  # nobody knows what was before
    assert [event.id for event in told] == ["1", "1"]


# -- going on --------------------------------------------------------------------------------------


def test_missed_flushes_come_in_one_event(events: Events) -> None:
    said = events.said
    events.flush(said.flow("a"), said.stats("a", 1, 1))
    client = events.follow()
    known = client.event().id
    client.close()
    events.flush(said.flow("b", PHONE), said.stats("b", 1, 1))
    events.flush(said.flow("c", TUNNEL), said.stats("c", 1, 1))
    events.flush(said.stats("c", 1, 1))
    again = events.follow(known)
    event = again.event()
    assert (event.name, event.id) == ("flush", "4")
    assert event.devices == {LAPTOP, PHONE, TUNNEL}  # the laptop has come to rest
    assert events.follow(2).event().devices == {PHONE, TUNNEL}
    events.flush(said.stats("a", 1, 1))
    assert again.event().id == "5"


def test_who_knows_the_latest_hears_of_the_next(events: Events) -> None:
    known = events.flush(events.said.flow("a"), events.said.stats("a", 1, 1))
    client = events.follow(known)
    events.followers(1)
    events.flush()
    assert client.event().id == str(known + 1)


@pytest.mark.parametrize("unknown", ["0", "99", "-1", "x", "1x", "١", "1" * 400])
def test_an_id_that_is_not_known_begins_anew(events: Events, unknown: str) -> None:
    events.flush(events.said.flow("a"), events.said.stats("a", 1, 1))
    client = Client(events.scene.port, unknown.encode().decode("latin-1"))
    events.clients.append(client)
    event = client.event()
    assert (event.name, event.id, event.data["devices"]) == ("reset", "1", [])
    assert event.data["totals"]["bytes_up"] == 1
    events.flush(events.said.stats("a", 1, 1))
    event = client.event()
    assert (event.name, event.id, event.devices) == ("flush", "2", {LAPTOP})


def test_redis_that_lost_flushes_sends_who_follows_to_begin_anew(events: Events) -> None:
    said = events.said
    events.flush(said.flow("a"), said.stats("a", 1, 1))
    events.flush()
    events.flush()
    client = events.follow()
    assert client.event().id == "3"
    scene = events.scene
    scene.store.client.hset(Keys(scene.gateway).meta, "seq", 2)
    scene.flushes.applied(2, int(time.time() * 1000), [LAPTOP], [])
    assert client.next() is None
    again = events.follow(3)
    assert again.event().name == "reset"
    scene.store.client.hset(Keys(scene.gateway).meta, "seq", 3)
    scene.flushes.applied(3, int(time.time() * 1000), [LAPTOP], [])
    event = again.event()
    assert (event.name, event.id, event.devices) == ("flush", "3", {LAPTOP})  # and goes on from there


# -- alerts ----------------------------------------------------------------------------------------


def alert(number: int) -> Alert:
    """An alert with an id of its own."""
    text = "new device: {who}"
    return Alert(f"{number:016x}", "new", "new_device", "info", text, 1_796_000_000_000, device=LAPTOP)


def ids(*events: Any) -> list[str]:
    return [event.data["id"] if event.name == "alert" else event.id for event in events]


def test_an_alert_is_told_before_the_flush_that_made_it_known(events: Events) -> None:
    said, log = events.said, events.scene.flushes
    events.flush(said.flow("a"), said.stats("a", 1, 1))
    client = events.follow()
    assert client.event().id == "1"
    log.announce([alert(1)])
    events.flush()
    told = client.event()
    assert (told.name, told.id) == ("alert", "")
    components = events.scene.get("/openapi.json")["components"]
    Draft202012Validator({"$ref": "#/components/schemas/AlertEvent", "components": components}).validate(
        told.data
    )
    assert told.data["summary"] == f"New device: {LAPTOP}"
    assert client.event().id == "2"
    log.announce([alert(2)])  # without a flush, as while Redis is away
    assert client.event().data["id"] == alert(2).id


def test_who_resumes_gets_the_alerts_that_it_may_have_missed(events: Events) -> None:
    said, log = events.said, events.scene.flushes
    events.flush(said.flow("a"), said.stats("a", 1, 1))
    for number in (2, 3):
        log.announce([alert(number)])
        events.flush()
    log.announce([alert(4)])
    known = {1: [2, 3, 4], 2: [3, 4], 3: [4]}
    for position, missed in known.items():
        client = events.follow(position)
        assert ids(*(client.event() for _ in missed)) == [alert(number).id for number in missed]
        client.close()
    new = events.follow()
    assert new.event().id == "3"  # a new client reads /alerts
    log.announce([alert(5)])
    assert new.event().data["id"] == alert(5).id


def test_who_missed_more_alerts_than_are_remembered_begins_anew(events: Events) -> None:
    said, log = events.said, events.scene.flushes
    events.flush(said.flow("a"), said.stats("a", 1, 1))
    log.announce([alert(number) for number in range(1001)])
    events.flush()
    client = events.follow(1)
    names = [client.event().name for _ in range(1001)]
    assert (names.count("alert"), names[-1]) == (1000, "reset")


# -- gzip, and events without devices --------------------------------------------------------------

GZIP = {"Accept-Encoding": "gzip"}


def test_a_compressed_event_can_be_read_as_soon_as_it_comes(events: Events) -> None:
    said = events.said
    plain, packed = events.follow(), events.follow(**GZIP)
    assert plain.answer.headers["Content-Encoding"] is None
    assert packed.answer.headers["Content-Encoding"] == "gzip"
    for client in (plain, packed):
        assert "Accept-Encoding" in client.answer.headers["Vary"]
    for number in range(3):
        flows = [said.flow(f"f{n}", f"02:00:00:00:07:{n:02x}") for n in range(40)]
        events.flush(*flows, said.stats("f1", 1, number))
        assert packed.event() == plain.event()
    events.scene.flushes.send_away()
    assert packed.next() is None  # a whole gzip member, to its checksum
    assert 0 < packed.received < 40 * 3 * 100


def test_head_declares_the_compression(events: Events) -> None:
    assert events.scene.ask("/events", "HEAD", Accept_Encoding="gzip").headers["Content-Encoding"] == "gzip"
    assert events.scene.ask("/events", "HEAD").headers["Content-Encoding"] is None


def test_without_devices_an_event_has_totals_only_and_no_device_is_read(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    changes = ChangesReader.changes

    def noting(reader: ChangesReader, changed: Any, since_ms: Any, *others: Any) -> Any:
        asked.append((changed, since_ms))
        return changes(reader, changed, since_ms, *others)

    monkeypatch.setattr(ChangesReader, "changes", noting)
    said = events.said
    few, all_ = events.follow(query="?devices=false"), events.follow(query="?devices=true")
    events.flush(said.flow("a"), said.stats("a", 1, 1))
    first, whole = few.event(), all_.event()
    assert first.data == {key: value for key, value in whole.data.items() if key != "devices"}
    assert (first.name, first.id, whole.devices) == ("flush", "1", {LAPTOP})
    assert ((), None) in asked and len(asked) == 2
    events.flush(said.stats("a", 1, 1))
    assert "devices" not in events.follow(1, "?devices=false").event().data
    assert "devices" not in events.follow(77, "?devices=false").event().data  # a reset
    assert_problem(events.scene.ask("/events?devices=no"), 400)
