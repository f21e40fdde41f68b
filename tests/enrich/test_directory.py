from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from netify_agent.enrich import directory as directory_module
from netify_agent.enrich.directory import FILES_EVERY, Directory
from netify_agent.enrich.reverse import FAILURE_TTL, NAME_TTL

MAC = "00:22:72:01:02:03"
IP = "192.168.1.2"
OTHER = "02:00:00:00:00:07"
OTHER_IP = "192.168.1.3"
NOW = 1_700_000_000.0
VENDOR = "American Micro-Fuel Device Corp."


class Network:
    """The files of a gateway, a resolver with a table, and two clocks that stand still."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        self.wall = NOW
        self.zone: dict[str, str] = {}
        self.asked: list[str] = []
        (folder / "oui.csv").write_text(f"Registry,Assignment,Organization Name,x\nMA-L,002272,{VENDOR},\n")
        self.put("categories.json", json.dumps({"application_tag_index": {"streaming-media": 29}}))

    def put(self, name: str, text: str) -> None:
        new = self.folder / f".{name}.new"
        new.write_text(text)
        os.replace(new, self.folder / name)

    def lease(self, name: str, *, mac: str = MAC, ip: str = IP) -> None:
        self.put("dnsmasq.leases", f"{int(NOW) + 3600} {mac} {ip} {name} *\n")

    def resolve(self, ip: str) -> str | None:
        self.asked.append(ip)
        return self.zone.get(ip)

    def directory(self, *, reverse_dns: bool = False, **options: Any) -> Directory:
        return Directory(
            vendors=str(self.folder),
            hosts=[str(self.folder / "hosts")],
            ethers=[str(self.folder / "ethers")],
            leases=[str(self.folder / "*.leases")],
            reverse_dns=reverse_dns,
            categories=str(self.folder / "categories.json"),
            resolve=self.resolve,
            clock=lambda: self.now,
            wall=lambda: self.wall,
            **options,
        )


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return Network(tmp_path)


@contextmanager
def running(directory: Directory, progress: Callable[[], None] = lambda: None) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=directory.run, args=(stop, progress))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.005)


class TestNeighbours:
    def test_the_kernel_goes_before_a_lease_and_only_its_answers_count(self, network: Network) -> None:
        network.put(
            "arp",
            "IP address       HW type     Flags       HW address            Mask     Device\n"
            "192.0.2.10       0x1         0x2         02:00:00:00:50:0A     *        br-lan\n"
            f"{IP}       0x1         0x6         02:00:00:00:50:0b     *        br-lan\n"
            "192.0.2.12       0x1         0x0         00:00:00:00:00:00     *        br-lan\n"
            "192.0.2.13       0x1         0x0         02:00:00:00:50:0d     *        br-lan\n"
            "no row\n",
        )
        network.put(
            "b.leases", f"0 {MAC} 10.9.9.9 * *\n1500000000 {MAC} 10.9.9.8 ended *\n0 {MAC} {IP} laptop *\n"
        )
        found: list[dict[str, str]] = []
        network.directory(arp=str(network.folder / "arp"), on_neighbours=found.append).refresh()
        assert found == [{"192.0.2.10": "02:00:00:00:50:0a", IP: "02:00:00:00:50:0b", "10.9.9.9": MAC}]

    def test_without_a_table_of_the_kernel_there_are_leases(self, network: Network) -> None:
        network.lease("laptop")
        found: list[dict[str, str]] = []
        network.directory(arp=str(network.folder / "none"), on_neighbours=found.append).refresh()
        assert found == [{IP: MAC}]


class TestNames:
    def test_each_source_gives_way_to_a_better_one(self, network: Network) -> None:
        directory = network.directory(reverse_dns=True)
        network.zone[IP] = "reverse.example.org"
        directory.note(MAC, [IP], None)
        assert directory.name(MAC, [IP], None) is None
        with running(directory):
            eventually(lambda: directory.name(MAC, [IP], None) == "reverse.example.org")
        directory.note(MAC, [IP], "mdns-hint")
        assert directory.name(MAC, [IP], None) == "mdns-hint"
        network.put("hosts", f"{IP} from-hosts\n")
        directory.refresh()
        assert directory.name(MAC, [IP], "mdns-hint") == "from-hosts"
        network.lease("by-address", mac="02:00:00:00:00:99")
        directory.refresh()
        assert directory.name(MAC, [IP], "mdns-hint") == "by-address"
        network.put("b.leases", f"0 {MAC} 10.9.9.9 by-mac *\n")
        directory.refresh()
        assert directory.name(MAC, [IP], "mdns-hint") == "by-mac"
        network.put("ethers", f"{MAC} from-ethers\n")
        directory.refresh()
        assert directory.name(MAC, [IP], "mdns-hint") == "from-ethers"

    def test_a_name_that_hangs_on_ipv4_outlives_twenty_temporary_addresses(self, network: Network) -> None:
        network.put("hosts", f"{IP} printer\n")
        directory = network.directory()
        directory.refresh()
        directory.note(MAC, [IP], None)
        for number in range(20):
            directory.note(MAC, [f"2001:db8::{number:x}"], None)
        assert directory.name(MAC, [], None) == "printer"

    def test_a_device_without_a_mac_is_named_by_its_address(self, network: Network) -> None:
        network.lease("tunnel")
        directory = network.directory()
        directory.refresh()
        assert directory.name(IP, [], None) == "tunnel"
        network.wall += 3600  # the lease has ended
        directory.refresh()
        assert directory.name(IP, [], None) is None

    def test_the_hint_asked_with_goes_before_the_one_noted(self, network: Network) -> None:
        directory = network.directory()
        directory.note(MAC, [IP], "noted")
        assert directory.name(MAC, [IP], "asked") == "asked"
        directory.note(MAC, [IP], None)
        assert directory.name(MAC, [IP], None) == "noted"

    def test_a_hostile_hint_is_no_name(self, network: Network) -> None:
        directory = network.directory()
        directory.note(MAC, [IP], "a\x1b[31mb")
        assert directory.name(MAC, [IP], "x\ny") is None

    def test_without_addresses_the_last_noted_ones_count(self, network: Network) -> None:
        network.lease("laptop", mac="*")
        directory = network.directory()
        directory.refresh()
        directory.note(MAC, [IP], None)
        assert directory.name(MAC, [], None) == "laptop"
        assert directory.name(MAC, ["192.168.1.77"], None) is None

    def test_asking_changes_nothing(self, network: Network) -> None:
        directory = network.directory(reverse_dns=True)
        network.zone[IP] = "reverse.example.org"
        directory.note(OTHER, [OTHER_IP], None)
        before = directory.generation
        with running(directory):
            assert directory.name(MAC, [IP], "asked") == "asked"
            assert directory.name(OTHER, [IP], "asked") == "asked"
            assert directory.vendor(MAC) is None
            assert directory.generation == before
            eventually(lambda: network.asked == [OTHER_IP])
        directory.refresh()
        assert (
            directory.name(MAC, [], None) is directory.name(OTHER, [], None) is directory.vendor(MAC) is None
        )


class TestVendors:
    def test_a_noted_device_gets_its_vendor(self, network: Network) -> None:
        directory = network.directory()
        directory.note(MAC, [IP], None)
        directory.note(IP, [IP], None)
        assert directory.vendor(MAC) is None
        directory.refresh()
        assert (directory.vendor(MAC), directory.vendor(IP)) == (VENDOR, None)

    def test_a_registry_that_appears_later_is_used(self, network: Network) -> None:
        (network.folder / "oui.csv").rename(network.folder / "away")
        directory = network.directory()
        directory.note(MAC, [IP], None)
        directory.refresh()
        assert directory.vendor(MAC) is None
        (network.folder / "away").rename(network.folder / "oui.csv")
        directory.refresh()
        assert directory.vendor(MAC) == VENDOR


def test_applications_have_a_name_and_a_category(network: Network) -> None:
    directory = network.directory()
    assert directory.application("netify.netflix", 29) == ("Netflix", "streaming-media")
    assert directory.application("Unknown", 0) == ("Unknown", None)
    assert directory.application("netify.youtube", None) == ("YouTube", None)


class TestReverseDns:
    def test_it_is_not_asked_unless_allowed(self, network: Network) -> None:
        directory = network.directory(reverse_dns=False)
        directory.note(MAC, [IP], None)
        with running(directory):
            eventually(lambda: directory.vendor(MAC) == VENDOR)
        assert network.asked == []

    def test_a_name_is_asked_for_again_after_its_ttl_only(self, network: Network) -> None:
        directory = network.directory(reverse_dns=True)
        network.zone[IP] = "old"
        directory.note(MAC, [IP], None)
        with running(directory):
            eventually(lambda: directory.name(MAC, [IP], None) == "old")
            network.zone[IP] = "new"
            network.now += NAME_TTL - 1
            directory.note(OTHER, [OTHER_IP], None)
            eventually(lambda: network.asked == [IP, OTHER_IP])
            assert directory.name(MAC, [IP], None) == "old"
            network.now += FILES_EVERY
            eventually(lambda: directory.name(MAC, [IP], None) == "new")

    def test_an_address_without_a_name_is_asked_for_again_after_ten_minutes_only(
        self, network: Network
    ) -> None:
        directory = network.directory(reverse_dns=True)
        directory.note(MAC, [IP], None)
        with running(directory):
            eventually(lambda: network.asked == [IP])
            network.now += FAILURE_TTL - 1
            directory.note(OTHER, [OTHER_IP], None)
            eventually(lambda: network.asked == [IP, OTHER_IP])
            network.now += FILES_EVERY
            eventually(lambda: network.asked == [IP, OTHER_IP, IP])

    def test_only_addresses_of_nameless_devices_leave_the_gateway(self, network: Network) -> None:
        network.lease("leased", mac="02:00:00:00:00:01", ip="192.168.1.11")
        network.put("hosts", "192.168.1.12 fixed\n")
        directory = network.directory(reverse_dns=True)
        directory.note("02:00:00:00:00:01", ["192.168.1.10"], None)
        directory.note("02:00:00:00:00:02", ["192.168.1.12"], None)
        directory.note("02:00:00:00:00:03", ["192.168.1.13"], "hinted")
        directory.name("02:00:00:00:00:04", ["192.168.1.14"], "hinted")
        directory.note("02:00:00:00:00:05", ["fe80::1", "169.254.1.1", "127.0.0.1", "fd00::5"], None)
        directory.note("192.168.1.16", [], None)
        with running(directory):
            eventually(lambda: len(network.asked) >= 2)
        # They are asked for in the order in which the devices were noted: these two come last.
        assert network.asked == ["fd00::5", "192.168.1.16"]

    def test_one_name_of_a_device_is_enough(self, network: Network) -> None:
        directory = network.directory(reverse_dns=True)
        network.zone[IP] = "laptop"
        directory.note(MAC, [IP], None)
        with running(directory):
            eventually(lambda: directory.name(MAC, [IP], None) == "laptop")
            directory.note(MAC, [IP, "fd00::2"], None)
            directory.note(OTHER, [OTHER_IP], None)
            network.now += 1
            eventually(lambda: OTHER_IP in network.asked)
        assert network.asked == [IP, OTHER_IP]

    def test_a_stuck_resolver_stops_neither_beats_nor_files(self, network: Network) -> None:
        go = threading.Event()
        beats: list[float] = []
        directory = Directory(
            vendors=str(network.folder),
            hosts=[],
            leases=[str(network.folder / "*.leases")],
            reverse_dns=True,
            categories="",
            resolve=lambda ip: "late" if go.wait(10) else None,
            clock=lambda: network.now,
            wall=lambda: network.wall,
        )
        directory.note("02:00:00:00:00:07", ["192.168.1.7"], None)
        with running(directory, lambda: beats.append(time.monotonic())):
            eventually(lambda: len(beats) > 1)
            network.lease("leased")
            network.now += FILES_EVERY
            eventually(lambda: directory.name(MAC, [IP], None) == "leased")
            go.set()
            eventually(lambda: directory.name("02:00:00:00:00:07", ["192.168.1.7"], None) == "late")


class TestLoop:
    def test_a_new_device_is_looked_at_without_waiting_for_the_files(self, network: Network) -> None:
        directory = network.directory()
        with running(directory):
            directory.note(OTHER, [OTHER_IP], None)
            network.now += 1
            directory.note(MAC, [IP], None)
            eventually(lambda: directory.vendor(MAC) == VENDOR)

    def test_changed_files_are_noticed_every_half_minute(self, network: Network) -> None:
        directory = network.directory()
        directory.note(MAC, [IP], None)
        with running(directory):
            eventually(lambda: directory.vendor(MAC) == VENDOR)
            network.lease("laptop")
            network.put("categories.json", json.dumps({"application_tag_index": {"films": 29}}))
            network.now += FILES_EVERY
            eventually(lambda: directory.name(MAC, [IP], None) == "laptop")
            assert directory.application("netify.netflix", 29) == ("Netflix", "films")

    def test_an_idle_loop_beats(self, network: Network) -> None:
        beats: list[float] = []
        with running(network.directory(), lambda: beats.append(time.monotonic())):
            eventually(lambda: len(beats) >= 3)
        assert directory_module._TICK < 1.0


class TestGeneration:
    def test_it_grows_with_every_kind_of_answer(self, network: Network) -> None:
        directory = network.directory(reverse_dns=True)
        seen = [directory.generation]

        def grew() -> bool:
            seen.append(directory.generation)
            return seen[-1] > seen[-2]

        directory.note(MAC, [IP], None)
        assert grew(), "addresses"
        directory.refresh()
        assert grew(), "vendor"
        directory.refresh()
        assert not grew(), "nothing"
        network.lease("laptop", mac="02:00:00:00:00:01", ip="192.168.1.8")
        directory.refresh()
        assert grew(), "lease"
        network.put("categories.json", json.dumps({"application_tag_index": {"films": 29}}))
        directory.refresh()
        assert grew(), "category"
        network.zone[IP] = "reverse"
        with running(directory):
            eventually(grew)
        directory.note(MAC, [IP], "hint")
        assert grew(), "hint"
        directory.note(MAC, [IP], "hint")
        assert not grew(), "the same hint"
        directory.note(MAC, [IP], "a\x00b")
        assert not grew(), "a hint that is no name"


class TestBounds:
    def test_the_device_noted_longest_ago_is_forgotten(
        self, network: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        directory = network.directory()
        directory.max_devices = 2
        directory.note(MAC, [], "first")
        directory.note("02:00:00:00:00:02", [], "second")
        directory.note(MAC, [], None)
        directory.note("02:00:00:00:00:03", [], "third")
        assert list(directory._devices) == [MAC, "02:00:00:00:00:03"]
        assert set(directory._fresh) == set(directory._devices)
        directory.refresh()
        assert directory.vendor(MAC) == VENDOR

    def test_the_addresses_of_a_device_are_bounded(self, network: Network) -> None:
        directory = network.directory()
        for i in range(100):
            directory.note(MAC, [f"10.0.0.{i}"], None)
        for i in range(100):
            directory.note(MAC, [f"2001:db8::{i}"], None)
        assert directory._devices[MAC].ips == (
            *("10.0.0.99", "10.0.0.98", "10.0.0.97", "10.0.0.96"),
            *("2001:db8::99", "2001:db8::98", "2001:db8::97", "2001:db8::96"),
        )

    def test_answers_for_forgotten_addresses_are_dropped(self, network: Network) -> None:
        directory = network.directory(reverse_dns=True)
        network.zone[IP] = "laptop"
        directory.note(MAC, [IP], None)
        with running(directory):
            eventually(lambda: directory.name(MAC, [IP], None) == "laptop")
        directory.note(MAC, [f"10.0.0.{i}" for i in range(4)], None)
        directory.refresh()
        assert directory.name(MAC, [IP], None) is None


def test_nothing_of_what_it_is_given_needs_to_exist(tmp_path: Path) -> None:
    directory = Directory(
        vendors=str(tmp_path / "none"),
        hosts=[str(tmp_path / "none")],
        leases=[str(tmp_path / "none*"), "[", ""],
        reverse_dns=False,
        categories="",
    )
    directory.note(MAC, [IP], None)
    directory.refresh()
    assert directory.name(MAC, [IP], None) is None
    assert directory.vendor(MAC) is None
    assert directory.application("netify.netflix", 29) == ("Netflix", "streaming-media")


def test_many_threads_may_ask_and_tell_while_it_runs(network: Network) -> None:
    directory = network.directory(reverse_dns=True)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(300):
                device = f"00:22:72:00:{number:02x}:{i & 0xFF:02x}"
                directory.note(device, [f"10.0.{number}.{i & 0xFF}"], f"host{i}" if i % 3 else None)
                directory.name(device, [f"10.0.{number}.{i & 0xFF}"], None)
                directory.vendor(device)
                directory.application("netify.netflix", 29)
        except BaseException as error:
            failures.append(error)

    with running(directory):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert failures == []
    directory.refresh()
    assert directory.vendor("00:22:72:00:03:05") == VENDOR
