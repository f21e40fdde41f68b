"""Parameters in paths and queries: spellings, limits, errors."""

from __future__ import annotations

import pytest
from api_server import Scene, assert_problem
from real_store import LAPTOP

from netify_agent.api.http import parameters


@pytest.mark.parametrize(
    "spelling",
    ["02:00:00:00:00:01", "02-00-00-00-00-01", "0200.0000.0001", "020000000001", "02%3A00:00:00:00:01"],
)
def test_a_mac_is_understood_in_every_usual_spelling(scene: Scene, spelling: str) -> None:
    assert scene.get(f"/{spelling}")["mac"] == LAPTOP
    assert scene.get(f"/{spelling.upper()}/history?resolution=5m")["device"] == LAPTOP


def test_letters_of_a_mac_may_be_of_either_case() -> None:
    assert parameters.device_name("AB-cd-EF-01-23-45") == "ab:cd:ef:01:23:45"


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("2001:0DB8:0:0::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
        ("::ffff:a00:1", "::ffff:10.0.0.1"),
        ("fe80::1", "fe80::1"),
    ],
)
def test_an_address_is_looked_for_as_netifyd_writes_it(asked: str, stored: str) -> None:
    assert parameters.device_name(asked) == stored


@pytest.mark.parametrize(
    ("query", "parameter", "told"),
    [
        ("resolution=7m", "resolution", "resolution: expected one of 1m, 5m, 1h, found '7m'"),
        ("applications=1", "applications", "expected true or false, found '1'"),
        ("from=yesterday", "from", "expected RFC 3339"),
        ("to=2026-11-23", "to", "expected RFC 3339"),
        ("to=2026-13-23T00:00:00Z", "to", "expected RFC 3339"),
        ("to=2026-11-23T00:00:00", "to", "expected RFC 3339"),
        ("to=%D9%A1%D9%A2", "to", "expected RFC 3339"),
        ("from=-1", "from", "expected RFC 3339"),
        ("from=123456789012", "from", "expected RFC 3339"),
        ("from=2000&to=1000", "from", "expected a time that is not after 'to', found '2000'"),
        ("from=2026-11-24T00:00:00Z&to=9", "from", "not after 'to', found '2026-11-24T00:00:00Z'"),
        ("resolution=1m&from=1", "from", "a time that makes at most 2000 buckets, found '1'"),
        ("colour=blue", "colour", "unknown parameter 'colour': expected only resolution, from, to"),
        ("to=1&to=2", "to", "to: given more than once"),
        ("to=", "to", "to: expected a value"),
        ("to", "to", "to: expected a value"),
        ("to=%FF", "to", "to: expected UTF-8, found other bytes"),
    ],
)
def test_a_parameter_that_is_wrong_is_named(scene: Scene, query: str, parameter: str, told: str) -> None:
    answer = scene.ask(f"/{LAPTOP}/history?{query}")
    assert_problem(answer, 400)
    assert answer.json["parameter"] == parameter
    assert told in answer.json["detail"]


@pytest.mark.parametrize(
    "path", ["/", f"/{LAPTOP}", "/applications", "/status", "/openapi.json", f"/{LAPTOP}/history"]
)
@pytest.mark.parametrize("query", ["x=1", "x", "%FF=1", "x=%FF", "=1"])
def test_parameters_that_a_path_does_not_know_are_refused(scene: Scene, path: str, query: str) -> None:
    answer = scene.ask(f"{path}?{query}")
    assert_problem(answer, 400)
    assert "unknown parameter" in answer.json["detail"]


@pytest.mark.parametrize(
    "text",
    [
        *("x", "02:00:00:00:00", "02:00:00:00:00:0g", "02:00:00:00:00:01:02", "0200000000001", "favicon.ico"),
        *(
            "256.1.1.1",
            "10.0.0.01",
            "fe80::1%25eth0",
            "10.0.0.1%00",
            "%F0%9F%92%A9",
            "%0d%0aX:%20y",
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["", "/history"])
def test_a_device_that_no_spelling_fits_is_a_bad_request(scene: Scene, text: str, suffix: str) -> None:
    answer = scene.ask(f"/{text}{suffix}")
    assert_problem(answer, 400)
    assert "expected a MAC address, or the IP address of a device without one" in answer.json["detail"]
    assert len(answer.headers) == 9  # what came in is in none of them


@pytest.mark.parametrize("path", ["/%FF%FE", f"/{LAPTOP}%FF", "/applications%FF", f"/{LAPTOP}/history%C3"])
def test_a_path_that_is_no_text_is_a_bad_request(scene: Scene, path: str) -> None:
    assert_problem(scene.ask(path), 400)
