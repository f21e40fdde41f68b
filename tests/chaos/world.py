"""One gateway for one seed: a simulated network, its netifyd, the agent as a process, a Redis."""

from __future__ import annotations

import json
import random
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from delivered import MAX_DEVICES, Delivered
from support import Daemon, Proxy, RedisServer, StandIn, eventually

from netify_agent.simulator import Simulation
from netify_agent.simulator.form import frame
from netify_agent.store.client import connect

DEVICES = 12
HOURS = 4.0  # of netifyd's clock: more than any run makes of it
MEMORY_KIB = 160 << 10  # bound on the agent's resident memory: some three times what it needs here
_RESTART_S = 0.3  # the unit's RestartSec, in time lapse
_CLOCK = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
_TIMES = re.compile(rb'"(first_seen_at|last_seen_at|first_update_at)":(\d+)')
_SECONDS = re.compile(rb'"timestamp":(\d+)')


class World:
    """What faults act on.

    :ivar chance: all that is random in this run comes from it.
    :ivar delivered: what has reached the agent.
    :ivar server: the Redis that holds the accounts; :ivar servers: all that there were.
    :ivar redis_ails: a fault of Redis lasts on while another one strikes.
    :ivar own_disk: whether Redis' files lie on a small disk of their own.
    :ivar noisy: a traceback in the agent's log is the fault's own doing.
    """

    def __init__(self, directory: Path, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.directory = directory
        self.version = 4 + seed % 2
        self.delivered = Delivered()
        self.noisy = False
        self.peak_kib = 0
        self.wall_s = 0  # how far the agent's clock is off, seconds
        self.redis_ails = False
        self._data = directory / "redis"
        self.own_disk = False
        # If it listens on a port later: others may have the same one on another address.
        self.server = RedisServer(self._data, "--bind", "127.0.0.1")
        self.servers = [self.server]
        self.proxy = Proxy(directory / "proxy.sock", self.server.socket)
        self.netifyd = StandIn(directory / "netifyd.sock")
        self.daemon = Daemon(
            directory, self.proxy.url, f"unix://{self.netifyd.path}", devices={"max": MAX_DEVICES}
        )
        self.connected = False
        self._sent = 0  # bytes to this life of the agent
        self._shift_ms = 0
        self._born: dict[
            bytes, int
        ] = {}  # digest to how far netifyd's clock was off at the flow's first record
        self._lives = 0
        self.simulation, self._records = self._netifyd_process()

    def _netifyd_process(self) -> tuple[Simulation, Iterator[tuple[int, bytes]]]:
        self._lives += 1
        start_ms = int(time.time()) * 1000 + self._lives * 3_600_000
        simulation = Simulation(
            self.seed * 100 + self._lives, DEVICES, HOURS, version=self.version, start_ms=start_ms
        )
        return simulation, simulation.records()

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
        self._sent = 0
        self.connected = False
        self.netifyd.drop()
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

    # -- netifyd -----------------------------------------------------------------------------------

    def connect(self) -> None:
        """Wait for the agent to connect, and greet it."""
        self.netifyd.accept()
        self.connected = True
        for payload in self.simulation.opening():
            self.send(frame(payload, self.version))

    def drop(self) -> None:
        """Close the connection; what was sent is still read."""
        self.netifyd.drop()
        self.connected = False

    def send(self, data: bytes) -> bool:
        """Bytes to the agent; False if it has gone."""
        try:
            self.netifyd.send(data)
        except OSError:
            self.connected = False
            return False
        self._sent += len(data)
        return True

    def next(self) -> bytes:
        """The next record of this netifyd, by its clock; the network goes on for ever."""
        for _, payload in self._records:
            return self._clocked(payload)
        self.restart_netifyd()
        return self.next()

    def deliver(self, count: int) -> list[bytes]:
        """The next ``count`` records, to the agent if it listens; returns those that reached it."""
        reached = []
        for _ in range(count):
            payload = self.next()
            if self.connected and self.send(frame(payload, self.version)):
                self.delivered.take(payload)
                reached.append(payload)
        return reached

    def spoof(self, count: int) -> None:
        """Flows of ``count`` made-up MAC addresses, each over at once."""
        for _ in range(count):
            tail = f"{self.chance.getrandbits(32):08x}"
            at_ms = int(time.time() * 1000) + self._lives * 3_600_000 + self._shift_ms
            up, down = self.chance.randint(60, 1500), self.chance.randint(0, 1500)
            flow = {
                "digest": f"{self.chance.getrandbits(160):040x}",
                "last_seen_at": at_ms,
                "first_seen_at": at_ms,
                "local_mac": "06:00:" + ":".join(re.findall("..", tail)),
                "local_ip": f"10.66.{int(tail[:2], 16)}.{int(tail[2:4], 16)}",
                "other_ip": "203.0.113.9",
                "other_type": "remote",
                "detected_application_name": "netify.spoofed",
                "detected_protocol_name": "DNS",
            }
            counters = {
                "digest": flow["digest"],
                "last_seen_at": at_ms,
                "local_bytes": up,
                "local_packets": 1,
                "other_bytes": down,
                "other_packets": 1,
                "total_bytes": up + down,
                "total_packets": 2,
            }
            for kind, fields in (("flow", flow), ("flow_purge", counters)):
                payload = json.dumps({"type": kind, "flow": fields}, separators=(",", ":")).encode() + b"\n"
                if self.connected and self.send(frame(payload, self.version)):
                    self.delivered.take(payload)

    def unseen(self, count: int) -> None:
        """``count`` records that nobody gets."""
        for _ in range(count):
            self.next()

    def restart_netifyd(self) -> None:
        """Another process of netifyd: its flows, and its uptime, begin anew."""
        connected = self.connected
        self.drop()
        self.simulation, self._records = self._netifyd_process()
        if connected:
            self.connect()

    def shift_netifyd_clock(self, milliseconds: int) -> None:
        """netifyd's wall clock jumps; a flow's begin, which it has noted, stays."""
        self._shift_ms += milliseconds
        self.delivered.backward = self.delivered.backward or milliseconds < 0

    def _clocked(self, payload: bytes) -> bytes:
        names = re.findall(rb'"(\w{40})"', payload)  # v5: the digests that it had before are among them
        born = next((self._born[name] for name in names if name in self._born), self._shift_ms)
        self._born.update(dict.fromkeys(names, born))

        def move(match: re.Match[bytes]) -> bytes:
            shift = born if match[1] == b"first_seen_at" else self._shift_ms
            return b'"%b":%d' % (match[1], int(match[2]) + shift)

        moved = _TIMES.sub(move, payload)
        return _SECONDS.sub(lambda match: b'"timestamp":%d' % (int(match[1]) + self._shift_ms // 1000), moved)

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
        return bool(self.daemon.get("/status")[1]["listeners"][0]["bytes"] == self._sent)

    def verdict(self) -> list[str]:
        """What is wrong at the end; nothing, if all is well."""
        client = connect(self.server.url, None)
        wrong = self.delivered.check(
            client, self.daemon.get("/")[1], self.daemon.get("/applications?limit=10000")[1]
        )
        lost = self.daemon.get("/status")[1]["flushes"]["lost"]
        if lost and not self.delivered.forgetful:
            wrong.append(f"{lost} flushes were lost")
        if self.peak_kib > MEMORY_KIB:
            wrong.append(f"resident memory rose to {self.peak_kib} KiB")
        log = self.daemon.log.read_text(errors="replace") if self.daemon.log.is_file() else ""
        if "Traceback" in log and not self.noisy:
            wrong.append("a traceback in the log:\n" + log[log.index("Traceback") :][:2000])
        if self.daemon.stop() != 0:
            wrong.append(f"the last stop ended with exit code {self.daemon.exited()}")
        return wrong

    def close(self) -> None:
        """Leave nothing behind."""
        if self.daemon.process is not None and self.daemon.process.poll() is None:
            self.daemon.process.kill()
            self.daemon.process.wait()
        self.proxy.close()
        self.netifyd.close()
        for server in self.servers:
            server.kill()
        if self._data.is_mount():
            subprocess.run(["umount", "--lazy", str(self._data)], check=True)
