"""``netify-agent notify-test``: sends a test notification to one receiver, and prints what it answers."""

from __future__ import annotations

import threading
import time

from netify_agent.alerts.alert import Alert, Notification, alert_id
from netify_agent.alerts.receivers import sender_of
from netify_agent.alerts.receivers.sender import NotSent
from netify_agent.config.settings import ConfigError, Settings


def notify_test(settings: Settings, name: str) -> int:
    """Send an alert named ``test``, that fires. Nothing is stored, and the daemon does not know of it.

    :returns: the exit code: 1 if the receiver does not exist or did not take it, else 0.
    """
    receiver = settings.notify.get(name)
    if receiver is None:
        print(
            f"WRONG notify: no receiver '{name}', expected {', '.join(settings.notify) or 'one in notify:'}"
        )
        return 1
    now_ms = int(time.time() * 1000)
    ident = alert_id(settings.gateway, "test", name, now_ms)
    alert = Alert(ident, "test", "health", "info", "this is a test of netify-agent", now_ms, check="test")
    try:
        sender = sender_of(name, receiver, settings.gateway, Alert.summary)
        answer = sender.send(Notification(name, alert, 0), threading.Event())
    except ConfigError as error:
        for problem in error.problems:
            print(f"WRONG {problem}")
        return 1
    except NotSent as error:
        print(f"WRONG notify: {name}: {receiver.type} at {receiver.address}: {error}")
        return 1
    print(f"ok    notify: {name}: {receiver.type} at {receiver.address}: {answer}")
    return 0
