from __future__ import annotations

from pathlib import Path

from enrich.lease_files import EARLIER, LATER, MAC, dnsmasq, read
from netify_agent.enrich.leases import Names


def test_names_by_mac_and_address(tmp_path: Path) -> None:
    names = read(tmp_path, f"{LATER} {MAC} 192.168.1.2 laptop 01:{MAC}\n")
    assert names == Names({MAC: "laptop"}, {"192.168.1.2": "laptop"}, LATER)


def test_a_star_is_no_name(tmp_path: Path) -> None:
    names = read(tmp_path, dnsmasq("192.168.1.2", "*"))
    assert (names.by_mac, names.by_ip, names.owners) == ({}, {}, {"192.168.1.2": MAC})


def test_an_ended_lease_is_ignored_and_zero_never_ends(tmp_path: Path) -> None:
    names = read(
        tmp_path,
        dnsmasq("10.0.0.1", "old", expires=EARLIER)
        + dnsmasq("10.0.0.2", "fixed", "02:00:00:00:00:02", expires=0),
    )
    assert names == Names({"02:00:00:00:00:02": "fixed"}, {"10.0.0.2": "fixed"})


def test_lease_lengths_of_a_machine_without_a_clock_are_no_expiry_times(tmp_path: Path) -> None:
    assert read(tmp_path, dnsmasq("10.0.0.1", "tv", expires=43200)).by_ip == {"10.0.0.1": "tv"}


def test_dhcpv6_names_by_address(tmp_path: Path) -> None:
    names = read(
        tmp_path,
        dnsmasq("10.0.0.1", "*")
        + "duid 00:01:00:01:2c:aa:bb:cc:02:00:00:00:00:ff\n"
        + f"{LATER} 12345 FD00::0:2 laptop6 00:01:00:01:2c\n{LATER} T99 fd00::3 temporary 00:01\n",
    )
    assert names.by_ip == {"fd00::2": "laptop6", "fd00::3": "temporary"}
    assert names.by_mac == {}


def test_other_hardware_than_ethernet_is_named_by_address_only(tmp_path: Path) -> None:
    names = read(tmp_path, dnsmasq("10.0.0.1", "token", "06-02:00:00:00:00:01"))
    assert names.by_mac == {} and names.by_ip == {"10.0.0.1": "token"}


def test_broken_lines_cost_only_themselves(tmp_path: Path) -> None:
    names = read(
        tmp_path,
        "nonsense\n"
        + dnsmasq("10.0.0.1", "first")
        + "\udcff\udcfe\n\nnonsense\n"
        + dnsmasq("not-an-ip", "x")
        + dnsmasq("10.0.0.3", "a\x1bb")
        + dnsmasq("10.0.0.4", "caf\udce9")
        + f"{LATER} 02:00:00:00:00:05 10.0.0.5 last",
    )
    assert names.by_ip == {"10.0.0.1": "first", "10.0.0.5": "last"}
