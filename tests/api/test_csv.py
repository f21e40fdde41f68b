"""CSV: which rows and columns a table has, how clients ask for it, what spreadsheet programs must not run."""

from __future__ import annotations

import csv
import gzip
import io
import re
from typing import Any
from urllib.parse import urljoin

import pytest
from api_server import LISTS, Answer, Scene, assert_problem
from hypothesis import given
from hypothesis import strategies as st
from real_store import LAPTOP, PHONE, YOUTUBE

from netify_agent.api.http import csv_table
from netify_agent.api.http.app import next_query
from netify_agent.api.http.route import Table
from netify_agent.api.spec import schemas
from netify_agent.api.spec.schemas import COUNT, TEXT, TEXT_OR_NULL, listing, record

OTHER_LISTS = {"/flows": "flows", "/plans": "plans", "/plans/each": "plans"}
PATHS = [*LISTS, *OTHER_LISTS, "/history", f"/{LAPTOP}/history", f"/{LAPTOP}"]
#: Path, nested list and the columns that stand before it.
NESTED = [
    ("/", "applications", ("mac", "ip", "name")),
    ("/applications", "devices", ("tag", "name")),
    ("/protocols", "devices", ("name",)),
    ("/categories", "devices", ("category",)),
    ("/flows", "risks", ("digest", "endpoint", "device", "device_name")),
    (f"/{LAPTOP}", "applications", ("mac", "ip", "name")),
    (f"/{LAPTOP}", "protocols", ("mac", "ip", "name")),
    (f"/{LAPTOP}", "risks", ("mac", "ip", "name")),
]


def with_query(path: str, *parameters: str) -> str:
    return f"{path}?{'&'.join(parameters)}"


