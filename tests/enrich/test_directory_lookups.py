"""Reverse DNS look-ups of the directory, and its loop."""

from __future__ import annotations

import json
import threading
import time

from enrich_network import IP, MAC, OTHER, OTHER_IP, VENDOR, Network, running
from support import eventually

from netify_agent.enrich.directory import FILES_EVERY, Directory
from netify_agent.enrich.reverse import FAILURE_TTL, NAME_TTL


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
