"""Content negotiation: the ``Accept`` and ``Accept-Encoding`` headers (RFC 9110, section 12.5)."""

from __future__ import annotations

import re
from functools import lru_cache

_QUALITY = re.compile(r"\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*", re.IGNORECASE)


@lru_cache(maxsize=256)
def quality(accept: str, media_type: str) -> float:
    """The client's quality value for a media type.

    The most specific matching range counts. Parameters other than ``q`` are ignored.

    :param accept: the ``Accept`` header; empty accepts everything.
    :returns: 0 (not acceptable) to 1.
    """
    qualities = _qualities(accept)
    if not qualities:
        return 1.0
    for media_range in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        if media_range in qualities:
            return qualities[media_range]
    return 0.0


@lru_cache(maxsize=256)
def takes_gzip(accept_encoding: str) -> bool:
    """Whether an ``Accept-Encoding`` header allows gzip."""
    qualities = _qualities(accept_encoding)
    return qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0))) > 0


def _qualities(header: str) -> dict[str, float]:
    """The elements of a list header with their quality values; 1 for an element without one."""
    qualities: dict[str, float] = {}
    for element in header.split(","):
        name, *parameters = element.split(";")
        if name := name.strip().lower():
            matches = [match for match in map(_QUALITY.fullmatch, parameters) if match]
            value = float(matches[0][1]) if matches else 1.0
            qualities[name] = max(qualities.get(name, 0.0), value)
    return qualities
