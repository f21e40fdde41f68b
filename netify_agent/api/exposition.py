"""Prometheus' text format 0.0.4: how families of samples are written. Knows no metric.

Rules from Prometheus' documentation, "Exposition formats": a family's lines stand together below its HELP and
TYPE; in a label's value a backslash, a quote and a line feed are escaped, in a HELP a backslash and a line
feed; UTF-8, LF at the end of each line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge"]
Value = float | None
#: Label names to values (None is written as the empty text, which means the same as no such label).
Labels = Mapping[str, str | None]

_IN_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})
_IN_LABEL = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Exposition:
    """One answer to a scrape, in the making."""

    def __init__(self) -> None:
        self._services: list[str] = []

    def family(self, name: str, kind: Kind, told: str, samples: Iterable[tuple[Labels, Value]]) -> None:
        """Add a family: all samples of one name. Once a name, and no two samples with the same labels.

        :param told: its HELP: what is counted, in which unit.
        :param samples: those without a value are left out; a family without any is left out whole.
        """
        lines = [
            f"{name}{_braces(labels)} {_number(value)}\n" for labels, value in samples if value is not None
        ]
        if lines:
            self._services.append(f"# HELP {name} {told.translate(_IN_HELP)}\n# TYPE {name} {kind}\n")
            self._services += lines

    def single(self, name: str, kind: Kind, told: str, value: Value) -> None:
        """Add a family of one sample without labels."""
        self.family(name, kind, told, [({}, value)])

    def body(self) -> bytes:
        """All of it. What is no Unicode text (a lone surrogate) comes out as ``?``."""
        return "".join(self._services).encode("utf-8", "replace")


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = [f'{name}="{(value or "").translate(_IN_LABEL)}"' for name, value in labels.items()]
    return "{" + ",".join(pairs) + "}"


def _number(value: float) -> str:
    """As Go's ParseFloat reads it: integers to the last digit, floats to the last bit."""
    return str(value) if isinstance(value, int) else repr(value)
