"""Every client works with an agent that requires a token and serves HTTPS."""

from __future__ import annotations

import textwrap
from pathlib import Path

import prometheus
from conftest import Secured
from gateway import need, output, run
from prometheus import Prometheus
from support import eventually
from test_nagios import CRITICAL, OK, UNKNOWN, check
from test_schemathesis import check_conformance


def test_the_nagios_check_reports_missing_token_and_certificate(secured: Secured, tmp_path: Path) -> None:
    ca = ("--ca", secured.certificate)
    assert check(secured.base, *ca, "--token-file", secured.token_file)[0] == OK
    code, line = check(secured.base, *ca)
    assert code == UNKNOWN
    assert "answered 401: expected a token" in line
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong\n")
    code, line = check(secured.base, *ca, "--token-file", str(wrong))
    assert code == UNKNOWN
    assert "the token is not one of those" in line
    code, line = check(secured.base, "--token-file", secured.token_file)
    assert code == CRITICAL
    assert "its certificate is not valid: self-signed certificate" in line
    code, line = check(secured.base.replace("https", "http"), "--token-file", secured.token_file)
    assert code != OK, line
    assert "HTTPS" in line


def test_curl_needs_token_and_certificate(secured: Secured) -> None:
    need("curl")
    words = ("curl", "-sS", "--cacert", secured.certificate)
    assert '"gateway":"gw1"' in output(*words, "--oauth2-bearer", secured.token, f"{secured.base}/")
    answer = output(*words, "--include", f"{secured.base}/")
    assert answer.startswith("HTTP/1.1 401 Unauthorized\r\n")
    assert '\r\nwww-authenticate: bearer realm="netify-agent"\r\n' in answer.lower()
    assert output(*words, "-w", "%{http_code}", "--output", "/dev/null", f"{secured.base}/healthz") == "200"
    assert run("curl", "-sS", f"{secured.base}/").returncode == 60  # unknown certificate


def test_prometheus_scrapes_with_the_secured_job_of_the_example(secured: Secured, tmp_path: Path) -> None:
    need("promtool", "prometheus")
    lines = prometheus.CONFIG.read_text().splitlines(keepends=True)
    begin = next(number for number, line in enumerate(lines) if line.startswith("  # - job_name:"))
    job = "".join(line.replace("# ", "", 1) for line in lines[begin:])
    config = textwrap.dedent("".join(lines[: lines.index("scrape_configs:\n") + 1])) + job
    for placeholder, real in (
        ("job_name: netify-agent", "job_name: netify-agent\n    scrape_interval: 1s"),
        ("/etc/prometheus/netify-agent.token", secured.token_file),
        ("/etc/prometheus/netify-agent.pem", secured.certificate),
        ('["gw1.example.net:7000", "gw2.example.net:7000"]', f'["127.0.0.1:{secured.port}"]'),
    ):
        assert config.count(placeholder) == 1
        config = config.replace(placeholder, real)
    scraper = Prometheus(tmp_path, config)
    output("promtool", "check", "config", tmp_path / "prometheus.yml")
    try:
        scraper.start()
        eventually(lambda: scraper.query("netify_agent_ready == 1"), "the agent is scraped")
    finally:
        scraper.stop()


def test_the_secured_api_conforms(secured: Secured, tmp_path: Path) -> None:
    check_conformance(secured.base, tmp_path, secured.certificate, secured.token)
