"""A gateway with plans: the real accountant, store and alerting, flushed in the caller's thread."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import redis
from real_store import RealStore, Record

from netify_agent.accounting.accountant import Accountant
from netify_agent.alerts.alert import Alert
from netify_agent.api.period_usage import PeriodUsage, Selection
from netify_agent.config.calendar import Period
from netify_agent.config.settings import Settings, parse
from netify_agent.daemon.alerting import Alerting
from netify_agent.daemon.status import Status
from netify_agent.enrich import Directory
from netify_agent.plans.meter import amount
from netify_agent.plans.standing import PlanStanding
from netify_agent.store.client import connect
from netify_agent.store.flusher import FlusherStatus
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.reader import StoreReader

GATEWAY = "gw-plans"


def in_zone(zone: str, *moment: int) -> int:
    """A moment on the clock of a zone, in seconds since the epoch."""
    return int(datetime(*moment, tzinfo=ZoneInfo(zone)).timestamp())  # type: ignore[misc, arg-type]


class PlanGateway:
    """One gateway in an empty store.

    :ivar said: alerts that were announced, as ``firing <name> <device>``.
    """

    def __init__(self, url: str, path: Path, text: str, at: int) -> None:
        """Start an agent at ``at``, seconds since the epoch."""
        client = connect(url, None)
        for key in client.scan_iter(f"netify:{{{GATEWAY}}}:*", count=1000):
            client.delete(key)
        self.url = url
        self.said: list[str] = []
        self.settings = self.parsed(text)
        self.set_steps()
        self.directory = Directory(
            vendors=str(path),
            hosts=[],
            leases=[],
            reverse_dns=False,
            categories=str(path / "categories.json"),
        )
        self.start(at)

    def set_steps(self) -> None:
        """Take over the history and the calendar of the settings, for the next start."""
        self.steps = HistorySteps.of(self.settings.history, self.settings.calendar.calendar)

    def parsed(self, text: str) -> Settings:
        return parse(f"gateway: {GATEWAY}\n{text}", "f.yaml")

    def start(self, at: int) -> None:
        """Start an agent at ``at``, seconds since the epoch."""
        self.directory.configure(self.settings.devices.names, self.settings.groups)
        reader = StoreReader(connect(self.url, None), GATEWAY)
        status = Status(self.settings, FlusherStatus(), Accountant(1000), reader)
        self.alerting = Alerting(
            *(self.settings, connect(self.url, None), reader, status),
            directory=lambda: self.directory,
            start=lambda name, body: None,  # type: ignore[arg-type, return-value]
            announce=self._announced,
        )
        self.store = RealStore(
            self.url, GATEWAY, history=self.steps, part=self.alerting, bucket=self.steps.bucket(at)
        )
        self.store.on_flush = lambda flush: self.alerting.flushed(flush, self.store.writer.dropped_devices())
        self.alerting.opened(self.store.restored)

    def kill(self) -> None:
        """Kill the agent with ``SIGKILL`` and start another one."""
        netifyd, at_ms = self.store.netifyd, self.store.at_ms
        self.start(at_ms // 1000)
        self.store.netifyd, self.store.at_ms = netifyd, at_ms

    def saved(self) -> dict[bytes, bytes]:
        """All keys of the gateway."""
        raw = redis.Redis.from_url(self.url)
        return {key: raw.dump(key) for key in raw.scan_iter(f"netify:{{{GATEWAY}}}:*", count=1000)}

    def lose(self, saved: dict[bytes, bytes]) -> None:
        """Redis lost the flushes since :meth:`saved`, and the agent can't repeat them."""
        raw = redis.Redis.from_url(self.url)
        raw.delete(*raw.scan_iter(f"netify:{{{GATEWAY}}}:*", count=1000))
        for key, data in saved.items():
            raw.restore(key, 0, data)
        self.store.sequence = self.store.reader.last_flush().sequence

    def configure(self, text: str) -> None:
        """Reload another configuration."""
        self.settings = self.parsed(text)
        self.directory.configure(self.settings.devices.names, self.settings.groups)
        self.alerting.change(self.settings, {})

    def flush(self, at: int, *records: Record) -> None:
        """A flush at ``at``, seconds since the epoch, of what passed since the flush before."""
        self.store.bucket = self.steps.bucket(at)
        self.store.flush(*records, at_ms=at * 1000)

    def _announced(self, alerts: list[Alert]) -> None:
        self.said += [f"{one.status} {one.name} {one.device or one.group or ''}".rstrip() for one in alerts]

    def new(self) -> list[str]:
        """What was announced since the last call."""
        said, self.said = self.said, []
        return said

    def plan(self, name: str) -> PlanStanding:
        standings = self.alerting.plans()
        assert standings is not None
        return standings.plans[name]

    def used(self, name: str) -> dict[str, int]:
        return dict(self.plan(name).used)

    def by_usage(self, name: str, period: Period) -> dict[str, int]:
        """The figures of a plan as ``/usage`` makes them."""
        plan = self.settings.plans[name]
        known = self.store.reader.known()
        usage = PeriodUsage(self.store.history, self.directory, known.categories)
        group = plan.group and plan.group.name
        devices = [
            one
            for one in known.devices
            if plan.device in (None, "each", one)
            and (group is None or group in self.directory.groups(one, (), None))
        ]
        whole = plan.device is None and group is None
        selection = Selection(devices, whole, plan.application)

        def used(one: Selection) -> int:
            found = usage.read(one, "category" if plan.category else "application", period, known.flush)
            share = found.rows.get(plan.category) if plan.category else found.total
            return amount(plan, share) if share else 0

        if plan.device == "each":
            rows = {device: used(Selection([device], False, plan.application)) for device in devices}
            return {device: count for device, count in rows.items() if count}
        return {group or plan.device or "": used(selection)}
