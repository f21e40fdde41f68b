"""Receivers for tests: an HTTP server that behaves as the test wants, and an SMTP server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiosmtpd.controller import Controller
from support import free_port


class Hook:
    """An HTTP server on a port of its own.

    :ivar behaviour: ``take``, ``refuse`` (503), ``reject`` (400), ``hang`` (never answers), ``drip`` (a byte
        now and then), ``cut`` (closes in the middle of the status line), ``flood`` (endless headers),
        ``break`` (500), ``redirect`` (302 to itself), ``garbage`` (no HTTP), ``lie`` (200 with a body that is
        none, and shorter than it says).
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self.behaviour = "take"
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.attempts = 0
        self._server: socket.socket | None = None
        self._closing = threading.Event()

    def open(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def close(self) -> None:
        """Go away: connections are refused."""
        if self._server is not None:
            self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
            self._server = None

    def end(self) -> None:
        self._closing.set()
        self.close()

    @property
    def documents(self) -> list[Any]:
        return [json.loads(body) for _, body in self.requests]

    @property
    def keys(self) -> list[str]:
        return [headers["idempotency-key"] for headers, _ in self.requests]

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            client.settimeout(60)
            try:
                head, _, body = self._head(client).partition(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")[1:]
                headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}
                while len(body) < int(headers["content-length"]):
                    body += client.recv(65536)
                self.attempts += 1
                self._answer(client, headers, body)
            except OSError:
                return

    @staticmethod
    def _head(client: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            more = client.recv(65536)
            if not more:
                raise OSError("closed")
            data += more
        return data

    def _answer(self, client: socket.socket, headers: dict[str, str], body: bytes) -> None:
        behaviour = self.behaviour
        if behaviour == "take":
            self.requests.append((headers, body))
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthank")
        elif behaviour == "refuse":
            client.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        elif behaviour == "reject":
            client.sendall(b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n")
        elif behaviour == "break":
            client.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
        elif behaviour == "redirect":
            client.sendall(
                f"HTTP/1.1 302 Found\r\nLocation: {self.url}\r\nContent-Length: 0\r\n\r\n".encode()
            )
        elif behaviour == "garbage":
            client.sendall(b"\x00\xff SSH-2.0 \r\n\r\n")
        elif behaviour == "lie":
            self.requests.append((headers, body))
            client.sendall(b"HTTP/1.1 200 \xff\x1b[31m\r\nContent-Length: 99999\r\n\r\n\x00\xff{")
        elif behaviour == "cut":
            client.sendall(b"HTTP/1.1 20")
        elif behaviour == "hang":
            self._closing.wait(60)
        elif behaviour == "flood":
            client.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                client.sendall(b"X: y\r\n" * 1000)
        elif behaviour == "drip":
            while not self._closing.wait(0.05):
                client.sendall(b"H")


@contextmanager
def hook() -> Iterator[Hook]:
    server = Hook()
    server.open()
    try:
        yield server
    finally:
        server.end()


class Mailbox:
    """A handler of aiosmtpd that keeps what arrives."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], str]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append((list(envelope.rcpt_tos), envelope.content.decode()))
        return "250 taken"


@contextmanager
def mail_server(**options: Any) -> Iterator[tuple[Mailbox, int]]:
    """An SMTP server; its mailbox and port. ``options`` are those of aiosmtpd's Controller."""
    box, port = Mailbox(), free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield box, port
    finally:
        controller.stop()
