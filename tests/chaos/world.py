"""One gateway for one seed: two netifyds with the same digests, the agent as a process, a Redis."""

from __future__ import annotations

import random
import re
import subprocess
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from alerts import Alerts
from delivered import MAX_DEVICES, Delivered
from history import History, ask
from netifyd import Netifyd
from plans import SETTINGS as PLANS
from plans import Plans
from support import Daemon, Proxy, RedisServer, eventually

from netify_agent.store.client import connect
from netify_agent.store.layout import Keys

MEMORY_KIB = 160 << 10  # bound on the agent's resident memory: some three times what it needs here
_RESTART_S = 0.3  # the unit's RestartSec, in time lapse
_CLOCK = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)


class World:
    """What faults act on.

    :ivar chance: all that is random in this run comes from it.
    :ivar netifyd: the one that faults strike.
    :ivar twin: another endpoint with the same flows and the same digests. In half of the worlds its devices
        have other MAC addresses.
    :ivar delivered: what has reached the agent.
    :ivar alerts: what is told of new devices; :ivar plans: how much is used.
    :ivar server: the Redis that holds the accounts; :ivar servers: all that there were.
    :ivar redis_ails: a fault of Redis lasts on while another one strikes.
    :ivar own_disk: whether Redis' files lie on a small disk of their own.
    :ivar buckets: closed ones of the history at the end.
    :ivar noisy: a traceback in the agent's log is the fault's own doing.
    """

    def __init__(self, directory: Path, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.directory = directory
        self.delivered = Delivered()
        self.alerts = Alerts()
        self.plans = Plans()
        self.noisy = False
        self.peak_kib = 0
        self.buckets = 0
        self.wall_s = 0  # how far the agent's clock is off, seconds
        self.redis_ails = False
        self._data = directory / "redis"
        self.own_disk = False
        # If it listens on a port later: others may have the same one on another address.
        self.server = RedisServer(self._data, "--bind", "127.0.0.1")
        self.servers = [self.server]
        self.proxy = Proxy(directory / "proxy.sock", self.server.socket)
        start_ms = int(time.time()) * 1000
        self.netifyd, self.twin = (
            Netifyd(directory / f"{name}.sock", seed, start_ms, self.chance, self.delivered, macs)
            for name, macs in (("netifyd", False), ("twin", seed // 2 % 2 == 0))
        )
        self.daemon = Daemon(
            *(directory, self.proxy.url, self.netifyd.url, self.twin.url),
            devices={"max": MAX_DEVICES},
            calendar={"timezone": "UTC"},
            plans=PLANS,
            **self.alerts.settings,
        )
        self.daemon.program = [str(Path(__file__).with_name("short_steps.py"))]

    def begin(self) -> None:
        """Start Redis, on a disk of its own where that can be, and the agent."""
        self._data.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(self._data)]
        self.own_disk = not subprocess.run(mount, capture_output=True).returncode
        self.server.start()
        self.start()

    def serve_from(self, server: RedisServer) -> None:
        """Another Redis behind the address that the agent knows."""
        self.server = server
        self.proxy.target = server.socket

    # -- the agent ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the agent, as systemd would."""
        self._set_clock()
        environment = {}
        if _CLOCK is not None:
            environment = {
                "LD_PRELOAD": str(_CLOCK),
                "FAKETIME_TIMESTAMP_FILE": str(self.directory / "clock"),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        for netifyd in self.netifyds:
            netifyd.forget_agent()
        self.daemon.start(environment)
        self.connect()

    def step_clock(self, seconds: int) -> bool:
        """Step the agent's wall clock; False where this machine has no libfaketime."""
        self.wall_s += seconds
        self._set_clock()
        return _CLOCK is not None

    def _set_clock(self) -> None:
        (self.directory / "clock").write_text(f"{self.wall_s:+d}\n")

    def after_death(self) -> int:
        """The agent has ended or will at once: start the next life; returns how it ended."""
        code = self.daemon.process.wait(60) if self.daemon.process is not None else 0
        self.delivered.life += 1
        time.sleep(_RESTART_S)
        self.start()
        return code

    def revive(self) -> None:
        """What systemd does for an agent that ended by itself."""
        if self.daemon.exited() is not None:
            assert self.daemon.exited() != 0, "the agent ended by itself with exit code 0"
            self.after_death()

    def measure(self) -> None:
        """Note the agent's resident memory."""
        assert self.daemon.process is not None
        with suppress(OSError):
            status = Path(f"/proc/{self.daemon.process.pid}/status").read_text()
            found = re.search(r"VmRSS:\s*(\d+)", status)
            self.peak_kib = max(self.peak_kib, int(found[1]) if found else 0)

    # -- both netifyds -----------------------------------------------------------------------------

    @property
    def netifyds(self) -> tuple[Netifyd, Netifyd]:
        """Both endpoints."""
        return self.netifyd, self.twin

    @property
    def connected(self) -> bool:
        """Whether the agent reads both, as far as is known."""
        return all(netifyd.connected for netifyd in self.netifyds)

    def connect(self) -> None:
        """Wait for the agent to connect where it is not connected."""
        for netifyd in self.netifyds:
            if not netifyd.connected:
                netifyd.connect()

    def deliver(self, count: int) -> list[bytes]:
        """The next ``count`` records of each, by turns; returns those of the first that reached the agent."""
        reached = []
        for _ in range(count):
            reached += self.netifyd.deliver(1)
            self.twin.deliver(1)
        return reached

    # -- the end -----------------------------------------------------------------------------------

    def resolve(self) -> None:
        """Everything is well again, read and flushed."""
        self.revive()
        if not self.connected:
            self.connect()
        self.deliver(40)
        eventually(self._all_read, "every byte that was sent is read")
        eventually(lambda: self.daemon.get("/readyz")[0] == 200, "the agent is well")
        self.daemon.flushed()

    def _all_read(self) -> bool:
        read = {row["endpoint"]: row["bytes"] for row in self.daemon.get("/status")[1]["listeners"]}
        return read == {netifyd.url: netifyd.sent for netifyd in self.netifyds}

    def verdict(self) -> list[str]:
        """What is wrong at the end; nothing, if all is well."""
        client = connect(self.server.url, None)
        wrong = self.delivered.check(
            client, self.daemon.get("/")[1], self.daemon.get("/applications?limit=10000")[1]
        )
        wrong += self.delivered.check_flows(client, self._flows())
        forgetful = self.delivered.forgetful
        wrong += self.plans.check(self.daemon, forgetful=forgetful)
        wrong += self.alerts.check(self.daemon, client, forgetful=forgetful)
        wrong += self.plans.check_told(self.alerts.receiver)
        lost = self.daemon.get("/status")[1]["flushes"]["lost"]
        if lost and not forgetful:
            wrong.append(f"{lost} flushes were lost")
        if self.peak_kib > MEMORY_KIB:
            wrong.append(f"resident memory rose to {self.peak_kib} KiB")
        log = self.daemon.log.read_text(errors="replace") if self.daemon.log.is_file() else ""
        if "Traceback" in log and not self.noisy:
            wrong.append("a traceback in the log:\n" + log[log.index("Traceback") :][:2000])
        devices = client.zrange(Keys("gw1").devices, 0, -1)
        answers = ask(self.daemon, self.chance.sample(devices, min(8, len(devices))))
        if self.daemon.stop() != 0:
            wrong.append(f"the last stop ended with exit code {self.daemon.exited()}")
        history = History(client)
        self.buckets = history.closed
        return wrong + history.check() + history.check_answers(answers)

    def _flows(self) -> list[dict[str, Any]]:
        """All flows that the API lists."""
        flows: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = eventually(partial(self._page, f"/flows?limit=200{cursor}"), "a page of flows")
            flows += page["flows"]
            if page["next"] is None:
                return flows
            cursor = f"&cursor={page['next']}"

    def _page(self, path: str) -> dict[str, Any] | None:
        """None while a page takes longer than the second between two flushes: it answers 503 then."""
        code, page = self.daemon.get(path)
        assert code in (200, 503), page
        return page if code == 200 else None

    def close(self) -> None:
        """Leave nothing behind."""
        if self.daemon.process is not None and self.daemon.process.poll() is None:
            self.daemon.process.kill()
            self.daemon.process.wait()
        self.proxy.close()
        self.alerts.close()
        for netifyd in self.netifyds:
            netifyd.close()
        for server in self.servers:
            server.kill()
        if self._data.is_mount():
            subprocess.run(["umount", "--lazy", str(self._data)], check=True)
