"""The steps of the history: to which period a record belongs, and in which chunk it is stored. No I/O.

All moments and lengths are whole seconds; moments are since the epoch. A *record* is what one series moved in
one period of a step. A *chunk* holds the records of one series and step that the next longer step sums up to
one record. docs/store.md, History, describes the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from netify_agent.config.calendar import DAY_S, MONTH_S, Calendar, Period
from netify_agent.config.types import Resolution
from netify_agent.store.history_record import Record, merged
from netify_agent.store.layout import Unit

_PER_CHUNK = 32  # records in a chunk of the longest step, which is summed up by no other
_YEAR_S = 366 * DAY_S


@dataclass(frozen=True)
class HistorySteps:
    """The configured steps and the calendar that their periods follow.

    :ivar keep_s: length of a step to the time that its records are kept after their end.
    :ivar calendar: where periods begin.
    """

    keep_s: Mapping[int, int]
    calendar: Calendar = field(default_factory=Calendar)

    @classmethod
    def of(cls, resolutions: Iterable[Resolution], calendar: Calendar) -> HistorySteps:
        """The steps of the settings."""
        return cls({resolution.step_s: resolution.keep_s for resolution in resolutions}, calendar)

    @property
    def all(self) -> list[int]:
        """The steps, shortest first."""
        return sorted(self.keep_s)

    @property
    def shortest(self) -> int:
        """The step of the open bucket."""
        return min(self.keep_s)

    def bucket(self, at: int) -> int:
        """Start of the shortest step's period that ``at`` belongs to."""
        return self.calendar.period(self.shortest, at).start

    def longer(self, step: int) -> int | None:
        """The step that sums up the records of ``step``; None if ``step`` is the longest.

        ``step`` need not be configured any more.
        """
        return min((other for other in self.keep_s if other > step), default=None)

    def middle(self, step: int, start: int) -> int:
        """The moment half-way through a record. It decides to which period of another step a record belongs.

        A record that began by another calendar has the average length of its step.
        """
        period = self.calendar.period(step, start)
        return period.middle if period.start == start else start + step // 2

    def period(self, step: int, record_step: int, start: int) -> Period:
        """The period of ``step`` that a record of ``record_step`` belongs to."""
        return self.calendar.period(step, self.middle(record_step, start))

    def chunk(self, step: int, start: int) -> int:
        """Start of the chunk that a record of ``step`` is stored in."""
        longer = self.longer(step)
        if longer is not None:
            return self.period(longer, step, start).start
        middle = self.middle(step, start)
        return middle - middle % self._longest_chunk_s(step)

    def chunk_end(self, step: int, chunk: int) -> int:
        """A moment at or after the end of each record of a chunk."""
        longer = self.longer(step)
        if longer is None:
            return chunk + self._longest_chunk_s(step) + step
        period = self.calendar.period(longer, chunk)
        # While the step was the longest, its chunks had another length, and may begin where a period does.
        return max(period.end, chunk + longer + DAY_S, chunk + self._longest_chunk_s(step) + step)

    def chunk_length(self, step: int) -> int:
        """Average length of a chunk."""
        return self.longer(step) or self._longest_chunk_s(step)

    def ttl(self, step: int, chunk: int, at: int | None) -> int:
        """How long a chunk is kept from now on.

        A duration, not a point in time, because Redis' clock may differ from ours. The bounds limit the
        effect of a wrong clock: at least the chunk's length, at most that plus the time its records are kept.

        :param at: our clock; None if it is not known to be right: the longest time.
        """
        length = self.chunk_length(step)
        keep = self.keep_s.get(step, 0)
        if at is None:
            return length + keep
        return min(max(self.chunk_end(step, chunk) + keep - at, length), length + keep)

    def _longest_chunk_s(self, step: int) -> int:
        return _YEAR_S if step == MONTH_S else step * _PER_CHUNK

    def summed_up(self, step: int, longer: int, records: Iterable[Record]) -> list[Record]:
        """Sum records of ``step`` up to records of a longer step, one for each period with records."""
        return merged(
            Record(self.period(longer, step, record.start).start, record.volume, record.applications)
            for record in records
        )

    def units(self, step: int, start: int) -> dict[int, Unit]:
        """The chunks, by step, of a record of ``step`` and of those of longer steps that will contain it."""
        middle = self.middle(step, start)
        periods = {other: self.calendar.period(other, middle).start for other in self.keep_s if other >= step}
        return {other: (other, self.chunk(other, start)) for other, start in periods.items()}
