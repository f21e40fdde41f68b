"""The Telegraf snippet. Debian has no Telegraf, so the test looks up its paths in real answers."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from gateway import CONTRIB, Gateway, output

tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
SNIPPET = CONTRIB / "telegraf" / "netify-agent.conf"
BASE = "http://127.0.0.1:7000"


def inputs() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(SNIPPET.read_text())["inputs"]
    return found


def test_the_url_of_the_metrics_is_right(gateway: Gateway) -> None:
    [source] = inputs()["prometheus"]
    [url] = source["urls"]
    assert "netify_bytes_total" in output("curl", "-sS", "--fail", url.replace(BASE, gateway.base))


def test_every_path_is_in_the_answer(gateway: Gateway) -> None:
    [source] = inputs()["http"]
    [url] = source["urls"]
    answer = gateway.get(url.removeprefix(BASE))
    for measurement in source["json_v2"]:
        for tag in measurement["tag"]:
            assert isinstance(answer[tag["path"]], str)
        for part in measurement["object"]:
            found = answer[part["path"]]
            rows = found if isinstance(found, list) else [found]
            assert rows
            for row in rows:
                assert set(part.get("tags", [])) <= row.keys()
                # Other keys become fields, which must be numbers or booleans.
                fields = {name: value for name, value in row.items() if name not in part.get("tags", [])}
                assert all(isinstance(value, int) for value in fields.values()), fields
