"""The directory of a network: who made a device, what it is called, what an application is.

The one part of this package that the daemon uses. Requests are answered from memory; files and reverse
DNS are read by `run`, in a thread of its own. Knows devices by their key only, and nothing of traffic.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence

from netify_agent.enrich.applications import Categories, display_name
from netify_agent.enrich.identifiers import clean_name, is_host_address, is_link_local
from netify_agent.enrich.leases import NameFiles
from netify_agent.enrich.neighbours import ARP_TABLE, arp_table
from netify_agent.enrich.reverse import ReverseNames, keep_lookups_short, reverse_name
from netify_agent.enrich.vendors import VendorRegistry

#: Addresses of one device and family remembered, and looked up when it has no better name.
MAX_ADDRESSES = 4

#: Seconds between two looks at the files, and at least between two batches of new devices.
FILES_EVERY = 30.0
BATCH_EVERY = 1.0

#: Longest wait of the loop in seconds, so that it shows a sign of life at least once a second.
_TICK = 0.5


class _Device:
    __slots__ = ("hint", "ips", "vendor")

    def __init__(self, device: str) -> None:
        self.ips: tuple[str, ...] = (device,) if is_host_address(device) else ()
        self.hint: str | None = None
        self.vendor: str | None = None


class Directory:
    """Names, vendors and categories. Thread-safe; only `refresh` and `run` read files.

    `vendors` is the directory of the ieee-data package, `hosts` are hosts(5) files, `leases` glob patterns
    of DHCP lease files, `categories` is netifyd's netify-categories.json; whatever is missing costs its
    answers and is no error. `reverse_dns` allows to ask the system's resolver for the addresses of devices
    that have no other name; without it nothing leaves the gateway. `clock` counts seconds and never goes
    back, `wall` is in seconds since the epoch. `on_neighbours` is given the MAC of each IP address that the
    kernel's table `arp` or a lease names, whenever the files were looked at. `max_devices` are remembered;
    past it the one noted longest ago is forgotten.
    """

    def __init__(
        self,
        *,
        vendors: str,
        hosts: Sequence[str],
        leases: Sequence[str],
        reverse_dns: bool,
        categories: str,
        resolve: Callable[[str], str | None] = reverse_name,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        arp: str = ARP_TABLE,
        on_neighbours: Callable[[dict[str, str]], None] = lambda neighbours: None,
        max_devices: int = 20_000,
    ) -> None:
        self.max_devices = max_devices
        self._arp = arp
        self._on_neighbours = on_neighbours
        self._vendors = VendorRegistry(vendors)
        self._files = NameFiles(hosts=hosts, leases=leases)
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

    @property
    def generation(self) -> int:
        """A number that grows whenever an answer may have changed."""
        return self._generation

    def note(self, device: str, ips: Sequence[str], hint: str | None) -> None:
        """Tells of a device that was seen.

        :param device: its lower-case MAC, or its IP when it has none.
        :param ips: addresses it has now, as netifyd spells them, the latest first.
        :param hint: a name the stream itself gave (DHCP, mDNS), as it came; the last one is remembered.
        """
        with self._lock:
            self._note(device, ips, hint)

    def name(self, device: str, ips: Sequence[str], hint: str | None) -> str | None:
        """What a device is called, or None: by the lease of its MAC, by the lease or hosts(5) line of an
        address (`ips`, or those last noted where that is empty), by its hint (this one, or else the last
        one noted), by reverse DNS.

        Asking about an unknown device makes it known, so that a later answer can be better.
        """
        names = self._files.names
        if found := names.by_mac.get(device):
            return found
        known = self._known(device, ips, hint)
        addresses = ips or known.ips
        for ip in addresses:
            if found := names.by_ip.get(ip):
                return found
        if hint and (found := clean_name(hint)):
            return found
        if found := known.hint:
            return found
        if self._reverse is not None:
            for ip in addresses:
                if found := self._reverse.name(ip):
                    return found
        return None

    def vendor(self, device: str) -> str | None:
        """Who made a device, or None. Asking about an unknown device makes it known."""
        return self._known(device, (), None).vendor

    def application(self, tag: str, category_id: int | None) -> tuple[str, str | None]:
        """Display name of an application and the name of its category (None for id 0 or unknown ids)."""
        return display_name(tag), None if category_id is None else self._categories.category_name(category_id)

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Keeps the answers current until `stop` is set; `beat` is called more than once a second.

        Looks at the files every `FILES_EVERY` seconds and at new devices at once, but not more than once
        in `BATCH_EVERY` seconds; looks up one address after the other. Ends within half a second.
        """
        files_due = batch_due = self._clock()
        while not stop.is_set():
            beat()
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
        """Reads the files that changed and brings every known device up to date.

        Blocks while it reads; not to be called while `run` runs, which does it.
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

    def _note(self, device: str, ips: Sequence[str], hint: str | None) -> _Device:
        """The entry of a device, brought up to date. To be called with the lock held."""
        known = self._devices.get(device)
        if known is None:
            known = self._devices[device] = self._fresh[device] = _Device(device)
            self._wake.set()
            if len(self._devices) > self.max_devices:
                self._fresh.pop(self._devices.popitem(last=False)[0], None)
        else:
            self._devices.move_to_end(device)
        latest = _latest(ips)
        if any(ip not in known.ips for ip in latest):
            known.ips = _latest((*latest, *known.ips))
            self._fresh[device] = known
            self._wake.set()
        if hint and hint != known.hint and (name := clean_name(hint)) and name != known.hint:
            known.hint = name
            self._generation += 1
        return known

    def _known(self, device: str, ips: Sequence[str], hint: str | None) -> _Device:
        known = self._devices.get(device)
        if known is None:
            with self._lock:
                known = self._note(device, ips, hint)
        return known

    def _update_fresh(self) -> None:
        with self._lock:
            fresh, self._fresh = self._fresh, {}
        self._update(fresh)

    def _update(self, devices: dict[str, _Device]) -> None:
        """Vendors of these devices, and which of their addresses are to be looked up."""
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


def _latest(ips: Sequence[str]) -> tuple[str, ...]:
    """The first `MAX_ADDRESSES` of IPv4, then those of IPv6, which are many where they are temporary."""
    ordered = dict.fromkeys(ips)
    ipv4 = [ip for ip in ordered if ":" not in ip]
    ipv6 = [ip for ip in ordered if ":" in ip]
    return (*ipv4[:MAX_ADDRESSES], *ipv6[:MAX_ADDRESSES])
