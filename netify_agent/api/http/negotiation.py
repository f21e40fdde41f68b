"""What a client's ``Accept`` headers allow (RFC 9110, 12.5)."""

from __future__ import annotations

import re
from functools import lru_cache

_QUALITY = re.compile(r"\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*", re.IGNORECASE)


@lru_cache(maxsize=256)
def quality(accept: str, media_type: str) -> float:
    """How much a client wants ``media_type``, 0 to 1, by its ``Accept`` header (empty: it takes all).

    Of the ranges that fit, the most exact one counts; their parameters, but for ``q``, do not.
    """
    wanted = _ranges(accept)
    if not wanted:
        return 1.0
    for media_range in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        if media_range in wanted:
            return wanted[media_range]
    return 0.0


@lru_cache(maxsize=256)
def takes_gzip(accept_encoding: str) -> bool:
    """Whether a body may be sent compressed, by the header ``Accept-Encoding``."""
    wanted = _ranges(accept_encoding)
    return wanted.get("gzip", wanted.get("x-gzip", wanted.get("*", 0.0))) > 0


def _ranges(header: str) -> dict[str, float]:
    """Each element of a list header with its quality, 1 where none is given."""
    found: dict[str, float] = {}
    for element in header.split(","):
        name, *parameters = element.split(";")
        if name := name.strip().lower():
            matches = [match for match in map(_QUALITY.fullmatch, parameters) if match]
            found[name] = max(found.get(name, 0.0), float(matches[0][1]) if matches else 1.0)
    return found