def table(answer: Answer) -> list[dict[str, str]]:
    """The rows of an answer, by column."""
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    text = answer.body.decode()
    assert text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def cell(value: Any) -> str:
    """The cell of a value of JSON that needs no protection."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def elements_of(document: Any, path: str) -> list[Any]:
    key = (
        LISTS.get(path)
        or {"/flows": "flows", "/plans": "plans", "/plans/each": "plans"}.get(path)
        or ("buckets" if "history" in path else None)
    )
    return [document] if key is None else document[key]  # type: ignore[no-any-return]


def is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, dict) for one in value)


# -- rows and columns ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_a_table_has_the_values_of_the_json_answer(scene: Scene, path: str) -> None:
    elements = elements_of(scene.get(path), path)
    rows = table(scene.ask(with_query(path, "format=csv")))
    assert len(rows) == len(elements) > 0
    lists = {key for one in elements for key, value in one.items() if is_list_of_objects(value)}
    for row, element in zip(rows, elements, strict=True):
        plain = {key: cell(value) for key, value in element.items() if key not in {*lists, "risks"}}
        assert row == plain
        assert list(row) == list(plain)


@pytest.mark.parametrize(("path", "nested", "before"), NESTED)
def test_a_nested_list_has_rows_of_its_own(
    scene: Scene, path: str, nested: str, before: tuple[str, ...]
) -> None:
    said = scene.store.netifyd
    risks = {"risks": {"ndpi_risk_score": 60, "risks": [36, 46]}}
    scene.store.flush(said.flow("risky", **risks), said.stats("risky", 1, 2))
    expected = [
        {
            **{key: cell(outer[key]) for key in before},
            **{f"{nested}.{key}": cell(inner[key]) for key in inner},
        }
        for outer in elements_of(scene.get(path), path)
        for inner in outer[nested]
    ]
    assert expected
    assert table(scene.ask(with_query(path, "format=csv", f"rows={nested}"))) == expected


def test_history_with_applications_has_a_row_for_each_of_a_bucket(scene: Scene) -> None:
    path = f"/{LAPTOP}/history?applications=true"
    expected = [
        {"start": bucket["start"], **{f"applications.{key}": cell(one[key]) for key in one}}
        for bucket in scene.get(path)["buckets"]
        for one in bucket["applications"]
    ]
    assert len(expected) > 1
    assert table(scene.ask(f"{path}&format=csv")) == expected


def test_fields_choose_columns_and_what_is_no_column_is_not_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[bool] = []
    add_details = scene.parts.reader.add_details

    def noting(*args: Any, applications: bool) -> None:
        wanted.append(applications)
        add_details(*args, applications=applications)

    monkeypatch.setattr(scene.parts.reader, "add_details", noting)
    scene.store.flush()
    assert list(table(scene.ask("/?format=csv&fields=bytes_up,mac"))[0]) == ["mac", "bytes_up"]
    assert "applications" not in table(scene.ask("/?format=csv"))[0]
    assert wanted == [False, False]
    rows = table(scene.ask("/?format=csv&fields=interface,active&rows=applications"))
    assert list(rows[0])[:3] == ["interface", "active", "applications.tag"]
    assert list(table(scene.ask("/?format=csv&fields=applications"))[0]) == ["mac", "ip", "name"]
    assert wanted == [False, False, True, False]


def test_filters_and_order_are_those_of_json(scene: Scene) -> None:
    query = f"application={YOUTUBE}&sort=name&order=desc"
    expected = [device["ip"] for device in scene.get(f"/?{query}")["devices"]]
    assert [row["ip"] for row in table(scene.ask(f"/?{query}&format=csv"))] == expected
    assert expected and len(expected) < scene.get("/")["total"]


def test_an_empty_list_is_a_line_of_names(own: Scene) -> None:
    own.store.flush()
    answer = own.ask("/protocols?format=csv")
    assert answer.body == b"name,bytes_up,bytes_down,packets_up,packets_down,flows\r\n"


ELEMENT = record(
    None,
    {
        "name": TEXT,
        "before": {**record(None, {"bytes": COUNT, "at": TEXT_OR_NULL}), "type": ["object", "null"]},
        "tags": listing(TEXT),
        "parts": listing(record(None, {"of": record(None, {"tag": TEXT, "bytes": COUNT})})),
    },
    optional=("before",),
)


def lines(rows: str | None, *elements: dict[str, Any]) -> list[str]:
    declared = Table("all", ELEMENT, ("name",))
    values = csv_table.prepared(declared, {"fields": None, "rows": rows})
    return csv_table.encode(declared, values, {"all": list(elements)}).decode().split("\r\n")


def test_the_keys_of_a_nested_object_are_columns_and_an_absent_one_is_empty() -> None:
    assert lines(
        None,
        {"name": "a", "tags": [], "before": None},
        {"name": "b", "tags": ["x", "y"], "before": {"bytes": -1, "at": None}},
    ) == ["name,before.bytes,before.at,tags", "a,,,", "b,-1,,x y", ""]
    assert lines(None, {"name": "a", "tags": []}) == ["name,tags", "a,", ""]
    inner = [{"of": {"tag": "t", "bytes": 1}}, {"of": {"tag": "-", "bytes": 2}}]
    assert lines("parts", {"name": "a", "parts": inner}, {"name": "b", "parts": []}) == [
        *("name,parts.of.tag,parts.of.bytes", "a,t,1", "a,'-,2", ""),
    ]


# -- cells -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "－1"])
def test_a_text_that_may_be_a_formula_becomes_text(name: str) -> None:
    (row,) = cells(name)
    assert row == {"name": "'" + name, "bytes": "-1"}


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_every_other_text_is_read_back_as_it_was(name: str) -> None:
    (row,) = cells(name)
    assert row["name"].removeprefix("'") == name.removeprefix("'")
    assert row["name"][:1] not in set("=+-@\t\r\n")


def test_a_zero_character_becomes_a_question_mark() -> None:
    """Python 3.10 can neither write nor read it."""
    assert cells("a\0b") == [{"name": "a?b", "bytes": "-1"}]
    assert cells("\0=1") == [{"name": "?=1", "bytes": "-1"}]


def cells(name: str) -> list[dict[str, str]]:
    declared = Table("all", record(None, {"name": TEXT, "bytes": COUNT}))
    body = csv_table.encode(declared, {"fields": None}, {"all": [{"name": name, "bytes": -1}]})
    return list(csv.DictReader(io.StringIO(body.decode(), newline=""), strict=True))


def test_a_cell_is_quoted_where_rfc_4180_asks_for_it() -> None:
    declared = Table("all", record(None, {"name": TEXT}))
    names = ["plain", "a,b", 'say "hi"', "two\r\nlines", "", "\ud800"]
    body = csv_table.encode(declared, {}, {"all": [{"name": name} for name in names]})
    assert body == b'name\r\nplain\r\n"a,b"\r\n"say ""hi"""\r\n"two\r\nlines"\r\n""\r\n?\r\n'


