"""Answers kept encoded, and compressed, from one flush to the next.

An answer that is still good costs one read from Redis (which flush was the last?) and one look into a
table. Knows no routes and no documents.
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

COMPRESSED_FROM = 1024  # bytes: below, gzip saves nothing that anybody would notice
GZIP_LEVEL = 4  # of gzip: most of the gain at a third of the time of 6


class Encoded:
    """A body with what HTTP wants to know of it; compressed once, for the first who takes that."""

    def __init__(self, body: bytes, media_type: str, etag: str, cache_control: str = "no-cache") -> None:
        """``etag`` is its name without quotes, the same for both encodings."""
        self.body = body
        self._media_type = media_type
        self._cache_control = cache_control
        self._etag = etag
        self._plain = self._headers(etag, {})
        self._packed: tuple[bytes, dict[str, str]] | None = None
        self._packing = threading.Lock()

    @classmethod
    def of_content(cls, body: bytes, media_type: str, cache_control: str = "no-cache") -> Encoded:
        """A body that stays what it is: its ETag is made of it."""
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
        """Bytes of memory, about."""
        return len(self.body) + (len(self._packed[0]) if self._packed else 0)

    def reply(self, environ: Environ) -> Reply:
        """The answer to a request: the body in the encoding that it takes, or 304."""
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
    """The ETag of the compressed form of what is named ``etag``: other bytes need another name."""
    return f"{etag}-gzip"


def not_modified(etag: str, cache_control: str = "no-cache") -> Reply:
    """304; ``etag`` with its quotes."""
    return Reply(b"", 304, {"ETag": etag, "Cache-Control": cache_control, "Vary": VARY})


def matches(if_none_match: str, etag: str) -> bool:
    """Whether ``etag`` (with its quotes) is among those that a client names; ``*`` names none."""
    if if_none_match == etag:
        return True
    return etag in [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]


class State(NamedTuple):
    """What answers depend on: they are the same as long as this is.

    :ivar sequence: number of the last flush.
    :ivar at_ms: when it was taken, our clock.
    :ivar generation: of the directory's names.
    :ivar born: which :class:`~netify_agent.api.http.app.Api` answers: another one may have other settings.
    """

    sequence: int
    at_ms: int
    generation: int
    born: str


@dataclass(frozen=True)
class Entry:
    """An answer of a route, and how it was asked for."""

    route: Route
    values: Mapping[str, Any]
    state: State
    encoded: Encoded


class ResponseCache:
    """The latest encoded answers, by target of the request. Thread-safe.

    Outdated ones go with the first answer of the next flush, so that they hold no memory. Those that were
    encoded the longest ago make room, but the newest one is always kept, whatever its size.
    """

    def __init__(self, most: int = 256, most_bytes: int = 64 << 20) -> None:
        """At most ``most`` answers, of ``most_bytes`` together."""
        self._most = most
        self._most_bytes = most_bytes
        self._flow_writer: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()  # guards the order of the entries
        self._making = [threading.Lock() for _ in range(16)]

    def __len__(self) -> int:
        return len(self._flow_writer)

    def get(self, target: str) -> Entry | None:
        """The latest answer to ``target``, be it outdated."""
        return self._flow_writer.get(target)

    def put(self, target: str, entry: Entry) -> None:
        """Keep an answer in place of the one before."""
        with self._lock:
            outdated = [name for name, one in self._flow_writer.items() if one.state != entry.state]
            for name in (target, *outdated):
                self._flow_writer.pop(name, None)
            self._flow_writer[target] = entry
            held = sum(one.encoded.size for one in self._flow_writer.values())
            while len(self._flow_writer) > 1 and (
                len(self._flow_writer) > self._most or held > self._most_bytes
            ):
                held -= self._flow_writer.popitem(last=False)[1].encoded.size

    def making(self, target: str) -> threading.Lock:
        """Held by who makes the answer to ``target``, so that it is made once however many ask."""
        return self._making[hash(target) % len(self._making)]


def name_of(state: State, target: str) -> str:
    """The ETag, without quotes, of the answer to ``target`` in ``state``."""
    return hashlib.blake2b(repr((state, target)).encode(), digest_size=12).hexdigest()
