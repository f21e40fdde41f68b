"""A listening socket on an endpoint, `unix:///path` or `tcp://host:port`, as netifyd names them.

Apart from server.py because a socket file has a life of its own: it may be stale, in use, or no socket at
all. Knows nothing of clients.
"""

from __future__ import annotations

import contextlib
import socket
import stat
from collections.abc import Iterator
from pathlib import Path


class EndpointError(Exception):
    """An endpoint that is malformed, in use, or cannot be listened on."""


@contextlib.contextmanager
def listening(endpoint: str) -> Iterator[socket.socket]:
    """Open a non-blocking listening socket. A Unix socket file is replaced, and removed at the end.

    :raises EndpointError: malformed, in use by a living process, or not ours to remove
    """
    scheme, _, address = endpoint.partition("://")
    if scheme == "unix" and address.startswith("/"):
        with _listening_unix(Path(address)) as listener:
            yield listener
    elif scheme == "tcp":
        with _listening_tcp(endpoint, address) as listener:
            yield listener
    else:
        raise EndpointError(f"{endpoint}: not an endpoint, expected unix:///path or tcp://host:port")


@contextlib.contextmanager
def _listening_unix(path: Path) -> Iterator[socket.socket]:
    _make_way(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            listener.bind(str(path))
            listener.listen()
            ours = path.stat().st_ino
        except OSError as error:
            raise EndpointError(f"{path}: cannot listen: {error.strerror or error}") from error
        listener.setblocking(False)
        try:
            yield listener
        finally:
            with contextlib.suppress(OSError):
                if path.stat().st_ino == ours:
                    path.unlink()


def _make_way(path: Path) -> None:
    """Remove the socket of a process that has exited. Anything else stays and is an error."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise EndpointError(f"{path}: exists and is not a socket; it was left alone")
    except FileNotFoundError:
        return
    except OSError as error:
        raise EndpointError(f"{path}: {error.strerror or error}") from error
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise EndpointError(f"{path}: {error.strerror or error}") from error
    raise EndpointError(f"{path}: another process listens there")


@contextlib.contextmanager
def _listening_tcp(endpoint: str, address: str) -> Iterator[socket.socket]:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise EndpointError(f"{endpoint}: not an endpoint, expected tcp://host:port")
    try:
        family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, int(port)), family=family)
    except OSError as error:
        raise EndpointError(f"{endpoint}: cannot listen: {error.strerror or error}") from error
    with listener:
        listener.setblocking(False)
        yield listener