# -- negotiation -----------------------------------------------------------------------------------

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("query", "accept", "found"),
    [
        ("", "text/csv", "text/csv"),
        ("", "text/csv, application/json", "application/json"),
        ("", "text/csv, application/json;q=0.9", "text/csv"),
        ("", "text/csv;header=present;q=0.2, */*;q=0.1", "text/csv"),
        ("", "*/*", "application/json"),
        ("format=csv", "application/json", "text/csv"),
        ("format=csv", BROWSER, "text/csv"),
        ("format=json", "text/csv", "application/json"),
        ("format=json", BROWSER, "application/json"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/flows", f"/{LAPTOP}/history"])
def test_format_decides_before_accept(scene: Scene, path: str, query: str, accept: str, found: str) -> None:
    for _ in range(2):  # the second time from the cache
        answer = scene.ask(with_query(path, query), Accept=accept)
        assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, found)
        assert {"Accept", "Accept-Encoding"} <= set(answer.headers["Vary"].split(", "))


def test_a_browser_still_finds_the_dashboard(scene: Scene) -> None:
    assert scene.ask("/", Accept=BROWSER).status == 303
    assert scene.ask("/?limit=1", Accept=BROWSER).status == 303


def test_what_is_neither_list_nor_history_has_no_csv(scene: Scene) -> None:
    for path in ("/status", "/openapi.json", "/healthz"):
        answer = scene.ask(path, Accept="text/csv")
        assert_problem(answer, 406)
        assert "application/json, found" in answer.json["detail"]
    assert scene.ask("/status?format=csv").json["parameter"] == "format"
    answer = scene.ask("/applications", Accept="text/plain")
    assert_problem(answer, 406)
    assert "application/json or text/csv" in answer.json["detail"]


def test_errors_are_problems_also_for_who_wants_csv(scene: Scene) -> None:
    assert_problem(scene.ask(f"/{LAPTOP[:-1]}9?format=csv", Accept="text/csv"), 404)
    for query in ("format=xml", "format=csv&rows=flows", "format=csv&format=csv", "format="):
        assert_problem(scene.ask(f"/?{query}", Accept="text/csv"), 400)


def test_json_and_csv_are_different_answers_of_one_path(scene: Scene) -> None:
    json, by_accept, by_format = (
        scene.ask("/applications"),
        scene.ask("/applications", Accept="text/csv"),
        scene.ask("/applications?format=csv"),
    )
    assert by_accept.body == by_format.body != json.body
    assert json.headers["ETag"] != by_accept.headers["ETag"] != by_format.headers["ETag"]
    etag = by_accept.headers["ETag"]
    assert scene.ask("/applications", If_None_Match=etag).status == 200
    assert scene.ask("/applications", Accept="text/csv", If_None_Match=etag).status == 304
    scene.store.flush()
    assert scene.ask("/applications", Accept="text/csv", If_None_Match=etag).status == 200


@pytest.mark.parametrize("path", PATHS)
def test_head_and_gzip(large: Scene, path: str) -> None:
    if LAPTOP in path:
        path = path.replace(LAPTOP, "02:00:00:00:01:01")
    path = with_query(path, "format=csv")
    plain = large.ask(path)
    head = large.ask(path, "HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Type", "Content-Length", "Content-Disposition", "ETag"):
        assert head.headers[name] == plain.headers[name]
    packed = large.ask(path, Accept_Encoding="gzip")
    if len(plain.body) >= 1024:
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body
        assert packed.headers["ETag"] != plain.headers["ETag"]
    assert packed.headers["Content-Type"] == plain.headers["Content-Type"]


def test_a_file_has_the_name_of_what_is_in_it(scene: Scene) -> None:
    answer = scene.ask("/protocols?format=csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="protocols.csv"'
    assert "Content-Disposition" not in scene.ask("/protocols").headers


# -- pages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*LISTS, "/flows"])
@pytest.mark.parametrize("form", ["json", "csv"])
def test_the_next_page_is_in_the_header_link(large: Scene, path: str, form: str) -> None:
    begin = with_query(path, "limit=1", f"format={form}")
    whole = large.get(with_query(path, "limit=10000"))
    count, url = 0, begin
    while True:
        answer = large.ask(url)
        count += len(table(answer) if form == "csv" else elements_of(answer.json, path))
        link = answer.headers["Link"]
        if form == "json" and answer.json["next"] is None:
            assert link is None
        if link is None:
            break
        match = re.fullmatch(r'<(\?[!-;=?-~]+)>; rel="next"', link)
        assert match is not None
        url = urljoin(begin, match[1])
        assert url.startswith(path) and "limit=1" in url
    assert count == whole["total"] > 1


def test_other_parameters_stay_on_the_next_page() -> None:
    assert next_query("", "c") == "cursor=c"
    assert (
        next_query("c%75rsor=x&search=%C3%A9%3E%22&limit=3", "new")
        == "search=%C3%A9%3E%22&limit=3&cursor=new"
    )


def test_a_file_has_the_whole_list_unless_a_limit_is_given(own: Scene) -> None:
    """A spreadsheet program asks for no second page."""
    said = own.store.netifyd
    flows = [f"f{number}" for number in range(130)]
    own.store.flush(
        *(said.flow(flow, PHONE, f"netify.app-{flow}") for flow in flows),
        *(said.stats(flow, 1, 1) for flow in flows),
    )
    for path in ("/flows", "/applications"):
        assert len(elements_of(own.get(path), path)) == 100
        assert len(table(own.ask(with_query(path, "format=csv")))) == 130
        assert len(table(own.ask(with_query(path, "format=csv", "limit=100")))) == 100


# -- reference -------------------------------------------------------------------------------------


def test_every_list_declares_csv(scene: Scene) -> None:
    document = scene.get("/openapi.json")
    for path, operations in document["paths"].items():
        get = operations["get"]
        content = get["responses"]["200"]["content"]
        names = {parameter["name"] for parameter in get["parameters"]}
        is_list = "cursor" in names or "history" in path or path == "/{device}"
        assert ("text/csv" in content) == is_list == ("format" in names), path
        assert ("Link" in get["responses"]["200"].get("headers", {})) == ("cursor" in names), path
    assert schemas.NETWORK["title"] in str(document["paths"]["/"])
