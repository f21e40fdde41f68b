"""The protocols of receivers, one module each. :func:`sender_of` makes a sender from the configuration."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from netify_agent.alerts.receivers.alertmanager import Alertmanager
from netify_agent.alerts.receivers.http_post import HttpPoster
from netify_agent.alerts.receivers.ntfy import Ntfy
from netify_agent.alerts.receivers.sender import SEND_S, Describe, Sender
from netify_agent.alerts.receivers.webhook import Webhook
from netify_agent.config.notify import (
    AlertmanagerReceiver,
    HttpReceiver,
    NtfyReceiver,
    Receiver,
    SmtpReceiver,
    WebhookReceiver,
)
from netify_agent.config.yaml_reader import ConfigError


def senders_of(receivers: Mapping[str, Receiver], gateway: str, describe: Describe) -> dict[str, Sender]:
    """A sender for each receiver, with its secrets. Sends nothing.

    :param describe: returns the text of an alert.
    :raises ConfigError: with the problems of all receivers, if secrets or CA files can't be used.
    """
    found = {}
    problems: list[str] = []
    for name, settings in receivers.items():
        try:
            found[name] = sender_of(name, settings, gateway, describe)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)
    return found


def sender_of(
    name: str, settings: Receiver, gateway: str, describe: Describe, limit_s: float = SEND_S
) -> Sender:
    """Return the sender of one receiver, with its secrets.

    :param describe: returns the text of an alert.
    :param limit_s: time limit of a conversation, seconds.
    :raises ConfigError: if secrets or the CA file can't be used.
    """
    context = _tls_context(name, settings)
    if isinstance(settings, SmtpReceiver):
        # Imported only where it is configured: smtplib and email take more than a MiB.
        from netify_agent.alerts.receivers.smtp import Smtp

        return Smtp(name, settings, gateway, describe, context, limit_s)
    assert isinstance(settings, HttpReceiver)
    poster = HttpPoster(name, settings, context, limit_s)
    if isinstance(settings, AlertmanagerReceiver):
        return Alertmanager(settings, gateway, describe, poster)
    if isinstance(settings, NtfyReceiver):
        return Ntfy(settings, gateway, describe, poster)
    assert isinstance(settings, WebhookReceiver)
    return Webhook(name, settings, gateway, describe, poster)


def _tls_context(name: str, settings: Receiver) -> ssl.SSLContext:
    """A context that checks the server's certificate and name. Raises ConfigError."""
    path = settings.ca_file
    try:
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ConfigError(f"notify.{name}.ca_file: {path}: expected PEM certificates, found none") from None
    except OSError as error:
        raise ConfigError(f"notify.{name}.ca_file: {path}: can't be read: {error.strerror}") from None
