"""Sums over the histories of several gateways: reads each copy, and keeps what it read until that changes.

Each gateway's part is what the gateway itself answers, so the sums are right to the byte.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeVar

from netify_agent.api.http.parameters import text
from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import Parameter
from netify_agent.api.services import Services
from netify_agent.fleet.copies import Copies
from netify_agent.fleet.overview import Row
from netify_agent.store.query import retry_when_flushed

_T = TypeVar("_T")

_KEPT = 300_000  # rows and buckets, about 250 bytes each
_BUDGET_S = 10.0  # of one request. Up to four may wait for each other, and a handler may take 60 s
_PATIENCE_S = 5.0  # for another request that reads
_RETRY_S = 1


def pattern() -> Parameter:
    """``gateways``: a pattern of names."""
    return text(
        "gateways", "Only gateways whose name matches this pattern, in which `*` and `?` stand for others."
    )


def matching(rows: Sequence[Row], wanted: str | None) -> list[Row]:
    """The gateways that have sent something and whose name matches ``wanted``; None: all."""
    # No name has a bracket, and a pattern has no sets of characters.
    shape = None if wanted is None else wanted.replace("[", "[[]")
    return [
        row for row in rows if row.summary is not None and (shape is None or fnmatchcase(row.gateway, shape))
    ]


class _Kept(NamedTuple):
    """What was read of one copy; ``digest``: of the gateway's summary before."""

    digest: str
    part: Any
    size: int


class FleetSums:
    """Reads parts, in one request at a time, so that messages find threads and Redis free. Thread-safe."""

    def __init__(self, copies: Copies, clock: Callable[[], float] = time.monotonic) -> None:
        self._copies = copies
        self._clock = clock
        self._reading = threading.Lock()  # held while copies are read; guards what is kept
        self._kept: OrderedDict[tuple[str, Hashable], _Kept] = OrderedDict()  # the latest used last
        self._size = 0  # of what is kept

    def parts(
        self,
        rows: Sequence[Row],
        question: Hashable,
        read: Callable[[Services], _T],
        size: Callable[[_T], int],
        holds: Callable[[_T], bool] = lambda part: True,
    ) -> list[tuple[Row, _T]]:
        """Return the result of ``read`` for the copy of each of ``rows``; from memory if it has not changed.

        :param question: what ``read`` depends on, besides the copy.
        :param read: is called again if a message is applied meanwhile.
        :param holds: whether an earlier answer is still valid, if the copy has not changed.
        :param size: of an answer, in rows or buckets.
        :raises Problem: 503 if others read, or if it takes too long. The next attempt finds what was read.
        :raises StoreError: if a copy can't be read.
        """
        if not self._reading.acquire(timeout=_PATIENCE_S):
            raise self._later("other sums over gateways are being made")
        try:
            end = self._clock() + _BUDGET_S
            found: list[tuple[Row, _T]] = []
            for row in rows:
                key = row.gateway, question
                kept = self._kept.get(key)
                if kept is None or kept.digest != row.digest or not holds(kept.part):
                    if self._clock() > end:
                        read_so_far = f"{len(found)} of {len(rows)} gateways are read"
                        raise self._later(f"{read_so_far}: ask again, or for fewer gateways")
                    copy = self._copies.open(row.gateway)
                    if copy is None:
                        continue
                    part = retry_when_flushed(read)(copy.services)
                    self._keep(key, _Kept(row.digest, part, 1 + size(part)))
                    found.append((row, part))
                else:
                    self._kept.move_to_end(key)
                    found.append((row, kept.part))
            return found
        finally:
            self._reading.release()

    def _keep(self, key: tuple[str, Hashable], kept: _Kept) -> None:
        before = self._kept.pop(key, None)
        self._size += kept.size - (before.size if before else 0)
        self._kept[key] = kept
        while self._size > _KEPT:
            self._size -= self._kept.popitem(last=False)[1].size

    def _later(self, why: str) -> Problem:
        return Problem(503, why, {"Retry-After": str(_RETRY_S)})
