"""Writes Prometheus' text format 0.0.4. Knows no metric.

Source: Prometheus documentation, "Exposition formats". The lines of a metric family stand together below its
HELP and TYPE lines. Backslash, quote and line feed are escaped in label values, backslash and line feed in
HELP. UTF-8; each line ends with LF.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge"]
Value = float | None
#: Label names to values. None is written as an empty value, which means the same as no such label.
Labels = Mapping[str, str | None]

_IN_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})
_IN_LABEL = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Exposition:
    """The body of one scrape, built family by family."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: Kind, help_text: str, samples: Iterable[tuple[Labels, Value]]) -> None:
        """Add a metric family: all samples of one name. Call once for each name.

        :param help_text: what is measured, and its unit.
        :param samples: labels, which must differ, and values. Samples with the value None are left out; a
            family without samples is left out.
        """
        # repr, for Go's ParseFloat: integers to the last digit, floats to the last bit.
        lines = [f"{name}{_braces(labels)} {value!r}\n" for labels, value in samples if value is not None]
        if lines:
            self._lines.append(f"# HELP {name} {help_text.translate(_IN_HELP)}\n# TYPE {name} {kind}\n")
            self._lines += lines

    def single(self, name: str, kind: Kind, help_text: str, value: Value) -> None:
        """Add a family of one sample without labels."""
        self.family(name, kind, help_text, [({}, value)])

    def body(self) -> bytes:
        """The text in UTF-8; a lone surrogate, which has no encoding, becomes ``?``."""
        return "".join(self._lines).encode("utf-8", "replace")


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = [f'{name}="{(value or "").translate(_IN_LABEL)}"' for name, value in labels.items()]
    return "{" + ",".join(pairs) + "}"
