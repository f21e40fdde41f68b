"""The settings of ``notify:``: the receivers of notifications, and where their secrets are.

A secret is in a file, or in a systemd credential named ``notify-<receiver>-<password|token|hmac>``.
"""

import re
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import urlsplit

from netify_agent.config import secrets, types, yaml_reader
from netify_agent.config.types import Endpoint
from netify_agent.config.yaml_reader import ConfigError, Conflict, Expected, one_of, parsed, reads, section

MAX_RECEIVERS = 10
MAX_RECIPIENTS = 20

_path = yaml_reader.optional(parsed(types.absolute_path))
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_USER = re.compile(r"[!-9;-~]{1,128}")


def http_url(text: str) -> str:
    """Read the URL of a receiver, without user and password. Raises Expected."""
    shape = Expected("a URL such as https://host:port/path, without user and password")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise shape from None
    if (
        url.scheme not in ("http", "https")
        or "@" in url.netloc
        or port == 0
        or not re.fullmatch(r"[!-~]{1,1000}", text)
    ):
        raise shape
    address = Endpoint.from_url(
        f"tcp://{f'[{url.hostname}]' if ':' in (url.hostname or '') else url.hostname}:{port or 80}",
        str(shape),
    )
    if not address.host or url.fragment:
        raise shape
    return text


def topic_url(text: str) -> str:
    """Read the URL of a topic of ntfy. Raises Expected."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", http_url(text).rpartition("/")[2]) or text.count("/") < 3:
        raise Expected("the URL of a topic such as https://ntfy.sh/topic")
    return text


def mail_server(text: str) -> Endpoint:
    """Read ``host:port``. Raises Expected."""
    return Endpoint.from_url(f"tcp://{text}", "host:port, such as smtp.example.net:587")


def mail_address(text: str) -> str:
    """Read a mail address. Raises Expected."""
    if not _MAIL.fullmatch(text):
        raise Expected("a mail address such as admin@example.net")
    return text


def user_name(text: str) -> str:
    """Read a user name, which a password belongs to. Raises Expected."""
    if not _USER.fullmatch(text):
        raise Expected("a user name of 1 to 128 characters of ASCII without blanks and ':'")
    return text


_user = yaml_reader.optional(parsed(user_name))


@dataclass(frozen=True)
class Receiver:
    """What all receivers have in common.

    :ivar give_up_after_s: how long a notification is tried, seconds.
    :ivar ca_file: PEM file of the CA to trust instead of the system's.
    """

    type: ClassVar[str]

    give_up_after_s: int = field(default=86400, metadata=reads(parsed(types.duration(60)), "give_up_after"))
    ca_file: str | None = field(default=None, metadata=reads(_path))
    user: str | None = field(default=None, metadata=reads(_user))
    password_file: str | None = field(default=None, metadata=reads(_path))

    @property
    def address(self) -> str:
        """Its address for display, without parts that may be secret."""
        raise NotImplementedError

    @property
    def sends_resolved(self) -> bool:
        """Whether it is notified of resolved alerts."""
        return True

    def password(self, name: str) -> str | None:
        """Read the password of ``user``; None without a user. Raises ConfigError."""
        if self.user is None:
            return None
        found = _secret(name, "password", self.password_file)
        if found is None:
            raise ConfigError(f"notify.{name}.password_file: expected a file or a credential beside user")
        return found


@dataclass(frozen=True, repr=False)
class HttpReceiver(Receiver):
    """A receiver with a URL, which may be secret: its path often is a key."""

    url: str = field(default="", metadata=reads(parsed(http_url, secret=True), required=True))
    token_file: str | None = field(default=None, metadata=reads(_path))

    @property
    def address(self) -> str:
        """Scheme, host and port."""
        url = urlsplit(self.url)
        return f"{url.scheme}://{url.netloc}"

    def token(self, name: str) -> str | None:
        """Read the bearer token; None if there is none. Raises ConfigError."""
        return None if self.user is not None else _secret(name, "token", self.token_file)


@dataclass(frozen=True, repr=False)
class _ResolvedOption:
    """The option not to notify a receiver of resolved alerts."""

    send_resolved: bool = field(default=True, metadata=reads(yaml_reader.boolean))

    @property
    def sends_resolved(self) -> bool:
        """As configured."""
        return self.send_resolved


@dataclass(frozen=True, repr=False)
class AlertmanagerReceiver(HttpReceiver):
    """A Prometheus Alertmanager, at the URL of its web page. Alerts are sent again every ``resend_s``."""

    type = "alertmanager"

    resend_s: int = field(default=60, metadata=reads(parsed(types.duration(1)), "resend"))


@dataclass(frozen=True, repr=False)
class WebhookReceiver(_ResolvedOption, HttpReceiver):
    """A program that reads Alertmanager's webhook body. ``hmac_file`` holds the key of the signature."""

    type = "webhook"

    hmac_file: str | None = field(default=None, metadata=reads(_path))

    def hmac_key(self, name: str) -> str | None:
        """Read the key; None: do not sign. Raises ConfigError."""
        return _secret(name, "hmac", self.hmac_file)


