"""Streams of /events: many, slow and vanished clients, Redis, HTTP and the daemon."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from api_server import ALIVE, a_scene, assert_problem
from event_client import Client
from events_scene import Events
from real_store import LAPTOP, NO_COUNTS, PHONE, TUNNEL
from records import account
from support import WAIT_S, Daemon, RedisServer, StandIn, certificate, eventually

from netify_agent.api.http.limits import EVENT_CLIENTS, WebLimits
from netify_agent.api.services import EventLimits
from netify_agent.store.changes_reader import Changes, ChangesReader
from netify_agent.store.rows import Counted, DeviceRow

# -- many, slow and gone ---------------------------------------------------------------------------


def test_the_store_is_read_once_for_all_who_follow(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    changes = ChangesReader.changes

    def counted(*arguments: Any) -> Changes:
        reads.append(arguments)
        return changes(*arguments)

    monkeypatch.setattr(ChangesReader, "changes", counted)
    clients = [events.follow() for _ in range(8)]
    events.followers(8)
    for count in range(1, 4):
        events.flush(events.said.flow("a"), events.said.stats("a", 1, 1))
        assert {client.event().id for client in clients} == {str(count)}
        assert len(reads) == count


@pytest.mark.parametrize("limits", [EventLimits(heartbeat_s=0.2)])
def test_one_too_many_is_asked_to_come_again_later(events: Events) -> None:
    clients = [events.follow() for _ in range(EVENT_CLIENTS)]
    events.followers(EVENT_CLIENTS)
    answer = events.scene.ask("/events")
    assert_problem(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0
    assert events.scene.get("/status")["web"]["event_clients"] == EVENT_CLIENTS
    assert events.scene.get("/healthz") == ALIVE
    clients[0].close()
    eventually(lambda: events.scene.flushes.followers < EVENT_CLIENTS, "its place is free again")
    another = events.follow()
    assert another.answer.status == 200


@pytest.mark.parametrize("limits", [EventLimits(heartbeat_s=0.05)])
def test_a_client_that_is_gone_gives_its_place_back(events: Events) -> None:
    for _ in range(3):
        events.follow().close()
    events.followers(0)


def test_a_client_that_takes_nothing_is_dropped(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [DeviceRow(NO_COUNTS, name="x" * 1000) for _ in range(1000)]

    def many(reader: ChangesReader, *arguments: Any) -> Changes:
        return Changes(events.scene.parts.last_flush(), Counted(NO_COUNTS), devices)

    monkeypatch.setattr(ChangesReader, "changes", many)
    events.scene.stop()
    events.scene.limits = WebLimits(idle_s=1)
    events.scene.start()
    with socket.create_connection(("127.0.0.1", events.scene.port)) as client:
        client.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        events.followers(1)

        def dropped() -> bool:
            events.flush()
            return events.scene.flushes.followers == 0

        eventually(dropped, "it is dropped")
    assert events.scene.get("/healthz") == ALIVE


@pytest.mark.parametrize("limits", [EventLimits(stream_s=0.5)])
def test_a_stream_ends_by_itself_and_the_client_goes_on(events: Events) -> None:
    events.flush()
    client = events.follow()
    assert client.event().id == "1"
    assert client.next() is None
    events.followers(0)
    events.flush()
    assert events.follow(1).event().id == "2"


@pytest.mark.parametrize("limits", [EventLimits(heartbeat_s=0.05)])
def test_a_silent_network_is_shown_to_be_alive(events: Events) -> None:
    client = events.follow()
    assert client.comment() == client.comment() == ""


def test_the_end_of_the_server_ends_all_streams_at_once(events: Events) -> None:
    events.flush()
    clients = [events.follow() for _ in range(EVENT_CLIENTS)]
    for client in clients:
        client.event()
    events.scene.flushes.close()
    for client in clients:
        assert client.next() is None
    events.followers(0)


# -- Redis, HTTP, the daemon -----------------------------------------------------------------------


def test_while_redis_is_away_the_stream_stays_and_says_so(directory: Path, tmp_path: Path) -> None:
    redis_server = RedisServer(directory)
    redis_server.start()
    scene = a_scene(redis_server.url, tmp_path)
    scene.start()
    events = Events(scene)
    try:
        events.flush(events.said.flow("a"), events.said.stats("a", 1, 1))
        redis_server.kill()
        client = events.follow()
        assert client.comment().startswith("Redis: ")
        redis_server.start()
        events.flush(events.said.stats("a", 1, 1))
        event = client.event()
        assert (event.name, event.id, event.data["totals"]["bytes_up"]) == ("flush", "2", 2)
        # Who is in step needs Redis no more than the first who asked.
        redis_server.kill()
        assert events.follow().event().data == event.data
    finally:
        scene.flushes.close()
        scene.stop()
        redis_server.kill()


def test_a_flush_that_the_store_does_not_show_any_more_is_told_with_the_next(events: Events) -> None:
    """Between being told of a flush and reading it, the next one came."""
    said = events.said
    events.flush(said.flow("a"), said.stats("a", 1, 1))
    client = events.follow()
    assert client.event().id == "1"
    store, log = events.scene.store, events.scene.flushes
    store.on_flush = lambda flush: None
    second = store.flush(said.flow("b", PHONE), said.stats("b", 1, 1))
    third = store.flush(said.flow("c", TUNNEL), said.stats("c", 1, 1))
    log.applied(second.sequence, second.at_ms, [PHONE], [])
    log.applied(third.sequence, third.at_ms, [TUNNEL], [])
    event = client.event()
    assert (event.id, event.devices) == ("3", {LAPTOP, PHONE, TUNNEL})  # the laptop has come to rest


def test_head_opens_no_stream(events: Events) -> None:
    answer = events.scene.ask("/events", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert events.scene.flushes.followers == 0


@pytest.mark.parametrize(
    ("accept", "status"), [("text/event-stream", 200), ("*/*", 200), ("application/json", 406)]
)
def test_only_who_takes_events_gets_them(events: Events, accept: str, status: int) -> None:
    assert events.scene.ask("/events", "HEAD", Accept=accept).status == status


def test_a_parameter_is_refused(events: Events) -> None:
    assert_problem(events.scene.ask("/events?since=1"), 400)
    assert events.scene.flushes.followers == 0


def test_old_http_gets_the_bare_stream(events: Events) -> None:
    events.flush()
    with socket.create_connection(("127.0.0.1", events.scene.port), timeout=WAIT_S) as client:
        client.sendall(b"GET /events HTTP/1.0\r\n\r\n")
        with client.makefile("rb") as lines:
            assert lines.readline().startswith(b"HTTP/1.0 200")
            while lines.readline() != b"\r\n":
                pass
            assert [lines.readline() for _ in range(3)] == [b"retry: 2000\n", b"\n", b"id: 1\n"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_curl_follows(events: Events) -> None:
    events.flush(events.said.flow("a"), events.said.stats("a", 1, 1))
    url = f"http://127.0.0.1:{events.scene.port}/events"
    with subprocess.Popen(["curl", "-sN", url], stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout is not None
        try:
            lines = [curl.stdout.readline() for _ in range(6)]
        finally:
            curl.kill()
    assert lines[:4] == ["retry: 2000\n", "\n", "id: 1\n", "event: flush\n"]
    assert lines[4].startswith('data: {"sequence":1,')
    assert lines[5] == "\n"


def test_the_daemon_tells_of_its_flushes_and_a_stop_is_not_held_up(daemon: Daemon, netifyd: StandIn) -> None:
    daemon.start()
    clients = [Client(daemon.port) for _ in range(3)]
    account(netifyd, daemon)
    for client in clients:
        while not (event := client.event()).data["devices"]:
            pass
        assert event.data["totals"]["bytes_down"] == 1000
    daemon.write_config()
    daemon.signal(signal.SIGHUP)  # who follows comes back, by the rules of the new configuration
    for client in clients:
        while client.next() is not None:
            pass
    resumed = Client(daemon.port, event.id)
    assert resumed.event().name == "flush"
    assert daemon.stop() == 0
    while resumed.next() is not None:
        pass


def test_events_are_followed_by_https_and_with_a_token_that_is_good(
    daemon: Daemon, netifyd: StandIn, directory: Path
) -> None:
    files = certificate(directory)
    tokens = directory / "tokens"
    tokens.write_text("0123456789abcdef\n")
    daemon.settings["web"]["tls"] = {"certificate": files.certificate, "key": files.key}
    daemon.settings["web"]["tokens_file"] = str(tokens)
    daemon.base, daemon.trusted = f"https://localhost:{daemon.port}", files.certificate
    daemon.write_config()
    daemon.start()
    tls = ssl.create_default_context(cafile=files.certificate)
    good = {"Authorization": "Bearer 0123456789abcdef"}
    assert Client(daemon.port, tls=tls).answer.status == 401
    clients = [Client(daemon.port, tls=tls, **good) for _ in range(3)]
    for client in clients:
        assert client.answer.status == 200
        first = client.event()
        assert int(client.event().id) == int(first.id) + 1
    tokens.write_text("fedcba9876543210\n")
    daemon.signal(signal.SIGHUP)
    for client in clients:
        while client.next() is not None:  # who may follow is asked anew
            pass
    assert Client(daemon.port, tls=tls, **good).answer.status == 401
    assert daemon.stop() == 0
