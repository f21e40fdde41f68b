"""Runs a Prometheus server with the configuration and rules of contrib."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from gateway import CONTRIB
from support import eventually, free_port

HERE = CONTRIB / "prometheus"
CONFIG = HERE / "prometheus.yml"
RULES = HERE / "netify-agent.rules.yml"
TARGET = "127.0.0.1:7000"  # the agent in CONFIG


def config_for(agent_port: int) -> str:
    """The configuration of contrib for the agent at this port, with a scrape interval of one second."""
    config = CONFIG.read_text()
    assert config.count(f'["{TARGET}"]') == 1
    return config.replace(TARGET, f"127.0.0.1:{agent_port}").replace("interval: 15s", "interval: 1s")


class Prometheus:
    """A Prometheus server that evaluates the rules every second."""

    def __init__(self, directory: Path, config: str) -> None:
        self._directory = directory
        self._listen = f"127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "prometheus.yml").write_text(f"global: {{ evaluation_interval: 1s }}\n{config}")
        (directory / RULES.name).write_text(RULES.read_text())

    def start(self) -> None:
        """Start the server and wait until it has scraped three times."""
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self._directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._directory / 'data'}",
                    f"--web.listen-address={self._listen}",
                ],
                stdout=log,
                stderr=log,
                cwd=self._directory,
            )
        eventually(self._is_ready, "Prometheus is ready")
        eventually(
            lambda: any(value >= 3 for _, value in self.query("sum_over_time(up[1h])")),
            "Prometheus has scraped three times",
        )

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self._listen}/-/ready", timeout=60):
                return True
        except OSError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """``data`` of an answer of the server's API. Fails the test on an error."""
        url = f"http://{self._listen}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                answer = json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error
        assert answer["status"] == "success"
        return answer["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and current value of each series of the expression."""
        found = self.get("query", query=expression)["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
