"""Tokens and certificates of a real daemon: at the start, at a reload, and for `netify-agent check`."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import urllib.error
from pathlib import Path

import pytest
from service_manager import command, run_dying
from support import WAIT_S, Daemon, certificate, eventually

from netify_agent.config.settings import TlsSettings

FIRST, SECOND = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture
def tokens(directory: Path, daemon: Daemon) -> Path:
    file = directory / "tokens"
    file.write_text(f"{FIRST}\n")
    daemon.settings["web"]["tokens_file"] = str(file)
    daemon.write_config()
    return file


def status(daemon: Daemon, token: str) -> int:
    return daemon.get("/status", {"Authorization": f"Bearer {token}"})[0]


def reload(daemon: Daemon, said: str = "configuration reloaded") -> None:
    """Reload, and wait for what the log says then."""
    before = daemon.log.read_text().count(said)
    daemon.write_config()
    daemon.signal(signal.SIGHUP)
    eventually(lambda: daemon.log.read_text().count(said) > before, said)


def check(daemon: Daemon, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "netify_agent", "check", "--config", str(daemon.config)]
    environ = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, env=environ)


# Tokens


def test_a_daemon_with_tokens_answers_who_brings_one(daemon: Daemon, tokens: Path) -> None:
    daemon.start()
    assert daemon.get("/status")[0] == 401
    assert status(daemon, SECOND) == 401
    assert status(daemon, FIRST) == 200
    assert daemon.get("/healthz")[0] == 200
    assert FIRST not in daemon.log.read_text()
    assert daemon.stop() == 0


def test_a_daemon_takes_tokens_from_systemd_s_credential(daemon: Daemon, directory: Path) -> None:
    (directory / "tokens").write_text(f"{FIRST}\n")
    daemon.start({"CREDENTIALS_DIRECTORY": str(directory)})
    assert daemon.get("/status")[0] == 401
    assert status(daemon, FIRST) == 200
    assert daemon.stop() == 0


def test_a_reload_takes_over_changed_tokens(daemon: Daemon, tokens: Path) -> None:
    daemon.start()
    tokens.write_text(f"{SECOND}\n")
    assert status(daemon, FIRST) == 200
    reload(daemon)
    assert (status(daemon, FIRST), status(daemon, SECOND)) == (401, 200)
    daemon.settings["web"]["tokens_file"] = None
    reload(daemon)
    assert daemon.get("/status")[0] == 200
    assert daemon.stop() == 0


@pytest.mark.parametrize("content", [None, "", "short\n", "\xe4" * 20])
def test_a_reload_with_broken_tokens_is_refused_and_nothing_changes(
    content: str | None, daemon: Daemon, tokens: Path
) -> None:
    daemon.start()
    tokens.unlink()
    if content is not None:
        tokens.write_text(content)
    daemon.settings["interval"] = 7
    reload(daemon, "reload refused")
    assert f"web.tokens_file: {tokens}" in daemon.log.read_text()
    assert daemon.get("/status")[0] == 401
    assert status(daemon, FIRST) == 200
    assert daemon.get("/status", {"Authorization": f"Bearer {FIRST}"})[1]["interval"] == 1
    assert daemon.stop() == 0


def test_a_start_with_broken_tokens_is_refused_naming_each(daemon: Daemon, tokens: Path) -> None:
    tokens.write_text("# tokens\nshort\nshort too\n")
    done = command("run", "--config", str(daemon.config))
    assert done.returncode == 1
    assert [
        line.partition("web.tokens_file: ")[2].partition(": ")[0] for line in done.stderr.splitlines()
    ] == [
        f"{tokens}:2",
        f"{tokens}:3",
    ]
    assert "short" not in done.stderr
    done = check(daemon)
    assert done.returncode == 1
    assert f"WRONG web.tokens_file: {tokens}:2: expected a token of 16" in done.stdout


def test_check_says_what_is_asked_for(daemon: Daemon, tokens: Path, directory: Path) -> None:
    where = f"ok    web: tcp://127.0.0.1:{daemon.port}"
    assert f"{where}: HTTP, 1 token from {tokens}\n" in check(daemon).stdout
    daemon.settings["web"]["tokens_file"] = None
    daemon.write_config()
    assert f"{where}: HTTP, no tokens\n" in check(daemon).stdout
    tokens.write_text(f"{FIRST}\n{SECOND}\n")
    said = check(daemon, CREDENTIALS_DIRECTORY=str(directory)).stdout
    assert f"{where}: HTTP, 2 tokens from {tokens}\n" in said


# Certificates


@pytest.fixture
def files(directory: Path, daemon: Daemon) -> TlsSettings:
    files = certificate(directory)
    daemon.settings["web"]["tls"] = {"certificate": files.certificate, "key": files.key}
    daemon.base, daemon.trusted = f"https://localhost:{daemon.port}", files.certificate
    daemon.write_config()
    return files


def shows(daemon: Daemon, files: TlsSettings) -> bool:
    """Whether the daemon shows this certificate."""
    daemon.trusted = files.certificate
    try:
        return daemon.get("/healthz")[0] == 200
    except urllib.error.URLError as error:
        assert isinstance(error.reason, ssl.SSLCertVerificationError), error
        return False


def test_a_daemon_with_a_certificate_speaks_https(daemon: Daemon, files: TlsSettings) -> None:
    daemon.start()
    assert daemon.get("/status")[0] == 200
    assert daemon.stop() == 0


def test_a_reload_reads_a_renewed_certificate_from_the_same_files(
    daemon: Daemon, files: TlsSettings, directory: Path
) -> None:
    daemon.start()
    renewed = certificate(directory, "renewed")
    for new, old in ((renewed.certificate, files.certificate), (renewed.key, files.key)):
        assert new and old
        os.replace(new, old)
    assert not shows(daemon, files)  # the file is new, the daemon still shows the old one
    reload(daemon)
    assert shows(daemon, files)
    assert daemon.stop() == 0


def test_a_reload_with_a_broken_certificate_is_refused_and_the_old_one_stays(
    daemon: Daemon, files: TlsSettings, directory: Path
) -> None:
    daemon.start()
    other = certificate(directory, "other")
    daemon.settings["web"]["tls"]["key"] = other.key
    reload(daemon, "reload refused")
    assert f"web.tls.key: {other.key}: expected the PEM private key" in daemon.log.read_text()
    assert shows(daemon, files)
    assert daemon.stop() == 0


def test_a_reload_turns_https_on_and_off(daemon: Daemon, directory: Path) -> None:
    daemon.start()
    files = certificate(directory)
    daemon.settings["web"]["tls"] = {"certificate": files.certificate, "key": files.key}
    reload(daemon)
    plain, daemon.base = daemon.base, f"https://localhost:{daemon.port}"
    assert shows(daemon, files)
    daemon.settings["web"]["tls"] = None
    reload(daemon)
    daemon.base = plain
    assert daemon.get("/healthz")[0] == 200
    assert daemon.stop() == 0


def test_a_start_with_a_certificate_that_is_none_is_refused(daemon: Daemon, files: TlsSettings) -> None:
    assert files.certificate
    Path(files.certificate).write_text("none\n")
    done = command("run", "--config", str(daemon.config))
    assert done.returncode == 1
    expected = f"web.tls.certificate: {files.certificate}: expected PEM certificates, found none"
    assert done.stderr.strip().endswith(expected)
    assert f"WRONG {expected}" in check(daemon).stdout


def test_the_thread_that_takes_tls_off_takes_the_process_down_if_it_dies(
    daemon: Daemon, files: TlsSettings
) -> None:
    done = run_dying(daemon, "netify_agent.api.http.tls", "TlsRelay")
    assert done.returncode == 1
    assert "thread tls ended: the sky is falling" in done.stderr
