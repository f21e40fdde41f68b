"""Passwords and tokens: read from files, shown nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_problems import problem, problems

from netify_agent.config.settings import (
    ConfigError,
    RedisSettings,
    WebSettings,
    parse,
)

# Secrets


def test_a_password_in_the_url_is_in_no_representation_of_the_settings() -> None:
    settings = parse("redis: {url: 'redis://me:s3cr3t@h:6379/1'}", "f.yaml")
    assert settings.redis.safe_url == "redis://***@h:6379/1"
    assert "redis://***@h:6379/1" in repr(settings)
    for text in (repr(settings), str(settings), f"{settings.redis}"):
        assert "s3cr3t" not in text


@pytest.mark.parametrize(
    "where", ["redis: {url: %s}", "netifyd: {endpoints: [%s]}", "web: {listen: %s}", "web: %s"]
)
@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cr3t@h:99999/0",
        "redis://u:s3cr3t@h/zero",
        "redis://u:p@s3cr3t@h:x",
        "redis:/:s3cr3t@h",
        "rediss://:pa/s3cr3t@h:1",
        "redis://:pa?s3cr3t@h:1",
        "redis://h:6379/0?db=0&password=s3cr3t",
        "redis://h:6379/0?password=s3cr3t",
        "unix://:s3cr3t@h/run/redis.sock",
        "http://:s3cr3t@h",
        "redis://:s3cr3t@" + "h" * 300,
    ],
)
def test_a_password_is_in_no_error(where: str, url: str) -> None:
    assert "s3cr3t" not in problem(where % f"'{url}'")


@pytest.mark.parametrize(
    "url", ["'s3cr3t'", "'redis://:s3cr3t'", "!s3cr3t x", "s3cr3t://", "{s3cr3t://:x@h}", "1234567"]
)
def test_a_refused_redis_url_shows_no_more_than_its_scheme(url: str) -> None:
    for line in problems(f"redis:\n  url: {url}"):
        assert "s3cr3t" not in line
        assert "1234567" not in line


def test_the_password_is_the_content_of_the_file_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "pw"
    for content, password in ((b"s3cr3t\n", "s3cr3t"), (b" pa ss\r\n", " pa ss"), ("pä".encode(), "pä")):
        file.write_bytes(content)
        assert parse(f"redis: {{password_file: {file}}}", "f.yaml").redis.password() == password
    assert RedisSettings().password() is None


def test_an_unusable_password_file_is_named(tmp_path: Path) -> None:
    for name, content in (("empty", b"\n"), ("binary", b"s3cr3t\xff"), ("big", b"s3cr3t" * 200_000)):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "dir").mkdir()
    for name in ("empty", "binary", "big", "dir", "missing"):
        with pytest.raises(ConfigError) as caught:
            RedisSettings(password_file=str(tmp_path / name)).password()
        assert str(tmp_path / name) in str(caught.value)
        assert "s3cr3t" not in str(caught.value)


def test_tokens_are_read_one_per_line_with_comments(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# of the monitors\n\n  0123456789abcdef  # Icinga\r\nABC-._~+/89abcde==\n")
    settings = parse(f"web: {{tokens_file: {file}}}", "f.yaml")
    assert settings.web.tokens() == ("0123456789abcdef", "ABC-._~+/89abcde==")
    assert "0123456789abcdef" not in repr(settings)
    assert WebSettings().tokens() == ()


def test_a_credential_of_systemd_gives_tokens_where_no_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert WebSettings().tokens() == ()
    (tmp_path / "tokens").write_text("0123456789abcdef\n")
    assert WebSettings().tokens() == ("0123456789abcdef",)
    assert WebSettings(tokens_file=str(tmp_path / "tokens")).tokens() == ("0123456789abcdef",)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ": expected a token on a line of its own, found none"),
        (b"# nothing\n\n", ": expected a token on a line of its own, found none"),
        (b"\ns3cr3t\n", ":2: expected a token of 16 to 512 characters, found 6"),
        (b"s3cr3t" * 100, ":1: expected a token of 16 to 512 characters, found 600"),
        ("s3cr3t-s3cr3t-s3cr3t-ä".encode(), ":1: expected a token of ASCII letters, digits and any of"),
        (b"s3cr3t s3cr3t s3cr3t", ":1: expected a token of ASCII letters, digits and any of"),
        (b"s3cr3t#s3cr3t#s3cr3t", ":1: expected a token of ASCII letters, digits and any of"),
        (b"s3cr3t=s3cr3t=s3cr3t", ":1: expected a token of ASCII letters, digits and any of"),
        (b"ok-0123456789abcdef\ns3cr3t\xff", ":2: expected UTF-8, found other bytes"),
        (b"# " + b"s3cr3t" * 200_000, ": expected at most 1048576 bytes, found more"),
        (None, ": can't be read: No such file or directory"),
    ],
)
def test_an_invalid_token_is_reported_with_file_and_line(
    content: bytes | None, expected: str, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"\A.+\Z") as caught:
        WebSettings(tokens_file=str(file)).tokens()
    assert str(caught.value).startswith(f"web.tokens_file: {file}{expected}")
    assert "s3cr3t" not in str(caught.value)


def test_every_invalid_token_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("short\n0123456789abcdef\nshort too\n")
    with pytest.raises(ConfigError) as caught:
        WebSettings(tokens_file=str(file)).tokens()
    assert [line.split(": ")[1] for line in caught.value.problems] == [f"{file}:1", f"{file}:3"]
