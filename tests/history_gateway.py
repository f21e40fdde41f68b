"""A store that is written flush by flush at times of the test, and the truth about its history."""

from __future__ import annotations

from collections import defaultdict
from zoneinfo import ZoneInfo

from real_store import LAPTOP

from netify_agent.accounting.batch import Batch, Row
from netify_agent.config.calendar import DAY_S, HOUR_S, MONTH_S, Calendar
from netify_agent.netifyd.flow_record import Key
from netify_agent.store.client import connect
from netify_agent.store.flush import Flush
from netify_agent.store.history_reader import HistoryReader
from netify_agent.store.history_record import Volume, add_volumes
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.history_writer import HistoryLimits
from netify_agent.store.layout import GATEWAY, INTERFACE, Keys
from netify_agent.store.transaction import Sent
from netify_agent.store.writer import StoreWriter

KEEP_S = {300: 2 * DAY_S, HOUR_S: 31 * DAY_S, DAY_S: 400 * DAY_S, MONTH_S: 5 * 365 * DAY_S}
KEYS = Keys("gw1")
BEGIN = 1_774_700_000  # 28 March 2026: the day before the clocks of Berlin go forward
AGE = 100 * 365 * 86_400_000
Moved = list[tuple[int, str, str, int, int]]  # bucket, device, application, bytes up and down


def calendar(zone: str) -> Calendar:
    return Calendar(zone, ZoneInfo(zone))


class Gateway:
    """A store that is written flush by flush, and what was written."""

    def __init__(
        self, url: str, zone: str = "UTC", through: str | None = None, keep_s: dict[int, int] = KEEP_S
    ) -> None:
        """``through``: the agents write by this URL. ``keep_s``: as for :meth:`start`."""
        self.client = connect(url, None)
        self.written = connect(through or url, None)
        self.moved: Moved = []
        self.sequence = 0
        self.start(zone, keep_s)

    def start(self, zone: str, keep_s: dict[int, int] = KEEP_S) -> None:
        """Start another agent, with a calendar of ``zone``. ``keep_s``: how long each step is kept."""
        self.steps = HistorySteps(keep_s, calendar(zone))
        limits = HistoryLimits(migration_s=0)  # one device in each flush
        self.writer = StoreWriter(self.written, "gw1", self.steps, AGE // 1000, history_limits=limits)
        self.sequence = self.writer.claim().sequence
        self.reader = HistoryReader(self.client, "gw1", self.steps)

    def flush(self, at: int, *moved: tuple[str, str, int, int], every_s: int = 75) -> Sent:
        """A flush at ``at`` (s). ``moved``: device, application, bytes up and down."""
        bucket = self.steps.bucket(at)
        batch = Batch(bucket)
        for device, application, up, down in moved:
            row = batch.counted.setdefault(Key(device, application, "HTTP/S", "eth0"), Row())
            row.bytes_up += up
            row.bytes_down += down
            self.moved.append((bucket, device, application, up, down))
        self.sequence += 1
        return self.apply(Flush(self.sequence, batch, at * 1000, every_s * 1000))

    def apply(self, flush: Flush) -> Sent:
        return self.writer.apply(flush)

    def truth(self, series: str, step: int) -> dict[int, Volume]:
        """Volume of each period with traffic."""
        found: defaultdict[int, Volume] = defaultdict(Volume)
        for bucket, device, _, up, down in self.moved:
            if series in (GATEWAY, device, INTERFACE + "eth0"):
                middle = self.steps.middle(300, bucket)
                start = self.steps.calendar.period(step, middle).start
                found[start] = add_volumes(found[start], Volume(up, down))
        return dict(found)

    def stored(self, series: str, step: int, since: int, until: int) -> dict[int, Volume]:
        periods = self.steps.calendar.periods(step, since, until)
        return {bucket.start: bucket.volume for bucket in self.reader.buckets(series, step, periods)}

    def check(self, since: int, until: int, *, names: tuple[str, ...] = (GATEWAY, LAPTOP)) -> None:
        """Every step that still has all of the time is what was written."""
        for series in names:
            for step in KEEP_S:
                begin = max(since, until - KEEP_S[step])
                begin = self.steps.calendar.period(step, begin).start
                truth = {
                    start: volume for start, volume in self.truth(series, step).items() if start >= begin
                }
                assert self.stored(series, step, begin, until) == truth, (series, step)
