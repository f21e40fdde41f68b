"""The inputs that fuzzing found telling, and those that once broke something (tests/fuzz)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import a_small_network
from support import RedisServer

sys.path.append(str(Path(__file__).parent / "fuzz"))

import targets

CORPUS = Path(__file__).parent / "fuzz" / "corpus"


@pytest.fixture(scope="module")
def web(shared_redis: RedisServer) -> Iterator[targets.Web]:
    with a_small_network(shared_redis.url) as scene:
        yield targets.Web(scene)


def corpus(name: str) -> list[Path]:
    return sorted((CORPUS / name).iterdir())


@pytest.mark.parametrize("name", ["stream", "msgpack", "gzipped", "config", "accounting"])
def test_promises_hold_for_the_corpus(name: str) -> None:
    for path in corpus(name):
        getattr(targets, name)(path.read_bytes())


def test_any_request_of_the_corpus_is_answered(web: targets.Web) -> None:
    for path in corpus("api"):
        web(path.read_bytes())


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.rglob("*")) < 200_000
