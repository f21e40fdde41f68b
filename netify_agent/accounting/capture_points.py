"""Capture points: at which of a netifyd's interfaces traffic counts, so that no packet counts twice.

netifyd can watch a gateway's LAN and WAN at once. A connection from the LAN to the Internet is then two flows
with two digests: one with the address of the device, and one with the address of the gateway (NAT,
``ip_nat``) or of the same device (IPv6). Only the first identifies the device.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from netify_agent.netifyd.agent_status import Interface
from netify_agent.netifyd.flow_record import clean, flag, host_address, short_text

#: The flow counts.
COUNTED = 0
#: Captured at an external interface; it counts as long as netifyd is not known to watch an internal one.
EXTERNAL = 1
#: The flow does not count.
LEFT_OUT = 2

_MAX_INTERFACES = 64


class CaptureRules(NamedTuple):
    """Which interfaces count (configuration ``netifyd.interfaces``): names, ``role:lan`` or ``role:wan``.

    :ivar include: if not empty, only these count.
    :ivar exclude: these do not count.

    With both empty, an external interface does not count where the same netifyd watches an internal one.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class CapturePoint(NamedTuple):
    """An interface that netifyd captures at.

    :ivar role: netifyd's word for it in lower case, ``lan`` or ``wan``; None if it did not say.
    :ivar counted: whether its traffic counts; that of the gateway itself may count even where this is False.
    """

    name: str
    role: str | None
    counted: bool


class Place(NamedTuple):
    """Where a flow was captured.

    :ivar capture: whether it counts: one of the constants of this module.
    :ivar interface: the name by which bytes are summed up; None without a usable name, and for new names
        beyond the first 64 of a netifyd.
    """

    capture: int
    interface: str | None


class CapturePoints:
    """The capture points of one netifyd.

    :ivar watches_internal: it watches an internal interface.
    :ivar on_internal: called when that is learned: what external interfaces saw is then counted twice.
    """

    def __init__(self, rules: CaptureRules) -> None:
        self._rules = rules
        self.on_internal: Callable[[], None] = lambda: None
        self.watches_internal = False
        # Decisions by the record's ``interface`` and ``internal``.
        self._known: dict[tuple[object, bool | None], Place] = {}
        self._interfaces: dict[str, Interface] = {}
        self._own_addresses: frozenset[str] = frozenset()
        self._external: dict[str, bool] = {}  # by name, as the flows' own ``internal`` says
        self._names: set[str] = set()  # of interfaces that flows were captured at

    @property
    def rules(self) -> CaptureRules:
        """The configured rules; may be changed at any time."""
        return self._rules

    @rules.setter
    def rules(self, rules: CaptureRules) -> None:
        self._rules = rules
        self._known.clear()

    def reset(self) -> None:
        """Forget what was learned: netifyd is another process, which may watch other interfaces."""
        self.watches_internal = False
        self._interfaces.clear()
        self._external.clear()
        self._known.clear()

    def learn(self, interfaces: Mapping[str, Interface]) -> None:
        """Take netifyd's list of its interfaces (v4: in ``agent_status``, v5: ``interfaces``)."""
        if not interfaces:
            return
        self._interfaces = dict(interfaces)
        self._own_addresses = frozenset(
            address for interface in interfaces.values() for address in interface.addresses
        )
        self._known.clear()
        if any(interface.role == "lan" for interface in interfaces.values()):
            self._watch_internal()

    def place(self, interface: object, internal: object, fields: Mapping[str, Any] | None = None) -> Place:
        """Decide where a flow was captured, and whether it counts.

        :param interface: the record's ``interface``; :param internal: its ``internal``, both unchecked.
        :param fields: the ``flow`` object of a description; None if there is none yet.
        """
        if type(interface) is not str:
            interface = None
        inside = flag(internal)
        found = self._known.get((interface, inside))
        if found is None:
            name = clean(interface)
            capture = self._decide(name or "", inside)
            found = Place(capture, self._listed(name))
            if len(self._known) < _MAX_INTERFACES:
                self._known[interface, inside] = found
        if found.capture != COUNTED and fields is not None and not any(self.rules) and self._is_own(fields):
            return found._replace(capture=COUNTED)
        return found

    def _listed(self, name: str | None) -> str | None:
        if name is None or name in self._names:
            return name
        if len(self._names) >= _MAX_INTERFACES:
            return None
        self._names.add(name)
        return name

    def _decide(self, name: str, internal: bool | None) -> int:
        role = self._role(name)
        if any(self._rules):
            return COUNTED if self._is_chosen(name, role) else LEFT_OUT
        external = role == "wan" or (role is None and internal is False)
        if name and (name in self._external or len(self._external) < _MAX_INTERFACES):
            self._external[name] = external
        if external:
            return LEFT_OUT if self.watches_internal else EXTERNAL
        if role == "lan" or internal:
            self._watch_internal()
        return COUNTED

    def _is_chosen(self, name: str, role: str | None) -> bool:
        """Whether the rules, which are not empty, let an interface count."""
        include, exclude = self._rules
        return _named(name, role, include) if include else not _named(name, role, exclude)

    def _role(self, name: str) -> str | None:
        known = self._interfaces.get(name)
        return known.role if known is not None else None

    def _watch_internal(self) -> None:
        if not self.watches_internal:
            self.watches_internal = True
            self._known.clear()
            self.on_internal()

    def _is_own(self, fields: Mapping[str, Any]) -> bool:
        """Whether an external flow is proven to be the gateway's own, which no internal interface sees.

        Without connection tracking netifyd can't know of NAT: then nothing is proven.
        """
        return (
            flag(fields.get("ip_nat")) is False
            and isinstance(fields.get("conntrack"), Mapping)
            and host_address(short_text(fields.get("local_ip"))) in self._own_addresses
        )

    def points(self) -> list[CapturePoint]:
        """Return the interfaces that are known, by name."""
        points = []
        for name in sorted({*self._interfaces, *self._external}):
            role = self._role(name)
            if any(self._rules):
                counted = self._is_chosen(name, role)
            else:
                external = role == "wan" or (role is None and self._external.get(name, False))
                counted = not (external and self.watches_internal)
            points.append(CapturePoint(name, role, counted))
        return points


def _named(name: str, role: str | None, rules: Collection[str]) -> bool:
    return name in rules or (role is not None and f"role:{role}" in rules)
