"""The ground truth of a simulated stream: the exact bytes of each device.

Kept while the stream is made, from what the records say, by the accounting rules: a flow belongs to its
last application and protocol, a local-to-local flow counts mirrored for both devices and once for the
gateway, a flow never described counts for the gateway alone. It knows nothing of the wire or of time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# bytes up, bytes down, packets up, packets down, flows
Row = list[int]
_NAMES = ("bytes_up", "bytes_down", "packets_up", "packets_down", "flows")


@dataclass(eq=False)
class FlowTotals:
    """The totals of one flow so far: up is what its local side sent (bytes of whole frames, packets).

    `device` is None until a `flow` record has described the flow; `peer` is the other device of a
    local-to-local flow; `application` is a tag, `protocol` a name. `digest` is the last digest that named
    the flow.
    """

    __slots__ = (
        "application", "bytes_down", "bytes_up", "device", "digest", "packets_down", "packets_up", "peer",
        "protocol",
    )  # fmt: skip
    digest: str
    device: str | None
    peer: str | None
    application: str
    protocol: str
    bytes_up: int
    bytes_down: int
    packets_up: int
    packets_down: int

    def row(self) -> Row:
        """The flow's counters as the row of its local side."""
        return [self.bytes_up, self.bytes_down, self.packets_up, self.packets_down, 1]


@dataclass
class _Sums:
    """The sums of many flows; a device row key is the device id alone or with what it used."""

    gateway: Row = field(default_factory=lambda: [0] * 5)
    unattributed: Row = field(default_factory=lambda: [0] * 5)
    devices: dict[str, Row] = field(default_factory=dict)
    applications: dict[tuple[str, str], Row] = field(default_factory=dict)
    protocols: dict[tuple[str, str], Row] = field(default_factory=dict)
    gateway_applications: dict[str, Row] = field(default_factory=dict)
    gateway_protocols: dict[str, Row] = field(default_factory=dict)

    def copy(self) -> _Sums:
        return _Sums(
            self.gateway[:],
            self.unattributed[:],
            {key: row[:] for key, row in self.devices.items()},
            {key: row[:] for key, row in self.applications.items()},
            {key: row[:] for key, row in self.protocols.items()},
            {key: row[:] for key, row in self.gateway_applications.items()},
            {key: row[:] for key, row in self.gateway_protocols.items()},
        )

    def add(self, flow: FlowTotals) -> None:
        up, down, packets_up, packets_down, _ = row = flow.row()
        _add(self.gateway, row)
        if flow.device is None:
            _add(self.unattributed, row)
            return
        tag, name = flow.application, flow.protocol
        _add(self.gateway_applications.setdefault(tag, [0] * 5), row)
        _add(self.gateway_protocols.setdefault(name, [0] * 5), row)
        self._add_device(flow.device, tag, name, row)
        if flow.peer is not None:
            self._add_device(flow.peer, tag, name, [down, up, packets_down, packets_up, 1])

    def _add_device(self, device: str, tag: str, name: str, row: Row) -> None:
        _add(self.devices.setdefault(device, [0] * 5), row)
        _add(self.applications.setdefault((device, tag), [0] * 5), row)
        _add(self.protocols.setdefault((device, name), [0] * 5), row)


class Truth:
    """Totals of everything sent so far, live flows included.

    :ivar flows: number of flows of which at least one record was sent
    :ivar ended: totals of every purged flow by last digest; filled only with `keep_flows`, since it grows
        with the length of the stream
    """

    def __init__(self, *, keep_flows: bool = False) -> None:
        """:param keep_flows: keep the final totals of every single flow in `ended`."""
        self.flows = 0
        self.ended: dict[str, FlowTotals] = {}
        self._keep = keep_flows
        self._settled = _Sums()
        self._live: dict[FlowTotals, None] = {}

    def opened(self, flow: FlowTotals) -> None:
        """Count `flow` from now on; its totals are read from the object. May be repeated."""
        if flow not in self._live:
            self._live[flow] = None
            self.flows += 1

    def purged(self, flow: FlowTotals) -> None:
        """Finish a flow that will not change any more."""
        del self._live[flow]
        self._settled.add(flow)
        if self._keep:
            self.ended[flow.digest] = flow

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain JSON values in a stable order.

        Rows hold `bytes_up`, `bytes_down`, `packets_up`, `packets_down` and `flows`; `applications` and
        `protocols` are keyed `"<device id> <tag or name>"`; `unattributed` is the part of `gateway` whose
        flows were never described.
        """
        sums = self._settled.copy()
        for flow in self._live:
            sums.add(flow)
        return {
            "gateway": _named(sums.gateway),
            "unattributed": _named(sums.unattributed),
            "devices": {key: _named(row) for key, row in sorted(sums.devices.items())},
            "applications": {" ".join(key): _named(row) for key, row in sorted(sums.applications.items())},
            "protocols": {" ".join(key): _named(row) for key, row in sorted(sums.protocols.items())},
            "gateway_applications": {
                key: _named(row) for key, row in sorted(sums.gateway_applications.items())
            },
            "gateway_protocols": {key: _named(row) for key, row in sorted(sums.gateway_protocols.items())},
            "flows": self.flows,
        }


def _add(row: Row, other: Row) -> None:
    for index, value in enumerate(other):
        row[index] += value


def _named(row: Row) -> dict[str, int]:
    return dict(zip(_NAMES, row, strict=True))
