"""Reading many copies: what is kept, and what bounds it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from metric_samples import parsed, value

from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import Request
from netify_agent.config.calendar import DAY_S
from netify_agent.fleet import fleet_history, fleet_metrics
from netify_agent.fleet.fleet_sums import FleetSums, matching
from netify_agent.fleet.overview import ONLINE, Row
from netify_agent.fleet.summary import Summary, Sums

NOW_MS = 1_790_000_000_000
COUNTERS = dict.fromkeys(("bytes_up", "bytes_down", "packets_up", "packets_down", "flows"), 1)
SUMMARY = Summary(NOW_MS, NOW_MS, "1.0", 0, COUNTERS, (0, 0), 1, 1, Sums(0, 1, 0, 0), None, (), {}, ())


class Fleet:
    """Copies whose content is the name of the gateway, and what was read of them."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.now = 0.0
        self.slow_s = 0.0
        self.sums = FleetSums(self, lambda: self.now)  # type: ignore[arg-type]

    def open(self, gateway: str) -> Any:
        self.opened.append(gateway)
        self.now += self.slow_s
        return None if gateway == "gone" else SimpleNamespace(services=gateway)

    def read(self, rows: Iterable[Row], question: str = "q", size: int = 1) -> list[Any]:
        found = self.sums.parts(list(rows), question, lambda services: services, size=lambda part: size)
        return [part for _, part in found]


def row(gateway: str, digest: str = "1") -> Row:
    return Row(gateway, ONLINE, SUMMARY, digest)


def test_a_copy_is_read_again_once_it_has_changed() -> None:
    fleet = Fleet()
    assert fleet.read([row("a"), row("b"), row("gone")]) == ["a", "b"]
    assert fleet.read([row("a"), row("b")]) == ["a", "b"]
    assert fleet.opened == ["a", "b", "gone"]
    fleet.read([row("a"), row("b", "2")])
    assert fleet.opened[3:] == ["b"]
    fleet.read([row("a")], "another question")
    assert fleet.opened[4:] == ["a"]


def test_what_no_longer_holds_is_read_again() -> None:
    fleet = Fleet()
    answers = iter((True, False))
    for _ in range(3):
        fleet.sums.parts([row("a")], "q", str, size=len, holds=lambda part: next(answers))
    assert fleet.opened == ["a", "a"]


def test_a_request_that_takes_too_long_is_refused_and_the_next_one_goes_on() -> None:
    fleet = Fleet()
    fleet.slow_s = 4.0
    rows = [row(f"gw{index}") for index in range(8)]
    attempts = 1
    while True:
        try:
            assert fleet.read(rows) == [one.gateway for one in rows]
            break
        except Problem as problem:
            assert problem.status == 503 and problem.headers == {"Retry-After": "1"}
            attempts += 1
    assert attempts == 3
    assert fleet.opened == [one.gateway for one in rows]


def test_what_is_kept_is_bounded() -> None:
    fleet = Fleet()
    fleet.read([row("a"), row("b")], size=140_000)
    fleet.read([row("c")], size=140_000)
    fleet.read([row("b"), row("c")], size=140_000)
    assert fleet.opened == ["a", "b", "c"]
    fleet.read([row("a")], size=140_000)
    assert fleet.opened == ["a", "b", "c", "a"]


def test_two_requests_do_not_read_at_once() -> None:
    fleet = Fleet()
    begun, goes_on = threading.Event(), threading.Event()

    def slowly(services: Any) -> Any:
        begun.set()
        assert goes_on.wait(60)
        return services

    first = threading.Thread(
        target=lambda: fleet.sums.parts([row("a")], "slow", slowly, size=lambda part: 1), daemon=True
    )
    first.start()
    assert begun.wait(60)
    with pytest.raises(Problem) as refused:
        fleet.read([row("b")])
    assert refused.value.status == 503
    goes_on.set()
    first.join(60)
    assert fleet.read([row("b")]) == ["b"]


def test_a_pattern_has_no_sets_of_characters() -> None:
    rows = [row("gw1"), row("gw2"), row("branch-1"), Row("gw3", "new", None)]
    assert [one.gateway for one in matching(rows, None)] == ["gw1", "gw2", "branch-1"]
    assert [one.gateway for one in matching(rows, "gw?")] == ["gw1", "gw2"]
    assert [one.gateway for one in matching(rows, "gw[12]")] == []
    assert [one.gateway for one in matching(rows, "GW1")] == []


def test_a_history_of_too_many_buckets_is_cut_or_refused() -> None:
    asked: list[Any] = []

    class Asking(FleetSums):
        def parts(self, rows: Any, question: Any, *others: Any, **more: Any) -> Any:
            asked.append(question)
            return []

    view: Any = SimpleNamespace(rows=[row("a"), row("b")])
    route = fleet_history.route(view, Asking(Fleet()), max_buckets=20)  # type: ignore[arg-type]
    now = NOW_MS // 1000

    def ask(**given: Any) -> Any:
        values = {"resolution": "1d", "from": None, "to": None, "applications": False, "gateways": None}
        return route.answer(Request({**values, **given}, {"QUERY_STRING": ""}, at_ms=NOW_MS))

    ask()
    *_, first, last = asked[0]
    assert last.start - first.start == 9 * DAY_S and last.start <= now < last.end
    with pytest.raises(Problem) as refused:
        ask(**{"from": now - 10 * DAY_S})
    assert "at most 10 buckets of each of 2 gateways" in refused.value.detail
    ask(**{"from": now - 9 * DAY_S})
    ask(applications=True)
    assert asked[-1][-2] == asked[-1][-1] == last


def test_the_series_of_metrics_are_bounded() -> None:
    rows = [row(f"gw{index:05d}") for index in range(fleet_metrics.MAX_GATEWAYS + 7)]
    found = parsed(fleet_metrics.exposition(rows).decode())
    assert len(found["netify_gateway_up"]) == fleet_metrics.MAX_GATEWAYS
    assert value(found, "netify_gateways_without_series") == 7
    assert value(found, "netify_gateways", state="online") == len(rows)
