"""A copy of a gateway's store, made of messages, equals the store: every key, to the byte."""

from __future__ import annotations

import json
import random

import pytest
from real_store import LAPTOP, NETFLIX, PHONE, YOUTUBE, RealStore, everything
from redis_topologies import RedisCluster
from replica_copy import copied
from support import RedisServer

from netify_agent.accounting.accountant import Accountant
from netify_agent.config.calendar import DAY_S, HOUR_S
from netify_agent.store import replica_sink
from netify_agent.store.client import StoreRefused, connect
from netify_agent.store.history_reader import HistoryReader
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import Keys
from netify_agent.store.reader import StoreReader
from netify_agent.store.replica import HEAD, unit_of
from netify_agent.store.replica_columns import Invalid
from netify_agent.store.replica_message import Incoming
from netify_agent.store.replica_sink import OtherPosition, ReplicaSink
from netify_agent.store.replica_source import Known, NotYet, ReplicaSource

STEPS = HistorySteps({300: 2 * DAY_S, HOUR_S: 31 * DAY_S, DAY_S: 400 * DAY_S})
BEGIN = 1_790_000_100  # a multiple of 300
KEYS = Keys("gw1")
CAST = "netify.chromecast"  # between two devices of the network
LOCAL = {"other_type": "local", "other_mac": "02:00:00:00:00:07", "other_ip": "192.168.1.7"}


class Line:
    """A gateway, a collector in another database, and the line between them."""

    def __init__(self, server: RedisServer, max_history: int = 1 << 18) -> None:
        connect(server.url, None).flushall()
        self.store = RealStore(server.url, "gw1", history=STEPS, forget_after_s=DAY_S)
        self.store.accountant = Accountant(200_000, BEGIN)  # its first bucket is not today's
        self.source = ReplicaSource(self.store.client, "gw1", STEPS, {"interval": "15"}, max_history)
        self.client = connect(server.url.replace("db=0", "db=1"), None)
        self.sink = ReplicaSink(lambda gateway: self.client, lambda settings: STEPS)
        self.known = Known()
        self.at = BEGIN

    def move(self, *moved: tuple[str, str, int, int], seconds: int = 75) -> None:
        """A flush ``seconds`` after the last: device, application, bytes up and down."""
        self.at += seconds
        netifyd, records = self.store.netifyd, []
        for device, application, up, down in moved:
            digest = f"{device}/{application}"
            fields = LOCAL if application == CAST else {}
            records += [netifyd.flow(digest, device, application, **fields), netifyd.stats(digest, up, down)]
        self.store.bucket = STEPS.bucket(self.at)
        self.store.flush(*records, at_ms=self.at * 1000)

    def ask(self) -> None:
        """The gateway starts again: it knows only what the collector says."""
        self.known = Known(*self.sink.position("gw1"))

    def send(self) -> list[int]:
        """Send messages until the collector has everything. Returns their sizes."""
        sizes = []
        while not sizes or not self.known.complete:
            data, self.known = self.source.message(self.known)
            self.sink.apply("gw1", data)
            sizes.append(len(data))
        return sizes

    def check(self) -> None:
        """The copy equals the store."""
        here, there = (copied(everything(client)) for client in (self.store.client, self.client))
        assert there == here


@pytest.fixture
def line(shared_redis: RedisServer) -> Line:
    return Line(shared_redis)


def test_there_is_nothing_to_copy_before_the_first_flush(line: Line) -> None:
    with pytest.raises(NotYet):
        line.send()


def test_a_copy_equals_the_store_after_each_message(line: Line) -> None:
    chance = random.Random(15)
    devices = [LAPTOP, PHONE, "10.8.0.2"]
    for _ in range(120):
        line.move(
            *(
                (chance.choice(devices), chance.choice((NETFLIX, YOUTUBE, CAST)), chance.randrange(9), 7 * n)
                for n in (1, 2)
            ),
            seconds=chance.choice((15, 75, 300, HOUR_S)),
        )
        if chance.random() < 0.3:
            if chance.random() < 0.2:
                line.ask()
            line.send()
            line.check()
    line.send()
    line.check()
    reader = HistoryReader(line.client, "gw1", STEPS)
    for step in (300, HOUR_S, DAY_S):
        periods = STEPS.calendar.periods(step, line.at - DAY_S, line.at)
        for series in ("", LAPTOP, PHONE):
            mine = line.store.history.buckets(series, step, periods, applications=True)
            assert reader.buckets(series, step, periods, applications=True) == mine
    there, here = (
        StoreReader(line.client, "gw1").snapshot(addresses=True),
        line.store.reader.snapshot(addresses=True),
    )
    assert (there.devices, there.gateway, there.mirrored) == (here.devices, here.gateway, here.mirrored)
    assert there.flush.at_ms == here.flush.at_ms


