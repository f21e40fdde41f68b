"""Groups of devices: which groups a device is in, by its MAC address, IP addresses and name.

A question costs a few dictionary lookups, however many members the groups have: the answer for each IP
address and each name is remembered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import translate
from ipaddress import ip_address, ip_network

from netify_agent.netifyd.flow_record import MAX_TEXT
from netify_agent.netifyd.memo import Memo

_REMEMBERED = 32_768  # addresses, and names, with a remembered answer; about 150 bytes each

_Set = int  # of groups: one bit for each


class Groups:
    """The configured groups. They do not change; thread-safe.

    :ivar names: of the groups, in the order of the configuration.
    """

    def __init__(self, members: Mapping[str, Sequence[str]] | None = None) -> None:
        """``members``: name of a group to its MAC addresses in lower case, networks and patterns of names.

        A pattern is one of the shell: ``*`` stands for any characters, ``?`` for one, ``[ab]`` for one of
        these. Case is ignored.
        """
        groups = members or {}
        self.names = tuple(groups)
        macs: dict[str, _Set] = {}
        networks: dict[str, _Set] = {}
        patterns: dict[str, _Set] = {}
        for number, of_group in enumerate(groups.values()):
            for member in of_group:
                kind = networks if "/" in member else macs if ":" in member else patterns
                key = member.casefold()
                kind[key] = kind.get(key, 0) | 1 << number
        self._macs = macs
        self._networks = [(ip_network(text), of) for text, of in networks.items()]
        self._patterns = [(re.compile(translate(text)), of) for text, of in patterns.items()]
        self._by_address = Memo(self._of_address, _REMEMBERED, MAX_TEXT)
        self._by_name = Memo(self._of_name, _REMEMBERED, MAX_TEXT)
        self._lists: dict[_Set, list[str]] = {}

    def of(self, device: str, ips: Iterable[str], name: str | None) -> list[str]:
        """Return the names of the groups of a device, in the order of the configuration.

        :param device: its MAC address, or its IP address if it has none.
        :param ips: its IP addresses that count.
        :param name: its display name, if it has one.
        """
        found = self._macs.get(device, 0)
        if self._networks:
            for ip in ips:
                found |= self._by_address[ip]
        if self._patterns and name is not None:
            found |= self._by_name[name]
        names = self._lists.get(found)
        if names is None:
            names = [name for number, name in enumerate(self.names) if found >> number & 1]
            self._lists[found] = names
        return list(names)

    def _of_address(self, ip: str) -> _Set:
        try:
            address = ip_address(ip)
        except ValueError:
            return 0
        return _union(of for network, of in self._networks if address in network)

    def _of_name(self, name: str) -> _Set:
        folded = name.casefold()
        return _union(of for pattern, of in self._patterns if pattern.match(folded))


def _union(sets: Iterable[_Set]) -> _Set:
    result = 0
    for one in sets:
        result |= one
    return result
