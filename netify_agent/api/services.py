"""Everything that routes read from: the store, the directory, the daemon's state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from netify_agent.alerts.alert import Alert
from netify_agent.api.documents import Documents
from netify_agent.api.exposition import Exposition
from netify_agent.api.flush_log import FlushLog
from netify_agent.config.settings import Settings
from netify_agent.enrich import Directory
from netify_agent.plans.standing import Standings
from netify_agent.store.flusher import FlusherStatus
from netify_agent.store.history_reader import HistoryReader
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.query import FlushStamp
from netify_agent.store.reader import StoreReader


@dataclass(frozen=True)
class EventLimits:
    """Times of an event stream.

    :ivar heartbeat_s: seconds between comments while nothing happens. They keep a proxy from closing the
        stream. Writing one also shows whether the client is still connected.
    :ivar stream_s: seconds after which a stream ends. The client reconnects and resumes.
    """

    heartbeat_s: float = 5.0
    stream_s: float = 900.0


@dataclass(frozen=True)
class Services:
    """What the routes of one gateway need.

    :ivar status: returns the document of ``/status``.
    :ivar liveness_checks: returns each check of ``/healthz`` with what is wrong, or None.
    :ivar readiness_checks: the same for ``/readyz``.
    :ivar flush_log: the latest flushes of this process.
    :ivar flusher: state of the flusher of this process.
    :ivar alerts: returns all alerts, the latest first.
    :ivar plans: returns the state of the plans after the last flush of this process; None before the first.
    :ivar add_agent_metrics: adds the daemon's own metrics. The second argument says whether Redis answers.
    """

    settings: Settings
    reader: StoreReader
    directory: Directory
    status: Callable[[], dict[str, Any]]
    liveness_checks: Callable[[], dict[str, str | None]]
    readiness_checks: Callable[[], dict[str, str | None]]
    flush_log: FlushLog
    flusher: FlusherStatus
    add_agent_metrics: Callable[[Exposition, bool], None]
    event_limits: EventLimits = EventLimits()
    alerts: Callable[[], Sequence[Alert]] = tuple
    plans: Callable[[], Standings | None] = lambda: None

    @property
    def documents(self) -> Documents:
        """Builds documents with this gateway's settings and names."""
        return Documents(self.settings.gateway, self.settings.interval_s, self.directory)

    @cached_property
    def history(self) -> HistoryReader:
        """Reads the history by the configured steps and calendar."""
        steps = HistorySteps.of(self.settings.history, self.settings.calendar.calendar)
        return HistoryReader(self.reader.client, self.settings.gateway, steps)

    @property
    def generation(self) -> int:
        """Of the directory's names."""
        return self.directory.generation

    @property
    def interval_s(self) -> int:
        """The flush interval, seconds."""
        return self.settings.interval_s

    def stored_flush(self) -> FlushStamp:
        """The last flush, by a read from Redis. Raises StoreError."""
        return self.reader.last_flush()

    def last_flush(self) -> FlushStamp:
        """The last flush that Redis took.

        The flusher of this process knows it without a request. Redis is asked only before the first flush of
        this process and after a failed one.

        :raises StoreError: if Redis is asked and does not answer.
        """
        latest = self.flush_log.latest
        if latest is None or self.flusher.error is not None:
            return self.reader.last_flush()
        return FlushStamp(latest.sequence, latest.at_ms)
