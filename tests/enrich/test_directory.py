from __future__ import annotations

import json
import threading
from pathlib import Path

from enrich_network import IP, MAC, OTHER, OTHER_IP, VENDOR, Network, running
from support import eventually

from netify_agent.enrich.directory import Directory


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
    def test_the_device_noted_longest_ago_is_forgotten(self, network: Network) -> None:
        network.now = 0.0
        directory = network.directory(reverse_dns=True, max_devices=2)
        turns: list[None] = []
        with running(directory, lambda: turns.append(None)):
            eventually(lambda: len(turns) > 1)  # the files were read; new devices wait until now is 1.0
            directory.note(MAC, ["10.0.0.1"])
            directory.note(OTHER, ["10.0.0.2"])
            directory.note(MAC, [])
            directory.note("02:00:00:00:00:03", ["10.0.0.3"])
            network.now = 1.0
            eventually(lambda: len(network.asked) >= 2)
        assert network.asked == ["10.0.0.1", "10.0.0.3"]
        assert directory.vendor(MAC) == VENDOR

    def test_the_addresses_of_a_device_are_bounded(self, network: Network) -> None:
        directory = network.directory(reverse_dns=True)
        for i in range(100):
            directory.note(MAC, [f"10.0.0.{i}"], None)
        for i in range(100):
            directory.note(MAC, [f"2001:db8::{i}"], None)
        directory.note(OTHER, [OTHER_IP], None)
        with running(directory):
            eventually(lambda: OTHER_IP in network.asked)
        assert network.asked == [
            *("10.0.0.99", "10.0.0.98", "10.0.0.97", "10.0.0.96"),
            *("2001:db8::99", "2001:db8::98", "2001:db8::97", "2001:db8::96"),
            OTHER_IP,
        ]

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
