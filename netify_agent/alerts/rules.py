"""The kinds of alert rules: each finds, in facts, the subjects for which it alerts. No I/O, no state.

To add a kind, write a class with the members of :class:`~netify_agent.alerts.rule.Rule`, and add it to
:func:`rule_of`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netify_agent.accounting.capture_points import LEFT_OUT
from netify_agent.alerts.alert import COUNT, WHO
from netify_agent.alerts.rule import Facts, Found, Pair, Rule, Subject
from netify_agent.config.alerts import (
    EACH,
    NETIFYD,
    Alert,
    HealthAlert,
    NewDeviceAlert,
    RateAlert,
    RiskAlert,
    SilentAlert,
)
from netify_agent.config.plans import PlanAlert
from netify_agent.netifyd.flow_record import OTHER_DEVICE

LOST_FOR_S = 3600  # how long an alert about lost flushes lasts
_CLEAR_PERCENT = 90  # a rate alert resolves below this part of its bound


@dataclass(frozen=True)
class RateRule:
    """A rate above a bound."""

    settings: RateAlert
    needs_flush = True

    def find(self, facts: Facts) -> Found:
        """Compare the rates of each subject with the bound."""
        found = Found()
        above = self.settings.above
        for subject, pair in self._rates(facts):
            rate = self._chosen(pair)
            if rate > above:
                found.breaching[subject] = rate
            elif rate * 100 > above * _CLEAR_PERCENT:
                found.holding.add(subject)
        return found

    def _rates(self, facts: Facts) -> Iterable[tuple[str, Pair]]:
        device, application = self.settings.device, self.settings.application
        if self.settings.group is not None and device is None:
            yield from _rates_of_groups(facts, self.settings.group.name, application)
            return
        for owner in self._each_device(facts) if device == EACH else (device or "",):
            total, by_application = facts.rates(owner)
            if application == EACH:
                yield from by_application.items()
            else:
                yield owner, total if application is None else by_application.get(application, (0, 0))

    def _each_device(self, facts: Facts) -> Iterable[str]:
        """The devices that are watched one by one: all of them, or those of a group."""
        group = self.settings.group
        return (one for one in _single_devices(facts) if group is None or group.name in facts.groups(one))

    def _chosen(self, pair: Pair) -> int:
        return {"both": sum(pair), "up": pair[0], "down": pair[1]}[self.settings.direction]

    def times(self, subject: str) -> tuple[int, int]:
        """The configured time for both, so that a rate around the bound changes nothing."""
        return self.settings.for_s, self.settings.for_s

    def parts(self, subject: str) -> Subject:
        """A device, a group or an application, as configured."""
        device, group, application = self.settings.device, self.settings.group, self.settings.application
        if application == EACH:
            return Subject(device, subject, group=group.name if group else None)
        if group is not None and device is None:
            return Subject(None, application, group=subject)
        return Subject(subject if device == EACH else device, application)

    def text(self, subject: str, value: int | None, facts: Facts) -> str:
        """The rate and the bound."""
        return f"{WHO}: {spell_rate(value or 0)}{self._direction()}, above {self._bound()}"

    def group_text(self) -> str:
        """The bound."""
        of = "groups" if self.settings.group is not None and self.settings.device is None else "devices"
        of = "applications" if self.settings.application == EACH else of
        return f"{COUNT} {of} above {self._bound()}{self._direction()}"

    def _direction(self) -> str:
        return "" if self.settings.direction == "both" else f" {self.settings.direction}"

    def _bound(self) -> str:
        return f"{spell_rate(self.settings.above)} for {spell_time(self.settings.for_s)}"


@dataclass(frozen=True)
class NewDeviceRule:
    """A device that was not known."""

    settings: NewDeviceAlert
    needs_flush = True

    def find(self, facts: Facts) -> Found:
        """The new devices of the flush, unless the store is still learning them."""
        if facts.store_age_s is not None and facts.store_age_s < self.settings.learn_s:
            return Found()
        return Found({device: None for device in facts.new_devices if device != OTHER_DEVICE})

    def times(self, subject: str) -> tuple[int, int]:
        """Fires at once."""
        return 0, self.settings.resolve_after_s

    def parts(self, subject: str) -> Subject:
        """A device."""
        return Subject(subject)

    def text(self, subject: str, value: int | None, facts: Facts) -> str:
        """The device."""
        return f"new device: {WHO}"

    def group_text(self) -> str:
        """Their number."""
        return f"{COUNT} new devices"


@dataclass(frozen=True)
class SilentDeviceRule:
    """No record of one device."""

    settings: SilentAlert
    needs_flush = True

    def find(self, facts: Facts) -> Found:
        """The device, if the flush has no record of it."""
        device = self.settings.device
        return Found({} if device in facts.devices else {device: None})

    def times(self, subject: str) -> tuple[int, int]:
        """Resolves with the first record."""
        return self.settings.for_s, 0

    def parts(self, subject: str) -> Subject:
        """The device."""
        return Subject(subject)

    def text(self, subject: str, value: int | None, facts: Facts) -> str:
        """How long."""
        return f"{WHO}: no traffic for {spell_time(self.settings.for_s)}"

    def group_text(self) -> str:
        """Not needed: there is one subject."""
        return f"{COUNT} silent devices"


@dataclass(frozen=True)
class SilentNetifydRule:
    """No record from an endpoint of netifyd."""

    settings: SilentAlert
    needs_flush = False

    def find(self, facts: Facts) -> Found:
        """The endpoints that sent nothing since the last evaluation."""
        return Found({endpoint: None for endpoint, heard in facts.endpoints.items() if not heard})

    def times(self, subject: str) -> tuple[int, int]:
        """Resolves with the first record."""
        return self.settings.for_s, 0

    def parts(self, subject: str) -> Subject:
        """The endpoint."""
        return Subject(check=subject)

    def text(self, subject: str, value: int | None, facts: Facts) -> str:
        """How long."""
        return f"netifyd at {WHO}: no record for {spell_time(self.settings.for_s)}"

    def group_text(self) -> str:
        """Their number."""
        return f"{COUNT} endpoints of netifyd without records"


@dataclass(frozen=True)
class RiskRule:
    """A device with a risky flow."""

    settings: RiskAlert
    needs_flush = True

    def find(self, facts: Facts) -> Found:
        """The devices of such flows in the flush, with the highest score of each."""
        found = Found()
        if facts.batch is None:
            return found
        least = self.settings.score
        for flows in (facts.batch.flows, facts.batch.ended):
            for state in flows.values():
                if state is not None and state.risk >= least and state.capture != LEFT_OUT:
                    device = state.key.device or (state.peer and state.peer.device) or ""
                    found.breaching[device] = max(found.breaching.get(device) or 0, state.risk)
        return found

    def times(self, subject: str) -> tuple[int, int]:
        """Fires at once."""
        return 0, self.settings.resolve_after_s

    def parts(self, subject: str) -> Subject:
        """The device, if the flow belongs to one."""
        return Subject(subject or None)

    def text(self, subject: str, value: int | None, facts: Facts) -> str:
        """The score."""
        return f"{WHO}: a flow with risk score {value}"

    def group_text(self) -> str:
        """Their number, and the score."""
        return f"{COUNT} devices with flows of risk score {self.settings.score} or more"


@dataclass(frozen=True)
class HealthRule:
    """A check of the agent itself."""

    settings: HealthAlert
    needs_flush = False

    def find(self, facts: Facts) -> Found:
        """The checks that fail."""
        return Found({name: None for name in self.settings.checks if facts.checks.get(name)})

    def times(self, subject: str) -> tuple[int, int]:
        """The configured time for both; lost flushes fire at once."""
        return (0, LOST_FOR_S) if subject == "lost" else (self.settings.for_s, self.settings.for_s)

    def parts(self, subject: str) -> Subject:
        """The name of the check."""
        return Subject(check=subject)

    def text(self, subject: str, value: int | None, facts: Facts) -> str:
        """What is wrong."""
        return f"{WHO}: {facts.checks.get(subject)}"

    def group_text(self) -> str:
        """Not needed: there are few checks."""
        return f"{COUNT} checks fail"


@dataclass(frozen=True)
class PlanRule:
    """A threshold of a plan that is passed. A subject is since when, and who: each period has its own."""

    settings: PlanAlert
    needs_flush = True

    def find(self, facts: Facts) -> Found:
        """Who passed it."""
        passed = facts.passed(self.settings.plan_name, self.settings.threshold)
        return Found({f"{since}:{who}": facts.used(self.settings.plan_name, who) for who, since in passed})

    def times(self, subject: str) -> tuple[int, int]:
        """Fires and resolves at once: a threshold stays passed until the period ends."""
        return 0, 0

    def parts(self, subject: str) -> Subject:
        """A device, a group or the gateway, and the application, as the plan has it."""
        plan, who = self.settings.plan, subject.partition(":")[2]
        if plan.device is not None:
            return Subject(who, plan.application, group=None)
        return Subject(None, plan.application, group=who or None)

    def text(self, subject: str, value: int | None, facts: Facts) -> str:
        """What was used, of what."""
        used = "used" if value is None else f"used {spell_amount(value)},"
        return f"plan {self.settings.plan_name}: {WHO} {used} {self._part()}"

    def group_text(self) -> str:
        """The threshold."""
        return f"plan {self.settings.plan_name}: {COUNT} devices used {self._part()}"

    def _part(self) -> str:
        plan = self.settings.plan
        direction = "" if plan.direction == "both" else f" {plan.direction}"
        category = "" if plan.category is None else f" with {plan.category}"
        limit = f"{spell_amount(plan.limit)}{direction} a {plan.per}"
        return f"{self.settings.threshold} % or more of {limit}{category}"


def rule_of(settings: Alert) -> Rule:
    """The rule of an alert of the configuration."""
    if isinstance(settings, RateAlert):
        return RateRule(settings)
    if isinstance(settings, NewDeviceAlert):
        return NewDeviceRule(settings)
    if isinstance(settings, SilentAlert):
        return SilentNetifydRule(settings) if settings.device == NETIFYD else SilentDeviceRule(settings)
    if isinstance(settings, RiskAlert):
        return RiskRule(settings)
    if isinstance(settings, PlanAlert):
        return PlanRule(settings)
    assert isinstance(settings, HealthAlert)
    return HealthRule(settings)


def _single_devices(facts: Facts) -> Iterable[str]:
    """Names that have a rate and are single devices: not the gateway, not the shared row."""
    return (name for name in facts.moving if name not in ("", OTHER_DEVICE))


def _rates_of_groups(facts: Facts, group: str, application: str | None) -> Iterable[tuple[str, Pair]]:
    """The sums over the members: by group, or by application of one group."""
    sums: dict[str, Pair] = {}
    for device in _single_devices(facts):
        groups = [one for one in facts.groups(device) if group in (EACH, one)]
        if not groups:
            continue
        rates: Mapping[str, Pair]
        total, by_application = facts.rates(device)
        if application == EACH:
            rates = by_application
        else:
            rates = dict.fromkeys(groups, by_application.get(application, (0, 0)) if application else total)
        for subject, (up, down) in rates.items():
            before = sums.get(subject, (0, 0))
            sums[subject] = before[0] + up, before[1] + down
    return sums.items()


def spell_rate(rate: int) -> str:
    """A rate in bit/s with its unit: ``92.1 Mbit/s``."""
    for unit, factor in (("Gbit/s", 10**9), ("Mbit/s", 10**6), ("kbit/s", 1000)):
        if rate >= factor:
            return f"{rate / factor:.3g} {unit}" if rate < 1000 * factor else f"{rate // factor} {unit}"
    return f"{rate} bit/s"


def spell_amount(count: int) -> str:
    """Bytes with their unit: ``92.1 GB``."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 1000)):
        if count >= factor:
            return f"{count / factor:.1f}".removesuffix(".0") + f" {unit}"
    return f"{count} B"


def spell_time(seconds: int) -> str:
    """A time in its largest whole unit: ``10 min``."""
    for unit, unit_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds and seconds % unit_s == 0:
            return f"{seconds // unit_s} {unit}"
    return f"{seconds} s"
