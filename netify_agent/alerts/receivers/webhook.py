"""A webhook with the body of Alertmanager's, version 4: one alert in each POST.

The header ``Idempotency-Key`` is the same whenever a notification is sent again. With a key,
``X-Netify-Signature`` is ``sha256=`` and the HMAC-SHA256 of the body in hex.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Sequence
from typing import Any

from netify_agent.alerts.alert import Alert, Notification
from netify_agent.alerts.receivers.http_post import HttpPoster, to_body
from netify_agent.alerts.receivers.labels import annotations_of, fingerprint, labels_of, rfc3339
from netify_agent.alerts.receivers.sender import Describe
from netify_agent.config.notify import WebhookReceiver

_NEVER = "0001-01-01T00:00:00Z"  # endsAt of an alert that fires, as Alertmanager writes it


class Webhook:
    """Sends to one webhook."""

    resend_s = None

    def __init__(
        self, name: str, settings: WebhookReceiver, gateway: str, describe: Describe, poster: HttpPoster
    ) -> None:
        """Read the HMAC key, if one is configured.

        :param poster: posts to this receiver.
        :raises ConfigError: if the key can't be read.
        """
        self._poster = poster
        key = settings.hmac_key(name)
        self._key = None if key is None else key.encode()
        self._name = name
        self._url = settings.url
        self._gateway = gateway
        self._describe = describe

    def send(self, notification: Notification, stop: threading.Event) -> str:
        """Post the alert."""
        body = to_body(self.document(notification.alert))
        headers = {"Idempotency-Key": notification.key}
        if self._key is not None:
            headers["X-Netify-Signature"] = f"sha256={hmac.new(self._key, body, hashlib.sha256).hexdigest()}"
        return self._poster.post_body(self._url, body, stop, headers)

    def refresh(self, alerts: Sequence[Alert], stop: threading.Event) -> None:
        """Do nothing: a webhook is called once for each notification."""

    def document(self, alert: Alert) -> dict[str, Any]:
        """The body."""
        labels = labels_of(alert, self._gateway)
        annotations = annotations_of(alert, self._describe(alert))
        group = {"alertname": alert.name, "gateway": self._gateway}
        named = ", ".join(f'{name}="{value}"' for name, value in group.items())
        return {
            "version": "4",
            "groupKey": f"{{}}:{{{named}}}",
            "truncatedAlerts": 0,
            "status": alert.status,
            "receiver": self._name,
            "groupLabels": group,
            "commonLabels": labels,
            "commonAnnotations": annotations,
            "externalURL": "",
            "alerts": [
                {
                    "status": alert.status,
                    "labels": labels,
                    "annotations": annotations,
                    "startsAt": rfc3339(alert.started_at),
                    "endsAt": _NEVER if alert.resolved_at is None else rfc3339(alert.resolved_at),
                    "generatorURL": "",
                    "fingerprint": fingerprint(labels),
                }
            ],
        }
