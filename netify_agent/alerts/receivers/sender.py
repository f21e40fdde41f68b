"""What all senders have in common: errors, and the time limit of a conversation."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from netify_agent.alerts.alert import Alert, Notification
from netify_agent.threads import start_thread

CONNECT_S = 5.0  # to connect to one address, and for each step of a conversation
SEND_S = 15.0  # default time limit of a whole conversation
_ADDRESSES = 4  # of a host that are tried
_CHECK_S = 0.2  # between checks of the clock and of the request to stop

Describe = Callable[[Alert], str]


class NotSent(Exception):
    """The receiver did not confirm the notification. The message contains no secrets.

    :ivar only_this: whether the receiver refuses this notification, and may take others.
    """

    def __init__(self, message: str, *, only_this: bool = False) -> None:
        super().__init__(one_line(message)[:300])
        self.only_this = only_this


class Sender(Protocol):
    """Speaks the protocol of one receiver. One conversation at a time."""

    @property
    def resend_s(self) -> float | None:
        """How often :meth:`refresh` is to be called, seconds; None: never."""

    def send(self, notification: Notification, stop: threading.Event) -> str:
        """Deliver a notification; returns what the receiver answered, in one line.

        :param stop: ends the conversation early.
        :raises NotSent: if it is not known to be delivered.
        """

    def refresh(self, alerts: Sequence[Alert], stop: threading.Event) -> None:
        """Send firing alerts again. Raises NotSent."""


def one_line(text: str) -> str:
    """``text`` in one line of printable characters."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))


def reason_of(error: Exception) -> str:
    """An error of a connection in a few words."""
    if isinstance(error, socket.gaierror):
        return "its host name can't be resolved"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


@contextmanager
def time_limit(
    connected: Callable[[], socket.socket | None], stop: threading.Event, limit_s: float
) -> Iterator[None]:
    """Shut the connection down after ``limit_s`` seconds, or when ``stop`` is set.

    A time-out of the socket alone does not end a conversation with a peer that sends a byte now and then.

    :param connected: returns the socket, None before it is connected.
    :raises NotSent: in place of the error that the shutdown caused, and if the thread that watches the time
        can't be started.
    """
    done = threading.Event()
    ended: list[str] = []
    end = time.monotonic() + limit_s

    def watch() -> None:
        while not done.wait(_CHECK_S):
            why = "the agent stops" if stop.is_set() else "it does not answer in time"
            if stop.is_set() or time.monotonic() > end:
                found = connected()
                if found is not None:
                    ended.append(why)
                    shut_down(found)
                    return

    try:
        start_thread(watch)
    except (RuntimeError, MemoryError) as error:  # the notification is sent later; no thread ends
        raise NotSent(f"no conversation without a time limit: {reason_of(error)}") from error
    try:
        yield
    except NotSent:
        raise
    except Exception as error:
        if ended:
            raise NotSent(ended[0]) from error
        raise
    finally:
        done.set()


def shut_down(connection: socket.socket) -> None:
    """End both directions, below TLS, so that a read in another thread returns."""
    with suppress(OSError):  # it may be closed already
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def connect(host: str, port: int) -> socket.socket:
    """Connect to the first address of a host that accepts, of at most :data:`_ADDRESSES`. Raises OSError."""
    last: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[
        :_ADDRESSES
    ]:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(CONNECT_S)
        try:
            connection.connect(address)
            return connection
        except OSError as error:
            connection.close()
            last = error
    raise last or OSError("its host name has no address")


def start_tls(
    plain: socket.socket, context: ssl.SSLContext, host: str, keep: Callable[[ssl.SSLSocket], None]
) -> ssl.SSLSocket:
    """Begin TLS on a connection. Raises OSError.

    :param keep: is given the socket before the handshake, so that :func:`time_limit` knows it.
    """
    connection = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    keep(connection)
    connection.do_handshake()
    return connection
