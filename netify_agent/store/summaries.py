"""The summaries of all gateways at a collector, in two hashes, so that a list takes two round trips.

A reader first asks for the digests of all summaries, then for those that it does not have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from netify_agent.store.client import Client
from netify_agent.store.query import store_errors
from netify_agent.store.redirect import execute

#: The hash tag of both keys. No key of a gateway begins as they do.
TAG = "fleet"
SUMMARIES = f"netify-collector:{{{TAG}}}:summaries"  # gateway to its summary
DIGESTS = f"netify-collector:{{{TAG}}}:digests"  # gateway to the digest of its summary

_AT_ONCE = 500  # summaries in one HMGET, which stops Redis for less than a millisecond


def digest_of(text: str) -> str:
    """The digest of a summary: 16 hexadecimal digits."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


class Summaries:
    """Raises :class:`~netify_agent.store.client.StoreError`."""

    def __init__(self, client: Client) -> None:
        """``client``: for keys with the tag :data:`TAG`."""
        self._client = client

    def put(self, gateway: str, text: str) -> None:
        """Replace the summary of a gateway. May be repeated."""
        with store_errors(), self._client.pipeline(transaction=False) as pipe:
            pipe.hset(SUMMARIES, gateway, text)
            pipe.hset(DIGESTS, gateway, digest_of(text))
            execute(pipe)

    def digests(self) -> dict[str, str]:
        """The digest of each gateway's summary."""
        with store_errors(), self._client.pipeline(transaction=False) as pipe:
            pipe.hgetall(DIGESTS)
            found: dict[str, str] = execute(pipe)[0]
            return found

    def read(self, gateways: Sequence[str]) -> dict[str, str]:
        """Return the summaries of some gateways. One that is being replaced may not match its digest."""
        if not gateways:
            return {}
        with store_errors(), self._client.pipeline(transaction=False) as pipe:
            for at in range(0, len(gateways), _AT_ONCE):
                pipe.hmget(SUMMARIES, gateways[at : at + _AT_ONCE])
            texts = [text for part in execute(pipe) for text in part]
        return {name: text for name, text in zip(gateways, texts, strict=True) if text is not None}
