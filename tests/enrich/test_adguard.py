from __future__ import annotations

import json
from pathlib import Path

import pytest

from enrich.lease_files import LATER, MAC, NOW, read
from netify_agent.enrich.leases import Names

OLD = {"mac": "AgAAAAAB", "ip": "wKg4Bg==", "host": "old-tablet", "exp": LATER}


def lease(**changes: object) -> dict[str, object]:
    return {
        "expires": "2023-11-14T23:13:20Z",  # LATER
        "ip": "192.0.2.93",
        "hostname": "tablet",
        "mac": MAC,
        "static": False,
    } | changes


def read_rows(tmp_path: Path, *rows: object) -> Names:
    return read(tmp_path, json.dumps({"version": 1, "leases": rows}))


def test_names_by_mac_and_address(tmp_path: Path) -> None:
    assert read_rows(tmp_path, lease()) == Names({MAC: "tablet"}, {"192.0.2.93": "tablet"}, LATER)


@pytest.mark.parametrize(
    ("expires", "current"),
    [
        ("2023-11-14T22:13:21Z", True),  # NOW is 22:13:20
        ("2023-11-14T22:13:20Z", False),
        ("2023-11-14T23:13:21.123456789+01:00", True),
        ("2023-11-14T23:13:20+01:00", False),
        ("0001-01-01T00:00:00Z", False),
        ("2023-13-14T00:00:00Z", False),
        ("", False),
        (5, False),
    ],
)
def test_an_ended_lease_is_ignored_unless_it_is_static(
    tmp_path: Path, expires: object, current: bool
) -> None:
    assert bool(read_rows(tmp_path, lease(expires=expires)).by_ip) is current
    assert read_rows(tmp_path, lease(expires=expires, static=True)).by_ip == {"192.0.2.93": "tablet"}


def test_the_list_of_older_versions_is_read(tmp_path: Path) -> None:
    mapped = OLD | {"ip": "AAAAAAAAAAAAAP//wAACAQ==", "host": "static", "exp": 1, "mac": "AgAAAAAC"}
    ended = OLD | {"ip": "wKg4Bw==", "exp": int(NOW)}
    names = read(tmp_path, json.dumps([OLD, mapped, ended]))
    assert names.by_ip == {"192.168.56.6": "old-tablet", "192.0.2.1": "static"}
    assert names.by_mac == {MAC: "old-tablet", "02:00:00:00:00:02": "static"}


def test_odd_rows_cost_only_themselves(tmp_path: Path) -> None:
    odd = [None, 3, {}, lease(ip=7), lease(ip="x"), lease(ip="192.0.2.1", hostname=None)]
    assert read_rows(tmp_path, *odd, lease()).by_ip == {"192.0.2.93": "tablet"}
    old = [OLD | {"ip": "?"}, OLD | {"ip": "AAA="}, OLD | {"exp": 1 << 70}, OLD | {"exp": None}, OLD]
    assert read(tmp_path, json.dumps([OLD, 3, *old])).by_ip == {"192.168.56.6": "old-tablet"}
