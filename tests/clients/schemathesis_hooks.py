"""What OpenAPI can't say of a request that is right: loaded by schemathesis, not by pytest."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis import GenerationMode


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A cursor is right only if it is the `next` of the same question; a made-up one is a wrong one."""
    if case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE and case.query:
        case.query.pop("cursor", None)
