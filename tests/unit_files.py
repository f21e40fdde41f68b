"""What the units of systemd/ use, and what docs/packaging.md says of it."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
BEFORE_183 = 0  # the manual of systemd names no version for what is older


def used_directives() -> set[str]:
    """The name of every directive in a unit of ours."""
    units = [*(CHECKOUT / "systemd").glob("*.service"), *(CHECKOUT / "systemd").glob("*.path")]
    return set(re.findall("(?m)^([A-Za-z]+)=", "\n".join(unit.read_text() for unit in units)))


def hardening(unit: str) -> list[str]:
    """The lines of a unit that restrict the service, in their order. They are the last of their section."""
    text = (CHECKOUT / "systemd" / unit).read_text()
    lines = text.partition("\nCapabilityBoundingSet=")[2].partition("\n[Install]")[0].splitlines()
    assert len(lines) > 30
    return [line for line in lines if not line.startswith("#")]


def documented_directives() -> dict[str, int]:
    """What is in the table of docs/packaging.md, to the version of systemd that brought it.

    A directive as ``Name``, a value that came later than its directive as ``Name=value``.
    """
    text = (CHECKOUT / "docs/packaging.md").read_text()
    section = text.partition("## Directives of the units\n")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| (\d+|before 183) \| (.*) \|$", section)
    return {
        name.removesuffix("="): BEFORE_183 if version == "before 183" else int(version)
        for version, names in rows
        for name in re.findall("`([^`]+)`", names)
    }
