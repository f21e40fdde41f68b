"""Each receiver says what its protocol asks for, and a receiver that misbehaves ends no thread."""

from __future__ import annotations

import hashlib
import hmac
import ssl
import threading
from collections.abc import Iterator
from email import message_from_string, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult
from alert_receivers import Hook, hook, mail_server
from support import certificate, free_port

from netify_agent.alerts.alert import Alert, Notification
from netify_agent.alerts.receivers import sender, sender_of
from netify_agent.alerts.receivers.labels import fingerprint
from netify_agent.alerts.receivers.sender import NotSent, Sender
from netify_agent.config.settings import ConfigError, parse

FIRING = Alert(
    *("0123456789abcdef", "busy", "rate", "critical", "{who}: 92.1 Mbit/s, above 80 Mbit/s for 10 min"),
    *(1_796_000_000_250,),
    device="02:00:00:00:00:01",
    value=92_100_000,
    receivers=("x",),
)
RESOLVED = Alert(**{**vars(FIRING), "resolved_at": 1_796_000_600_000})


@pytest.fixture
def server() -> Iterator[Hook]:
    with hook() as running:
        yield running


def a_sender(keys: str, **limits: float) -> Sender:
    settings = parse(f"notify: {{x: {{{keys}}}}}", "f")
    return sender_of(
        *("x", settings.notify["x"], "gw1", lambda alert: alert.summary(lambda device: "Küche")), **limits
    )


def send(one: Sender, alert: Alert = FIRING) -> str:
    return one.send(Notification("x", alert, 0), threading.Event())


def test_a_webhook_has_the_body_of_alertmanager(server: Hook) -> None:
    one = a_sender(f"type: webhook, url: '{server.url}?a=b'")
    assert send(one) == "200 OK thank"
    send(one, RESOLVED)
    firing, resolved = server.documents
    labels = {
        "alertname": "busy",
        "gateway": "gw1",
        "kind": "rate",
        "severity": "critical",
        "device": "02:00:00:00:00:01",
    }
    (alert,) = firing["alerts"]
    assert firing["version"] == "4"
    assert (firing["status"], resolved["status"], firing["receiver"]) == ("firing", "resolved", "x")
    assert firing["commonLabels"] == alert["labels"] == labels
    assert alert["annotations"]["summary"].startswith("Küche (02:00:00:00:00:01): 92.1 Mbit/s")
    assert alert["startsAt"] == "2026-11-30T00:53:20.250Z"
    assert alert["endsAt"] == "0001-01-01T00:00:00Z"
    assert resolved["alerts"][0]["endsAt"] == "2026-11-30T01:03:20.000Z"
    assert alert["fingerprint"] == resolved["alerts"][0]["fingerprint"]
    assert server.keys == ["0123456789abcdef-firing", "0123456789abcdef-resolved"]
    assert "authorization" not in server.requests[0][0]


def test_a_fingerprint_is_alertmanagers() -> None:
    # prometheus/common, model/signature_test.go
    assert fingerprint({}) == f"{14695981039346656037:016x}"
    assert (
        fingerprint({"name": "garland, briggs", "fear": "love is not enough"})
        == f"{5799056148416392346:016x}"
    )


