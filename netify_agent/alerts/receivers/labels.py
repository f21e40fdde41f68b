"""An alert in the terms of Prometheus: labels, annotations, times."""

from __future__ import annotations

from datetime import datetime, timezone

from netify_agent.alerts.alert import Alert

Labels = dict[str, str]


def labels_of(alert: Alert, gateway: str) -> Labels:
    """Labels, which identify the alert and never change."""
    labels = {
        "alertname": alert.name,
        "gateway": gateway,
        "kind": alert.kind,
        "severity": alert.severity,
        "device": alert.device,
        "group": alert.group,
        "application": alert.application,
        "check": alert.check,
        "grouped": "true" if alert.grouped else None,
    }
    return {name: value for name, value in labels.items() if value}


def annotations_of(alert: Alert, summary: str) -> Labels:
    """Annotations: the text and what was measured."""
    annotations = {"summary": summary, "id": alert.id, "count": str(alert.count)}
    return annotations if alert.value is None else {**annotations, "value": str(alert.value)}


def rfc3339(at_ms: int) -> str:
    """A time in UTC. ``at_ms``: milliseconds since the epoch."""
    moment = datetime.fromtimestamp(at_ms // 1000, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def fingerprint(labels: Labels) -> str:
    """Alertmanager's fingerprint of labels: FNV-1a, 64 bits, in hex."""
    found = 14695981039346656037
    for name in sorted(labels):
        for byte in name.encode() + b"\xff" + labels[name].encode("utf-8", "replace") + b"\xff":
            found = ((found ^ byte) * 1099511628211) % (1 << 64)
    return f"{found:016x}"
