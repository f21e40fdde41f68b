"""A collector as a process of its own, with the tokens of a few gateways and readers."""

from __future__ import annotations

import hashlib
import http.client
import json
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

from support import WAIT_S, eventually, free_port

GATEWAYS = {name: f"token-of-gateway-{name}" for name in ("gw1", "gw2", "branch-1")}
ADMIN, TENANT = "token-of-the-administrator", "token-of-the-tenant"


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class CollectorRun:
    """``netify-agent collect`` as a process."""

    def __init__(self, directory: Path, redis_url: str, **web: Any) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "collector.log"
        self.gateways = directory / "gateways"
        self.readers = directory / "readers"
        lines = [f"{name} {digest(token)}" for name, token in GATEWAYS.items()]
        self.gateways.write_text("\n".join(["# gateways", *lines]) + "\n")
        self.readers.write_text(f"{digest(ADMIN)}\n{digest(TENANT)} branch-* gw2\n")
        self.config = directory / "netify-collector.yaml"
        self.settings: dict[str, Any] = {
            "redis": {"url": redis_url},
            "web": {"listen": f"127.0.0.1:{self.port}", **web},
            "gateways_file": str(self.gateways),
            "readers_file": str(self.readers),
        }
        self.trusted: str | None = None  # the file of the certificate of HTTPS
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.config.write_text(json.dumps(self.settings))
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "netify_agent", "collect", "--config", str(self.config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(lambda: self.exited() is not None or self._listens(), "the collector listens")
        assert self.exited() is None, self.log.read_text()

    def exited(self) -> int | None:
        assert self.process is not None
        return self.process.poll()

    def _listens(self) -> bool:
        try:
            return self.get("/healthz")[0] == 200
        except OSError:
            return False

    def ask(self, method: str, path: str, token: str = "", body: bytes | None = None, **headers: str) -> Any:
        """Status and JSON of the answer."""
        status, text, _ = self.exchange(method, path, token, body, **headers)
        return status, json.loads(text) if text else None

    def exchange(
        self, method: str, path: str, token: str = ADMIN, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, Any]:
        """Status, body and headers of the answer."""
        connection: http.client.HTTPConnection
        if self.trusted is None:
            connection = http.client.HTTPConnection("localhost", self.port, timeout=WAIT_S)
        else:
            context = ssl.create_default_context(cafile=self.trusted)
            connection = http.client.HTTPSConnection("localhost", self.port, timeout=WAIT_S, context=context)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def get(self, path: str, token: str = ADMIN) -> Any:
        return self.ask("GET", path, token)

    def post(self, gateway: str, message: bytes, token: str | None = None) -> Any:
        token = GATEWAYS[gateway] if token is None else token
        return self.ask("POST", f"/ingest/{gateway}", token, message)

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)
