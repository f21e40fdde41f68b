"""The devices that have a row. Bounded, because any host can invent MAC addresses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from netify_agent.netifyd.flow_record import OTHER_DEVICE

DEFAULT_MAX = 10_000


class DeviceTable(Collection[str]):
    """The devices that are in the store or will be with the next flush.

    There may be more than ``max`` if two runs of the agent found different devices while Redis was down.
    Then no other device is admitted.

    :ivar max: bound on the number of devices. May be changed.
    :ivar known: the devices in order of arrival, for callers that must be fast. They must not change it.
    """

    def __init__(self, most: int = DEFAULT_MAX) -> None:
        self.max = most
        self.known: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self.known)

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __contains__(self, device: object) -> bool:
        return device in self.known

    @property
    def full(self) -> bool:
        """Whether new devices are refused."""
        return len(self.known) >= self.max

    def admit(self, device: str) -> str:
        """Return the row for ``device``: its own, or :data:`OTHER_DEVICE` for a new device if full."""
        if device not in self.known:
            if self.full:
                return OTHER_DEVICE
            self.known[device] = None
        return device

    def add(self, devices: Iterable[str | None]) -> None:
        """Add devices that already have a row."""
        for device in devices:
            if device is not None and device != OTHER_DEVICE:
                self.known[device] = None

    def remove(self, devices: Iterable[str]) -> None:
        """Remove devices whose rows the store dropped."""
        for device in devices:
            self.known.pop(device, None)
