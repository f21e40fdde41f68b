"""docs/architecture.md states the import contracts of pyproject.toml, and names every module."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
DESCRIBED_BY_THEIR_PACKAGE = (
    "api/routes",
    "api/spec",
    "alerts/receivers",
    "enrich/lease_formats",
    "simulator",
)


def test_the_contracts_are_those_that_are_checked() -> None:
    section = ARCHITECTURE.partition("### Who may import whom")[2].partition("\n## ")[0]
    stated = re.findall(r"^\| ([A-Z].*?) \|", section, re.MULTILINE)
    contracts = (ROOT / "pyproject.toml").read_text().partition("[tool.importlinter]")[2]
    assert stated == re.findall(r'^name = "(.*)"$', contracts, re.MULTILINE)


def test_every_module_is_named() -> None:
    package = ROOT / "netify_agent"
    modules = [path.relative_to(package) for path in package.rglob("*.py") if not path.name.startswith("__")]
    assert len(modules) > 100
    missing = [
        str(path)
        for path in modules
        if not str(path).startswith(DESCRIBED_BY_THEIR_PACKAGE) and f"`{path.stem}`" not in ARCHITECTURE
    ]
    assert missing == []
