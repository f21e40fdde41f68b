"""The configuration of alerts and receivers: what is read, and what each problem names."""

from __future__ import annotations

import re
from typing import Any

import pytest
from config_problems import known_keys, problem, problems

from netify_agent.config.alerts import (
    Alert,
    HealthAlert,
    NewDeviceAlert,
    QuietHours,
    RateAlert,
    Reference,
    RiskAlert,
    SilentAlert,
)
from netify_agent.config.notify import (
    AlertmanagerReceiver,
    NtfyReceiver,
    Receiver,
    SmtpReceiver,
    WebhookReceiver,
)
from netify_agent.config.settings import parse

WEBHOOK = "type: webhook, url: 'https://h/x'"
SMTP = "type: smtp, server: 'h:25', from: a@b.c, to: [a@b.c]"
KINDS = "alerts.a.kind: expected rate, new_device, silent, risk or health, found "
TYPES = "notify.a.type: expected alertmanager, webhook, ntfy or smtp, found "


def test_alerts_and_receivers_are_read() -> None:
    settings = parse(
        f"""
alerts:
  busy: {{kind: rate, above: 2.5 Mbit/s, for: 10m, direction: down, device: each, severity: critical,
          quiet: 22:00-07:00, notify: [mail]}}
  agent: {{kind: health}}
notify:
  mail: {{{SMTP}, user: u}}
""",
        "f",
    )
    assert settings.alerts == {
        "busy": RateAlert(
            *("critical", QuietHours(22 * 60, 7 * 60), (Reference("mail"),)),
            *(2_500_000, 600, "down", "each"),
        ),
        "agent": HealthAlert(),
    }
    mail = settings.notify["mail"]
    assert isinstance(mail, SmtpReceiver)
    assert (mail.address, mail.to, mail.tls) == ("h:25", ("a@b.c",), "starttls")
    assert "https" not in repr(parse(f"notify: {{a: {{{WEBHOOK}}}}}", "f"))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("severity: info", KINDS + "nothing"),
        ("kind: plan", KINDS + "'plan'"),
        ("kind: health, x: 1", "alerts.a.x: unknown key, expected severity, quiet, notify, for, checks"),
        ("kind: health, severity: bad", "alerts.a.severity: expected info, warning or critical, found 'bad'"),
        ("kind: health, quiet: 7-8", "alerts.a.quiet: expected a part of the day such as 22:00-07:00, found"),
        ("kind: health, quiet: 07:00-07:00", "alerts.a.quiet: expected a part of the day such as"),
        ("kind: health, notify: [b]", "alerts.a.notify: expected a receiver of notify (and there is none)"),
        ("kind: health, notify: ['']", "alerts.a.notify[0]: expected a name of 1 to 63 letters"),
        ("kind: health, for: 0s", "alerts.a.for: expected a duration such as 90s, 5m, 1h or 31d, from 1s"),
        ("kind: health, checks: []", "alerts.a.checks: expected a list of 1 or more, found 0"),
        ("kind: health, checks: [x]", "alerts.a.checks[0]: expected netifyd, redis, flushes, sums or lost"),
        (
            "kind: rate",
            "alerts.a.above: expected a rate such as 500 kbit/s, 2.5 Mbit/s or 1 Gbit/s, found not",
        ),
        ("kind: rate, above: 5", "alerts.a.above: expected a rate such as"),
        ("kind: rate, above: 0.0001 Mbit/s", "alerts.a.above: expected a rate such as"),
        ("kind: rate, above: 0.5 bit/s", "alerts.a.above: expected a rate such as"),
        ("kind: rate, above: 1 bit/s, for: 0s", "alerts.a.for: expected a duration"),
        ("kind: rate, above: 1 bit/s, direction: x", "alerts.a.direction: expected both, up or down, found"),
        (
            "kind: rate, above: 1 bit/s, device: x",
            "alerts.a.device: expected a MAC address, or the IP address",
        ),
        ("kind: rate, above: 1 bit/s, group: a/b", "alerts.a.group: expected a name of 1 to 63 letters"),
        (
            "kind: rate, above: 1 bit/s, group: kids",
            "alerts.a.group: expected each, or a group of groups (and there is none), found 'kids'",
        ),
        (
            "kind: rate, above: 1 bit/s, group: each, device: each",
            "alerts.a.group: expected one of device and group, found both",
        ),
        (
            "kind: rate, above: 1 bit/s, group: each, application: each",
            "alerts.a.application: expected the tag of an application beside group: each",
        ),
        ("kind: rate, above: 1 bit/s, application: ''", "alerts.a.application: expected the tag of an"),
        (
            "kind: rate, above: 1 bit/s, device: each, application: each",
            "alerts.a.application: expected the tag of an application beside device: each",
        ),
        ("kind: new_device, learn: x", "alerts.a.learn: expected a duration"),
        ("kind: new_device, resolve_after: 1s", "alerts.a.resolve_after: expected a duration"),
        (
            "kind: silent",
            "alerts.a.device: expected a MAC address, or the IP address of a device without one",
        ),
        ("kind: silent, device: netifyd, for: 1s", "alerts.a.for: expected a duration"),
        ("kind: risk", "alerts.a.score: expected a whole number from 1 to 65535, found nothing"),
        ("kind: risk, score: 0", "alerts.a.score: expected a whole number from 1 to 65535, found 0"),
        ("kind: risk, score: 1, resolve_after: 0s", "alerts.a.resolve_after: expected a duration"),
    ],
)
def test_a_problem_of_an_alert_names_its_key(keys: str, expected: str) -> None:
    assert problem(f"alerts: {{a: {{{keys}}}}}").startswith(f"f.yaml:1: {expected}")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("url: 'https://h'", TYPES + "nothing"),
        ("type: pager", TYPES + "'pager'"),
        ("type: webhook", "notify.a.url: expected a URL such as https://host:port/path, without user and"),
        ("type: webhook, url: 'https://u:s3cr3t@h/'", "notify.a.url: expected a URL such as"),
        ("type: webhook, url: 'ftp://h/s3cr3t'", "notify.a.url: expected a URL such as"),
        ("type: webhook, url: 'https://h:99999/s3cr3t'", "notify.a.url: expected a URL such as"),
        ("type: ntfy, url: 'https://h/'", "notify.a.url: expected the URL of a topic such as"),
        (f"{WEBHOOK}, give_up_after: 1s", "notify.a.give_up_after: expected a duration"),
        (f"{WEBHOOK}, ca_file: x", "notify.a.ca_file: expected an absolute path"),
        (f"{WEBHOOK}, token_file: x", "notify.a.token_file: expected an absolute path"),
        (f"{WEBHOOK}, hmac_file: x", "notify.a.hmac_file: expected an absolute path"),
        (f"{WEBHOOK}, user: 'a:b'", "notify.a.user: expected a user name of 1 to 128 characters"),
        (f"{WEBHOOK}, password_file: x", "notify.a.password_file: expected an absolute path"),
        (f"{WEBHOOK}, password_file: /x", "notify.a.password_file: expected user as well, found none"),
        (f"{WEBHOOK}, user: u, token_file: /x", "notify.a.token_file: expected one of token_file and user"),
        (f"{WEBHOOK}, send_resolved: x", "notify.a.send_resolved: expected true or false"),
        ("type: alertmanager, url: 'http://h', resend: 0s", "notify.a.resend: expected a duration"),
        ("type: smtp, from: a@b.c, to: [a@b.c]", "notify.a.server: expected host:port, such as smtp.example"),
        (SMTP.replace("a@b.c", "x", 1), "notify.a.from: expected a mail address such as admin@example.net"),
        (SMTP.replace("[a@b.c]", "[]"), "notify.a.to: expected a list of 1 or more, found 0"),
        (f"{SMTP}, tls: ssl", "notify.a.tls: expected starttls, tls or none, found 'ssl'"),
        (f"{SMTP}, tls: none, user: u", "notify.a.tls: expected starttls or tls beside user, found none"),
    ],
)
def test_a_problem_of_a_receiver_names_its_key_and_no_secret(keys: str, expected: str) -> None:
    found = problem(f"notify: {{a: {{{keys}}}}}")
    assert found.startswith(f"f.yaml:1: {expected}")
    assert "s3cr3t" not in found


