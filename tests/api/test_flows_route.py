"""``/flows`` and the risks of a device, asked for over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from api_server import TIME, Scene, assert_problem, emptied, served
from real_store import LAPTOP, NETFLIX, PHONE, SOURCE, TUNNEL, YOUTUBE
from support import RedisServer

from netify_agent.api.http import paging

FLOW = [
    *(
        "digest",
        "endpoint",
        "device",
        "device_name",
        "groups",
        "peer",
        "peer_name",
        "interface",
        "ip_version",
        "transport",
        "local_ip",
    ),
    *("local_port", "other_ip", "other_port", "other_type", "local_origin", "host", "application"),
    *("application_name", "category", "protocol", "risk_score", "risks", "first_seen", "last_seen"),
    *("active", "bytes_up", "bytes_down", "packets_up", "packets_down"),
]
HOSTILE = '"quote" <script>alert(1)</script> \\ \u202e nul\x00 ' + "x" * 65536
T0 = 1_700_000_000_000


@pytest.fixture(scope="module")
def scene(shared_redis: RedisServer) -> Iterator[Scene]:
    with emptied(shared_redis.url) as scene:
        said = scene.store.netifyd
        local = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}
        dpi = {"category": {"application": 29}, "ip_protocol": 113}
        tcp = {
            "ip_version": 4,
            "ip_protocol": 6,
            "local_port": 51398,
            "other_port": 443,
            "local_origin": True,
        }
        web = {"host_server_name": "www.example.org", "category": {"application": 29}, **tcp}
        scene.store.flush(
            said.flow("a", **web, risks={"ndpi_risk_score": 110, "risks": [36, 46]}),
            said.stats("a", 1500, 30_000, last_seen_at=T0 + 50_000),
            said.flow("b", application=YOUTUBE, ip_protocol=132, host_server_name=HOSTILE),
            said.stats("b", 15, 300, last_seen_at=T0 + 40_000),
            said.flow("c", TUNNEL, **dpi, risks={"ndpi_risk_score": 10, "risks": [46]}),
            said.stats("c", 1, 2, last_seen_at=T0 + 30_000),
            said.flow("d", application="Unknown", **local, risks={"ndpi_risk_score": 10, "risks": [9999]}),
            said.stats("d", 10, 20, last_seen_at=T0 + 20_000),
            said.stats("e", 7, 9, last_seen_at=None),
            elapsed_ms=15_000,
        )
        scene.store.flush(said.stats("c", 0, 0, "flow_purge", last_seen_at=T0 + 30_000))
        with served(scene):
            yield scene


def digests(scene: Scene, query: str = "") -> str:
    return "".join(flow["digest"] for flow in scene.get(f"/flows{query}")["flows"])


def test_a_flow_is_told_with_all_that_is_known(scene: Scene) -> None:
    answer = scene.get("/flows")
    assert list(answer) == ["gateway", "generated_at", "interval", "flows", "total", "next"]
    assert TIME.fullmatch(answer["generated_at"])
    assert (answer["total"], answer["next"], len(answer["flows"])) == (5, None, 5)
    assert all(list(flow) == FLOW for flow in answer["flows"])
    assert answer["flows"][0] == {
        "digest": "a",
        "endpoint": SOURCE,
        "device": LAPTOP,
        "device_name": "laptop",
        "groups": [],
        "peer": None,
        "peer_name": None,
        "interface": "br0",
        "ip_version": 4,
        "transport": "tcp",
        "local_ip": "192.168.1.10",
        "local_port": 51398,
        "other_ip": "198.51.100.1",
        "other_port": 443,
        "other_type": "remote",
        "local_origin": True,
        "host": "www.example.org",
        "application": NETFLIX,
        "application_name": "Netflix",
        "category": "streaming-media",
        "protocol": "HTTP/S",
        "risk_score": 110,
        "risks": [
            {"id": 36, "name": "Outdated TLS version", "severity": "high"},
            {"id": 46, "name": "No response (traffic in one direction only)", "severity": "low"},
        ],
        "first_seen": "2023-11-14T22:13:21.000Z",
        "last_seen": "2023-11-14T22:14:10.000Z",
        "active": True,
        "bytes_up": 1500,
        "bytes_down": 30_000,
        "packets_up": 1,
        "packets_down": 1,
    }


def test_what_is_not_known_is_null(scene: Scene) -> None:
    flow = scene.get("/flows")["flows"][-1]
    assert {name: flow[name] for name in FLOW if flow[name] is not None} == {
        "digest": "e",
        "endpoint": SOURCE,
        "groups": [],
        "application": "Unknown",
        "application_name": "Unknown",
        "protocol": "Unknown",
        "risk_score": 0,
        "risks": [],
        "active": True,
        "bytes_up": 7,
        "bytes_down": 9,
        "packets_up": 1,
        "packets_down": 1,
    }


def test_a_protocol_is_told_by_name_or_number_and_a_local_flow_with_its_peer(scene: Scene) -> None:
    flows = {flow["digest"]: flow for flow in scene.get("/flows")["flows"]}
    assert [flows[digest]["transport"] for digest in "abcd"] == ["tcp", "sctp", "113", None]
    assert (flows["d"]["device"], flows["d"]["peer"], flows["d"]["other_type"]) == (LAPTOP, PHONE, "local")
    assert flows["d"]["risks"] == [{"id": 9999, "name": "Risk number 9999 of netifyd", "severity": None}]
    assert (flows["c"]["device"], flows["c"]["active"]) == (TUNNEL, False)


def test_hostile_text_is_bounded_and_valid_json(scene: Scene) -> None:
    body = scene.ask("/flows").body
    host = json.loads(body)["flows"][1]["host"]
    assert host.startswith('"quote" <script>alert(1)</script> \\ \ufffd nul\ufffd xxx')
    assert len(host) == 253


def test_flows_are_filtered(scene: Scene) -> None:
    assert digests(scene) == "abcde"
    assert digests(scene, f"?device={LAPTOP}") == "abd"
    assert digests(scene, f"?device={LAPTOP.replace(':', '-').upper()}") == "abd"
    assert digests(scene, f"?device={PHONE}") == "d"
    assert digests(scene, f"?device={TUNNEL}") == "c"
    assert digests(scene, "?device=02:00:00:00:00:99") == ""
    assert digests(scene, "?application=Unknown") == "de"
    assert digests(scene, "?active=false") == "c"
    assert digests(scene, "?active=true&min_risk=1") == "ad"
    assert digests(scene, "?min_risk=11") == "a"
    assert digests(scene, "?min_risk=0") == "abcde"
    assert digests(scene, f"?device={LAPTOP}&application={quote(YOUTUBE)}&min_risk=0") == "b"
    assert digests(scene, f"?device={LAPTOP}&application=Unknown&min_risk=10&active=true") == "d"


def test_pages_together_are_the_whole_list(scene: Scene) -> None:
    for query, whole in (("", "abcde"), ("&min_risk=1", "acd"), (f"&device={LAPTOP}&min_risk=1", "ad")):
        found, cursor = "", ""
        while True:
            page = scene.get(f"/flows?limit=1{query}{cursor}")
            assert page["total"] == len(whole)
            found += page["flows"][0]["digest"]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert found == whole


def test_fields_are_chosen(scene: Scene) -> None:
    flows = scene.get("/flows?fields=host,digest&limit=1&sort=last_seen&order=desc")["flows"]
    assert [list(flow.items()) for flow in flows] == [[("digest", "a"), ("host", "www.example.org")]]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("min_risk=65536", "min_risk"),
        ("min_risk=-1", "min_risk"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("active=yes", "active"),
        ("device=laptop", "device"),
        ("device=", "device"),
        ("application=", "application"),
        ("application=%ff", "application"),
        (f"application={'x' * 257}", "application"),
        ("sort=bytes", "sort"),
        ("order=asc", "order"),
        ("fields=nothing", "fields"),
        ("cursor=nothing", "cursor"),
        ("search=x", "search"),
        ("active=true&active=true", "active"),
        *(
            (f"cursor={paging.encode_cursor(paging.Cursor(*place, 0))}", "cursor")  # type: ignore[arg-type]
            for place in (
                ("bytes", "desc", 5, "a"),
                ("last_seen", "asc", 5, "a"),
                ("last_seen", "desc", None, "a"),
                ("last_seen", "desc", -1, "a"),
                ("last_seen", "desc", 1 << 43, "a"),
                ("name", "desc", "x", "a"),
            )
        ),
    ],
)
def test_a_wrong_parameter_is_named(scene: Scene, query: str, parameter: str) -> None:
    answer = scene.ask(f"/flows?{query}")
    assert_problem(answer, 400)
    assert answer.json["parameter"] == parameter


def test_a_page_is_encoded_once_a_flush_and_304_for_who_has_it(scene: Scene) -> None:
    first = scene.ask("/flows?limit=2")
    assert scene.ask("/flows?limit=2", If_None_Match=first.headers["ETag"]).status == 304
    assert scene.ask("/flows?limit=3").headers["ETag"] != first.headers["ETag"]


def test_risks_of_a_device_are_told_the_worst_first(scene: Scene) -> None:
    device: dict[str, Any] = scene.get(f"/{LAPTOP}")
    assert list(device)[-2:] == ["protocols", "risks"]
    assert device["risks"] == [
        {
            "id": 36,
            "name": "Outdated TLS version",
            "severity": "high",
            "flows": 1,
            "score": 110,
            "last_seen": "2023-11-14T22:14:10.000Z",
        },
        {
            "id": 46,
            "name": "No response (traffic in one direction only)",
            "severity": "low",
            "flows": 1,
            "score": 110,
            "last_seen": "2023-11-14T22:14:10.000Z",
        },
        {
            "id": 9999,
            "name": "Risk number 9999 of netifyd",
            "severity": None,
            "flows": 1,
            "score": 10,
            "last_seen": "2023-11-14T22:13:40.000Z",
        },
    ]
    assert scene.get(f"/{TUNNEL}?fields=risks")["risks"][0]["id"] == 46
    assert list(scene.get(f"/{TUNNEL}?fields=protocols,mac")) == ["mac", "protocols"]
