"""Logging to standard error, with the priority prefixes that systemd's journal reads (sd-daemon(3))."""

from __future__ import annotations

import logging
import os
import sys
import time

LINES_A_MINUTE = 20  # from one place in the code; more are dropped

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class _JournalFormatter(logging.Formatter):
    """Puts the priority before every line, including those of a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


class _RateLimit(logging.Filter):
    """Passes :data:`LINES_A_MINUTE` lines from each place in the code; the last says that more follow."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, int], list[float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.pathname, record.lineno
        now = time.monotonic()
        began, count = self._seen.get(kind, (now, 0.0))
        if now - began >= 60:
            began, count = now, 0.0
        self._seen[kind] = [began, count + 1]
        if count == LINES_A_MINUTE:
            record.msg, record.args = f"{record.getMessage()} (more of these are left out for a minute)", ()
            record.exc_info = None
        return count <= LINES_A_MINUTE


def in_journal() -> bool:
    """Whether standard error is the journal: ``JOURNAL_STREAM`` (systemd.exec(5)) has its device and inode.

    The variable alone is not enough: a shell that a service started inherits it.
    """
    try:
        error = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{error.st_dev}:{error.st_ino}"


def set_up(level: str) -> None:
    """Log at ``level`` (debug, info, warning, error) to standard error.

    Without a time if that is the journal, which adds its own.
    """
    handler = logging.StreamHandler(sys.stderr)
    if in_journal():
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(_RateLimit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
