from __future__ import annotations

from pathlib import Path

from enrich.lease_files import MAC, NOW, dnsmasq
from netify_agent.enrich.files import FileLimits
from netify_agent.enrich.leases import NameFiles, Names


def read(
    tmp_path: Path,
    *,
    hosts: str | bytes = "",
    ethers: str | bytes = "",
    leases: str = "",
    limits: FileLimits | None = None,
) -> Names:
    for name, content in (("hosts", hosts), ("ethers", ethers), ("leases", leases)):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    files = NameFiles(
        hosts=[str(tmp_path / "hosts")],
        ethers=[str(tmp_path / "ethers")],
        leases=[str(tmp_path / "leases")],
        limits=limits or FileLimits(),
    )
    files.refresh(NOW)
    return files.names


def test_the_first_name_of_the_first_line_of_an_address_counts(tmp_path: Path) -> None:
    text = "# comment\n192.168.1.5\tnas.example.org nas # the disk\n192.168.1.5 other\nFD00::0:9 nas6\n"
    assert read(tmp_path, hosts=text).by_ip == {"192.168.1.5": "nas.example.org", "fd00::9": "nas6"}


def test_addresses_of_no_other_host_are_ignored(tmp_path: Path) -> None:
    text = (
        "127.0.0.1 localhost\n127.0.1.1 gateway\n::1 ip6-loopback\nff02::1 ip6-allnodes\n"
        "0.0.0.0 ads.example.org\n255.255.255.255 broadcasthost\n10.0.0.1 localhost\n"
    )
    assert read(tmp_path, hosts=text).by_ip == {}


def test_ethers_names_a_mac_or_refers_to_the_hosts_line_of_an_address(tmp_path: Path) -> None:
    ethers = (
        "\ufeff# comment\r\n8:0:20:AA-0-1 bad\r\n8:0:20:AA:0:1 sun. # spare\r\n08-00-20-aa-00-01 second\r\n"
        "02:00:00:00:00:02 192.168.1.5\r\n02:00:00:00:00:03 192.168.1.6\r\n02:00:00:00:00:04 -\r\n"
    )
    names = read(tmp_path, ethers=ethers, hosts="192.168.1.5 nas\n", leases=dnsmasq("192.168.1.6", "leased"))
    assert names.by_mac == {MAC: "leased", "08:00:20:aa:00:01": "bad", "02:00:00:00:00:02": "nas"}


def test_ethers_goes_before_a_lease(tmp_path: Path) -> None:
    names = read(tmp_path, ethers=f"{MAC} fixed\n", leases=dnsmasq("10.0.0.1", "leased"))
    assert (names.by_mac, names.by_ip) == ({MAC: "fixed"}, {"10.0.0.1": "leased"})


def test_broken_lines_cost_only_themselves(tmp_path: Path) -> None:
    names = read(
        tmp_path,
        hosts=b"\xff\n10.0.0.1\nx y\n10.0.0.2 a\x01\n10.0.0.3 ok\n",
        ethers=b"\xff\n02:00:00:00:00:01\nx y\n02:00:00:00:00:02 a\x01\n02:00:00:00:00:03 ok",
    )
    assert names == Names({"02:00:00:00:00:03": "ok"}, {"10.0.0.3": "ok"})


def test_an_endless_file_is_read_to_its_limit(tmp_path: Path) -> None:
    text = "10.0.0.1 a\n10.0.0.2 b\n10.0.0.3 c\n"
    names = read(tmp_path, hosts=text, limits=FileLimits(max_bytes=20))
    assert names.by_ip == {"10.0.0.1": "a", "10.0.0.2": "b"}
