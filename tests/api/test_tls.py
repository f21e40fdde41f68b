"""Promises of HTTPS: real certificates, real clients, and clients that are no clients at all."""

from __future__ import annotations

import http.client
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support import certificate
from webserver import Server, hung_up, running, trusting

from netify_agent.api.http.limits import WebLimits
from netify_agent.api.http.tls import server_context
from netify_agent.config.settings import ConfigError, TlsSettings

BIG = bytes(range(256)) * (32 << 10)  # 8 MiB


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsSettings:
    return certificate(tmp_path_factory.mktemp("tls"))


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/big":
        return [BIG]
    return [f"{environ['wsgi.url_scheme']} {environ['REMOTE_ADDR']}".encode()]


@pytest.fixture
def server(files: TlsSettings) -> Iterator[Server]:
    with running(Server(app, files)) as server:
        yield server


def get(port: int, files: TlsSettings) -> bytes:
    client = http.client.HTTPSConnection("localhost", port, timeout=60, context=trusting(files))
    try:
        client.request("GET", "/")
        return client.getresponse().read()
    finally:
        client.close()


def test_a_client_that_trusts_the_certificate_is_answered(server: Server, files: TlsSettings) -> None:
    assert server.get() == b"https 127.0.0.1"


def test_a_connection_serves_one_request_after_another(server: Server, files: TlsSettings) -> None:
    client = http.client.HTTPSConnection("localhost", server.port, timeout=60, context=trusting(files))
    for _ in range(3):
        client.request("GET", "/")
        assert client.getresponse().read() == b"https 127.0.0.1"
    client.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_curl_is_answered(server: Server, files: TlsSettings) -> None:
    url = f"https://localhost:{server.port}/"
    command = ["curl", "-sS", "--cacert", files.certificate or "", url]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"https 127.0.0.1"


def test_a_large_answer_arrives_whole(server: Server, files: TlsSettings) -> None:
    assert server.get("/big") == BIG


def test_many_clients_at_once_are_all_answered(server: Server, files: TlsSettings) -> None:
    answers: list[bytes] = []
    clients = [threading.Thread(target=lambda: answers.append(server.get())) for _ in range(40)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert answers == [b"https 127.0.0.1"] * 40


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_old_versions_of_tls_are_refused(server: Server, files: TlsSettings, version: str) -> None:
    context = trusting(files)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion[version]
        context.maximum_version = ssl.TLSVersion[version]
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    with raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw, server_hostname="localhost")


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_new_versions_of_tls_are_spoken(server: Server, files: TlsSettings, version: str) -> None:
    context = trusting(files)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    client = http.client.HTTPSConnection("localhost", server.port, timeout=60, context=context)
    client.request("GET", "/")
    assert client.getresponse().status == 200
    client.close()


def test_plain_http_is_told_that_this_is_https(server: Server, files: TlsSettings) -> None:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    client.request("GET", "/")
    answer = client.getresponse()
    assert (answer.status, answer.read()) == (400, b"This port speaks HTTPS.\n")
    client.close()
    assert server.get() == b"https 127.0.0.1"


def test_who_sends_too_much_can_read_why_and_fills_no_log(
    server: Server, files: TlsSettings, caplog: pytest.LogCaptureFixture
) -> None:
    for size in (20_000, 1_000_000):
        client = http.client.HTTPSConnection("localhost", server.port, timeout=60, context=trusting(files))
        client.request("POST", "/", body=b"x" * size)
        assert client.getresponse().status == 413
        client.close()
    assert caplog.records == []


@pytest.mark.parametrize("spoken", [b"\x00" * 100, b"\x16\x03\x01\x00\x05hello", b"\x80\x2e\x01", b"\n"])
def test_what_is_no_tls_is_hung_up_on(server: Server, files: TlsSettings, spoken: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(spoken)
        assert hung_up(client)
    assert server.get() == b"https 127.0.0.1"


def test_half_open_handshakes_are_ended_and_hinder_nobody(files: TlsSettings) -> None:
    with running(Server(app, files, limits=WebLimits(handshake_s=1))) as server, ExitStack() as clients:
        silent = [_connected(clients, server.port) for _ in range(20)]
        begun = [_connected(clients, server.port) for _ in range(20)]
        for client in begun:
            client.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
        assert server.get() == b"https 127.0.0.1"
        assert all(hung_up(client) for client in silent + begun)


def _connected(clients: ExitStack, port: int) -> socket.socket:
    return clients.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))


def test_a_stop_ends_every_connection(files: TlsSettings) -> None:
    server = Server(app, files)
    with ExitStack() as clients:
        ended = [_connected(clients, server.port), clients.enter_context(server.connect())]
        server.stop()
        assert all(hung_up(client) for client in ended)
    with pytest.raises(OSError, match="closed"):
        server.relay.take(socket.socket())


def test_a_new_certificate_is_for_new_connections(server: Server, files: TlsSettings, tmp_path: Path) -> None:
    old = http.client.HTTPSConnection("localhost", server.port, timeout=60, context=trusting(files))
    old.request("GET", "/")
    old.getresponse().read()
    renewed = certificate(tmp_path, "renewed")
    context = server_context(renewed)
    assert context is not None
    server.relay.context = context
    assert get(server.port, renewed) == b"https 127.0.0.1"
    with pytest.raises(ssl.SSLCertVerificationError):
        get(server.port, files)
    old.request("GET", "/")
    assert old.getresponse().read() == b"https 127.0.0.1"
    old.close()


# Files that are no certificate


def test_without_files_there_is_no_tls() -> None:
    assert server_context(TlsSettings()) is None


def refused(certificate: object, key: object) -> str:
    with pytest.raises(ConfigError, match=r"\A.+\Z") as caught:
        server_context(TlsSettings(str(certificate), str(key)))
    assert "PRIVATE" not in str(caught.value)
    return str(caught.value)


def test_a_file_that_can_not_be_used_is_named(files: TlsSettings, tmp_path: Path) -> None:
    missing, empty, binary = tmp_path / "missing", tmp_path / "empty", tmp_path / "binary"
    empty.write_text("")
    binary.write_bytes(b"\x30\x82\xff\xff")
    good, key = files.certificate, files.key
    assert (
        refused(missing, key) == f"web.tls.certificate: {missing}: can't be read: No such file or directory"
    )
    assert refused(good, missing) == f"web.tls.key: {missing}: can't be read: No such file or directory"
    assert refused(empty, key) == f"web.tls.certificate: {empty}: expected PEM certificates, found none"
    assert refused(binary, key) == f"web.tls.certificate: {binary}:1: expected UTF-8, found other bytes"
    for wrong in (empty, good):
        assert refused(good, wrong).startswith(f"web.tls.key: {wrong}: expected the PEM private key")
    assert refused(key, key).startswith(f"web.tls.certificate: {key}: expected PEM certificates")


def test_a_key_of_another_certificate_is_refused(files: TlsSettings, tmp_path: Path) -> None:
    other = certificate(tmp_path, "other")
    expected = f"web.tls.key: {other.key}: expected the PEM private key, without a password, of the first"
    assert refused(files.certificate, other.key).startswith(expected)


def test_a_key_with_a_password_is_refused_without_asking(files: TlsSettings, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    command = [
        "openssl",
        "pkey",
        "-aes256",
        "-passout",
        "pass:x",
        "-in",
        files.key or "",
        "-out",
        str(locked),
    ]
    subprocess.run(command, check=True, capture_output=True)
    assert "without a password" in refused(files.certificate, locked)
