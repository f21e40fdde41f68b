"""The interface of an alert rule: it finds the subjects for which its condition holds. No I/O, no state.

A subject is what one alert is about: a device, a group, an application, an endpoint or a check; empty: the
gateway.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from netify_agent.accounting.batch import Batch
from netify_agent.config.alerts import Alert

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
    :ivar passed: yields who passed a threshold (percent) of a plan in a period that is not over, and since
        when, milliseconds since the epoch.
    :ivar used: returns the bytes that somebody used of a plan.
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
    passed: Callable[[str, int], Iterable[tuple[str, int]]] = lambda plan, threshold: ()
    used: Callable[[str, str], int | None] = lambda plan, who: None


class Subject(NamedTuple):
    """The parts of a subject; None where it has none."""

    device: str | None = None
    application: str | None = None
    check: str | None = None
    group: str | None = None


@dataclass
class Found:
    """The subjects for which the condition of a rule holds.

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
        """Seconds that the condition must hold until the alert fires, and must not hold until it resolves."""

    def parts(self, subject: str) -> Subject:
        """The parts of a subject."""

    def text(self, subject: str, value: int | None, facts: Facts) -> str:
        """What happened; see :class:`~netify_agent.alerts.alert.Alert`."""

    def group_text(self) -> str:
        """What happened to many subjects, with :data:`COUNT`."""
