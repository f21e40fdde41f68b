"""Pages of flows out of a real Redis: in order, complete, filtered, and at the cost of a page."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_store import LAPTOP, NETFLIX, PHONE, TUNNEL, YOUTUBE, RealStore, flow_id, risky
from support import RedisServer

from netify_agent.netifyd.flow_record import UNKNOWN
from netify_agent.store.client import StoreError, connect
from netify_agent.store.flow_reader import FlowFilter, FlowPosition, FlowReader, FlowRow, RiskRow
from netify_agent.store.layout import Keys

T0 = 1_700_000_000_000


def begin(
    store: RealStore, digest: str, device: str = LAPTOP, app: str = NETFLIX, seen: int = T0, **fields: Any
) -> None:
    store.feed(
        store.netifyd.flow(digest, device, app, last_seen_at=seen, **fields),
        store.netifyd.stats(digest, 10, 20, last_seen_at=seen),
    )


def digests(rows: list[FlowRow]) -> list[str]:
    return [row.digest for row in rows]


def all_pages(flows: FlowReader, wanted: FlowFilter, limit: int) -> list[FlowRow]:
    rows: list[FlowRow] = []
    after = None
    for _ in range(1000):
        page = flows.page(wanted, limit, after)
        rows += page.rows
        if not page.more:
            assert page.total == len(rows)
            return rows
        assert len(page.rows) == limit
        after = FlowPosition(rows[-1].state.last_seen, rows[-1].flow_id)
    raise AssertionError("pages without an end")


def test_a_flow_is_read_as_it_was_told(store: RealStore) -> None:
    begin(store, "a", host_server_name="x.example", local_port=51398, other_port=443, **risky(60, 16, 46))
    store.flush(at_ms=1_800_000_000_000)
    page = store.flows.page(FlowFilter(), 10)
    (row,) = page.rows
    assert (page.flush, page.total, page.more) == ((1, 1_800_000_000_000), 1, False)
    assert (row.digest, row.active, row.state.bytes_up, row.state.bytes_down) == ("a", True, 10, 20)
    assert row.details is not None
    assert (row.details.host, row.details.local_port, row.details.risks) == ("x.example", 51398, (16, 46))
    assert [(name, row.addresses, row.hint) for name, row in page.devices.items()] == [
        (LAPTOP, ["192.168.1.10"], None)
    ]
    assert page.categories == {NETFLIX: 7}


def test_an_empty_store_has_no_flows(store: RealStore) -> None:
    page = store.flows.page(FlowFilter(), 10)
    assert (page.flush, page.total, page.rows, page.more) == ((0, 0), 0, [], False)
    assert store.risks(LAPTOP) == []


def test_a_flow_that_nobody_described_is_there_without_details(store: RealStore) -> None:
    store.flush(store.netifyd.stats("a", 1, 2))
    (row,) = store.flows.page(FlowFilter(application=UNKNOWN), 10).rows
    assert (row.state.key.device, row.details) == (None, None)


def test_the_latest_come_first_whether_live_or_over(store: RealStore) -> None:
    for number, digest in enumerate("abcd"):
        begin(store, digest, seen=T0 + number)
    store.flush()
    store.flush(store.netifyd.stats("b", 0, 0, "flow_purge", last_seen_at=T0 + 1))
    flows = store.flows
    assert digests(flows.page(FlowFilter(), 10).rows) == ["d", "c", "b", "a"]
    assert digests(flows.page(FlowFilter(active=True), 10).rows) == ["d", "c", "a"]
    assert digests(flows.page(FlowFilter(active=False), 10).rows) == ["b"]
    store.flush(store.netifyd.stats("a", 1, 1, last_seen_at=T0 + 9))
    assert digests(flows.page(FlowFilter(), 2).rows) == ["a", "d"]


def test_filters_are_exact_alone_and_together(store: RealStore) -> None:
    local = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}
    begin(store, "a", LAPTOP, NETFLIX, T0 + 5, **risky(10, 46))
    begin(store, "b", LAPTOP, YOUTUBE, T0 + 4, **risky(100, 36), **local)
    begin(store, "c", PHONE, NETFLIX, T0 + 3)
    begin(store, "d", TUNNEL, YOUTUBE, T0 + 2, **risky(60, 16, 46))
    begin(store, "e", PHONE, YOUTUBE, T0 + 1, **risky(10, 46))
    store.flush(store.netifyd.purge("d"))
    flows = store.flows

    def found(**wanted: Any) -> str:
        page = flows.page(FlowFilter(**wanted), 100)
        assert page.total == len(page.rows)
        return "".join(digests(page.rows))

    assert found() == "dabce"
    assert found(device=PHONE) == "bce"
    assert found(device="02:00:00:00:00:99") == ""
    assert found(application=NETFLIX) == "ac"
    assert found(min_risk=1) == "dabe"
    assert found(min_risk=11) == "db"
    assert found(min_risk=61) == "b"
    assert found(min_risk=101) == ""
    assert found(device=LAPTOP, application=YOUTUBE) == "b"
    assert found(device=PHONE, application=YOUTUBE) == "be"
    assert found(device=PHONE, min_risk=10) == "be"
    assert found(application=YOUTUBE, min_risk=60, active=True) == "b"
    assert found(application=YOUTUBE, min_risk=60, active=False) == "d"
    assert found(device=PHONE, application=YOUTUBE, min_risk=100) == "b"
    assert found(device=TUNNEL, application=NETFLIX, min_risk=100) == ""


def test_pages_go_on_where_the_one_before_ended_even_where_flows_were_seen_at_once(store: RealStore) -> None:
    for number in range(40):
        begin(store, f"{number:02}", seen=T0 + (number > 30), **risky(10 * (number % 3), 46))
    store.flush(
        *(store.netifyd.stats(f"{n:02}", 0, 0, "flow_purge", last_seen_at=T0) for n in range(0, 30, 2))
    )
    flows = store.flows
    for wanted in (
        FlowFilter(),
        FlowFilter(active=True),
        FlowFilter(min_risk=1),
        FlowFilter(device=LAPTOP, min_risk=1),
    ):
        whole = digests(flows.page(wanted, 100).rows)
        assert len(set(whole)) == len(whole) > 10
        for limit in (1, 3, 7):
            assert digests(all_pages(flows, wanted, limit)) == whole


def test_a_page_goes_on_after_a_flow_that_is_gone(store: RealStore) -> None:
    for number, digest in enumerate("abcd"):
        begin(store, digest, seen=T0 + number)
    store.flush()
    flows = store.flows
    (last,) = flows.page(FlowFilter(), 1).rows
    assert last.digest == "d"
    store.flush(store.netifyd.stats("d", 5, 5, last_seen_at=T0 + 50))
    assert digests(flows.page(FlowFilter(), 10, FlowPosition(T0 + 3, flow_id("d"))).rows) == ["c", "b", "a"]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 60))
def test_any_page_of_any_flows_is_a_part_of_all_of_them(
    shared_redis: RedisServer, seed: int, count: int
) -> None:
    connect(shared_redis.url, None).flushall()
    store, random = RealStore(shared_redis.url, "gw1"), Random(seed)
    for number in range(count):
        begin(
            store,
            f"{number}",
            random.choice((LAPTOP, PHONE, TUNNEL)),
            random.choice((NETFLIX, YOUTUBE)),
            T0 + random.randrange(5),
            **risky(random.choice((0, 0, 10, 60)), 46),
        )
        if random.random() < 0.3:
            store.feed(store.netifyd.stats(f"{number}", 0, 0, "flow_purge", last_seen_at=T0))
        if random.random() < 0.2:
            store.flush()
    store.flush()
    flows = store.flows
    everything = flows.page(FlowFilter(), 1000).rows
    assert len(everything) == count
    for _ in range(10):
        wanted = FlowFilter(
            random.choice((None, LAPTOP, PHONE)),
            random.choice((None, NETFLIX, YOUTUBE)),
            random.choice((None, True, False)),
            random.choice((0, 0, 1, 11, 60)),
        )
        expected = [
            row for row in everything if wanted.matches(row.state) and wanted.active in (None, row.active)
        ]
        assert all_pages(flows, wanted, random.choice((1, 2, 10, 100))) == expected


def test_where_indexes_are_very_long_the_latest_flows_of_the_shortest_are_examined(store: RealStore) -> None:
    flows = FlowReader(store.reader, max_scanned=5)
    for number in range(20):
        begin(store, f"{number:02}", LAPTOP, (NETFLIX, YOUTUBE)[number % 2], T0 + number)
    store.flush()
    page = flows.page(FlowFilter(device=LAPTOP, application=YOUTUBE), 100)
    assert (page.total, digests(page.rows)) == (5, ["19", "17", "15", "13", "11"])
    begin(store, "risky", LAPTOP, YOUTUBE, T0, **risky(10, 46))
    store.flush()
    page = flows.page(FlowFilter(device=LAPTOP, application=YOUTUBE, min_risk=1), 100)
    assert (page.total, digests(page.rows)) == (1, ["risky"])


def test_risks_of_a_device_are_summed_up_the_worst_first(store: RealStore) -> None:
    local = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}
    begin(store, "a", LAPTOP, seen=T0 + 1, **risky(10, 46), **local)
    begin(store, "b", LAPTOP, seen=T0 + 2, **risky(110, 36, 46))
    begin(store, "c", LAPTOP, seen=T0 + 3, **risky(10, 47))
    begin(store, "d", LAPTOP, seen=T0 + 4)
    begin(store, "e", TUNNEL, seen=T0 + 5, **risky(100, 39))
    store.flush(store.netifyd.stats("e", 0, 0, "flow_purge", last_seen_at=T0 + 5))
    assert store.risks(LAPTOP) == [
        RiskRow(46, 2, 110, T0 + 2),
        RiskRow(36, 1, 110, T0 + 2),
        RiskRow(47, 1, 10, T0 + 3),
    ]
    assert store.risks(PHONE) == [RiskRow(46, 1, 10, T0 + 1)]
    assert store.risks(TUNNEL) == [RiskRow(39, 1, 100, T0 + 5)]


def test_what_somebody_removed_is_not_shown(store: RealStore) -> None:
    begin(store, "a")
    begin(store, "b")
    store.flush()
    store.client.hdel(Keys("gw1").flows, flow_id("a"))
    assert digests(store.flows.page(FlowFilter(), 10).rows) == ["b"]


def test_a_redis_that_is_away_is_told(redis_server: RedisServer) -> None:
    store = RealStore(redis_server.url, "gw1")
    redis_server.kill()
    flows = store.flows
    calls: list[Callable[[], Any]] = [lambda: flows.page(FlowFilter(), 1), lambda: store.risks(LAPTOP)]
    for call in calls:
        with pytest.raises(StoreError):
            call()


def test_commands_and_bytes_of_a_page_do_not_grow_with_the_number_of_flows(store: RealStore) -> None:
    flows = store.flows
    wanted = [
        FlowFilter(),
        FlowFilter(device=LAPTOP, active=True),
        FlowFilter(application=NETFLIX),
        FlowFilter(min_risk=10),
        FlowFilter(device=LAPTOP, application=YOUTUBE, min_risk=10),
    ]

    def costs() -> list[tuple[int, int]]:
        """Commands of Redis, and bytes that it sent, for each page."""
        found = []
        for one in wanted:
            before = store.client.info("stats")
            flows.page(one, 5)
            after = store.client.info("stats")
            found.append(
                (
                    after["total_commands_processed"] - before["total_commands_processed"],
                    after["total_net_output_bytes"] - before["total_net_output_bytes"],
                )
            )
        return found

    for number in range(10):
        begin(store, f"{number:04}", seen=T0 + number, **risky(10, 46))
    begin(store, "youtube", app=YOUTUBE, **risky(10, 46))
    store.flush()
    flows.page(FlowFilter(), 5)
    few = costs()
    for number in range(2000):
        begin(store, f"{number:04}", seen=T0 + number, **risky(10, 46))
    store.flush()
    many = costs()
    assert [commands for commands, _ in many] == [commands for commands, _ in few]
    assert max(commands for commands, _ in many) <= 25
    for (_, now), (_, before) in zip(many, few, strict=True):
        assert now < before + 200  # the statistics themselves have longer numbers
