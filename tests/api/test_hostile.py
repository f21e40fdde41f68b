"""Whatever the store or a request holds, what comes out is JSON in UTF-8."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import redis
from api_server import Scene, emptied, served
from support import RedisServer

NAMES = [
    *(b"\xff\xfe", b"\x00\x01\x1b[31m\x7f", b'"},{"x":"', b"\xed\xa0\x80", "\u2028\u2029\u202e".encode()),
    *(
        b"</script><script>alert(1)</script>",
        b"x" * 65_536,
        "\U0001f4a9".encode() * 300,
        b"",
        b":",
        b"%s%n{}",
    ),
    *(b"a/b?c#d", b"..", b"\r\nX-Evil: yes"),
]
LISTS = {"/applications": "applications", "/protocols": "protocols", "/categories": "categories"}


@pytest.fixture(scope="module")
def scene(shared_redis: RedisServer) -> Iterator[Scene]:
    """A store with such names for applications, protocols, interfaces, addresses and devices' hints."""
    with emptied(shared_redis.url, "gw-hostile") as scene:
        said = scene.store.netifyd
        scene.store.flush(said.flow("a"), said.stats("a", 10, 20))
        keys, raw = scene.store.reader.keys, redis.Redis.from_url(shared_redis.url)
        for number, name in enumerate(NAMES):
            device = f"02:00:00:00:02:{number:02x}"
            for owner in ("", device):
                for kind in (keys.applications(owner), keys.protocols(owner)):
                    raw.hset(kind, b"bu:" + name, 1000 - number)
                    raw.hset(kind, b"fl:" + name, 1)
            raw.hset(keys.totals(device), mapping={"bu": 1000 - number, "hint": name, "interface": name})
            raw.zadd(keys.devices, {device: 1})
            raw.zadd(keys.addresses(device), {name: 1})
            raw.zadd(keys.users("").encode() + name, {device: 1000 - number})
            raw.zadd(keys.protocol_users("").encode() + name, {name: 1000 - number})
        scene.store.flush()
        with served(scene):
            yield scene


def strict(body: bytes) -> Any:
    """JSON as RFC 8259 has it: UTF-8, and no NaN."""
    return json.loads(body.decode("utf-8"), parse_constant=lambda name: pytest.fail(name))


@pytest.mark.parametrize("path", ["/", "/applications", "/protocols", "/categories", "/flows"])
def test_hostile_names_in_the_store_come_out_as_json(scene: Scene, path: str) -> None:
    for query in ("", "?sort=name", "?limit=3") if path != "/flows" else ("",):
        answer = scene.ask(path + query)
        assert answer.status == 200, answer.body
        strict(answer.body)
        assert b"\xed\xa0" not in answer.body
        assert all(byte >= 32 for byte in answer.body[:-1])


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("sort", ["bytes", "name"])
def test_hostile_names_have_pages(scene: Scene, path: str, sort: str) -> None:
    whole = strict(scene.ask(f"{path}?sort={sort}&limit=10000").body)
    told, cursor = [], ""
    while cursor is not None:
        answer = scene.ask(f"{path}?sort={sort}&limit=1{cursor and '&cursor=' + cursor}")
        assert answer.status == 200, answer.body
        page = strict(answer.body)
        told += page[LISTS[path]]
        cursor = page["next"]
    assert told == whole[LISTS[path]]


def test_every_device_and_application_of_hostile_name_has_its_path(scene: Scene) -> None:
    for device in strict(scene.ask("/").body)["devices"]:
        answer = scene.ask(f"/{device['mac']}")
        assert (answer.status, strict(answer.body)["mac"]) == (200, device["mac"])
    for row in strict(scene.ask("/applications").body)["applications"]:
        if 0 < len(row["tag"]) <= 256:
            answer = scene.ask(f"/applications/{quote(row['tag'], safe='')}")
            strict(answer.body)
            # A line feed is never stored by us, and what is not UTF-8 can't be asked for.
            can_be_asked = "\n" not in row["tag"] and "\ufffd" not in row["tag"]
            assert answer.status == (200 if can_be_asked else 404)


PATHS = ["/?search={}", "/applications/{}", "/{}", "/?{}=1", "/flows?application={}"]


@pytest.mark.parametrize("name", [quote(name[:1000], safe="") for name in NAMES])
@pytest.mark.parametrize("path", PATHS)
def test_hostile_requests_are_answered_with_json(scene: Scene, path: str, name: str) -> None:
    answer = scene.ask(path.format(name), Accept="*/*")
    assert answer.status in (200, 308, 400, 404)
    if answer.body:
        strict(answer.body)
    assert answer.headers["X-Evil"] is None
