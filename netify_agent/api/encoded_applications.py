"""The applications of devices as encoded JSON: nine tenths of ``GET /``.

They are encoded without building a dictionary for each, and cached until a flush changes the device. The
flush log says which devices a flush changed in counters, rates or addresses.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import NamedTuple

from netify_agent.api.documents import Documents, rfc3339
from netify_agent.api.flush_log import FlushLog
from netify_agent.api.http.route import Json, encoded
from netify_agent.store.layout import COUNTER_NAMES
from netify_agent.store.query import FlushStamp
from netify_agent.store.rows import Counted

_NUMBERS = (*COUNTER_NAMES.values(), "rate_up", "rate_down")
_ROW = "{%s," + "".join(f'"{name}":%d,' for name in _NUMBERS) + '"first_seen":%s,"last_seen":%s}'


class Known(NamedTuple):
    """What the cached lists depend on besides the devices themselves.

    :ivar flush: the flush that they were read from.
    :ivar heads: each application's tag, name and category as the first members of its object in JSON.
    """

    flush: FlushStamp
    heads: Mapping[str, str]


class EncodedApplications:
    """The lists of one gateway, by device. Thread-safe."""

    def __init__(self, documents: Documents, flush_log: FlushLog, max_bytes: int = 16 << 20) -> None:
        """Start with an empty cache.

        :param max_bytes: of all cached lists together. Further lists are encoded for each answer; the default
            holds those of 60,000 applications.
        """
        self._documents = documents
        self._flush_log = flush_log
        self._max_bytes = max_bytes
        self._lock = threading.Lock()  # guards all that follows
        self._known: Known | None = None
        self._lists: dict[str, Json] = {}
        self._size = 0

    def known(self, flush: FlushStamp, categories: Mapping[str, int]) -> Known:
        """Return what the lists of a flush depend on.

        :param categories: application to netifyd's category id, as of ``flush``.
        """
        heads = {}
        for tag, category in categories.items():
            heads[tag] = self._head(tag, category)
        return Known(flush, heads)

    def _head(self, tag: str, category: int) -> str:
        return encoded(self._documents.application_head(tag, category)).decode()[1:-1]

    def unchanged(self, known: Known) -> dict[str, Json]:
        """Return the cached lists, by device, of all devices that have not changed since."""
        with self._lock:
            if self._known != known:
                self._drop_changed(known)
            return dict(self._lists)

    def _drop_changed(self, known: Known) -> None:
        changed = None
        if self._known is not None and self._known.heads == known.heads:
            changed = self._flush_log.changed_between(self._known.flush, known.flush)
        if changed is None:
            self._lists.clear()
            self._size = 0
        else:
            for device in changed & self._lists.keys():
                self._size -= len(self._lists.pop(device))
        self._known = known

    def keep(self, known: Known, device: str, applications: Json) -> None:
        """Cache the list of a device, unless the cache is full or a later flush has been requested since."""
        with self._lock:
            if self._known is known and self._size + len(applications) <= self._max_bytes:
                self._size += len(applications) - len(self._lists.get(device, b""))
                self._lists[device] = applications

    def encode(self, known: Known, applications: Mapping[str, Counted]) -> Json:
        """Encode the list of one device, as :meth:`Documents.applications` builds it."""
        rows = []
        for tag, row in applications.items():
            head = known.heads.get(tag) or self._head(tag, 0)
            counts = row.counters.values()
            rows.append(_ROW % (head, *counts, *row.rates, _time(row.first_seen), _time(row.last_seen)))
        return Json(f"[{','.join(rows)}]".encode("utf-8", "replace"))


def _time(milliseconds: int | None) -> str:
    text = rfc3339(milliseconds)
    return "null" if text is None else f'"{text}"'
