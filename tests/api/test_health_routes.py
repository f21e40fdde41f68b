"""``/status``, ``/healthz`` and ``/readyz``."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from api_server import ALIVE, TIME, Scene, changed
from real_store import SOURCE

from netify_agent.netifyd.listener import ListenerStatus


def test_status_is_what_the_reference_says(scene: Scene) -> None:
    status = scene.get("/status")
    assert list(status) == [
        *("version", "gateway", "started_at", "uptime_s", "interval", "checks", "listeners"),
        *("accounting", "flushes", "alerts", "receivers", "fleet", "web"),
    ]
    assert TIME.fullmatch(status["started_at"])
    assert status["checks"] == {"netifyd": "ok", "redis": "ok", "flushes": "ok", "sums": "ok"}
    (listener,) = status["listeners"]
    assert listener["endpoint"] == SOURCE
    assert TIME.fullmatch(listener["connected_since"])
    assert TIME.fullmatch(listener["last_record"])
    assert listener["lag_s"] >= 0
    assert status["accounting"]["live_flows"] == 6
    assert status["accounting"]["records"] == {"flow": 5, "flow_stats": 6}
    assert status["accounting"]["counters"] == {}
    assert status["accounting"]["pending_changes"] == 0
    assert status["web"] == {"queue": 0, "event_clients": 0}
    assert list(listener["netifyd"]) == [
        *("uptime_s", "flows", "memory_bytes", "cpu_user_s", "cpu_system_s", "interfaces")
    ]
    assert (status["flushes"]["last_flush"], status["flushes"]["flush_ms"]) == (None, None)
    reference = (Path(__file__).parents[2] / "docs/api.md").read_text()
    section = reference.partition("\n## `/status`\n")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `([a-z_.\[\]]+)` \|", section, re.MULTILINE))
    assert documented == _paths(status)


def _paths(document: dict[str, Any]) -> set[str]:
    """Keys of ``/status`` as docs/api.md writes them; a table with arbitrary keys is one."""
    paths = set()
    for name, value in document.items():
        if name == "listeners":
            paths |= {f"listeners[].{key}" for key in value[0]}
        elif isinstance(value, dict) and name in ("checks", "accounting", "flushes", "web"):
            paths |= {f"{name}.{key}" for key in value}
        else:
            paths.add(name)
    return paths


def test_what_never_happened_is_null_in_status(scene: Scene) -> None:
    with (
        changed(scene.listener, **vars(ListenerStatus(SOURCE))),
        changed(scene.writing, last_flush=1.5, flushes=1, flush_ms=1.23456),
    ):
        status = scene.get("/status")
    (listener,) = status["listeners"]
    assert (listener["connected_since"], listener["last_record"], listener["lag_s"]) == (None, None, None)
    assert status["flushes"]["last_flush"] == "1970-01-01T00:00:01.500Z"
    assert status["flushes"]["flush_ms"] == 1.235


WELL = {"netifyd": "ok", "redis": "ok", "flushes": "ok", "sums": "ok"}


def test_an_agent_without_netifyd_is_alive_but_not_ready(scene: Scene) -> None:
    assert scene.get("/readyz") == {"status": "ready", "checks": WELL}
    with changed(scene.listener, connected=False, error="no such socket: is netifyd running?"):
        answer = scene.ask("/readyz")
        assert scene.get("/healthz") == ALIVE
    assert answer.status == 503
    why = f"{SOURCE}: no such socket: is netifyd running?"
    assert answer.json == {"status": "unready", "checks": {**WELL, "netifyd": why}}


def test_a_stuck_thread_is_not_alive(scene: Scene) -> None:
    with changed(scene, alive={"web": None, "writer": "no progress"}):
        answer = scene.ask("/healthz")
    assert answer.status == 503
    assert answer.json == {"status": "stuck", "checks": {"web": "ok", "writer": "no progress"}}


def test_an_agent_whose_flusher_hangs_is_not_ready(scene: Scene) -> None:
    """A flusher that hangs reports no error."""
    with changed(scene.status, started=time.time() - 76), changed(scene.writing):
        late = {**WELL, "flushes": "Redis took none for more than 75 s"}
        assert scene.ask("/readyz").json["checks"] == late
        scene.writing.last_flush = time.time()
        assert scene.ask("/readyz").status == 200


def test_a_silent_netifyd_and_failing_flushes_are_not_ready(scene: Scene) -> None:
    past = time.time() - 61
    with changed(scene.listener, connected_since=past, last_record=past):
        assert scene.ask("/readyz").json["checks"]["netifyd"] == f"{SOURCE}: no record for 60 s"
        assert "no record for 60 s" in scene.status.line()
    with changed(scene.writing, error="connection refused"):
        assert scene.ask("/readyz").json["checks"]["redis"] == "connection refused"
        assert scene.status.line() == "redis: connection refused"
    with changed(scene.listener, records=12_345):
        assert scene.status.line() == "netifyd connected, 10000+ records, 6 live flows, Redis takes flushes"
