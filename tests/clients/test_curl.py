"""Shell scripts: the API with curl and jq."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from gateway import ROOT, Gateway, jq, need, output
from support import eventually

PATHS = ("/", "/applications", "/protocols", "/categories", "/flows", "/history", "/status", "/openapi.json")


@pytest.fixture(autouse=True)
def programs() -> None:
    need("curl", "jq")


def headers_of(answer: str) -> dict[str, str]:
    """The headers in the output of ``curl --include``, with lower-case names."""
    head = answer.split("\r\n\r\n")[0].split("\r\n")[1:]
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in head)}


def test_the_totals_of_the_network_add_up(gateway: Gateway) -> None:
    document = output("curl", "-sS", "--fail", f"{gateway.base}/")
    assert jq(".totals | del(.rate_up, .rate_down)", document) == gateway.truth["gateway"]
    for counter in ("bytes_up", "bytes_down", "packets_up", "packets_down", "flows"):
        devices = f"([.devices[].{counter}] | add)"
        others = f".forgotten.{counter} + .unattributed.{counter} - .local.{counter}"
        assert jq(f"{devices} + {others} == .totals.{counter}", document)
    for way in ("bytes_up", "bytes_down"):
        assert jq(f"[.devices[] | .{way} == ([.applications[].{way}] | add)] | all", document)


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_is_one_json_document(gateway: Gateway, path: str) -> None:
    assert jq("type", output("curl", "-sS", "--fail", f"{gateway.base}{path}")) == "object"


@pytest.mark.parametrize("path", ["/", "/applications", "/openapi.json", "/metrics"])
def test_compressed_and_plain_answers_are_equal(gateway: Gateway, path: str) -> None:
    url = f"{gateway.base}{path}"
    compressed = output("curl", "-sS", "--fail", "--compressed", "--include", url)
    plain = output("curl", "-sS", "--fail", "--include", url)
    assert headers_of(compressed)["content-encoding"] == "gzip"
    assert "content-encoding" not in headers_of(plain)
    assert "accept-encoding" in headers_of(compressed)["vary"].lower()
    assert "accept-encoding" in headers_of(plain)["vary"].lower()
    assert int(headers_of(compressed)["content-length"]) < int(headers_of(plain)["content-length"]) / 2
    if path != "/metrics":  # its values change all the time
        # A flush between the two requests changes the rates: traffic has stopped, bytes have not.
        same = "del(.generated_at) | del(.. | objects | .rate_up, .rate_down)"
        bodies = [text.partition("\r\n\r\n")[2] for text in (compressed, plain)]
        assert jq(same, bodies[0]) == jq(same, bodies[1])


def test_polling_with_an_etag_transfers_the_body_once(idle_gateway: Gateway, tmp_path: Path) -> None:
    """With curl's options --etag-save and --etag-compare."""
    url, tag, body = f"{idle_gateway.base}/", tmp_path / "etag", tmp_path / "body"
    words = ("curl", "-sS", "--fail", "--etag-save", tag, "--etag-compare", tag, "--output", body)
    tag.touch()
    assert output(*words, "-w", "%{http_code}", url) == "200"
    polled = (*words, "-w", "%{http_code} %{size_download}", url)
    eventually(lambda: output(*polled) == "304 0", "nothing changes any more, the names of devices included")
    kept = body.read_bytes()
    assert output(*polled) == "304 0"
    assert body.read_bytes() == kept
    tag.write_text('"another"')
    assert output(*words, "-w", "%{http_code}", url) == "200"


def test_http_1_0_is_answered_and_closed(gateway: Gateway) -> None:
    answer = output("curl", "-sS", "--fail", "--http1.0", "--include", f"{gateway.base}/applications")
    assert re.match(r"HTTP/1\.[01] 200 OK\r\n", answer)
    assert headers_of(answer)["connection"].lower() == "close"
    assert len(answer.partition("\r\n\r\n")[2].encode()) == int(headers_of(answer)["content-length"])


def test_one_connection_serves_many_requests(gateway: Gateway) -> None:
    paths = (*PATHS, "/metrics", "/readyz", "/02:00:00:00:00:99", "/?limit=0")
    urls = [f"{gateway.base}{path}" for path in paths]
    marks = [word for url in urls for word in ("--output", "/dev/null", url)]
    answer = output("curl", "-sS", "-w", "%{http_code} %{num_connects}\n", *marks)
    assert answer.splitlines() == ["200 1", *["200 0"] * (len(urls) - 3), "404 0", "400 0"]


@pytest.mark.parametrize("path", ["/", "/status", "/02:00:00:00:00:99"])
def test_head_is_get_without_the_body(gateway: Gateway, path: str) -> None:
    url = f"{gateway.base}{path}"
    head, get = (output("curl", "-sS", *words, url) for words in (["--head"], ["--include"]))
    assert head.endswith("\r\n\r\n")
    assert head.split("\r\n")[0] == get.split("\r\n")[0]
    assert set(headers_of(head)) == set(headers_of(get))
    assert headers_of(head)["content-type"] == headers_of(get)["content-type"]


def test_a_loop_over_pages_finds_every_device_once(gateway: Gateway) -> None:
    found: list[str] = []
    cursor = ""
    asked = ("curl", "-sS", "--fail", "--get", "--data", "limit=5", "--data", "fields=mac,ip")
    for _ in range(100):
        words = ["--data-urlencode", f"cursor={cursor}"] if cursor else []
        page = output(*asked, *words, f"{gateway.base}/")
        found += jq("[.devices[] | .mac // .ip]", page)
        assert len(jq(".devices", page)) <= 5
        cursor = jq(".next", page)
        if cursor is None:
            break
    everything = json.loads(output("curl", "-sS", "--fail", f"{gateway.base}/"))["devices"]
    assert found == [device["mac"] or device["ip"] for device in everything]
    assert len(found) > 5


def test_errors_are_problem_documents(gateway: Gateway) -> None:
    answer = output("curl", "-sS", "--include", f"{gateway.base}/?frob=1")
    assert answer.startswith("HTTP/1.1 400 Bad Request\r\n")
    assert headers_of(answer)["content-type"] == "application/problem+json"
    assert jq(".parameter", answer.partition("\r\n\r\n")[2]) == "frob"
    answer = output("curl", "-sS", "--include", "-X", "DELETE", f"{gateway.base}/")
    assert answer.startswith("HTTP/1.1 405 Method Not Allowed\r\n")
    assert headers_of(answer)["allow"].startswith("GET, HEAD")


def test_the_scripts_in_the_docs_work(gateway: Gateway, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "monitoring.md").read_text().partition("## Shell scripts\n")[2]
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    single, loop = (
        block.replace("localhost:7000", gateway.base.removeprefix("http://")).replace("/tmp/", f"{tmp_path}/")
        for block in blocks
    )
    (tmp_path / "tag").touch()
    devices = gateway.get("/")["devices"]
    lines = [output("bash", "-euo", "pipefail", "-c", line) for line in single.splitlines()]
    assert len(lines) == 3
    assert lines[0] == ""
    assert [line.split("\t")[0] for line in lines[1].splitlines()] == [
        device["mac"] or "" for device in gateway.get("/?sort=rate&limit=5")["devices"]
    ]
    assert jq(".devices | length", (tmp_path / "network.json").read_text()) == len(devices)
    for limit in ("limit=100", "limit=3"):
        found = output("bash", "-euo", "pipefail", "-c", loop.replace("limit=100", limit)).splitlines()
        assert found == [device["mac"] or device["ip"] for device in devices]
