"""For tests of the accounting: netifyd's records, and a store in memory that sums batches up."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

from netify_agent.accounting.accountant import Accountant
from netify_agent.accounting.batch import MAX_ENDED, Batch, FlowState, SourceState
from netify_agent.accounting.flow_id import TAG_MARK, tag_of
from netify_agent.netifyd.flow_record import Details
from netify_agent.store.deltas import Summary, Tally
from netify_agent.store.layout import GATEWAY

SOURCE = "unix:///run/netifyd.sock"
TAG = tag_of(SOURCE)
MAC, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"
IP, OTHER_IP = "192.168.1.10", "192.168.1.11"
T0 = 1_795_466_760_000  # netifyd's clock at the start of a test, ms
NETFLIX, YOUTUBE, DNS = "netify.netflix", "netify.youtube", "netify.dns"
EMPTY = [0, 0, 0, 0, 0]

Record = dict[str, Any]


def flow(digest: str, app: str = NETFLIX, *, born: int = T0, **fields: Any) -> Record:
    """A flow of MAC to the world, born at ``born`` ms."""
    description = {
        "digest": digest,
        "first_seen_at": born,
        "last_seen_at": born,
        "local_mac": MAC,
        "local_ip": IP,
        "other_mac": OTHER,
        "other_ip": "203.0.113.5",
        "other_type": "remote",
        "detected_application_name": app,
        "detected_protocol_name": "HTTP/S",
        **fields,
    }
    return {"type": "flow", "interface": "br0", "internal": True, "flow": description}


def local(digest: str, app: str = NETFLIX, **fields: Any) -> Record:
    """A flow between MAC and OTHER."""
    return flow(digest, app, other_type="local", other_ip=OTHER_IP, **fields)


def stats(
    digest: str, up: int, down: int, total: int, *, at: int = T0, kind: str = "flow_stats", **fields: Any
) -> Record:
    """Counters of bytes; and of a packet for every ten of them."""
    counted = {
        "digest": digest,
        "last_seen_at": at,
        "local_bytes": up,
        "local_packets": up // 10,
        "other_bytes": down,
        "other_packets": down // 10,
        "total_bytes": total,
        "total_packets": total // 10,
        **fields,
    }
    return {"type": kind, "flow": counted}


def purge(digest: str, up: int, down: int, total: int, *, at: int = T0, **fields: Any) -> Record:
    return {**stats(digest, up, down, total, at=at, kind="flow_purge", **fields), "reason": "closed"}


def status(uptime: int = 100, *, at: int = T0, **fields: Any) -> Record:
    return {"type": "agent_status", "uptime": uptime, "timestamp": at // 1000, "flow_count": 0, **fields}


def _rows() -> defaultdict[str, list[int]]:
    return defaultdict(lambda: [0, 0, 0, 0, 0])


class ReferenceStore:
    """An accountant and a store in memory, which gets its batches as Redis would."""

    def __init__(self, max_flows: int = 1000, *, new: bool = True, max_shown: int = MAX_ENDED) -> None:
        """``new``: the (empty) store has been restored from."""
        self.max_flows = max_flows
        self.bucket = 300
        self.totals = _rows()
        self.applications: defaultdict[str, defaultdict[str, list[int]]] = defaultdict(_rows)
        self.protocols: defaultdict[str, defaultdict[str, list[int]]] = defaultdict(_rows)
        self.history: defaultdict[tuple[int, str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
        self.unattributed, self.mirrored = list(EMPTY), list(EMPTY)
        # Bytes up and down of flows between two devices, by device; of rows by device and name as well.
        self.local: defaultdict[Any, list[int]] = defaultdict(lambda: [0, 0])
        # By bucket and interface: bytes up and down, packets up and down, local bytes up and down.
        self.interfaces: defaultdict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0, 0])
        self.counters: Counter[str] = Counter()
        self.flows: dict[str, FlowState] = {}
        self.ended: dict[str, FlowState] = {}
        self.details: dict[str, Details] = {}
        self.left_out = list(EMPTY)
        self.sources: dict[str, SourceState] = {}
        self.restored = False
        self.accountant = Accountant(max_flows, self.bucket, max_shown=max_shown)
        if new:
            self.restore()

    def restore(self) -> None:
        self.restored = True
        self.accountant.restore({_full(name): state for name, state in self.flows.items()}, self.sources)

    def feed(self, *records: Record, source: str = SOURCE) -> ReferenceStore:
        self.accountant.feed(records, source)
        return self

    def connect(self, *records: Record, source: str = SOURCE) -> ReferenceStore:
        self.accountant.connected(source)
        return self.feed(*records, source=source)

    def crash(self, *, restore: bool = True) -> ReferenceStore:
        """The agent is killed and started again; what it had not flushed is lost."""
        self.restored = False
        self.accountant = Accountant(self.max_flows, self.bucket)
        if restore:
            self.restore()
        return self

    def lose(self) -> ReferenceStore:
        """The store comes back empty; the agent goes on with it."""
        fresh = ReferenceStore(self.max_flows)
        fresh.accountant, fresh.bucket = self.accountant, self.bucket
        fresh.accountant.forget_counts()
        fresh.flows = dict(self.flows)  # what it is told to remove is gone already
        fresh.ended = dict(self.ended)
        fresh.flush()
        return fresh

    def live_through(self, records: list[Record], *, flush_every: int, crash_every: int) -> None:
        """Feed ``records`` with flushes, new buckets and crashes between; the store must stay in order."""
        for index, record in enumerate(records):
            self.feed(record)
            if index % flush_every == flush_every - 1:
                self.connect().flush(300 + index // (2 * flush_every) * 300)
            if index % crash_every == crash_every - 1:
                self.crash()
        self.flush()
        assert len(self.flows) == self.accountant.live_flows

    def flush(self, bucket: int | None = None) -> Batch:
        """Apply a batch; history goes on in ``bucket``."""
        self.bucket = bucket or self.bucket
        batch = self.take(self.bucket)
        self.apply(batch)
        return batch

    def take(self, bucket: int) -> Batch:
        """The next batch, not applied. Flows of SOURCE are named by their digest alone."""
        self.accountant.close_batch(bucket)
        batch = self.finish()
        assert batch is not None
        return batch

    def finish(self, most: int | None = None) -> Batch | None:
        batch = self.accountant.finish_batch(most)
        return batch and replace(
            batch,
            flows={_short(name): state for name, state in batch.flows.items()},
            ended={_short(name): state for name, state in batch.ended.items()},
            details={_short(name): details for name, details in batch.details.items()},
            replaced={_short(name): [*map(_short, old)] for name, old in batch.replaced.items()},
            placed={*map(_short, batch.placed)},
        )

    def apply(self, batch: Batch) -> None:
        summary = Summary(batch)
        for change in summary.changes():
            name, tally = change.name, change.lasting
            _add(self.totals[name], tally.total[:5])
            _add(self.local[name], tally.total[5:])
            for rows, changes in (
                (self.applications[name], tally.applications),
                (self.protocols[name], tally.protocols),
            ):
                for tag, sums in changes.items():
                    _add(rows[tag], sums[:5])
            for kind, changes in (("a", tally.applications), ("p", tally.protocols)):
                for tag, sums in changes.items():
                    _add(self.local[name, kind, tag], sums[5:])
            for interface, sums in change.interfaces.items():
                _add(self.interfaces[batch.bucket, interface], [*sums[:4], *sums[5:]])
            self._history(batch.bucket, name, change.interval)
        _add(self.unattributed, summary.unattributed[:5])
        _add(self.local["unattributed"], summary.unattributed[5:])
        _add(self.mirrored, summary.mirrored[:5])
        _add(self.local["mirrored"], summary.mirrored[5:])
        _add(self.left_out, summary.left_out[:5])
        assert not any(summary.left_out[5:])
        self._flow_writer(batch)
        for digest, state in batch.flows.items():
            if state is None:
                assert digest in self.flows, "the store is told to remove what it never got"
                del self.flows[digest]
            else:
                self.flows[digest] = state
        self.counters.update(batch.counters)
        self.sources = dict(batch.sources)
        self.check()

    def _flow_writer(self, batch: Batch) -> None:
        """What is shown of flows; the store relies on what is asserted here."""
        live = {digest: state for digest, state in batch.flows.items() if state is not None}
        assert batch.placed <= live.keys()
        for digest, state in live.items():
            if digest not in batch.placed:
                stored = self.flows[digest]
                assert (stored.key, stored.peer, stored.risk) == (state.key, state.peer, state.risk)
        assert len(batch.ended) <= MAX_ENDED
        assert not batch.ended.keys() & live.keys()
        assert batch.details.keys() <= live.keys() | batch.ended.keys()
        handed_on = {
            digest: details
            for digest, earlier in batch.replaced.items()
            for details in [self.details[old] for old in earlier if old in self.details][-1:]
        }
        for digest in (
            *(digest for digest, state in batch.flows.items() if state is None),
            *(old for earlier in batch.replaced.values() for old in earlier),
        ):
            if digest not in batch.ended:
                self.details.pop(digest, None)
        for digest in (*batch.placed, *(old for earlier in batch.replaced.values() for old in earlier)):
            self.ended.pop(digest, None)
        self.ended.update(batch.ended)
        self.details.update(handed_on)
        self.details.update(batch.details)

    def _history(self, bucket: int, name: str, tally: Tally) -> None:
        _add(self.history[bucket, name, ""], [*tally.total[:4], 0])
        _add(self.local[bucket, name, ""], tally.total[5:])
        for tag, sums in tally.applications.items():
            _add(self.history[bucket, name, tag], [*sums[:2], 0, 0, 0])
            _add(self.local[bucket, name, tag], sums[5:])

    def check(self) -> None:
        """What must always hold: sums agree, and no row is ever below zero."""
        gateway = self.totals[GATEWAY]
        devices = [sum(row[i] for name, row in self.totals.items() if name != GATEWAY) for i in range(5)]
        expected = [gateway[i] + self.mirrored[i] - self.unattributed[i] for i in range(5)]
        assert devices == expected
        for name, total in self.totals.items():
            for rows in (self.applications[name], self.protocols[name]):
                assert [sum(row[i] for row in rows.values()) for i in range(5)] == total
                assert all(min(row) >= 0 for row in rows.values())
        assert all(min(row) >= 0 for row in self.history.values())
        assert min(*self.unattributed, *self.mirrored) >= 0
        self._check_local()
        self._check_interfaces()

    def _check_local(self) -> None:
        """Local bytes agree like all others, and are a part of all bytes."""
        for i in range(2):
            devices = sum(self.local[name][i] for name in self.totals if name != GATEWAY)
            apart = self.local["unattributed"][i] - self.local["mirrored"][i]
            assert devices + apart == self.local[GATEWAY][i]
            assert self.local["mirrored"][i] == self.mirrored[i]
            for name in self.totals:
                for kind, rows in (("a", self.applications[name]), ("p", self.protocols[name])):
                    assert sum(self.local[name, kind, tag][i] for tag in rows) == self.local[name][i]
                    assert all(0 <= self.local[name, kind, tag][i] <= row[i] for tag, row in rows.items())
            assert all(0 <= self.local[place][i] <= row[i] for place, row in self.history.items())

    def _check_interfaces(self) -> None:
        """In each bucket, the interfaces add up to the gateway."""
        sums: defaultdict[int, list[int]] = defaultdict(lambda: [0] * 6)
        for (bucket, _), row in self.interfaces.items():
            assert min(row) >= 0
            _add(sums[bucket], row)
        for (bucket, name, tag), row in self.history.items():
            if name == GATEWAY and not tag:
                assert sums.pop(bucket, [0] * 6) == [*row[:4], *self.local[bucket, GATEWAY, ""]]
        assert not any(map(any, sums.values()))

    # -- what has been flushed, in bytes up and down ---------------------------------------------

    @property
    def gateway(self) -> tuple[int, int]:
        return self.device(GATEWAY)

    def device(self, name: str = MAC) -> tuple[int, int]:
        up, down, *_ = self.totals.get(name, EMPTY)
        return up, down

    def app(self, tag: str, name: str = MAC) -> tuple[int, int]:
        """What ``name`` had of application ``tag``."""
        up, down, *_ = self.applications[name].get(tag, EMPTY)
        return up, down

    def count(self, name: str = GATEWAY) -> int:
        """Number of flows."""
        return self.totals[name][4]

    def past(self, bucket: int, tag: str = "", name: str = GATEWAY) -> tuple[int, int]:
        up, down, *_ = self.history.get((bucket, name, tag), EMPTY)
        return up, down


def _short(name: str) -> str:
    return name.removesuffix(TAG)


def _full(name: str) -> str:
    return name if TAG_MARK in name else name + TAG


def _add(row: list[int], sums: list[int]) -> None:
    for index, value in enumerate(sums):
        row[index] += value
