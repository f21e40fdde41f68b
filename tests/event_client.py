"""A client of ``/events``, after the standard (WHATWG HTML, "Server-sent events")."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import zlib
from dataclasses import dataclass
from typing import Any

from support import WAIT_S


@dataclass
class Event:
    name: str
    id: str
    data: Any

    @property
    def devices(self) -> set[str]:
        return {device["device"] for device in self.data["devices"]}


class Client:
    """Reads a stream of events."""

    def __init__(
        self,
        port: int,
        last_event_id: str | None = None,
        tls: ssl.SSLContext | None = None,
        query: str = "",
        **headers: str,
    ) -> None:
        if tls is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
        else:
            self._connection = http.client.HTTPSConnection("localhost", port, timeout=WAIT_S, context=tls)
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        self._connection.request("GET", f"/events{query}", headers=headers)
        self.answer = self._connection.getresponse()
        self.comments: list[str] = []
        self.retry: str | None = None
        self.received = 0  # bytes of a compressed stream
        self._gzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._text = b""

    def _line(self) -> str:
        """The next line; empty at the end of the stream. What has arrived of gzip is decompressed at once."""
        if self.answer.headers["Content-Encoding"] != "gzip":
            return self.answer.readline().decode()
        while b"\n" not in self._text:
            part = self.answer.read1()
            if not part:
                assert self._gzip.eof and not self._text, "the stream was cut"
                return ""
            self.received += len(part)
            self._text += self._gzip.decompress(part)
        line, _, self._text = self._text.partition(b"\n")
        return line.decode() + "\n"

    def next(self) -> Event | None:
        """The next event, None at the end of the stream."""
        fields: dict[str, str] = {}
        end = time.monotonic() + WAIT_S
        while line := self._line():
            assert time.monotonic() < end, "nothing but comments came"
            text = line.rstrip("\n")
            if not text and "data" in fields:
                return Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
            name, _, value = text.partition(": " if ": " in text else ":")
            if not name and text:
                self.comments.append(value)
            elif name == "retry":
                self.retry = value
            elif name:
                fields[name] = value
        assert not fields, "an event was cut"
        return None

    def event(self) -> Event:
        found = self.next()
        assert found is not None, "the stream ended"
        return found

    def comment(self) -> str:
        """The next comment; there may be no event before it."""
        while line := self._line():
            if line.startswith(":"):
                return line[1:].strip()
            assert line == "\n" or line.startswith("retry"), line
        raise AssertionError("the stream ended")

    def close(self) -> None:
        self._connection.close()
        self.answer.close()
