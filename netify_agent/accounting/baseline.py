"""Baseline: the point in netifyd's time from which on the bytes of a flow count.

A flow may have carried bytes before its first record that reached the agent. They count only if the flow
began after this store's first contact with the netifyd, and after the latest packet of all evicted flows,
whose bytes were counted already. All times are netifyd's own clock, milliseconds since the epoch; that clock
can jump.
"""

from __future__ import annotations

from enum import Enum, auto

from netify_agent.accounting.batch import SourceState
from netify_agent.netifyd.agent_status import AgentStatus

# netifyd 4.4.5 sends an agent_status each 15 s, so a record is hardly later than this after the latest one,
# and a clock that is further back than this was set.
_LATE_MS = 60_000
_SAME_START_MS = 1_500  # clock and uptime are whole seconds: starts made of them differ by one at most


class Claim(Enum):
    """Whose the bytes are that a flow carried before its first record."""

    OURS = auto()
    NOT_OURS = auto()
    UNDECIDED = auto()


class Baseline:
    """The baseline of one source.

    :ivar restored: it is known what an earlier run stored, if there was one.
    :ivar has_chains: this netifyd changes the digests of flows (v5).
    """

    def __init__(self) -> None:
        self.restored = False
        self.has_chains = False
        self._epoch: int | None = None
        self._guessed = False  # the epoch is a flow's time, for want of an agent_status
        self._evicted = 0
        self._clock = 0  # at the latest agent_status
        self._start: int | None = None
        self._uptime = 0
        # The baseline before netifyd's clock was set back: for flows that began by the clock of that time.
        self._before_step = 0
        # An earlier run stored the baseline of this process, but not the one before such a step.
        self._continues = False
        # Between restore and go_on: the start of the process that was met before, and whether it is another.
        self._arrived: int | None = None
        self._restarted = False

    def state(self) -> SourceState:
        """Return what must be stored."""
        return SourceState(self._epoch, self._evicted, self._start, self._uptime)

    def restore(self, stored: SourceState | None) -> bool:
        """Take back what an earlier run stored; None: nothing. :meth:`go_on` must follow.

        Until then the baseline is that of the stored flows.

        :returns: whether netifyd was restarted since.
        """
        self.restored = True
        self._arrived = self._start
        if stored is None:
            return False
        self._restarted = (
            self._start is not None
            and stored.start is not None
            and _is_another_process(self._start, self._uptime, stored.start, stored.uptime)
        )
        self._continues = True
        self._evicted = max(self._evicted, stored.evicted)
        if stored.epoch is not None:
            self._epoch, self._guessed = stored.epoch, False
        if stored.start is not None:
            self._start = stored.start
        if self._arrived is None:
            self._uptime = stored.uptime
        return self._restarted

    def go_on(self) -> None:
        """Use the baseline of the running netifyd from now on, after the stored flows were restored."""
        if self._arrived is None:
            return
        if self._restarted:
            self._begin_process(self._arrived)
        self._start = self._arrived

    def note_time(self, at: int) -> None:
        """Note a flow record of netifyd's time ``at`` (0: unknown): it may be the first that ever arrived."""
        if self._epoch is None and at:
            self._epoch, self._guessed = at, True

    def is_restart(self, status: AgentStatus, *, new_connection: bool) -> bool:
        """Whether an ``agent_status`` is from a restarted netifyd. Then the caller must end all its flows.

        :param new_connection: it is the first of its connection.
        """
        return (
            bool(status.clock_ms)
            and new_connection
            and self._start is not None
            and _is_another_process(status.start_ms, status.uptime_s or 0, self._start, self._uptime)
        )

    def report(self, status: AgentStatus, *, is_restart: bool) -> None:
        """Take an ``agent_status``.

        :param is_restart: as :meth:`is_restart` said; the flows of the process before have ended.
        """
        clock, start = status.clock_ms, status.start_ms
        if not clock:
            return
        if self._epoch is None or self._guessed:
            # Where netifyd tracked no flow when we came, all that it ever saw is ours to count.
            epoch = start if status.flows == 0 else clock
            self._epoch = epoch if self._epoch is None else min(epoch, self._epoch)
            self._guessed = False
        if is_restart:
            self._begin_process(start)
        elif self._start is None:
            self._start = start
        elif clock < self._clock - _LATE_MS:
            self._set_back(clock, start)
        self._clock, self._uptime = clock, status.uptime_s or 0

    def _set_back(self, clock: int, start: int) -> None:
        """Go on by the new time: netifyd's clock was set back to ``clock``.

        :param start: of the process, by the new clock.
        """
        epoch, process = self._epoch or 0, self._start or 0
        self._before_step = max(epoch, self._evicted)
        # The start by the old clock would be later than the evictions to come, so that flows without a
        # description would count again.
        self._start = min(process, start, clock - 1)
        self._epoch = min(epoch, self._start if epoch <= process else clock)
        self._evicted = min(self._evicted, clock)

    def _begin_process(self, start: int) -> None:
        """Count all bytes that a new process of netifyd saw, whatever its clock says."""
        self._start = self._epoch = start
        self._evicted = self._before_step = 0
        self._continues = False

    def evict(self, last_seen: int) -> None:
        """Note that a flow last seen at ``last_seen`` was evicted: its bytes may be reported again."""
        # A time far ahead of the latest agent_status is not believed.
        seen = min(last_seen, self._clock + _LATE_MS) if self._clock else last_seen
        self._evicted = max(self._evicted, seen + 1)

    def claim(self, first_seen: int, *, described: bool, ended: bool) -> Claim:
        """Decide about the unclaimed bytes of a flow.

        :param first_seen: its first packet; 0 while unknown: then it did not begin before its netifyd.
        :param described: a description of it arrived.
        :param ended: it gets no further records.
        """
        if not self.restored:
            return Claim.UNDECIDED
        if self.has_chains and not described and not ended:
            return Claim.UNDECIDED  # it may continue a flow whose bytes were counted under another digest
        began = max(first_seen, self._start or 0)
        since = max(self._epoch or 0, self._evicted)
        if self._clock and first_seen > self._clock + _LATE_MS:  # it began before the clock was set back
            all_ours = not self._evicted and (self._epoch or 0) <= (self._start or 0)
            if self._continues and not self._before_step and not all_ours:
                return Claim.NOT_OURS
            since = self._before_step or since
        if began >= since > 0:
            return Claim.OURS
        return Claim.NOT_OURS if described or ended else Claim.UNDECIDED


def _is_another_process(start: int, uptime: int, start_before: int, uptime_before: int) -> bool:
    """Another process has a lower uptime and another start. A late report has the same start."""
    return uptime < uptime_before and abs(start - start_before) > _SAME_START_MS
