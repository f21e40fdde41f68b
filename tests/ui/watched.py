"""A page whose every word to the console and every request is noted."""

from __future__ import annotations

from playwright.sync_api import ConsoleMessage, Page, Request


class Watched:
    """What went on in ``page``.

    :ivar problems: errors and warnings of the console, errors that nobody caught.
    :ivar strangers: requests to another origin than ``origin``.
    """

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.problems: list[str] = []
        self.strangers: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", self._asked)

    def forgive(self) -> None:
        """Close the page: what it met was meant, and the browser tells of each refused request."""
        self.page.close()
        self.problems.clear()

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.text} {message.location}")

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)
        if not request.url.startswith(self.origin + "/"):
            self.strangers.append(request.url)
