"""Configuration: what is accepted, and that every mistake is named where it stands, secrets never."""

import os
import socket
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml
from config_problems import CONFFILE, known_keys
from hypothesis import given
from hypothesis import strategies as st

from netify_agent.config.calendar import Calendar
from netify_agent.config.settings import (
    ConfigError,
    DeviceSettings,
    Endpoint,
    MetricsSettings,
    RedisSettings,
    Resolution,
    Settings,
    TlsSettings,
    load,
    parse,
)

# What is accepted


@pytest.mark.parametrize(
    "text", ["", "\n", "# nothing\n", "---\n", "null", "{}", "\ufeff", "netifyd:\nweb: {}\nhistory:\n"]
)
def test_missing_settings_have_their_defaults(text: str) -> None:
    assert parse(text, "f.yaml") == Settings() == load(None)


def test_the_defaults_are_the_documented_ones() -> None:
    settings = Settings()
    assert (settings.interval_s, settings.log_level) == (15, "info")
    assert settings.netifyd.endpoints == (Endpoint("unix", path="/var/run/netifyd/netifyd.sock"),)
    assert (settings.netifyd.max_record_bytes, settings.netifyd.max_flows) == (1048576, 200000)
    assert settings.redis == RedisSettings(url="redis://127.0.0.1:6379/0", password_file=None)
    assert settings.web.listen == Endpoint("tcp", host="127.0.0.1", port=7000)
    assert (settings.web.threads, settings.web.hosts, settings.web.allow_unauthenticated) == (4, (), False)
    assert (settings.web.tokens_file, settings.web.cors_origins) == (None, ())
    assert settings.web.tls == TlsSettings(certificate=None, key=None)
    assert settings.metrics == MetricsSettings(devices=100, applications=100)
    assert settings.history == (
        Resolution(300, 172800, "5m"),
        Resolution(3600, 2678400, "1h"),
        Resolution(86400, 34560000, "1d"),
        Resolution(2629746, 157680000, "1mo"),
    )
    assert settings.devices == DeviceSettings(10_000, 34560000, ())
    assert settings.names.vendors == "/usr/share/ieee-data"
    assert settings.names.hosts == ("/etc/hosts",)
    assert len(settings.names.leases) == 7
    assert settings.names.ethers == ("/etc/ethers",)
    assert settings.names.reverse_dns is False
    assert settings.names.categories == "/etc/netify.d/netify-categories.json"


def test_every_key_is_read_into_its_setting() -> None:
    settings = parse(
        """
gateway: Gw-1.lan_x
interval: 3600
log_level: debug
netifyd: {endpoints: ["unix:///run/n.sock", "tcp://Netifyd:7150", "tcp://[0:0::1]:1"],
          max_record: 4096, max_flows: 1_000}
redis: {url: "rediss://r.example:6380/3", password_file: /run/pw}
web: {listen: "[::]:80", threads: 64, hosts: [Gw.LAN, "[FD00::1]", 192.0.2.1], allow_unauthenticated: yes,
      tokens_file: /t, tls: {certificate: /c.pem, key: /k.pem},
      cors_origins: ["https://Grafana.lan:443", "http://[0:0::1]:3000/"]}
metrics: {devices: 0, applications: 10000}
history: {24h: 400d, 60s: 1m}
calendar: {timezone: Asia/Kathmandu, month_starts_on: 31, week_starts_on: Sunday}
devices: {forget_after: 24h, max: 1, by_ip: [192.0.2.0/24, "2001:DB8::/32", 192.0.2.1, 02-AA-00-00-33-33],
          names: {10:20:30:40:50:11: " Anna's laptop ", "FD00::0:7": printer}}
groups: {kids: [10:20:30:40:50:11, 02-AA-00-00-33-33, 192.0.2.7, "FD00::/64", "kids-*"], "Gäste 2": []}
names: {vendors: /v, hosts: [], ethers: [/e], leases: [/l*, /m], reverse_dns: true, categories: /c}
""",
        "f.yaml",
    )
    assert settings.calendar.calendar == Calendar("Asia/Kathmandu", ZoneInfo("Asia/Kathmandu"), 31, 6)
    assert (settings.gateway, settings.interval_s, settings.log_level) == ("Gw-1.lan_x", 3600, "debug")
    assert settings.netifyd.endpoints == (
        Endpoint("unix", path="/run/n.sock"),
        Endpoint("tcp", host="netifyd", port=7150),
        Endpoint("tcp", host="::1", port=1),
    )
    assert (settings.netifyd.max_record_bytes, settings.netifyd.max_flows) == (4096, 1000)
    assert settings.redis == RedisSettings("rediss://r.example:6380/3", "/run/pw")
    assert settings.web.listen == Endpoint("tcp", host="::", port=80)
    assert (settings.web.threads, settings.web.allow_unauthenticated) == (64, True)
    assert settings.web.hosts == ("gw.lan", "fd00::1", "192.0.2.1")
    assert (settings.web.tokens_file, settings.web.tls) == ("/t", TlsSettings("/c.pem", "/k.pem"))
    assert settings.web.cors_origins == ("https://grafana.lan", "http://[::1]:3000")
    assert settings.metrics == MetricsSettings(0, 10000)
    assert settings.history == (Resolution(60, 60, "1m"), Resolution(86400, 34560000, "1d"))
    assert settings.devices == DeviceSettings(
        1,
        86400,
        ("192.0.2.0/24", "2001:db8::/32", "192.0.2.1/32", "02:aa:00:00:33:33"),
        {"10:20:30:40:50:11": "Anna's laptop", "fd00::7": "printer"},
    )
    kids = ("10:20:30:40:50:11", "02:aa:00:00:33:33", "192.0.2.7/32", "fd00::/64", "kids-*")
    assert list(settings.groups.items()) == [("kids", kids), ("Gäste 2", ())]
    assert settings.names == type(settings.names)("/v", (), ("/e",), ("/l*", "/m"), True, "/c")


