"""Limits of single connections, and how requests are refused.

waitress parses and answers. This adds limits that it lacks, or lacks in some version from 1.4.4 to 3.0.2.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import BadRequest, build_http_date

from netify_agent.api.http.access import SAFE_HEADERS
from netify_agent.api.http.limits import DEFAULT_LIMITS, WebLimits
from netify_agent.api.http.problems import Problem

MAX_TARGET = 4096  # bytes of path and query
MAX_HEADER = 16384  # bytes of a request without its body
_LINGER_S = 2
_CHUNK_BYTES = 65536
_TARGET_RULE = f"path and query: expected at most {MAX_TARGET} bytes"


class TargetTooLong(BadRequest):  # type: ignore[misc]
    """The request target is too long."""

    code = 414
    reason = "URI Too Long"


class LengthRequired(BadRequest):  # type: ignore[misc]
    """A body without a Content-Length (RFC 9112 section 6.3)."""

    code = 411
    reason = "Length Required"


#: Called with a request whose body has not been read yet: the part of WSGI's environment that its headers
#: give. Raises Problem to refuse the request.
Admit = Callable[[Mapping[str, Any]], None]


class NotAdmitted(BadRequest):  # type: ignore[misc]
    """The request is refused before its body is read; ``problem`` is the answer."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.code, self.reason = problem.status, HTTPStatus(problem.status).phrase


