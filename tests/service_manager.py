"""systemd's side of sd_notify, and the command line, for tests."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from support import WAIT_S, Daemon


class ServiceManager:
    """systemd's end of sd_notify(3): a datagram socket that remembers what it was told."""

    def __init__(self, path: Path) -> None:
        self.environment = {"NOTIFY_SOCKET": str(path)}
        self.told: list[str] = []
        self.fed: list[float] = []  # when the watchdog was, monotonic clock
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                lines = self._socket.recv(65536).decode().splitlines()
            except OSError:
                return
            self.told += lines
            if "WATCHDOG=1" in lines:
                self.fed.append(time.monotonic())

    def count(self, message: str) -> int:
        return self.told.count(message)

    def statuses(self) -> list[str]:
        return [line[len("STATUS=") :] for line in self.told if line.startswith("STATUS=")]

    def close(self) -> None:
        self._socket.close()


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``netify-agent`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "netify_agent", *arguments], capture_output=True, text=True, timeout=WAIT_S
    )


def run_dying(daemon: Daemon, module: str, name: str) -> subprocess.CompletedProcess[str]:
    """Run the daemon to its end; the thread whose body is ``name`` of ``module`` dies at once."""
    dying = (
        "import sys\n"
        f"from {module} import {name}\n"
        "def run(self, stop, progress):\n"
        "    raise RuntimeError('the sky is falling')\n"
        f"{name}.run = run\n"
        "from netify_agent.cli import main\n"
        f"sys.exit(main(['run', '--config', {str(daemon.config)!r}]))\n"
    )
    return subprocess.run([sys.executable, "-c", dying], capture_output=True, text=True, timeout=WAIT_S)
