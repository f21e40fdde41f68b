"""Encoding of documents."""

from __future__ import annotations

import json

import pytest

from netify_agent.api.http.route import Document, encode


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"devices": [], "next": None},
        {
            "a": 1,
            "devices": [{"name": "K\u00fcche", "ips": ["10.0.0.1"]}, None, 2.5, "x"],
            "totals": {"b": [1]},
        },
    ],
)
def test_pieces_are_the_bytes_of_the_whole(document: Document) -> None:
    """A list that is encoded an element at a time reads as if it had been encoded at once."""
    whole = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    assert encode(document) == whole


def test_a_lone_surrogate_is_no_text() -> None:
    """It becomes a question mark, wherever it stands."""
    assert encode({"a": "\ud800", "b": ["\udfff"]}) == b'{"a":"?","b":["?"]}\n'
