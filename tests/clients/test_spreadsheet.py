"""A spreadsheet program (LibreOffice, headless) opens the CSV and finds in every cell what JSON has."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import hostile
import pytest
from gateway import Gateway, need, output
from support import Daemon, eventually

pytestmark = pytest.mark.usefixtures("programs")

#: Comma, quotes, UTF-8, from the first line on; columns are recognised, formulas are not evaluated.
IMPORT = "CSV:44,34,76,1,,0,false,true,false"
OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"

Value = str | float | None


@pytest.fixture
def programs() -> None:
    need("soffice", "curl")


def download(url: str, directory: Path) -> None:
    output("curl", "-sS", "--fail", "--output", directory / "table.csv", url)


def opened(directory: Path) -> list[list[Value]]:
    """The cells of the downloaded file, as LibreOffice reads it: numbers, texts and empty cells."""
    home = f"-env:UserInstallation=file://{directory / 'profile'}"
    words = ("soffice", "--headless", home, f"--infilter={IMPORT}", "--convert-to", "fods", "--outdir")
    output(*words, directory, directory / "table.csv")
    rows = ElementTree.parse(directory / "table.fods").getroot().iter(f"{TABLE}table-row")
    return [cells(row) for row in rows]


def cells(row: ElementTree.Element) -> list[Value]:
    found: list[Value] = []
    for cell in row.iter(f"{TABLE}table-cell"):
        assert f"{TABLE}formula" not in cell.attrib
        count = int(cell.get(f"{TABLE}number-columns-repeated", "1"))
        found += [value_of(cell)] * count
    while found and found[-1] is None:
        found.pop()
    return found


def value_of(cell: ElementTree.Element) -> Value:
    kind = cell.get(f"{OFFICE}value-type")
    if kind is None:
        return None
    if kind == "float":
        return float(cell.attrib[f"{OFFICE}value"])
    if kind == "boolean":
        return cell.attrib[f"{OFFICE}boolean-value"]
    if kind == "date":
        return cell.attrib[f"{OFFICE}date-value"]
    return "\n".join(text_of(paragraph) for paragraph in cell.iter(f"{TEXT}p"))


def text_of(paragraph: ElementTree.Element) -> str:
    """The text of a paragraph; ``text:s`` stands for spaces and ``text:tab`` for a tab."""
    text = paragraph.text or ""
    for child in paragraph:
        if child.tag == f"{TEXT}s":
            text += " " * int(child.get(f"{TEXT}c", "1"))
        elif child.tag == f"{TEXT}tab":
            text += "\t"
        text += text_of(child) if child.tag not in (f"{TEXT}s", f"{TEXT}tab") else ""
        text += child.tail or ""
    return text


def expected(value: Any) -> Value:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, list):
        value = " ".join(str(item) for item in value)
    if value and value[0] in "=+-@":
        return "'" + str(value)
    return value or None


def rows_of(elements: list[dict[str, Any]], nested: str | None, before: tuple[str, ...]) -> list[list[Value]]:
    if nested is None:
        plain = [{key: one[key] for key in one if not of_objects(one[key])} for one in elements]
    else:
        plain = [
            {**{key: one[key] for key in before}, **{f"{nested}.{key}": inner[key] for key in inner}}
            for one in elements
            for inner in one[nested]
        ]
    lines = [list(plain[0]), *([expected(value) for value in row.values()] for row in plain)]
    return [strip(line) for line in lines]


def of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def strip(line: list[Value]) -> list[Value]:
    while line and line[-1] is None:
        line = line[:-1]
    return line


TABLES = [
    ("/", "devices", None, ()),
    ("/", "devices", "applications", ("mac", "ip", "name")),
    ("/applications", "applications", None, ()),
    ("/applications", "applications", "devices", ("tag", "name")),
    ("/protocols", "protocols", None, ()),
    ("/categories", "categories", None, ()),
    ("/history", "buckets", None, ()),
    ("/usage?fields=key,name,bytes_up,bytes_down,local_up,local_down,share", "usage", None, ()),
]


@pytest.mark.parametrize(("path", "key", "nested", "before"), TABLES)
def test_every_cell_is_what_json_says(
    idle_gateway: Gateway, tmp_path: Path, path: str, key: str, nested: str | None, before: tuple[str, ...]
) -> None:
    rows = f"&rows={nested}" if nested else ""

    documents: list[Any] = []

    def steady() -> bool:
        """Whether names and vendors were the same before and after the download."""
        documents.append(idle_gateway.get(path))
        download(f"{idle_gateway.base}{path}{'&' if '?' in path else '?'}format=csv{rows}", tmp_path)
        documents.append(idle_gateway.get(path))
        return bool(documents[-2] == documents[-1])

    eventually(steady, "names and vendors did not change")
    assert opened(tmp_path) == rows_of(documents[-1][key], nested, before)


def test_names_from_the_network_are_no_formulas(hostile_daemon: Daemon, tmp_path: Path) -> None:
    download(f"{hostile_daemon.base}/applications?format=csv&fields=tag,bytes_up", tmp_path)
    cells = opened(tmp_path)
    tags = {str(row[0]) for row in cells}
    assert {f"'{name}" for name in hostile.NAMES if name[0] in "=+-@"} <= tags
    assert len(cells) == 1 + hostile_daemon.get("/applications")[1]["total"]
    assert all(isinstance(row[1], float) for row in cells[1:])
