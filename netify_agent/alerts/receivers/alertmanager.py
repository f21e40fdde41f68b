"""Prometheus Alertmanager, API v2. Alertmanager itself groups, silences and routes alerts.

Alertmanager regards an alert as resolved from its ``endsAt`` on. As Prometheus does, the agent repeats firing
alerts with an ``endsAt`` in the near future. They end by themselves if the agent stops for good.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from netify_agent.alerts.alert import Alert, Notification
from netify_agent.alerts.receivers.http_post import HttpPoster
from netify_agent.alerts.receivers.labels import annotations_of, labels_of, rfc3339
from netify_agent.alerts.receivers.sender import Describe
from netify_agent.config.notify import AlertmanagerReceiver

_ENDS_AFTER = 4  # times of the resend interval, as Prometheus does
_AT_ONCE = 100  # alerts of one request


class Alertmanager:
    """Sends to one Alertmanager."""

    def __init__(
        self, settings: AlertmanagerReceiver, gateway: str, describe: Describe, poster: HttpPoster
    ) -> None:
        """``poster``: posts to this receiver."""
        self.resend_s = float(settings.resend_s)
        self._poster = poster
        self._url = settings.url.rstrip("/") + "/api/v2/alerts"
        self._gateway = gateway
        self._describe = describe

    def send(self, notification: Notification, stop: threading.Event) -> str:
        """Post the alert as it was when the notification was queued."""
        return self._poster.post(self._url, [self._document(notification.alert)], stop)

    def refresh(self, alerts: Sequence[Alert], stop: threading.Event) -> None:
        """Post all that fire, with another ``endsAt``."""
        for begin in range(0, len(alerts), _AT_ONCE):
            documents = [self._document(alert) for alert in alerts[begin : begin + _AT_ONCE]]
            self._poster.post(self._url, documents, stop)

    def _document(self, alert: Alert) -> dict[str, Any]:
        ends_ms = alert.resolved_at or int((time.time() + _ENDS_AFTER * self.resend_s) * 1000)
        return {
            "labels": labels_of(alert, self._gateway),
            "annotations": annotations_of(alert, self._describe(alert)),
            "startsAt": rfc3339(alert.started_at),
            "endsAt": rfc3339(ends_ms),
        }
