"""What is wrong, by the rules of the configuration: from facts to subjects. No I/O, no state.

A subject is what one alert is about: a device, a group, an application, an endpoint or a check; empty: the
gateway.
To add a kind, write a class with the members of :class:`Rule`, and add it to :func:`rule_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from netify_agent.accounting.batch import Batch
from netify_agent.accounting.capture_points import LEFT_OUT
from netify_agent.alerts.alert import COUNT, WHO
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
from netify_agent.netifyd.flow_record import OTHER_DEVICE

LOST_FOR_S = 3600  # how long an alert about lost flushes lasts
_CLEAR_PERCENT = 90  # a rate alert resolves below this part of its bound

Pair = tuple[int, int]  # bit/s up, down


@dataclass(frozen=True)
class Facts:
    """What is known when rules are evaluated.

    :ivar at_ms: our clock, milliseconds since the epoch.
    :ivar checks: each check of the agent's health with what is wrong, or None.
    :ivar endpoints: endpoint of netifyd to whether it sent records since the last evaluation.
    :ivar batch: the changes of the flush; None if no flush is possible, so that only checks are known.
    :ivar elapsed_ms: time that the flush covers, milliseconds.
    :ivar devices: devices that it changes; :ivar new_devices: those of them that were not known.
    :ivar store_age_s: how long a store that was new has been written; None: it was not new.
    :ivar rates: returns the rates of a device, or of the gateway (empty name): its own, and by application.
    :ivar moving: names of all that have a rate.
    :ivar groups: returns the groups of a device.
    """

    at_ms: int
    checks: Mapping[str, str | None] = field(default_factory=dict)
    endpoints: Mapping[str, bool] = field(default_factory=dict)
    batch: Batch | None = None
    elapsed_ms: int = 0
    store_age_s: int | None = None
    devices: Collection[str] = ()
    new_devices: Collection[str] = ()
    rates: Callable[[str], tuple[Pair, Mapping[str, Pair]]] = lambda name: ((0, 0), {})
    moving: Collection[str] = ()
    groups: Callable[[str], Collection[str]] = lambda device: ()


class Subject(NamedTuple):
    """The parts of a subject, as far as it has them."""

    device: str | None = None
    application: str | None = None
    check: str | None = None
    group: str | None = None


@dataclass
class Found:
    """The subjects with which something is wrong.

    :ivar breaching: subject to what was measured; None if nothing was.
    :ivar holding: subjects that are between the bound and where an alert resolves.
    """

    breaching: dict[str, int | None] = field(default_factory=dict)
    holding: set[str] = field(default_factory=set)


class Rule(Protocol):
    """One alert of the configuration."""

    @property
    def settings(self) -> Alert:
        """Its settings."""

    @property
    def needs_flush(self) -> bool:
        """Whether it is evaluated with a flush only."""

    def find(self, facts: Facts) -> Found:
        """What is wrong."""

    def times(self, subject: str) -> tuple[int, int]:
        """How long a subject must be wrong until the alert fires, and well until it resolves; seconds."""

    def parts(self, subject: str) -> Subject:
        """The parts of a subject."""

    def text(self, subject: str, value: int | None, facts: Facts) -> str:
        """What happened; see :class:`~netify_agent.alerts.alert.Alert`."""

    def group_text(self) -> str:
        """What happened to many subjects, with :data:`COUNT`."""


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
        if self.settings.group is not None:
            yield from _rates_of_groups(facts, self.settings.group.name, application)
            return
        for owner in _single_devices(facts) if device == EACH else (device or "",):
            total, by_application = facts.rates(owner)
            if application == EACH:
                yield from by_application.items()
            else:
                yield owner, total if application is None else by_application.get(application, (0, 0))

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
        if group is not None:
            return Subject(None, application, group=subject)
        return Subject(subject if device == EACH else device, application)

    def text(self, subject: str, value: int | None, facts: Facts) -> str:
        """The rate and the bound."""
        return f"{WHO}: {spell_rate(value or 0)}{self._direction()}, above {self._bound()}"

    def group_text(self) -> str:
        """The bound."""
        of = "groups" if self.settings.group is not None else "devices"
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
        """The configured time for both; what was lost is lost at once."""
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
    assert isinstance(settings, HealthAlert)
    return HealthRule(settings)


def _single_devices(facts: Facts) -> Iterable[str]:
    """What has a rate, but the gateway, and what is no single device."""
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


def spell_time(seconds: int) -> str:
    """A time in its largest whole unit: ``10 min``."""
    for unit, unit_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds and seconds % unit_s == 0:
            return f"{seconds // unit_s} {unit}"
    return f"{seconds} s"
