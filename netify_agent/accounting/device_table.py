"""The devices that have a row of their own. Bounded, because any host can make up MAC addresses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from netify_agent.netifyd.flow_record import OTHER_DEVICE

DEFAULT_MAX = 10_000


class DeviceTable(Collection[str]):
    """The devices that the store has or is about to get.

    Where two runs of the agent met different devices while Redis was away, there may be more than ``max``; no
    other is then taken in.

    :ivar max: devices that may have a row; may be changed at any time.
    """

    def __init__(self, most: int = DEFAULT_MAX) -> None:
        self.max = most
        self._devices: dict[str, None] = {}  # in the order in which they came

    def __len__(self) -> int:
        return len(self._devices)

    def __iter__(self) -> Iterator[str]:
        return iter(self._devices)

    def __contains__(self, device: object) -> bool:
        return device in self._devices

    @property
    def full(self) -> bool:
        """Whether a device that is not known has no room."""
        return len(self._devices) >= self.max

    def admit(self, device: str) -> str:
        """The row for ``device``: its own, or :data:`OTHER_DEVICE` where it is not known and has no room."""
        if device not in self._devices:
            if self.full:
                return OTHER_DEVICE
            self._devices[device] = None
        return device

    def add(self, devices: Iterable[str | None]) -> None:
        """Take in devices that have a row already."""
        for device in devices:
            if device is not None and device != OTHER_DEVICE:
                self._devices[device] = None

    def remove(self, devices: Iterable[str]) -> None:
        """Devices whose rows the store has dropped."""
        for device in devices:
            self._devices.pop(device, None)
