"""Names and groups of the configuration stand in every answer about a device, and filter lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from api_server import Scene, assert_problem, emptied, served
from event_client import Client
from metric_samples import scrape, values
from real_store import LAPTOP, NETFLIX, PHONE, TUNNEL, YOUTUBE
from support import RedisServer

from netify_agent.store.flow_reader import FlowFilter, FlowReader

NAMES = {PHONE: "kids-phone", "192.168.1.10": "Anna's laptop"}
GROUPS = {
    "kids": [LAPTOP, "kids-*"],
    "lan": ["192.168.1.0/24"],
    "vpn": ["10.8.0.0/24"],
    "nobody": [],
}


@pytest.fixture(scope="module")
def grouped(shared_redis: RedisServer) -> Iterator[Scene]:
    with emptied(shared_redis.url, "gw-groups") as scene:
        scene.directory.configure(NAMES, GROUPS)
        said = scene.store.netifyd
        to_phone = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}
        scene.store.flush(
            *(said.flow("a", last_seen_at=1_700_000_005_000), said.stats("a", 10, 300)),
            *(said.flow("b", PHONE, YOUTUBE, local_ip="192.168.1.11"), said.stats("b", 1, 2)),
            *(said.flow("c", TUNNEL), said.stats("c", 15, 30)),
            *(said.flow("d", application="Unknown", **to_phone), said.stats("d", 10, 20)),
            *(said.flow("e", application="Unknown"), said.stats("e", 1, 1), said.purge("e")),
            said.stats("f", 7, 9),
            elapsed_ms=15_000,
        )
        with served(scene):
            yield scene


def names_and_groups(devices: list[dict[str, Any]], key: str = "mac") -> dict[Any, tuple[str, list[str]]]:
    return {device[key]: (device["name"], device["groups"]) for device in devices}


EXPECTED = {
    LAPTOP: ("Anna's laptop", ["kids", "lan"]),
    PHONE: ("kids-phone", ["kids", "lan"]),
    None: (None, ["vpn"]),
}


def test_each_device_has_its_name_and_groups(grouped: Scene) -> None:
    assert names_and_groups(grouped.get("/")["devices"]) == EXPECTED
    assert grouped.get(f"/{PHONE}")["groups"] == ["kids", "lan"]
    assert grouped.get("/?fields=mac,groups&search=phone")["devices"] == [
        {"mac": PHONE, "groups": ["kids", "lan"]}
    ]
    users = grouped.get(f"/applications/{NETFLIX}")["devices"]
    assert names_and_groups(users, "device") == {
        LAPTOP: ("Anna's laptop", ["kids", "lan"]),
        TUNNEL: (None, ["vpn"]),
    }
    expected = {device or TUNNEL: found for device, found in EXPECTED.items()} | {None: (None, [])}
    for path in ("applications", "protocols", "categories"):
        for row in grouped.get(f"/{path}")[path]:
            for device, found in names_and_groups(row["devices"], "device").items():
                assert found == expected[device]
    flows = grouped.get("/flows")["flows"]
    assert {flow["device_name"] for flow in flows} == {"Anna's laptop", "kids-phone", None}
    for flow in flows:
        assert (flow["device_name"], flow["groups"]) == expected[flow["device"]]
        assert flow["peer_name"] == expected[flow["peer"]][0]
    assert any(flow["peer_name"] for flow in flows)


@pytest.mark.parametrize(
    ("group", "expected"),
    [("kids", {LAPTOP, PHONE}), ("lan", {LAPTOP, PHONE}), ("vpn", {None}), ("nobody", set())],
)
def test_the_network_by_group(grouped: Scene, group: str, expected: set[str | None]) -> None:
    answer = grouped.get(f"/?group={group}")
    assert {device["mac"] for device in answer["devices"]} == expected
    assert answer["total"] == len(expected)
    assert answer["totals"] == grouped.get("/")["totals"]


def test_a_group_filters_with_the_other_filters(grouped: Scene) -> None:
    assert [device["mac"] for device in grouped.get("/?group=kids&search=phone")["devices"]] == [PHONE]
    assert [device["mac"] for device in grouped.get(f"/?group=lan&application={NETFLIX}")["devices"]] == [
        LAPTOP
    ]
    users = grouped.get(f"/applications/{NETFLIX}?group=vpn")["devices"]
    assert [user["device"] for user in users] == [TUNNEL]


@pytest.mark.parametrize("filters", [{}, {"active": True}, {"active": False}, {"application": "Unknown"}])
def test_large_groups_are_searched_among_all_flows(grouped: Scene, filters: dict[str, Any]) -> None:
    asked = FlowFilter(devices=frozenset({LAPTOP, PHONE}), **filters)
    small, large = (FlowReader(grouped.store.reader, max_merged=most).page(asked, 100) for most in (100, 0))
    assert small.total == large.total > 0
    assert small.rows == large.rows


def test_flows_with_a_device_of_a_group_on_either_side(grouped: Scene) -> None:
    everything = grouped.get("/flows")["flows"]
    for group, devices in {"kids": {LAPTOP, PHONE}, "vpn": {TUNNEL}, "nobody": set()}.items():
        for more in (
            "",
            "&active=true",
            "&active=false",
            "&application=Unknown",
            f"&device={PHONE}",
            "&limit=1",
        ):
            answer = grouped.get(f"/flows?group={group}{more}&order=desc")
            expected = [
                flow
                for flow in everything
                if {flow["device"], flow["peer"]} & devices
                and (more != "&active=true" or flow["active"])
                and (more != "&active=false" or not flow["active"])
                and (more != "&application=Unknown" or flow["application"] == "Unknown")
                and (not more.startswith("&device") or PHONE in (flow["device"], flow["peer"]))
            ]
            assert answer["total"] == len(expected)
            assert answer["flows"] == (expected[:1] if more == "&limit=1" else expected)


def test_pages_of_flows_of_a_group_are_the_whole_list(grouped: Scene) -> None:
    found, cursor = [], ""
    while cursor is not None:
        page = grouped.get(f"/flows?group=kids&limit=1{cursor and f'&cursor={cursor}'}")
        found += page["flows"]
        cursor = page["next"]
    assert found == grouped.get("/flows?group=kids")["flows"]
    assert len(found) == 4


def test_an_unknown_group_is_an_error_that_lists_the_groups(grouped: Scene, scene: Scene) -> None:
    for path in ("/?group=adults", "/flows?group=adults", f"/applications/{NETFLIX}?group=adults"):
        answer = grouped.ask(path)
        assert_problem(answer, 400)
        assert answer.json["detail"] == "group: expected one of kids, lan, vpn, nobody, found 'adults'"
    answer = scene.ask("/?group=kids")
    assert_problem(answer, 400)
    assert answer.json["detail"] == "group: expected no group, as none is configured, found 'kids'"


def test_prometheus_gets_a_series_for_each_group_of_a_device(grouped: Scene) -> None:
    found = scrape(grouped)
    series = map(dict, found["netify_device_group"])
    assert {(labels["device"], labels["group"]) for labels in series} == {
        *((device, group) for device in (LAPTOP, PHONE) for group in ("kids", "lan")),
        (TUNNEL, "vpn"),
    }
    assert values(found, "netify_device_info", "name") == {"Anna's laptop", "kids-phone", ""}


def test_an_event_has_names_and_groups(grouped: Scene) -> None:
    grouped.store.flush(grouped.store.netifyd.stats("b", 0, 5))
    client = Client(grouped.port)
    told = {device["device"]: device for device in client.event().data["devices"]}
    client.close()
    assert (told[PHONE]["name"], told[PHONE]["groups"]) == ("kids-phone", ["kids", "lan"])
