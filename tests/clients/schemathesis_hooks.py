"""Schemathesis hooks for rules that OpenAPI cannot express. Loaded by schemathesis, not by pytest."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis import GenerationMode


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Valid requests have no cursor: only the `next` of a previous page is a valid one."""
    if case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE and case.query:
        case.query.pop("cursor", None)
