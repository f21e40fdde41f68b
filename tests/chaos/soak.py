"""`make soak`: an hour of 2,000 records/s with API load: flat memory, flat lag, totals exact to the byte."""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1])]

from support import Daemon, RedisServer, StandIn, eventually, short_directory, totals  # noqa: E402

from netify_agent.simulator import Simulation  # noqa: E402
from netify_agent.simulator.form import frame  # noqa: E402

DEVICES = 1000
RECORDS_A_SECOND = 2000
SAMPLE_S = 10.0
ASKED_A_SECOND = 10
NAMES = ("bytes_up", "bytes_down", "packets_up", "packets_down")


def resident_kib(pid: int) -> int:
    """VmRSS of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


class Poller(threading.Thread):
    """A monitoring system that asks for everything, again and again.

    :ivar failures: answers that were none.
    """

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon=True)
        self.asked = 0
        self.failures: list[str] = []
        self.stopped = threading.Event()
        self._daemon = daemon

    def run(self) -> None:
        paths = ["/", "/status", "/applications", "/flows", "/healthz", "/readyz", "/history"]
        while not self.stopped.wait(1 / ASKED_A_SECOND):
            path = paths[self.asked % len(paths)]
            self.asked += 1
            try:
                code, _ = self._daemon.get(path)
                if code != 200:
                    self.failures.append(f"{path}: {code}")
            except OSError as error:
                self.failures.append(f"{path}: {error}")


def sample(daemon: Daemon) -> dict[str, Any]:
    """How the agent is doing now."""
    assert daemon.process is not None
    status = daemon.get("/status")[1]
    listener = status["listeners"][0]
    return {
        "rss_kib": resident_kib(daemon.process.pid),
        "records": listener["records"],
        "lag_s": listener["lag_s"],
        "flush_ms": status["flushes"]["flush_ms"],
        "live_flows": status["accounting"]["live_flows"],
    }


class Feed(threading.Thread):
    """A netifyd that sends :data:`RECORDS_A_SECOND`, whatever its own clock says.

    :ivar simulation: knows the truth of what was sent.
    """

    def __init__(self, netifyd: StandIn) -> None:
        super().__init__(daemon=True)
        self.simulation = Simulation(9, DEVICES)
        self.stopped = threading.Event()
        self.sent = 0
        self._netifyd = netifyd

    def run(self) -> None:
        self._netifyd.accept()
        for payload in self.simulation.opening():
            self._send(payload)
        began = time.monotonic()
        for _, payload in self.simulation.records():
            self._send(payload)
            if self.stopped.is_set():
                return
            ahead = self.sent / RECORDS_A_SECOND - (time.monotonic() - began)
            if ahead > 0.05:
                time.sleep(ahead)

    def _send(self, payload: bytes) -> None:
        self._netifyd.send(frame(payload, 4))
        self.sent += 1


def soak(seconds: float) -> list[str]:
    """Run for so long. Prints a line a minute; returns what is wrong."""
    with short_directory() as directory:
        redis = RedisServer(directory)
        redis.start()
        netifyd = StandIn(directory / "netifyd.sock")
        daemon = Daemon(directory, redis.url, f"unix://{netifyd.path}", interval=15)
        try:
            daemon.start()
            feed = Feed(netifyd)
            feed.start()
            eventually(lambda: daemon.get("/readyz")[0] == 200, "the agent is well")
            poller = Poller(daemon)
            poller.start()
            samples = _watch(daemon, seconds)
            for thread in (feed, poller):
                thread.stopped.set()
                thread.join()
            eventually(lambda: daemon.records() == feed.sent, "every record is read")
            assert daemon.stop() == 0
            daemon.start()  # what its last flush wrote
            return _verdict(samples, poller, totals(daemon.get("/")[1]), feed.simulation.truth.as_dict())
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()
            netifyd.close()
            redis.kill()


def _watch(daemon: Daemon, seconds: float) -> list[dict[str, Any]]:
    samples = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(SAMPLE_S)
        samples.append(sample(daemon))
        if len(samples) % 6 == 0:
            print(f"{len(samples) * SAMPLE_S / 60:.0f} min: {samples[-1]}", flush=True)
    return samples


def _verdict(
    samples: list[dict[str, Any]], poller: Poller, found: dict[str, Any], truth: dict[str, Any]
) -> list[str]:
    """Compare the second quarter of the time, when everything is warm, with the last one."""
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    wrong = []
    for name, allowed, most in (("rss_kib", 1.1, 4096), ("lag_s", 1.5, 1.0)):
        before, after = (statistics.median(row[name] for row in part) for part in (early, late))
        print(f"{name}: median {before:.0f} in the second quarter, {after:.0f} in the last")
        if after > before * allowed + most:
            wrong.append(f"{name} rose from {before} to {after}")
    rate = (samples[-1]["records"] - samples[0]["records"]) / (SAMPLE_S * (len(samples) - 1))
    print(f"{samples[-1]['records']} records, {rate:.0f} a second; {poller.asked} requests")
    wrong += [f"{len(poller.failures)} requests failed, {poller.failures[0]}"] if poller.failures else []
    if found["gateway"] != {name: truth["gateway"][name] for name in NAMES}:
        wrong.append(f"the gateway's totals are {found['gateway']}, in truth {truth['gateway']}")
    for table in ("devices", "applications"):
        rows = {key: {name: row[name] for name in NAMES} for key, row in truth[table].items()}
        if found[table] != {key: row for key, row in rows.items() if any(row.values())}:
            wrong.append(f"{table} are not the truth")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    problems = soak(parser.parse_args().hours * 3600)
    print("\n".join(problems) or "flat, and exact to the byte")
    sys.exit(bool(problems))
