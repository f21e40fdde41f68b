"""What one connection may ask of the web server, and for how long: limits, and refusals in our words.

waitress parses and answers; this sets limits that it does not have, or has not in all versions from 1.4.4
to 3.0.2.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Mapping
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import BadRequest, build_http_date

from netify_agent.api.http.access import SAFE_HEADERS
from netify_agent.api.http.problems import Problem

MAX_TARGET = 4096  # bytes of path and query
MAX_HEADER = 16384  # bytes of a request without its body
MAX_BODY = 16384  # bytes: no request needs one
MAX_UNTAKEN = 128 << 20  # bytes of answers that wait for their clients to take them, all together
_LINGER_S = 2
_CHUNK_BYTES = 65536
_TARGET_RULE = f"path and query: expected at most {MAX_TARGET} bytes"


class TargetTooLong(BadRequest):  # type: ignore[misc]
    """The first line names too much."""

    code = 414
    reason = "URI Too Long"


class LengthRequired(BadRequest):  # type: ignore[misc]
    """A body comes that does not say how long it is (RFC 9112 section 6.3)."""

    code = 411
    reason = "Length Required"


class RequestParser(HTTPRequestParser):  # type: ignore[misc]
    """waitress' parser, which also looks at the length of the target, at the Host, and for bodies."""

    error: Any = None
    chunked: bool = False

    def received(self, data: bytes) -> int:
        """Take in a piece of a request; returns how many bytes of it belong to this one."""
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
        """Read the lines of a request. Raises ParsingError."""
        try:
            super().parse_header(header_plus)
        except ValueError:  # of urlsplit(), which waitress overlooks: http://[::1/
            raise ParsingError("the first line names no URL") from None
        if self.proxy_netloc:
            self.headers["HOST"] = self.proxy_netloc  # RFC 9112 section 3.2.2: it is what was meant
        words = self.first_line.split(b" ")
        if len(words) < 2:
            raise ParsingError("the first line is none")  # waitress 1.4.4 goes on with nothing
        if len(words[1]) > MAX_TARGET:
            self.error = TargetTooLong(_TARGET_RULE)
        # RFC 9112 section 3.2; waitress has joined several with a comma.
        elif (self.version == "1.1" and "HOST" not in self.headers) or "," in self.headers.get("HOST", ""):
            raise ParsingError("expected one Host header")
        # No request needs a body, and where one ends is what smugglers lie about: waitress 1.4.4 can be told
        # so by "+4" and by chunks of less than nothing (fixed in 2.1.1).
        elif not re.fullmatch("[0-9]+", self.headers.get("CONTENT_LENGTH", "0")):
            raise ParsingError("Content-Length is invalid")
        elif self.chunked or "TRANSFER_ENCODING" in self.headers:
            self.error = LengthRequired("expected no body, or one with a Content-Length")
            self.chunked, self.body_rcv, self.content_length = False, None, 0


class ResponseTask(WSGITask):  # type: ignore[misc]
    """The answer to a request, after which the connection is kept, also where it has no body.

    waitress up to 3.0.2 hangs up after every answer without a Content-Length, and 204 and 304 have none;
    1.4.4 also after HEAD.
    """

    close_on_finish: bool = False
    _announced: bool = False  # whether the headers say that the connection ends

    def build_response_header(self) -> bytes:
        """Status and headers as they are sent.

        Ours where their end is known, which is nearly always: waitress takes each header apart and sorts
        them, and so longer than all else that an answer which is kept takes.
        """
        length = self.content_length if self.has_body else None
        if self.version != "1.1" or (self.has_body and length is None):
            head: bytes = super().build_response_header()
            self._announced = b"\r\nConnection: close\r\n" in head
            return head
        lines = [f"HTTP/1.1 {self.status}"]
        lines += [f"{name}: {told}" for name, told in self.response_headers if name != "Content-Length"]
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
        if self.channel.total_outbufs_len > MAX_UNTAKEN and len(self.channel.requests) > 1:
            self.close_on_finish = True  # who has asked for more, and takes nothing, has asked enough


class RefusalTask(ErrorTask):  # type: ignore[misc]
    """The answer to what is no request, or none that we take: a problem, and the end of the connection."""

    def execute(self) -> None:
        """ResponseTask."""
        error = self.request.error
        reply = Problem(error.code, str(error.body)).reply()
        body = b"".join([reply.body] if isinstance(reply.body, bytes) else reply.body)
        self.status = f"{error.code} {error.reason}"
        self.response_headers += {**SAFE_HEADERS, **reply.headers}.items()
        self.request.headers["CONNECTION"] = "close"  # as if it had asked for that
        self.channel.refused = True
        self.content_length = len(body)
        self.write(body)


class Connection(HTTPChannel):  # type: ignore[misc]
    """One client's connection."""

    parser_class = RequestParser
    task_class = ResponseTask
    error_task_class = RefusalTask
    refused: bool = False
    lingers: bool = False  # we have said our last, and wait for the client's
    last_taken: float = 0  # when the client last took a byte, or had nothing to take; time.time()

    def write_soon(self, data: Any) -> int:
        """Send, or keep for sending; called by workers. Returns the number of bytes."""
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
        """Take in what came."""
        if self.lingers:
            with contextlib.suppress(OSError):
                self.recv(_CHUNK_BYTES)
        else:
            super().handle_read()

    def handle_close(self) -> None:
        """Hang up; on who was refused, so that he can still read why.

        Linux resets a connection that is closed with something unread, and a reset overtakes our answer. So
        what he still sends is thrown away for a moment.
        """
        if self.refused and not (self.lingers or self.total_outbufs_len or self.socket is None):
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
                self.lingers = True
                self.will_close = self.close_when_flushed = False
                self.last_activity = time.time()
                return
        super().handle_close()


class ConnectionLimits:
    """Which connections have been waited for long enough."""

    def __init__(self, idle_s: float, most: int) -> None:
        """At most ``most`` connections, each silent for at most ``idle_s`` seconds."""
        self._idle_s = idle_s
        self._most = most
        self._unfinished: dict[Any, float] = {}  # connections in the middle of a request, and since when

    def drop_slow(self, connections: Mapping[int, Any], now: float) -> None:
        """Close those whose client neither sends its request nor takes its answer in good time.

        waitress itself only counts the silence between two bytes, and not while an answer is waiting: a
        client that drips holds a connection, and one that takes nothing a worker, for good.
        """
        unfinished: dict[Any, float] = {}
        for connection in list(connections.values()):
            if connection.lingers:
                if connection.last_activity < now - _LINGER_S:
                    connection.handle_close()
            elif connection.total_outbufs_len:
                if connection.last_taken < now - self._idle_s:
                    connection.handle_close()
            elif connection.request is not None:
                since = unfinished[connection] = self._unfinished.get(connection, now)
                if since < now - self._idle_s:
                    connection.handle_close()
        self._unfinished = unfinished

    def make_room(self, connections: Mapping[int, Any]) -> None:
        """Where there are too many, close the one that has been waited for the longest.

        So whoever opens connections without end, or asks for answers and takes none, shuts out himself, and
        a client that comes with its request is answered.
        """
        untaken = [each for each in list(connections.values()) if each.total_outbufs_len]
        excess = sum(each.total_outbufs_len for each in untaken) - MAX_UNTAKEN
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
