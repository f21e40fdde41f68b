"""The configuration of both sides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netify_agent.cli import main
from netify_agent.config import collector
from netify_agent.config.collector import CollectorSettings
from netify_agent.config.settings import ConfigError, Settings, parse
from netify_agent.fleet import gateway_settings, tokens
from netify_agent.fleet.forwarder import history_at_once
from netify_agent.store.replica_source import MAX_HISTORY

ETC = Path(__file__).parents[2] / "etc"
DIGEST = "0123456789abcdef" * 4


def test_the_example_has_the_defaults() -> None:
    assert collector.load(str(ETC / "netify-collector.yaml")) == CollectorSettings()


def test_nothing_is_forwarded_by_default() -> None:
    assert Settings().fleet.url is None


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("https://collector.example.net/", "https://collector.example.net"),
        ("https://[2001:db8::1]:7443/fleet/", "https://[2001:db8::1]:7443/fleet"),
        ("http://127.0.0.1:7001", "http://127.0.0.1:7001"),
        ("http://[::1]:7001", "http://[::1]:7001"),
    ],
)
def test_the_url_of_a_collector(url: str, read: str) -> None:
    assert parse(json.dumps({"fleet": {"url": url, "token_file": "/x"}}), "test").fleet.url == read


@pytest.mark.parametrize(
    "fleet",
    [
        {"url": "https://collector.example.net"},
        {"token_file": "/etc/token"},
        *(
            {"url": url, "token_file": "/etc/token"}
            for url in (
                *(
                    "http://192.0.2.1",
                    "http://collector.example.net",
                    "https://me:secret@collector.example.net",
                ),
                *(
                    "https://",
                    "https://host:0",
                    "https://host:99999",
                    "https://host/?a=1",
                    "ftp://host",
                    "host",
                ),
            )
        ),
        {"url": "https://host", "token_file": "/etc/token", "interval": 0},
    ],
)
def test_a_wrong_section_is_refused_and_shows_no_secret(fleet: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(json.dumps({"fleet": fleet}), "test")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"web": {"listen": "0.0.0.0:7001"}}, "expected a loopback address or a unix socket"),
        ({"web": {"tls": {"key": "/etc/key"}}}, "expected web.tls.certificate as well"),
        ({"gateway": "gw1"}, "gateway"),
        ({"gateways_file": "tokens"}, "expected an absolute path"),
    ],
)
def test_a_wrong_collector_is_refused(
    settings: dict[str, object], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "collector.yaml"
    config.write_text(json.dumps(settings))
    assert main(["collect", "--config", str(config)]) == 78
    assert problem in capsys.readouterr().err


def test_the_files_of_tokens(tmp_path: Path) -> None:
    gateways, readers = tmp_path / "gateways", tmp_path / "readers"
    gateways.write_text(f"# all\ngw1 {DIGEST}  # the first\ngw1 {DIGEST[::-1]}\n")
    readers.write_text(f"{'1' * 64}\n{'2' * 64} branch-* gw?\n")
    found = tokens.load(str(gateways), str(readers))
    assert found.gateways == {"gw1": (bytes.fromhex(DIGEST), bytes.fromhex(DIGEST[::-1]))}
    every, some = found.readers
    assert every.sees("anything")
    assert [some.sees(name) for name in ("branch-1", "gw7", "gw10", "xbranch-1")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("gateways", "readers", "problem"),
    [
        ("gw1 secret-token", "", "gateways:1: expected a SHA-256 digest"),
        ("gw1", "", "gateways:1: expected the name of a gateway"),
        (f"{{gw1}} {DIGEST}", "", "gateways:1: expected the name of a gateway"),
        (f"gw1 {DIGEST} gw2", "", "gateways:1: expected the name of a gateway"),
        ("", "secret-token", "readers:1: expected a SHA-256 digest"),
        ("", f"{DIGEST} [a-z]*", "readers:1: expected names of gateways"),
        (f"gw1 {DIGEST}", DIGEST, "expected each token once"),
    ],
)
def test_wrong_files_of_tokens_are_refused_and_not_shown(
    tmp_path: Path, gateways: str, readers: str, problem: str
) -> None:
    for name, text in (("gateways", gateways), ("readers", readers)):
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as refused:
        tokens.load(str(tmp_path / "gateways"), str(tmp_path / "readers"))
    assert problem in str(refused.value)
    assert "secret-token" not in str(refused.value)


def test_settings_of_a_gateway_are_read_as_they_were_sent() -> None:
    text = '{"gateway": "gw1", "interval": 7, "history": {"5m": "1d", "1d": "90d", "1mo": "5y"}, "calendar": '
    mine = parse(
        text + '{"timezone": "Asia/Kathmandu", "month_starts_on": 31, "week_starts_on": "sunday"}}', "x"
    )
    read = gateway_settings.decode("gw1", gateway_settings.encode(mine))
    assert (read.gateway, read.interval_s, read.calendar) == (mine.gateway, mine.interval_s, mine.calendar)
    assert [(one.step_s, one.keep_s) for one in read.history] == [
        (one.step_s, one.keep_s) for one in mine.history
    ]


def test_the_rate_of_messages_is_bounded_if_a_bound_is_given() -> None:
    assert Settings().fleet.max_rate is None
    fleet = {"url": "https://collector.example.net", "token_file": "/x"}
    given = parse(json.dumps({"fleet": {**fleet, "max_rate": "64 kbit/s"}}), "test").fleet
    assert given.max_rate == 64_000
    for rate in ("7999 bit/s", "64", 64000):
        with pytest.raises(ConfigError, match=r"fleet\.max_rate: expected a rate"):
            parse(json.dumps({"fleet": {**fleet, "max_rate": rate}}), "test")
    assert history_at_once(None) == history_at_once(10**9) == MAX_HISTORY
    assert history_at_once(64_000) == 240_000
    assert history_at_once(8_000) == 30_000
