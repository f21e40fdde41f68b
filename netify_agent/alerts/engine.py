"""Turns what rules find into alerts that fire once and resolve once. No I/O.

An alert fires when the condition of its rule has held for a subject for the time that the rule sets, and
resolves when it has not held for another such time. Subjects above :data:`GROUP_FROM` at a time share one
alert with a count. Alerts that depend on a flush are announced when Redis holds that flush; those about the
agent's health also without Redis.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from netify_agent.alerts.alert import Alert, Notification, alert_id, notification_name
from netify_agent.alerts.clock import RunClock
from netify_agent.alerts.quiet import quiet_until
from netify_agent.alerts.rule import Facts, Rule
from netify_agent.alerts.rules import rule_of
from netify_agent.alerts.state import AlertState, Condition, Stored, clock_of
from netify_agent.config import alerts as config
from netify_agent.config.calendar import Calendar
from netify_agent.config.notify import Receivers
from netify_agent.store.unstored import Changes

GROUP_FROM = 10  # alerts of one rule that fire at a time for one subject each


@dataclass(frozen=True)
class Released:
    """What may be announced.

    :ivar alerts: alerts that fired or were resolved, in that order.
    :ivar notifications: to be sent.
    """

    alerts: list[Alert]
    notifications: list[Notification]


@dataclass(frozen=True)
class _Announcement:
    alert: Alert
    notifications: list[Notification]
    needs_flush: bool


class AlertEngine:
    """The alerts of one gateway. All methods belong to one thread, but :attr:`known_alerts` to any.

    :ivar known_alerts: all alerts that were announced, the latest first. Replaced, never changed.
    :ivar cancelled: names of notifications that must not be sent any more; the caller empties it.
    :ivar dropped: number of notifications dropped because too many waited.
    """

    def __init__(self, gateway: str, clock: RunClock) -> None:
        self.known_alerts: tuple[Alert, ...] = ()
        self.cancelled: list[str] = []
        self.dropped = 0
        self._gateway = gateway
        self._clock = clock
        self._rules: dict[str, Rule] = {}
        self._receivers: Receivers = {}
        self._calendar = Calendar()
        self._state = AlertState()
        self._announced: dict[str, Alert] = {}
        self._waiting: list[_Announcement] = []
        self._groups: dict[str, str] = {}  # rule to its grouped alert
        self._devices: set[str] = set()
        self._evaluated = clock.ms  # the run clock at the latest evaluation
        self._sequence = 0  # of the last flush in Redis
        self._reconfigured = False  # rules or receivers changed since the latest evaluation

    def configure(self, alerts: config.Alerts, receivers: Receivers, calendar: Calendar) -> None:
        """Use other rules from the next evaluation on. Alerts of removed rules are resolved then."""
        self._rules = {name: rule_of(one) for name, one in alerts.items()}
        self._receivers = receivers
        self._calendar = calendar
        self._reconfigured = True

    def restore(
        self, stored: Stored, sequence: int, devices: Iterable[str]
    ) -> tuple[list[Notification], int]:
        """Continue from the stored state.

        :param sequence: number of the last flush in Redis; 0: the store is new.
        :param devices: devices that it has.
        :returns: notifications to be sent, and the number of damaged entries, which are left out.
        """
        early = set(self._state.queued)
        before = clock_of(stored)
        self._clock.resume(before)
        self._evaluated += before
        damaged = self._state.restore(stored, before)
        if sequence == 0:
            self._state.born = self._clock.ms
        self._sequence = sequence
        self._devices.update(devices)
        self._groups = {
            one.name: one.id for one in self._state.alerts.values() if one.grouped and one.resolved_at is None
        }
        self._announced = dict(self._state.alerts)
        self._publish()
        self._reconfigured = True
        queued = [one for name, one in self._state.queued.items() if name not in early]
        return [one for one in queued if self._is_wanted(one)], damaged

    def _is_wanted(self, notification: Notification) -> bool:
        """Whether its receiver is configured; otherwise it is dropped."""
        if notification.receiver in self._receivers:
            return True
        self._state.unqueue(notification.name)
        return False

    # -- evaluation ----------------------------------------------------------------------------------------

    def evaluate(self, facts: Facts) -> None:
        """Evaluate the rules that ``facts`` suffice for. With a flush, call it once for each."""
        now = self._clock.ms
        born = self._state.born
        facts = replace(
            facts,
            new_devices=[device for device in facts.devices if device not in self._devices],
            store_age_s=None if born is None else (now - born) // 1000,
        )
        self._devices.update(facts.devices)
        if self._reconfigured:
            self._reconfigured = False
            self._tidy(facts.at_ms)
        for name, rule in self._rules.items():
            if facts.batch is not None or not rule.needs_flush:
                began = now - facts.elapsed_ms if rule.needs_flush else self._evaluated
                self._apply(name, rule, facts, began, now)
        self._evaluated = now

    def _tidy(self, at_ms: int) -> None:
        """Resolve the alerts of removed rules, drop the notifications for removed receivers."""
        for name in self._state.rules():
            if not self._is_current(name):
                for subject in list(self._state.conditions_of(name)):
                    self._clear(name, subject, at_ms, needs_flush=False)
        for notification in list(self._state.queued.values()):
            self._is_wanted(notification)

    def _is_current(self, name: str) -> bool:
        """Whether the rule of a condition is configured, and of the kind that its alerts have."""
        rule = self._rules.get(name)
        if rule is None:
            return False
        ids = {one.alert for one in self._state.conditions_of(name).values() if one.alert is not None}
        return all(self._state.alerts[one].kind == rule.settings.kind for one in ids)

    def _apply(self, name: str, rule: Rule, facts: Facts, began: int, now: int) -> None:
        """Compare what ``rule`` finds with its conditions. ``began``: start of what was observed."""
        state, found = self._state, rule.find(facts)
        due = []
        for subject, value in found.breaching.items():
            condition = state.condition(name, subject)
            if condition is None:
                if state.full:
                    continue
                condition = Condition(began)
                state.set_condition(name, subject, condition)
            elif condition.clear_since is not None:
                condition = replace(condition, clear_since=None)
                state.set_condition(name, subject, condition)
            if condition.alert is None and now - condition.since >= rule.times(subject)[0] * 1000:
                due.append((subject, value))
        for subject, condition in list(state.conditions_of(name).items()):
            if subject in found.breaching:
                continue
            if condition.alert is None:
                state.set_condition(name, subject, None)
            elif subject in found.holding:
                if condition.clear_since is not None:
                    state.set_condition(name, subject, replace(condition, clear_since=None))
            else:
                since = began if condition.clear_since is None else condition.clear_since
                if now - since >= rule.times(subject)[1] * 1000:
                    self._clear(name, subject, facts.at_ms, rule.needs_flush)
                elif condition.clear_since is None:
                    state.set_condition(name, subject, replace(condition, clear_since=since))
        if due:
            self._fire(name, rule, due, facts)

    def _fire(self, name: str, rule: Rule, due: list[tuple[str, int | None]], facts: Facts) -> None:
        group = self._groups.get(name)
        alone = sum(
            1
            for one in self._state.conditions_of(name).values()
            if one.alert is not None and one.alert != group
        )
        if alone + len(due) > GROUP_FROM:
            self._group(name, rule, [subject for subject, _ in due], facts)
            return
        for subject, value in due:
            alert = replace(
                self._new(name, rule, subject, rule.text(subject, value, facts), facts),
                **rule.parts(subject)._asdict(),
                value=value,
            )
            self._attach(name, subject, alert.id)
            self._announce(alert, rule.needs_flush)

    def _group(self, name: str, rule: Rule, subjects: list[str], facts: Facts) -> None:
        """Add subjects to the grouped alert of a rule."""
        known = self._state.alerts.get(self._groups.get(name, ""))
        alert = known or replace(self._new(name, rule, None, rule.group_text(), facts), grouped=True)
        self._groups[name] = alert.id
        for subject in subjects:
            self._attach(name, subject, alert.id)
        alert = replace(alert, count=max(alert.count, self._state.members[alert.id]))
        if known is None:
            self._announce(alert, rule.needs_flush)
        else:
            self._state.set_alert(alert)
            self._waiting.append(_Announcement(alert, [], rule.needs_flush))

    def _attach(self, name: str, subject: str, alert: str) -> None:
        condition = self._state.condition(name, subject)
        assert condition is not None
        self._state.set_condition(name, subject, replace(condition, alert=alert))

    def _new(self, name: str, rule: Rule, subject: str | None, text: str, facts: Facts) -> Alert:
        settings, at_ms = rule.settings, facts.at_ms
        named = None if settings.notify is None else [one.name for one in settings.notify]
        return Alert(
            alert_id(self._gateway, name, subject, at_ms),
            *(name, settings.kind, settings.severity, text, at_ms),
            held_until=quiet_until(settings.quiet, self._calendar, at_ms),
            receivers=tuple(one for one in self._receivers if named is None or one in named),
        )

    def _clear(self, name: str, subject: str, at_ms: int, needs_flush: bool) -> None:
        """Remove a condition. Its alert is resolved if there is no other condition of it."""
        condition = self._state.condition(name, subject)
        self._state.set_condition(name, subject, None)
        if condition is None or condition.alert is None or self._state.members[condition.alert]:
            return
        if self._groups.get(name) == condition.alert:
            del self._groups[name]
        alert = self._state.alerts[condition.alert]
        self._announce(replace(alert, resolved_at=max(at_ms, alert.started_at)), needs_flush)

    # -- announcing ----------------------------------------------------------------------------------------

    def _announce(self, alert: Alert, needs_flush: bool) -> None:
        for forgotten in self._state.set_alert(alert):
            self._announced.pop(forgotten, None)
        notifications = []
        was_held = alert.resolved_at is not None and alert.held_until > alert.resolved_at
        for receiver in alert.receivers:
            settings = self._receivers.get(receiver)
            name = Notification(receiver, replace(alert, resolved_at=None), 0).name
            if was_held and self._state.unqueue(name):
                self.cancelled.append(name)
            elif settings is not None and (alert.resolved_at is None or settings.sends_resolved):
                notifications.append(self._queue(receiver, alert))
        self._waiting.append(_Announcement(alert, notifications, needs_flush))

    def _queue(self, receiver: str, alert: Alert) -> Notification:
        hold = alert.held_until
        if alert.resolved_at is not None:
            rule = self._rules.get(alert.name)
            quiet = rule.settings.quiet if rule else None
            hold = quiet_until(quiet, self._calendar, alert.resolved_at)
        notification = Notification(receiver, alert, self._clock.ms, hold)
        oldest = self._state.queue(notification)
        if oldest is not None:
            self.dropped += 1
            self.cancelled.append(oldest.name)
            self._note(oldest, delivered=False)
        return notification

    def release(self) -> Released:
        """Return what may be announced without a flush, because it does not depend on one."""
        return self._release([one for one in self._waiting if not one.needs_flush])

    def changes(self, sequence: int) -> tuple[Changes, bool]:
        """Return the changes for flush ``sequence`` to store, and whether Redis lost the earlier ones."""
        lost = sequence != self._sequence + 1
        if lost:
            self._state.rewrite()
        return self._state.changes(self._clock.ms, clock=bool(self._rules)), lost

    def applied(self, sequence: int, forgotten: Collection[str] = ()) -> Released:
        """Note that flush ``sequence`` is in Redis; returns what may be announced now.

        :param forgotten: devices that it dropped.
        """
        self._sequence = sequence
        self._devices.difference_update(forgotten)
        self._state.stored()
        return self._release(self._waiting)

    def take_outcomes(self, outcomes: Collection[tuple[str, bool]]) -> None:
        """Record that notifications, by name, were delivered (True) or given up (False)."""
        for name, delivered in outcomes:
            notification = self._state.queued.get(name)
            self._state.unqueue(name)
            if notification is not None:
                self._note(notification, delivered=delivered)
        if outcomes:
            self._publish()

    def _note(self, notification: Notification, *, delivered: bool) -> None:
        """Record the outcome of a notification in its alert."""
        alert = self._state.alerts.get(notification.alert.id)
        if alert is None:
            return
        one = notification_name(notification.receiver, notification.alert.status)
        sent, failed = (*alert.sent, one), (*alert.failed, one)
        alert = replace(alert, sent=sent) if delivered else replace(alert, failed=failed)
        self._state.set_alert(alert)
        if alert.id in self._announced:
            self._announced[alert.id] = self._with_outcomes(self._announced[alert.id])

    def _with_outcomes(self, announced: Alert) -> Alert:
        """Return the alert with the outcomes of its notifications since."""
        alert = self._state.alerts.get(announced.id, announced)
        return replace(announced, sent=alert.sent, failed=alert.failed)

    def _release(self, announcements: list[_Announcement]) -> Released:
        released = Released([], [])
        for one in announcements:
            before = self._announced.get(one.alert.id)
            self._announced[one.alert.id] = self._with_outcomes(one.alert)
            if before is None or before.status != one.alert.status:
                released.alerts.append(one.alert)
            released.notifications.extend(
                each for each in one.notifications if each.name in self._state.queued
            )
        if announcements:
            self._waiting = [one for one in self._waiting if one not in announcements]
            self._announced = {
                name: one for name, one in self._announced.items() if name in self._state.alerts
            }
            self._publish()
        return released

    def _publish(self) -> None:
        self.known_alerts = tuple(
            sorted(self._announced.values(), key=lambda one: (-one.started_at, one.name, one.id))
        )

    def active_by_rule(self) -> Mapping[str, int]:
        """Number of subjects with a firing alert, by rule, of all rules that are configured."""
        counts = dict.fromkeys(self._rules, 0)
        for alert in self.known_alerts:
            if alert.resolved_at is None and alert.name in counts:
                counts[alert.name] += alert.count
        return counts