def every_key(section: type[Any], classes: tuple[type[Any], ...]) -> list[tuple[str, str, str]]:
    """Each key of each kind or type, with the kind or type."""
    return [
        (section.__name__, next(filter(None, (getattr(cls, "kind", ""), getattr(cls, "type", "")))), key)
        for cls in classes
        for key in sorted(known_keys(cls))
    ]


@pytest.mark.parametrize(
    ("of", "variant", "key"),
    [
        *every_key(Alert, (RateAlert, NewDeviceAlert, SilentAlert, RiskAlert, HealthAlert)),
        *every_key(Receiver, (AlertmanagerReceiver, WebhookReceiver, NtfyReceiver, SmtpReceiver)),
    ],
)
def test_each_key_refuses_what_it_can_not_be_with_file_line_and_key(of: str, variant: str, key: str) -> None:
    name, discriminator = ("alerts", "kind") if of == "Alert" else ("notify", "type")
    text = f"{name}:\n  a:\n    {discriminator}: {variant}\n    {key}: {{x: 1}}\n"
    found = [one for one in problems(text) if f" {name}.a.{key}: " in one]
    assert len(found) == 1
    assert re.match(rf"f\.yaml:4: {name}\.a\.{key}: expected .+, found ", found[0]), found


def test_an_unknown_group_is_named_with_its_line() -> None:
    text = "groups: {kids: []}\nalerts:\n  a:\n    kind: rate\n    above: 1 bit/s\n    group: kid\n"
    expected = "alerts.a.group: expected each, or a group of groups (kids), found 'kid'"
    assert problem(text) == f"f.yaml:6: {expected}"
    assert parse(text.replace("kid\n", "kids\n"), "f").alerts
    assert parse(text.replace("group: kid\n", "group: each\n"), "f").alerts


def test_an_unknown_receiver_is_named_with_its_line() -> None:
    text = f"notify: {{phone: {{{WEBHOOK}}}}}\nalerts:\n  a:\n    kind: health\n    notify: [phone, fone]\n"
    expected = "alerts.a.notify: expected a receiver of notify (phone), found 'fone'"
    assert problem(text) == f"f.yaml:5: {expected}"


def test_names_are_simple_and_few() -> None:
    assert problem("alerts: {'a b': {kind: health}}").startswith("f.yaml:1: alerts.'a b': expected a name of")
    many = ", ".join(f"r{number}: {{{WEBHOOK}}}" for number in range(11))
    assert problem(f"notify: {{{many}}}") == "f.yaml:1: notify: expected at most 10 names, found 11"
    assert parse("alerts:\nnotify:\n", "f").alerts == {}
