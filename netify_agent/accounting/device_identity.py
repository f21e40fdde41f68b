"""Which device an end of a flow is, where the record alone does not tell.

netifyd gives a MAC address and an IP address for each end. The MAC address names the device, but it is
missing where packets came through NFQUEUE or a tunnel, and it is that of a router where hosts are behind one.
This module knows which MAC address an IP address belongs to, and which hosts the owner wants to go by their
IP addresses. It does no I/O: what the kernel or a DHCP server knows is handed in.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from netify_agent.accounting.device_table import DeviceTable
from netify_agent.netifyd.flow_record import (
    OTHER_DEVICE,
    Description,
    device_id,
    host_address,
    row_key,
    short_text,
)

MAX_LEARNED = 32_768  # IP addresses whose MAC address is remembered; some 250 bytes each
_MAX_LISTED = 64  # IP addresses read of one MAC address in a list
# A MAC address with more IP addresses than a host has is that of a router, which hides the hosts behind it.
_HOST_IPV4 = 8
_HOST_IPV6 = 64

Place = tuple[str, str]  # source, IP address


class ByIp:
    """The hosts that go by their IP addresses although their flows carry a MAC address."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        """``hosts``: networks in CIDR notation, and MAC addresses in lower case with colons."""
        self._macs: set[str] = set()
        self._networks = []
        for host in hosts:
            if device_id(host, None) is not None:
                self._macs.add(host)
            else:
                self._networks.append(ip_network(host))
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._macs or self._networks)

    def covers(self, device: str, ip: str) -> bool:
        """Whether the host with ``ip``, whose flow carries ``device``, goes by ``ip``."""
        if device in self._macs:
            return True
        inside = self._known.get(ip)
        if inside is None:
            if len(self._known) >= MAX_LEARNED:
                self._known.clear()
            address = ip_address(ip)
            inside = self._known[ip] = any(address in network for network in self._networks)
        return inside


class DeviceIdentity:
    """Names the devices of flows.

    :ivar by_ip: who goes by IP address; may be replaced at any time, and holds for later descriptions.
    """

    def __init__(self, table: DeviceTable) -> None:
        """``table`` says which devices have a row of their own."""
        self.by_ip = ByIp()
        self._table = table
        self._learned: OrderedDict[Place, str] = OrderedDict()  # oldest first
        self._counts: dict[str, Counter[str]] = {}  # source to IP addresses of each MAC address, by family
        self._neighbours: Mapping[str, str] = {}
        self._near: Collection[str] = ()
        self._moved: set[Place] = set()

    def place(self, told: Description, source: str) -> Description:
        """Decide which rows a flow belongs to, and learn what its record shows of addresses.

        :param source: URL of the endpoint that the record came from.
        :returns: ``told`` with its devices by their right names, or by :data:`OTHER_DEVICE` without room.
        """
        key, peer, details = told.key, told.peer, told.details
        local_ip, other_ip = details.local_ip, details.other_ip
        if peer is not None and peer.device == key.device == local_ip:
            local_ip = other_ip = None  # a host that talks to itself: this never passed its network card
        local = self._side(key.device, local_ip, source)
        other = self._side(peer.device, other_ip, source) if peer is not None else None
        for device, ip in told.addresses:
            if device != ip and device in self._table:
                self.learn(source, ip, device)
        if local == key.device and (peer is None or other == peer.device):
            return told

        def is_local(device: str, ip: str | None = None) -> bool:
            return device == key.device and ip in (None, details.local_ip)

        addresses = ((local if is_local(device, ip) else other, ip) for device, ip in told.addresses)
        hints = ((local if is_local(device) else other, hint) for device, hint in told.hints)
        return told._replace(
            key=row_key(local, key.application, key.protocol),
            peer=peer and row_key(other, peer.application, peer.protocol),
            addresses=_of_one(addresses),
            hints=_of_one(hints),
        )

    def _side(self, device: str | None, ip: str | None, source: str) -> str | None:
        """The row of one end; ``ip`` is the address to show, which may be that of a group."""
        if device is None:
            return None
        host = ip if device == ip else host_address(ip) if self.by_ip else None
        return self._table.admit(device if host is None else self.name(device, host, source))

    def name(self, device: str, ip: str, source: str) -> str:
        """The device of a host, whether it has room or not.

        :param device: what its flow carries: a MAC address, or ``ip`` without one.
        """
        if self.by_ip and self.by_ip.covers(device, ip):
            return ip
        return self._owner(source, ip) or ip if device == ip else device

    def learn(self, source: str, ip: str, mac: str) -> None:
        """The host with ``ip`` was seen with ``mac`` in the stream of ``source``: the newest is true."""
        if ip == "::1" or ip.startswith("127."):
            return  # every host has these
        place = source, ip
        known = self._learned.get(place)
        if known == mac:
            self._learned.move_to_end(place)
            return
        if self.by_ip and self.by_ip.covers(mac, ip):
            return
        if known is not None:
            self._count(place, known, -1)
        self._learned[place] = mac
        self._learned.move_to_end(place)
        self._count(place, mac, 1)
        if known is None and ip in self._table:
            self._moved.add(place)
        if len(self._learned) > MAX_LEARNED:
            self._count(*self._learned.popitem(last=False), -1)

    def learn_list(self, source: str, devices: Mapping[Any, object]) -> None:
        """Netifyd's own list of MAC addresses and their IP addresses, of any types.

        It still names earlier owners of an address: one that stands at two of them teaches nothing.
        """
        owners: dict[str, str | None] = {}
        for mac, ips in devices.items():
            device = device_id(short_text(mac), None)
            if device is None or not isinstance(ips, list):
                continue
            for text in ips[:_MAX_LISTED]:
                ip = host_address(short_text(text))
                if ip is not None:
                    owners[ip] = device if owners.get(ip, device) == device else None
        for ip, owner in owners.items():
            if owner is not None:
                self.learn(source, ip, owner)

    def set_neighbours(self, neighbours: Mapping[str, str], sources: Collection[str]) -> None:
        """Replace what the kernel and the DHCP server know: IP address to MAC address.

        :param sources: streams of netifyd on this machine; what these told themselves is preferred.
        """
        before, self._neighbours, self._near = self._neighbours, neighbours, sources
        new = [ip for ip in neighbours if ip not in before and ip in self._table]
        self._moved.update((source, ip) for ip in new for source in sources)

    def take_moved(self) -> set[Place]:
        """Places whose MAC address has become known since the last call, although a device has that IP."""
        moved, self._moved = self._moved, set()
        return moved

    def _owner(self, source: str, ip: str) -> str | None:
        mac = self._learned.get((source, ip))
        if mac is not None:
            counts = self._counts[source]
            if counts[mac + "4"] <= _HOST_IPV4 and counts[mac + "6"] <= _HOST_IPV6:
                return mac
        return self._neighbours.get(ip) if source in self._near else None

    def _count(self, place: Place, mac: str, change: int) -> None:
        source, ip = place
        counts = self._counts.setdefault(source, Counter())
        key = mac + ("6" if ":" in ip else "4")
        counts[key] += change
        if not counts[key]:
            del counts[key]


def _of_one(pairs: Iterable[tuple[str | None, str]]) -> tuple[tuple[str, str], ...]:
    """What is told of single devices."""
    return tuple((device, told) for device, told in pairs if device is not None and device != OTHER_DEVICE)
