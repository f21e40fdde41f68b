"""Errors as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from netify_agent.api.http.route import PROBLEM, Reply, encode


class Problem(Exception):
    """A request that can't be answered.

    :ivar status: HTTP status code.
    :ivar detail: one sentence for the client's owner.
    :ivar headers: further response headers.
    """

    def __init__(
        self, status: int, detail: str, headers: dict[str, str] | None = None, **members: Any
    ) -> None:
        """``members`` are extension members of the problem, ``parameter`` for one."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        self.members = members

    def reply(self) -> Reply:
        """The response for the client."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        headers = {"Content-Type": PROBLEM, "Cache-Control": "no-store", **self.headers}
        return Reply(encode(body), self.status, headers)


def bad_parameter(name: str, found: str, expected: str) -> Problem:
    """400: a parameter with an invalid value."""
    return Problem(400, f"{name}: expected {expected}, found '{found[:100]}'", parameter=name)
