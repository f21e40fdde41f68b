"""The simulated network: sites, their devices, and the addresses and names of each.

The same seed gives the same network in every process: nothing here depends on hashing or on the clock.
It knows nothing of traffic.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from .catalog import HOSTILE
from .kinds import GATEWAY, LAPTOP, PROFILES, Kind

NO_MAC = "00:00:00:00:00:00"
LAN = "br0"
VPN = "tun0"
MAX_DEVICES = 100_000

_SITE_SIZE = {"home": 12, "office": 160}
# One in this many devices is behind the VPN tunnel, where frames carry no MAC.
_VPN_EVERY = 20
_VPN_FIRST = 5
# One in this many devices has a hostile name; small networks have none.
_HOSTILE_EVERY = 50
_HOSTILE_FIRST = 30
_PEOPLE = (
    "anna", "ben", "carla", "dmitri", "elif", "farid", "greta", "hugo", "ines", "jonas", "keiko", "luis",
    "mara", "noor", "oskar", "priya", "quentin", "rosa", "sven", "tomas", "uma", "viktor", "wendy", "zoë",
)  # fmt: skip


class Device(NamedTuple):
    """A device of the network. `mac` is NO_MAC behind the tunnel, `ip6` is empty without IPv6."""

    id: int
    kind: Kind
    name: str
    mac: str
    ip: str
    ip6: str
    number: int
    site: int
    interface: str

    @property
    def has_mac(self) -> bool:
        """Whether frames of this device carry a MAC."""
        return self.mac != NO_MAC


class Network:
    """The devices of a profile, and which services they offer on a site."""

    def __init__(self, seed: int, devices: int, profile: str) -> None:
        """:raises ValueError: unknown profile, or a number of devices outside 1..100000."""
        if profile not in PROFILES:
            raise ValueError(f"profile: {profile!r}, allowed are {', '.join(sorted(PROFILES))}")
        if not 1 <= devices <= MAX_DEVICES:
            raise ValueError(f"devices: {devices}, allowed are 1 to {MAX_DEVICES}")
        rng = random.Random(f"network {seed}")
        pattern, site_size = PROFILES[profile], _SITE_SIZE[profile]
        self.gateway_mac = _mac(GATEWAY.ouis[0], 0, rng.random())
        self.devices: list[Device] = []
        self.gateways: dict[int, Device] = {}
        self._offers: dict[tuple[int, str], list[Device]] = {}
        seats = tunnels = 0
        salt = rng.random()
        for index in range(devices):
            if index % _VPN_EVERY == _VPN_FIRST:
                tunnels += 1
                self.devices.append(self._road_warrior(index, tunnels))
                continue
            site, seat = divmod(seats, site_size)
            seats += 1
            device = _resident(rng, index, pattern[seat % len(pattern)], site, seat + 20, salt)
            self.devices.append(device)
            self._offers.setdefault((site, device.kind.name), []).append(device)
            if site not in self.gateways:
                self.gateways[site] = self._gateway(site, _prefix(site) + ".1", LAN, self.gateway_mac)

    def offers(self, device: Device, kind: str) -> list[Device]:
        """The devices of `kind` that `device` can reach on its own network; `gateway` is one of them."""
        if kind == "gateway":
            return [self.gateways[device.site]]
        return self._offers.get((device.site, kind), []) if device.interface == LAN else []

    def _road_warrior(self, index: int, number: int) -> Device:
        # Sites count from 0; the tunnel's nets are numbered below.
        site = -1 - number // 250
        third, fourth = -1 - site, number % 250 + 2
        if site not in self.gateways:
            self.gateways[site] = self._gateway(site, f"10.8.{third}.1", VPN, NO_MAC)
        ip = f"10.8.{third}.{fourth}"
        return Device(index, LAPTOP, "", NO_MAC, ip, "", _number(ip), site, VPN)

    @staticmethod
    def _gateway(site: int, ip: str, interface: str, mac: str) -> Device:
        return Device(-1, GATEWAY, "gateway", mac, ip, "", _number(ip), site, interface)


def _resident(rng: random.Random, index: int, kind: Kind, site: int, host: int, salt: float) -> Device:
    who = _PEOPLE[int(rng.random() * len(_PEOPLE))]
    name = kind.names[int(rng.random() * len(kind.names))].format(who=who, n=index + 1)
    if index % _HOSTILE_EVERY == _HOSTILE_FIRST:
        name = HOSTILE[index // _HOSTILE_EVERY % len(HOSTILE)]
    if rng.random() < kind.private_mac:
        first, second, third = (int(rng.random() * 256) for _ in range(3))
        oui = f"{first & 0xFC | 2:02x}:{second:02x}:{third:02x}"
    else:
        oui = kind.ouis[int(rng.random() * len(kind.ouis))]
    ip = f"{_prefix(site)}.{host}"
    # 2001:db8::/32 is reserved for documentation (RFC 3849).
    ip6 = f"2001:db8:{site + 1:x}::{host:x}" if kind.ipv6 else ""
    return Device(index, kind, name, _mac(oui, index + 1, salt), ip, ip6, _number(ip), site, LAN)


def _prefix(site: int) -> str:
    return f"192.168.{site + 1}" if site < 254 else f"10.{100 + (site >> 8)}.{site & 255}"


def _number(ip: str) -> int:
    first, second, third, fourth = ip.split(".")
    return int(first) << 24 | int(second) << 16 | int(third) << 8 | int(fourth)


def _mac(oui: str, index: int, salt: float) -> str:
    # An odd factor makes this a permutation of 24 bits: no two devices of one network share their last half.
    low = (index * 0x9E3779B1 + int(salt * 0x1000000)) & 0xFFFFFF
    return f"{oui}:{low >> 16:02x}:{low >> 8 & 255:02x}:{low & 255:02x}"
