"""ntfy: push messages to phones. Published as JSON, because HTTP headers can't hold every name."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from netify_agent.alerts.alert import FIRING, Alert, Notification
from netify_agent.alerts.receivers.http_post import HttpPoster
from netify_agent.alerts.receivers.sender import Describe, one_line
from netify_agent.config.notify import NtfyReceiver

_PRIORITIES = {"info": 3, "warning": 4, "critical": 5}  # 3 is ntfy's default, 5 its highest
_TAGS = {"info": "information_source", "warning": "warning", "critical": "rotating_light"}  # shown as emoji
_RESOLVED_TAG = "white_check_mark"


class Ntfy:
    """Publishes to one topic."""

    resend_s = None

    def __init__(self, settings: NtfyReceiver, gateway: str, describe: Describe, poster: HttpPoster) -> None:
        """``poster``: posts to this receiver."""
        self._poster = poster
        server, _, self._topic = settings.url.rpartition("/")
        self._url = server + "/"
        self._gateway = gateway
        self._describe = describe

    def send(self, notification: Notification, stop: threading.Event) -> str:
        """Publish the alert."""
        alert = notification.alert
        fires = alert.status == FIRING
        document = {
            "topic": self._topic,
            "title": f"{'' if fires else 'Resolved: '}{alert.name} ({self._gateway})",
            "message": one_line(self._describe(alert)),
            "priority": _PRIORITIES[alert.severity] if fires else _PRIORITIES["info"],
            "tags": [_TAGS[alert.severity] if fires else _RESOLVED_TAG],
        }
        return self._poster.post(self._url, document, stop, {"Idempotency-Key": notification.key})

    def refresh(self, alerts: Sequence[Alert], stop: threading.Event) -> None:
        """Do nothing: a push message is sent once."""
