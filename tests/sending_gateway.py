"""A gateway whose store the test fills, and which forwards when the test says so. No process of its own."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from collector_run import GATEWAYS, CollectorRun
from real_store import LAPTOP, NETFLIX, RealStore
from support import RedisServer

from netify_agent.alerts.alert import Alert, alert_id
from netify_agent.config.calendar import DAY_S
from netify_agent.config.settings import CalendarSettings, FleetSettings, RedisSettings, Settings
from netify_agent.daemon.forwarding import new_forwarder
from netify_agent.plans.standing import Standings
from netify_agent.store.client import connect
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import Keys
from netify_agent.store.summaries import Summaries


class SendingGateway:
    """Its clock is the test's, :attr:`at_s`: seconds since the epoch."""

    def __init__(
        self,
        directory: Path,
        redis_url: str,
        name: str,
        collector: CollectorRun,
        at_s: int | None = None,
        **settings: Any,
    ) -> None:
        """``at_s``: when the first flush is; None: early today."""
        at_s = int(time.time()) // DAY_S * DAY_S + 600 if at_s is None else at_s
        token = directory / f"token-of-{name}"
        token.write_text(GATEWAYS[name] + "\n")
        self.settings = Settings(
            gateway=name,
            redis=RedisSettings(url=redis_url),
            fleet=FleetSettings(url=collector.url, token_file=str(token), ca_file=collector.trusted),
            **{"calendar": CalendarSettings("UTC"), **settings},
        )
        steps = HistorySteps.of(self.settings.history, self.settings.calendar.calendar)
        self.name = name
        self.at_s = at_s
        self.store = RealStore(redis_url, name, history=steps, bucket=steps.bucket(at_s))
        self._steps = steps
        self._flows: set[str] = set()
        self.standings = Standings(0, 0)  # of the gateway's plans
        forwarder = new_forwarder(self.settings, steps, plans=lambda: self.standings)
        assert forwarder is not None
        self.forwarder = forwarder

    def move(
        self, up: int, down: int, device: str = LAPTOP, application: str = NETFLIX, after_s: int = 0
    ) -> None:
        """A flow moves bytes, and they are in the gateway's own store ``after_s`` seconds later."""
        self.at_s += after_s
        bucket = self._steps.bucket(self.at_s)
        if bucket != self.store.bucket:
            self.store.bucket = bucket  # of the flush after this one
            self.store.flush(at_ms=self.at_s * 1000, elapsed_ms=15_000)
        digest = f"{device}-{application}"
        records = [] if digest in self._flows else [self.store.netifyd.flow(digest, device, application)]
        self._flows.add(digest)
        records.append(self.store.netifyd.stats(digest, up, down))
        self.store.flush(*records, at_ms=self.at_s * 1000, elapsed_ms=15_000)

    def alert(self, name: str, severity: str, at_s: int, resolved_at_s: int | None = None) -> None:
        """Store an alert. It is forwarded with the next flush."""
        text, resolved = f"{{who}} is {name}", resolved_at_s and resolved_at_s * 1000
        one = Alert(
            alert_id(self.name, name, None, at_s), name, "rate", severity, text, at_s * 1000, resolved
        )
        self.store.client.hset(Keys(self.name).alerts, one.id, one.encode())

    def forward(self) -> None:
        """Send until the collector has everything."""
        while not self.forwarder.send():
            pass


def silence(redis: RedisServer, gateway: str, by_s: int = 3600) -> None:
    """Make the latest message of a gateway older, at a collector."""
    summaries = Summaries(connect(redis.url, None))
    summary = json.loads(summaries.read([gateway])[gateway])
    summary["received"] -= by_s * 1000
    summaries.put(gateway, json.dumps(summary))
