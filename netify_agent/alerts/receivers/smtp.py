"""Mail over SMTP (RFC 5321), with STARTTLS, TLS or neither.

``Message-ID`` is the same whenever a notification is sent again; mail servers drop the copy or readers can.
"""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
import threading
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Any

from netify_agent import __version__
from netify_agent.alerts.alert import FIRING, RESOLVED, Alert, Notification
from netify_agent.alerts.receivers.labels import rfc3339
from netify_agent.alerts.receivers.sender import (
    CONNECT_S,
    Describe,
    NotSent,
    connect,
    one_line,
    reason_of,
    start_tls,
    time_limit,
)
from netify_agent.config.notify import SmtpReceiver

_REPLY_BYTES = 65536  # of all replies of a conversation
_SUBJECT_CHARS = 120


class Smtp:
    """Sends mail through one server."""

    resend_s = None

    def __init__(
        self,
        name: str,
        settings: SmtpReceiver,
        gateway: str,
        describe: Describe,
        context: ssl.SSLContext,
        limit_s: float,
    ) -> None:
        """Read the password, if one is configured.

        :param limit_s: time limit of a conversation, seconds.
        :raises ConfigError: if the password can't be read.
        """
        self._limit_s = limit_s
        self._settings = settings
        self._password = settings.password(name)
        self._gateway = gateway
        self._describe = describe
        self._context = context

    def send(self, notification: Notification, stop: threading.Event) -> str:
        """Send one mail to all recipients; at least one must be accepted."""
        settings = self._settings
        client = _Client(self._context, tls_at_once=settings.tls == "tls")
        try:
            with time_limit(lambda: client.sock, stop, self._limit_s):
                client.connect(settings.server.host, settings.server.port)
                if settings.tls == "starttls":
                    client.starttls(context=client)  # type: ignore[call-overload]
                if settings.user is not None and self._password is not None:
                    client.login(settings.user, self._password)
                refused = client.send_message(self.message(notification), settings.sender, settings.to)
                answer = client.answer
                client.docmd("QUIT")
        except smtplib.SMTPAuthenticationError as error:
            raise NotSent(f"it refuses user or password: {_reply(error)}") from error
        except smtplib.SMTPRecipientsRefused as error:
            code, text = next(iter(error.recipients.values()))
            shown = f"it refuses all recipients: {code} {text.decode('utf-8', 'replace')}"
            raise NotSent(shown, only_this=code >= 500) from error
        except smtplib.SMTPResponseException as error:
            raise NotSent(f"it answers {_reply(error)}", only_this=error.smtp_code >= 500) from error
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise NotSent(reason_of(error)) from error
        finally:
            client.close()
        return one_line(answer + (f"; it refused {', '.join(refused)}" if refused else ""))

    def refresh(self, alerts: Sequence[Alert], stop: threading.Event) -> None:
        """Do nothing: a mail is sent once."""

    def message(self, notification: Notification) -> EmailMessage:
        """The mail."""
        alert, settings = notification.alert, self._settings
        summary = one_line(self._describe(alert))
        fires = alert.status == FIRING
        word = alert.severity if fires else RESOLVED
        message = EmailMessage(policy=SMTP)
        message["From"] = settings.sender
        message["To"] = ", ".join(settings.to)
        message["Subject"] = f"[{word}] {self._gateway}: {summary}"[:_SUBJECT_CHARS]
        message["Date"] = formatdate()
        message["Message-ID"] = self._message_id(alert.id, alert.status)
        if not fires:
            message["In-Reply-To"] = self._message_id(alert.id, FIRING)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody answers it automatically
        message["User-Agent"] = f"netify-agent/{__version__}"
        times = [f"Started: {rfc3339(alert.started_at)}"]
        if alert.resolved_at is not None:
            times.append(f"Resolved: {rfc3339(alert.resolved_at)}")
        names = f"Alert: {alert.name} ({alert.severity})\nGateway: {self._gateway}"
        message.set_content("\n".join((summary, "", names, *times, "")))
        return message

    def _message_id(self, alert: str, status: str) -> str:
        return f"<{alert}-{status}@{re.sub('[^A-Za-z0-9.-]', '-', self._gateway)}.netify-agent>"


class _Client(smtplib.SMTP):
    """smtplib's client with bounded replies.

    :ivar answer: the latest reply.
    """

    def __init__(self, context: ssl.SSLContext, *, tls_at_once: bool) -> None:
        """``tls_at_once``: use TLS from the first byte."""
        # Without a name of its own, smtplib asks the resolver for one.
        super().__init__(local_hostname=socket.gethostname(), timeout=CONNECT_S)
        self.answer = ""
        self._context = context
        self._tls_at_once = tls_at_once

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        # Overridden by smtplib.SMTP_SSL in the same way.
        self._host = host  # the name that the certificate must have
        plain = connect(host, port)
        return self.wrap_socket(plain, host) if self._tls_at_once else plain

    def wrap_socket(self, plain: socket.socket, server_hostname: str) -> socket.socket:
        """Begin TLS; ``starttls`` of smtplib calls it, as a method of an SSLContext."""
        return start_tls(plain, self._context, server_hostname, self._keep)

    def _keep(self, connection: ssl.SSLSocket) -> None:
        self.sock = connection

    def getreply(self) -> tuple[int, bytes]:
        """Read one reply. Raises SMTPServerDisconnected after too many bytes."""
        if self.file is None and self.sock is not None:
            self.file = _Bounded(self.sock.makefile("rb"))
        code, text = super().getreply()
        self.answer = f"{code} {text.decode('utf-8', 'replace')[:120]}"
        return code, text


class _Bounded:
    """The replies of a server, up to :data:`_REPLY_BYTES`."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = _REPLY_BYTES

    def readline(self, size: int) -> bytes:
        line: bytes = self._file.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise OSError("it sends too much")
        return line

    def close(self) -> None:
        self._file.close()


def _reply(error: smtplib.SMTPResponseException) -> str:
    text = error.smtp_error
    return f"{error.smtp_code} {text.decode('utf-8', 'replace') if isinstance(text, bytes) else text}"
