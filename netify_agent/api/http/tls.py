"""HTTPS: a relay that terminates TLS in front of the web server.

waitress has no TLS. An asyncio loop in a thread of its own terminates it, and passes the plain bytes to
waitress through a pair of sockets for each connection: no port or file that anybody else could connect to.
``connections`` decides how long a client may take; what it closes is closed here too.
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

from netify_agent.api.http.limits import DEFAULT_LIMITS, WebLimits
from netify_agent.config.secrets import problems_of, text_of_file
from netify_agent.config.settings import ConfigError, TlsSettings

log = logging.getLogger(__name__)

TLS_LIMIT_S = 30.0  # without progress of the thread; it waits for nothing but sockets
_LINGER_S = 3.0  # for a client to end what it is sending; longer than the web server waits
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
        with problems_of(f"web.tls.{name}"):
            text = text_of_file(path)
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
    raise ValueError("the key has a password")


class TlsRelay:
    """The TLS connections of one server; :meth:`run` is the body of its thread.

    :ivar context: for connections from now on; may be replaced while it serves.
    """

    def __init__(self, context: ssl.SSLContext, limits: WebLimits = DEFAULT_LIMITS) -> None:
        logging.getLogger("asyncio").setLevel(logging.ERROR)  # mistakes of clients are not logged
        self.context = context
        self._limits = limits
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_note)
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, client: socket.socket) -> socket.socket:
        """Serve TLS on ``client``, which the relay owns from now on.

        :returns: the socket of its plain bytes.
        :raises OSError: if too many files are open, or the relay has ended.
        """
        plain, ours = socket.socketpair()
        try:
            self._loop.call_soon_threadsafe(self._begin, client, ours)
        except RuntimeError as error:
            plain.close()
            ours.close()
            raise OSError(str(error)) from None
        return plain

    def run(self, stop: threading.Event, progress: Callable[[], None]) -> None:
        """Relay until ``stop`` is set. Reports progress while the loop turns."""
        try:
            self._loop.run_until_complete(self._live(stop, progress))
        finally:
            self._loop.close()

    async def _live(self, stop: threading.Event, progress: Callable[[], None]) -> None:
        while not stop.is_set():
            progress()
            await asyncio.sleep(_TICK_S)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_TICK_S)  # for what waitress still sends
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
                    await _relay(inside, outside, self._limits.stalled_s)
            except OSError as error:
                log.debug("TLS: %s", error)

    async def _greet(self, client: socket.socket) -> _Stream | None:
        """The plain side of ``client``; None if it speaks no TLS, or not in time."""
        try:
            if not await _begins_with_tls(client, self._limits.handshake_s):
                return None
            return await _stream(client, ssl=self.context, ssl_handshake_timeout=self._limits.handshake_s)
        except (OSError, asyncio.TimeoutError) as error:
            log.debug("TLS: %s", error)
            return None


class _Stream:
    """Both directions of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def close(self, stalled_s: float) -> None:
        """Send the remaining bytes if the client takes them in time; then close."""
        self.writer.close()
        try:
            await asyncio.wait_for(self.writer.wait_closed(), stalled_s)
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
    """The result of ``greeting``; None if the web server closes first, having too many connections."""
    greeted = asyncio.ensure_future(greeting)
    closed = asyncio.ensure_future(server.reader.read(1))  # it sends nothing before a request
    try:
        await asyncio.wait({greeted, closed}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for either in (greeted, closed):
            either.cancel()
        await asyncio.gather(greeted, closed, return_exceptions=True)
    return None if greeted.cancelled() else greeted.result()


async def _relay(server: _Stream, client: _Stream, stalled_s: float) -> None:
    """Copy bytes in both directions until one direction ends, which ends both."""
    up = asyncio.ensure_future(_pump(client.reader, server.writer, stalled_s))
    down = asyncio.ensure_future(_pump(server.reader, client.writer, stalled_s))
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
        await client.close(stalled_s)


def _still_takes(server: _Stream) -> bool:
    """Whether the web server still reads from the client after it has sent everything."""
    if server.writer.transport.is_closing():
        return False
    state = select.poll()
    state.register(server.writer.get_extra_info("socket"), 0)
    # POLLHUP is always reported once both directions are shut: unix_poll() in Linux' net/unix/af_unix.c.
    return not state.poll(0)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, stalled_s: float) -> None:
    """Copy bytes from ``source`` to ``sink``, no faster than ``sink`` accepts them.

    :raises TimeoutError: if ``sink`` accepts nothing for ``stalled_s`` seconds; OSError for other errors.
    """
    while (data := await source.read(_CHUNK_BYTES)) and not sink.transport.is_closing():
        sink.write(data)
        if sink.transport.get_write_buffer_size():
            await asyncio.wait_for(sink.drain(), stalled_s)


async def _begins_with_tls(client: socket.socket, timeout_s: float) -> bool:
    """Wait for the first byte. A client that speaks plain HTTP gets an answer that says so."""
    loop = asyncio.get_running_loop()
    spoken = asyncio.Event()
    loop.add_reader(client, spoken.set)
    try:
        await asyncio.wait_for(spoken.wait(), timeout_s)
    finally:
        loop.remove_reader(client)
    first = client.recv(1, socket.MSG_PEEK)
    if first.isalpha():
        client.recv(_CHUNK_BYTES)  # unread data would reset the connection before the answer is read
        client.send(_PLAIN_ANSWER)
        client.shutdown(socket.SHUT_WR)
    return first == _HANDSHAKE_RECORD


def _note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Mistakes of clients are logged for debugging only."""
    log.debug("TLS: %s: %s", context.get("message"), context.get("exception"))
