"""Assigns devices to the ends of flows.

netifyd reports a MAC address and an IP address for each end. The MAC address identifies the device. It is
missing if packets came through NFQUEUE or a tunnel, and for hosts behind a router it is the router's. This
module knows the MAC address of each IP address, and which hosts the configuration identifies by IP address.
No I/O: the entries of the ARP table and the DHCP leases are passed in.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address, ip_network

from netify_agent.accounting.device_table import DeviceTable
from netify_agent.netifyd.flow_record import (
    MAX_TEXT,
    OTHER_DEVICE,
    Description,
    device_id,
    host_address,
    row_key,
)
from netify_agent.netifyd.memo import Memo

MAX_LEARNED = 32_768  # IP addresses with a remembered MAC address; about 250 bytes each
# A MAC address with more IP addresses than these is a router's, which hides the hosts behind it.
_HOST_IPV4 = 8
_HOST_IPV6 = 64

HostKey = tuple[str, str]  #: source and IP address


class ByIp:
    """Hosts that are identified by IP address although their flows carry a MAC address.

    :ivar is_empty: there are none.
    """

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        """``hosts``: networks in CIDR notation, or MAC addresses in lower case with colons."""
        self._macs: set[str] = set()
        self._networks = []
        for host in hosts:
            if device_id(host, None) is not None:
                self._macs.add(host)
            else:
                self._networks.append(ip_network(host))
        self.is_empty = not (self._macs or self._networks)
        self._inside = Memo(self._is_inside, MAX_LEARNED, MAX_TEXT)

    def covers(self, device: str, ip: str) -> bool:
        """Whether the host with address ``ip`` and MAC address ``device`` is identified by ``ip``."""
        return not self.is_empty and (device in self._macs or self._inside[ip])

    def _is_inside(self, ip: str) -> bool:
        address = ip_address(ip)
        return any(address in network for network in self._networks)


class DeviceIdentity:
    """Assigns devices to flows.

    :ivar by_ip: hosts identified by IP address. May be replaced; applies to later descriptions.
    """

    def __init__(self, table: DeviceTable) -> None:
        """``table``: the devices that have a row."""
        self.by_ip = ByIp()
        self._table = table
        self._learned: OrderedDict[HostKey, str] = OrderedDict()  # oldest first
        self._counts: dict[str, Counter[str]] = {}  # source to IP addresses per MAC address and family
        self._neighbours: Mapping[str, str] = {}
        self._near: Collection[str] = ()
        self._moved: set[HostKey] = set()

    def assign(self, description: Description, source: str) -> Description:
        """Assign the devices of a flow, and learn the addresses in its description.

        :param source: URL of the endpoint that the record came from.
        :returns: ``description`` with the assigned devices; :data:`OTHER_DEVICE` for a new device if the
            table is full.
        """
        key, peer, details = description.key, description.peer, description.details
        known = self._table.known
        if (
            key.device in known
            and key.device != details.local_ip
            and (peer is None or (peer.device in known and peer.device != details.other_ip))
            and self.by_ip.is_empty
        ):
            # Nothing to decide: devices that have a MAC address and a row of their own.
            for device, ip in description.addresses:
                self.learn(source, ip, device)
            return description
        local_ip, other_ip = details.local_ip, details.other_ip
        if peer is not None and peer.device == key.device == local_ip:
            local_ip = other_ip = None  # loopback traffic of one host
        local = self._side(key.device, local_ip, source)
        other = self._side(peer.device, other_ip, source) if peer is not None else None
        for device, ip in description.addresses:
            if device != ip and device in self._table:
                self.learn(source, ip, device)
        if local == key.device and (peer is None or other == peer.device):
            return description

        def is_local(device: str, ip: str | None = None) -> bool:
            return device == key.device and ip in (None, details.local_ip)

        addresses = ((local if is_local(device, ip) else other, ip) for device, ip in description.addresses)
        hints = ((local if is_local(device) else other, hint) for device, hint in description.hints)
        return description._replace(
            key=row_key(local, *key[1:]),
            peer=peer and row_key(other, *peer[1:]),
            addresses=_of_one(addresses),
            hints=_of_one(hints),
        )

    def _side(self, device: str | None, ip: str | None, source: str) -> str | None:
        """Return the row of one end. ``ip`` is the address to display, which may be a multicast address."""
        if device is None:
            return None
        host = ip if device == ip else None if self.by_ip.is_empty else host_address(ip)
        return self._table.admit(device if host is None else self.name(device, host, source))

    def name(self, device: str, ip: str, source: str) -> str:
        """Return the device of a host, whether or not the table has room for it.

        :param device: the MAC address in the flow, or ``ip`` if it has none.
        """
        if self.by_ip.covers(device, ip):
            return ip
        return self._owner(source, ip) or ip if device == ip else device

    def learn(self, source: str, ip: str, mac: str) -> None:
        """Remember that ``ip`` was seen with ``mac`` in the stream of ``source``. The latest entry counts."""
        host = source, ip
        known = self._learned.get(host)
        if known == mac:
            if len(self._learned) > MAX_LEARNED // 2:  # else the order does not matter yet
                self._learned.move_to_end(host)
            return
        if ip == "::1" or ip.startswith("127."):
            return  # every host has these addresses
        if self.by_ip.covers(mac, ip):
            return
        if known is not None:
            self._count(host, known, -1)
        self._learned[host] = mac
        self._learned.move_to_end(host)
        self._count(host, mac, 1)
        if known is None and ip in self._table:
            self._moved.add(host)
        if len(self._learned) > MAX_LEARNED:
            self._count(*self._learned.popitem(last=False), -1)

    def learn_list(self, source: str, devices: Mapping[str, Collection[str]]) -> None:
        """Learn from netifyd's list of MAC addresses and their IP addresses.

        The list still has earlier owners of an address, so an address with two owners is ignored.
        """
        owners: dict[str, str | None] = {}
        for device, ips in devices.items():
            for ip in ips:
                owners[ip] = device if owners.get(ip, device) == device else None
        for ip, owner in owners.items():
            if owner is not None:
                self.learn(source, ip, owner)

    def set_neighbours(self, neighbours: Mapping[str, str], sources: Collection[str]) -> None:
        """Replace the entries of the ARP table and the DHCP leases: IP address to MAC address.

        :param sources: URLs of the endpoints on this machine. Addresses learned from them take precedence.
        """
        before, self._neighbours, self._near = self._neighbours, neighbours, sources
        new = [ip for ip in neighbours if ip not in before and ip in self._table]
        self._moved.update((source, ip) for ip in new for source in sources)

    def take_moved(self) -> set[HostKey]:
        """Return the IP addresses that are devices and whose MAC address became known since the last call."""
        moved, self._moved = self._moved, set()
        return moved

    def _owner(self, source: str, ip: str) -> str | None:
        mac = self._learned.get((source, ip))
        if mac is not None:
            counts = self._counts[source]
            if counts[mac + "4"] <= _HOST_IPV4 and counts[mac + "6"] <= _HOST_IPV6:
                return mac
        return self._neighbours.get(ip) if source in self._near else None

    def _count(self, host: HostKey, mac: str, change: int) -> None:
        source, ip = host
        counts = self._counts.setdefault(source, Counter())
        key = mac + ("6" if ":" in ip else "4")
        counts[key] += change
        if not counts[key]:
            del counts[key]


def _of_one(pairs: Iterable[tuple[str | None, str]]) -> tuple[tuple[str, str], ...]:
    """Drop the pairs without a device of its own."""
    return tuple((device, value) for device, value in pairs if device is not None and device != OTHER_DEVICE)
