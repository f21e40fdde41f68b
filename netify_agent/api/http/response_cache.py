"""Encoded responses: their headers, their compressed form, and a cache that holds them until the next flush.

Knows no routes' answers and no documents.
"""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from netify_agent.api.http.negotiation import takes_gzip
from netify_agent.api.http.route import VARY, Environ, Reply, Route
from netify_agent.store.query import FlushStamp

COMPRESSED_FROM = 1024  # bytes; compressing smaller bodies saves next to nothing
GZIP_LEVEL = 4  # most of the saving of level 6 in a third of the time


class Encoded:
    """A body with its ETag. It is compressed once, for the first client that accepts gzip."""

    def __init__(self, body: bytes, headers: Mapping[str, str], etag: str) -> None:
        """A body that is not compressed yet.

        :param headers: ``Content-Type``, and others that describe the body.
        :param etag: without quotes, for the plain body; the compressed body gets another one.
        """
        self.body = body
        self._described = headers
        self._etag = etag
        self._plain_headers = self._headers(etag, {})
        self._compressed: tuple[bytes, dict[str, str]] | None = None
        self._lock = threading.Lock()  # held while compressing

    @classmethod
    def of_content(cls, body: bytes, media_type: str) -> Encoded:
        """A body whose ETag is a hash of its bytes."""
        return cls(body, {"Content-Type": media_type}, hashlib.blake2b(body, digest_size=12).hexdigest())

    def _headers(self, etag: str, more: dict[str, str]) -> dict[str, str]:
        return {
            **self._described,
            "ETag": f'"{etag}"',
            "Cache-Control": "no-cache",
            "Vary": VARY,
            **more,
        }

    @property
    def size(self) -> int:
        """Approximate memory use, bytes."""
        return len(self.body) + (len(self._compressed[0]) if self._compressed else 0)

    def reply(self, environ: Environ) -> Reply:
        """The response to a request: the body in an accepted encoding, or 304."""
        body, headers = self.body, self._plain_headers
        if len(body) >= COMPRESSED_FROM and takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
            body, headers = self._compress()
        if_none_match = environ.get("HTTP_IF_NONE_MATCH")
        if if_none_match is not None and (if_none_match == "*" or matches(if_none_match, headers["ETag"])):
            return not_modified(headers["ETag"])
        return Reply(body, 200, dict(headers))

    def _compress(self) -> tuple[bytes, dict[str, str]]:
        with self._lock:
            if self._compressed is None:
                headers = self._headers(gzip_etag(self._etag), {"Content-Encoding": "gzip"})
                self._compressed = gzip.compress(self.body, GZIP_LEVEL, mtime=0), headers
            return self._compressed


def gzip_etag(etag: str) -> str:
    """The ETag of the compressed form of a body with the ETag ``etag``; both without quotes."""
    return f"{etag}-gzip"


def not_modified(etag: str) -> Reply:
    """Status 304; ``etag`` with quotes."""
    return Reply(b"", 304, {"ETag": etag, "Cache-Control": "no-cache", "Vary": VARY})


def matches(if_none_match: str, etag: str) -> bool:
    """Whether a header ``If-None-Match`` lists ``etag`` (with quotes); ``*`` is not considered."""
    if if_none_match == etag:
        return True
    return etag in [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]


class State(NamedTuple):
    """Everything that cached answers depend on: they are valid as long as it is unchanged.

    :ivar flush: the last flush.
    :ivar generation: of the directory's names.
    :ivar instance: which :class:`~netify_agent.api.http.app.Api` answers. Another one may have other
        settings.
    """

    flush: FlushStamp
    generation: int
    instance: str


@dataclass(frozen=True)
class Entry:
    """A cached response, and the parsed request that it answers."""

    route: Route
    values: Mapping[str, Any]
    state: State
    encoded: Encoded


class _Build:
    """A response that is being built.

    :ivar lock: held by the thread that builds it.
    :ivar threads: that build it or wait for it.
    """

    __slots__ = ("lock", "threads")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads = 0


class ResponseCache:
    """The latest responses by request target. Thread-safe.

    The first response after a flush drops all earlier ones. Beyond the limits the oldest responses are
    dropped; the newest one is kept even if it is larger than the limit.
    """

    def __init__(self, max_entries: int = 256, max_bytes: int = 64 << 20) -> None:
        """``max_bytes``: of all bodies together."""
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()  # guards the entries while they are changed, and the next one
        self._builds: dict[str, _Build] = {}

    def get(self, target: str) -> Entry | None:
        """The latest response to ``target``; it may be outdated."""
        return self._entries.get(target)

    def put(self, target: str, entry: Entry) -> None:
        """Add a response, in place of an earlier one to the same target."""
        with self._lock:
            outdated = [name for name, one in self._entries.items() if one.state != entry.state]
            for name in (target, *outdated):
                self._entries.pop(name, None)
            self._entries[target] = entry
            size = sum(one.encoded.size for one in self._entries.values())
            while len(self._entries) > 1 and (
                len(self._entries) > self._max_entries or size > self._max_bytes
            ):
                size -= self._entries.popitem(last=False)[1].encoded.size

    @contextmanager
    def building(self, target: str) -> Iterator[None]:
        """Enter it to build the response to ``target``: one thread at a time, and no other target waits."""
        with self._lock:
            build = self._builds.setdefault(target, _Build())
            build.threads += 1
        try:
            with build.lock:
                yield
        finally:
            with self._lock:
                build.threads -= 1
                if not build.threads:
                    del self._builds[target]


def etag_of(state: State, target: str) -> str:
    """The ETag, without quotes, of the response to ``target`` in ``state``."""
    return hashlib.blake2b(repr((state, target)).encode(), digest_size=12).hexdigest()
