"""What a collector knows of a gateway in short: a line of the list of gateways.

It is made from the copy after each message, and stored with those of the other gateways. The copy may be of a
gateway that means no good, so a summary is bounded, and all its numbers can be sorted by.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from netify_agent.api.services import Services
from netify_agent.config.alerts import SEVERITIES
from netify_agent.config.calendar import MONTH_S
from netify_agent.plans.standing import Standings
from netify_agent.store.history_record import NO_VOLUME
from netify_agent.store.layout import GATEWAY
from netify_agent.store.query import retry_when_flushed
from netify_agent.store.rows import Rates, categories_of, counters_of, decode_rates, rows_of

TOP = 5  # applications in a summary
MAX_ALERTS = 20  # in a summary
_LONGEST = 256  # characters of a text
_MOST = 1 << 61  # of a number: the sum of two is one that lists can sort by and page


class TopApplication(NamedTuple):
    """One of the applications with the most bytes; ``category`` is netifyd's id, 0 for none."""

    tag: str
    category: int
    bytes_up: int
    bytes_down: int


class FiringAlert(NamedTuple):
    """An alert of the gateway that fires. ``started_at``: by its clock, milliseconds since the epoch."""

    id: str
    name: str
    severity: str
    summary: str
    started_at: int


class PlanUse(NamedTuple):
    """What is used of one plan, in bytes.

    :ivar device: whose plan it is; None if it is not one of a device.
    """

    plan: str
    device: str | None
    used: int
    limit: int

    @property
    def share(self) -> float:
        """Part of the limit that is used."""
        return self.used / self.limit


class Sums(NamedTuple):
    """What moved in a period; ``start`` and ``end`` are seconds since the epoch."""

    start: int
    end: int
    bytes_up: int
    bytes_down: int


@dataclass(frozen=True)
class Summary:
    """The state of a gateway after its latest message.

    :ivar received: our clock at the message, milliseconds since the epoch.
    :ivar at_ms: the gateway's clock at the flush that the copy shows.
    :ivar version: of the agent; None if it did not say.
    :ivar skew_s: how far the gateway's clock is ahead of ours; None if it did not say.
    :ivar counters: as of a :class:`~netify_agent.store.rows.Counted`.
    :ivar rates: bits per second up and down.
    :ivar active: devices that were seen lately, before the flush.
    :ivar month: the calendar month of the gateway that the flush belongs to.
    :ivar plan: None if the gateway has none.
    :ivar applications: most bytes first.
    :ivar firing: severity to the number of alerts that fire.
    :ivar alerts: those of them that started last.
    """

    received: int
    at_ms: int
    version: str | None
    skew_s: int | None
    counters: dict[str, int]
    rates: Rates
    devices: int
    active: int
    month: Sums
    plan: PlanUse | None
    applications: tuple[TopApplication, ...]
    firing: dict[str, int]
    alerts: tuple[FiringAlert, ...]

    def encode(self) -> str:
        """The summary as JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> Summary:
        """Read the result of :meth:`encode`. Raises ValueError or TypeError if another version wrote it."""
        members: dict[str, Any] = json.loads(text)
        members["rates"] = tuple(members["rates"])
        members["month"] = Sums(*members["month"])
        members["plan"] = members["plan"] and PlanUse(*members["plan"])
        members["applications"] = tuple(TopApplication(*one) for one in members["applications"])
        members["alerts"] = tuple(FiringAlert(*one) for one in members["alerts"])
        return cls(**members)


class Contact(NamedTuple):
    """What a request says of its sender; see :class:`Summary`."""

    version: str | None
    skew_s: int | None


@retry_when_flushed
def summary_of(services: Services, contact: Contact) -> tuple[int, Summary]:
    """Summarise the copy of a gateway.

    :returns: the sequence of the flush that it shows, and the summary.
    """
    reader, keys = services.reader, services.reader.keys
    query = reader.query()
    received = query.hget(keys.copy, "received")
    totals = query.hgetall(keys.totals(GATEWAY))
    rates = query.hget(keys.rates, GATEWAY)
    applications = query.hgetall(keys.applications(GATEWAY))
    categories = query.hgetall(keys.categories)
    devices = query.zcard(keys.devices)
    flush = query.run()
    query = reader.query(flush)
    active = query.zcount(keys.devices, flush.at_ms - services.documents.quiet_ms, "+inf")
    query.run()
    period = services.settings.calendar.calendar.period(MONTH_S, flush.at_ms // 1000)
    volumes = services.history.volumes([GATEWAY], *period, flush)
    moved = volumes.volumes.get(GATEWAY, NO_VOLUME)
    firing = [one for one in services.alerts() if one.resolved_at is None and one.severity in SEVERITIES]
    category = categories_of(categories.value)
    rows = rows_of(applications.value, {})
    top = [(tag, row) for tag, row in rows.items() if len(tag) <= _LONGEST][:TOP]
    up, down = decode_rates(rates.value)[0]
    summary = Summary(
        int(received.value or 0),
        flush.at_ms,
        *contact,
        counters_of(totals.value),
        (_bounded(up), _bounded(down)),
        devices.value,
        active.value,
        Sums(*period, _bounded(moved.bytes_up), _bounded(moved.bytes_down)),
        fullest(services.plans()),
        tuple(
            TopApplication(tag, category.get(tag, 0), row.counters["bytes_up"], row.counters["bytes_down"])
            for tag, row in top
        ),
        {severity: sum(one.severity == severity for one in firing) for severity in SEVERITIES},
        tuple(
            FiringAlert(
                one.id[:_LONGEST],
                one.name[:_LONGEST],
                one.severity,
                one.summary(services.documents.device_name)[:_LONGEST],
                _bounded(one.started_at),
            )
            for one in firing[:MAX_ALERTS]
        ),
    )
    return flush.sequence, summary


def fullest(standings: Standings | None) -> PlanUse | None:
    """The plan of which the largest share is used; None if there is none."""
    plans = standings.plans.values() if standings else ()
    uses = [
        PlanUse(
            one.name[:_LONGEST],
            who[:_LONGEST] if one.plan.device is not None else None,
            _bounded(used),
            _bounded(one.plan.limit),
        )
        for one in plans
        for who, used in one.used.items()
    ]
    return max(uses, key=lambda use: use.share, default=None)


def _bounded(number: int) -> int:
    """A rate, a time or a sum, within what lists can sort by."""
    return max(min(number, _MOST), -_MOST)