def test_a_webhook_is_signed_with_the_key_of_a_file(server: Hook, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cr3t\n")
    (tmp_path / "token").write_text("t0k3n\n")
    send(
        a_sender(
            f"type: webhook, url: '{server.url}', hmac_file: {tmp_path}/key, token_file: {tmp_path}/token"
        )
    )
    ((headers, body),) = server.requests
    digest = hmac.new(b"s3cr3t", body, hashlib.sha256).hexdigest()
    assert headers["x-netify-signature"] == f"sha256={digest}"
    assert headers["authorization"] == "Bearer t0k3n"


def test_secrets_are_credentials_too(server: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "notify-x-password").write_text("pa:ss\n")
    send(a_sender(f"type: alertmanager, url: '{server.url}', user: u"))
    assert server.requests[0][0]["authorization"] == "Basic dTpwYTpzcw=="
    with pytest.raises(ConfigError, match=r"^notify\.x\.token_file: /none: can't be read"):
        a_sender(f"type: webhook, url: '{server.url}', token_file: /none")


def test_alertmanager_is_told_again(server: Hook) -> None:
    one = a_sender(f"type: alertmanager, url: '{server.url}/', resend: 10s")
    assert one.resend_s == 10
    send(one, RESOLVED)
    one.refresh([FIRING], threading.Event())
    (resolved,), (firing,) = server.documents
    assert resolved["endsAt"] == "2026-11-30T01:03:20.000Z"
    assert firing["labels"] == resolved["labels"]
    assert firing["endsAt"] > firing["startsAt"] or firing["endsAt"] > "2026"


def test_ntfy_gets_json_at_its_root(server: Hook) -> None:
    one = a_sender(f"type: ntfy, url: 'http://127.0.0.1:{server.port}/my_topic'")
    send(one)
    send(one, RESOLVED)
    firing, resolved = server.documents
    assert firing["topic"] == "my_topic"
    assert (firing["title"], firing["priority"]) == ("busy (gw1)", 5)
    assert firing["message"].startswith("Küche")
    assert (resolved["title"], resolved["priority"]) == ("Resolved: busy (gw1)", 3)


@pytest.mark.parametrize(
    ("behaviour", "only_this"),
    [
        *(("refuse", False), ("reject", True), ("cut", False), ("hang", False), ("drip", False)),
        *(("flood", False), ("break", False), ("redirect", False), ("garbage", False)),
    ],
)
def test_a_receiver_that_misbehaves_has_not_been_told(server: Hook, behaviour: str, only_this: bool) -> None:
    server.behaviour = behaviour
    with pytest.raises(NotSent) as caught:
        send(a_sender(f"type: webhook, url: '{server.url}'", limit_s=1.0))
    assert caught.value.only_this == only_this
    assert server.url not in str(caught.value)


def test_a_redirect_is_not_followed(server: Hook) -> None:
    server.behaviour = "redirect"
    with pytest.raises(NotSent, match="it answers 302 Found"):
        send(a_sender(f"type: webhook, url: '{server.url}'"))
    assert server.attempts == 1


def test_what_a_receiver_says_beside_its_status_changes_nothing(server: Hook) -> None:
    server.behaviour = "lie"
    answer = send(a_sender(f"type: webhook, url: '{server.url}'"))
    assert answer.startswith("200 ")
    assert answer.isprintable()
    assert len(server.requests) == 1


def test_without_memory_for_a_thread_nothing_is_sent_and_no_thread_ends(
    server: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(body: object) -> None:
        raise RuntimeError("can't start new thread")

    one = a_sender(f"type: webhook, url: '{server.url}'")
    with monkeypatch.context() as patch, pytest.raises(NotSent, match="can't start new thread"):
        patch.setattr(sender, "start_thread", start)
        send(one)
    assert server.attempts == 0


def test_a_stop_ends_a_conversation(server: Hook) -> None:
    server.behaviour = "hang"
    stop = threading.Event()
    stop.set()
    with pytest.raises(NotSent, match="the agent stops"):
        a_sender(f"type: webhook, url: '{server.url}'").send(Notification("x", FIRING, 0), stop)


def test_a_receiver_that_is_away_is_named_by_the_reason() -> None:
    with pytest.raises(NotSent, match="Connection refused"):
        send(a_sender(f"type: webhook, url: 'http://127.0.0.1:{free_port()}/'"))


# -- mail ------------------------------------------------------------------------------------------

MAIL = "type: smtp, server: '127.0.0.1:{}', from: gw@example.net, to: [a@example.net, b@example.net]"


def test_a_mail_says_what_happened_and_is_the_same_when_sent_again() -> None:
    with mail_server() as (box, port):
        one = a_sender(MAIL.format(port) + ", tls: none")
        assert send(one) == "250 taken"
        send(one)
        send(one, RESOLVED)
    (recipients, text), (_, again), (_, resolved) = box.mails
    assert recipients == ["a@example.net", "b@example.net"]
    first, second, third = (
        message_from_string(one, policy=policy.default) for one in (text, again, resolved)
    )
    assert first["Subject"].startswith("[critical] gw1: Küche (02:00:00:00:00:01): 92.1 Mbit/s")
    assert first["Message-ID"] == second["Message-ID"] == third["In-Reply-To"]
    assert third["Message-ID"] != first["Message-ID"]
    assert third["Subject"].startswith("[resolved]")
    assert "Started: 2026-11-30T00:53:20.250Z" in first.get_content()


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_mail_uses_tls_and_a_password_from_a_file(tls: str, directory: Path) -> None:
    files = certificate(directory)
    assert files.certificate is not None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    logins = []

    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"pass word", handled=False)

    options: dict[str, Any] = {"authenticator": check, "auth_required": True}
    options |= (
        {"tls_context": context, "require_starttls": True}
        if tls == "starttls"
        else {"ssl_context": context, "auth_require_tls": False}
    )
    password = directory / "password"
    password.write_text("pass word\n")
    with mail_server(**options) as (box, port):
        keys = MAIL.format(port).replace("127.0.0.1", "localhost")
        login = f"user: u, password_file: {password}"
        one = a_sender(f"{keys}, tls: {tls}, ca_file: {files.certificate}, {login}")
        send(one)
        password.write_text("wrong\n")
        with pytest.raises(NotSent, match="it refuses user or password: 535"):
            send(a_sender(f"{keys}, tls: {tls}, ca_file: {files.certificate}, {login}"))
        with pytest.raises(NotSent, match="certificate"):
            send(a_sender(f"{keys}, tls: {tls}, {login}"))
    assert len(box.mails) == 1
    assert logins[0] == (b"u", b"pass word")
