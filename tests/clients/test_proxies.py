"""The examples of contrib/fleet: real proxies before two real collectors."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from collector_run import ADMIN, CollectorRun
from gateway import need
from sending_gateway import SendingGateway
from support import RedisServer, certificate, eventually, free_port, short_directory

EXAMPLES = Path(__file__).parents[2] / "contrib/fleet"
NAME = "collector.example.net"


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """``text`` with each first of a pair, which must be in it, replaced by the second."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def nginx(path: Path, port: int, ports: list[int], pem: str, key: str) -> list[str]:
    """Write the configuration of nginx, and return its command."""
    example = replaced(
        (EXAMPLES / "nginx.conf").read_text(),
        *(
            ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
            ("127.0.0.1:7001 max", f"127.0.0.1:{ports[0]} max"),
        ),
        *(("127.0.0.1:7002 max", f"127.0.0.1:{ports[1]} max"), (f"/etc/ssl/{NAME}/fullchain.pem", pem)),
        (f"/etc/ssl/{NAME}/privkey.pem", key),
    )
    temporary = "".join(
        f"{name}_temp_path {path}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if Path("/proc/self").stat().st_uid == 0 else ""
    (path / "nginx.conf").write_text(
        f"{user}daemon off;\npid {path}/pid;\nerror_log {path}/log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{example}}}\n"
    )
    return ["nginx", "-p", str(path), "-c", str(path / "nginx.conf"), "-e", str(path / "log")]


def haproxy(path: Path, port: int, ports: list[int], pem: str, key: str) -> list[str]:
    """Write the configuration of HAProxy, and return its command."""
    (path / "both.pem").write_text(Path(pem).read_text() + Path(key).read_text())
    example = replaced(
        (EXAMPLES / "haproxy.cfg").read_text(),
        *(("bind :443", f"bind 127.0.0.1:{port}"), ("127.0.0.1:7001 check", f"127.0.0.1:{ports[0]} check")),
        *(("127.0.0.1:7002 check", f"127.0.0.1:{ports[1]} check"),),
        (f"/etc/haproxy/{NAME}.pem", str(path / "both.pem")),
    )
    (path / "haproxy.cfg").write_text(f"global\n    maxconn 100\n{example}")
    return ["haproxy", "-db", "-f", str(path / "haproxy.cfg")]


@pytest.fixture
def collectors() -> Iterator[list[CollectorRun]]:
    """Two collectors that share a Redis."""
    with ExitStack() as stack:
        redis = RedisServer(stack.enter_context(short_directory()))
        redis.start()
        stack.callback(redis.kill)
        runs = []
        for _ in range(2):
            run = CollectorRun(stack.enter_context(short_directory()), redis.url, hosts=[NAME])
            run.start()
            stack.callback(run.stop)
            runs.append(run)
        yield runs


@pytest.mark.parametrize("proxy", [nginx, haproxy])
def test_gateways_and_readers_reach_whichever_collector_is_there(
    proxy: Callable[[Path, int, list[int], str, str], list[str]],
    collectors: list[CollectorRun],
    tmp_path: Path,
) -> None:
    need(proxy.__name__, "openssl")
    files = certificate(tmp_path)
    assert files.certificate is not None and files.key is not None
    port = free_port()
    ports = [collector.port for collector in collectors]
    command = proxy(tmp_path, port, ports, files.certificate, files.key)
    front = CollectorRun(tmp_path, "redis://127.0.0.1:1/0")  # its address alone
    front.port, front.url, front.trusted = port, f"https://localhost:{port}", files.certificate
    with short_directory() as path, (tmp_path / "out").open("wb") as out:
        redis = RedisServer(path)
        redis.start()
        gateway = SendingGateway(tmp_path, redis.url, "gw1", front)
        running = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            eventually(lambda: answers(front), "the proxy and a collector answer")
            moved = 0
            for lost in (None, *collectors):
                if lost is not None:
                    lost.stop()
                gateway.move(1000, 2000, after_s=15)
                moved += 2000
                gateway.forward()
                for _ in range(3):  # it takes turns
                    status, copy = front.get("/gateways/gw1/")
                    assert (status, copy["totals"]["bytes_down"]) == (200, moved)
                if lost is not None:
                    lost.start()
                    eventually(lambda: all(answers(front) for _ in range(4)), "the proxy has seen that")
            assert front.get("/gateways", "no token")[0] == 401
        finally:
            running.terminate()
            running.wait()
            gateway.store.client.close()
            redis.kill()


def answers(front: CollectorRun) -> bool:
    """Whether a reader who uses the name in the example gets an answer."""
    try:
        status, _ = front.ask("GET", "/gateways", ADMIN, Host=NAME)
    except OSError:
        return False
    return status == 200
