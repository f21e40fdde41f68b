"""Flow ids: the names of flows in Redis, made of the digest and a tag of the source.

A digest alone does not name a flow: two sources may use the same one for different flows.
"""

from __future__ import annotations

import hashlib

TAG_MARK = "@"  # no digest contains it


def tag_of(source: str) -> str:
    """Return what is appended to a digest of ``source`` (an endpoint's URL) to make a flow id."""
    return TAG_MARK + hashlib.sha256(source.encode()).hexdigest()[:8]


def digest_of(flow_id: str) -> str:
    """Return the digest in a flow id. Ids of stores before schema 3 are digests."""
    return flow_id.partition(TAG_MARK)[0]
