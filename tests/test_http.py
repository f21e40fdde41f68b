"""HTTP as clients speak it: what they accept, what is compressed, how long a request may be."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest
from serving import Scene, a_small_network, assert_problem
from storing import LAPTOP
from support import RedisServer

from netify_agent.api.negotiation import quality, takes_gzip

JSON = "application/json"


@pytest.fixture(scope="module")
def scene(shared_redis: RedisServer) -> Iterator[Scene]:
    with a_small_network(shared_redis.url) as scene:
        yield scene


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        *(("", 1), ("*/*", 1), ("application/*;q=0.5", 0.5), ("text/html, */*;q=0.1", 0.1), (" , ", 1)),
        *(
            ("text/html", 0),
            ("application/json;q=0, */*", 0),
            ("application/json; charset=utf-8; q=0.7", 0.7),
        ),
        *(("APPLICATION/JSON ; Q=0.25", 0.25), ("application/xml", 0), ("nonsense", 0), ("a/b;q=x", 0)),
    ],
)
def test_the_most_exact_range_of_accept_counts(accept: str, wanted: float) -> None:
    assert quality(accept, JSON) == wanted


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        *(("", False), ("gzip", True), ("deflate, gzip;q=0.5", True), ("gzip;q=0", False), ("*", True)),
        *(("*;q=0", False), ("gzip;q=0, *", False), ("GZIP", True), ("br", False), ("identity", False)),
    ],
)
def test_gzip_is_for_who_asks(header: str, takes: bool) -> None:
    assert takes_gzip(header) is takes


@pytest.mark.parametrize("path", ["/", f"/{LAPTOP}", "/applications", "/status", "/healthz", "/openapi.json"])
def test_who_takes_no_json_is_told_so(scene: Scene, path: str) -> None:
    for accept in ("application/xml", "application/json;q=0", "text/plain, image/*"):
        answer = scene.ask(path, Accept=accept)
        assert_problem(answer, 406)
        assert accept in answer.json["detail"]
    assert scene.ask(path, Accept="text/plain, */*;q=0.1").status == 200


@pytest.mark.parametrize("path", ["/", f"/{LAPTOP}"])
def test_large_answers_are_compressed_for_who_asks(scene: Scene, path: str) -> None:
    plain = scene.ask(path)
    packed = scene.ask(path, Accept_Encoding="gzip, deflate")
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 2
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept, Accept-Encoding"
    assert plain.headers["ETag"] != packed.headers["ETag"]
    for first, encoding in ((plain, "identity"), (packed, "gzip")):
        again = scene.ask(path, Accept_Encoding=encoding, If_None_Match=first.headers["ETag"])
        assert (again.status, again.headers["ETag"]) == (304, first.headers["ETag"])
        assert again.headers["Vary"] == "Accept, Accept-Encoding"
    headed = scene.ask(path, "HEAD", Accept_Encoding="gzip")
    assert headed.headers["Content-Length"] == packed.headers["Content-Length"]


def test_small_answers_are_not_compressed(scene: Scene) -> None:
    answer = scene.ask("/healthz", Accept_Encoding="gzip")
    assert answer.body == b'{"status":"ok"}\n'
    assert "Content-Encoding" not in answer.headers


def test_a_target_that_is_too_long_is_refused(scene: Scene) -> None:
    assert_problem(scene.ask("/" + "x" * 4095), 400)
    assert_problem(scene.ask("/" + "x" * 4096), 414)
    assert_problem(scene.ask("/?" + "x" * 4095), 414)
    assert_problem(scene.ask("/" + "x" * 4096, "POST"), 414)
