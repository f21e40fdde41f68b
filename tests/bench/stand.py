"""The test stand: a real Redis, the agent as a process, a netifyd that measures, all on Unix sockets."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from support import Daemon, RedisServer, short_directory
from worker import OPTIONAL, ROOT, Worker

_WAIT_S = 120.0


class Stand:
    """A running agent with everything around it.

    :ivar agent: the daemon's process and its API.
    :ivar redis: a client of its Redis.
    :ivar sender: the netifyd that it listens to.
    """

    def __init__(self, directory: Path, agent: Daemon, client: Any, sender: Worker) -> None:
        self.directory, self.agent, self.redis, self.sender = directory, agent, client, sender
        assert agent.process is not None
        self.pid = agent.process.pid

    def flushed(self) -> None:
        """Wait until all that was sent before this call is in Redis; the agent is not asked."""
        called = time.time()
        self._wait(lambda: self._taken() >= called)

    def flush(self) -> dict[str, Any]:
        """Wait for the end of the next flush: when it was taken and when it was in Redis, wall clock in s."""
        before = self._taken()
        self._wait(lambda: self._taken() > before)
        return {"began": self._taken(), "ended": time.time()}

    def _wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + _WAIT_S
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError(f"no flush for {_WAIT_S:.0f} s: {self.agent.log.read_text()[-2000:]}")
            time.sleep(0.01)

    def _taken(self) -> float:
        """When the latest flush in Redis was taken, wall clock."""
        return int(self.redis.hget("netify:{gw1}:meta", "at") or 0) / 1000

    def cpu_seconds(self) -> float:
        """CPU time of the agent's process so far."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def memory(self) -> dict[str, float]:
        """Resident size of the agent's process now, and its peak, in MiB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return {
            name: int(fields[key].split()[0]) / 1024 for name, key in (("now", "VmRSS"), ("peak", "VmHWM"))
        }


@contextmanager
def stand(
    devices: int, applications: int, flows: int, *, optional: bool = False, **settings: Any
) -> Iterator[Stand]:
    """An agent that is connected and has been greeted, and has heard of no flow yet.

    ``optional``: with the packages that the agent can do without.
    """
    with short_directory() as directory:
        server = RedisServer(directory)
        server.start()
        path = directory / "netifyd.sock"
        sender = Worker("sender", str(path), str(devices), str(applications), str(flows))
        agent = Daemon(directory, server.url, f"unix://{path}", **settings)
        try:
            sender.begin(do="accept")
            agent.start({"PYTHONPATH": f"{ROOT}:{OPTIONAL}"} if optional else None)
            sender.answer()
            yield Stand(
                directory,
                agent,
                redis.Redis.from_url(server.url, decode_responses=True, socket_timeout=_WAIT_S),
                sender,
            )
            agent.stop()
        except BaseException:
            print(agent.log.read_text()[-4000:], file=sys.stderr)
            raise
        finally:
            if agent.process is not None and agent.process.poll() is None:
                agent.kill()
            sender.close()
            server.kill()
