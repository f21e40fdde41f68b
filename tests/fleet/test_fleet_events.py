"""``/events`` of a collector."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from collector_run import ADMIN, TENANT, CollectorRun
from event_client import Client
from jsonschema import Draft202012Validator
from sending_gateway import SendingGateway
from support import RedisServer, eventually

Follow = Callable[..., Client]


@pytest.fixture
def follow(collector: CollectorRun) -> Iterator[Follow]:
    with ExitStack() as stack:

        def one(last_event_id: str | None = None, token: str = ADMIN, **headers: str) -> Client:
            headers["Authorization"] = f"Bearer {token}"
            return stack.enter_context(closing(Client(collector.port, last_event_id, **headers)))

        yield one


@pytest.fixture
def gateway(directory: Path, redis_server: RedisServer, collector: CollectorRun) -> Callable[[str], Any]:
    def one(name: str) -> SendingGateway:
        found = SendingGateway(directory, redis_server.url, name, collector)
        found.move(10, 20)
        found.forward()
        return found

    return one


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_client_gets_the_gateways_that_changed(
    collector: CollectorRun, gateway: Callable[[str], SendingGateway], follow: Follow, encoding: str
) -> None:
    first, second = gateway("gw1"), gateway("branch-1")
    client = follow(**{"Accept-Encoding": encoding})
    assert client.answer.status == 200
    assert client.answer.headers["Content-Type"] == "text/event-stream"
    reset = client.event()
    assert client.retry == "2000"
    whole = collector.get("/gateways")[1]
    assert (reset.name, reset.data["gateways"]) == ("reset", [])
    assert reset.data["totals"] == whole["totals"]
    assert reset.data["generated_at"] == whole["generated_at"]
    for each, other in ((first, second), (second, first)):
        each.move(1000, 2000)
        each.forward()
        changed = client.event()
        rows = {row["gateway"]: row for row in collector.get("/gateways")[1]["gateways"]}
        assert changed.name == "gateways" and changed.id != reset.id
        assert changed.data["gateways"] == [rows[each.name]]
        assert rows[each.name]["bytes_down"] != rows[other.name]["bytes_down"] or each is second
        assert changed.data["totals"] == collector.get("/gateways")[1]["totals"]


def test_a_client_resumes_at_any_collector(
    directory: Path, collector: CollectorRun, gateway: Callable[[str], SendingGateway], follow: Follow
) -> None:
    sender = gateway("gw1")
    known = follow().event()
    place = directory / "other"
    place.mkdir()
    other = CollectorRun(place, collector.settings["redis"]["url"])
    other.start()
    try:
        headers = {"Authorization": f"Bearer {ADMIN}"}
        with closing(Client(other.port, known.id, **headers)) as resumed:
            sender.move(5, 6)
            sender.forward()
            changed = resumed.event()
            assert changed.name == "gateways"
            assert [row["gateway"] for row in changed.data["gateways"]] == ["gw1"]
        for outdated in (known.id, "0", "-1", "x", "9" * 30):
            with closing(Client(other.port, outdated, **headers)) as behind:
                event = behind.event()
                assert (event.name, event.id) == ("reset", changed.id), outdated
    finally:
        other.stop()


def test_a_client_hears_nothing_of_gateways_that_it_does_not_see(
    gateway: Callable[[str], SendingGateway], follow: Follow
) -> None:
    hidden, visible = gateway("gw1"), gateway("branch-1")
    client = follow(token=TENANT)
    reset = client.event()
    assert (reset.data["totals"]["gateways"], reset.data["totals"]["bytes_down"]) == (2, 20)
    hidden.move(7, 7)
    hidden.forward()
    heard = len(client.comments)
    eventually(lambda: follow(token=TENANT, last_event_id=reset.id).answer.status == 200, "it answers")
    visible.move(1, 2)
    visible.forward()
    changed = client.event()
    assert [row["gateway"] for row in changed.data["gateways"]] == ["branch-1"]
    assert changed.data["totals"]["bytes_down"] == 22 and len(client.comments) >= heard


def test_a_stream_ends_when_the_tokens_are_replaced(collector: CollectorRun, follow: Follow) -> None:
    client = follow(token=TENANT)
    client.event()
    readers = collector.readers.read_text().splitlines()
    collector.readers.write_text(readers[0] + "\n")
    assert collector.process is not None
    os.kill(collector.process.pid, signal.SIGHUP)
    assert client.next() is None
    assert follow(token=TENANT).answer.status == 401


def test_a_stream_does_not_delay_the_stop_of_the_collector(collector: CollectorRun, follow: Follow) -> None:
    client = follow()
    client.event()
    assert collector.stop() == 0
    with suppress(http.client.IncompleteRead):  # the server may close the connection before the last chunk
        assert client.next() is None
    assert collector.log.read_text().endswith("stopped\n")


def test_readers_share_the_streams(collector: CollectorRun, follow: Follow) -> None:
    taken = [follow(token=TENANT) for _ in range(8)]
    for client in taken:
        client.event()
    refused = follow(token=TENANT)
    assert refused.answer.status == 503 and refused.answer.headers["Retry-After"] == "30"
    assert "8 with the patterns of this token" in json.loads(refused.answer.read())["detail"]
    others = [follow() for _ in range(8)]
    for client in others:
        client.event()
    assert collector.get("/gateways")[0] == 200
    taken.pop().close()
    again = eventually(lambda: _admitted(follow(token=TENANT)), "a place is free")
    again.event()


def _admitted(client: Client) -> Client | None:
    return client if client.answer.status == 200 else None


def test_a_stream_outlasts_an_outage_of_redis(
    collector_redis: RedisServer, gateway: Callable[[str], SendingGateway], follow: Follow
) -> None:
    sender = gateway("gw1")
    client = follow()
    client.event()
    collector_redis.kill()
    eventually(lambda: client.comment().startswith("Redis: "), "the stream says that Redis is away")
    collector_redis.start()
    sender.move(3, 4)

    def arrives() -> bool:
        sender.forward()
        return client.event().data["totals"]["bytes_down"] == 24

    eventually(arrives, "the change arrives")


def test_head_opens_no_stream(collector: CollectorRun) -> None:
    for _ in range(20):
        status, body, headers = collector.exchange("HEAD", "/events")
        assert (status, body, headers["Content-Type"]) == (200, b"", "text/event-stream")
    assert collector.exchange("GET", "/events", token="wrong")[0] == 401


def test_events_are_described(
    collector: CollectorRun, gateway: Callable[[str], SendingGateway], follow: Follow
) -> None:
    sender = gateway("gw1")
    document = collector.get("/openapi.json")[1]
    described = document["paths"]["/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    components = document["components"]
    name = described["schema"]["$ref"].rpartition("/")[2]
    data = components["schemas"][name]["properties"]["data"]["contentSchema"]
    validator = Draft202012Validator({**described["schema"], "components": components})
    of_data = Draft202012Validator({**data, "components": components})
    client = follow()
    events = [client.event()]
    sender.move(1, 1)
    sender.forward()
    events.append(client.event())
    assert [event.name for event in events] == ["reset", "gateways"]
    for event in events:
        validator.validate({"id": event.id, "event": event.name, "data": json.dumps(event.data)})
        of_data.validate(event.data)
