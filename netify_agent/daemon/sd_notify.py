"""sd_notify(3) client; does nothing where there is no systemd."""

from __future__ import annotations

import os
import time

from sdnotify import SystemdNotifier


class ServiceManager:
    """Notifies the service manager.

    :ivar watchdog_s: the watchdog's time-out in seconds; None if none is set for this process.
    """

    def __init__(self) -> None:
        self._notifier = SystemdNotifier()
        self._status = ""
        self.watchdog_s = _watchdog_s()

    def ready(self) -> None:
        """The start, or a reload, is done."""
        self._notifier.notify("READY=1")

    def reloading(self) -> None:
        """A reload begins; systemd 253's ``notify-reload`` requires the monotonic time."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        """The daemon has begun to stop."""
        self._notifier.notify("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog: all threads make progress."""
        self._notifier.notify("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Show ``text``, one line, in ``systemctl status``; sent when it changes."""
        if text != self._status:
            self._status = text
            self._notifier.notify(f"STATUS={text}")


def _watchdog_s() -> float | None:
    """``WATCHDOG_USEC`` in seconds, if it is meant for this process (sd_watchdog_enabled(3))."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdigit() and int(text) > 0 else None
