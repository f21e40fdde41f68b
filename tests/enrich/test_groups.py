"""Names and groups of the configuration: who is in which group, and which address of a device counts."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from enrich_network import IP, MAC, OTHER, OTHER_IP, Network

from netify_agent.enrich import groups as groups_module
from netify_agent.enrich.groups import Groups

GROUPS = {
    "kids": ["02:00:00:00:00:07", "kids-*", "192.168.1.32/28"],
    "guests": ["192.168.1.3/32", "fd00:2::/64"],
    "all": ["192.168.0.0/16", "*"],
    "nobody": [],
}


@pytest.mark.parametrize(
    ("device", "ips", "name", "expected"),
    [
        ("02:00:00:00:00:07", [], None, ["kids"]),
        ("02:00:00:00:00:08", [], None, []),
        ("02:00:00:00:00:08", [], "KIDS-Tablet", ["kids", "all"]),
        ("02:00:00:00:00:08", [], "my-kids-tablet", ["all"]),
        ("02:00:00:00:00:08", ["192.168.1.47"], None, ["kids", "all"]),
        ("02:00:00:00:00:08", ["192.168.1.48"], None, ["all"]),
        ("02:00:00:00:00:07", ["192.168.1.3"], None, ["kids", "guests", "all"]),
        ("10.8.0.2", ["10.8.0.2"], None, []),
        ("02:00:00:00:00:08", ["fe80::1", "fd00:2::1"], None, ["guests"]),
        ("02:00:00:00:00:08", ["no address"], None, []),
    ],
)
def test_a_device_is_in_a_group_by_mac_address_network_or_name(
    device: str, ips: list[str], name: str | None, expected: list[str]
) -> None:
    groups = Groups(GROUPS)
    assert groups.names == ("kids", "guests", "all", "nobody")
    assert groups.of(device, ips, name) == expected
    assert groups.of(device, ips, name) == expected, "the same from memory"


def test_a_pattern_is_one_of_the_shell_for_the_whole_name() -> None:
    groups = Groups({"g": ["tv-?", "pc[12].*"]})
    found = [
        name for name in ("tv-1", "tv-12", "xtv-1", "PC1.lan", "pc3.lan", "pc1") if groups.of("m", [], name)
    ]
    assert found == ["tv-1", "PC1.lan"]


def test_without_groups_nobody_is_in_one() -> None:
    assert Groups().of(MAC, [IP], "name") == []


def test_each_address_is_examined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes groups of many members cheap for many devices."""
    examined: list[str] = []

    def noting(text: str) -> IPv4Address | IPv6Address:
        examined.append(text)
        return ip_address(text)

    monkeypatch.setattr(groups_module, "ip_address", noting)
    groups = Groups({"lan": ["10.0.0.0/8"]})
    addresses = [f"10.0.0.{number}" for number in range(100)]
    for _ in range(3):
        assert [groups.of(MAC, [ip], None) for ip in addresses] == [["lan"]] * 100
    assert examined == addresses


def test_a_configured_name_comes_before_all_others(network: Network) -> None:
    network.put("ethers", f"{MAC} of-ethers\n")
    network.lease("of-lease")
    directory = network.directory(given_names={MAC: "Anna's laptop", OTHER_IP: "printer"})
    directory.refresh()
    assert directory.name(MAC, [IP], "hint") == "Anna's laptop"
    assert directory.name(OTHER, [OTHER_IP], "hint") == "printer"
    assert directory.name(OTHER_IP, [], None) == "printer", "a device without a MAC address"


def test_new_names_and_groups_are_a_new_generation(network: Network) -> None:
    directory = network.directory(groups={"old": ["*"]})
    directory.note(MAC, [IP], "laptop")
    before = directory.generation
    directory.configure({MAC: "kids-laptop"}, {"kids": ["kids-*"]})
    assert directory.generation > before
    assert directory.name(MAC, [], None) == "kids-laptop"
    assert directory.group_names == ("kids",)
    assert directory.groups(MAC, [], "kids-laptop") == ["kids"]


@pytest.mark.parametrize("ips", [[], [OTHER_IP]])
def test_the_latest_ipv4_address_of_a_device_decides(network: Network, ips: Iterable[str]) -> None:
    """DHCP gives an earlier address to the next device, which must not take name and group over."""
    directory = network.directory(groups={"guests": [f"{OTHER_IP}/32"]}, given_names={OTHER_IP: "printer"})
    directory.note(MAC, [OTHER_IP], None)
    assert directory.groups(MAC, list(ips), None) == ["guests"]
    assert directory.name(MAC, list(ips), None) == "printer"
    directory.note(MAC, [IP], None)
    directory.note(OTHER, [OTHER_IP], None)
    assert directory.groups(MAC, list(ips), None) == []
    assert directory.name(MAC, list(ips), None) is None
    assert directory.members("guests") == [OTHER]
    directory.note(MAC, [OTHER_IP], None)
    assert directory.groups(MAC, list(ips), None) == ["guests"], "it has the address again"


def test_an_address_that_netifyd_only_lists_is_not_the_latest(network: Network) -> None:
    directory = network.directory(groups={"guests": [f"{OTHER_IP}/32"]})
    directory.note(MAC, [IP], None)
    directory.note(MAC, [], None, listed=[OTHER_IP, IP])
    assert directory.groups(MAC, [], None) == []
    directory.note(OTHER, [], None, listed=[OTHER_IP])
    assert directory.groups(OTHER, [], None) == ["guests"], "the only one that is known"


def test_all_remembered_ipv6_addresses_of_a_device_count(network: Network) -> None:
    directory = network.directory(groups={"v6": ["fd00:2::/64"]})
    directory.note(MAC, ["fe80::1", "fd00:2::1", IP], None)
    directory.note(MAC, ["fd00:1::1"], None)
    assert directory.groups(MAC, [], None) == ["v6"]


def test_ten_thousand_devices_have_groups(network: Network) -> None:
    members = [f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}" for number in range(10_000)]
    directory = network.directory(groups={"half": members[::2], "named": ["host-1*"]})
    for number, device in enumerate(members):
        directory.note(device, [f"10.0.{number >> 8}.{number & 255}"], f"host-{number}")
    assert directory.members("half") == members[::2]
    assert len(directory.members("named")) == 1111
