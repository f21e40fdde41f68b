"""Sums of a period by device, group, application, category or interface. Knows no HTTP.

A device's bytes are counted at the device, also those of a flow between two devices, which the gateway counts
once. So the sum over the devices, less the local bytes that are counted twice, plus what belongs to no
device, is the gateway's total. docs/api.md has the equation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from netify_agent.config.calendar import Period
from netify_agent.enrich import Directory
from netify_agent.store.history_reader import HistoryReader
from netify_agent.store.history_record import NO_SHARE, Share, Volume
from netify_agent.store.layout import FORGOTTEN, GATEWAY, INTERFACE, MIRRORED, UNATTRIBUTED
from netify_agent.store.query import FlushStamp

KINDS = ("device", "group", "application", "category", "interface")
#: Series whose bytes belong to no device, by their name in answers.
BESIDE = {"unattributed": UNATTRIBUTED, "local": MIRRORED, "forgotten": FORGOTTEN}

Key = str | None  #: of a row; None stands for what belongs to none of the names


@dataclass(frozen=True)
class Selection:
    """The requested traffic.

    :ivar devices: the devices it belongs to.
    :ivar whole: it is all traffic of the gateway, also what belongs to no device.
    :ivar application: only this application; None: all.
    """

    devices: Sequence[str]
    whole: bool
    application: str | None

    @property
    def is_gateway(self) -> bool:
        """Whether this is all traffic of the gateway."""
        return self.whole and self.application is None


@dataclass
class Usage:
    """What moved in a period.

    :ivar covered: the stretch of time that the sums cover. It is longer than the period where only longer
        steps are kept.
    :ivar total: of the selection. Rows may overlap, so it is not always the sum of the rows.
    :ivar rows: by key; rows without traffic are left out.
    :ivar beside: the series of :data:`BESIDE` by name; None if something is left out: they are
        not counted by device or application.
    """

    covered: Period
    total: Share
    rows: dict[Key, Share]
    beside: dict[str, Share] | None


class PeriodUsage:
    """Reads and sums one gateway's history. Raises StoreError."""

    def __init__(self, history: HistoryReader, directory: Directory, categories: Mapping[str, int]) -> None:
        """``categories``: application to netifyd's category id."""
        self._history = history
        self._directory = directory
        self._categories = categories

    def read(self, selection: Selection, by: str, period: Period, flush: FlushStamp) -> Usage:
        """What the selection moved in a period.

        :param by: one of :data:`KINDS`. Interfaces are counted for the whole gateway and all applications
            only.
        :raises FlushedMeanwhile: if the store has moved on since ``flush``.
        """
        if by in ("application", "category"):
            return self._by_application(selection, by, period, flush)
        if by == "interface":
            return self._by_interface(selection, period, flush)
        return self._by_device(selection, by, period, flush)

    def _by_device(self, selection: Selection, by: str, period: Period, flush: FlushStamp) -> Usage:
        whole = [GATEWAY, *BESIDE.values()] if selection.whole else []
        covered, used = self._used([*whole, *selection.devices], selection.application, period, flush)
        devices = {device: used[device] for device in selection.devices if device in used}
        rows: dict[Key, Share] = {}
        for device, share in devices.items():
            for key in [device] if by == "device" else self._groups(device):
                add(rows, key, share)
        return Usage(
            covered,
            used.get(GATEWAY, NO_SHARE) if selection.whole else sum_of(devices.values()),
            rows,
            _beside(used) if selection.is_gateway else None,
        )

    def _groups(self, device: str) -> Sequence[Key]:
        return self._directory.groups(device, (), self._directory.name(device, (), None)) or (None,)

    def _by_application(self, selection: Selection, by: str, period: Period, flush: FlushStamp) -> Usage:
        series = [GATEWAY] if selection.whole else selection.devices
        application = selection.application
        found: Iterable[Mapping[str, Share]]
        if application is None:
            answer = self._history.shares(series, period.start, period.end, flush)
            covered, found = answer.period, answer.shares.values()
        else:
            covered, used = self._used(series, application, period, flush)
            found = ({application: share} for share in used.values())
        rows: dict[Key, Share] = {}
        for shares in found:
            for tag, share in shares.items():
                add(rows, tag if by == "application" else self._category(tag), share)
        beside = None
        if selection.is_gateway:
            beside = _beside(self._used(list(BESIDE.values()), None, period, flush)[1])
        return Usage(covered, sum_of(rows.values()), rows, beside)

    def _category(self, tag: str) -> Key:
        return self._directory.application(tag, self._categories.get(tag))[1]

    def _by_interface(self, selection: Selection, period: Period, flush: FlushStamp) -> Usage:
        interfaces = [name for name in self._history.other_series(flush) if name.startswith(INTERFACE)]
        series = [GATEWAY, *BESIDE.values(), *interfaces]
        covered, used = self._used(series, None, period, flush)
        total = used.get(GATEWAY, NO_SHARE)
        rows: dict[Key, Share] = {
            name.removeprefix(INTERFACE) or None: used[name] for name in interfaces if name in used
        }
        # Bytes from before the agent counted by interface belong to no interface.
        known = sum_of(rows.values())
        add(rows, None, Share(*(whole - part for whole, part in zip(total, known, strict=True))))
        rows = {key: share for key, share in rows.items() if any(share)}
        return Usage(covered, total, rows, _beside(used))

    def _used(
        self, series: Sequence[str], application: str | None, period: Period, flush: FlushStamp
    ) -> tuple[Period, dict[str, Share]]:
        """What each series moved, with all applications or with one."""
        if application is None:
            volumes = self._history.volumes(series, period.start, period.end, flush)
            return volumes.period, {name: _bytes_of(volume) for name, volume in volumes.volumes.items()}
        shares = self._history.share(application, series, period.start, period.end, flush)
        return shares.period, shares.shares


def add(rows: dict[Key, Share], key: Key, share: Share) -> None:
    """Add ``share`` to a row."""
    had = rows.get(key, NO_SHARE)
    rows[key] = Share(had[0] + share[0], had[1] + share[1], had[2] + share[2], had[3] + share[3])


def sum_of(shares: Iterable[Share]) -> Share:
    """The sum of some shares."""
    total: dict[Key, Share] = {}
    for share in shares:
        add(total, None, share)
    return total.get(None, NO_SHARE)


def link_bytes(share: Share) -> int:
    """Bytes up and down that no other device of the network sent or received."""
    return share.bytes_up + share.bytes_down - share.local_up - share.local_down


def _beside(used: Mapping[str, Share]) -> dict[str, Share]:
    return {name: used.get(series, NO_SHARE) for name, series in BESIDE.items()}


def _bytes_of(volume: Volume) -> Share:
    return Share(volume.bytes_up, volume.bytes_down, volume.local_up, volume.local_down)
