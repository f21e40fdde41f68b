"""What the records that reached the agent prove, flow by flow, and what Redis must therefore hold.

Shares nothing with the accounting: of a flow it knows the cumulative totals that were delivered, in order,
and the last description. A flow whose latest record reached a living agent is in Redis with exactly its
total; one that fell silent before the agent was killed with what some earlier record of it said, because no
one could have seen more.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import redis

from netify_agent.store.layout import Keys

GATEWAY = "gw1"
MAX_DEVICES = 64  # of the agent's configuration
_DESCRIPTIONS = ("flow", "flow_dpi_update", "flow_dpi_complete")
_COUNTERS = ("bytes_up", "bytes_down", "packets_up", "packets_down", "flows")


@dataclass
class Told:
    """One flow, as far as it was told.

    :ivar endpoint: of the netifyd that told of it.
    :ivar totals: each cumulative total that was delivered, bytes, in order; 0 before the first.
    :ivar before: what it had carried before the first record that was delivered, bytes.
    :ivar first_life: the agent's life in which the first record with counters was delivered.
    :ivar life: the same of the latest one; :ivar described: of the latest description; 0: none was.
    :ivar exact: up and down so far, None once an interval of it was lost.
    """

    endpoint: str
    totals: list[int] = field(default_factory=lambda: [0])
    before: int = 0
    first_life: int = 0
    life: int = 0
    described: int = 0
    exact: tuple[int, int] | None = (0, 0)
    description: dict[str, Any] | None = None


class Delivered:
    """All flows that were told of.

    :ivar life: number of the agent's life that records are delivered to now.
    :ivar forgetful: Redis lost for good what it held: totals go on from where they are.
    :ivar backward: endpoints whose netifyd's clock went back. What a flow born after that carried before its
        first record may seem to be from before our time; then nobody counts it (docs/accounting.md, rule 9).
    """

    def __init__(self) -> None:
        self.life = 1
        self.forgetful = False
        self.backward: set[str] = set()
        self.flows: dict[str, Told] = {}
        self._names: dict[str, str] = {}  # any flow id of a flow to its first

    def take(self, endpoint: str, payload: bytes) -> None:
        """A record of the netifyd at ``endpoint`` reached the agent's socket."""
        record = json.loads(payload)
        if record["type"] not in (*_DESCRIPTIONS, "flow_stats", "flow_purge"):
            return
        fields = record["flow"]
        told = self._flow(endpoint, fields)
        if record["type"] in _DESCRIPTIONS:
            told.description, told.described = fields, self.life
            return
        up, down, total = fields["local_bytes"], fields["other_bytes"], fields["total_bytes"]
        if len(told.totals) == 1:
            told.before = total - up - down
        told.first_life = told.first_life or self.life
        if total == told.totals[-1] + up + down and told.exact is not None:
            told.exact = told.exact[0] + up, told.exact[1] + down
        elif total > told.totals[-1]:
            told.exact = None
        if total > told.totals[-1]:
            told.totals.append(total)
        told.life = self.life

    def _flow(self, endpoint: str, fields: dict[str, Any]) -> Told:
        digests = [*fields.get("digest_prev", ()), fields["digest"]]
        ids = [_flow_id(endpoint, digest) for digest in digests]
        name = next((self._names[flow_id] for flow_id in ids if flow_id in self._names), ids[0])
        for flow_id in ids:
            self._names[flow_id] = name
        return self.flows.setdefault(name, Told(endpoint))

    def check(self, client: redis.Redis, network: dict[str, Any], applications: dict[str, Any]) -> list[str]:
        """What is wrong with the store and with the API's answers; nothing, if all is well.

        :param network: ``GET /``; :param applications: ``GET /applications``, whole.
        """
        stored = self._stored(client)
        wrong = [
            text for name, told in self.flows.items() if (text := self._flow_is_wrong(name, told, stored))
        ]
        wrong += [f"{name}: no record told of it" for name in stored.keys() - self.flows.keys()]
        return wrong[:10] + self._sums_are_wrong(client, network, applications, stored)

    def check_flows(self, client: redis.Redis, flows: list[dict[str, Any]]) -> list[str]:
        """What is wrong with the flows that the API lists, compared with the store."""
        listed: dict[str, tuple[int, int]] = {}
        wrong = []
        for row in flows:
            flow_id = _flow_id(row["endpoint"], row["digest"])
            name = self._names.get(flow_id, flow_id)
            if name in listed:
                wrong.append(f"{name}: /flows lists it twice")
            listed[name] = row["bytes_up"], row["bytes_down"]
        stored = {name: (state[7], state[8]) for name, state in self._stored(client).items()}
        for name in stored.keys() | listed.keys():
            if stored.get(name) != listed.get(name):
                wrong.append(f"{name}: /flows says {listed.get(name)}, Redis {stored.get(name)}")
        digests = Counter(flow_id.partition("@")[0] for flow_id in self._names)
        if digests.most_common(1)[0][1] < 2:
            wrong.append("the endpoints had no digest in common: this run proves nothing about that")
        return wrong[:10]

    def _stored(self, client: redis.Redis) -> dict[str, list[Any]]:
        """The state of each flow in Redis, live or over: total, up, down."""
        keys = Keys(GATEWAY)
        states: dict[str, list[Any]] = {}
        for key in (keys.ended, keys.flows):
            for flow_id, text in client.hgetall(key).items():
                name = self._names.get(flow_id, flow_id)
                assert name not in states, f"{name} stands twice in Redis"
                states[name] = json.loads(text)
        return states

    def _flow_is_wrong(self, name: str, told: Told, stored: dict[str, list[Any]]) -> str | None:
        state = stored.get(name)
        if state is not None and state[0] != told.endpoint:
            return f"{name}: stands at {state[0]}, was told by {told.endpoint}"
        # v5: whether bytes from before are ours is decided when the flow is described, or over; till then
        # they are held, and stand in the state.
        total, up, down, held = (max(state[5], 0), state[7], state[8], state[11]) if state else (0, 0, 0, 0)
        final = told.totals[-1]
        possible = {final} if told.life == self.life else set(told.totals)
        if total not in possible and not (state is None and (told.life < self.life or self.forgetful)):
            return f"{name}: Redis knows a total of {total}, delivered were {told.totals[-4:]}"
        if self.forgetful:
            return None if 0 <= up + down <= total else f"{name}: {up} + {down} counted of {total}"
        allowed = {total}
        if told.endpoint in self.backward:
            allowed |= {total - told.before}
        if up + down + held not in allowed:
            return f"{name}: {up} + {down} counted of {total}"
        if (
            told.first_life == self.life
            and told.endpoint not in self.backward
            and told.exact is not None
            and told.exact != (up, down)
        ):
            return f"{name}: up and down are {up} and {down}, were told as {told.exact}"
        return None

    def _sums_are_wrong(
        self,
        client: redis.Redis,
        network: dict[str, Any],
        applications: dict[str, Any],
        stored: dict[str, list[Any]],
    ) -> list[str]:
        wrong = []
        devices: dict[str, int] = defaultdict(int)
        rows: dict[str, int] = defaultdict(int)
        gateway = 0
        for name, state in stored.items():
            amount = state[7] + state[8]
            gateway += amount
            key, peer = state[1], state[2]
            for owner in (key, peer):
                if owner is not None and owner[0] is not None:
                    devices[owner[0]] += amount
                    rows[f"{owner[0]} {owner[1]}"] += amount
            told = self.flows.get(name)
            if told is not None and told.described == self.life and told.description is not None:
                row = _row(told.description)
                if tuple(key[:2]) not in (row, ("other", row[1])):
                    wrong.append(f"{name}: stands at {key}, was last told to be of {row}")
        found = {device["mac"] or device["ip"] or device["name"]: device for device in network["devices"]}
        if len(found) > MAX_DEVICES + 1:
            wrong.append(f"{len(found)} devices have a row")
        if not self.forgetful:
            if _both(network["totals"]) != gateway:
                wrong.append(f"gateway: {_both(network['totals'])}, its flows have {gateway}")
            for name in devices.keys() | found.keys():
                if devices[name] != (_both(found[name]) if name in found else 0):
                    wrong.append(f"{name}: {_both(found.get(name))}, its flows have {devices[name]}")
            for name, device in found.items():
                for row in device["applications"]:
                    if _both(row) != rows[f"{name} {row['tag']}"]:
                        wrong.append(f"{name} {row['tag']}: {_both(row)}, its flows have {rows[name]}")
        keys = Keys(GATEWAY)
        for counter in _COUNTERS:
            total = network["totals"][counter]
            parts = sum(device[counter] for device in found.values()) + network["forgotten"][counter]
            if parts + network["unattributed"][counter] - network["local"][counter] != total:
                wrong.append(f"{counter}: devices do not add up to {total}")
            if sum(row[counter] for row in applications["applications"]) != total:
                wrong.append(f"{counter}: applications do not add up to {total}")
            for device in found.values():
                if sum(row[counter] for row in device["applications"]) != device[counter]:
                    wrong.append(f"{counter}: applications of {device['mac'] or device['ip']} do not add up")
        for key in (keys.totals(""), keys.protocols(""), keys.applications("")):
            wrong += [
                f"{key} {name}: {count}" for name, count in client.hgetall(key).items() if count[:1] == "-"
            ]
        return wrong[:20]


def _flow_id(endpoint: str, digest: str) -> str:
    """The name of a flow in Redis: two endpoints may use one digest (docs/store.md)."""
    return f"{digest}@{hashlib.sha256(endpoint.encode()).hexdigest()[:8]}"


def _both(row: dict[str, Any] | None) -> int:
    return row["bytes_up"] + row["bytes_down"] if row else 0


def _row(fields: dict[str, Any]) -> tuple[str, str]:
    """Device and application of a description."""
    mac = fields["local_mac"]
    device = fields["local_ip"] if mac in (None, "", "00:00:00:00:00:00") else mac
    return str(device).lower(), fields["detected_application_name"] or "Unknown"