@pytest.mark.parametrize(
    ("host_name", "gateway"),
    [("gw1.lan", "gw1.lan"), ("(none)", "-none-"), ("", "gateway"), ("g" * 64, "g" * 63)],
)
def test_a_gateway_without_a_name_takes_the_host_name(
    host_name: str, gateway: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host_name)
    assert parse("", "f.yaml").gateway == parse("gateway: null", "f.yaml").gateway == gateway


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "redis://localhost",
        "redis://[::1]:6379/",
        "redis://h?db=3",
        "redis://user:s3cr3t@h:6379/1",
        "redis://:pa%23%2Fs@h",
        "unix:///run/a@b.sock",
        "rediss://h/1?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
        "rediss://h?db=1&ssl_cert_reqs=none&ssl_check_hostname=false",
        "rediss://:s3cr3t@redis.example:6380",
        "redis+sentinel://u:s3cr3t@h:26379,[::1]:26379/mymaster/2",
        "redis+cluster://h:7000,h:7001",
        "rediss+cluster://:s3cr3t@h:7000/0?ssl_ca_certs=/ca.pem",
        "unix:///run/redis.sock",
        "unix:///run/redis.sock?db=2",
        "unix://:s3cr3t@/run/redis.sock?db=2",
    ],
)
def test_every_form_of_redis_url_is_accepted_as_it_is(url: str) -> None:
    assert parse(f"redis: {{url: '{url}'}}", "f.yaml").redis.url == url


# The conffile


def yaml_keys(node: yaml.MappingNode, path: str = "") -> set[str]:
    keys = set()
    for key, value in node.value:
        keys.add(path + key.value)
        if isinstance(value, yaml.MappingNode):
            keys |= yaml_keys(value, f"{path}{key.value}.")
    return keys


def test_the_conffile_says_exactly_the_defaults() -> None:
    assert load(str(CONFFILE)) == Settings()


def test_the_conffile_names_every_key() -> None:
    root = yaml.compose(CONFFILE.read_text(), Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    assert {key for key in yaml_keys(root) if not key.startswith("history.")} == known_keys(Settings)


def test_an_http_endpoint_is_on_loopback_or_has_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("a-token-that-is-long-enough\n")
    settings = parse(
        f"netifyd: {{endpoints: ['http://[::1]:7001', 'http://0.0.0.0:7002/flows'], token_file: {file}}}", "f"
    )
    assert settings.netifyd.endpoints == (
        Endpoint("http", path="/", host="::1", port=7001),
        Endpoint("http", path="/flows", host="0.0.0.0", port=7002),
    )
    assert [str(one) for one in settings.netifyd.endpoints] == [
        "http://[::1]:7001/",
        "http://0.0.0.0:7002/flows",
    ]
    assert settings.netifyd.tokens() == ("a-token-that-is-long-enough",)
    file.write_text("short\n")
    with pytest.raises(ConfigError, match=r"netifyd\.token_file: .*:1: expected a token of 16"):
        settings.netifyd.tokens()


def test_only_the_default_endpoint_has_others_to_try_where_it_does_not_stream() -> None:
    assert [one.path for one in parse("", "f").netifyd.fallbacks] == [
        "/var/run/netifyd/flows.sock",
        "/var/run/netifyd/netify-sink.sock",
    ]
    assert parse("netifyd: {endpoints: ['unix:///run/n.sock']}", "f").netifyd.fallbacks == ()


# Files


def test_a_file_is_read_and_named_in_its_problems(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("# ä\ninterval: 0\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(str(file))
    assert str(caught.value).startswith(f"{file}:2: interval: expected ")
    file.write_text("interval: 7\n")
    assert load(str(file)).interval_s == 7


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"interval: 1\ngateway: \xe4\n")
    (tmp_path / "utf16").write_bytes("interval: 1".encode("utf-16"))
    (tmp_path / "big").write_bytes(b"#" * ((1 << 20) + 1))
    for name, reason in (
        ("missing", "can't be read: No such file or directory"),
        (".", "can't be read: Is a directory"),
        ("latin", ":2: expected UTF-8"),
        ("utf16", ":1: expected UTF-8"),
        ("big", "expected at most 1048576 bytes"),
        ("\0", "can't be read: embedded null byte"),
    ):
        with pytest.raises(ConfigError, match=r"^.+$") as caught:
            load(f"{tmp_path}/{name}")
        assert reason in str(caught.value)
        assert str(tmp_path) in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_config_error(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("")
    file.chmod(0)
    with pytest.raises(ConfigError, match="can't be read: Permission denied"):
        load(str(file))


@given(st.binary(max_size=60))
def test_any_bytes_give_settings_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(data)
    try:
        assert isinstance(load(str(file)), Settings)
    except ConfigError as error:
        assert str(file) in str(error)
