"""Runs a private Zabbix: PostgreSQL on a Unix socket, the PHP frontend for the API, and the server."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from support import eventually, free_port

SCHEMA = Path("/usr/share/zabbix-server-pgsql")  # Debian's zabbix-server-pgsql
FRONTEND = Path("/usr/share/zabbix")  # Debian's zabbix-frontend-php
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
_SERVER = """
    AllowRoot=1
    LogType=console
    PidFile={directory}/server.pid
    SocketDir={directory}
    ListenIP=127.0.0.1
    ListenPort={port}
    DBHost={directory}/database
    DBName=postgres
    DBUser=postgres
    StartPollers=2
    StartPingers=0
    StartDiscoverers=0
    StartHTTPPollers=0
    CacheUpdateFrequency=1
"""
_FRONTEND = """<?php
    $DB = ['TYPE' => 'POSTGRESQL', 'SERVER' => '{directory}/database', 'PORT' => '0', 'USER' => 'postgres',
        'DATABASE' => 'postgres', 'PASSWORD' => '', 'SCHEMA' => '', 'ENCRYPTION' => false, 'KEY_FILE' => '',
        'CERT_FILE' => '', 'CA_FILE' => '', 'VERIFY_HOST' => false, 'CIPHER_LIST' => '', 'VAULT_URL' => '',
        'VAULT_DB_PATH' => '', 'VAULT_TOKEN' => '', 'DOUBLE_IEEE754' => true];
    $ZBX_SERVER_NAME = '';
    $IMAGE_FORMAT_DEFAULT = IMAGE_FORMAT_PNG;
"""


def _low_port() -> int:
    """A free port in the range that zabbix_server accepts."""
    for port in range(20000, 32768):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no free port below 32768")


def is_installed() -> bool:
    """Whether all required programs and files are installed."""
    programs = all(shutil.which(name) for name in ("zabbix_server", "php", "psql"))
    return programs and SCHEMA.is_dir() and FRONTEND.is_dir() and bool(POSTGRES)


class Zabbix:
    """A Zabbix server with an empty configuration.

    :ivar version: the version reported by the API.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self._api = f"http://127.0.0.1:{free_port()}/api_jsonrpc.php"
        self._session: str | None = None

    def start(self) -> None:
        directory = self._directory
        directory.chmod(0o755)
        self._start_database()
        shutil.copytree(FRONTEND, directory / "frontend")
        loader = directory / "frontend/include/classes/core/CConfigFile.php"
        text = loader.read_text()
        assert "'/etc/zabbix/zabbix.conf.php'" in text
        settings = directory / "zabbix.conf.php"
        loader.write_text(text.replace("/etc/zabbix/zabbix.conf.php", str(settings)))
        settings.write_text(_FRONTEND.replace("{directory}", str(directory)))
        self._run("php", "-S", self._api.split("/")[2], "-t", str(directory / "frontend"))
        eventually(self._answers, "the frontend responds")
        self.version = str(self.call("apiinfo.version", []))
        self._session = self.call("user.login", {"username": "Admin", "password": "zabbix"})
        # Disable the host of a new installation, which does not exist here.
        for host in self.call("host.get", {"output": ["hostid"]}):
            self.call("host.update", {"hostid": host["hostid"], "status": 1})
        (directory / "server.conf").write_text(_SERVER.format(directory=directory, port=_low_port()))
        self._run("zabbix_server", "-f", "-c", str(directory / "server.conf"))

    def _start_database(self) -> None:
        """Start PostgreSQL, as the user postgres if run by root. The data need not survive a crash."""
        place = self._directory / "database"
        place.mkdir()
        user: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(place, "postgres")
            user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        initdb = [str(POSTGRES[-1] / "initdb"), "-D", str(place / "data"), "-A", "trust", "--no-sync"]
        options = ["-E", "UTF8", "--locale", "C.UTF-8", "-U", "postgres"]
        subprocess.run([*initdb, *options], check=True, stdout=subprocess.DEVNULL, cwd=place, **user)
        server = [str(POSTGRES[-1] / "postgres"), "-D", str(place / "data"), "-k", str(place), "-h", ""]
        self._run(*server, "-F", "-c", "full_page_writes=off", "-c", "synchronous_commit=off", **user)
        psql = ["psql", "-q", "-h", str(place), "-U", "postgres"]
        eventually(lambda: subprocess.run([*psql, "-c", ""], capture_output=True).returncode == 0, "SQL")
        for name in ("schema", "images", "data"):
            statements = gzip.decompress((SCHEMA / f"{name}.sql.gz").read_bytes())
            subprocess.run([*psql, "-v", "ON_ERROR_STOP=1"], input=statements, check=True)

    def _run(self, *command: str, **options: Any) -> None:
        with (self._directory / f"{Path(command[0]).name}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(command, stdout=log, stderr=log, cwd=self._directory, **options)
            )

    def _answers(self) -> bool:
        try:
            return bool(self.call("apiinfo.version", []))
        except OSError:
            return False

    def call(self, method: str, parameters: Any) -> Any:
        """Call a method of Zabbix's JSON-RPC API. Fails the test on an error."""
        request_body = {"jsonrpc": "2.0", "method": method, "params": parameters, "id": 1}
        if self._session:
            request_body["auth"] = self._session
        headers = {"Content-Type": "application/json-rpc"}
        request = urllib.request.Request(self._api, json.dumps(request_body).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.loads(response.read())
        assert "error" not in answer, answer
        return answer["result"]

    def log(self) -> str:
        """The server's log."""
        return (self._directory / "zabbix_server.log").read_text()

    def stop(self) -> None:
        """Stop all processes, the database last."""
        for process in reversed(self._processes):
            process.terminate()
            process.wait()
