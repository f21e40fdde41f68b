"""Moves flows to another device than the one they were counted for.

That happens when the MAC address of an IP address becomes known, and at the start of the agent, when the
devices of the store fill the device table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from netify_agent.accounting.batch_builder import BatchBuilder
from netify_agent.accounting.device_identity import DeviceIdentity
from netify_agent.accounting.device_table import DeviceTable
from netify_agent.accounting.flow import Flow
from netify_agent.accounting.flow_table import FlowTable
from netify_agent.netifyd.flow_record import OTHER_DEVICE, Key, row_key

Rename = Callable[[str, Flow], str]  # device and flow to the right device


class DeviceMoves:
    """Moves live and recently ended flows, with all that they counted, to other devices."""

    def __init__(
        self,
        tables: Mapping[str, FlowTable],
        builder: BatchBuilder,
        devices: DeviceTable,
        identity: DeviceIdentity,
    ) -> None:
        """``tables``: the flow table of each source, by URL; it may grow."""
        self._tables = tables
        self._builder = builder
        self._devices = devices
        self._identity = identity

    def follow_macs(self) -> None:
        """Move the flows of IP addresses whose MAC address has become known."""
        moved = self._identity.take_moved()
        if not moved:
            return

        def rename(device: str, flow: Flow) -> str:
            itself = flow.peer is not None and flow.peer.device == flow.key.device
            if itself or (flow.table.source, device) not in moved:
                return device  # loopback traffic of one host stays at the IP address
            name = self._identity.name(device, device, flow.table.source)
            if name == device or self._devices.admit(name) == OTHER_DEVICE:
                return device
            self._builder.note(name).remember(device, 0)
            return name

        self._move(rename)

    def restore(self, stored: Collection[str]) -> None:
        """Add the devices of the store; move earlier devices beyond the bound to :data:`OTHER_DEVICE`."""
        earlier = [device for device in self._devices if device not in stored]
        self._devices.add(stored)
        excess = earlier[max(len(earlier) - (len(self._devices) - self._devices.max), 0) :]
        if not excess:
            return
        self._devices.remove(excess)
        removed = set(excess)
        folded = self._move(lambda device, flow: OTHER_DEVICE if device in removed else device)
        self._builder.counters["flows_folded"] += folded
        self._builder.drop_devices(removed)

    def mark_local(self) -> None:
        """Count the bytes of live flows between two devices as local, where an older agent did not."""
        for table in self._tables.values():
            for flow in table.live.values():
                if flow.peer is not None and not flow.key.local:
                    self._builder.change(flow)
                    key, peer = (row_key(*row[:4], True) for row in (flow.key, flow.peer))
                    self._builder.move(flow, key, peer, flow.capture)

    def _move(self, rename: Rename) -> int:
        """Move the flows whose device changed; returns their number."""
        count = 0
        for flow in [flow for table in self._tables.values() for flow in table.flows()]:
            key = self._renamed(flow.key, flow, rename)
            peer = self._renamed(flow.peer, flow, rename) if flow.peer is not None else None
            if (key, peer) != (flow.key, flow.peer):
                self._builder.change(flow)
                self._builder.move(flow, key, peer, flow.capture)
                if flow.ended:
                    self._builder.show_ended(flow)
                count += 1
        return count

    def _renamed(self, row: Key, flow: Flow, rename: Rename) -> Key:
        if row.device is None:
            return row
        device = rename(row.device, flow)
        return row if device == row.device else row_key(device, *row[1:])
