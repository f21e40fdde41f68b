"""The directory of a network: names, groups and vendors of devices, names and categories of applications.

This is the part of the package that the daemon uses. Requests are answered from memory. `run` reads files
and starts reverse DNS lookups, in its own thread.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from netify_agent.enrich.applications import Categories, display_name
from netify_agent.enrich.groups import Groups
from netify_agent.enrich.identifiers import clean_name, is_host_address, is_link_local
from netify_agent.enrich.leases import NameFiles
from netify_agent.enrich.neighbours import ARP_TABLE, arp_table
from netify_agent.enrich.reverse import ReverseNames, keep_lookups_short, reverse_name
from netify_agent.enrich.vendors import VendorRegistry

#: IP addresses of one device and family that are kept, and looked up if it has no other name.
MAX_ADDRESSES = 4

#: Seconds between two checks of the files, and minimum seconds between two batches of new devices.
FILES_EVERY = 30.0
BATCH_EVERY = 1.0

#: Longest wait of the loop in seconds, so that it calls `progress` more than once a second.
_TICK = 0.5


class _Device:
    __slots__ = ("hint", "ips", "vendor")

    def __init__(self, device: str) -> None:
        self.ips: tuple[str, ...] = (device,) if is_host_address(device) else ()
        self.hint: str | None = None
        self.vendor: str | None = None


class Directory:
    """Names, groups, vendors and categories. Thread-safe; only `refresh` and `run` read files."""

    def __init__(
        self,
        *,
        vendors: str,
        hosts: Sequence[str],
        leases: Sequence[str],
        reverse_dns: bool,
        categories: str,
        ethers: Sequence[str] = (),
        resolve: Callable[[str], str | None] = reverse_name,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        arp: str = ARP_TABLE,
        on_neighbours: Callable[[dict[str, str]], None] = lambda neighbours: None,
        max_devices: int = 20_000,
        given_names: Mapping[str, str] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Read nothing yet but the categories. Any file may be missing.

        :param vendors: folder of the ieee-data package.
        :param hosts: paths of hosts(5) files.
        :param leases: glob patterns of DHCP lease files.
        :param reverse_dns: whether to ask the system's resolver for addresses of devices without another
            name. Otherwise nothing leaves the gateway.
        :param categories: path of netifyd's netify-categories.json.
        :param ethers: paths of ethers(5) files.
        :param clock: monotonic clock in seconds.
        :param wall: clock in seconds since the epoch.
        :param arp: the kernel's ARP table.
        :param on_neighbours: is given the MAC address of each IP address that the ARP table or a lease names,
            after each refresh.
        :param max_devices: devices kept; beyond it the one noted longest ago is forgotten.
        :param given_names: see `configure`; `groups` likewise.
        """
        self.max_devices = max_devices
        self._arp = arp
        self._on_neighbours = on_neighbours
        self._vendors = VendorRegistry(vendors)
        self._files = NameFiles(hosts=hosts, leases=leases, ethers=ethers)
        self._categories = Categories(categories)
        self._clock = clock
        self._wall = wall
        self._reverse: ReverseNames | None = None
        if reverse_dns:
            keep_lookups_short()
            self._reverse = ReverseNames(resolve=resolve, clock=clock, done=self._looked_up)
        self._wake = threading.Event()
        self._lookups: deque[str] = deque()
        self._lock = threading.Lock()  # guards the three below
        self._devices: OrderedDict[str, _Device] = OrderedDict()
        self._fresh: dict[str, _Device] = {}
        self._generation = 0
        self._given = given_names or {}
        self._groups = Groups(groups)

    def configure(self, given_names: Mapping[str, str], groups: Mapping[str, Sequence[str]]) -> None:
        """Replace the configured names and groups.

        :param given_names: lower-case MAC address, or IP address, to the name of that device.
        :param groups: name of a group to its members, as `Groups` takes them.
        """
        with self._lock:
            self._given, self._groups = given_names, Groups(groups)
            self._generation += 1

    @property
    def generation(self) -> int:
        """A number that increases whenever an answer may have changed."""
        return self._generation

    def note(
        self, device: str, ips: Sequence[str], hint: str | None = None, listed: Sequence[str] = ()
    ) -> None:
        """Add a device that was seen, or update what is known of it. Its vendor and name are looked up soon.

        :param device: its lower-case MAC address, or its IP address if it has none.
        :param ips: IP addresses that it used, as netifyd spells them, the latest first.
        :param hint: a name from the stream (DHCP, mDNS), not cleaned. None keeps the previous one.
        :param listed: IP addresses that it has or had, as a list of netifyd says.
        """
        with self._lock:
            known = self._devices.get(device)
            if known is None:
                known = self._devices[device] = self._fresh[device] = _Device(device)
                self._wake.set()
                if len(self._devices) > self.max_devices:
                    self._fresh.pop(self._devices.popitem(last=False)[0], None)
            else:
                self._devices.move_to_end(device)
            before, known.ips = known.ips, _latest((*ips, *known.ips, *listed))
            # A new order alone is no new generation: the flush that brings it outdates all answers anyway.
            if not set(known.ips) <= set(before):
                self._fresh[device] = known
                self._generation += 1  # `name` uses these addresses where it is given none
                self._wake.set()
            if hint and hint != known.hint and (name := clean_name(hint)) and name != known.hint:
                known.hint = name
                self._generation += 1

    def name(self, device: str, ips: Sequence[str], hint: str | None) -> str | None:
        """Return the name of a device, or None. Changes nothing.

        The first source that has a name wins: the configuration, ethers(5), the lease of the MAC address, the
        lease of an IP address, hosts(5), the hint, reverse DNS.

        :param device: its lower-case MAC address, or its IP address if it has none.
        :param ips: its IP addresses; if empty, those noted last are used.
        :param hint: a name from the stream, not cleaned; if None, the one noted last is used.
        """
        given = self._given
        if given and (found := given.get(device)):
            return found
        known = self._devices.get(device)
        if given:
            for ip in _current(device, known, ips):
                if found := given.get(ip):
                    return found
        names = self._files.names
        if found := names.by_mac.get(device):
            return found
        addresses = ips or (known.ips if known else (device,))
        for ip in addresses:
            if found := names.by_ip.get(ip):
                return found
        if hint and (found := clean_name(hint)):
            return found
        if known and known.hint:
            return known.hint
        if self._reverse is not None:
            for ip in addresses:
                if found := self._reverse.name(ip):
                    return found
        return None

    @property
    def group_names(self) -> tuple[str, ...]:
        """The names of all groups, in the order of the configuration."""
        return self._groups.names

    def groups(self, device: str, ips: Sequence[str], name: str | None) -> list[str]:
        """Return the groups of a device, in the order of the configuration.

        Of its IPv4 addresses only the latest counts, because a DHCP server gives the earlier ones to other
        devices. IPv6 addresses all count: a device has several at a time, and nobody else gets them.

        :param ips: its IP addresses, the latest first; used for a device that was not noted.
        :param name: its name, as `name` returns it.
        """
        groups = self._groups
        if not groups.names:
            return []
        return groups.of(device, _current(device, self._devices.get(device), ips), name)

    def members(self, group: str) -> list[str]:
        """Return the noted devices that are in a group."""
        with self._lock:
            devices = list(self._devices)
        return [device for device in devices if group in self.groups(device, (), self.name(device, (), None))]

    def vendor(self, device: str) -> str | None:
        """Return the vendor of a device, None if it is unknown or the device was not noted."""
        known = self._devices.get(device)
        return known.vendor if known else None

    def application(self, tag: str, category_id: int | None) -> tuple[str, str | None]:
        """Return the names of an application and of its category (None for id 0 and unknown ids)."""
        return display_name(tag), None if category_id is None else self._categories.category_name(category_id)

    def run(self, stop: threading.Event, progress: Callable[[], None]) -> None:
        """Keep the answers current until `stop` is set, then return within half a second.

        Checks the files every `FILES_EVERY` seconds. Looks up new devices at once, but no more than one
        batch in `BATCH_EVERY` seconds, and one address at a time.

        :param progress: called more than once a second.
        """
        files_due = batch_due = self._clock()
        while not stop.is_set():
            progress()
            now = self._clock()
            if now >= files_due:
                self.refresh()
                files_due, batch_due = now + FILES_EVERY, now + BATCH_EVERY
            elif self._fresh and now >= batch_due:
                self._update_fresh()
                batch_due = now + BATCH_EVERY
            self._start_lookup()
            self._wake.wait(_TICK)
            self._wake.clear()

    def refresh(self) -> None:
        """Read the files that changed, and update every device.

        Blocks while it reads. Do not call it while `run` is running, which does the same.
        """
        changed = self._files.refresh(self._wall())
        changed |= self._categories.refresh()
        self._on_neighbours({**self._files.names.owners, **arp_table(self._arp)})
        with self._lock:
            self._generation += changed
            self._fresh = {}
            known = dict(self._devices)
        self._lookups.clear()
        if self._reverse is not None:
            self._reverse.keep_only({ip for entry in known.values() for ip in entry.ips})
        self._update(known)

    def _update_fresh(self) -> None:
        with self._lock:
            fresh, self._fresh = self._fresh, {}
        self._update(fresh)

    def _update(self, devices: dict[str, _Device]) -> None:
        """Look up the vendors of these devices, and queue their addresses for reverse DNS."""
        changed = False
        for device, vendor in self._vendors.lookup(devices).items():
            entry = devices[device]
            changed |= entry.vendor != vendor
            entry.vendor = vendor
        with self._lock:
            self._generation += changed
        if self._reverse is not None:
            for device, entry in devices.items():
                self._lookups.extend(self._addresses_due(self._reverse, device, entry))

    def _addresses_due(self, reverse: ReverseNames, device: str, entry: _Device) -> Iterator[str]:
        names = self._files.names
        if entry.hint or device in names.by_mac or any(ip in names.by_ip for ip in entry.ips):
            return
        for ip in entry.ips:
            if reverse.is_due(ip) and is_host_address(ip) and not is_link_local(ip):
                yield ip
            if reverse.name(ip):
                return

    def _start_lookup(self) -> None:
        while self._reverse is not None and self._lookups and not self._reverse.is_busy():
            ip = self._lookups.popleft()
            if self._reverse.is_due(ip):
                self._reverse.start(ip)

    def _looked_up(self, changed: bool) -> None:
        with self._lock:
            self._generation += changed
        self._wake.set()


def _current(device: str, known: _Device | None, ips: Sequence[str]) -> Iterator[str]:
    """The IP addresses by which a device is named and grouped: the latest IPv4 address and all of IPv6."""
    has_ipv4 = False
    for ip in (known.ips if known else ()) or ips or (device,):
        if ":" in ip:
            yield ip
        elif not has_ipv4:
            has_ipv4 = True
            yield ip


def _latest(ips: Sequence[str]) -> tuple[str, ...]:
    """The first `MAX_ADDRESSES` of IPv4, then those of IPv6, which are many where they are temporary."""
    ordered = dict.fromkeys(ips)
    ipv4 = [ip for ip in ordered if ":" not in ip]
    ipv6 = [ip for ip in ordered if ":" in ip]
    return (*ipv4[:MAX_ADDRESSES], *ipv6[:MAX_ADDRESSES])
