"""Connects alerts and plans to the rest of the daemon: flushes in; journal, API and receivers out.

The engine belongs to the writer's thread. Others read only what it has announced.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from netify_agent.accounting.batch import Batch
from netify_agent.alerts.alert import FIRING, Alert
from netify_agent.alerts.clock import RunClock
from netify_agent.alerts.delivery import Delivery
from netify_agent.alerts.engine import AlertEngine, Released
from netify_agent.alerts.receivers import senders_of
from netify_agent.alerts.receivers.sender import Sender
from netify_agent.alerts.rule import Facts
from netify_agent.alerts.state import Stored
from netify_agent.api.documents import rfc3339
from netify_agent.api.exposition import Exposition
from netify_agent.config.settings import Settings
from netify_agent.daemon.plan_metrics import expose_plans
from netify_agent.daemon.status import Status
from netify_agent.daemon.worker import Body, Worker
from netify_agent.enrich import Directory
from netify_agent.plans.meter import PlanMeter
from netify_agent.plans.standing import PlanStanding, Standings
from netify_agent.plans.thresholds import TABLE, Thresholds
from netify_agent.store.alert_store import AlertStore
from netify_agent.store.client import Client
from netify_agent.store.deltas import Change
from netify_agent.store.flush import Flush, FlushFacts, Restored
from netify_agent.store.history_reader import HistoryReader
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.reader import StoreReader
from netify_agent.store.rows import decode_rates
from netify_agent.store.transaction import Transaction
from netify_agent.store.unstored import Changes

log = logging.getLogger(__name__)

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}


class Alerting:
    """The alerts and plans of the daemon. It is the part of each flush that stores their state.

    :ivar workers: the threads of the receivers.
    """

    def __init__(
        self,
        settings: Settings,
        client: Client,
        reader: StoreReader,
        status: Status,
        directory: Callable[[], Directory],
        start: Callable[[str, Body], Worker],
        announce: Callable[[list[Alert]], None],
    ) -> None:
        """Starts nothing yet. Raises ConfigError if a secret can't be read.

        :param client: to Redis, of the writer; :param reader: reads the same store.
        :param directory: returns the names and groups of devices.
        :param start: starts a thread with this name and body.
        :param announce: called with alerts that fired or were resolved.
        """
        self._clock = RunClock()
        self._engine = AlertEngine(settings.gateway, self._clock)
        self._store = AlertStore(client, settings.gateway)
        steps = HistorySteps.of(settings.history, settings.calendar.calendar)
        history = HistoryReader(reader.client, settings.gateway, steps)
        self._meter = PlanMeter(reader, history, directory)
        self._thresholds = Thresholds()
        self._plans = settings.plans
        self._standings: Standings | None = None  # replaced, never changed
        self._gateway = settings.gateway
        self._status = status
        status.alerts, status.receivers = self.summary, self.document
        self._directory = directory
        self._start = start
        self._announce = announce
        self._deliveries: dict[str, Delivery] = {}
        self._threads: dict[str, Worker] = {}
        self._outcomes: deque[tuple[str, bool]] = deque()  # filled by the receivers' threads
        self._next: Settings | None = None  # to be used from the next evaluation on
        self._batch: Batch | None = None  # the latest that was evaluated
        self._changes: tuple[Changes, bool] = ({}, False)
        self._records: dict[str, int] = {}  # by endpoint, at the latest evaluation
        self._lost = 0
        self.change(settings, self.senders(settings))

    @property
    def workers(self) -> list[Worker]:
        """The threads of the receivers."""
        return list(self._threads.values())

    # -- configuration -------------------------------------------------------------------------------------

    def senders(self, settings: Settings) -> dict[str, Sender]:
        """The senders of a configuration. Raises ConfigError."""
        return senders_of(settings.notify, self._gateway, self.describe)

    def change(self, settings: Settings, senders: dict[str, Sender]) -> None:
        """Use other rules and receivers. Threads of receivers that were removed are asked to end."""
        for name in [name for name in self._threads if name not in senders]:
            self._threads.pop(name).stop(0)
            del self._deliveries[name]
        for name, sender in senders.items():
            give_up_after_s = settings.notify[name].give_up_after_s
            if name in self._deliveries:
                self._deliveries[name].replace_sender(sender, give_up_after_s)
                continue
            delivery = Delivery(
                *(name, sender, give_up_after_s, self._clock),
                firing=lambda name=name: self._firing(name),  # type: ignore[misc]
                on_done=lambda name, delivered: self._outcomes.append((name, delivered)),
            )
            self._deliveries[name] = delivery
            self._threads[name] = self._start(f"notify {name}", delivery.run)
        self._next = settings

    def ask_to_stop(self) -> None:
        """Ask the threads of all receivers to end."""
        for worker in self._threads.values():
            worker.ask_to_stop()

    def _firing(self, receiver: str) -> list[Alert]:
        return [
            one for one in self._engine.known_alerts if one.resolved_at is None and receiver in one.receivers
        ]

    # -- in the writer's thread ----------------------------------------------------------------------------

    def opened(self, restored: Restored) -> None:
        """Restore the stored state, after the store was opened. Raises StoreError."""
        tables = self._store.read()
        damaged_plans = self._thresholds.restore(tables.pop(TABLE))
        self._prepare()
        notifications, damaged = self._engine.restore(Stored(**tables), restored.sequence, restored.devices)
        damaged += damaged_plans
        if damaged:
            log.warning("%d damaged entries of alerts and plans in Redis are left out", damaged)
        self._pass_on(Released([], notifications))

    def begin(self, flush: Flush) -> None:
        """Prepare for a flush that is about to be written."""
        if flush.batch is not self._batch:
            self._prepare()
        self._meter.begin(flush)

    def add(self, change: Change) -> None:
        """Take the change of one device, or of the gateway, by this flush."""
        self._meter.add(change)

    def queue(self, pipe: Transaction, facts: FlushFacts) -> None:
        """Evaluate the rules, once for each batch, and store what changed."""
        flush = facts.flush
        if flush.batch is not self._batch:
            used = self._meter.used(facts.dropped)
            self._thresholds.evaluate(self._plans, used, flush.at_ms, facts.dropped)
            rates = lru_cache(maxsize=1)(lambda name: decode_rates(facts.rates.get(name)))
            self._engine.evaluate(
                Facts(
                    *(flush.at_ms, self._checks(), self._endpoints(), flush.batch, flush.elapsed_ms),
                    devices=facts.devices,
                    rates=rates,
                    moving=facts.rates,
                    groups=lru_cache(maxsize=None)(self._groups_of),
                    passed=self._thresholds.firing,
                    used=lambda plan, who: used[plan][1].get(who) if plan in used else None,
                )
            )
            self._batch = flush.batch
            changes, lost = self._engine.changes(flush.sequence)
            self._changes = {**changes, **self._thresholds.changes(everything=lost)}, lost
        changes, replace = self._changes
        self._store.queue(pipe, changes, replace=replace)

    def flushed(self, flush: Flush, forgotten: list[str]) -> None:
        """Announce the alerts of a flush that is in Redis now."""
        self._batch = None
        self._meter.applied(flush.sequence, forgotten)
        self._thresholds.stored()
        self._standings = Standings(
            flush.sequence,
            flush.at_ms,
            {
                name: PlanStanding(
                    *(name, self._plans[name], period, used),
                    {one: self._thresholds.passed(name, one, period) for one in self._plans[name].warn_at},
                )
                for name, (period, used) in self._meter.used().items()
            },
        )
        self._pass_on(self._engine.applied(flush.sequence, forgotten))

    def failed(self) -> None:
        """Evaluate the rules that need no flush, after a flush failed."""
        self._prepare()
        self._engine.evaluate(Facts(int(time.time() * 1000), self._checks(), self._endpoints()))
        self._pass_on(self._engine.release())

    def _prepare(self) -> None:
        """Apply the configuration and the delivery results that other threads left."""
        settings, self._next = self._next, None
        if settings is not None:
            self._engine.configure(settings.watched, settings.notify, settings.calendar.calendar)
            self._meter.configure(settings.plans)
            self._plans = settings.plans
        self._engine.take_outcomes([self._outcomes.popleft() for _ in range(len(self._outcomes))])

    def _checks(self) -> dict[str, str | None]:
        """The checks of the agent's health."""
        lost = self._status.writer.lost
        more, self._lost = lost - self._lost, lost
        found = self._status.checks(ask_redis=False)
        return {**found, "lost": f"Redis lost {more} flushes for good" if more else None}

    def _endpoints(self) -> dict[str, bool]:
        """Each endpoint with whether it sent records since the last call."""
        before = self._records
        self._records = {one.endpoint: one.records for one in self._status.listeners}
        return {name: count != before.get(name, 0) for name, count in self._records.items()}

    def _pass_on(self, released: Released) -> None:
        dropped, self._engine.dropped = self._engine.dropped, 0
        if dropped:
            log.error("%d notifications were dropped because too many wait for their receiver", dropped)
        cancelled, self._engine.cancelled = self._engine.cancelled, []
        for delivery in list(self._deliveries.values()):
            delivery.cancel(cancelled)
            delivery.put(one for one in released.notifications if one.receiver == delivery.name)
        for alert in released.alerts:
            level = _LEVELS[alert.severity] if alert.status == FIRING else logging.INFO
            log.log(level, "alert %s %s: %s", alert.name, alert.status, self.describe(alert))
        if released.alerts:
            self._announce(released.alerts)

    # -- for everybody -------------------------------------------------------------------------------------

    def describe(self, alert: Alert) -> str:
        """The text of an alert, with the name of its device."""
        return alert.summary(self._name_of)

    def _name_of(self, device: str) -> str | None:
        return self._directory().name(device, (), None)

    def _groups_of(self, device: str) -> list[str]:
        return self._directory().groups(device, (), self._name_of(device))

    def alerts(self) -> tuple[Alert, ...]:
        """All alerts that were announced, the latest first."""
        return self._engine.known_alerts

    def plans(self) -> Standings | None:
        """Return the state of the plans after the last flush of this process; None before the first."""
        return self._standings

    def summary(self) -> dict[str, int]:
        """``alerts`` of ``/status``."""
        active = sum(one.resolved_at is None for one in self._engine.known_alerts)
        return {"configured": len(self._status.settings.watched), "active": active}

    def document(self) -> list[dict[str, Any]]:
        """The receivers, for ``/status``."""
        return [
            {
                "name": one.name,
                "waiting": one.waiting,
                **vars(one.status),
                "last_sent": rfc3339(int(one.status.last_sent * 1000) or None),
            }
            for one in list(self._deliveries.values())
        ]

    def expose(self, out: Exposition) -> None:
        """Add the metrics. There are as many series as alerts and receivers in the configuration."""
        settings = self._status.settings.watched
        active = self._engine.active_by_rule()
        out.family(
            "netify_alert_active",
            "gauge",
            "Devices, applications or checks for which an alert fires; 0 if it does not.",
            [
                ({"alert": name, "severity": one.severity, "kind": one.kind}, active.get(name, 0))
                for name, one in settings.items()
            ],
        )
        expose_plans(out, self._standings, self._status.settings.metrics.devices)
        deliveries = list(self._deliveries.values())
        for name, help_text, field in (
            ("notifications_sent", "Notifications that a receiver took.", "sent"),
            ("notification_failures", "Failed attempts to send a notification.", "failures"),
            ("notifications_given_up", "Notifications that were never delivered.", "given_up"),
        ):
            out.family(
                f"netify_agent_{name}_total",
                "counter",
                help_text,
                [({"receiver": one.name}, getattr(one.status, field)) for one in deliveries],
            )
        out.family(
            "netify_agent_notifications_waiting",
            "gauge",
            "Notifications that wait for a receiver.",
            [({"receiver": one.name}, one.waiting) for one in deliveries],
        )
