"""What is fuzzed: each target takes any bytes, and raises where a promise does not hold.

They need no fuzzer: tests/test_fuzz.py gives them the corpus, `make fuzz` what atheris makes of it.
"""

from __future__ import annotations

import gzip
import io
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from api_server import Scene
from reference_store import ReferenceStore

from netify_agent.config.settings import ConfigError, Settings, parse
from netify_agent.netifyd.framing import RecordReader
from netify_agent.netifyd.gzip_layer import PIECE_BYTES
from netify_agent.netifyd.records import DROP_REASONS

Target = Callable[[bytes], None]
MAX_RECORD = 4096


def stream(data: bytes) -> None:
    """Any bytes, cut anywhere, are the same records; and what is held of them is bounded.

    The first byte says how the rest is cut.
    """
    step, data = (data[0] + 1 if data else 1), data[1:]
    assert _read(data, step) == _read(data, len(data) + 1)


def msgpack(data: bytes) -> None:
    """The same of bytes behind a msgpack record."""
    stream(data[:1] + b"\x81\xa4type\xa1a" + data[1:])


def gzipped(data: bytes) -> None:
    """The same of gzip members, made of the parts between 0xff; the second byte damages one."""
    step, damage = data[:1], int.from_bytes(data[1:2], "big")
    members = bytearray().join(gzip.compress(part, 1, mtime=0) for part in data[2:].split(b"\xff"))
    if damage and members:
        members[damage * 7 % len(members)] ^= damage
    stream(step + members)


def _read(data: bytes, step: int) -> tuple[str, Counter[str], int, bytes, bool]:
    reader = RecordReader(MAX_RECORD)
    records = []
    for at in range(0, len(data), step):
        records += reader.feed(data[at : at + step])
        while reader.pending:
            records += reader.feed(b"")
        assert reader.held <= MAX_RECORD + step + PIECE_BYTES * (data[:1] == b"\x1f")
    records += reader.close()
    assert all(isinstance(record["type"], str) for record in records)
    assert reader.records == len(records)
    assert set(reader.drops) <= set(DROP_REASONS)
    assert len(reader.garbage) <= 64
    # Of NaN none is like another. Of damaged gzip data the sample is what was at hand.
    garbage = b"" if reader.broken else reader.garbage
    return repr(records), +reader.drops, reader.repaired, garbage, reader.broken is None


def config(data: bytes) -> None:
    """Any text is settings, or one error that names its source, in lines that can be printed."""
    try:
        assert isinstance(parse(data.decode("utf-8", "surrogateescape"), "fuzz.yaml"), Settings)
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.startswith("fuzz.yaml")
            assert problem.isprintable()


def accounting(data: bytes) -> None:
    """Any records whatever are accounted for, and all sums agree at each flush."""
    small = data[:1] < b"\x80"
    store = ReferenceStore(2 if small else 1000)
    reader = RecordReader(1 << 16)
    records = reader.feed(data[1:] + b"\n")
    store.live_through(records, flush_every=4, crash_every=11)


class Web:
    """Any request for a path is answered, and what is wrong with it is told as a problem."""

    def __init__(self, scene: Scene) -> None:
        self._app = scene.api.app
        self._host = f"127.0.0.1:{scene.port}"

    def __call__(self, data: bytes) -> None:
        """``data``: the target, the Accept header and the If-None-Match header, a line each."""
        target, accept, known = (line.decode("latin-1") for line in (*data.split(b"\n", 2), b"", b"")[:3])
        path, _, query = target.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/" + path.lstrip("/"),
            "QUERY_STRING": query,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": self._host,
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.input": io.BytesIO(),
            "wsgi.url_scheme": "http",
        }
        if accept:
            environ["HTTP_ACCEPT"] = accept
        if known:
            environ["HTTP_IF_NONE_MATCH"] = known
        told: list[Any] = []
        pieces = self._app(environ, lambda status, headers, *_: told.extend((int(status[:3]), dict(headers))))
        body = b"" if environ["PATH_INFO"].startswith("/events") else b"".join(pieces)
        status, headers = told
        assert status < 500, (status, body)
        for name, value in headers.items():
            assert (name + value).isprintable() and (name + value).isascii(), (name, value)
        if status >= 400:
            assert headers["Content-Type"] == "application/problem+json"
            problem = json.loads(body)
            assert problem["status"] == status and problem["title"] and problem["detail"]
        elif headers.get("Content-Type") == "application/json":
            json.loads(body, parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")