def test_only_what_changed_is_sent(line: Line) -> None:
    line.move((LAPTOP, NETFLIX, 1, 2), (PHONE, YOUTUBE, 3, 4))
    line.send()
    line.move((PHONE, YOUTUBE, 5, 6))
    data, _ = line.source.message(line.known)
    names = Incoming(data).names(line.known.digests)
    assert names.sent == {HEAD, f"device:{PHONE}", f"open:{STEPS.bucket(line.at)}"}
    assert not names.gone | names.blind


def test_a_message_that_comes_twice_or_late_changes_nothing(line: Line) -> None:
    line.move((LAPTOP, NETFLIX, 1, 2))
    first, known = line.source.message(line.known)
    line.move((LAPTOP, NETFLIX, 1, 2))
    rival, _ = line.source.message(line.known)
    line.sink.apply("gw1", first)
    after = everything(line.client)
    line.sink.apply("gw1", first)
    with pytest.raises(OtherPosition):
        line.sink.apply("gw1", rival)  # it continues a position that is past
    assert everything(line.client) == after
    line.known = known
    line.send()
    latest = everything(line.client)
    with pytest.raises(OtherPosition):
        line.sink.apply("gw1", first)
    assert everything(line.client) == latest
    line.check()


def test_a_collector_that_lost_everything_gets_everything(line: Line) -> None:
    for _ in range(30):
        line.move((LAPTOP, NETFLIX, 1, 2), seconds=300)
    line.send()
    line.client.flushdb()
    line.ask()
    line.send()
    line.check()


def test_history_comes_in_parts_with_the_newest_first(shared_redis: RedisServer) -> None:
    line = Line(shared_redis, max_history=1)
    for _ in range(60):
        line.move((LAPTOP, NETFLIX, 1, 2), seconds=300)
    data, known = line.source.message(line.known)
    starts = [int(start) for start in line.store.client.zrange(KEYS.chunks(300), 0, -1)]
    due = {tuple(unit) for unit in json.loads(line.store.client.hget(KEYS.history, "due"))}
    closed = [(300, start) for start in starts if (300, start) not in due]
    sent = {item for item in map(unit_of, Incoming(data).names([]).sent) if item} - due
    assert not known.complete and sent == {max(closed)}
    line.sink.apply("gw1", data)
    line.known = known
    totals = StoreReader(line.client, "gw1").snapshot()
    assert totals.gateway == line.store.reader.snapshot().gateway
    left = []
    while not line.known.complete:
        left.append(line.known.left)
        data, line.known = line.source.message(line.known)
        line.sink.apply("gw1", data)
    assert left == sorted(left, reverse=True) and len(left) > len(closed)
    line.check()
    for start in starts:
        ttl = line.client.ttl(KEYS.chunk((300, start), LAPTOP))
        assert ttl == -1 if (300, start) in due else ttl > 0


