"""The lease on a gateway's store: which agent writes it, and when another agent may take over.

Each flush renews the lease in ``meta`` with its holder and the time by Redis' clock. The clocks of the
machines are not used. An agent that finds another agent's lease does this:

* The lease has run out or was released, or its process is known to be dead: take over at once.
* The holder's process is alive on this machine, or renews the lease meanwhile: stop.
* Otherwise (another machine, another container, a reboot): wait until the lease runs out.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import NamedTuple

from netify_agent.store.client import StoreError, StoreTaken

LEASE_FIELDS = ("writer", "holder", "renewed", "lease")  # of ``meta``
_BOOT_FILE = "/proc/sys/kernel/random/boot_id"  # random(4)
_BOOT_VARIABLE = "NETIFY_AGENT_BOOT_ID"  # set by the unit, where ProcSubset=pid hides the file


@dataclass(frozen=True)
class Holder:
    """The process that holds a lease.

    :ivar host: host name, for messages.
    :ivar boot: boot id of its kernel (32 hex digits), empty if unknown. Unlike a machine id it is unique even
        among machines cloned from one image.
    :ivar namespace: its PID namespace, as ``/proc/self/ns/pid`` names it; empty if unknown.
    :ivar started: start of the process in clock ticks since boot (proc(5), field 22 of ``stat``). It differs
        if the PID is reused.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: int

    @classmethod
    def this_process(cls) -> Holder:
        """The holder for the running process."""
        _, started = _stat(os.getpid()) or ("", 0)
        return cls(socket.gethostname(), boot_id(), _pid_namespace(), os.getpid(), started)

    @classmethod
    def decode(cls, text: str | None) -> Holder | None:
        """Decode the output of :meth:`encode`; None for anything else."""
        try:
            host, boot, namespace, pid, started = json.loads(text or "")
        except (ValueError, TypeError):
            return None
        texts, numbers = (host, boot, namespace), (pid, started)
        if {type(one) for one in texts} != {str} or {type(one) for one in numbers} != {int} or pid <= 0:
            return None
        return cls(host, boot, namespace, pid, started)

    def encode(self) -> str:
        """Encode as a JSON array."""
        return json.dumps(astuple(self))

    def __str__(self) -> str:
        return f"host {self.host}, PID {self.pid}"

    def is_alive(self) -> bool | None:
        """Whether the process still runs; None if that can't be determined on this machine."""
        if not (self.boot and self.namespace) or (self.boot, self.namespace) != (
            boot_id(),
            _pid_namespace(),
        ):
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # it exists and belongs to another user
        found = _stat(self.pid)
        if found is None:
            return None
        state, started = found
        return started == self.started and state not in "ZX"


class _Seen(NamedTuple):
    """The lease of another agent when it was first seen.

    :ivar renewal: time of the renewal by Redis' clock and number of the flush.
    :ivar since: when it was seen, seconds of the monotonic clock.
    """

    writer: str | None
    renewal: tuple[int, str | None]
    since: float


class Lease:
    """The lease of one agent on one gateway's store.

    :ivar writer: random id of this run of the agent.
    :ivar length_s: validity of the lease after a flush, seconds; may be changed.
    """

    def __init__(self, length_s: float, holder: Holder | None = None) -> None:
        """``holder``: None for this process."""
        self.writer = uuid.uuid4().hex
        self.length_s = length_s
        self._holder = holder or Holder.this_process()
        self._seen: _Seen | None = None  # the other agent's lease

    def fields(self, now_ms: int) -> dict[str, str | int]:
        """Return the lease's fields of ``meta``, renewed at ``now_ms`` (Redis' clock)."""
        return {
            "writer": self.writer,
            "holder": self._holder.encode(),
            "renewed": now_ms,
            "lease": int(self.length_s * 1000),
        }

    def check(self, meta: Mapping[str, str], now_ms: int, gateway: str) -> None:
        """Return if this agent may take over the store.

        :param meta: the stored hash; :param now_ms: Redis' clock.
        :raises StoreTaken: another agent is active.
        :raises StoreError: that is not known yet; try again.
        """
        writer, holder = meta.get("writer"), Holder.decode(meta.get("holder"))
        if writer in (None, self.writer) or holder is None or holder == self._holder:
            return  # no lease, this agent's, or written by a version without leases
        renewed, length = int(meta.get("renewed", 0)), int(meta.get("lease", 0))
        if length == 0:
            return  # released at a clean stop
        alive = holder.is_alive()
        now = time.monotonic()
        # A flush within the same millisecond is seen by its number.
        renewal = renewed, meta.get("seq")
        if self._seen is None or self._seen.writer != writer:
            self._seen = _Seen(writer, renewal, now)
        left_ms = min(renewed + length - now_ms, length - int((now - self._seen.since) * 1000))
        renews = renewal != self._seen.renewal
        if not renews and (alive is False or (left_ms <= 0 and not alive)):
            return
        if alive or renews:
            raise taken(gateway, meta.get("holder"))
        raise StoreError(
            f"gateway '{gateway}' was last written by a netify-agent on {holder}: it is taken over when the "
            f"lease of {length / 1000:.0f} s has run out, unless that agent still writes"
        )

    def check_lost(self, meta: Mapping[str, str], now_ms: int, gateway: str) -> None:
        """As :meth:`check`, for an agent that had the lease and now finds another writer.

        Returns if that writer is an earlier agent, to whose state Redis was restored.
        """
        holder = Holder.decode(meta.get("holder"))
        if holder is None or holder == self._holder:
            raise taken(gateway, meta.get("holder"))
        self.check(meta, now_ms, gateway)


def lease_s(interval_s: float) -> float:
    """Return the validity of a lease in seconds: three flushes may fail, with pauses between attempts."""
    return 3 * interval_s + 30.0


def milliseconds(seconds: int, microseconds: int) -> int:
    """Return Redis' clock, as its command TIME gives it, in milliseconds since the epoch."""
    return int(seconds) * 1000 + int(microseconds) // 1000


def taken(gateway: str, holder: str | None) -> StoreTaken:
    """Return the error for a store that another agent writes; ``holder`` is the field of ``meta``."""
    other = Holder.decode(holder)
    return StoreTaken(
        f"another netify-agent writes to gateway '{gateway}' in this Redis{f' ({other})' if other else ''}: "
        "give each its own 'gateway' name"
    )


def boot_id(path: str = _BOOT_FILE) -> str:
    """Return the boot id of the kernel: 32 hex digits, or nothing if it is unknown.

    :param path: the kernel's file. If it is hidden, the environment variable that the unit sets counts.
    """
    try:
        with open(path, encoding="ascii") as file:
            text = file.read()
    except OSError:
        text = os.environ.get(_BOOT_VARIABLE, "")
    return text.strip().replace("-", "")


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _stat(pid: int) -> tuple[str, int] | None:
    """Return state and start of a process from proc(5); None if they can't be read."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()  # the process name may contain anything
        return fields[0], int(fields[19])
    except (OSError, IndexError, ValueError):
        return None
