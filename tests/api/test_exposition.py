"""Prometheus' text format: what is written is read back the same, by Prometheus' own parser for Python."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from netify_agent.api.exposition import Exposition


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        'a "quoted" one',
        "back\\slash",
        "\\",
        "\\n",
        "two\nlines",
        'all \\"\n of\\\\ it"',
        "\u2028ü\x85\r",
    ],
)
def test_text_comes_back_as_it_was(text: str) -> None:
    out = Exposition()
    out.family("a_bytes_total", "counter", "Bytes. " + text, [({"device": text, "direction": "up"}, 12)])
    out.single("b", "gauge", "Behind it.", 1)
    first, second = parse(out.body().decode())
    assert first.documentation.strip() == ("Bytes. " + text).strip()
    (sample,) = first.samples
    assert (sample.name, sample.labels, sample.value) == (
        "a_bytes_total",
        {"device": text, "direction": "up"},
        12,
    )
    assert (second.name, second.type, second.samples[0].value) == ("b", "gauge", 1)


def test_what_is_no_unicode_does_not_spoil_the_rest() -> None:
    out = Exposition()
    out.family("a", "gauge", "Odd.", [({"name": "x\ud800y"}, 1), ({"name": "z"}, 2)])
    (family,) = parse(out.body().decode())
    assert [(sample.labels["name"], sample.value) for sample in family.samples] == [("x?y", 1), ("z", 2)]


def test_numbers_are_written_to_the_last_digit() -> None:
    out = Exposition()
    out.family(
        "a", "gauge", "Numbers.", [({"n": str(index)}, n) for index, n in enumerate((2**63, 0.1, -1, 1e300))]
    )
    written = [line.split()[1] for line in out.body().decode().splitlines()[2:]]
    assert written == ["9223372036854775808", "0.1", "-1", "1e+300"]


def test_absent_is_left_out_and_not_written_as_a_number() -> None:
    out = Exposition()
    out.family("a", "gauge", "Some.", [({"n": "1"}, None), ({"n": "2", "name": None}, 0)])
    out.family("b", "gauge", "None at all.", [({"n": "1"}, None)])
    assert out.body() == b'# HELP a Some.\n# TYPE a gauge\na{n="2",name=""} 0\n'


def test_nothing_known_is_an_empty_answer() -> None:
    assert Exposition().body() == b""