def test_the_open_history_of_many_devices_comes_in_parts(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netify_agent.store.replica_source.MAX_DUE", 1)
    for _ in range(20):
        line.move((LAPTOP, NETFLIX, 1, 2), (PHONE, YOUTUBE, 3, 4), seconds=300)
    data, line.known = line.source.message(line.known)
    line.sink.apply("gw1", data)
    assert not line.known.complete
    totals = StoreReader(line.client, "gw1").snapshot()
    assert totals.devices == line.store.reader.snapshot().devices
    line.move((LAPTOP, NETFLIX, 1, 2), seconds=300)
    assert len(line.send()) > 3
    line.check()


def test_a_collector_with_other_contents_gets_them_whole(line: Line) -> None:
    line.move((LAPTOP, NETFLIX, 1, 2), (PHONE, YOUTUBE, 3, 4))
    line.send()
    line.client.hincrby(KEYS.totals(PHONE), "bu", 7)
    before = everything(line.client)
    line.move((PHONE, YOUTUBE, 3, 4))
    data, _ = line.source.message(line.known)
    with pytest.raises(OtherPosition):
        line.sink.apply("gw1", data)
    items = before.pop(KEYS.copy_items)
    assert {**everything(line.client), KEYS.copy_items: items} == {**before, KEYS.copy_items: items}
    line.ask()
    assert f"device:{PHONE}" not in line.known.digests
    line.send()
    line.check()


def test_a_closed_chunk_that_changed_is_found_in_time(line: Line) -> None:
    for _ in range(14 * 12):
        line.move((LAPTOP, NETFLIX, 1, 2), seconds=300)
    line.send()
    oldest = line.store.client.zrange(KEYS.chunks(300), 0, 0)[0]
    chunk = KEYS.chunk((300, int(oldest)), LAPTOP)
    line.store.client.append(chunk, line.store.client.get(chunk))
    messages = 0
    while line.client.get(chunk) != line.store.client.get(chunk):
        line.move((LAPTOP, NETFLIX, 1, 2))
        line.send()
        messages += 1
        assert messages < 24
    line.check()


def test_a_store_that_an_agent_writes_is_not_overwritten(line: Line) -> None:
    line.move((LAPTOP, NETFLIX, 1, 2))
    data, _ = line.source.message(line.known)
    before = everything(line.store.client)
    with pytest.raises(StoreRefused, match="an agent writes gateway 'gw1'"):
        ReplicaSink(lambda gateway: line.store.client, lambda settings: STEPS).apply("gw1", data)
    assert everything(line.store.client) == before


def test_closed_chunks_expire_at_the_collector_too(line: Line) -> None:
    for _ in range(60):
        line.move((LAPTOP, NETFLIX, 1, 2), seconds=300)
        line.send()
    due = {tuple(unit) for unit in json.loads(line.store.client.hget(KEYS.history, "due"))}
    for start in map(int, line.store.client.zrange(KEYS.chunks(300), 0, -1)):
        ttl = line.client.ttl(KEYS.chunk((300, start), LAPTOP))
        assert ttl == -1 if (300, start) in due else 0 < ttl <= 2 * DAY_S + HOUR_S


def test_a_device_that_was_dropped_is_dropped_at_the_collector(line: Line) -> None:
    line.move((LAPTOP, NETFLIX, 1, 2), (PHONE, YOUTUBE, 3, 4))
    for _ in range(30):
        line.move((LAPTOP, NETFLIX, 1, 2), seconds=300)
    line.send()
    assert line.client.exists(KEYS.totals(PHONE))
    for _ in range(3):
        line.move((LAPTOP, NETFLIX, 1, 2), seconds=8 * HOUR_S)
    assert not line.store.client.exists(KEYS.totals(PHONE))
    line.send()
    line.check()
    assert [key for key in everything(line.client) if PHONE in key] == []


def test_a_copy_in_a_cluster_has_each_gateway_where_its_slot_is(line: Line, cluster: RedisCluster) -> None:
    clients = {name: connect(cluster.url, None, gateway=name) for name in ("gw1", "gw2", "gw3")}
    sink = ReplicaSink(clients.__getitem__, lambda settings: STEPS)
    known = dict.fromkeys(clients, Known())
    for _ in range(3):
        line.move((LAPTOP, NETFLIX, 1, 2), (PHONE, YOUTUBE, 3, 4), seconds=300)
        for name, client in clients.items():
            data, known[name] = line.source.message(known[name])
            sink.apply(name, data)
            assert known[name].complete and sink.position(name).position == known[name].position
            snapshot = StoreReader(client, name).snapshot()
            assert snapshot.gateway == line.store.reader.snapshot().gateway


@pytest.mark.parametrize("limit", ["MAX_ITEMS", "MAX_READ"])
def test_a_copy_that_would_have_no_end_is_refused(
    line: Line, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    line.move((PHONE, NETFLIX, 100, 200), (LAPTOP, YOUTUBE, 1, 2))
    line.send()
    line.move((PHONE, NETFLIX, 100, 200), seconds=300)
    before = everything(line.client)
    data, _ = line.source.message(line.known)
    monkeypatch.setattr(replica_sink, limit, 1)
    with pytest.raises(Invalid):
        line.sink.apply("gw1", data)
    assert everything(line.client) == before
