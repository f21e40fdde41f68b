"""Debian's prometheus-alertmanager takes alerts, and passes each on once."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alert_receivers import Hook, hook
from gateway import need
from records import FLOW, flow_record, stats_record, status_record
from support import Daemon, StandIn, eventually, framed, free_port

LAPTOP = "02:00:00:00:00:01"
PROGRAM = "prometheus-alertmanager"


class Alertmanager:
    """An Alertmanager that passes everything on to a webhook at once."""

    def __init__(self, directory: Path, target: str) -> None:
        self._directory = directory / "alertmanager"
        self._directory.mkdir()
        self.url = f"http://127.0.0.1:{free_port()}"
        route = {"receiver": "hook", "group_by": ["..."], "group_wait": "1s", "group_interval": "1s"}
        config = {
            "route": {**route, "repeat_interval": "1h"},
            "receivers": [{"name": "hook", "webhook_configs": [{"url": target}]}],
        }
        (self._directory / "config.yml").write_text(json.dumps(config))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    PROGRAM,
                    f"--config.file={self._directory / 'config.yml'}",
                    f"--storage.path={self._directory / 'data'}",
                    f"--web.listen-address={self.url[len('http://') :]}",
                    "--cluster.listen-address=",
                ],
                stdout=log,
                stderr=log,
            )
        eventually(lambda: self.alerts() is not None, "Alertmanager is ready")

    def alerts(self) -> Any:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=60) as answer:
                return json.loads(answer.read())
        except OSError:
            return None

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def receiver() -> Iterator[Hook]:
    with hook() as running:
        yield running


@pytest.fixture
def alertmanager(directory: Path, receiver: Hook) -> Iterator[Alertmanager]:
    need(PROGRAM)
    assert shutil.which(PROGRAM)
    running = Alertmanager(directory, receiver.url)
    yield running
    running.stop()


def test_each_alert_passes_through_alertmanager_once(
    daemon: Daemon, netifyd: StandIn, alertmanager: Alertmanager, receiver: Hook
) -> None:
    daemon.settings["alerts"] = {"new": {"kind": "new_device", "learn": "0s"}}
    daemon.settings["notify"] = {"am": {"type": "alertmanager", "url": alertmanager.url, "resend": "1s"}}
    daemon.write_config()
    daemon.start()
    netifyd.accept()
    netifyd.send(framed(status_record(), flow_record(FLOW), stats_record(FLOW, 1000, 1000)))
    eventually(lambda: daemon.get("/status")[1]["receivers"][0]["error"], "Alertmanager is away")
    alertmanager.start()  # it comes back
    eventually(lambda: receiver.requests, "Alertmanager passes the alert on")
    (document,) = receiver.documents
    (alert,) = document["alerts"]
    assert alert["labels"] == {
        "alertname": "new",
        "device": LAPTOP,
        "gateway": "gw1",
        "kind": "new_device",
        "severity": "warning",
    }
    daemon.flushed()
    daemon.kill()  # the same alert is sent again after a restart
    daemon.start()
    daemon.flushed()
    daemon.settings["alerts"] = {}
    daemon.write_config()
    daemon.signal(signal.SIGHUP)
    eventually(lambda: len(receiver.requests) == 2, "Alertmanager passes its end on")
    resolved = receiver.documents[1]["alerts"][0]
    assert [one["status"] for one in receiver.documents] == ["firing", "resolved"]
    assert (resolved["labels"], resolved["startsAt"]) == (alert["labels"], alert["startsAt"])
    (ended,) = daemon.get("/alerts")[1]["alerts"]
    # Alertmanager is written in Go, whose times leave out zeros at the end of a fraction.
    assert resolved["endsAt"] == ended["resolved_at"].rstrip("Z").rstrip("0").rstrip(".") + "Z"
