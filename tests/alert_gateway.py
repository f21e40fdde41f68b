"""An engine of alerts with a simulated clock and tables as Redis would hold them."""

from __future__ import annotations

from typing import Any

from netify_agent.accounting.batch import Batch
from netify_agent.alerts.alert import Alert
from netify_agent.alerts.clock import RunClock
from netify_agent.alerts.engine import AlertEngine, Released
from netify_agent.alerts.rule import Facts
from netify_agent.alerts.state import Stored
from netify_agent.config.settings import parse

START_MS = 1_796_000_000_000
INTERVAL_MS = 15_000
PHONE = "notify: {phone: {type: ntfy, url: 'http://127.0.0.1/x'}}"
LAPTOP, TABLET = "02:00:00:00:00:01", "02:00:00:00:00:02"
BUSY = "alerts: {busy: {kind: rate, above: 1 Mbit/s, for: 1m}}"
NEW = "alerts: {new: {kind: new_device, resolve_after: 1h, learn: 0s}}\n" + PHONE


class Gateway:
    """An engine with a clock of its own, and tables as Redis would hold them."""

    def __init__(self, text: str, *, new: bool = False) -> None:
        self.text = text
        self.elapsed_s = 0.0
        self.tables: dict[str, dict[str, str]] = {"alerts": {}, "state": {}, "outbox": {}}
        self.sequence = 0 if new else 7
        self.devices: list[str] = []
        self.start()

    def start(self) -> list[str]:
        """Start the agent; returns the keys of notifications that are still to be sent."""
        self.engine = AlertEngine("gw1", RunClock(lambda: self.elapsed_s))
        self.configure(self.text)
        notifications, _ = self.engine.restore(Stored(**self.tables), self.sequence, self.devices)
        return [one.key for one in notifications]

    def configure(self, text: str) -> None:
        settings = parse(text, "f")
        self.engine.configure(settings.alerts, settings.notify, settings.calendar.calendar)

    @property
    def at_ms(self) -> int:
        return START_MS + int(self.elapsed_s * 1000)

    def evaluate(self, **facts: Any) -> None:
        self.elapsed_s += INTERVAL_MS / 1000
        rates = facts.pop("rates", {})
        devices = facts.pop("devices", [])
        self.devices = sorted({*self.devices, *devices})
        self.engine.evaluate(
            Facts(
                self.at_ms,
                batch=facts.pop("batch", Batch(0)),
                elapsed_ms=INTERVAL_MS,
                devices=devices,
                rates=lambda name: rates.get(name, ((0, 0), {})),
                moving=rates,
                **facts,
            )
        )

    def store(self) -> Released:
        """Redis takes the flush."""
        changes, replace = self.engine.changes(self.sequence + 1)
        if replace:
            self.tables = {"alerts": {}, "state": {}, "outbox": {}}
        for (table, name), value in changes.items():
            if value is None:
                self.tables[table].pop(name, None)
            else:
                self.tables[table][name] = value
        self.sequence += 1
        return self.engine.applied(self.sequence)

    def flush(self, **facts: Any) -> list[str]:
        """One flush; returns what was announced, as ``firing subject``."""
        self.evaluate(**facts)
        return [said(one) for one in self.store().alerts]


def said(alert: Alert) -> str:
    subject = (
        alert.device
        or alert.group
        or alert.application
        or alert.check
        or ("group" if alert.grouped else "gateway")
    )
    return f"{alert.status} {subject}"


def gateway_rate(up: int, down: int = 0) -> dict[str, Any]:
    return {"": ((up, down), {})}


def flushes(gateway: Gateway, count: int, **facts: Any) -> list[str]:
    return [line for _ in range(count) for line in gateway.flush(**facts)]