class RequestParser(HTTPRequestParser):  # type: ignore[misc]
    """waitress' parser, with checks of the target's length, the Host header, and the body."""

    error: Any = None
    chunked: bool = False
    arrived: float = 0  # when the headers were complete; time.time()

    def __init__(self, adjustments: Any, admit: Admit | None = None, client: str | None = None) -> None:
        """``client``: IP address of the sender; None on a Unix socket."""
        super().__init__(adjustments)
        self._admit = admit
        self._client = client

    def received(self, data: bytes) -> int:
        """Parse a piece of data; returns how many of its bytes belong to this request."""
        before = self.header_plus
        consumed: int = super().received(data)
        if self.error is not None and self.error.code == 431 and b"\n" not in (before + data)[:MAX_HEADER]:
            self.error = TargetTooLong(_TARGET_RULE)
        if self.completed:
            # Nothing more is expected of the client (RFC 9110 section 10.1.1). waitress up to 3.0.2 sends
            # 100 Continue all the same, and then waits for a body that never comes.
            self.expect_continue = False
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Parse first line and headers. Raises ParsingError."""
        self.arrived = time.time()
        try:
            super().parse_header(header_plus)
        except ValueError:  # of urlsplit(), which waitress overlooks: http://[::1/
            raise ParsingError("the first line names no URL") from None
        if self.proxy_netloc:
            self.headers["HOST"] = self.proxy_netloc  # RFC 9112 section 3.2.2: it takes precedence
        words = self.first_line.split(b" ")
        if len(words) < 2:
            raise ParsingError("the first line is empty")  # waitress 1.4.4 goes on without
        if len(words[1]) > MAX_TARGET:
            self.error = TargetTooLong(_TARGET_RULE)
        # RFC 9112 section 3.2; waitress has joined several with a comma.
        elif (self.version == "1.1" and "HOST" not in self.headers) or "," in self.headers.get("HOST", ""):
            raise ParsingError("expected one Host header")
        # Request smuggling: waitress 1.4.4 accepts "+4" and negative chunk sizes (fixed in 2.1.1).
        elif not re.fullmatch("[0-9]+", self.headers.get("CONTENT_LENGTH", "0")):
            raise ParsingError("Content-Length is invalid")
        elif self.chunked or "TRANSFER_ENCODING" in self.headers:
            self._refuse(LengthRequired("expected no body, or one with a Content-Length"))
        elif self.content_length > 0 and self._admit is not None:
            try:
                self._admit(self._environment())
            except Problem as problem:
                self._refuse(NotAdmitted(problem))

    def _refuse(self, error: Any) -> None:
        """Answer with an error, and read no body."""
        self.error = error
        self.chunked, self.body_rcv, self.content_length = False, None, 0

    def _environment(self) -> dict[str, Any]:
        return {
            **{f"HTTP_{name}": value for name, value in self.headers.items()},
            "REQUEST_METHOD": self.command,
            "PATH_INFO": self.path,
            "CONTENT_LENGTH": str(self.content_length),
            "REMOTE_ADDR": self._client,
        }


class ResponseTask(WSGITask):  # type: ignore[misc]
    """The answer to a request. It keeps the connection open, also after an answer without a body.

    waitress up to 3.0.2 closes after every answer without a Content-Length, and 204 and 304 have none; 1.4.4
    also after HEAD.
    """

    close_on_finish: bool = False
    _announced: bool = False  # whether the headers say that the connection ends

    def get_environment(self) -> dict[str, Any]:
        """The environment of WSGI, with the time at which the headers had arrived, ``netify.arrived``."""
        environ: dict[str, Any] = super().get_environment()
        environ["netify.arrived"] = self.request.arrived
        return environ

    def build_response_header(self) -> bytes:
        """Status and headers as they are sent.

        Written here if the body's length is known, which is nearly always: waitress parses and sorts the
        headers again, which takes longer than the rest of a cached answer.
        """
        length = self.content_length if self.has_body else None
        if self.version != "1.1" or (self.has_body and length is None):
            head: bytes = super().build_response_header()
            self._announced = b"\r\nConnection: close\r\n" in head
            return head
        lines = [f"HTTP/1.1 {self.status}"]
        lines += [f"{name}: {value}" for name, value in self.response_headers if name != "Content-Length"]
        lines += [f"Date: {build_http_date(self.start_time)}", f"Server: {self.channel.server.adj.ident}"]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        if self.request.headers.get("CONNECTION", "").lower() == "close":
            lines.append("Connection: close")
            self._announced = self.close_on_finish = True
        return "\r\n".join([*lines, "\r\n"]).encode("latin-1")

    def finish(self) -> None:
        """End the answer."""
        super().finish()
        if self.request.command == "HEAD":
            self.close_on_finish = self._announced
        if (
            self.channel.total_outbufs_len > self.channel.limits.untaken_bytes
            and len(self.channel.requests) > 1
        ):
            self.close_on_finish = True  # the client does not read; send no further answers


class RefusalTask(ErrorTask):  # type: ignore[misc]
    """The answer to an invalid request: a problem document, then the end of the connection."""

    def execute(self) -> None:
        """ResponseTask."""
        error = self.request.error
        problem = error.problem if isinstance(error, NotAdmitted) else Problem(error.code, str(error.body))
        reply = problem.reply()
        body = b"".join([reply.body] if isinstance(reply.body, bytes) else reply.body)
        self.status = f"{error.code} {error.reason}"
        self.response_headers += {**SAFE_HEADERS, **reply.headers}.items()
        self.request.headers["CONNECTION"] = "close"  # so that the answer says close
        self.channel.refused = True
        self.content_length = len(body)
        self.write(body)


class Connection(HTTPChannel):  # type: ignore[misc]
    """One client's connection."""

    parser_class: Any = RequestParser
    task_class = ResponseTask
    error_task_class = RefusalTask
    refused: bool = False
    lingers: bool = False  # everything is sent; the client is to close
    limits: WebLimits = DEFAULT_LIMITS
    last_taken: float = 0  # when the client last took a byte, or had nothing to take; time.time()

    def write_soon(self, data: Any) -> int:
        """Send or buffer data; called by workers. Returns the number of bytes."""
        if not self.total_outbufs_len:
            self.last_taken = time.time()
        size: int = super().write_soon(data)
        return size

    def send(self, *arguments: Any, **options: Any) -> int:
        """Send what the client takes now. Returns the number of bytes."""
        size: int = super().send(*arguments, **options)
        if size:
            self.last_taken = time.time()
        return size

    def readable(self) -> bool:
        """Whether to read now."""
        return self.lingers or bool(super().readable())

    def handle_read(self) -> None:
        """Receive data."""
        if self.lingers:
            with contextlib.suppress(OSError):
                self.recv(_CHUNK_BYTES)
        else:
            super().handle_read()

    def handle_close(self) -> None:
        """Close the connection. After a refusal, let the client read the answer first.

        Linux resets a connection that is closed with unread data, and the reset may arrive before the answer.
        Therefore further data of the client is read and dropped for a moment.
        """
        if self.refused and not (self.lingers or self.total_outbufs_len or self.socket is None):
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
                self.lingers = True
                self.will_close = self.close_when_flushed = False
                self.last_activity = time.time()
                return
        super().handle_close()


