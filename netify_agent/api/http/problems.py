"""Error responses: ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from netify_agent.api.http.route import PROBLEM, Reply, encode


class Problem(Exception):
    """An error response.

    :ivar status: HTTP status code.
    :ivar detail: one sentence for the operator of the client.
    :ivar headers: further response headers.
    :ivar members: extension members of the problem document.
    """

    def __init__(
        self, status: int, detail: str, headers: dict[str, str] | None = None, **members: Any
    ) -> None:
        """``members``: extension members of the problem document, such as ``parameter``."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        self.members = members

    def reply(self) -> Reply:
        """The response to send."""
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
    """400 for a parameter with a wrong value.

    :param found: the text in the request; its first 100 characters are quoted.
    :param expected: what is allowed.
    """
    return Problem(400, f"{name}: expected {expected}, found '{found[:100]}'", parameter=name)
