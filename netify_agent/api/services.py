"""What routes make their answers from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from netify_agent.api.documents import Documents
from netify_agent.api.exposition import Exposition
from netify_agent.api.flush_log import FlushLog
from netify_agent.config.settings import Settings
from netify_agent.enrich import Directory
from netify_agent.store.reader import StoreReader


@dataclass(frozen=True)
class Services:
    """The parts of one gateway that answers are made of.

    :ivar status: the document of ``/status``.
    :ivar alive: each check of ``/healthz``, with what is wrong with it, or None.
    :ivar ready: each check of ``/readyz``, in the same way.
    :ivar flushes: the latest flushes that Redis took.
    :ivar vitals: adds the daemon's own metrics, given whether Redis answers.
    """

    settings: Settings
    reader: StoreReader
    directory: Directory
    status: Callable[[], dict[str, Any]]
    alive: Callable[[], dict[str, str | None]]
    ready: Callable[[], dict[str, str | None]]
    flushes: FlushLog
    vitals: Callable[[Exposition, bool], None]

    @property
    def documents(self) -> Documents:
        """Makes documents."""
        return Documents(self.settings.gateway, self.settings.interval_s, self.directory)
