"""Real things for tests: a Redis server, a netifyd stand-in, the daemon as a process."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest

from netify_agent.config.settings import TlsSettings

CAPTURES = Path(__file__).parents[2] / "shared" / "captures"
Process = TypeVar("Process", bound="ServerProcess")
WAIT_S = 120.0  # how long a test waits for what must happen; generous, for slow machines


def eventually(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """The first true value of ``condition``."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"never happened: {what}")


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory whose path leaves room for the 107 bytes of a Unix socket's."""
    path = Path(tempfile.mkdtemp(prefix="na-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class ServerProcess:
    """A server as a process. As a context manager, it is started and killed."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        eventually(self.answers, f"{self._command[0]} answers")

    def answers(self) -> bool:
        raise NotImplementedError

    @property
    def runs(self) -> bool:
        """Whether it was started, and neither killed nor ended."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, as the kernel's out-of-memory killer would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self: Process) -> Process:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class RedisServer(ServerProcess):
    """A redis-server on a private Unix socket, with an append-only file.

    It is written before each reply, so that a killed server loses nothing. With ``everysec`` a write may wait
    for a slow fsync for up to 2 s (flushAppendOnlyFile in Redis' aof.c), and the reply does not.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        self.socket = directory / "redis.sock"
        self.url = f"unix://{self.socket}?db=0"
        super().__init__(
            "redis-server",
            *("--port", "0", "--unixsocket", str(self.socket), "--dir", str(directory)),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "no", "--logfile", "redis.log"),
            *options,
        )

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        super().start()

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(self.socket)):
                return False
            probe.settimeout(WAIT_S)
            probe.sendall(b"PING\r\n")
            return probe.recv(64).startswith(b"+PONG")


class Proxy:
    """A way to Redis that breaks where the test wants: at the EXEC of a transaction, once each time.

    ``swallow``: the request arrives, its reply does not. ``cut``: only a part of the request arrives.

    :ivar target: the server's socket; a change holds for new connections.
    """

    def __init__(self, path: Path, target: Path) -> None:
        self.url = f"unix://{path}?db=0"
        self.broken = 0
        self.target = target
        self._chance = random.Random(5)
        self._breaks: list[str] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def break_next(self, how: str) -> None:
        self._breaks.append(how)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            try:
                server.connect(str(self.target))
                answered, muted = threading.Event(), threading.Event()
                threading.Thread(target=_answer, args=(client, server, answered, muted), daemon=True).start()
                while request := client.recv(1 << 20):
                    if b"MULTI" in request:
                        while not request.endswith(b"$4\r\nEXEC\r\n"):
                            more = client.recv(1 << 20)
                            if not more:
                                return  # killed in the middle of a flush: Redis gets none of it
                            request += more
                        if self._breaks:
                            muted.set()  # no reply can slip through
                            self._break(request, server, answered)
                            return
                    server.sendall(request)
            except OSError:
                return

    def _break(self, request: bytes, server: socket.socket, answered: threading.Event) -> None:
        """The client learns of it when Redis is done with what arrived: nothing of it comes later."""
        how = self._breaks.pop(0)
        cut = len(request) if how == "swallow" else self._chance.randrange(1, len(request) - 1)
        server.sendall(request[:cut])
        server.shutdown(socket.SHUT_WR)
        assert answered.wait(10)
        self.broken += 1


def _answer(
    client: socket.socket, server: socket.socket, answered: threading.Event, muted: threading.Event
) -> None:
    """Pass replies on until Redis has no more; those to a muted client are read all the same."""
    with suppress(OSError):
        while reply := server.recv(1 << 20):
            if not muted.is_set():
                with suppress(OSError):
                    client.sendall(reply)
    answered.set()


class StandIn:
    """A netifyd that says what the test tells it to, to one client at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(8)
        self._server.settimeout(WAIT_S)
        self._client: socket.socket | None = None

    def accept(self) -> None:
        """Wait for the next client."""
        self.drop()
        self._client, _ = self._server.accept()
        self._client.settimeout(WAIT_S)

    def send(self, data: bytes) -> None:
        assert self._client is not None
        self._client.sendall(data)

    def drop(self) -> None:
        """Close the client's connection; what was sent still reaches it."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def close(self) -> None:
        self.drop()
        self._server.close()
        self.path.unlink(missing_ok=True)


PORTS_PER_PROCESS = 500


@cache
def _own_ports() -> tuple[socket.socket, Iterator[int]]:
    """Ports of this process alone, round and round, and the bound socket that marks the block as taken.

    They lie below the ports that Linux gives to clients and to port 0 (ip_local_port_range, from 32768), so
    neither another test process nor a connection takes a port between its choice and its use.
    """
    for first in range(10_000, 32_500, PORTS_PER_PROCESS):
        mark = socket.socket()
        try:
            mark.bind(("127.0.0.1", first))
        except OSError:
            mark.close()
            continue
        return mark, itertools.cycle(range(first + 1, first + PORTS_PER_PROCESS))
    raise AssertionError("no block of ports is free")


def free_port() -> int:
    """A port of the loopback addresses that nothing listens on, given to nobody else soon."""
    _, ports = _own_ports()
    for port in itertools.islice(ports, PORTS_PER_PROCESS):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class Daemon:
    """``netify-agent run`` as a process of its own, with a configuration file of its own."""

    def __init__(self, directory: Path, redis_url: str, *endpoints: str, **settings: Any) -> None:
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.wrapper: list[str] = []  # a command that makes itself the agent, given as its arguments
        self.program = ["-m", "netify_agent", "run"]  # what Python runs
        self.trusted: str | None = None  # the file of the one certificate that is trusted
        self.config = directory / "netify-agent.yaml"
        self.log = directory / "agent.log"
        self.settings: dict[str, Any] = {
            "gateway": "gw1",
            "interval": 1,
            "netifyd": {"endpoints": endpoints},
            "redis": {"url": redis_url},
            "web": {"listen": f"127.0.0.1:{self.port}"},
            **settings,
        }
        self.write_config()
        self.process: subprocess.Popen[bytes] | None = None

    def write_config(self, text: str | None = None) -> None:
        """JSON is YAML."""
        self.config.write_text(json.dumps(self.settings) if text is None else text)

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start it and wait for its API."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, sys.executable, *self.program, "--config", str(self.config)],
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )
        eventually(lambda: self.exited() is not None or self._listens(), "the API listens")
        assert self.exited() is None, self.log.read_text()

    def _listens(self) -> bool:
        try:
            return self.get("/healthz")[0] == 200
        except OSError:
            return False

    def exited(self) -> int | None:
        assert self.process is not None
        return self.process.poll()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """Status and decoded JSON body."""
        request = urllib.request.Request(self.base + path, headers=dict(headers or {}))
        context = ssl.create_default_context(cafile=self.trusted) if self.trusted else None
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S, context=context) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            body = error.read()
            return error.code, json.loads(body) if body else None

    def records(self) -> int:
        """Records read since the process began."""
        return sum(int(listener["records"]) for listener in self.get("/status")[1]["listeners"])

    def flushes(self) -> int:
        return int(self.get("/status")[1]["flushes"]["flushes"])

    def flushed(self) -> None:
        """Wait until all that was read before this call is in Redis: a flush may be under way already."""
        before = self.flushes()
        eventually(lambda: self.flushes() >= before + 2, "two more flushes")

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def framed(*payloads: bytes) -> bytes:
    """Payload lines as netifyd 4.4.5 frames them."""
    return b"".join(b'{"length": %d}\n%s' % (len(payload), payload) for payload in payloads)


def totals(network: dict[str, Any]) -> dict[str, Any]:
    """``GET /`` in the shape of the captures' truth files."""
    names = ("bytes_up", "bytes_down", "packets_up", "packets_down")

    def row(counted: dict[str, Any]) -> dict[str, int]:
        return {name: counted[name] for name in names}

    devices = {device["mac"] or device["ip"]: device for device in network["devices"]}
    return {
        "gateway": row(network["totals"]),
        "devices": {name: row(device) for name, device in devices.items() if any(row(device).values())},
        "applications": {
            f"{name} {application['tag']}": row(application)
            for name, device in devices.items()
            for application in device["applications"]
            if any(row(application).values())
        },
    }


def of_single_devices(rows: dict[str, Any]) -> dict[str, Any]:
    """``rows``, by device or by device and application, without those of group MAC addresses."""
    return {name: row for name, row in rows.items() if name[2:3] != ":" or not int(name[:2], 16) & 1}


def certificate(directory: Path, name: str = "gw") -> TlsSettings:
    """A new key and a certificate for localhost that it has signed itself."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    files = TlsSettings(str(directory / f"{name}.pem"), str(directory / f"{name}.key"))
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", *subject, "-keyout", files.key or "", "-out", files.certificate or ""]
    subprocess.run(command, check=True, capture_output=True)
    return files
