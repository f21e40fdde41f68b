"""State of the daemon: the body of ``/status``, the checks of ``/readyz``, the line for systemctl."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from netify_agent import __version__
from netify_agent.accounting.accountant import Accountant
from netify_agent.api.documents import rfc3339
from netify_agent.config.settings import Settings
from netify_agent.netifyd.listener import ListenerStatus
from netify_agent.store.client import StoreError
from netify_agent.store.flusher import FlusherStatus
from netify_agent.store.reader import StoreReader

if TYPE_CHECKING:
    from netify_agent.fleet.forwarder import ForwarderStatus

STALE_S = 60.0  # netifyd 4.4.5 sends an agent_status every 15 s: this is four of them


def about(count: int) -> str:
    """Round ``count`` down to its first digit, so that the line for systemctl changes rarely."""
    unit = 10 ** (len(str(count)) - 1)
    return str(count) if count < 10 else f"{count // unit * unit}+"


class Status:
    """Reads the state of all components.

    :ivar settings: the effective configuration.
    :ivar writer: state of the flusher; :ivar accountant: the accounting.
    :ivar listeners: one for each endpoint.
    :ivar started: start of this process, agent's clock, seconds since the epoch.
    :ivar alerts: returns the number of alerts; :ivar receivers: the state of the receivers of notifications.
    :ivar forwarder: state of the forwarder to a collector; None if there is none.
    :ivar web_queue: number of requests that wait for a thread; :ivar event_clients: of clients of
        ``/events``.
    """

    def __init__(
        self, settings: Settings, writer: FlusherStatus, accountant: Accountant, reader: StoreReader
    ) -> None:
        self.settings = settings
        self.writer = writer
        self.accountant = accountant
        self.listeners: list[ListenerStatus] = []
        self.started = time.time()
        self.forwarder: ForwarderStatus | None = None
        self.web_queue: Callable[[], int] = lambda: 0
        self.event_clients: Callable[[], int] = lambda: 0
        self.alerts: Callable[[], dict[str, int]] = lambda: {"configured": 0, "active": 0}
        self.receivers: Callable[[], list[dict[str, Any]]] = list
        self._reader = reader

    def line(self) -> str:
        """One line for ``systemctl status``."""
        checks = {name: reason for name, reason in self.checks(ask_redis=False).items() if reason}
        if checks:
            return "; ".join(f"{name}: {reason}" for name, reason in checks.items())
        records = sum(listener.records for listener in self.listeners)
        flows = self.accountant.live_flows
        return f"netifyd connected, {about(records)} records, {about(flows)} live flows, Redis takes flushes"

    def checks(self, *, ask_redis: bool = True) -> dict[str, str | None]:
        """Return each condition of readiness with the problem, or None."""
        return {
            "netifyd": self._netifyd(),
            "redis": self._redis(ask_redis),
            "flushes": self._flushes(),
            "sums": self.writer.inconsistency,
        }

    def _netifyd(self) -> str | None:
        now = time.time()
        wrong = []
        for listener in self.listeners:
            if listener.error or not listener.connected:
                wrong.append(f"{listener.endpoint}: {listener.error or 'not connected'}")
            elif now - max(listener.last_record, listener.connected_since) > STALE_S:
                wrong.append(f"{listener.endpoint}: no record for {STALE_S:.0f} s")
        return "; ".join(wrong) or None

    def _flushes(self) -> str | None:
        limit = self.settings.interval_s + STALE_S
        late = time.time() - max(self.writer.last_flush, self.started) > limit
        return f"Redis took none for more than {limit:.0f} s" if late else None

    def _redis(self, ask: bool) -> str | None:
        if self.writer.error is not None:
            return self.writer.error
        if ask:
            try:
                self._reader.ping()
            except StoreError as error:
                return str(error)
        return None

    def document(self) -> dict[str, Any]:
        """Return the body of ``/status``; see docs/api.md. Times of what never happened are null."""
        now = time.time()
        counters: dict[str, int] | None = None
        left_out: dict[str, int] | None = None
        with contextlib.suppress(StoreError):  # the check of Redis reports it
            counters, left_out = self._reader.counters(), self._reader.left_out()
        return {
            "version": __version__,
            "gateway": self.settings.gateway,
            "started_at": _moment(self.started),
            "uptime_s": int(now - self.started),
            "interval": self.settings.interval_s,
            "checks": {name: reason or "ok" for name, reason in self.checks().items()},
            "listeners": [_listener(listener, now) for listener in self.listeners],
            "accounting": {
                "live_flows": self.accountant.live_flows,
                "pending_changes": self.accountant.pending_changes,
                "devices": len(self.accountant.devices),
                "max_devices": self.accountant.devices.max,
                "devices_full": self.accountant.devices.full,
                "records": dict(self.accountant.records),
                "rejected": dict(self.accountant.rejected),
                "counters": counters,
                "left_out": left_out,
                "interfaces": [
                    {"endpoint": source, "name": point.name, "role": point.role, "counted": point.counted}
                    for source, points in self.accountant.capture_points().items()
                    for point in points
                ],
            },
            "flushes": {
                **vars(self.writer),
                "last_flush": _moment(self.writer.last_flush),
                "flush_ms": round(self.writer.flush_ms, 3) if self.writer.flushes else None,
            },
            "alerts": self.alerts(),
            "receivers": self.receivers(),
            "fleet": self.forwarder
            and {**vars(self.forwarder), "last_sent": _moment(self.forwarder.last_sent)},
            "web": {"queue": self.web_queue(), "event_clients": self.event_clients()},
        }


def _listener(status: ListenerStatus, now: float) -> dict[str, Any]:
    return {
        **vars(status),
        "connected_since": _moment(status.connected_since) if status.connected else None,
        "last_record": _moment(status.last_record),
        "lag_s": round(now - status.last_record, 3) if status.last_record else None,
        "netifyd": asdict(status.netifyd),
    }


def _moment(seconds: float) -> str | None:
    """Format as RFC 3339; None for 0, which means never."""
    return rfc3339(int(seconds * 1000)) if seconds else None
