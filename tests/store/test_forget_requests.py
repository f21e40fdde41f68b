"""`netify-agent forget`: a device leaves the store on request, exactly once, and all sums stay."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

import pytest
from flusher_rig import Rig
from store_book import (
    LAPTOP,
    NETFLIX,
    PHONE,
    TUNNEL,
    YOUTUBE,
    Book,
    check_entries,
    counts,
    device_counts,
    everything,
)
from support import RedisServer, eventually

from netify_agent.netifyd.flow_record import OTHER_DEVICE
from netify_agent.store.audit import SumAudit
from netify_agent.store.client import StoreError, connect
from netify_agent.store.forget_requests import ForgetRequests, NoWriter, UnknownDevice
from netify_agent.store.layout import Keys
from netify_agent.store.lease import Holder, Lease
from netify_agent.store.retention import Due, Retention, WallClock

KEYS = Keys("gw1")


@pytest.fixture
def requests(book: Book) -> ForgetRequests:
    return ForgetRequests(book.client, "gw1")


def agrees(book: Book) -> None:
    """Every sum of docs/store.md, that no counter is below zero, and that no flow is listed wrongly."""
    snapshot = book.snapshot()
    for counter, total in snapshot.gateway.counters.items():
        rows = [*(row.counters for row in snapshot.devices), snapshot.unattributed, snapshot.forgotten]
        assert sum(row[counter] for row in rows) - snapshot.mirrored[counter] == total
        for name in book.client.zrange(KEYS.devices, 0, -1):
            device = book.reader.device(name)
            if device is not None:
                row = device.device
                for parts in (row.applications, row.protocols):
                    assert sum(part.counters[counter] for part in parts.values()) == row.counters[counter]
                    assert all(part.counters[counter] >= 0 for part in parts.values())
    check_entries(book.client, "gw1")


def test_an_active_device_is_removed_with_what_the_same_flush_adds(
    book: Book, requests: ForgetRequests
) -> None:
    said = book.netifyd
    book.flush(said.flow("a"), said.stats("a", 10, 20), said.flow("b", PHONE), said.stats("b", 1, 2))
    assert requests.add(LAPTOP) == 75
    assert not requests.is_done(LAPTOP)
    flush = book.flush(said.stats("a", 5, 7), said.flow("c", application=YOUTUBE), said.stats("c", 100, 0))
    assert flush.forget == (LAPTOP,)
    assert requests.is_done(LAPTOP)
    snapshot = book.reader.snapshot()
    assert [row.name for row in snapshot.devices] == [PHONE]
    assert snapshot.forgotten == counts(115, 27, 3, 2, 2)
    assert not [key for key in everything(book.client) if f":device:{LAPTOP}" in key and ":index:" not in key]
    assert all(LAPTOP not in dict(row.users) for row in (*book.applications(), *book.protocols()))
    assert book.writer.dropped_devices() == [LAPTOP]
    assert LAPTOP not in book.accountant.devices
    agrees(book)


def test_it_is_removed_once_whatever_happens_to_the_reply(book: Book, requests: ForgetRequests) -> None:
    said = book.netifyd
    book.flush(said.flow("a"), said.stats("a", 10, 20))
    requests.add(LAPTOP)
    flush = book.take()
    sent = book.writer.apply(flush)
    book.writer.apply(flush)
    book.writer.repeat(flush.sequence, sent)
    assert book.reader.snapshot().forgotten == counts(10, 20, 1, 1, 1)
    agrees(book)


def test_a_device_with_live_flows_comes_back_with_what_they_carry_from_then_on(
    book: Book, requests: ForgetRequests
) -> None:
    said = book.netifyd
    book.flush(said.flow("a"), said.stats("a", 10, 20))
    requests.add(LAPTOP)
    book.flush()
    book.flush(said.stats("a", 1, 2))
    assert device_counts(book) == {LAPTOP: counts(1, 2, 1, 1, 0)}
    assert book.reader.snapshot().forgotten == counts(10, 20, 1, 1, 1)
    assert LAPTOP in book.accountant.devices
    agrees(book)


@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_forgotten_is_not_moved_by_a_reclassification(
    book: Book, requests: ForgetRequests, restarted: bool
) -> None:
    """Of no row anything is taken away that it does not have, also by the next run of the agent."""
    said = book.netifyd
    book.flush(said.flow("a"), said.stats("a", 10, 20))
    requests.add(LAPTOP)
    book.flush()
    if restarted:
        book = Book(book.url, "gw1")
        book.netifyd = said
    book.flush(said.stats("a", 1, 2))
    book.flush(said.flow("a", application=YOUTUBE, first_seen_at=1_700_000_001_000), said.stats("a", 3, 4))
    (device,) = book.snapshot().devices
    assert {tag: row.counters for tag, row in device.applications.items()} == {YOUTUBE: counts(4, 6, 2, 2, 0)}
    assert {row.name: row.counters for row in book.applications()} == {
        NETFLIX: counts(10, 20, 1, 1, 1),
        YOUTUBE: counts(4, 6, 2, 2, 0),
    }
    agrees(book)


def test_two_forgotten_entries_that_turn_out_to_be_one_flow_are_not_counted_again(
    book: Book, requests: ForgetRequests
) -> None:
    """A chain of digests (v5) that becomes known afterwards."""
    said = book.netifyd
    book.flush(*(said.flow(name) for name in "ab"), *(said.stats(name, 1, 1) for name in "ab"))
    requests.add(LAPTOP)
    book.flush()
    book.flush(said.stats("b", 1, 2, digest_prev=["a"]))
    assert device_counts(book) == {LAPTOP: counts(1, 2, 1, 1, 0)}
    assert book.reader.snapshot().gateway.counters["flows"] == 2
    agrees(book)


def test_changes_that_arrive_during_the_flush_are_the_new_device(
    book: Book, requests: ForgetRequests
) -> None:
    """They are in the next batch already, among them a flow that moves to another application."""
    said = book.netifyd
    book.flush(said.flow("a"), said.stats("a", 10, 20), said.flow("b", TUNNEL), said.stats("b", 5, 5))
    requests.add(LAPTOP)
    flush = book.take()
    book.feed(said.stats("a", 1, 2), said.flow("a", application=YOUTUBE))
    book.writer.apply(flush)
    book.accountant.flushed(flush.batch.changed_devices(), book.writer.dropped_devices())
    assert LAPTOP in book.accountant.devices, "the next flush writes it"
    book.flush()
    assert device_counts(book)[LAPTOP] == counts(1, 2, 1, 1, 0)
    agrees(book)


def test_the_other_side_of_its_flows_keeps_what_it_has(book: Book, requests: ForgetRequests) -> None:
    said = book.netifyd
    to_phone = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}
    book.flush(said.flow("a", **to_phone), said.stats("a", 10, 20))
    requests.add(LAPTOP)
    book.flush()
    assert device_counts(book) == {PHONE: counts(20, 10, 1, 1, 1)}
    book.flush(said.stats("a", 1, 2), said.flow("a", application=YOUTUBE, **to_phone))
    assert device_counts(book) == {PHONE: counts(22, 11, 2, 2, 1), LAPTOP: counts(1, 2, 1, 1, 0)}
    agrees(book)


def test_ended_flows_of_the_device_are_removed_and_live_ones_stay(
    book: Book, requests: ForgetRequests
) -> None:
    said = book.netifyd
    book.flush(*(said.flow(name) for name in "ab"), *(said.stats(name, 1, 1) for name in "ab"))
    book.flush(said.purge("a"))
    requests.add(LAPTOP)
    book.flush()
    assert len(book.client.hgetall(KEYS.ended)) == 0
    assert [state.split(",")[-1] for state in book.client.hgetall(KEYS.flows).values()] == ["0]"]
    agrees(book)


def test_a_request_that_was_withdrawn_is_not_carried_out(book: Book, requests: ForgetRequests) -> None:
    said = book.netifyd
    book.flush(said.flow("a"), said.stats("a", 10, 20))
    requests.add(LAPTOP)
    flush = book.take()
    assert requests.withdraw(LAPTOP)
    book.writer.apply(flush)
    assert device_counts(book) == {LAPTOP: counts(10, 20, 1, 1, 1)}
    assert not requests.withdraw(LAPTOP), "there is none any more"
    agrees(book)


def test_a_request_withdrawn_during_the_flush_makes_it_fail_and_be_repeated_without_it(
    book: Book, requests: ForgetRequests
) -> None:
    said = book.netifyd
    book.flush(said.flow("a"), said.stats("a", 10, 20))

    class Withdrawn(Retention):
        def read(self, pipe: Any, clock: WallClock, requested: Iterable[str] = ()) -> Due:
            requests.withdraw(LAPTOP)
            return super().read(pipe, clock, requested)

    requests.add(LAPTOP)
    flush = book.take()
    retention = book.writer.retention
    book.writer.retention = Withdrawn(book.client, KEYS, 86400, 10_000)
    with pytest.raises(StoreError, match="the next attempt finds out"):
        book.writer.apply(flush)
    book.writer.retention = retention
    book.writer.apply(flush)
    assert device_counts(book) == {LAPTOP: counts(10, 20, 1, 1, 1)}


def test_a_request_past_its_deadline_is_not_carried_out(book: Book, requests: ForgetRequests) -> None:
    said = book.netifyd
    book.flush(said.flow("a"), said.stats("a", 10, 20))
    requests.add(LAPTOP)
    book.client.zadd(KEYS.forget, {LAPTOP: 1})
    book.flush()
    assert device_counts(book) == {LAPTOP: counts(10, 20, 1, 1, 1)}


def test_a_request_is_refused_while_nobody_would_see_it(book: Book, requests: ForgetRequests) -> None:
    said = book.netifyd
    with pytest.raises(UnknownDevice, match="no device"):
        requests.add(LAPTOP)
    book.flush(said.flow("a"), said.stats("a", 10, 20))
    meta = book.client.hgetall(KEYS.meta)
    holder = json.loads(meta["holder"])
    refusals = {
        "restart it first": {"schema": "2"},
        "has died": {"holder": json.dumps([*holder[:4], holder[4] + 1])},
        "start it first": {"renewed": "1"},
        "no netify-agent writes": {"lease": "0"},
    }
    for reason, fields in refusals.items():
        book.client.hset(KEYS.meta, mapping={**meta, **fields})
        with pytest.raises(NoWriter, match=reason):
            requests.add(LAPTOP)
    book.client.delete(KEYS.meta)
    with pytest.raises(NoWriter, match="start it first"):
        requests.add(LAPTOP)
    assert not book.client.exists(KEYS.forget)


def test_an_agent_elsewhere_gets_requests_as_long_as_its_lease_is_valid(
    book: Book, requests: ForgetRequests
) -> None:
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20))
    elsewhere = Lease(100, Holder("gw2", "f" * 32, "pid:[1]", 1, 1))
    book.client.hset(KEYS.meta, mapping=elsewhere.fields(int(book.client.time()[0]) * 1000))
    assert requests.add(LAPTOP) == 100


def test_the_row_of_all_other_devices_can_be_removed_too(shared_redis: RedisServer) -> None:
    connect(shared_redis.url, None).flushall()
    book = Book(shared_redis.url, "gw1", max_devices=1)
    said = book.netifyd
    book.flush(*(said.flow("a"), said.stats("a", 1, 1)), *(said.flow("b", PHONE), said.stats("b", 10, 20)))
    ForgetRequests(book.client, "gw1").add(OTHER_DEVICE)
    book.flush()
    assert set(device_counts(book)) == {LAPTOP}
    agrees(book)


@pytest.mark.parametrize("seed", range(20))
def test_sums_agree_whenever_devices_are_removed(book: Book, requests: ForgetRequests, seed: int) -> None:
    """Random traffic, reclassifications, moves between devices, ends, restarts and removals."""
    chance = random.Random(seed)
    said = book.netifyd
    devices, digests = [LAPTOP, PHONE, TUNNEL], [f"f{number}" for number in range(8)]
    to_phone = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}
    audit = SumAudit(book.client, "gw1")
    for _ in range(40):
        for _ in range(chance.randrange(6)):
            digest = chance.choice(digests)
            more = to_phone if chance.random() < 0.3 else {}
            if chance.random() < 0.4:
                row = chance.choice(devices), chance.choice([NETFLIX, YOUTUBE])
                record = said.flow(digest, *row, **more)
            else:
                record = said.stats(digest, chance.randrange(100), chance.randrange(100))
            book.feed(record)
        if chance.random() < 0.3:
            device = chance.choice(devices)
            if book.reader.knows(device):
                requests.add(device)
        flush = book.take()
        for _ in range(chance.randrange(3)):
            book.feed(said.stats(chance.choice(digests), 1, 1))
            book.feed(said.flow(chance.choice(digests), chance.choice(devices), YOUTUBE))
        book.writer.apply(flush)
        book.accountant.flushed(flush.batch.changed_devices(), book.writer.dropped_devices())
        audit.grow(book.writer.growth)
        audit.step(flush.sequence)
        assert audit.breach is None
        book.bucket += 300 * chance.randrange(2)
        if chance.random() < 0.1:
            book = Book(book.url, "gw1")
            book.netifyd = said
    agrees(book)


def test_the_flusher_takes_requests_before_a_batch(shared_redis: RedisServer) -> None:
    connect(shared_redis.url, None).flushall()
    rig = Rig(shared_redis.url).start()
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.stats("a", 10, 20))
    rig.flush()
    requests = ForgetRequests(rig.client, "gw1")
    requests.add(LAPTOP)
    eventually(lambda: requests.is_done(LAPTOP), "the device is forgotten")
    snapshot = rig.snapshot()
    rig.stop()
    assert snapshot.devices == []
    assert snapshot.forgotten == counts(10, 20, 1, 1, 1)
