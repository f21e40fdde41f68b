"""Cache of encoded and compressed answers, from one flush to the next.

A cached answer costs one question to Redis (the number of the last flush) and one look-up. This module knows
no routes and no documents.
"""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from netify_agent.api.http.negotiation import takes_gzip
from netify_agent.api.http.route import VARY, Environ, Reply, Route

COMPRESSED_FROM = 1024  # bytes: below this, gzip saves next to nothing
GZIP_LEVEL = 4  # of gzip: most of the gain at a third of the time of 6


class Encoded:
    """A body with its HTTP headers. It is compressed once, for the first client that accepts that."""

    def __init__(self, body: bytes, media_type: str, etag: str, cache_control: str = "no-cache") -> None:
        """``etag``: without quotes, the same for both encodings."""
        self.body = body
        self._media_type = media_type
        self._cache_control = cache_control
        self._etag = etag
        self._plain = self._headers(etag, {})
        self._packed: tuple[bytes, dict[str, str]] | None = None
        self._packing = threading.Lock()

    @classmethod
    def of_content(cls, body: bytes, media_type: str, cache_control: str = "no-cache") -> Encoded:
        """A body that never changes: its ETag is a hash of it."""
        return cls(body, media_type, hashlib.blake2b(body, digest_size=12).hexdigest(), cache_control)

    def _headers(self, etag: str, more: dict[str, str]) -> dict[str, str]:
        return {
            "Content-Type": self._media_type,
            "ETag": f'"{etag}"',
            "Cache-Control": self._cache_control,
            "Vary": VARY,
            **more,
        }

    @property
    def size(self) -> int:
        """Approximate memory in bytes."""
        return len(self.body) + (len(self._packed[0]) if self._packed else 0)

    def reply(self, environ: Environ) -> Reply:
        """The answer to a request: the body in an encoding that the client accepts, or 304."""
        body, headers = self.body, self._plain
        if len(body) >= COMPRESSED_FROM and takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
            body, headers = self._compressed()
        known = environ.get("HTTP_IF_NONE_MATCH")
        if known is not None and (known == "*" or matches(known, headers["ETag"])):
            return not_modified(headers["ETag"], self._cache_control)
        return Reply(body, 200, dict(headers))

    def _compressed(self) -> tuple[bytes, dict[str, str]]:
        with self._packing:
            if self._packed is None:
                body = gzip.compress(self.body, GZIP_LEVEL, mtime=0)
                self._packed = body, self._headers(packed_name(self._etag), {"Content-Encoding": "gzip"})
            return self._packed


def packed_name(etag: str) -> str:
    """The ETag of the compressed form: other bytes need another ETag."""
    return f"{etag}-gzip"


def not_modified(etag: str, cache_control: str = "no-cache") -> Reply:
    """304; ``etag`` with its quotes."""
    return Reply(b"", 304, {"ETag": etag, "Cache-Control": cache_control, "Vary": VARY})


def matches(if_none_match: str, etag: str) -> bool:
    """Whether ``etag`` (with its quotes) is among those of a client; ``*`` matches none."""
    if if_none_match == etag:
        return True
    return etag in [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]


class State(NamedTuple):
    """What cached answers depend on: they are valid as long as this does not change.

    :ivar sequence: number of the last flush.
    :ivar at_ms: when it was taken, our clock.
    :ivar generation: of the directory's names.
    :ivar born: tells one :class:`~netify_agent.api.http.app.Api` from the next, with other settings.
    """

    sequence: int
    at_ms: int
    generation: int
    born: str


@dataclass(frozen=True)
class Entry:
    """A cached answer, with its route and parameters."""

    route: Route
    values: Mapping[str, Any]
    state: State
    encoded: Encoded


class ResponseCache:
    """The latest encoded answers, by request target. Thread-safe.

    Outdated ones are dropped with the first answer after a flush. The oldest ones make room for new ones; the
    newest is always kept, whatever its size.
    """

    def __init__(self, most: int = 256, most_bytes: int = 64 << 20) -> None:
        """At most ``most`` answers, of ``most_bytes`` together."""
        self._most = most
        self._most_bytes = most_bytes
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()  # guards the order of the entries
        self._making = [threading.Lock() for _ in range(16)]

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, target: str) -> Entry | None:
        """The latest answer to ``target``, possibly outdated."""
        return self._entries.get(target)

    def put(self, target: str, entry: Entry) -> None:
        """Cache an answer, in place of the one before."""
        with self._lock:
            outdated = [name for name, one in self._entries.items() if one.state != entry.state]
            for name in (target, *outdated):
                self._entries.pop(name, None)
            self._entries[target] = entry
            held = sum(one.encoded.size for one in self._entries.values())
            while len(self._entries) > 1 and (len(self._entries) > self._most or held > self._most_bytes):
                held -= self._entries.popitem(last=False)[1].encoded.size

    def making(self, target: str) -> threading.Lock:
        """The lock to hold while making the answer to ``target``, so that it is made once."""
        return self._making[hash(target) % len(self._making)]


def name_of(state: State, target: str) -> str:
    """The ETag, without quotes, of the answer to ``target`` in ``state``."""
    return hashlib.blake2b(repr((state, target)).encode(), digest_size=12).hexdigest()
