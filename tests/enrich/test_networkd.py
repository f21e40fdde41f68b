from __future__ import annotations

import json
from pathlib import Path

import pytest

from enrich.lease_files import EARLIER, LATER, MAC, read
from netify_agent.enrich.leases import Names

OCTETS = [2, 0, 0, 0, 0, 1]


def lease(**changes: object) -> dict[str, object]:
    return {
        "ClientId": [1, *OCTETS],
        "Address": [192, 168, 1, 2],
        "Hostname": "laptop",
        "HardwareAddressType": 1,
        "HardwareAddressLength": 6,
        "HardwareAddress": OCTETS,
        "ExpirationUSec": 5,
        "ExpirationRealtimeUSec": LATER * 1_000_000,
    } | changes


def read_rows(tmp_path: Path, *rows: object) -> Names:
    return read(tmp_path, json.dumps({"BootID": "x", "Address": [192, 168, 1, 1], "Leases": rows}))


def test_names_by_mac_and_address(tmp_path: Path) -> None:
    assert read_rows(tmp_path, lease()) == Names({MAC: "laptop"}, {"192.168.1.2": "laptop"}, LATER)


@pytest.mark.parametrize("hardware", [None, [0] * 6, [], [2, 0], "x"])
@pytest.mark.parametrize(
    ("client", "found"),
    [
        ([1, *OCTETS], True),
        ([255, 1, 2, 3, 4, 0, 3, 0, 1, *OCTETS], True),
        ([255, 1, 2, 3, 4, 0, 1, 0, 1, 9, 9, 9, 9, *OCTETS], True),
        ([255, 1, 2, 3, 4, 0, 2, 0, 0, 171, 17, *OCTETS], False),
        ([255, *OCTETS], False),
        ([1, 97], False),
        ([1, 2, 0, 0, 0, 0, 256], False),
        (None, False),
    ],
)
def test_without_a_hardware_address_the_client_identifier_tells_it(
    tmp_path: Path, hardware: object, client: object, found: bool
) -> None:
    names = read_rows(tmp_path, lease(HardwareAddress=hardware, ClientId=client))
    assert names.by_mac == ({MAC: "laptop"} if found else {})
    assert names.by_ip == {"192.168.1.2": "laptop"}


def test_an_ended_lease_is_ignored_and_one_without_an_end_is_not(tmp_path: Path) -> None:
    assert read_rows(tmp_path, lease(ExpirationRealtimeUSec=EARLIER * 1_000_000)) == Names()
    assert read_rows(tmp_path, lease(ExpirationRealtimeUSec=None)).by_ip == {"192.168.1.2": "laptop"}


def test_of_two_leases_of_a_device_the_one_that_ends_last_is_newer(tmp_path: Path) -> None:
    older = lease(Address=[192, 168, 1, 3], Hostname="old", ExpirationRealtimeUSec=LATER * 1_000_000 - 1)
    assert read_rows(tmp_path, lease(), older).by_mac == {MAC: "laptop"}


def test_odd_rows_cost_only_themselves(tmp_path: Path) -> None:
    odd = [
        *(None, 3, {}),
        *(lease(Address=address) for address in ([1, 2, 3], [1, 2, 3, 999], "10.0.0.1")),
        lease(Address=[1, 2, 3, 4], Hostname=7),
    ]
    assert read_rows(tmp_path, *odd, lease()).by_ip == {"192.168.1.2": "laptop"}