class ClockSteps:
    """Notices when the wall clock, by which waitress measures silence, is set."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def step_s(self) -> float:
        """Return by how many seconds the clock was set since the last call; 0 for less than one second."""
        offset = time.time() - time.monotonic()
        step_s = offset - self._offset
        if abs(step_s) < 1:
            return 0.0
        self._offset = offset
        return step_s


class SlowClients:
    """Closes the connections of clients that send or take nothing, so that others find room."""

    def __init__(self, limits: WebLimits, most: int) -> None:
        """``most``: connections at once."""
        self._limits = limits
        self._most = most
        self._unfinished: dict[Any, float] = {}  # connections in the middle of a request, and since when

    def follow_clock(self, connections: Mapping[int, Any], step_s: float, now: float) -> None:
        """Correct the times of all connections after the wall clock was set by ``step_s`` seconds to ``now``.

        A time later than ``now`` was noted before the clock was set back.
        """

        def moved(at: float) -> float:
            return min(at + step_s, now) if step_s > 0 or at > now else at

        for connection in list(connections.values()):
            connection.last_activity = moved(connection.last_activity)
            connection.last_taken = moved(connection.last_taken)
        self._unfinished = {connection: moved(since) for connection, since in self._unfinished.items()}

    def drop_slow(self, connections: Mapping[int, Any], now: float) -> None:
        """Close connections whose client does not send its request or read its answer in time.

        waitress only measures the silence between two bytes, and not while an answer is waiting: a client
        that sends a byte now and then holds a connection for ever, one that takes nothing a worker.
        """
        unfinished: dict[Any, float] = {}
        for connection in list(connections.values()):
            if connection.lingers:
                if connection.last_activity < now - _LINGER_S:
                    connection.handle_close()
            elif connection.total_outbufs_len:
                if connection.last_taken < now - self._limits.idle_s:
                    connection.handle_close()
            elif connection.request is not None:
                since = unfinished[connection] = self._unfinished.get(connection, now)
                if since < now - self._limits.idle_s:
                    connection.handle_close()
        self._unfinished = unfinished

    def make_room(self, connections: Mapping[int, Any]) -> None:
        """If there are too many connections or unread answers, close those that have waited the longest.

        A client that floods the server therefore loses its own connections.
        """
        untaken = [each for each in list(connections.values()) if each.total_outbufs_len]
        excess = sum(each.total_outbufs_len for each in untaken) - self._limits.untaken_bytes
        if excess > 0:
            for each in sorted(untaken, key=_last_taken)[:-1]:  # one may have an answer of any size
                excess -= each.total_outbufs_len
                each.handle_close()
                if excess <= 0:
                    break
        if len(connections) > self._most:
            waiting = [each for each in list(connections.values()) if not each.requests]
            if waiting:
                min(waiting, key=self._since).handle_close()

    def _since(self, connection: Any) -> float:
        since: float = self._unfinished.get(connection, connection.last_activity)
        return since


def _last_taken(connection: Any) -> float:
    last: float = connection.last_taken
    return last
