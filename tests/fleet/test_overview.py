"""What a collector holds in memory of all gateways."""

from __future__ import annotations

import pytest
from support import RedisServer

from netify_agent.fleet.overview import NEW, ONLINE, SILENT, Overview, View
from netify_agent.fleet.summary import FiringAlert, PlanUse, Summary, Sums, TopApplication
from netify_agent.store.client import connect
from netify_agent.store.summaries import DIGESTS, SUMMARIES, Summaries

NOW = 1_790_000_000_000
FIRING = {"info": 0, "warning": 1, "critical": 0}
ALERT = FiringAlert("0" * 16, "upload", "warning", "The gateway uploads a lot", NOW)
PLAN = PlanUse("all", None, 5, 10)
COUNTERS = {"bytes_up": 1, "bytes_down": 2, "packets_up": 3, "packets_down": 4, "flows": 5}


def summary(received: int = NOW, **changed: int) -> Summary:
    month = Sums(1_788_220_800, 1_790_812_800, 1, 2)
    top = (TopApplication("netify.netflix", 7, 1, 2),)
    counted = {**COUNTERS, **changed}, (8, 16), 3, 2, month, PLAN, top, FIRING, (ALERT,)
    return Summary(received, received, "1.0", 0, *counted)


@pytest.fixture
def summaries(redis_server: RedisServer) -> Summaries:
    return Summaries(connect(redis_server.url, None))


def states(view: View) -> list[tuple[str, str]]:
    return [(row.gateway, row.state) for row in view.rows]


def test_a_summary_is_read_as_it_was_written() -> None:
    one = summary()
    assert Summary.decode(one.encode()) == one


def test_the_stamp_changes_with_what_is_visible_alone(summaries: Summaries) -> None:
    clock = [NOW]
    overview = Overview(summaries, 900, lambda: clock[0])
    view, all_of_them = View(overview, ["gw1", "gw2"]), View(overview, ["gw1", "gw2", "gw3"])
    first, whole = view.last_flush(), all_of_them.last_flush()
    assert states(view) == [("gw1", NEW), ("gw2", NEW)] and first.at_ms == 0
    summaries.put("gw3", summary().encode())
    assert view.last_flush() == first
    assert all_of_them.last_flush() != whole
    summaries.put("gw1", summary().encode())
    second = view.last_flush()
    assert second not in (first, whole) and second.at_ms == NOW
    assert view.stored_flush() == second
    clock[0] = NOW + 900_000
    assert view.last_flush() == second and states(view)[0] == ("gw1", ONLINE)
    clock[0] += 1
    assert view.last_flush() != second and states(view)[0] == ("gw1", SILENT)
    clock[0] = NOW  # the clock was set back
    assert view.last_flush() == second and states(view)[0] == ("gw1", ONLINE)


def test_a_summary_that_is_half_replaced_is_read_again(
    summaries: Summaries, redis_server: RedisServer
) -> None:
    """Another collector has written the summary, and not yet its digest."""
    client = connect(redis_server.url, None)
    view = View(Overview(summaries, 900, lambda: NOW), ["gw1"])
    summaries.put("gw1", summary(bytes_up=1).encode())
    view.last_flush()
    stale = client.hget(DIGESTS, "gw1")
    summaries.put("gw1", summary(bytes_up=2).encode())
    client.hset(DIGESTS, "gw1", "0" * 16)
    view.last_flush()
    client.hset(SUMMARIES, "gw1", summary(bytes_up=3).encode())
    view.last_flush()
    (row,) = view.rows
    assert row.summary is not None and row.summary.counters["bytes_up"] == 3
    # Two collectors wrote at once: the digest is that of the other's.
    client.hset(DIGESTS, "gw1", stale)
    view.last_flush()
    (row,) = view.rows
    assert row.summary is not None and row.summary.counters["bytes_up"] == 3


def test_a_summary_that_is_gone_is_forgotten(summaries: Summaries, redis_server: RedisServer) -> None:
    view = View(Overview(summaries, 900, lambda: NOW), ["gw1"])
    summaries.put("gw1", summary().encode())
    view.last_flush()
    connect(redis_server.url, None).delete(SUMMARIES, DIGESTS)
    view.last_flush()
    assert states(view) == [("gw1", NEW)]
