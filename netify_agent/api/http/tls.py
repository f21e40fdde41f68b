"""HTTPS: takes each connection's TLS off, and hands the plain bytes to the web server.

waitress speaks no TLS. Here an asyncio loop, in a thread of its own, does, and each connection has a pair of
sockets between it and waitress: no port, no file, nobody else who could connect there. How long a client may
take is decided where the requests are (``connections``); what ends there ends here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from netify_agent.config.secrets import text_of_file
from netify_agent.config.settings import ConfigError, TlsSettings

log = logging.getLogger(__name__)

TLS_LIMIT_S = 30.0  # without a sign of life of the thread; it waits for nothing but sockets
_HANDSHAKE_S = 5.0
_STALLED_S = 15.0  # for a client to take the last 64 KiB of an answer
_LINGER_S = 3.0  # the web server does not for so long
_CHUNK_BYTES = 65536
_TICK_S = 0.5
_HANDSHAKE_RECORD = b"\x16"  # TLS 1.2, RFC 5246 section 6.2.1: the type of the first record
_PLAIN_BODY = b"This port speaks HTTPS.\n"
_PLAIN_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_PLAIN_BODY), _PLAIN_BODY)
)


def server_context(tls: TlsSettings) -> ssl.SSLContext | None:
    """TLS 1.2 or newer with the certificate of ``tls``; None if there is none. Raises ConfigError."""
    if tls.certificate is None or tls.key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    for name, path in (("certificate", tls.certificate), ("key", tls.key)):
        try:
            text = text_of_file(path)
        except ConfigError as error:
            raise ConfigError(f"web.tls.{name}: {error}") from None
        if name == "certificate":
            _check_certificates(path, text)
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=_no_password)
    except (OSError, ValueError):
        raise ConfigError(
            f"web.tls.key: {tls.key}: expected the PEM private key, without a password,"
            f" of the first certificate in {tls.certificate}"
        ) from None
    return context


def _check_certificates(path: str, text: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"web.tls.certificate: {path}: expected PEM certificates, found none") from None


def _no_password() -> str:
    raise ValueError("nobody is there to type a password")


class TlsRelay:
    """All TLS connections of one server; :meth:`run` is the body of its thread.

    :ivar context: for connections from now on; may be replaced while it serves.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        logging.getLogger("asyncio").setLevel(logging.ERROR)  # what clients do wrong is no line in the log
        self.context = context
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_note)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def clients(self) -> int:
        """Connections now."""
        return len(self._tasks)

    def take(self, client: socket.socket) -> socket.socket:
        """Serve TLS on ``client``, which is ours from now on.

        :returns: the socket of its plain bytes.
        :raises OSError: where there are too many files open, or the relay has ended.
        """
        plain, ours = socket.socketpair()
        try:
            self._loop.call_soon_threadsafe(self._begin, client, ours)
        except RuntimeError as error:
            plain.close()
            ours.close()
            raise OSError(str(error)) from None
        return plain

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Relay until ``stop`` is set. Beats while the loop turns."""
        try:
            self._loop.run_until_complete(self._live(stop, beat))
        finally:
            self._loop.close()

    async def _live(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        while not stop.is_set():
            beat()
            await asyncio.sleep(_TICK_S)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_TICK_S)  # for what waitress said last
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, client: socket.socket, server: socket.socket) -> None:
        task = self._loop.create_task(self._serve(client, server))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: socket.socket, server: socket.socket) -> None:
        """One connection, to its end."""
        with contextlib.ExitStack() as ends:
            for end in (client, server):
                ends.callback(end.close)
                end.setblocking(False)
            try:
                inside = await _stream(server)
                outside = await _unless_closed(inside, self._greet(client))
                if outside is None:
                    inside.writer.transport.abort()
                else:
                    await _relay(inside, outside)
            except OSError as error:
                log.debug("TLS: %s", error)

    async def _greet(self, client: socket.socket) -> _Stream | None:
        """The plain side of ``client``; None where it spoke no TLS, or not in time."""
        try:
            if not await _begins_with_tls(client):
                return None
            return await _stream(client, ssl=self.context, ssl_handshake_timeout=_HANDSHAKE_S)
        except (OSError, asyncio.TimeoutError) as error:
            log.debug("TLS: %s", error)
            return None


class _Stream:
    """Both directions of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def close(self) -> None:
        """Send what is left to send, if it is taken in time; then close."""
        self.writer.close()
        try:
            await asyncio.wait_for(self.writer.wait_closed(), _STALLED_S)
        finally:
            self.writer.transport.abort()


async def _stream(end: socket.socket, **options: Any) -> _Stream:
    """A connected socket as a stream, with TLS if ``options`` say so. Raises OSError."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_CHUNK_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, end, **options)
    return _Stream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


async def _unless_closed(server: _Stream, greeting: Coroutine[Any, Any, _Stream | None]) -> _Stream | None:
    """What ``greeting`` gives; None where the web server hangs up before: it had no room for so many."""
    greeted = asyncio.ensure_future(greeting)
    closed = asyncio.ensure_future(server.reader.read(1))  # it says nothing before it is asked
    try:
        await asyncio.wait({greeted, closed}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for either in (greeted, closed):
            either.cancel()
        await asyncio.gather(greeted, closed, return_exceptions=True)
    return None if greeted.cancelled() else greeted.result()


async def _relay(server: _Stream, client: _Stream) -> None:
    """Pass bytes on in both directions until one of them ends, which is the end of both."""
    up = asyncio.ensure_future(_pump(client.reader, server.writer))
    down = asyncio.ensure_future(_pump(server.reader, client.writer))
    pumps = {up, down}
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        if down.done() and _still_takes(server):
            await asyncio.wait({up}, timeout=_LINGER_S)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        server.writer.transport.abort()
        await client.close()


def _still_takes(server: _Stream) -> bool:
    """Whether the web server, which has said its last, lets the client end what he is saying."""
    if server.writer.transport.is_closing():
        return False
    state = select.poll()
    state.register(server.writer.get_extra_info("socket"), 0)
    # POLLHUP comes unasked once both directions are shut: unix_poll() in Linux' net/unix/af_unix.c.
    return not state.poll(0)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Pass on what comes, no faster than it is taken. Raises OSError, TimeoutError where it is not."""
    while (data := await source.read(_CHUNK_BYTES)) and not sink.transport.is_closing():
        sink.write(data)
        if sink.transport.get_write_buffer_size():
            await asyncio.wait_for(sink.drain(), _STALLED_S)


async def _begins_with_tls(client: socket.socket) -> bool:
    """Wait for the first byte. Who speaks plain HTTP is told so."""
    loop = asyncio.get_running_loop()
    spoken = asyncio.Event()
    loop.add_reader(client, spoken.set)
    try:
        await asyncio.wait_for(spoken.wait(), _HANDSHAKE_S)
    finally:
        loop.remove_reader(client)
    first = client.recv(1, socket.MSG_PEEK)
    if first.isalpha():
        client.recv(_CHUNK_BYTES)  # what is left unread would end the connection before the answer is read
        client.send(_PLAIN_ANSWER)
        client.shutdown(socket.SHUT_WR)
    return first == _HANDSHAKE_RECORD


def _note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a client does wrong is no line in the log."""
    log.debug("TLS: %s: %s", context.get("message"), context.get("exception"))
