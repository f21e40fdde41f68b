"""What must survive a restart: conditions, alerts, notifications, and which of these is not stored yet.

Memory is authoritative. Each flush stores the changes since the flush before, as absolute values: storing
them twice changes nothing. No I/O.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from netify_agent.alerts.alert import Alert, Notification
from netify_agent.store.unstored import Changes, UnstoredChanges

MAX_CONDITIONS = 20_000  # of all rules; 3 MB
MAX_RESOLVED = 500  # resolved alerts that are remembered
MAX_QUEUED = 1000  # notifications that wait for one receiver

ALERTS, STATE, OUTBOX = "alerts", "state", "outbox"  # names of the tables
_CLOCK, _BORN = "clock", "born"  # of the table STATE; other fields have a colon


@dataclass(frozen=True)
class Stored:
    """The tables as Redis holds them, by field."""

    alerts: Mapping[str, str] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    outbox: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Condition:
    """A subject for which the condition of a rule holds or held. Times are the run clock, milliseconds.

    :ivar since: since when it has held.
    :ivar clear_since: since when it has not held; None: it holds.
    :ivar alert: id of the alert that fires for it; None before that.
    """

    since: int
    clear_since: int | None = None
    alert: str | None = None


class AlertState:
    """Conditions by rule and subject, alerts by id, notifications by name. Each setter notes the change.

    :ivar born: run clock when the store was new; None: it was not new when alerts were configured.
    :ivar members: number of conditions of each alert.
    """

    def __init__(self) -> None:
        self.born: int | None = None
        self.members: Counter[str] = Counter()
        self.alerts: dict[str, Alert] = {}
        self.queued: dict[str, Notification] = {}
        self._conditions: dict[str, dict[str, Condition]] = {}
        self._count = 0
        self._dirty = UnstoredChanges()

    def restore(self, stored: Stored, clock_ms: int) -> int:
        """Add the stored state to what was found since the start. Damaged entries are left out.

        :param clock_ms: the run clock of the stored state.
        :returns: number of damaged entries.
        """
        early = [(name, subject, one) for name, subject, one in self.conditions()]
        early_alerts, early_queued = self.alerts, self.queued
        damaged = 0
        self.alerts, self.queued, self._conditions, self._count = {}, {}, {}, 0
        self.members.clear()
        self.born = _number(stored.state.get(_BORN))
        for name, text in stored.alerts.items():
            try:
                self.alerts[name] = Alert.decode(text)
            except (ValueError, TypeError):
                damaged += 1
                self._dirty[ALERTS, name] = None
        for name, text in stored.state.items():
            rule, colon, subject = name.partition(":")
            if colon:
                try:
                    self._add(rule, subject, _decode_condition(text, self.alerts))
                except (ValueError, TypeError):
                    damaged += 1
                    self._dirty[STATE, name] = None
        for name, text in stored.outbox.items():
            try:
                self.queued[name] = Notification.decode(name, text)
            except (ValueError, TypeError):
                damaged += 1
                self._dirty[OUTBOX, name] = None
        self.queued = dict(sorted(self.queued.items(), key=lambda item: item[1].queued))
        self.alerts = dict(sorted(self.alerts.items(), key=lambda item: item[1].started_at))
        for alert in [one for one in self.alerts.values() if one.resolved_at is None]:
            if not self.members[alert.id]:  # its condition was damaged
                self.set_alert(replace(alert, resolved_at=alert.started_at))
        for rule, subject, condition in early:
            if self.condition(rule, subject) is None:
                moved = replace(condition, since=condition.since + clock_ms)
                if condition.clear_since is not None:
                    moved = replace(moved, clear_since=condition.clear_since + clock_ms)
                self.set_condition(rule, subject, moved)
        for alert in early_alerts.values():
            if self.members[alert.id] or alert.resolved_at is not None:
                self.set_alert(alert)  # else the stored alert about the same goes on in its place
        for notification in early_queued.values():
            self.queue(replace(notification, queued=notification.queued + clock_ms))
        return damaged

    # -- conditions ----------------------------------------------------------------------------------------

    def conditions(self) -> Iterator[tuple[str, str, Condition]]:
        """Rule, subject and condition of all, as they are now."""
        for rule, conditions in list(self._conditions.items()):
            for subject, condition in list(conditions.items()):
                yield rule, subject, condition

    def rules(self) -> list[str]:
        """Rules that have conditions."""
        return [rule for rule, conditions in self._conditions.items() if conditions]

    def conditions_of(self, rule: str) -> Mapping[str, Condition]:
        """Conditions of one rule by subject."""
        return self._conditions.get(rule, {})

    def condition(self, rule: str, subject: str) -> Condition | None:
        """One condition."""
        return self._conditions.get(rule, {}).get(subject)

    @property
    def full(self) -> bool:
        """Whether no other condition can be added."""
        return self._count >= MAX_CONDITIONS

    def set_condition(self, rule: str, subject: str, condition: Condition | None) -> None:
        """Add, replace or (None) remove a condition."""
        before = self._conditions.get(rule, {}).pop(subject, None)
        if before is not None:
            self._count -= 1
            if before.alert is not None:
                self.members[before.alert] -= 1
        name = f"{rule}:{subject}"
        if condition is None:
            self._dirty[STATE, name] = None
            return
        self._add(rule, subject, condition)
        times = condition.since, condition.clear_since, condition.alert
        self._dirty[STATE, name] = json.dumps(times, separators=(",", ":"))

    def _add(self, rule: str, subject: str, condition: Condition) -> None:
        self._conditions.setdefault(rule, {})[subject] = condition
        self._count += 1
        if condition.alert is not None:
            self.members[condition.alert] += 1

    # -- alerts and notifications --------------------------------------------------------------------------

    def set_alert(self, alert: Alert) -> list[str]:
        """Add or replace an alert; returns the ids of resolved ones that were forgotten for it."""
        self.alerts[alert.id] = alert
        self._dirty[ALERTS, alert.id] = alert.encode()
        if alert.resolved_at is None:
            return []
        self.members.pop(alert.id, None)
        resolved = [one.id for one in self.alerts.values() if one.resolved_at is not None]
        forgotten = resolved[: max(len(resolved) - MAX_RESOLVED, 0)]
        for name in forgotten:
            del self.alerts[name]
            self._dirty[ALERTS, name] = None
        return forgotten

    def queue(self, notification: Notification) -> Notification | None:
        """Add a notification; returns the oldest one of the receiver if it had to make room."""
        same = [one for one in self.queued.values() if one.receiver == notification.receiver]
        oldest = same[0] if len(same) >= MAX_QUEUED else None
        if oldest is not None:
            self.unqueue(oldest.name)
        self.queued[notification.name] = notification
        self._dirty[OUTBOX, notification.name] = notification.encode()
        return oldest

    def unqueue(self, name: str) -> bool:
        """Remove a notification; returns whether there was one."""
        found = self.queued.pop(name, None) is not None
        if found:
            self._dirty[OUTBOX, name] = None
        return found

    # -- storing -------------------------------------------------------------------------------------------

    def changes(self, clock_ms: int, *, clock: bool) -> Changes:
        """Return the changes that the next flush must store.

        :param clock: whether to store the clock although nothing else changed.
        """
        if clock or self._dirty:
            self._dirty[STATE, _CLOCK] = str(clock_ms)
            if self.born is not None:
                self._dirty[STATE, _BORN] = str(self.born)
        return self._dirty.take()

    def stored(self) -> None:
        """The latest result of :meth:`changes` is in Redis."""
        self._dirty.stored()

    def rewrite(self) -> None:
        """Note everything as a change, because Redis lost the tables."""
        for alert in self.alerts.values():
            self._dirty[ALERTS, alert.id] = alert.encode()
        for rule, subject, condition in self.conditions():
            self.set_condition(rule, subject, condition)
        for notification in self.queued.values():
            self._dirty[OUTBOX, notification.name] = notification.encode()


def clock_of(stored: Stored) -> int:
    """The run clock at the flush that stored this, milliseconds; 0 if nothing was."""
    return _number(stored.state.get(_CLOCK)) or 0


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else None


def _decode_condition(text: str, alerts: Mapping[str, Alert]) -> Condition:
    """Raises ValueError or TypeError."""
    since, clear_since, alert = json.loads(text)
    if type(since) is not int or type(clear_since) not in (int, type(None)):
        raise ValueError("not a condition")
    if alert is not None and (alert not in alerts or alerts[alert].resolved_at is not None):
        raise ValueError("its alert is missing")
    return Condition(since, clear_since, alert)
