"""The summaries of all gateways in memory, and what a reader sees of them."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from netify_agent.fleet.summary import Summary
from netify_agent.store.query import FlushStamp
from netify_agent.store.summaries import Summaries, digest_of

log = logging.getLogger(__name__)

#: States of a gateway, the worst last: it sends; it never sent anything; it has stopped.
ONLINE, NEW, SILENT = "online", "new", "silent"
STATES = (ONLINE, NEW, SILENT)


class Known(NamedTuple):
    """A summary with its digest."""

    digest: str
    summary: Summary


@dataclass(frozen=True)
class Row:
    """A gateway and its state. ``summary``: None if it never sent anything; ``digest``: of the summary."""

    gateway: str
    state: str
    summary: Summary | None
    digest: str = ""

    def is_same(self, other: Row | None) -> bool:
        """Whether ``other`` shows the same of the gateway."""
        return other is not None and (self.state, self.digest) == (other.state, other.digest)


class Overview:
    """The latest summaries. Thread-safe.

    :ivar summaries: gateway to its summary; replaced, never changed.
    :ivar silent_ms: time without a message after which a gateway is silent.
    """

    def __init__(
        self,
        summaries: Summaries,
        silent_s: int,
        wall_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        """Reads nothing yet."""
        self.summaries: Mapping[str, Known] = {}
        self.silent_ms = silent_s * 1000
        self.wall_ms = wall_ms
        self._stored = summaries
        self._lock = threading.Lock()  # held while reading: one reader is enough
        self._read_at: float | None = None

    def refresh(self, max_age_s: float = 0.0) -> None:
        """Read the summaries that changed, if it is ``max_age_s`` since they were read. Raises StoreError."""
        with self._lock:
            now = time.monotonic()
            if self._read_at is not None and now - self._read_at < max_age_s:
                return
            digests = self._stored.digests()
            known = {name: one for name, one in self.summaries.items() if digests.get(name) == one.digest}
            texts = self._stored.read([name for name in digests if name not in known])
            for name, text in texts.items():
                try:
                    # A summary that is being replaced does not match its digest. It is read again next time.
                    known[name] = Known(digest_of(text), Summary.decode(text))
                except (ValueError, TypeError, KeyError):
                    log.debug("the summary of %s is of another version", name)
            if texts or len(known) != len(self.summaries):
                self.summaries = known
            self._read_at = now


class View:
    """What a reader sees. It is the :class:`~netify_agent.api.http.app.Source` of its answers. Thread-safe.

    The number of its latest flush is a digest of what is visible: it says nothing of other gateways.
    """

    generation = 0
    interval_s = 15  # for Retry-After

    def __init__(
        self, overview: Overview, gateways: Sequence[str], valid: Callable[[], bool] = lambda: True
    ) -> None:
        """Read nothing yet.

        :param gateways: those that are visible, sorted.
        :param valid: returns False once the tokens were replaced: the reader may see others then.
        """
        self.valid = valid
        self._overview = overview
        self._gateways = gateways
        self._taken: tuple[FlushStamp, Sequence[Row]] = FlushStamp(0, 0), ()

    @property
    def silent_ms(self) -> int:
        """Time without a message after which a gateway is silent."""
        return self._overview.silent_ms

    @property
    def rows(self) -> Sequence[Row]:
        """The visible gateways by name, as of the latest :meth:`last_flush`."""
        return self._taken[1]

    def last_flush(self) -> FlushStamp:
        """Read what changed, and return what identifies it. Its time is that of the latest message."""
        return self.latest(0.0)[0]

    def latest(self, max_age_s: float) -> tuple[FlushStamp, Sequence[Row]]:
        """Read what changed, if it is ``max_age_s`` since it was read. Raises StoreError.

        :returns: what identifies the visible gateways, and their rows.
        """
        self._overview.refresh(max_age_s)
        known = self._overview.summaries
        quiet = self._overview.wall_ms() - self._overview.silent_ms
        rows, parts = [], []
        latest = 0
        for name in self._gateways:
            one = known.get(name)
            if one is None:
                row = Row(name, NEW, None)
            else:
                state = SILENT if one.summary.received < quiet else ONLINE
                row = Row(name, state, one.summary, one.digest)
                latest = max(latest, one.summary.received)
            rows.append(row)
            parts.append(f"{name} {row.state} {row.digest}")
        digest = hashlib.blake2b("\n".join(parts).encode(), digest_size=8).digest()
        stamp = FlushStamp(int.from_bytes(digest, "big"), latest)
        if stamp != self._taken[0]:
            self._taken = stamp, rows
        return stamp, rows

    def stored_flush(self) -> FlushStamp:
        """What :attr:`rows` belong to."""
        return self._taken[0]
