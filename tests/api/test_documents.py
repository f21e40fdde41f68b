"""The documents of the API: keys, order, sums."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from api_server import GATEWAY, TIME, Scene
from real_store import LAPTOP, NETFLIX, PHONE, TUNNEL, YOUTUBE

from netify_agent.api.documents import rfc3339

COUNTERS = ["bytes_up", "bytes_down", "packets_up", "packets_down", "flows", "rate_up", "rate_down"]
APPLICATION = ["tag", "name", "category", *COUNTERS, "first_seen", "last_seen"]
DEVICE = [
    *("mac", "ip", "ips", "name", "groups", "vendor", "randomized", "interface"),
    *("first_seen", "last_seen", "active"),
    *(*COUNTERS, "applications"),
]


def test_the_network_is_told_in_the_order_of_the_contract(scene: Scene) -> None:
    network = scene.get("/")
    assert list(network) == [
        *("gateway", "generated_at", "interval", "totals", "unattributed", "local", "forgotten"),
        *("active", "devices", "total", "next"),
    ]
    assert (network["gateway"], network["interval"]) == (GATEWAY, 15)
    assert TIME.fullmatch(network["generated_at"])
    assert list(network["totals"]) == COUNTERS
    assert list(network["unattributed"]) == list(network["local"]) == COUNTERS[:5]
    for device in network["devices"]:
        assert list(device) == DEVICE
        for application in device["applications"]:
            assert list(application) == APPLICATION


def test_sums_of_an_answer_agree_to_the_byte(scene: Scene) -> None:
    network = scene.get("/")
    assert list(network["totals"].values()) == [1683, 330_331, 6, 6, 6, 897, 176_176]
    for counter in COUNTERS[:5]:
        devices = sum(device[counter] for device in network["devices"])
        apart = network["unattributed"][counter] - network["local"][counter]
        assert devices + apart == network["totals"][counter]
        for device in network["devices"]:
            assert device[counter] == sum(row[counter] for row in device["applications"])
    applications = scene.get("/applications")["applications"]
    assert network["totals"]["bytes_up"] == sum(row["bytes_up"] for row in applications)


def test_devices_and_applications_come_most_bytes_first(scene: Scene) -> None:
    network = scene.get("/")
    assert [device["mac"] for device in network["devices"]] == [LAPTOP, None, PHONE]
    assert [row["tag"] for row in network["devices"][0]["applications"]] == [YOUTUBE, NETFLIX, "Unknown"]


def test_a_device_is_told_with_all_that_is_known(scene: Scene) -> None:
    device = scene.get(f"/{LAPTOP}")
    assert list(device) == [*DEVICE, "protocols", "risks"]
    applications = device.pop("applications")
    assert device == {
        "mac": LAPTOP,
        "ip": "192.168.1.10",
        "ips": ["192.168.1.10"],
        "name": "laptop",
        "groups": [],
        "vendor": None,
        "randomized": True,
        "interface": "br0",
        "first_seen": "2023-11-14T22:13:21.000Z",
        "last_seen": "2023-11-14T22:18:30.015Z",
        "active": True,
        "bytes_up": 1525,
        "bytes_down": 330_020,
        "packets_up": 3,
        "packets_down": 3,
        "flows": 3,
        "rate_up": 813,
        "rate_down": 176_010,
        "protocols": [
            {
                "name": "HTTP/S",
                "bytes_up": 1525,
                "bytes_down": 330_020,
                "packets_up": 3,
                "packets_down": 3,
                "flows": 3,
            }
        ],
        "risks": [],
    }
    assert applications[0] == {
        "tag": YOUTUBE,
        "name": "YouTube",
        "category": None,
        "bytes_up": 15,
        "bytes_down": 300_000,
        "packets_up": 1,
        "packets_down": 1,
        "flows": 1,
        "rate_up": 8,
        "rate_down": 160_000,
        "first_seen": "2023-11-14T22:13:21.000Z",
        "last_seen": "2023-11-14T22:18:30.015Z",
    }


def test_a_device_is_an_element_of_the_network(scene: Scene) -> None:
    for element in scene.get("/")["devices"]:
        device = scene.get(f"/{element['mac'] or element['ip']}")
        del device["protocols"], device["risks"]
        assert device == element


def test_a_device_without_a_mac_goes_by_its_address(scene: Scene) -> None:
    device = scene.get(f"/{TUNNEL}")
    assert (device["mac"], device["ip"], device["ips"]) == (None, TUNNEL, [TUNNEL])


def test_applications_are_told_with_who_uses_them(scene: Scene) -> None:
    answer = scene.get("/applications")
    assert list(answer) == ["gateway", "generated_at", "interval", "applications", "total", "next"]
    rows = answer["applications"]
    assert [list(row) for row in rows] == [[*APPLICATION, "devices"]] * 3
    assert [row["tag"] for row in rows] == [YOUTUBE, NETFLIX, "Unknown"]
    assert rows[1]["devices"] == [
        {"device": LAPTOP, "bytes": 31_500, "name": "laptop", "groups": []},
        {"device": TUNNEL, "bytes": 450, "name": None, "groups": []},
        {"device": PHONE, "bytes": 3, "name": None, "groups": []},
    ]


def test_history_is_told_bucket_by_bucket(scene: Scene) -> None:
    answer = scene.get(f"/{LAPTOP}/history?resolution=5m&applications=true")
    assert list(answer) == ["gateway", "device", "resolution", "buckets"]
    assert (answer["gateway"], answer["device"], answer["resolution"]) == (GATEWAY, LAPTOP, 300)
    (bucket,) = answer["buckets"]
    assert bucket == {
        "start": rfc3339(scene.store.bucket * 1000),
        "end": rfc3339((scene.store.bucket + 300) * 1000),
        "bytes_up": 1525,
        "bytes_down": 330_020,
        "packets_up": 3,
        "packets_down": 3,
        "applications": [
            {"tag": "Unknown", "bytes_up": 10, "bytes_down": 20},
            {"tag": NETFLIX, "bytes_up": 1500, "bytes_down": 30_000},
            {"tag": YOUTUBE, "bytes_up": 15, "bytes_down": 300_000},
        ],
    }
    for query in ("?resolution=5m", "?resolution=5m&applications=false"):
        (bucket,) = scene.get(f"/{LAPTOP}/history{query}")["buckets"]
        assert "applications" not in bucket


def test_history_without_parameters_is_of_the_finest_resolution_up_to_now(scene: Scene) -> None:
    answer = scene.get(f"/{LAPTOP}/history")
    assert answer["resolution"] == 60
    assert len(answer["buckets"]) == 1


def test_history_is_of_the_buckets_that_touch_the_range(scene: Scene) -> None:
    start = scene.store.bucket

    def found(since: object, to: object) -> int:
        return len(scene.get(f"/{LAPTOP}/history?resolution=5m&from={since}&to={to}")["buckets"])

    assert found(start, start) == 1
    assert found(start + 299, start + 5000) == 1
    assert found(start - 300, start - 1) == 0
    assert found(0, start + 600) == 1
    assert found(0, 1) == 0
    assert found(start + 300, start + 99_999_999) == 0
    assert scene.get(f"/{LAPTOP}/history?from={start + 99_999_999}")["buckets"] == []
    assert len(scene.get(f"/{LAPTOP}/history?to=1000")["buckets"]) == 0
    for text in (
        rfc3339(start * 1000),
        f"{datetime.fromtimestamp(start, timezone.utc):%Y-%m-%dt%H:%M:%S}z",
        f"{datetime.fromtimestamp(start + 7200, timezone.utc):%Y-%m-%dT%H:%M:%S}%2B02:00",
        f"{datetime.fromtimestamp(start + 7200, timezone.utc):%Y-%m-%dT%H:%M:%S.%f}+02:00",
    ):
        assert found(text, text) == 1, text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_467_301_250, "2026-11-23T20:55:01.250Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (None, None),
        (1 << 62, None),
        (253_402_300_800_000, None),
    ],
)
def test_times_are_rfc_3339_with_milliseconds(milliseconds: int | None, text: str | None) -> None:
    assert rfc3339(milliseconds) == text


@pytest.mark.parametrize(
    "text",
    ["\x00\x1b[31m\x7f", '"},{"x":"', "</script><script>alert(1)</script>", "\ud800", "\u2028\n", "é" * 253],
)
def test_hostile_names_come_out_as_valid_json(scene: Scene, text: str) -> None:
    flush = scene.store.take()
    scene.store.sequence -= 1
    said = scene.store.netifyd
    digest = f"evil {hash(text)}"
    scene.store.feed(said.flow(digest, "02:66:66:66:66:66"), said.stats(digest, 1, 1), said.purge(digest))
    flush = scene.store.take()
    for key in list(flush.batch.counted):
        flush.batch.counted[key._replace(application=text, protocol=text)] = flush.batch.counted.pop(key)
    scene.store.writer.apply(flush)
    expected = text.replace("\ud800", "?")
    device = scene.get("/02:66:66:66:66:66")
    assert expected in {row["tag"] for row in device["applications"]}
    assert expected in {row["name"] for row in device["protocols"]}
    assert expected in {row["tag"] for row in scene.get("/applications")["applications"]}
    answer = scene.ask("/")
    assert b"\n" not in answer.body[:-1]
    answer.body.decode()
