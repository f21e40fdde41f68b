"""ETags, cached answers, and what becomes of them when Redis goes away."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest
from api_server import ALIVE, Scene, a_scene, assert_problem
from real_store import LAPTOP, PHONE
from support import WAIT_S, RedisServer, eventually

from netify_agent.api.http.response_cache import Encoded, Entry, ResponseCache, State
from netify_agent.api.http.route import Route
from netify_agent.store.query import FlushStamp


def test_an_etag_holds_until_a_flush_changes_the_answer(scene: Scene) -> None:
    for path in ("/", f"/{LAPTOP}", "/applications", f"/{LAPTOP}/history?resolution=1h"):
        first = scene.ask(path)
        etag = first.headers["ETag"]
        assert re.fullmatch(r'"[0-9a-f]{24}"', etag)
        assert first.headers["Cache-Control"] == "no-cache"
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            answer = scene.ask(path, If_None_Match=known)
            assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", etag)
        again = scene.ask(path, If_None_Match='"other"')
        assert (again.status, again.body) == (200, first.body)
        scene.store.flush()
        changed = scene.ask(path, If_None_Match=etag)
        assert changed.status == 200
        assert changed.headers["ETag"] != etag


def test_paths_and_parameters_do_not_share_an_etag(scene: Scene) -> None:
    history = f"/{LAPTOP}/history"
    paths = ("/", f"/{LAPTOP}", f"/{PHONE}", "/applications", history, f"{history}?resolution=1h")
    assert len({scene.ask(path).headers["ETag"] for path in paths}) == len(paths)


@pytest.mark.parametrize("logged", [True, False], ids=["logged", "not logged yet"])
def test_an_answer_that_a_flush_overtook_has_no_etag_and_is_not_kept(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, logged: bool
) -> None:
    scene.store.flush()
    details = scene.parts.reader.details

    def overtaken(*args: Any) -> Any:
        found = details(*args)
        scene.store.flush()
        return found

    with monkeypatch.context() as context:
        context.setattr(scene.parts.reader, "details", overtaken)
        if not logged:
            context.setattr(scene.store, "on_flush", lambda flush: None)
        answer = scene.ask("/")
        assert (answer.status, answer.headers["ETag"]) == (200, None)
    scene.store.flush()
    assert "ETag" in scene.ask("/").headers


def test_an_answer_from_an_older_state_of_redis_has_no_etag(scene: Scene) -> None:
    """Redis came back with older data, which the flusher has not noticed yet."""
    flush = scene.store.flush()
    meta = scene.parts.reader.keys.meta
    scene.store.client.hset(meta, "seq", flush.sequence - 1)
    try:
        assert scene.ask("/applications").headers["ETag"] is None
    finally:
        scene.store.client.hset(meta, "seq", flush.sequence)
    assert scene.ask("/applications").headers["ETag"] is not None


def test_answers_are_encoded_once_per_flush(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    built = 0
    device = scene.parts.reader.device

    def counting(*args: Any, **options: Any) -> Any:
        nonlocal built
        built += 1
        return device(*args, **options)

    monkeypatch.setattr(scene.parts.reader, "device", counting)
    scene.store.flush()
    for _ in range(3):
        scene.get(f"/{LAPTOP}")
    assert built == 1


def test_an_answer_that_many_wait_for_is_made_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0
    snapshot = scene.parts.reader.snapshot

    def slow(*args: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        eventually(lambda: scene.requests == begun + scene.web.threads, "all requests have begun")
        return snapshot(*args, **options)

    monkeypatch.setattr(scene.parts.reader, "snapshot", slow)
    scene.store.flush()
    begun = scene.requests
    answers: list[bytes] = []
    asking = [
        threading.Thread(target=lambda: answers.append(scene.ask("/").body)) for _ in range(scene.web.threads)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert (made, len(answers), len(set(answers))) == (1, scene.web.threads, 1)


def test_no_other_answer_waits_for_one_that_is_being_built(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = scene.parts.reader.snapshot
    begun, others_done = threading.Event(), threading.Event()

    def slow(*args: Any, **options: Any) -> Any:
        begun.set()
        assert others_done.wait(WAIT_S)
        return snapshot(*args, **options)

    monkeypatch.setattr(scene.parts.reader, "snapshot", slow)
    scene.store.flush()
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(scene.ask("/").status))
    asking.start()
    assert begun.wait(WAIT_S)
    for limit in range(1, 65):  # locks that targets share would hardly let all of these pass
        assert scene.ask(f"/applications?limit={limit}").status == 200
    others_done.set()
    asking.join()
    assert answers == [200]


def an_entry(size: int, sequence: int = 1) -> Entry:
    route = Route("/x", "x", "", lambda asked: {})
    return Entry(route, {}, State(FlushStamp(sequence, 1), 0, ""), Encoded(b"x" * size, {}, "name"))


def test_few_answers_are_kept_and_the_newest_one_always() -> None:
    kept = ResponseCache(3, 100)
    for name in ("/a", "/b", "/c", "/a", "/d"):
        kept.put(name, an_entry(10))
    assert [name for name in ("/a", "/b", "/c", "/d") if kept.get(name)] == ["/a", "/c", "/d"]
    kept.put("/a", an_entry(85))
    assert [name for name in ("/a", "/c", "/d") if kept.get(name)] == ["/a", "/d"]
    kept.put("/big", an_entry(1000))
    assert [name for name in ("/a", "/d", "/big") if kept.get(name)] == ["/big"]
    kept.put("/a", an_entry(10, 2))
    kept.put("/b", an_entry(10, 2))
    assert [name for name in ("/a", "/b", "/big") if kept.get(name)] == ["/a", "/b"]


def test_without_redis_cached_answers_are_served_until_a_flush_fails(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    scene = a_scene(redis_server.url, tmp_path)
    scene.start()
    try:
        said = scene.store.netifyd
        scene.store.flush(said.flow("a"), said.stats("a", 1, 2))
        cached = scene.ask("/")
        assert cached.json["totals"]["flows"] == 1
        redis_server.kill()
        others = (f"/{LAPTOP}", "/applications", f"/{LAPTOP}/history", "/flows")
        for _ in range(2):
            answer = scene.ask("/")
            assert (answer.status, answer.body) == (200, cached.body)
            assert scene.ask("/", If_None_Match=cached.headers["ETag"]).status == 304
            for path in others:
                assert_unavailable(scene, path)
        assert scene.get("/healthz") == ALIVE
        assert scene.get("/status")["accounting"]["counters"] is None
        ready = scene.ask("/readyz")
        assert ready.status == 503
        assert "onnect" in ready.json["checks"]["redis"]
        scene.writing.error = "Connection refused"
        for path in ("/", *others):
            assert_unavailable(scene, path)
        redis_server.start()
        assert scene.get("/")["totals"]["flows"] == 1
        scene.writing.error = None
        assert scene.get("/")["totals"]["flows"] == 1
    finally:
        scene.stop()


def assert_unavailable(scene: Scene, path: str) -> None:
    answer = scene.ask(path, If_None_Match='"another"')
    assert_problem(answer, 503)
    assert answer.headers["Retry-After"] == "15"
    assert answer.json["detail"].startswith("Redis: ")


def test_the_first_answers_after_a_start_are_those_of_the_last_flush_of_the_process_before(
    scene: Scene, shared_redis: RedisServer, tmp_path: Path
) -> None:
    scene.store.flush()
    expected = scene.get("/")
    again = a_scene(shared_redis.url, tmp_path, gateway=scene.gateway)
    again.start()
    try:
        first = again.ask("/")
        assert first.json["generated_at"] == expected["generated_at"]
        assert again.ask("/", If_None_Match=first.headers["ETag"]).status == 304
    finally:
        again.stop()
        scene.store.writer.claim()


def test_a_redis_out_of_memory_is_still_read(redis_server: RedisServer, tmp_path: Path) -> None:
    scene = a_scene(redis_server.url, tmp_path)
    scene.start()
    try:
        said = scene.store.netifyd
        scene.store.flush(said.flow("a"), said.stats("a", 1, 2))
        scene.store.client.config_set("maxmemory", "1")
        for path in ("/", f"/{LAPTOP}", "/applications", f"/{LAPTOP}/history"):
            scene.get(path)
    finally:
        scene.stop()