@dataclass(frozen=True, repr=False)
class NtfyReceiver(_ResolvedOption, HttpReceiver):
    """A topic of an ntfy server."""

    type = "ntfy"

    url: str = field(default="", metadata=reads(parsed(topic_url, secret=True), required=True))


@dataclass(frozen=True)
class SmtpReceiver(_ResolvedOption, Receiver):
    """Mail through a server.

    :ivar tls: ``starttls``, ``tls`` (from the first byte) or ``none``.
    """

    type = "smtp"

    server: Endpoint = field(default=Endpoint("tcp"), metadata=reads(parsed(mail_server), required=True))
    tls: str = field(default="starttls", metadata=reads(parsed(one_of("starttls", "tls", "none"))))
    sender: str = field(default="", metadata=reads(parsed(mail_address), "from", required=True))
    to: tuple[str, ...] = field(
        default=(), metadata=reads(yaml_reader.list_of(parsed(mail_address), least=1), required=True)
    )

    @property
    def address(self) -> str:
        """Host and port."""
        return str(self.server)[len("tcp://") :]


def _secret(name: str, what: str, path: str | None) -> str | None:
    """Read a secret from ``path``, else from the credential; None without both. Raises ConfigError."""
    path = path or secrets.credential(f"notify-{name}-{what}")
    if path is None:
        return None
    with secrets.problems_of(f"notify.{name}.{what}_file"):
        found = secrets.password(path)
        if not found.isprintable() or not found.isascii():
            raise ConfigError(f"{path}: expected one line of ASCII characters, found others")
        return found


def _one_login(receiver: HttpReceiver) -> Conflict | None:
    if receiver.token_file is not None and receiver.user is not None:
        return Conflict(("token_file", "user"), "expected one of token_file and user, found both")
    return _user_of_password(receiver)


def _user_of_password(receiver: Receiver) -> Conflict | None:
    if receiver.password_file is None or receiver.user is not None:
        return None
    return Conflict(("password_file", "user"), "expected user as well, found none")


def _safe_mail(receiver: SmtpReceiver) -> Conflict | None:
    if receiver.tls == "none" and receiver.user is not None:
        return Conflict(("tls", "user"), "expected starttls or tls beside user, found none")
    if len(receiver.to) > MAX_RECIPIENTS:
        return Conflict(("to",), f"expected at most {MAX_RECIPIENTS} addresses, found {len(receiver.to)}")
    return _user_of_password(receiver)


Receivers = dict[str, Receiver]

read_receivers: yaml_reader.Reader[Receivers] = yaml_reader.mapping_of(
    parsed(types.plain_name),
    yaml_reader.variants(
        "type",
        {
            AlertmanagerReceiver.type: section(AlertmanagerReceiver, _one_login),
            WebhookReceiver.type: section(WebhookReceiver, _one_login),
            NtfyReceiver.type: section(NtfyReceiver, _one_login),
            SmtpReceiver.type: section(SmtpReceiver, _safe_mail),
        },
    ),
    "names of receivers with their keys, such as phone: {type: ntfy, url: https://ntfy.sh/topic}",
    MAX_RECEIVERS,
    "names",
)
