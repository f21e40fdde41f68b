"""A store in Redis filled with netifyd records through the real accountant, without threads."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from netify_agent.accounting.accountant import Accountant
from netify_agent.accounting.flow_id import digest_of, tag_of
from netify_agent.store.client import connect
from netify_agent.store.encoding import decode_state
from netify_agent.store.flow_reader import FlowReader, RiskRow
from netify_agent.store.flow_writer import FlowWriterLimits
from netify_agent.store.flush import FlushPart
from netify_agent.store.history_reader import HistoryReader
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import Keys
from netify_agent.store.reader import NetworkSnapshot, StoreReader
from netify_agent.store.retention import RetentionLimits
from netify_agent.store.rows import UsageRow
from netify_agent.store.usage_reader import UsageReader
from netify_agent.store.writer import Flush, StoreWriter

LAPTOP, PHONE, TUNNEL = "02:00:00:00:00:01", "02:00:00:00:00:02", "10.8.0.2"
NETFLIX, YOUTUBE = "netify.netflix", "netify.youtube"
SOURCE = "unix:///run/netifyd.sock"
HISTORY = HistorySteps({300: 2 * 86400, 3600: 31 * 86400, 86400: 400 * 86400})
FORGET_AFTER_S = 400 * 86400
NO_COUNTS = {"bytes_up": 0, "bytes_down": 0, "packets_up": 0, "packets_down": 0, "flows": 0}

Record = dict[str, Any]


def counts(up: int, down: int, packets_up: int, packets_down: int, flows: int) -> dict[str, int]:
    return dict(zip(NO_COUNTS, (up, down, packets_up, packets_down, flows), strict=True))


def risky(score: int, *ids: int) -> dict[str, Any]:
    """Fields of a flow with risks."""
    return {"risks": {"ndpi_risk_score": score, "risks": list(ids)}}


class Netifyd:
    """Makes records as netifyd sends them; keeps the cumulative totals of each flow."""

    def __init__(self) -> None:
        self._bytes: Counter[str] = Counter()
        self._packets: Counter[str] = Counter()

    def knows(self, digest: str) -> bool:
        """Whether counters of the flow were made, and not its end."""
        return digest in self._bytes

    def flow(self, digest: str, device: str = LAPTOP, application: str = NETFLIX, **fields: Any) -> Record:
        mac = device if len(device) == 17 else "00:00:00:00:00:00"
        flow = {
            "digest": digest,
            "local_mac": mac,
            "local_ip": "192.168.1.10" if mac == device else device,
            "other_ip": "198.51.100.1",
            "other_type": "remote",
            "detected_application_name": application,
            "detected_protocol_name": "HTTP/S",
            "category": {"application": 7},
            "first_seen_at": 1_700_000_001_000,
            "last_seen_at": 1_700_000_002_000,
            **fields,
        }
        return {"type": "flow", "interface": "br0", "internal": True, "flow": flow}

    def stats(self, digest: str, up: int, down: int, kind: str = "flow_stats", **fields: Any) -> Record:
        """One packet in each direction that has bytes."""
        packets_up, packets_down = int(up > 0), int(down > 0)
        self._bytes[digest] += up + down
        self._packets[digest] += packets_up + packets_down
        flow = {
            "digest": digest,
            "last_seen_at": 1_700_000_010_000 + self._bytes[digest],
            "local_bytes": up,
            "other_bytes": down,
            "local_packets": packets_up,
            "other_packets": packets_down,
            "total_bytes": self._bytes[digest],
            "total_packets": self._packets[digest],
            **fields,
        }
        return {"type": kind, "flow": flow}

    def purge(self, digest: str) -> Record:
        record = self.stats(digest, 0, 0, "flow_purge")
        del self._bytes[digest], self._packets[digest]
        return record


class RealStore:
    """An accountant, and the store that it is flushed to in the caller's thread.

    :ivar on_flush: called with each flush that was applied.
    """

    def __init__(
        self,
        url: str,
        gateway: str,
        *,
        history: HistorySteps | None = None,
        forget_after_s: int = FORGET_AFTER_S,
        flow_limits: FlowWriterLimits | None = None,
        retention_limits: RetentionLimits | None = None,
        max_devices: int = 10_000,
        part: FlushPart | None = None,
        bucket: int | None = None,
    ) -> None:
        """``bucket``: the history bucket of the first flush; None: that of now."""
        self.url = url
        self.on_flush: Callable[[Flush], None] = lambda flush: None
        self.client = connect(url, None, gateway=gateway)
        self.netifyd = Netifyd()
        self.reader = StoreReader(connect(url, None, gateway=gateway), gateway)
        self.flows = FlowReader(self.reader)
        self.usage = UsageReader(self.reader)
        self.writer = StoreWriter(
            connect(url, None, gateway=gateway),
            gateway,
            history or HISTORY,
            forget_after_s,
            flow_limits=flow_limits,
            retention_limits=retention_limits,
            max_devices=max_devices,
            part=part,
        )
        self.history = HistoryReader(self.client, gateway, history or HISTORY)
        self.restored = self.writer.claim()
        self.sequence = self.restored.sequence
        self.bucket = int(time.time()) // 300 * 300 if bucket is None else bucket
        self.accountant = Accountant(200_000, self.bucket, max_devices=max_devices)
        self.at_ms = 0
        self.accountant.restore(self.restored.flows, self.restored.sources, self.restored.devices)

    def feed(self, *records: Record) -> None:
        self.accountant.feed(records, SOURCE)

    def take(self, *, at_ms: int | None = None, elapsed_ms: int | None = None) -> Flush:
        """The next flush, not applied yet. It belongs to the history bucket ``self.bucket``.

        :param elapsed_ms: by the monotonic clock; None: as much as by the wall clock.
        """
        if elapsed_ms is None:
            elapsed_ms = max(at_ms - self.at_ms, 1) if at_ms and self.at_ms else 1000
        self.at_ms = at_ms or self.at_ms
        self.sequence += 1
        forget = self.writer.forget_requests.waiting()
        self.accountant.leave_behind(forget)
        self.accountant.close_batch(self.bucket)
        batch = self.accountant.finish_batch()
        assert batch is not None
        return Flush(self.sequence, batch, at_ms or int(time.time() * 1000), elapsed_ms, forget)

    def flush(self, *records: Record, at_ms: int | None = None, elapsed_ms: int | None = None) -> Flush:
        self.feed(*records)
        flush = self.take(at_ms=at_ms, elapsed_ms=elapsed_ms)
        self.writer.apply(flush)
        self.on_flush(flush)
        self.accountant.flushed(flush.batch.changed_devices(), self.writer.dropped_devices())
        return flush

    def snapshot(self) -> NetworkSnapshot:
        """The network with all that is known of each device."""
        snapshot = self.reader.snapshot()
        self.reader.add_details(snapshot, snapshot.devices)
        return snapshot

    def applications(self, users: int | None = None) -> list[UsageRow]:
        snapshot = self.usage.applications()
        self.usage.add_application_users(snapshot.flush, snapshot.rows, users)
        return snapshot.rows

    def protocols(self, users: int | None = None) -> list[UsageRow]:
        snapshot = self.usage.protocols()
        self.usage.add_protocol_users(snapshot.flush, snapshot.rows, users)
        return snapshot.rows

    def past(self, series: str, step: int, starts: Iterable[int]) -> list[tuple[int, Any]]:
        """The history of a series: see :func:`past`."""
        return past(self.history, series, step, starts)

    def risks(self, device: str) -> list[RiskRow]:
        return self.flows.risks(device, self.reader.last_flush())


def past(reader: HistoryReader, series: str, step: int, starts: Iterable[int]) -> list[tuple[int, Any]]:
    """Start and nonzero counters of each bucket: the total under an empty name, and the applications."""
    found = []
    periods = [reader.steps.calendar.period(step, start) for start in starts]
    for bucket in reader.buckets(series, step, periods, applications=True):
        rows = {"": bucket.volume, **bucket.applications}
        counted = {
            name: {key: count for key, count in row._asdict().items() if count} for name, row in rows.items()
        }
        found.append((bucket.start, counted))
    return found


def everything(client: Any) -> dict[str, Any]:
    """The contents of a Redis, by key."""
    read = {"hash": client.hgetall, "string": client.get, "set": client.smembers}
    found = {}
    for key in sorted(client.scan_iter(count=1000)):
        kind = client.type(key)
        found[key] = client.zrange(key, 0, -1, withscores=True) if kind == "zset" else read[kind](key)
    return found


def flow_id(digest: str) -> str:
    """The name in Redis of a flow of SOURCE."""
    return digest + tag_of(SOURCE)


def digests(ids: Iterable[str]) -> set[str]:
    """The digests in flow ids."""
    return {digest_of(name) for name in ids}


def indexes(client: Any, gateway: str) -> dict[str, dict[str, int]]:
    """Every index of flows, by the end of its key."""
    found = {}
    for key in client.scan_iter(f"netify:{{{gateway}}}:index:*", count=1000):
        entries = client.zrange(key, 0, -1, withscores=True)
        found[key.partition(":index:")[2]] = {digest: int(seen) for digest, seen in entries}
    return found


def indexed(client: Any, gateway: str) -> dict[str, set[str]]:
    """The digests in every index."""
    return {name: digests(flows) for name, flows in indexes(client, gateway).items()}


def check_entries(client: Any, gateway: str) -> None:
    """Check that flow states, details and indexes agree, and that no flow is listed twice."""
    keys = Keys(gateway)
    live = {digest: decode_state(text) for digest, text in client.hgetall(keys.flows).items()}
    ended = {digest: decode_state(text) for digest, text in client.hgetall(keys.ended).items()}
    expected: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for states, kind in ((live, "live"), (ended, "ended")):
        for digest, state in states.items():
            sides = {key.device for key in (state.key, state.peer) if key is not None} - {None}
            for name in (
                kind,
                f"{kind}:application:{state.key.application}",
                *(f"{kind}:device:{device}" for device in sides),
                *([f"{kind}:risk:{state.risk}"] if state.risk else []),
            ):
                expected[name][digest] = state.last_seen
    assert indexes(client, gateway) == expected
    assert not live.keys() & ended.keys()
    assert set(client.zrange(keys.ends, 0, -1)) == ended.keys()
    assert client.hgetall(keys.details).keys() <= live.keys() | ended.keys()
    scores = {str(state.risk) for state in (*live.values(), *ended.values()) if state.risk}
    assert scores <= client.smembers(keys.scores)


def device_counts(store: RealStore) -> dict[str, dict[str, int]]:
    return {row.name: row.counters for row in store.reader.snapshot().devices}
