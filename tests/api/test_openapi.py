"""The OpenAPI document is valid, the reference in step with it, and the server does as they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import api_reference
import pytest
from api_server import TIME, Answer, Scene
from jsonschema import Draft202012Validator
from real_store import LAPTOP, NETFLIX

PLACES = {"device": LAPTOP, "tag": NETFLIX, "plan": "each"}
DOCS = Path(__file__).parents[2] / "docs/api.md"


@pytest.fixture(scope="module")
def document(scene: Scene) -> Any:
    return scene.get("/openapi.json")


def ask(scene: Scene, path: str) -> Answer:
    """What a path answers; a stream only with its headers, as it would not end."""
    return scene.ask(path.format(**PLACES), "HEAD" if path == "/events" else "GET")


def schemas_in(part: Any) -> Iterator[Any]:
    """Every schema that stands under a key ``schema``, and every component."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "schema":
                yield value
            elif key == "schemas":
                yield from value.values()
            yield from schemas_in(value)
    elif isinstance(part, list):
        for value in part:
            yield from schemas_in(value)


def test_every_schema_is_a_schema_and_every_object_is_closed(document: Any) -> None:
    assert document["openapi"] == "3.1.0"
    names = set(document["components"]["schemas"])
    found = list(schemas_in(document))
    for schema in found:
        Draft202012Validator.check_schema(schema)
    text = str(found)
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) == names
    for name, schema in document["components"]["schemas"].items():
        assert schema["additionalProperties"] is False, name


def test_each_path_is_declared_once_and_answers_what_is_declared(scene: Scene, document: Any) -> None:
    names = [path["get"]["operationId"] for path in document["paths"].values()]
    assert len(set(names)) == len(names)
    for path, operations in document["paths"].items():
        answer = ask(scene, path)
        declared = operations["get"]["responses"][str(answer.status)]["content"]
        media_type = answer.headers["Content-Type"].partition(";")[0]
        assert next(iter(declared)) == media_type, path
        if media_type == "application/json":
            schema = {**declared[media_type]["schema"], "components": document["components"]}
            Draft202012Validator(schema).validate(answer.json)
            assert_order(answer.json, schema, document)


def assert_order(value: Any, schema: Any, document: Any) -> None:
    """Keys stand in the order of the schema; times are what it calls a date-time."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if isinstance(value, dict) and "properties" in schema:
        assert list(value) == [name for name in schema["properties"] if name in value]
        for name, inner in value.items():
            assert_order(inner, schema["properties"][name], document)
    elif isinstance(value, list):
        for inner in value:
            assert_order(inner, schema["items"], document)
    elif isinstance(value, str) and schema.get("format") == "date-time":
        assert TIME.fullmatch(value)


def test_headers_that_are_declared_come(scene: Scene, document: Any) -> None:
    for path, operations in document["paths"].items():
        declared = operations["get"]["responses"]
        answer = ask(scene, path)
        for name in declared[str(answer.status)].get("headers", {}):
            if name != "Link":  # absent on the last page; see test_csv
                assert answer.headers[name], (path, name)
        if "304" in declared:
            again = scene.ask(path.format(**PLACES), If_None_Match=answer.headers["ETag"])
            assert (again.status, again.headers["ETag"]) == (304, answer.headers["ETag"])
        else:
            assert "ETag" not in answer.headers
        assert scene.ask(path.format(**PLACES), "POST").headers["Allow"] == "GET, HEAD, OPTIONS"
    assert document["paths"]["/"]["get"]["responses"]["503"]["headers"]["Retry-After"]
    assert document["security"] == [{}, {"token": []}]  # one of them, as the configuration has it


def test_the_reference_is_in_step_with_the_declarations() -> None:
    text = DOCS.read_text()
    assert api_reference.rewritten(text) == text, "run python tools/api_reference.py docs/api.md"


def test_the_document_has_an_etag_of_its_own(scene: Scene) -> None:
    first = scene.ask("/openapi.json")
    scene.store.flush()
    again = scene.ask("/openapi.json", If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
