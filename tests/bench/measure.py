"""What a measurement is: a median of paired rounds, held against a target, as one line of a table."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """How much is measured. The smoke run proves that the suite works; its figures prove nothing.

    :ivar rounds: of each paired measurement; the median is reported.
    :ivar devices: sizes of the networks, ascending.
    :ivar flows: live flows of the large table; the small one has a hundredth.
    :ivar busy: devices of the network of the rows on flush and API, each with 20 applications.
    :ivar year: devices, each with 10 applications, and days of the rows on history.
    :ivar interval: seconds between flushes, and of each stretch of load: each holds a flush.
    """

    rounds: int
    devices: tuple[int, int, int]
    flows: int
    busy: int
    year: tuple[int, int]
    interval: int


FULL = Scale(5, (100, 1000, 10_000), 100_000, 1000, (100, 365), 5)
SMOKE = Scale(1, (10, 50, 100), 5000, 50, (3, 4), 1)
APPLICATIONS = 20
STREAM_RATE = 5000  # records a second


@dataclass(frozen=True)
class Row:
    """One line of the table.

    :ivar values: of the rounds, or the single value of what can't be repeated.
    :ivar target: the bound, and ``least`` which side of it is good; None: told for the record.
    :ivar unit: ``x`` for a ratio.
    :ivar note: the figures behind it, in short.
    """

    what: str
    values: Sequence[float]
    target: float | None = None
    least: bool = False
    unit: str = "x"
    note: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.least else self.value <= self.target

    def line(self) -> str:
        """The row in Markdown."""
        bound = "" if self.target is None else f"{'>=' if self.least else '<='} {_number(self.target)}"
        met = {None: "", True: "yes", False: "**no**"}[self.met]
        spread = f"{_number(min(self.values))} to {_number(max(self.values))}" if len(self.values) > 1 else ""
        unit = "" if self.unit == "x" else f" {self.unit}"
        cells = self.what, _number(self.value) + unit, bound + unit * bool(bound), met, spread, self.note
        return f"| {' | '.join(cells)} |"


HEAD = "| what | median | target | met | spread | figures |\n| --- | ---: | ---: | --- | --- | --- |"


def ratios(pairs: Iterable[tuple[float, float]]) -> list[float]:
    """First over second, of each round."""
    return [first / second for first, second in pairs]


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that ``percent`` of ``values`` do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"
